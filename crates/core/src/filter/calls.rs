//! Which calls are under way, for the filter's [`LoggingInfo`].

use std::sync::Arc;
use std::time::Instant;

use super::Filter;
use crate::logging::{Call, LoggingInfo, ProcessingEffect};
use crate::mutation::Outcome;
use crate::violation::Violation;
use crate::{Direction, wire};

/// What a call is about, in the order in which answers to them come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    Headers,
    Body,
    Trailers,
}

/// What was sent and not answered, and what is known of the rest.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) info: LoggingInfo,
    waits: [Waits; 2],
    /// The call that the message which is being read has answered.
    answered: Option<(Direction, CallKind)>,
    /// The processor streams a reply: what it gets on owes no answer.
    replying: bool,
    destination: Option<Arc<str>>,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    /// When something was sent last.
    since: Option<Instant>,
    headers: bool,
    bodies: u32,
    trailers: bool,
}

impl Waits {
    /// What is answered next.
    const fn next(&self) -> Option<CallKind> {
        match self {
            Self { headers: true, .. } => Some(CallKind::Headers),
            Self { bodies: 1.., .. } => Some(CallKind::Body),
            Self { trailers: true, .. } => Some(CallKind::Trailers),
            Self { .. } => None,
        }
    }

    fn clear(&mut self) {
        *self = Self { since: self.since, ..Self::default() };
    }
}

impl Calls {
    pub(super) fn set_destination(&mut self, name: Arc<str>) {
        self.destination = Some(name);
    }

    /// The stream is opened.
    pub(super) fn opened(&mut self) {
        self.info.destination = self.destination.take();
    }

    /// A message is sent, which is owed an answer if it is a call.
    pub(super) fn sent(&mut self, now: Instant, message: &wire::Message) {
        let Some((direction, kind)) = wire::call_kind(message).filter(|_| !self.replying) else { return };
        let waits = &mut self.waits[direction as usize];
        waits.since = Some(now);
        match kind {
            CallKind::Headers => waits.headers = true,
            CallKind::Body => waits.bodies += 1,
            CallKind::Trailers => waits.trailers = true,
        }
    }

    /// A message of the processor is going to be read.
    pub(super) fn heard(&mut self) {
        self.answered = None;
    }

    /// It is the answer that its direction was waiting for.
    pub(super) fn answered(&mut self, now: Instant, direction: Direction, kind: CallKind) {
        let waits = &mut self.waits[direction as usize];
        match kind {
            CallKind::Headers => waits.headers = false,
            CallKind::Body => (waits.headers, waits.bodies) = (false, waits.bodies.saturating_sub(1)),
            CallKind::Trailers => waits.clear(),
        }
        self.answered = Some((direction, kind));
        self.record(now, direction, kind, 0);
    }

    /// No answer comes any more: what is awaited ends with this status.
    pub(super) fn ended(&mut self, now: Instant, status: u8) {
        for direction in Direction::BOTH {
            let kind = self.waits[direction as usize].next();
            self.waits[direction as usize].clear();
            if let Some(kind) = kind {
                self.record(now, direction, kind, status);
            }
        }
    }

    /// The processor begins to stream a reply in place of an answer.
    pub(super) fn replied(&mut self, now: Instant) {
        self.ended(now, 0);
        self.replying = true;
    }

    /// The stream has failed. `took`: it has taken something.
    pub(super) fn failed(&mut self, now: Instant, status: u8, took: bool) {
        if !took {
            self.info.grpc_status_before_first_call = status;
            self.waits.iter_mut().for_each(Waits::clear);
        }
        self.ended(now, status);
    }

    /// The processor broke the protocol, by the answer that was just read or in place of one.
    pub(super) fn refused(&mut self, now: Instant, violation: Violation) {
        // FAILED_PRECONDITION, INTERNAL, INVALID_ARGUMENT, as Envoy.
        let status = if violation.is_spurious() {
            9
        } else if violation == Violation::LengthMismatch {
            13
        } else {
            3
        };
        match self.answered {
            Some((direction, kind)) if !violation.is_spurious() => {
                let info = self.info.direction_mut(direction);
                match kind {
                    CallKind::Headers => info.headers.iter_mut().for_each(|it| it.status = status),
                    CallKind::Body => info.body.iter_mut().for_each(|it| it.last_status = status),
                    CallKind::Trailers => info.trailers.iter_mut().for_each(|it| it.status = status),
                }
            }
            Some(_) | None => self.ended(now, status),
        }
    }

    /// A mutation of headers or trailers was tried.
    pub(super) fn mutated(&mut self, direction: Direction, kind: CallKind, outcome: &Outcome) {
        let effect = match outcome.result {
            Ok(()) if outcome.applied => ProcessingEffect::MutationApplied,
            Ok(()) => return,
            Err(Violation::MutationTooLarge | Violation::TooManyOperations) => {
                ProcessingEffect::MutationRejectedSizeLimitExceeded
            }
            Err(Violation::SetRefused | Violation::RemoveRefused) => ProcessingEffect::MutationFailed,
            Err(_) => ProcessingEffect::InvalidMutationRejected,
        };
        let info = self.info.direction_mut(direction);
        match kind {
            CallKind::Headers => info.headers_effect = effect,
            CallKind::Trailers => info.trailers_effect = effect,
            CallKind::Body => info.body_effect = effect,
        }
    }

    /// Body of the processor goes on.
    pub(super) fn changed_body(&mut self, direction: Direction) {
        self.info.direction_mut(direction).body_effect = ProcessingEffect::MutationApplied;
    }

    fn record(&mut self, now: Instant, direction: Direction, kind: CallKind, status: u8) {
        let Some(since) = self.waits[direction as usize].since else { return };
        let call = Call { latency: now.saturating_duration_since(since), status };
        let info = self.info.direction_mut(direction);
        match kind {
            CallKind::Headers => info.headers = Some(call),
            CallKind::Body => info.body.get_or_insert_default().add(call),
            CallKind::Trailers => info.trailers = Some(call),
        }
    }
}

impl Filter {
    /// What an access log tells of the exchange so far.
    #[must_use]
    pub fn logging(&self) -> &LoggingInfo {
        &self.link.calls.info
    }

    /// Counts bytes that the side stream has sent and received, for [`logging`](Self::logging).
    pub fn count_bytes(&mut self, sent: u64, received: u64) {
        let info = &mut self.link.calls.info;
        info.bytes_sent += sent;
        info.bytes_received += received;
    }

    /// Names the processor, for [`logging`](Self::logging). Call it before the exchange begins.
    pub fn set_destination(&mut self, name: Arc<str>) {
        self.link.calls.set_destination(name);
    }
}
