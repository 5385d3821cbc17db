//! What both directions of a filter share: the side stream, timers, effects and counters.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::calls::{CallKind, Calls};
use super::grpc::{Message as GrpcMessage, Windows};
use super::timers::Timers;
use super::{Effect, EndStream, Outgoing, Timer};
use crate::attributes::Attributes;
use crate::config::RouteCacheAction;
use crate::mutation::{Mutation, Scope};
use crate::violation::Violation;
use crate::{Config, Direction, Headers, Stats, wire};

/// The side stream.
///
/// ```text
/// Unopened --send--> Open --close, reset, ended by the processor--> Closed
///     |                |                                              ^
///     |                +--finish (observability)--> Deferred --------+
///     +--------------------- finish --------------------------------+
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stream {
    /// Nothing was sent.
    #[default]
    Unopened,
    /// Messages go out, answers count.
    Open,
    /// The exchange is over. The processor may still take what was sent; nothing that comes counts.
    Deferred,
    /// Processing is over: nothing is sent, nothing counts. The processor may have yet to end the stream, see
    /// [`Timers::is_ending`].
    Closed,
}

/// Everything a transition may touch besides its own side. It cannot reach the other side.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) outgoing: VecDeque<Outgoing>,
    /// By direction: body in `outgoing` that is held nowhere else.
    pub(super) unsent: [usize; 2],
    /// There is no stream, but a request for each message: nothing to count, and no end to tell.
    pub(super) http_service: bool,
    /// How many messages the stream has taken.
    pub(super) taken: u64,
    /// The processor was given body, of either direction, that is not here any more.
    pub(super) body_sent: bool,
    /// Of a stream that was told of them.
    pub(super) windows: Option<Windows>,
    pub(super) attributes: Attributes,
    /// What every message tells of the exchange's metadata.
    pub(super) metadata: Option<wire::Metadata>,
    /// Half-closed for `request_drain`: the processor gives back what it has, and ends the stream.
    pub(super) draining: bool,
    pub(super) effects: VecDeque<Effect>,
    pub(super) timers: Timers,
    pub(super) stats: Stats,
    pub(super) calls: Calls,
}

/// A [`Link`] at one moment.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) now: Instant,
    pub(super) config: &'a Config,
    pub(super) link: &'a mut Link,
}

impl Link {
    /// Half-closes the stream: nothing more will be sent, nothing that comes counts. The processor has
    /// `remote_close_timeout` to end it.
    pub(super) fn close(&mut self, now: Instant, remote_close_timeout: Duration) {
        match self.stream {
            Stream::Open | Stream::Deferred => {}
            Stream::Unopened => return self.end(),
            Stream::Closed => return self.timers.stop_all(),
        }
        if self.http_service || remote_close_timeout.is_zero() {
            return self.reset();
        }
        if !self.draining {
            self.outgoing.push_back(Outgoing::HalfClose);
        }
        self.stats.streams_closed += 1;
        self.end();
        self.timers.set_ending(Some((now + remote_close_timeout, Timer::RemoteClose)));
    }

    /// The exchange is over, and the processor may go on reading for a while (observability mode).
    pub(super) fn defer(&mut self, now: Instant, timeout: Duration) {
        if self.stream == Stream::Open {
            self.timers.stop_all();
            self.stream = Stream::Deferred;
            self.timers.set_ending(Some((now + timeout, Timer::DeferredClose)));
        } else if self.stream == Stream::Unopened {
            self.end();
        }
    }

    /// Resets the stream.
    pub(super) fn reset(&mut self) {
        match self.stream {
            Stream::Open | Stream::Deferred => {
                self.unsend();
                self.effects.push_back(Effect::ResetStream);
                self.stats.streams_closed += u64::from(!self.http_service);
                self.end();
            }
            Stream::Unopened => self.end(),
            Stream::Closed => self.timers.stop_all(),
        }
    }

