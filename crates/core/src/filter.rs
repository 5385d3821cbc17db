//! One ext_proc filter on one HTTP exchange.
//!
//! A [`Filter`] is two `Side`s, one for each direction, that share a side stream to the processor. A side is an enum
//! of phases, each of which owns what is held while the processor decides; what it lets go waits in an outlet. Every
//! way to fail goes through one function, which decides open or closed, the status and the counters.
//!
//! # Where it departs from Envoy 1.40
//!
//! * STREAMED keeps the message timer while chunks are unanswered; Envoy stops it at any answer and can wait forever.
//! * `content-length` never contradicts the body. One that the processor sets where the body stays as it is (mode
//!   NONE, header-only messages, CONTINUE_AND_REPLACE) is dropped unless it is the original; a whole body is checked
//!   also when the processor did not change it; with `allow_content_length_header`, a body whose headers have left is cut
//!   when it does not fit. A header-only message keeps its length in every mode.
//! * Empty header names are invalid, `:method` and `:path` values that HTTP does not allow are refused, and pseudo
//!   headers that a map's kind does not know are not forwarded.
//! * FULL_DUPLEX_STREAMED never loses body unseen: a processor that ends its stream OK while it still has body fails
//!   the exchange, where Envoy goes on without that body, unless `replay_buffer` has a copy. It ends a body that has
//!   trailers by answering those; if it says that the body ends instead, the trailers follow as they came, where Envoy's
//!   request never ends. An answer to trailers does not stand for the one to the headers. Fail-open is off only while the
//!   processor has body that `replay_buffer` has no copy of, not for the rest of the exchange.
//! * A mode override to a mode that may change the length of a body that is still to come drops `content-length` as
//!   that mode does; a direction whose FULL_DUPLEX_STREAMED body has begun stays so; FULL_DUPLEX_STREAMED always sends trailers.
//!   `allowed_override_modes` compares what modes mean, so that DEFAULT equals what it stands for.
//! * A response that is not gRPC has no messages in GRPC mode: its body passes.
//! * A reply that the processor streams has a deadline for each next part (`streamed_reply_timeout`), is cut when the
//!   processor ends its stream before the reply, and keeps its `content-length`; Envoy leaves the client waiting, or with
//!   a body that is not what was announced. The upstream never sees the request that is answered so.
//! * In observability mode a processor that takes no copies is done without after `message_timeout`; Envoy's exchange
//!   waits for it.
//! * A stream is half-closed, and reset only if the processor does not end it within `remote_close_timeout`. Envoy does
//!   so with a runtime flag, and by default half-closes and resets in one go.

mod calls;
mod event;
mod fail;
mod grpc;
mod held;
mod link;
mod metadata;
mod mode;
mod observe;
mod order;
mod out;
mod replay;
mod side;
mod streamed_reply;
#[cfg(test)]
mod tests;
mod timers;

use std::sync::Arc;
use std::time::Instant;

pub(crate) use calls::CallKind;
pub use event::{Effect, EndStream, Forward, GrpcStatus, HttpEvent, Outgoing, StreamEvent, Timer};
pub(crate) use grpc::{FrameError, Frames, Windows};
pub(crate) use order::Order;

use self::fail::Cause;
use self::link::{Cx, Link, Stream};
use self::side::Side;
use self::streamed_reply::StreamedReply;
use crate::attributes::List;
use crate::local_reply::RequestKind;
use crate::profile::Misplaced;
use crate::violation::Violation;
use crate::wire::{Controls, Reply, ReplyMessage};
use crate::{Attribute, BodyMode, Config, Direction, Profile, Stats};

/// One ext_proc filter on one HTTP exchange.
///
/// * `handle_*` take what happened, with the time;
/// * `poll_*` give what is to be done, one outlet for each sink;
/// * [`wants`](Self::wants), [`stats`](Self::stats) are questions.
///
/// A [`FilterChain`](crate::FilterChain) drives it. On its own it needs a caller that feeds an
/// [`Effect::LocalReply`] or an [`Effect::StreamedReply`] back as the response, if the response has not begun.
#[derive(Debug)]
pub struct Filter {
    config: Arc<Config>,
    request: Side,
    response: Side,
    link: Link,
    kind: Option<RequestKind>,
    reply: StreamedReply,
    /// What the stream had taken when the exchange began to wait for it.
    stall_seen: u64,
}

/// The caller broke the contract: an event that cannot follow what it fed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ApiMisuse(pub &'static str);

