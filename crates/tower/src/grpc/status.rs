//! Between a call's end and what HTTP says of it.

use extproc_core::call::Status;
use http::{HeaderMap, Response};
use tonic::body::Body;
use tonic::metadata::MetadataMap;

use crate::headers;

/// As tonic knows it.
fn as_tonic(status: Status) -> tonic::Status {
    let metadata = headers::into_trailers(status.trailers).unwrap_or_default();
    let code = tonic::Code::from_i32(status.code.into());
    tonic::Status::with_metadata(code, status.message, MetadataMap::from_headers(metadata))
}

/// The end of a call whose headers have gone.
pub(super) fn into_trailers(status: Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if as_tonic(status).add_header(&mut trailers).is_err() {
        // Only a message that no header can hold gets here; it is percent-encoded, so none does.
        trailers.insert("grpc-status", http::HeaderValue::from_static("13"));
    }
    trailers
}

/// The end of a call without headers of its own.
pub(super) fn into_response(status: Status) -> Response<Body> {
    as_tonic(status).into_http()
}

/// What an error of the next hop says.
pub(super) fn of_error(error: Box<dyn std::error::Error + Send + Sync>) -> Status {
    of_tonic(tonic::Status::from_error(error))
}

pub(super) fn of_tonic(status: tonic::Status) -> Status {
    let trailers = headers::from_trailers(&status.metadata().clone().into_headers());
    let code = u8::try_from(i32::from(status.code())).unwrap_or(2);
    Status { code, message: status.message().to_owned(), trailers }
}
