//! One exchange seen from the processor.

mod answers;
mod call;
mod credit;
mod drain;
mod edits;
mod error;
mod side;
mod streamed;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

pub use crate::metadata::{DynamicMetadata, MetadataMessage, MetadataValue};
pub use call::{Answer, BodyAnswer, BodyChange, BodyModes, Call, Chunk, HeadersAnswer, ImmediateReply, Protocol};
pub use drain::DrainForm;
pub use edits::HeaderEdits;
pub use error::{ApiMisuse, Violation};
use extproc_proto::processing_request::{ClientWindowUpdate, FlowControlInit, Request};
use extproc_proto::processing_response::{Response, ServerWindowUpdate};
use extproc_proto::{HttpBody, ProcessingRequest, ProcessingResponse};

use self::credit::Credit;
use self::drain::Asking;
use self::side::{Drain, Head, Input, Side, is_chunked};
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
    /// Header values came in `value`, where Envoy has `raw_value` only.
    plain_values: bool,
    request: Side,
    response: Side,
    /// Goes out with the next message.
    metadata: Option<DynamicMetadata>,
    /// Goes out with the next message.
    asking: Asking,
    /// The data plane declared windows.
    windows: bool,
    /// It was told that we keep them.
    announced: bool,
    out: VecDeque<ProcessingResponse>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No message yet.
    #[default]
    Fresh,
    Open,
    /// A reply in parts is under way: what comes in is dropped.
    Replying,
    /// Answered with an immediate reply, or the peer is gone.
    Ended,
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
            self.init_windows(request.flow_control_init);
        }
        self.update_windows(request.client_window_update)?;
        if self.state != State::Open {
            return Ok(Call::Nothing);
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

    /// Takes the end of the request stream. A half-close and a reset are both normal: data planes race them. Output that
    /// waits for credit goes out: none can come any more.
    pub fn handle_end(&mut self) {
        for direction in Direction::BOTH {
            let waiting = self.side_mut(direction).credit.as_mut().map(|credit| credit.release());
            for item in waiting.into_iter().flatten() {
                self.put(direction, item);
            }
        }
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
            Answer::Drained => self.answer_drained(direction),
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

    /// The next message for the data plane. Credit for what was taken in goes with it, so poll when that was dealt with;
    /// where half a window is owed and nothing else goes out, it goes by itself. The first message says that we keep
    /// windows, if the data plane has some: one that waits for a sign of it would grant nothing before.
    pub fn poll_reply(&mut self) -> Option<ProcessingResponse> {
        let reply = self.out.pop_front();
        let due = Direction::BOTH.into_iter().any(|d| self.side(d).credit.as_ref().is_some_and(|c| c.is_due()));
        if (reply.is_none() && !due) || !self.windows || self.state == State::Ended {
            return reply;
        }
        let mut reply = reply.unwrap_or_default();
        let mut owed = |direction| self.side_mut(direction).credit.as_mut().map_or(0, |credit| credit.take_owed());
        let update = ServerWindowUpdate {
            window_increment_downstream_to_sidestream: owed(Direction::Request),
            window_increment_upstream_to_sidestream: owed(Direction::Response),
        };
        let first = !std::mem::replace(&mut self.announced, true);
        reply.server_window_update = (first || update != ServerWindowUpdate::default()).then_some(update);
        Some(reply)
    }

    /// How often output of this direction had to wait for credit of the data plane.
    #[must_use]
    pub fn stalls(&self, direction: Direction) -> u64 {
        self.side(direction).credit.as_ref().map_or(0, |credit| credit.stalls())
    }

    /// Whether metadata was given that no message has taken along.
    #[must_use]
    pub const fn has_metadata(&self) -> bool {
        self.metadata.is_some()
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
        self.out.is_empty() && Direction::BOTH.into_iter().all(|direction| self.side(direction).may_close())
    }

    fn init_windows(&mut self, init: Option<FlowControlInit>) {
        let Some(init) = init.filter(|_| !self.observing) else { return };
        self.windows = true;
        self.request.credit = Some(Box::new(Credit::new(
            init.initial_window_downstream_to_sidestream,
            init.initial_window_sidestream_to_upstream,
        )));
        self.response.credit = Some(Box::new(Credit::new(
            init.initial_window_upstream_to_sidestream,
            init.initial_window_sidestream_to_downstream,
        )));
    }

    fn update_windows(&mut self, update: Option<ClientWindowUpdate>) -> Result<(), Violation> {
        let Some(update) = update else { return Ok(()) };
        for (direction, increment) in [
            (Direction::Request, update.window_increment_sidestream_to_upstream),
            (Direction::Response, update.window_increment_sidestream_to_downstream),
        ] {
            if let Some(credit) = &mut self.side_mut(direction).credit {
                credit.join();
                credit.grant(direction, increment)?;
                self.flush(direction);
            }
        }
        Ok(())
    }

    fn on_headers(&mut self, direction: Direction, message: extproc_proto::HttpHeaders) -> Result<Call, Violation> {
        let side = self.side_mut(direction);
        if side.input != Input::Nothing {
            return Err(Violation::LateHeaders(direction));
        }
        let plain_values = wire::has_plain_values(message.headers.as_ref());
        let headers = wire::headers(message.headers)?;
        side.input = if message.end_of_stream { Input::HeadersOnly } else { Input::Headers };
        side.head = Head::Owed;
        self.plain_values |= plain_values;
        Ok(Call::Headers { direction, headers, end_stream: message.end_of_stream })
    }

    fn on_body(&mut self, direction: Direction, message: HttpBody) -> Result<Call, Violation> {
        let observing = self.observing;
        let side = self.side_mut(direction);
        if side.replaced {
            return Ok(Call::Nothing);
        }
        if message.drain_complete {
            return side.on_drained(direction, &message);
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
            Input::HeadersOnly | Input::EndedByBody | Input::Ended => return Err(Violation::AfterEnd(direction)),
        }
        if matches!(side.drain, Drain::Heard | Drain::Done) {
            return Err(Violation::AfterEnd(direction));
        }
        let grpc = mode == BodyMode::Grpc;
        if let Some(credit) = &mut side.credit {
            credit.set_cuts(!grpc);
            credit.take(direction, message.body.len())?;
        }
        // Some data planes mark a half-close with one flag, some with both.
        let end_stream = message.end_of_stream || (grpc && message.end_of_stream_without_message);
        side.mode = Some(mode);
        side.input = if end_stream { Input::EndedByBody } else { Input::Body };
        if !is_chunked(mode) {
            side.bodies_owed += 1;
        }
        let chunk = Chunk {
            without_message: grpc && message.end_of_stream_without_message && message.body.is_empty(),
            compressed: grpc && message.grpc_message_compressed,
            data: message.body,
            end_stream,
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
            Input::HeadersOnly | Input::EndedByBody | Input::Ended => return Err(Violation::AfterEnd(direction)),
        }
        let trailers = wire::headers(message.trailers)?;
        side.input = Input::Ended;
        side.trailers_owed = true;
        Ok(Call::Trailers { direction, trailers })
    }

    fn end_with(&mut self, reply: ImmediateReply) {
        self.state = State::Ended;
        // What waits for credit is given up with the rest of the exchange.
        self.request.credit = None;
        self.response.credit = None;
        if !self.observing {
            self.push(None, Response::ImmediateResponse(wire::immediate(reply)));
        }
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