impl Filter {
    /// A filter for a new exchange.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            request: Side::new(Direction::Request, &config),
            response: Side::new(Direction::Response, &config),
            link: Link::default(),
            kind: None,
            reply: StreamedReply::No,
            stall_seen: 0,
            config,
        }
    }

    /// Takes what the data plane saw. Empty data that ends nothing is left out.
    ///
    /// # Errors
    /// [`ApiMisuse`] when the event cannot follow the ones before; nothing has changed. Events of a direction that a
    /// local reply or the end has cut are no misuse: they are dropped.
    pub fn handle_http(&mut self, now: Instant, direction: Direction, event: HttpEvent) -> Result<(), ApiMisuse> {
        let side = self.side(direction);
        if side.is_cut() {
            return Ok(());
        }
        let order = side.order().next(&event)?;
        self.read_headers(direction, &event);
        if self.config.options().observability_mode {
            self.observe(now, direction, order, event);
            return Ok(());
        }
        let response_begins = direction == Direction::Response && matches!(event, HttpEvent::Headers(..));
        match self.with_side(now, direction, |side, cx| side.on_http(cx, order, event)) {
            Ok(()) if response_begins => self.close_if_settled(now),
            Ok(()) => {}
            Err(cause) => self.fail(now, cause),
        }
        self.balance(now);
        Ok(())
    }

    /// What the filter has to know of headers, before anything is done about them.
    fn read_headers(&mut self, direction: Direction, event: &HttpEvent) {
        let HttpEvent::Headers(headers, _) = event else { return };
        if direction == Direction::Request {
            self.kind.get_or_insert_with(|| RequestKind::of(headers));
        }
        let lists = self.config.attributes();
        if lists.iter().any(|it| !it.is_empty()) {
            self.link.attributes.read(direction, headers, lists);
        }
    }

    /// Tells an attribute that the headers do not have (`source.address`, `request.time`). It goes with the first message
    /// of a direction whose headers come after it, if the configuration lists it.
    pub fn set_attribute(&mut self, name: &str, value: Attribute) {
        if self.wants_attribute(name) {
            self.link.attributes.tell(name, value);
        }
    }

    /// Whether the configuration lists an attribute that headers do not have.
    #[must_use]
    pub fn wants_attribute(&self, name: &str) -> bool {
        self.config.attributes().into_iter().flat_map(List::untold).any(|it| it == name)
    }

    /// Whether the configuration lists any attribute that headers do not have.
    pub(crate) fn wants_attributes(&self) -> bool {
        self.config.wants_attributes()
    }

    /// Takes what the side stream brought. Late and unknown input is counted or ignored, never an error.
    pub fn handle_stream(&mut self, now: Instant, event: StreamEvent) {
        match (self.link.stream, event) {
            // What its side has not taken yet goes nowhere.
            (Stream::Deferred | Stream::Closed, StreamEvent::Closed(_)) => self.link.ended(),
            (Stream::Unopened, StreamEvent::Reply(_) | StreamEvent::Closed(_))
            | (Stream::Deferred | Stream::Closed, StreamEvent::Reply(_)) => return,
            (Stream::Open, StreamEvent::Reply(_)) if self.config.options().observability_mode => return,
            (Stream::Open, StreamEvent::Reply(message)) => self.on_message(now, *message),
            (Stream::Open, StreamEvent::Closed(Ok(()))) => {
                self.link.stats.server_half_closed += 1;
                // ABORTED, as Envoy.
                self.link.calls.ended(now, 10);
                if self.is_replying() {
                    self.fail(now, Cause::ReplyUnfinished);
                    return self.balance(now);
                }
                let drained = self.link.draining || self.config.options().observability_mode;
                let undrained = !self.request.may_end_here() || !self.response.may_end_here();
                if !drained && (undrained || self.config.options().profile.early_end_fails()) {
                    self.fail(now, if undrained { Cause::EndedUndrained } else { Cause::EndedEarly });
                    return self.balance(now);
                }
                self.link.lose(true);
                if drained {
                    self.bypass();
                } else if self.request.is_away() || self.response.is_away() {
                    self.fail(now, Cause::BodyLost);
                } else {
                    self.go_on_without();
                }
            }
            (Stream::Open, StreamEvent::Closed(Err(_))) if self.link.http_service => self.fail(now, Cause::Http),
            (Stream::Open, StreamEvent::Closed(Err(status))) => self.fail(now, Cause::Grpc(status)),
        }
        self.balance(now);
    }

    /// Call when the deadline of [`poll_timeout`](Self::poll_timeout) has passed; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.poll_timeout().filter(|(at, _)| *at <= now) {
            Some((_, Timer::Message(_) | Timer::StreamedReply)) => {
                self.fail(now, Cause::Timeout);
                self.balance(now);
            }
            Some((_, Timer::Stalled)) => self.on_stall(now),
            Some((_, Timer::DeferredClose)) => self.close(now),
            Some((_, Timer::RemoteClose)) => self.link.reset_closed(),
            None => {}
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.link.effects.pop_front()
    }

    /// The next thing for the processor.
    pub fn poll_send(&mut self) -> Option<Outgoing> {
        let outgoing = self.link.next()?;
        let limit = self.config.options().buffer_limit;
        for direction in Direction::BOTH {
            let unsent = self.link.unsent[direction as usize];
            self.side_mut(direction).balance(limit, unsent);
        }
        Some(outgoing)
    }

    /// Whether what this direction gives has room here.
    pub(crate) fn has_room(&self, direction: Direction) -> bool {
        self.side(direction).has_room()
    }

    /// Whether there is something for the processor.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.link.outgoing.is_empty()
    }

    /// The next part for the next hop of this direction.
    pub fn poll_forward(&mut self, direction: Direction) -> Option<Forward> {
        let limit = self.config.options().buffer_limit;
        let unsent = self.link.unsent[direction as usize];
        let side = self.side_mut(direction);
        let part = side.out.pop()?;
        side.balance(limit, unsent);
        Some(part)
    }

    /// The earliest deadline and its reason.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.link.timers.earliest()
    }

    /// Whether more body of this direction may be fed. `false`: do not read it.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> bool {
        self.side(direction).wants()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.link.stats
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the client asked for, before any filter changed it.
    pub(crate) fn set_request_kind(&mut self, kind: RequestKind) {
        self.kind = Some(kind);
    }

    /// A direction goes nowhere any more. Answers that it is still owed are expected.
    pub(crate) fn cut(&mut self, direction: Direction) {
        self.side_mut(direction).cut();
        self.link.timers.stop(direction);
    }

    /// The exchange is over: half-closes the stream, in observability mode after a while, and drops what is held.
    pub(crate) fn finish(&mut self, now: Instant) {
        Direction::BOTH.into_iter().for_each(|direction| self.cut(direction));
        match self.config.options() {
            options if options.observability_mode => self.link.defer(now, options.deferred_close_timeout),
            _ => self.close(now),
        }
    }

    /// The exchange was given up: resets the stream, but in observability mode, and drops what is held.
    pub(crate) fn reset(&mut self, now: Instant) {
        Direction::BOTH.into_iter().for_each(|direction| self.cut(direction));
        match self.config.options() {
            options if options.observability_mode => self.link.defer(now, options.deferred_close_timeout),
            _ => self.link.reset(),
        }
    }

    /// Ends the time that the processor has to read on.
    pub(crate) fn close_deferred(&mut self, now: Instant) {
        if self.link.stream == Stream::Deferred {
            self.close(now);
        }
    }

    /// Whether a deadline is running that the exchange waits for.
    pub(crate) fn waits(&self) -> bool {
        self.link.timers.holds_exchange()
    }

    /// Whether there is no stream, or it has ended at both ends as far as this filter waits for it.
    pub(crate) fn has_no_stream(&self) -> bool {
        match self.link.stream {
            Stream::Unopened => true,
            Stream::Open | Stream::Deferred => false,
            Stream::Closed => !self.link.timers.is_ending(),
        }
    }

    /// Gives the processor room for what has gone on of this direction. Call it when there is room behind the filter;
    /// without it a processor of GRPC bodies stops once its windows are used up.
    pub fn return_credit(&mut self, direction: Direction) {
        if self.link.windows.as_mut().is_some_and(|windows| windows.passed_on(direction)) {
            self.link.grant_now();
        }
    }

    /// A message, with what it may say about GRPC bodies.
    fn on_message(&mut self, now: Instant, message: ReplyMessage) {
        self.link.calls.heard();
        let profile = self.config.options().profile;
        if !profile.reads_grpc_controls() {
            return self.on_reply(now, Reply::read(message, profile));
        }
        let Controls { window, drain, drains, alone } = Controls::read(&message);
        if let Some(increments) = window
            && let Err(violation) = self.on_window(now, increments)
        {
            return self.fail(now, violation.into());
        }
        if !alone {
            self.on_reply(now, Reply::read(message, profile));
        }
        for direction in Direction::BOTH {
            if drains[direction as usize] && self.link.stream == Stream::Open {
                self.with_side(now, direction, Side::drain);
            }
        }
        if drain && self.link.stream == Stream::Open {
            self.on_request_drain();
        }
    }

    fn on_window(&mut self, now: Instant, increments: [i64; 2]) -> Result<(), Violation> {
        let Some(windows) = &mut self.link.windows else {
            let strict = self.config.options().profile == Profile::Strict;
            return if strict { Err(Violation::UnexpectedWindowUpdate) } else { Ok(()) };
        };
        windows.update(increments)?;
        Direction::BOTH.into_iter().for_each(|direction| self.with_side(now, direction, Side::pump));
        Ok(())
    }

    /// `request_drain`: half-closes the stream, keeps what is not sent, and takes what the processor still gives.
    /// Without effect where a body is not GRPC, as its end could not be told any more.
    fn on_request_drain(&mut self) {
        let drainable = |side: &Side| matches!(side.body_mode(), BodyMode::None | BodyMode::Grpc);
        if self.link.draining || !drainable(&self.request) || !drainable(&self.response) {
            return;
        }
        if let Some(increments) = self.link.windows.as_mut().and_then(Windows::grant_for_the_rest) {
            self.link.push(crate::wire::window_message(increments));
        }
        self.link.draining = true;
        self.link.outgoing.push_back(Outgoing::HalfClose);
        self.request.stop();
        self.response.stop();
    }

    fn on_reply(&mut self, now: Instant, reply: Reply) {
        let handled = match reply {
            Reply::Timeout(timeout) => {
                Cx { now, config: &self.config, link: &mut self.link }.extend_timeout(timeout);
                return;
            }
            Reply::Headers(direction, reply) => {
                if let Some(mode) = reply.mode {
                    self.override_mode(now, mode);
                }
                self.with_side(now, direction, |side, cx| side.on_headers_reply(cx, reply))
            }
            Reply::Body(direction, reply) => self.with_side(now, direction, |side, cx| side.on_body_reply(cx, reply)),
            Reply::Trailers(direction, mutation) => {
                self.with_side(now, direction, |side, cx| side.on_trailers_reply(cx, mutation))
            }
            Reply::Immediate(_) if self.config.options().disable_immediate_response => {
                Err(Violation::ImmediateDisabled.into())
            }
            Reply::Immediate(immediate) => return self.on_immediate(now, *immediate),
            Reply::StreamedImmediate(part) => self.on_reply_part(now, part).map(|()| false),
            Reply::Mode(mode) => self.on_mode(now, mode),
            Reply::Unknown if self.config.options().profile.empty_message() == Misplaced::Ignored => Ok(false),
            Reply::Unknown => Err(Violation::Unhandled.into()),
            Reply::Refused(violation) => {
                self.link.stats.stream_msgs_received += u64::from(!violation.is_spurious());
                Err(violation.into())
            }
        };
        match handled {
            Ok(true) => self.close_if_settled(now),
            Ok(false) => {}
            Err(cause) => self.fail(now, cause),
        }
    }

    /// Closes the stream when no answer can be expected on it any more.
    fn close_if_settled(&mut self, now: Instant) {
        if self.is_replying() {
            return;
        }
        if self.link.stream == Stream::Open && self.request.is_settled() && self.response.is_settled() {
            self.close(now);
        }
    }

    /// Processing is over as if it had never begun, as far as it has not gone on: everything passes.
    fn go_on_without(&mut self) {
        self.request.restore();
        self.response.restore();
        self.bypass();
    }

    fn close(&mut self, now: Instant) {
        self.link.close(now, self.config.options().remote_close_timeout);
    }

    /// Processing is over: everything passes.
    fn bypass(&mut self) {
        self.request.bypass();
        self.response.bypass();
    }

    /// After every handler: the limits, and a body that did not fit its promised length.
    fn balance(&mut self, now: Instant) {
        if self.request.out.is_broken() || self.response.out.is_broken() {
            self.fail(now, Violation::LengthMismatch.into());
        }
        let limit = self.config.options().buffer_limit;
        let [request, response] = self.link.unsent;
        self.request.balance(limit, request);
        self.response.balance(limit, response);
    }

    fn with_side<T>(&mut self, now: Instant, direction: Direction, run: impl FnOnce(&mut Side, &mut Cx<'_>) -> T) -> T {
        let side = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        run(side, &mut Cx { now, config: &self.config, link: &mut self.link })
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}
