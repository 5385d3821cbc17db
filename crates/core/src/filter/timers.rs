//! The deadlines of one filter.

use std::time::Instant;

use super::Timer;
use crate::Direction;

/// One message timer for each direction, one for the parts of a streamed reply, and what the stream as a whole waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    armed: [Option<Armed>; 2],
    reply: Option<Instant>,
    stalled: Option<Instant>,
    /// Of a stream that is not used any more: [`Timer::DeferredClose`], then [`Timer::RemoteClose`].
    ending: Option<(Instant, Timer)>,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    at: Instant,
    /// The processor has had its one extension for this message.
    extended: bool,
}

impl Timers {
    /// A message was sent, or the next answer became due: the wait begins anew.
    pub(super) fn arm(&mut self, direction: Direction, at: Instant) {
        self.armed[direction as usize] = Some(Armed { at, extended: false });
    }

    /// The next part of a streamed reply is owed.
    pub(super) fn arm_reply(&mut self, at: Instant) {
        self.reply = Some(at);
    }

    pub(super) fn stop(&mut self, direction: Direction) {
        self.armed[direction as usize] = None;
    }

    /// Nothing is waited for that the exchange needs.
    pub(super) fn stop_all(&mut self) {
        *self = Self { ending: self.ending, ..Self::default() };
    }

    /// The exchange waits for the processor, or does not any more.
    pub(super) fn set_stalled(&mut self, at: Option<Instant>) {
        self.stalled = at;
    }

    pub(super) const fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Whether the exchange waits for a deadline.
    pub(super) const fn holds_exchange(&self) -> bool {
        self.armed[0].is_some() || self.armed[1].is_some() || self.reply.is_some() || self.stalled.is_some()
    }

    /// What the stream waits for before it ends.
    pub(super) fn set_ending(&mut self, ending: Option<(Instant, Timer)>) {
        self.ending = ending;
    }

    /// Whether the stream waits for its end.
    pub(super) const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Moves every running deadline that was not moved before; false when there was none.
    pub(super) fn extend(&mut self, at: Instant) -> bool {
        let mut any = false;
        for armed in self.armed.iter_mut().flatten().filter(|armed| !armed.extended) {
            *armed = Armed { at, extended: true };
            any = true;
        }
        any
    }

    pub(super) fn earliest(&self) -> Option<(Instant, Timer)> {
        let message =
            |direction| self.armed[direction as usize].map(|armed: Armed| (armed.at, Timer::Message(direction)));
        let [request, response] = Direction::BOTH.map(message);
        let reply = self.reply.map(|at| (at, Timer::StreamedReply));
        let stalled = self.stalled.map(|at| (at, Timer::Stalled));
        [request, response, reply, stalled, self.ending].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
