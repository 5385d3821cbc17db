//! One direction of a filter: what the processor owes for it, and what is held until it has answered.

mod grpc;
mod http;
mod observe;
mod reply;
mod streamed_reply;

use bytes::Bytes;

pub(super) use self::streamed_reply::BeginReply;
use super::grpc::Messages;
use super::held::{Chunks, Held, Partial};
use super::link::Cx;
use super::order::Order;
use super::out::Out;
use super::replay::{Lost, Replay};
use crate::mutation::{Part, Scope};
use crate::{BodyMode, Config, Direction, Headers, Options, ProcessingMode, wire};

/// One direction. Used twice.
#[derive(Debug)]
pub(super) struct Side {
    direction: Direction,
    order: Order,
    mode: Mode,
    pub(super) phase: Phase,
    pub(super) out: Out,
    /// FULL_DUPLEX_STREAMED: what was sent. GRPC has its own.
    replay: Replay<Bytes>,
    /// Above the limit, and not yet below half of it again.
    full: bool,
    /// The processor wants no messages of this direction, which has not begun.
    drain_wanted: bool,
}

/// What of this direction is sent. CONTINUE_AND_REPLACE changes it.
#[derive(Clone, Copy, Debug)]
struct Mode {
    headers: bool,
    body: BodyMode,
    /// The body passes, unless it is all there when the headers are answered: then it is sent as a whole. What becomes
    /// of GRPC in Envoy, which knows the mode by name only.
    whole_if_there: bool,
    trailers: bool,
    /// STREAMED body does not wait for the headers reply.
    early: bool,
    /// `content-length` goes, because the body that follows may have any length.
    drop_length: bool,
}

/// What the processor owes, and what is held for it.
///
/// ```text
///            +--------------- headers not sent ------------+
///            |                                             v            data
///  Start --headers--> Headers --reply--+--> Idle --data--> Chunks --reply--+
///                                      |     ^ |             |  (STREAMED) |
///                                      |     | +--trailers-->|             |
///     (Early: a headers reply is owed, and one for each chunk that did not wait for it; then Chunks)
///                                      |     +---all answered+<------------+
///                                      |                     |
///                                      +--> Collect --end--> Whole --reply--+--> Trailers --reply--> Done
///                                      |   (BUFFERED)         ^             |
///                                      +--body all there------+             +--> Done
///                                      +--> Collect --over the limit--> Partial --reply--> Idle, mode NONE
///                                      |   (BUFFERED_PARTIAL; what fits is Whole at its end)
///                                      +--> Duplex --end of stream, trailers reply--> Done, or Discard till the end
///                                      |   (FULL_DUPLEX_STREAMED; GRPC as well, from GrpcHeaders to Grpc, and to Idle when drained)
///                                      +--CONTINUE_AND_REPLACE with a body--> Replaced --end--> Done
///
///  Headers --streamed reply--> Replying (FULL_DUPLEX_STREAMED, while the body goes on), or Cut
///  any --processing is over--> Pass        any --local reply, reset--> Cut
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing was seen.
    Start,
    /// A headers reply is owed.
    Headers(Held),
    /// A headers reply is owed, and after it one for each chunk: the body does not wait for it.
    Early(Held, Chunks),
    /// Nothing is owed or held. Parts pass; with STREAMED, data becomes [`Phase::Chunks`].
    Idle,
    /// BUFFERED and BUFFERED_PARTIAL: the body is being gathered. Nothing is owed.
    Collect(Held),
    /// BUFFERED_PARTIAL: one body reply is owed, for what was there when the limit was crossed.
    Partial(Partial),
    /// One body reply is owed, for the whole body.
    Whole(Held),
    /// One body reply is owed for each chunk.
    Chunks(Chunks),
    /// FULL_DUPLEX_STREAMED: what comes goes to the processor, what it gives goes on.
    Duplex(Duplex),
    /// GRPC: a headers reply is owed, and after it whatever the processor makes of the messages.
    GrpcHeaders(Held, Box<Messages>),
    /// GRPC: messages go to the processor, what it gives goes on.
    Grpc(Box<Messages>),
    /// A trailers reply is owed.
    Trailers(Held),
    /// The processor has replaced the body: what is left of the original is discarded.
    Replaced,
    /// FULL_DUPLEX_STREAMED: the processor ended the body before its source did. What is left is discarded.
    Discard,
    /// FULL_DUPLEX_STREAMED: the processor streams a reply to the client, and gets what still comes of this body.
    Replying,
    /// Processing is over: parts pass.
    Pass,
    /// The last part was released.
    Done,
    /// This direction goes nowhere any more.
    Cut(Unanswered),
}

