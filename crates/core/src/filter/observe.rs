//! Observability mode: the processor gets copies, and nothing waits for it but for its side of the stream to take them.

use std::time::Instant;

use super::link::Stream;
use super::order::Order;
use super::{Filter, HttpEvent};
use crate::Direction;

impl Filter {
    /// Sends a copy of what the mode selects, and lets the event go on. `order` is the order after it.
    pub(super) fn observe(&mut self, now: Instant, direction: Direction, order: Order, event: HttpEvent) {
        self.with_side(now, direction, |side, cx| side.observe(cx, order, event));
        self.balance(now);
        self.watch_stall(now);
    }

    /// Starts the deadline of [`Timer::Stalled`](super::Timer) when the exchange begins to wait for the processor to take
    /// copies, and stops it when it does not wait any more.
    fn watch_stall(&mut self, now: Instant) {
        // What the next hop has not taken is not the processor's fault.
        let enough = self.config.options().buffer_limit / 2;
        let waits = self.link.stream == Stream::Open
            && Direction::BOTH
                .into_iter()
                .any(|it| !self.side(it).has_room() && self.link.unsent[it as usize] > enough);
        match (waits, self.link.timers.is_stalled()) {
            (true, false) => {
                self.stall_seen = self.link.taken;
                let at = now + self.config.options().message_timeout;
                self.link.timers.set_stalled(Some(at));
            }
            (false, true) => self.link.timers.set_stalled(None),
            (true, true) | (false, false) => {}
        }
    }

    /// The time is up: if the processor has taken anything meanwhile, it gets as much again; else it gets nothing more.
    pub(super) fn on_stall(&mut self, now: Instant) {
        let took = self.link.taken != self.stall_seen;
        self.link.timers.set_stalled(None);
        if took {
            return self.watch_stall(now);
        }
        self.link.stats.message_timeouts += 1;
        self.link.reset();
        self.balance(now);
    }
}