    /// The processor has not ended in time a stream that was closed.
    pub(super) fn reset_closed(&mut self) {
        self.unsend();
        self.timers.set_ending(None);
        self.effects.push_back(Effect::ResetStream);
    }

    /// The processor has ended a stream that is not used any more.
    pub(super) fn ended(&mut self) {
        self.unsend();
        self.timers.set_ending(None);
        self.stream = Stream::Closed;
    }

    /// The stream is gone. Whether that counts as closed depends on why it went.
    pub(super) fn lose(&mut self, counts_as_closed: bool) {
        self.unsend();
        self.stats.streams_closed += u64::from(counts_as_closed && !self.http_service);
        self.end();
    }

    /// Forgets what was not sent yet.
    pub(super) fn unsend(&mut self) {
        // A half-close that was not sent is yet to be.
        self.draining &= !self.outgoing.contains(&Outgoing::HalfClose);
        self.outgoing.clear();
        self.unsent = [0; 2];
    }

    /// Whether the processor has room for a message.
    pub(super) fn has_room(&self, direction: Direction) -> bool {
        self.windows.as_ref().is_none_or(|windows| windows.has_room(direction))
    }

    /// A message of the processor came. False: it had no room for it.
    pub(super) fn received(&mut self, direction: Direction, len: usize) -> bool {
        let draining = self.draining;
        // No room can be given any more once the stream is half-closed.
        self.windows.as_mut().is_none_or(|windows| windows.received(direction, len) || draining)
    }

    /// Gives the processor the room that it is owed, without waiting for a message that could carry it.
    pub(super) fn grant_now(&mut self) {
        let open = self.stream == Stream::Open && !self.draining;
        if let Some(increments) = self.windows.as_mut().filter(|_| open).and_then(Windows::grant) {
            self.push(wire::window_message(increments));
        }
    }

    /// Lets a message go out.
    pub(super) fn push(&mut self, mut message: Box<wire::Message>) {
        if let Some(metadata) = &self.metadata {
            message.metadata_context = Some(metadata.clone());
        }
        self.stats.stream_msgs_sent += 1;
        self.outgoing.push_back(Outgoing::Message(message));
    }

    /// The next thing for the processor.
    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let outgoing = self.outgoing.pop_front()?;
        if let Outgoing::Message(message) = &outgoing
            && let Some((direction, len)) = wire::body_len(message)
        {
            // A body that its direction keeps was not added.
            let unsent = &mut self.unsent[direction as usize];
            *unsent = unsent.saturating_sub(len);
        }
        self.taken += 1;
        Some(outgoing)
    }

    fn end(&mut self) {
        self.stream = Stream::Closed;
        self.timers.stop_all();
        self.timers.set_ending(None);
    }
}

