//! What the author's side answers, checked and put on the wire.

use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeadersResponse, ProcessingResponse, StreamedBodyResponse,
    TrailersResponse, body_mutation,
};

use super::credit::Waiting;
use super::side::{Drain, Head, Input, is_chunked};
use super::{ApiMisuse, BodyAnswer, BodyChange, Chunk, HeaderEdits, HeadersAnswer, Session, wire};
use crate::{BodyMode, Direction};

impl Session {
    pub(super) fn answer_headers(&mut self, direction: Direction, answer: HeadersAnswer) -> Result<(), ApiMisuse> {
        let side = self.side_mut(direction);
        if side.head != Head::Owed {
            return Err(ApiMisuse::NotOwed(direction));
        }
        let chunked = side.mode.is_some_and(is_chunked) && side.input != Input::HeadersOnly;
        if answer.replace.is_some() && (chunked || side.mode == Some(BodyMode::Grpc)) {
            return Err(ApiMisuse::NoReplace(direction));
        }
        side.head = Head::Answered;
        side.replaced = answer.replace.is_some();
        if let Some(ask) = answer.ask {
            for direction in Direction::BOTH {
                self.side_mut(direction).ask(ask.of(direction));
            }
        }
        let status = match answer.replace {
            Some(_) => ResponseStatus::ContinueAndReplace,
            None => ResponseStatus::Continue,
        };
        let change = answer.replace.map_or(BodyChange::Keep, |body| {
            if body.is_empty() { BodyChange::Clear } else { BodyChange::Replace(body) }
        });
        let response = HeadersResponse { response: common(status, answer.edits, change, answer.clear_route) };
        let mode_override = answer.ask.map(wire::mode_override);
        let response = match direction {
            Direction::Request => Response::RequestHeaders(response),
            Direction::Response => Response::ResponseHeaders(response),
        };
        let reply = ProcessingResponse { response: Some(response), mode_override, ..ProcessingResponse::default() };
        self.push_reply(Some(direction), reply);
        Ok(())
    }

    pub(super) fn answer_body(&mut self, direction: Direction, answer: BodyAnswer) -> Result<(), ApiMisuse> {
        let side = self.side_mut(direction);
        if side.mode.is_some_and(is_chunked) {
            return Err(ApiMisuse::ChunksOnly(direction));
        }
        if side.bodies_owed == 0 {
            return Err(ApiMisuse::NotOwed(direction));
        }
        if side.head == Head::Owed {
            return Err(ApiMisuse::HeadersFirst(direction));
        }
        if !answer.edits.is_empty() && side.mode == Some(BodyMode::Streamed) {
            return Err(ApiMisuse::HeadersGone(direction));
        }
        side.bodies_owed -= 1;
        side.body_answered = true;
        let response = common(ResponseStatus::Continue, answer.edits, answer.change, answer.clear_route);
        self.push(Some(direction), body_reply(direction, BodyResponse { response }));
        Ok(())
    }

    pub(super) fn answer_chunk(&mut self, direction: Direction, chunk: Chunk) -> Result<(), ApiMisuse> {
        let side = self.side_mut(direction);
        if !side.mode.is_some_and(is_chunked) {
            return Err(ApiMisuse::OneAnswerEach(direction));
        }
        if side.head == Head::Owed {
            return Err(ApiMisuse::HeadersFirst(direction));
        }
        if side.output_ended || side.drain == Drain::Done {
            return Err(ApiMisuse::AfterEnd(direction));
        }
        if matches!(side.input, Input::Nothing | Input::HeadersOnly) {
            return Err(ApiMisuse::NotOwed(direction));
        }
        if chunk.end_stream && side.trailers_owed {
            return Err(ApiMisuse::TrailersOwed(direction));
        }
        let grpc = side.mode == Some(BodyMode::Grpc);
        if grpc && chunk.end_stream && direction == Direction::Response && side.input != Input::EndedByBody {
            return Err(ApiMisuse::TrailersEnd(direction));
        }
        side.output_ended = chunk.end_stream;
        let chunk = Chunk {
            without_message: grpc && chunk.end_stream && chunk.without_message && chunk.data.is_empty(),
            compressed: grpc && chunk.compressed,
            ..chunk
        };
        self.push_chunk(direction, chunk, false);
        Ok(())
    }

