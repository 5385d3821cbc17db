//! The deadlines of one filter.

use std::time::Instant;

use super::Timer;
use crate::Direction;

/// One message timer for each direction, and one for the parts of a streamed reply.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    armed: [Option<Armed>; 2],
    reply: Option<Instant>,
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

    pub(super) fn stop_all(&mut self) {
        *self = Self::default();
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
        [request, response, reply].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
