//! What the messages of an exchange are for its record.

use extproc_core::Direction;
use extproc_core::session::Call;
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_response::Response;
use extproc_proto::{BodyResponse, CommonResponse, HeadersResponse, ProcessingResponse};

use crate::Phase;
use crate::telemetry::{Record, Way};

/// A message came.
pub(super) fn came(record: &mut Record, call: &Call) {
    match call {
        Call::Headers { direction: Direction::Request, headers, .. } => {
            record.identify(headers);
            record.event(Phase::RequestHeaders);
        }
        Call::Headers { direction: Direction::Response, .. } => record.event(Phase::ResponseHeaders),
        Call::Body { direction, chunk } => {
            record.event(match direction {
                Direction::Request => Phase::RequestBody,
                Direction::Response => Phase::ResponseBody,
            });
            record.body(*direction, Way::Received, chunk.data.len());
        }
        Call::Trailers { direction: Direction::Request, .. } => record.event(Phase::RequestTrailers),
        Call::Trailers { direction: Direction::Response, .. } => record.event(Phase::ResponseTrailers),
        _ => {}
    }
}

/// A message goes out.
pub(super) fn sent(record: &Record, message: &ProcessingResponse) {
    let (direction, response) = match &message.response {
        Some(
            Response::RequestHeaders(HeadersResponse { response }) | Response::RequestBody(BodyResponse { response }),
        ) => (Direction::Request, response),
        Some(
            Response::ResponseHeaders(HeadersResponse { response }) | Response::ResponseBody(BodyResponse { response }),
        ) => (Direction::Response, response),
        _ => return,
    };
    let bytes = bytes(response.as_ref());
    if bytes > 0 {
        record.body(direction, Way::Sent, bytes);
    }
}

fn bytes(response: Option<&CommonResponse>) -> usize {
    match response.and_then(|it| it.body_mutation.as_ref()?.mutation.as_ref()) {
        Some(Mutation::Body(body)) => body.len(),
        Some(Mutation::StreamedResponse(chunk)) => chunk.body.len(),
        Some(Mutation::ClearBody(_)) | None => 0,
    }
}
