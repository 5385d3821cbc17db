//! Messages of the protocol: making their header maps, and reading answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use extproc_core::Headers;
use extproc_proto::body_mutation::Mutation;
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{CommonResponse, HeaderMap, HeaderMutation, HeaderValue, ProcessingRequest, ProcessingResponse};

use crate::Phase;

/// A header map as Envoy sends it: in order, with duplicates, values in `raw_value`. Names and values are taken as they
/// are.
///
/// ```
/// use extproc::testing::head;
///
/// let map = head([("x-a", "1"), ("x-a", "2")]);
/// assert_eq!(map.headers.len(), 2);
/// assert_eq!((&map.headers[1].raw_value[..], &map.headers[1].value[..]), (&b"2"[..], &b""[..]));
/// ```
///
/// Anything else does not compile:
///
/// ```compile_fail
/// extproc::testing::head(42);
/// ```
pub fn head<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, V)>) -> HeaderMap {
    let header = |(name, value): (N, V)| HeaderValue {
        key: Bytes::copy_from_slice(name.as_ref()),
        raw_value: Bytes::copy_from_slice(value.as_ref()),
        ..HeaderValue::default()
    };
    HeaderMap { headers: headers.into_iter().map(header).collect() }
}

pub(super) fn map_of(headers: &Headers) -> HeaderMap {
    head(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// The phase of a message to a processor.
pub(super) const fn phase_of(message: &ProcessingRequest) -> Option<Phase> {
    Some(match &message.request {
        Some(Request::RequestHeaders(_)) => Phase::RequestHeaders,
        Some(Request::RequestBody(_)) => Phase::RequestBody,
        Some(Request::RequestTrailers(_)) => Phase::RequestTrailers,
        Some(Request::ResponseHeaders(_)) => Phase::ResponseHeaders,
        Some(Request::ResponseBody(_)) => Phase::ResponseBody,
        Some(Request::ResponseTrailers(_)) => Phase::ResponseTrailers,
        None => return None,
    })
}

/// Reads what an answer says.
///
/// ```
/// use extproc::testing::{ReadReply, Script};
/// use extproc::{RequestHead, Start, Stop, processor};
///
/// let tags = processor::<(), ()>("Tags", ()).request_headers(
///     async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
///         req.append("x-tag", "a");
///         req.append("x-tag", "b");
///         req.remove("cookie");
///         Ok(())
///     },
/// );
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let said = Script::new().request_only([("cookie", "c")]).run(tags).await;
/// let reply = &said.replies[0];
/// assert_eq!(reply.set_headers(), [("x-tag".to_owned(), "a".to_owned()), ("x-tag".to_owned(), "b".to_owned())]);
/// assert_eq!(reply.set_headers_map()["x-tag"], "b");
/// assert_eq!((reply.removed_headers(), reply.is_continue()), (vec!["cookie".to_owned()], true));
/// # });
/// ```
pub trait ReadReply {
    /// The phase that it answers; none for immediate responses and messages that say nothing.
    fn phase(&self) -> Option<Phase>;

    /// The headers, or trailers, that it sets and appends, in order.
    fn set_headers(&self) -> Vec<(String, String)>;

    /// As [`set_headers`](Self::set_headers), by name; of duplicates, the last.
    fn set_headers_map(&self) -> BTreeMap<String, String> {
        self.set_headers().into_iter().collect()
    }

    /// The headers, or trailers, that it removes.
    fn removed_headers(&self) -> Vec<String>;

    /// The body that it puts in place of the one there was, the piece that it puts out, or the immediate response's.
    fn new_body(&self) -> Option<Bytes>;

    /// Whether the exchange goes on as it is: status CONTINUE, and no immediate response.
    fn is_continue(&self) -> bool;

    /// The status of an immediate response.
    fn immediate_status(&self) -> Option<u16>;
}

impl ReadReply for ProcessingResponse {
    fn phase(&self) -> Option<Phase> {
        Some(match self.response.as_ref()? {
            Response::RequestHeaders(_) => Phase::RequestHeaders,
            Response::RequestBody(_) => Phase::RequestBody,
            Response::RequestTrailers(_) => Phase::RequestTrailers,
            Response::ResponseHeaders(_) => Phase::ResponseHeaders,
            Response::ResponseBody(_) => Phase::ResponseBody,
            Response::ResponseTrailers(_) => Phase::ResponseTrailers,
            Response::ImmediateResponse(_) | Response::StreamedImmediateResponse(_) => return None,
        })
    }

    fn set_headers(&self) -> Vec<(String, String)> {
        let set = mutation(self).into_iter().flat_map(|mutation| &mutation.set_headers);
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let headers = set.filter_map(|option| option.header.as_ref());
        headers.map(|header| (text(&header.key), text(written(header)))).collect()
    }

    fn removed_headers(&self) -> Vec<String> {
        mutation(self).map(|mutation| mutation.remove_headers.clone()).unwrap_or_default()
    }

    fn new_body(&self) -> Option<Bytes> {
        if let Some(Response::ImmediateResponse(reply)) = &self.response {
            return Some(reply.body.clone());
        }
        match common(self)?.body_mutation.as_ref()?.mutation.as_ref()? {
            Mutation::Body(body) => Some(body.clone()),
            Mutation::ClearBody(clear) => clear.then(Bytes::new),
            Mutation::StreamedResponse(piece) => Some(piece.body.clone()),
        }
    }

    fn is_continue(&self) -> bool {
        self.phase().is_some() && common(self).is_none_or(|common| common.status() == ResponseStatus::Continue)
    }

    fn immediate_status(&self) -> Option<u16> {
        match &self.response {
            Some(Response::ImmediateResponse(reply)) => {
                reply.status.as_ref().and_then(|status| u16::try_from(status.code).ok())
            }
            _ => None,
        }
    }
}

const fn written(header: &HeaderValue) -> &Bytes {
    if header.raw_value.is_empty() { &header.value } else { &header.raw_value }
}

fn common(reply: &ProcessingResponse) -> Option<&CommonResponse> {
    match reply.response.as_ref()? {
        Response::RequestHeaders(part) | Response::ResponseHeaders(part) => part.response.as_ref(),
        Response::RequestBody(part) | Response::ResponseBody(part) => part.response.as_ref(),
        _ => None,
    }
}

fn mutation(reply: &ProcessingResponse) -> Option<&HeaderMutation> {
    match reply.response.as_ref()? {
        Response::RequestTrailers(part) | Response::ResponseTrailers(part) => part.header_mutation.as_ref(),
        Response::ImmediateResponse(part) => part.headers.as_ref(),
        _ => common(reply)?.header_mutation.as_ref(),
    }
}
