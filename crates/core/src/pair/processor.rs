//! The other end of a side stream.

use std::fmt;
use std::time::Duration;

use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{BodyResponse, HeadersResponse, ProcessingRequest, ProcessingResponse, TrailersResponse};

use super::Said;
use crate::Direction;
use crate::filter::{GrpcStatus, StreamEvent};

/// A processor as the data plane sees it: messages come in, replies go out, in any order and number.
///
/// It may be as wrong as it likes; that is what it is for.
pub trait Processor: fmt::Debug + Send {
    /// The stream was opened. A stream that cannot be opened is closed here with an error.
    fn opened(&mut self, _replies: &mut Replies) {}

    /// A message came.
    fn message(&mut self, message: ProcessingRequest, replies: &mut Replies);

    /// The data plane will send nothing more. Ends the stream unless overridden.
    fn half_closed(&mut self, replies: &mut Replies) {
        replies.close(Ok(()));
    }

    /// The data plane reset the stream.
    fn reset(&mut self) {}
}

/// What a processor does: replies and the end of the stream, each after a pause.
#[derive(Debug, Default)]
pub struct Replies {
    pause: Duration,
    events: Vec<(Duration, StreamEvent)>,
}

impl Replies {
    pub(super) const fn new() -> Self {
        Self { pause: Duration::ZERO, events: Vec::new() }
    }

    /// Everything from here on happens so much later.
    pub fn wait(&mut self, pause: Duration) {
        self.pause += pause;
    }

    /// Sends a message.
    pub fn send(&mut self, response: ProcessingResponse) {
        self.events.push((self.pause, StreamEvent::Reply(Box::new(response))));
    }

    /// Ends the stream; what is said after it is not heard.
    pub fn close(&mut self, result: Result<(), GrpcStatus>) {
        self.events.push((self.pause, StreamEvent::Closed(result)));
    }

    pub(super) fn into_events(self) -> Vec<(Duration, StreamEvent)> {
        self.events
    }
}

/// Answers every message with "go on", unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Continue;

impl Processor for Continue {
    fn message(&mut self, message: ProcessingRequest, replies: &mut Replies) {
        if let Some(reply) = message.request.as_ref().map(unchanged) {
            replies.send(reply);
        }
    }
}

/// Takes every message and never says a word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Processor for Silent {
    fn message(&mut self, _: ProcessingRequest, _: &mut Replies) {}

    fn half_closed(&mut self, _: &mut Replies) {}
}

/// The answer of the matching kind that changes nothing (not for FULL_DUPLEX_STREAMED bodies).
fn unchanged(request: &Request) -> ProcessingResponse {
    let response = match request {
        Request::RequestHeaders(_) => Response::RequestHeaders(HeadersResponse::default()),
        Request::ResponseHeaders(_) => Response::ResponseHeaders(HeadersResponse::default()),
        Request::RequestBody(_) => Response::RequestBody(BodyResponse::default()),
        Request::ResponseBody(_) => Response::ResponseBody(BodyResponse::default()),
        Request::RequestTrailers(_) => Response::RequestTrailers(TrailersResponse::default()),
        Request::ResponseTrailers(_) => Response::ResponseTrailers(TrailersResponse::default()),
    };
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

/// A message of the data plane in short.
#[must_use]
pub fn said_by_data_plane(message: &ProcessingRequest) -> Said {
    use Direction::{Request as ToUpstream, Response as ToClient};
    match &message.request {
        None => Said::Other,
        Some(Request::RequestHeaders(headers)) => Said::Headers(ToUpstream, headers.end_of_stream),
        Some(Request::ResponseHeaders(headers)) => Said::Headers(ToClient, headers.end_of_stream),
        Some(Request::RequestBody(body)) => Said::Body(ToUpstream, body.body.len(), body.end_of_stream),
        Some(Request::ResponseBody(body)) => Said::Body(ToClient, body.body.len(), body.end_of_stream),
        Some(Request::RequestTrailers(_)) => Said::Trailers(ToUpstream),
        Some(Request::ResponseTrailers(_)) => Said::Trailers(ToClient),
    }
}

/// A message of a processor in short. The length of a body is that of its replacement.
#[must_use]
pub fn said_by_processor(message: &ProcessingResponse) -> Said {
    use Direction::{Request as ToUpstream, Response as ToClient};
    use extproc_proto::body_mutation::Mutation;
    let body = |direction, body: &BodyResponse| {
        let mutation = body.response.as_ref().and_then(|common| common.body_mutation.as_ref());
        match mutation.and_then(|mutation| mutation.mutation.as_ref()) {
            Some(Mutation::Body(bytes)) => Said::Body(direction, bytes.len(), false),
            Some(Mutation::StreamedResponse(chunk)) => Said::Body(direction, chunk.body.len(), chunk.end_of_stream),
            Some(Mutation::ClearBody(_)) | None => Said::Body(direction, 0, false),
        }
    };
    match &message.response {
        None | Some(Response::StreamedImmediateResponse(_)) => Said::Other,
        Some(Response::RequestHeaders(_)) => Said::Headers(ToUpstream, false),
        Some(Response::ResponseHeaders(_)) => Said::Headers(ToClient, false),
        Some(Response::RequestBody(answer)) => body(ToUpstream, answer),
        Some(Response::ResponseBody(answer)) => body(ToClient, answer),
        Some(Response::RequestTrailers(_)) => Said::Trailers(ToUpstream),
        Some(Response::ResponseTrailers(_)) => Said::Trailers(ToClient),
        Some(Response::ImmediateResponse(_)) => Said::Immediate,
    }
}
