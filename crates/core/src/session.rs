//! One exchange seen from the processor.

mod call;
mod edits;
mod error;
mod metadata;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

pub use call::{Answer, BodyAnswer, BodyChange, BodyModes, Call, Chunk, HeadersAnswer, ImmediateReply, Protocol};
pub use edits::HeaderEdits;
pub use error::{ApiMisuse, Violation};
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeadersResponse, HttpBody, ProcessingRequest, ProcessingResponse,
    StreamedBodyResponse, TrailersResponse, body_mutation,
};
pub use metadata::{DynamicMetadata, MetadataValue};

use crate::{BodyMode, Direction};

/// One exchange seen from the processor: the other end of [`Filter`](crate::filter::Filter).
///
/// * **In**: [`handle`](Self::handle) takes each message and tells what it asks for; [`handle_end`](Self::handle_end)
///   takes the end of the request stream, clean or reset, which both are normal.
/// * **Answers**: [`answer`](Self::answer) and [`reply`](Self::reply) check what the author's side wants to say. An
///   answer that the protocol forbids, or that the data plane would silently lose, is an [`ApiMisuse`], and nothing
///   was sent.
/// * **Out**: [`poll_reply`](Self::poll_reply) yields the messages, in order.
///
/// It owns what authors get wrong: the reply has the kind of its message, header answers go before body answers,
/// header edits are lowered portably, nothing is sent in observability mode, nothing follows an immediate reply.
/// It never panics on what a peer sends.
#[derive(Debug, Default)]
pub struct Session {
    state: State,
    observing: bool,
    protocol: Option<Protocol>,
    request: Side,
    response: Side,
    /// Goes out with the next message.
    metadata: Option<DynamicMetadata>,
    out: VecDeque<ProcessingResponse>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No message yet.
    #[default]
    Fresh,
    Open,
    /// Answered with an immediate reply, or the peer is gone.
    Ended,
}

