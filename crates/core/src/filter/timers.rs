//! The deadlines of one filter.

use std::time::Instant;

use crate::Direction;

/// One message timer for each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    armed: [Option<Armed>; 2],
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

    pub(super) fn stop(&mut self, direction: Direction) {
        self.armed[direction as usize] = None;
    }

    pub(super) fn stop_all(&mut self) {
        self.armed = [None; 2];
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

    pub(super) fn earliest(&self) -> Option<(Instant, Direction)> {
        Direction::BOTH.into_iter().filter_map(|d| self.armed[d as usize].map(|armed| (armed.at, d))).min()
    }
}