impl Cx<'_> {
    /// Sends a message that is owed an answer, in its time.
    pub(super) fn send(&mut self, direction: Direction, message: Box<wire::Message>) {
        self.tell(message);
        if self.link.stream == Stream::Open {
            self.expect_answer(direction);
        }
    }

    /// Sends a piece of body that nothing here keeps.
    pub(super) fn tell_body(&mut self, direction: Direction, data: Bytes, end: EndStream) {
        self.link.unsent[direction as usize] += data.len();
        self.tell(wire::body_message(direction, data, end));
    }

    /// Sends a gRPC message, which nothing here keeps.
    pub(super) fn tell_message(&mut self, direction: Direction, message: GrpcMessage, end: EndStream) {
        let len = message.body.len();
        self.link.unsent[direction as usize] += len;
        self.tell(wire::grpc_message(direction, message.body, message.compressed, end));
        if let Some(windows) = &mut self.link.windows {
            windows.sent(direction, len);
        }
    }

    /// Sends a message, on a stream that is opened for it if need be.
    pub(super) fn tell(&mut self, mut message: Box<wire::Message>) {
        let link = &mut *self.link;
        let options = self.config.options();
        message.observability_mode = options.observability_mode;
        match link.stream {
            Stream::Unopened => {
                link.stream = Stream::Open;
                link.http_service = options.http_service;
                link.stats.streams_started += u64::from(!options.http_service);
                link.effects.push_back(Effect::OpenStream);
                link.calls.opened();
                if !options.observability_mode {
                    wire::set_protocol_config(&mut message, options);
                    link.windows = self.config.windows();
                }
                if let Some(windows) = &link.windows {
                    wire::set_windows(&mut message, windows.initial());
                }
            }
            Stream::Open => {}
            Stream::Deferred | Stream::Closed => {
                return debug_assert!(false, "nothing is sent after the stream was closed");
            }
        }
        if let Some(direction) = wire::direction(&message) {
            wire::set_attributes(&mut message, link.attributes.take(direction));
        }
        if !options.observability_mode {
            link.calls.sent(self.now, &message);
        }
        link.body_sent |= wire::has_body(&message) && !options.observability_mode;
        if let Some(increments) = link.windows.as_mut().and_then(Windows::grant) {
            wire::grant(&mut message, increments);
        }
        link.push(message);
    }

    /// Starts the wait for the next answer of a direction.
    pub(super) fn expect_answer(&mut self, direction: Direction) {
        let options = self.config.options();
        if options.profile.has_message_timer() {
            self.link.timers.arm(direction, self.now + options.message_timeout);
        }
    }

    /// A response came that its direction was waiting for.
    pub(super) fn accept(&mut self, direction: Direction, kind: CallKind) {
        self.link.stats.stream_msgs_received += 1;
        self.link.calls.answered(self.now, direction, kind);
        self.link.timers.stop(direction);
    }

    /// `of`: the part of the exchange that is changed; none, if the map is one of the processor's own.
    pub(super) fn mutate(
        &mut self,
        of: Option<(Direction, CallKind)>,
        headers: &mut Headers,
        mutation: Option<Mutation>,
        scope: Scope<'_>,
    ) -> Result<(), Violation> {
        let Some(mutation) = mutation else {
            return Ok(());
        };
        // Where this may fail open, nothing of a mutation that fails may stay.
        let before = self.config.options().profile.opens_on_bad_content().then(|| headers.clone());
        let outcome = mutation.apply(headers, scope);
        self.link.stats.rejected_header_mutations += outcome.rejected;
        if let Some((direction, kind)) = of {
            self.link.calls.mutated(direction, kind, &outcome);
        }
        if let (Err(_), Some(before)) = (outcome.result, before) {
            *headers = before;
        }
        outcome.result
    }

    /// What a headers or body response of the request direction means for the route (Envoy `route_cache_action`).
    /// `headers_held`: a new choice can still use the changed headers.
    pub(super) fn choose_route(&mut self, mutates: bool, clear: bool, headers_held: bool) {
        let recompute = match self.config.options().route_cache_action {
            RouteCacheAction::Default => clear,
            RouteCacheAction::Clear => true,
            RouteCacheAction::Retain => false,
        };
        if !mutates {
            self.link.stats.clear_route_cache_ignored += u64::from(clear);
        } else if recompute {
            if headers_held {
                self.link.effects.push_back(Effect::RecomputeRoute);
            }
        } else if self.config.options().route_cache_action == RouteCacheAction::Retain {
            self.link.stats.clear_route_cache_disabled += u64::from(clear);
        }
    }

    /// `override_message_timeout`: once for each awaited message, at least 1 ms, at most what the configuration allows.
    pub(super) fn extend_timeout(&mut self, timeout: Option<Duration>) {
        let longest = self.config.options().max_message_timeout;
        let timeout = timeout.filter(|timeout| (Duration::from_millis(1)..=longest).contains(timeout));
        if timeout.is_some_and(|timeout| self.link.timers.extend(self.now + timeout)) {
            self.link.stats.override_message_timeout_received += 1;
        } else {
            self.link.stats.override_message_timeout_ignored += 1;
        }
    }
}
