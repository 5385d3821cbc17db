//! Where the data plane's trace is told.

use extproc_proto::ProcessingRequest;
use extproc_proto::processing_request::Request;

use crate::Open;

/// The `traceparent` of the gRPC call, which is the data plane's own span; else that of the request, if the first message
/// has it.
pub(crate) fn traceparent(open: &Open, first: &ProcessingRequest) -> Option<String> {
    const NAME: &str = "traceparent";
    if let Some(value) = open.grpc_metadata().get(NAME) {
        return value.to_str().ok().map(ToOwned::to_owned);
    }
    let Some(Request::RequestHeaders(message)) = &first.request else { return None };
    let headers = &message.headers.as_ref()?.headers;
    let header = headers.iter().find(|header| header.key.eq_ignore_ascii_case(NAME.as_bytes()))?;
    let value = if header.raw_value.is_empty() { &header.value } else { &header.raw_value };
    std::str::from_utf8(value).ok().map(ToOwned::to_owned)
}