/// What a FULL_DUPLEX_STREAMED body knows of itself once its headers are answered.
#[derive(Debug, Default)]
pub(super) struct Duplex {
    /// Body was sent. Nothing of it is here any more, and no answer says to which message it belongs.
    sent: bool,
    /// They were sent; the processor ends the direction by answering them.
    trailers: Option<Headers>,
}

/// The answers that are still to come when a direction is cut: they are expected and have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    Nothing,
    Headers,
    /// Headers, then so many bodies.
    Early(usize),
    Bodies(usize),
    Trailers,
    /// Any number of any kind, as long as there is a stream.
    Duplex,
}

impl Mode {
    fn new(direction: Direction, mode: &ProcessingMode, options: &Options) -> Self {
        let headers = mode.headers(direction);
        let body = options.profile.body(mode.body(direction));
        let changes_length = match body {
            BodyMode::Streamed | BodyMode::BufferedPartial | BodyMode::FullDuplexStreamed | BodyMode::Grpc => true,
            BodyMode::Buffered => !headers,
            BodyMode::None => false,
        };
        Self {
            headers,
            body,
            whole_if_there: body != mode.body(direction),
            // Without them the processor could not know where the body ends.
            trailers: mode.trailers(direction) || body == BodyMode::FullDuplexStreamed,
            early: body == BodyMode::Streamed && options.send_body_without_waiting_for_header_response,
            drop_length: changes_length && !options.allow_content_length_header,
        }
    }
}

impl Side {
    pub(super) fn new(direction: Direction, config: &Config) -> Self {
        let options = config.options();
        let mode = Mode::new(direction, &options.processing_mode, options);
        Self {
            direction,
            order: Order::Start,
            mode,
            phase: Phase::Start,
            out: Out::default(),
            replay: Replay::default(),
            full: false,
            drain_wanted: false,
        }
    }