/// What one direction has brought and what it is owed.
#[derive(Debug, Default)]
struct Side {
    input: Input,
    head: Head,
    /// The mode in force; `None` while neither declared nor seen.
    mode: Option<BodyMode>,
    /// The mode that our last header answer asked for.
    asked: Option<BodyMode>,
    /// Body messages that wait for their answer, in the modes that answer each.
    bodies_owed: usize,
    body_answered: bool,
    trailers_owed: bool,
    /// The body was replaced from the header answer: what still comes of this direction is given up.
    replaced: bool,
    output_ended: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Input {
    #[default]
    Nothing,
    Headers,
    Body,
    /// Ended by the headers.
    HeadersOnly,
    Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Head {
    /// Not sent to us, or not yet.
    #[default]
    Unseen,
    Owed,
    Answered,
}

impl Session {
    /// A session for a new stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a message of the data plane.
    ///
    /// # Errors
    /// [`Violation`] when the protocol does not allow it here. The exchange cannot go on: end the stream with an
    /// error.
    pub fn handle(&mut self, request: ProcessingRequest) -> Result<Call, Violation> {
        if self.state == State::Fresh {
            self.state = State::Open;
            self.observing = request.observability_mode;
            self.protocol = request.protocol_config.map(wire::protocol).transpose()?;
            self.request.mode = self.protocol.map(|p| p.bodies.request);
            self.response.mode = self.protocol.map(|p| p.bodies.response);
        }
        let Some(message) = request.request else { return Ok(Call::Nothing) };
        match message {
            Request::RequestHeaders(m) => self.on_headers(Direction::Request, m),
            Request::ResponseHeaders(m) => self.on_headers(Direction::Response, m),
            Request::RequestBody(m) => self.on_body(Direction::Request, m),
            Request::ResponseBody(m) => self.on_body(Direction::Response, m),
            Request::RequestTrailers(m) => self.on_trailers(Direction::Request, m),
            Request::ResponseTrailers(m) => self.on_trailers(Direction::Response, m),
        }
    }

    /// Reads a declaration by itself, before a session takes the message that carries it.
    ///
    /// # Errors
    /// [`Violation::UnknownMode`].
    pub fn read_protocol(config: extproc_proto::ProtocolConfiguration) -> Result<Protocol, Violation> {
        wire::protocol(config)
    }

    /// Takes the end of the request stream. A half-close and a reset are both normal: data planes race them.
    pub fn handle_end(&mut self) {
        self.state = State::Ended;
    }

    /// Answers a message.
    ///
    /// In observability mode every answer is accepted and none is sent.
    ///
    /// # Errors
    /// [`ApiMisuse`] when the answer does not fit what is owed, or would be lost. Nothing has changed.
    pub fn answer(&mut self, direction: Direction, answer: Answer) -> Result<(), ApiMisuse> {
        if self.state != State::Open {
            return Err(ApiMisuse::Ended);
        }
        if self.observing {
            return Ok(());
        }
        match answer {
            Answer::Headers(answer) => self.answer_headers(direction, answer),
            Answer::Body(answer) => self.answer_body(direction, answer),
            Answer::Chunk(chunk) => self.answer_chunk(direction, chunk),
            Answer::Trailers(edits) => self.answer_trailers(direction, edits),
        }
    }

    /// Answers the client in place of the upstream. Nothing can follow.
    ///
    /// # Errors
    /// [`ApiMisuse::ResponseBegun`] when the client's response is under way; [`cut`](Self::cut) is what remains.
    pub fn reply(&mut self, reply: ImmediateReply) -> Result<(), ApiMisuse> {
        if self.state != State::Open {
            return Err(ApiMisuse::Ended);
        }
        if self.response.is_forwarded() {
            return Err(ApiMisuse::ResponseBegun);
        }
        self.end_with(reply);
        Ok(())
    }

    /// Cuts off the client's response; if it has not begun, the client gets a 500. Nothing can follow.
    ///
    /// # Errors
    /// [`ApiMisuse::Ended`] when there is nothing left to cut.
    pub fn cut(&mut self, details: &str) -> Result<(), ApiMisuse> {
        if self.state != State::Open {
            return Err(ApiMisuse::Ended);
        }
        self.end_with(ImmediateReply { status: 500, details: details.to_owned(), ..ImmediateReply::default() });
        Ok(())
    }

    /// The next message for the data plane.
    pub fn poll_reply(&mut self) -> Option<ProcessingResponse> {
        self.out.pop_front()
    }

    /// Whether the data plane only lets us watch: answers are not sent.
    #[must_use]
    pub const fn is_observing(&self) -> bool {
        self.observing
    }

    /// Whether nothing more can be answered: after an immediate reply, or when the peer is gone.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// What the first message declared; `None` before it, and with data planes that do not say (observability mode
    /// never does).
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// How the body of this direction comes; `None` while unknown. Settled with the first body message at the latest.
    #[must_use]
    pub const fn body_mode(&self, direction: Direction) -> Option<BodyMode> {
        self.side(direction).mode
    }

    /// Whether a header answer may ask for other body modes. A data plane may still ignore it; the next message tells.
    ///
    /// Envoy ignores the wish when a body mode is FULL_DUPLEX_STREAMED or the body does not wait for the header answer.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        let streams = |mode| matches!(mode, BodyMode::FullDuplexStreamed | BodyMode::Grpc);
        !self.observing
            && self.protocol.is_some_and(|p| !p.eager_body && !streams(p.bodies.request) && !streams(p.bodies.response))
    }

    /// Whether a header answer may ask for this body mode, and the answers to what then comes can be right, whether it
    /// was granted or not. Nothing on the wire tells BUFFERED from STREAMED before the body has come, so a wish between
    /// these is served as STREAMED; the chunked modes can only be told from NONE.
    #[must_use]
    pub fn may_ask_for(&self, direction: Direction, mode: BodyMode) -> bool {
        let Some(declared) = self.protocol.map(|protocol| protocol.bodies.of(direction)) else { return false };
        let tells = match mode {
            BodyMode::Grpc => false,
            BodyMode::FullDuplexStreamed => declared == BodyMode::None,
            BodyMode::None | BodyMode::Streamed | BodyMode::Buffered | BodyMode::BufferedPartial => true,
        };
        self.may_ask() && tells
    }

    /// Whether the data plane runs a timer on a message of this direction that we have not answered, so that
    /// [`extension`](Self::extension) has a meaning. There is none in FULL_DUPLEX_STREAMED and GRPC.
    #[must_use]
    pub fn may_extend(&self, direction: Direction) -> bool {
        let side = self.side(direction);
        self.state == State::Open && !self.observing && side.owes() && !side.mode.is_some_and(is_chunked)
    }

    /// The message that gives us this long, counted from its arrival, to answer (`override_message_timeout`). `None`
    /// below 1 ms, which data planes refuse. Send it at once, past [`poll_reply`](Self::poll_reply), and at most once
    /// for each message to answer.
    #[must_use]
    pub fn extension(by: Duration) -> Option<ProcessingResponse> {
        if by < Duration::from_millis(1) {
            return None;
        }
        let span = prost_types::Duration::try_from(by).ok()?;
        Some(ProcessingResponse { override_message_timeout: Some(span), ..ProcessingResponse::default() })
    }

    /// Sends dynamic metadata with the next message. What was given before and has not left is kept, but for the same
    /// keys.
    pub fn annotate(&mut self, metadata: DynamicMetadata) {
        if !self.observing {
            self.metadata.get_or_insert_default().merge(metadata);
        }
    }

    /// Whether the stream can be closed now without any part of the exchange being lost or waiting for ever.
    #[must_use]
    pub fn may_close(&self) -> bool {
        self.out.is_empty()
            && Direction::BOTH.into_iter().all(|direction| {
                let side = self.side(direction);
                let done = matches!(side.input, Input::HeadersOnly | Input::Ended);
                let whole = matches!(side.mode, Some(BodyMode::None | BodyMode::Buffered | BodyMode::BufferedPartial));
                !side.owes() && (done || whole || side.replaced)
            })
    }

    fn on_headers(&mut self, direction: Direction, message: extproc_proto::HttpHeaders) -> Result<Call, Violation> {
        let side = self.side_mut(direction);
        if side.input != Input::Nothing {
            return Err(Violation::LateHeaders(direction));
        }
        let headers = wire::headers(message.headers)?;
        side.input = if message.end_of_stream { Input::HeadersOnly } else { Input::Headers };
        side.head = Head::Owed;
        Ok(Call::Headers { direction, headers, end_stream: message.end_of_stream })
    }

    fn on_body(&mut self, direction: Direction, message: HttpBody) -> Result<Call, Violation> {
        let observing = self.observing;
        let side = self.side_mut(direction);
        if side.replaced {
            return Ok(Call::Nothing);
        }
        let mode = match (side.mode, side.asked) {
            (Some(BodyMode::None), None | Some(BodyMode::None)) => return Err(Violation::UndeclaredBody(direction)),
            (Some(BodyMode::None), Some(asked)) => asked,
            (Some(mode), _) => mode,
            // Undeclared: a whole body is answered alike in both modes.
            (None, _) if message.end_of_stream && side.input != Input::Body && !observing => BodyMode::Buffered,
            (None, _) => BodyMode::Streamed,
        };
        match side.input {
            Input::Nothing | Input::Headers => {}
            Input::Body if matches!(mode, BodyMode::Buffered | BodyMode::BufferedPartial) => {
                return Err(Violation::SecondBody(direction));
            }
            Input::Body => {}
            Input::HeadersOnly | Input::Ended => return Err(Violation::AfterEnd(direction)),
        }
        side.mode = Some(mode);
        side.input = if message.end_of_stream { Input::Ended } else { Input::Body };
        if !is_chunked(mode) {
            side.bodies_owed += 1;
        }
        let chunk = Chunk {
            data: message.body,
            end_stream: message.end_of_stream,
            without_message: message.end_of_stream_without_message,
            compressed: message.grpc_message_compressed,
        };
        Ok(Call::Body { direction, chunk })
    }

    fn on_trailers(&mut self, direction: Direction, message: extproc_proto::HttpTrailers) -> Result<Call, Violation> {
        let side = self.side_mut(direction);
        if side.replaced {
            return Ok(Call::Nothing);
        }
        match side.input {
            Input::Nothing | Input::Headers | Input::Body => {}
            Input::HeadersOnly | Input::Ended => return Err(Violation::AfterEnd(direction)),
        }
        let trailers = wire::headers(message.trailers)?;
        side.input = Input::Ended;
        side.trailers_owed = true;
        Ok(Call::Trailers { direction, trailers })
    }

    fn answer_headers(&mut self, direction: Direction, answer: HeadersAnswer) -> Result<(), ApiMisuse> {
        let side = self.side_mut(direction);
        if side.head != Head::Owed {
            return Err(ApiMisuse::NotOwed(direction));
        }
        if answer.replace.is_some() && side.input != Input::HeadersOnly && side.mode.is_some_and(is_chunked) {
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
        let dynamic_metadata = self.metadata.take().map(DynamicMetadata::lower);
        self.out.push_back(ProcessingResponse {
            response: Some(response),
            mode_override,
            dynamic_metadata,
            ..ProcessingResponse::default()
        });
        Ok(())
    }

    fn answer_body(&mut self, direction: Direction, answer: BodyAnswer) -> Result<(), ApiMisuse> {
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
        self.push_body(direction, BodyResponse { response });
        Ok(())
    }

    fn answer_chunk(&mut self, direction: Direction, chunk: Chunk) -> Result<(), ApiMisuse> {
        let side = self.side_mut(direction);
        if !side.mode.is_some_and(is_chunked) {
            return Err(ApiMisuse::OneAnswerEach(direction));
        }
        if side.head == Head::Owed {
            return Err(ApiMisuse::HeadersFirst(direction));
        }
        if side.output_ended {
            return Err(ApiMisuse::AfterEnd(direction));
        }
        if matches!(side.input, Input::Nothing | Input::HeadersOnly) {
            return Err(ApiMisuse::NotOwed(direction));
        }
        if chunk.end_stream && side.trailers_owed {
            return Err(ApiMisuse::TrailersOwed(direction));
        }
        side.output_ended = chunk.end_stream;
        let streamed = StreamedBodyResponse {
            body: chunk.data,
            end_of_stream: chunk.end_stream,
            end_of_stream_without_message: chunk.without_message,
            grpc_message_compressed: chunk.compressed,
            drain_complete: false,
        };
        let mutation = BodyMutation { mutation: Some(body_mutation::Mutation::StreamedResponse(streamed)) };
        let response = Some(CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() });
        self.push_body(direction, BodyResponse { response });
        Ok(())
    }

    fn answer_trailers(&mut self, direction: Direction, edits: HeaderEdits) -> Result<(), ApiMisuse> {
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
        self.push(match direction {
            Direction::Request => Response::RequestTrailers(response),
            Direction::Response => Response::ResponseTrailers(response),
        });
        Ok(())
    }

    fn end_with(&mut self, reply: ImmediateReply) {
        self.state = State::Ended;
        if !self.observing {
            self.push(Response::ImmediateResponse(wire::immediate(reply)));
        }
    }

    fn push_body(&mut self, direction: Direction, response: BodyResponse) {
        self.push(match direction {
            Direction::Request => Response::RequestBody(response),
            Direction::Response => Response::ResponseBody(response),
        });
    }

    fn push(&mut self, response: Response) {
        let dynamic_metadata = self.metadata.take().map(DynamicMetadata::lower);
        let response = Some(response);
        self.out.push_back(ProcessingResponse { response, dynamic_metadata, ..ProcessingResponse::default() });
    }

    const fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    const fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

impl Side {
    fn ask(&mut self, mode: BodyMode) {
        self.asked = Some(mode);
        let held = matches!(self.mode, Some(BodyMode::Buffered | BodyMode::BufferedPartial));
        if held && mode == BodyMode::Streamed && self.input != Input::Body {
            // Right also if it is refused: a whole body is answered as a chunk is, only with less in the answer.
            self.mode = Some(mode);
        }
    }

    fn owes(&self) -> bool {
        self.head == Head::Owed || self.bodies_owed > 0 || self.trailers_owed
    }

    /// Whether the data plane has passed the headers of this direction on.
    fn is_forwarded(&self) -> bool {
        if self.input == Input::Nothing || self.head == Head::Owed {
            return false;
        }
        let holds = matches!(self.mode, Some(BodyMode::Buffered | BodyMode::BufferedPartial));
        let awaits_body = matches!(self.input, Input::Headers) || self.bodies_owed > 0;
        !holds || !awaits_body || self.body_answered || self.replaced
    }
}

/// Whether output is chunks, independent of the messages that came.
const fn is_chunked(mode: BodyMode) -> bool {
    matches!(mode, BodyMode::FullDuplexStreamed | BodyMode::Grpc)
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