    pub(super) fn answer_trailers(&mut self, direction: Direction, edits: HeaderEdits) -> Result<(), ApiMisuse> {
        let side = self.side_mut(direction);
        if !side.trailers_owed {
            return Err(ApiMisuse::NotOwed(direction));
        }
        if side.head == Head::Owed {
            return Err(ApiMisuse::HeadersFirst(direction));
        }
        if side.bodies_owed > 0 {
            return Err(ApiMisuse::BodyFirst(direction));
        }
        side.trailers_owed = false;
        side.output_ended = true;
        let response = TrailersResponse { header_mutation: edits.lower() };
        let response = match direction {
            Direction::Request => Response::RequestTrailers(response),
            Direction::Response => Response::ResponseTrailers(response),
        };
        self.push(Some(direction), response);
        Ok(())
    }

    /// Puts a piece of body out, or queues it where credit is lacking.
    pub(super) fn push_chunk(&mut self, direction: Direction, chunk: Chunk, drained: bool) {
        match &mut self.side_mut(direction).credit {
            Some(credit) if !drained => {
                credit.push(Waiting::Chunk(chunk));
                self.flush(direction);
            }
            _ => {
                let reply = chunk_reply(direction, chunk, drained);
                self.push(Some(direction), reply);
            }
        }
    }

    /// Puts out what waits and has credit.
    pub(super) fn flush(&mut self, direction: Direction) {
        while let Some(item) = self.side_mut(direction).credit.as_mut().and_then(|credit| credit.pop()) {
            self.put(direction, item);
        }
    }

    pub(super) fn put(&mut self, direction: Direction, item: Waiting) {
        match item {
            Waiting::Chunk(chunk) => {
                let response = Some(chunk_reply(direction, chunk, false));
                self.send(ProcessingResponse { response, ..ProcessingResponse::default() });
            }
            Waiting::Reply(reply) => self.send(*reply),
        }
    }

    /// Puts a message out, behind what waits in its direction.
    pub(super) fn push(&mut self, direction: Option<Direction>, response: Response) {
        self.push_reply(direction, ProcessingResponse { response: Some(response), ..ProcessingResponse::default() });
    }

    pub(super) fn push_reply(&mut self, direction: Option<Direction>, reply: ProcessingResponse) {
        let Some(direction) = direction else { return self.send(reply) };
        match &mut self.side_mut(direction).credit {
            Some(credit) if !credit.is_empty() => credit.push(Waiting::Reply(Box::new(reply))),
            _ => self.send(reply),
        }
    }

    /// The end of the line: what goes out with the next message joins it here.
    fn send(&mut self, mut reply: ProcessingResponse) {
        if let Some(metadata) = self.metadata.take() {
            (reply.dynamic_metadata, reply.typed_dynamic_metadata) = metadata.lower();
        }
        let asking = std::mem::take(&mut self.asking);
        reply.request_drain = asking.legacy;
        reply.request_drain_requests = asking.requests;
        reply.request_drain_responses = asking.responses;
        self.out.push_back(reply);
    }
}

fn chunk_reply(direction: Direction, chunk: Chunk, drain_complete: bool) -> Response {
    let streamed = StreamedBodyResponse {
        body: chunk.data,
        end_of_stream: chunk.end_stream,
        end_of_stream_without_message: chunk.without_message,
        grpc_message_compressed: chunk.compressed,
        drain_complete,
    };
    let mutation = BodyMutation { mutation: Some(body_mutation::Mutation::StreamedResponse(streamed)) };
    let response = Some(CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() });
    body_reply(direction, BodyResponse { response })
}

const fn body_reply(direction: Direction, response: BodyResponse) -> Response {
    match direction {
        Direction::Request => Response::RequestBody(response),
        Direction::Response => Response::ResponseBody(response),
    }
}

/// `None` when nothing changes, which every data plane reads as CONTINUE.
fn common(
    status: ResponseStatus,
    edits: HeaderEdits,
    change: BodyChange,
    clear_route_cache: bool,
) -> Option<CommonResponse> {
    let mutation = match change {
        BodyChange::Keep => None,
        BodyChange::Replace(body) => Some(body_mutation::Mutation::Body(body)),
        BodyChange::Clear => Some(body_mutation::Mutation::ClearBody(true)),
    };
    let response = CommonResponse {
        status: status.into(),
        header_mutation: edits.lower(),
        body_mutation: mutation.map(|mutation| BodyMutation { mutation: Some(mutation) }),
        trailers: None,
        clear_route_cache,
    };
    (response != CommonResponse::default()).then_some(response)
}