    /// The processor changes the mode, in time for what has not been decided yet. What FULL_DUPLEX_STREAMED has sent
    /// nobody else has, so it stays.
    pub(super) fn set_mode(&mut self, cx: &mut Cx<'_>, mode: &ProcessingMode) {
        let mode = Mode::new(self.direction, mode, cx.config.options());
        let ended = self.order == Order::Ended;
        match &mut self.phase {
            Phase::Start => self.mode = mode,
            // A route may say so where the filter does not; then it can be taken back until something was sent.
            Phase::Headers(held) if self.mode.body != BodyMode::FullDuplexStreamed || !held.has_more() => {
                let duplex = mode.body == BodyMode::FullDuplexStreamed;
                let grpc = mode.body == BodyMode::Grpc;
                // A whole body is sent whole, and checked against its length.
                if mode.drop_length && ((duplex || grpc) && held.has_more() || !ended) {
                    held.drop_length();
                    self.mode.drop_length = true;
                }
                (self.mode.body, self.mode.trailers) = (mode.body, mode.trailers);
                self.mode.whole_if_there = mode.whole_if_there;
                if duplex && held.has_data {
                    let end = ended && held.trailers.is_none();
                    let (body, limit) = (held.give_body(), cx.config.options().replay_buffer);
                    self.replay.keep(body.len(), limit, || body.clone());
                    cx.tell_body(self.direction, body, end);
                }
                if let Some(trailers) = held.trailers.as_ref().filter(|_| duplex) {
                    cx.tell(wire::trailers_message(self.direction, trailers, cx.config));
                }
            }
            Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::GrpcHeaders(..)
            | Phase::Grpc(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => {}
        }
    }

    /// How the body is sent.
    pub(super) const fn body_mode(&self) -> BodyMode {
        self.mode.body
    }

    /// Whether a headers reply is owed.
    pub(super) const fn waits_for_headers(&self) -> bool {
        matches!(self.phase, Phase::Headers(_) | Phase::Early(..) | Phase::GrpcHeaders(..))
    }

    /// Whether the headers wait for their answer in a mode from which Envoy goes to FULL_DUPLEX_STREAMED.
    pub(super) const fn may_become_duplex(&self) -> bool {
        matches!(self.phase, Phase::Headers(_)) && matches!(self.mode.body, BodyMode::None | BodyMode::Streamed)
    }

    /// Whether the headers are all there is.
    pub(super) fn is_header_only(&self) -> bool {
        matches!(&self.phase, Phase::Headers(held) if self.order == Order::Ended && !held.has_more())
    }

    /// Processing is over: lets go of everything that is held, unprocessed.
    pub(super) fn bypass(&mut self) {
        let ended = self.order == Order::Ended;
        let next = if ended { Phase::Done } else { Phase::Pass };
        match std::mem::replace(&mut self.phase, next) {
            Phase::Headers(mut held)
            | Phase::Collect(mut held)
            | Phase::Whole(mut held)
            | Phase::Trailers(mut held) => {
                held.keep_true_length();
                held.release(&mut self.out, ended);
            }
            Phase::Early(mut held, chunks) => {
                held.keep_true_length();
                held.release(&mut self.out, false);
                chunks.release(&mut self.out);
            }
            Phase::Partial(mut partial) => {
                partial.first.keep_true_length();
                partial.first.release(&mut self.out, false);
                partial.rest.release(&mut self.out);
            }
            Phase::Chunks(chunks) => chunks.release(&mut self.out),
            // What it has is lost, or was put back before.
            Phase::Duplex(Duplex { trailers, .. }) => {
                if let Some(trailers) = trailers {
                    self.out.trailers(trailers);
                }
            }
            Phase::GrpcHeaders(mut held, messages) => {
                held.keep_true_length();
                held.release(&mut self.out, false);
                messages.release(&mut self.out);
            }
            Phase::Grpc(messages) => messages.release(&mut self.out),
            Phase::Replaced => self.phase = Phase::Replaced,
            Phase::Replying => self.phase = Phase::Cut(Unanswered::Nothing),
            Phase::Discard => self.phase = Phase::Discard,
            Phase::Cut(_) => self.phase = Phase::Cut(Unanswered::Nothing),
            Phase::Start | Phase::Idle | Phase::Pass | Phase::Done => {}
        }
    }

    /// Drops everything: nothing goes in or out any more.
    pub(super) fn cut(&mut self) {
        self.out.clear();
        self.replay.take();
        self.phase = Phase::Cut(match &self.phase {
            Phase::Headers(_) if self.mode.body == BodyMode::FullDuplexStreamed => Unanswered::Duplex,
            Phase::Duplex(_) | Phase::GrpcHeaders(..) | Phase::Grpc(_) => Unanswered::Duplex,
            Phase::Headers(_) => Unanswered::Headers,
            Phase::Early(_, chunks) => Unanswered::Early(chunks.len()),
            Phase::Whole(_) | Phase::Partial(_) => Unanswered::Bodies(1),
            Phase::Chunks(chunks) => Unanswered::Bodies(chunks.len()),
            Phase::Trailers(_) => Unanswered::Trailers,
            Phase::Cut(unanswered) => *unanswered,
            Phase::Start
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done => Unanswered::Nothing,
        });
    }

    /// Whether the processor has body that only it can give back.
    pub(super) fn is_away(&self) -> bool {
        self.lost().is_some()
    }

    /// Why only the processor can give back body that it has.
    pub(super) fn lost(&self) -> Option<Lost> {
        match &self.phase {
            Phase::Headers(held) if self.mode.body == BodyMode::FullDuplexStreamed && held.has_data => {
                self.replay.lost()
            }
            Phase::Duplex(duplex) if duplex.sent => self.replay.lost(),
            Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages) => messages.lost(),
            Phase::Start
            | Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => None,
        }
    }

    /// Takes back what the processor was given, if all of it is here. It goes on with the next [`Side::bypass`].
    pub(super) fn restore(&mut self) {
        match &mut self.phase {
            Phase::Headers(held) => self.replay.take().into_iter().for_each(|piece| held.push(piece)),
            Phase::Duplex(Duplex { trailers, .. }) => {
                let mut held = trailers.take().map_or_else(Held::default, Held::of_trailers);
                self.replay.take().into_iter().for_each(|piece| held.push(piece));
                self.phase = Phase::Collect(held);
            }
            Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages) => messages.restore(),
            Phase::Start
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => {}
        }
    }

    /// Whether the source has given nothing yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.order == Order::Start && !self.is_cut()
    }

    pub(super) const fn is_cut(&self) -> bool {
        matches!(self.phase, Phase::Cut(_))
    }

    pub(super) const fn order(&self) -> Order {
        self.order
    }

    /// Whether nothing of this direction will be sent any more, and nothing is owed.
    pub(super) fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Start => !self.mode.headers && self.mode.body == BodyMode::None && !self.mode.trailers,
            Phase::Idle => self.mode.body == BodyMode::None && !self.mode.trailers,
            Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(Unanswered::Nothing | Unanswered::Duplex) => true,
            Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::GrpcHeaders(..)
            | Phase::Grpc(_)
            | Phase::Trailers(_)
            | Phase::Cut(Unanswered::Headers | Unanswered::Early(_) | Unanswered::Bodies(_) | Unanswered::Trailers) => {
                false
            }
        }
    }

    /// Whether more body may come.
    pub(super) fn wants(&self) -> bool {
        let blocked = match &self.phase {
            Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages) => messages.is_blocked(),
            Phase::Start
            | Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => false,
        };
        !blocked && self.has_room() && self.order != Order::Ended && !self.is_cut()
    }

    /// Whether less than the limit is held.
    pub(super) const fn has_room(&self) -> bool {
        !self.full
    }

    /// Compares what is held, and what waits for the stream, with the limit: reading stops above it and resumes at
    /// half of it.
    pub(super) fn balance(&mut self, limit: usize, unsent: usize) {
        let held = match &self.phase {
            // An overflow decides here, not back-pressure.
            Phase::Headers(_) | Phase::Collect(_) if self.mode.body == BodyMode::Buffered => 0,
            Phase::Headers(held) | Phase::Collect(held) | Phase::Whole(held) | Phase::Trailers(held) => held.bytes(),
            Phase::Partial(partial) => partial.first.bytes() + partial.rest.bytes(),
            Phase::Early(_, chunks) | Phase::Chunks(chunks) => chunks.bytes(),
            Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages) => messages.bytes(),
            Phase::Start
            | Phase::Idle
            | Phase::Duplex(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => 0,
        };
        let load = held + self.out.bytes() + unsent;
        self.full = load > if self.full { limit / 2 } else { limit };
    }

    fn scope<'a>(&self, cx: &Cx<'a>, part: Part) -> Scope<'a> {
        Scope { config: cx.config, part, drop_length: self.mode.drop_length, replacing: false }
    }

    const fn headers_part(&self) -> Part {
        match self.direction {
            Direction::Request => Part::RequestHeaders,
            Direction::Response => Part::ResponseHeaders,
        }
    }
}
