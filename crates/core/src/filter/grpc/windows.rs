//! Flow control between the data plane and a processor of GRPC bodies (gRFC A93; grpc-a93.md 4.4).

use crate::Direction;
use crate::config::FlowControl;
use crate::violation::Violation;

/// The four windows of a stream. Only the length of messages counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    initial: i64,
    /// By direction: what the processor takes. Negative after a message that was longer than what was left.
    send: [i64; 2],
    /// By direction: what we take.
    receive: [Receive; 2],
    /// By direction: what was sent and did not come back, as far as messages keep their length.
    away: [i64; 2],
    /// The processor's windows hold.
    enforced: bool,
    /// The processor takes part, or has to.
    supported: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Receive {
    /// What the processor may still send.
    granted: i64,
    /// What came and has not gone on.
    inside: i64,
    /// What has gone on and was not granted anew.
    owed: i64,
}

impl Windows {
    pub(crate) fn new(initial: u32, policy: FlowControl) -> Self {
        let initial = i64::from(initial);
        Self {
            initial,
            send: [initial; 2],
            receive: [Receive { granted: initial, ..Receive::default() }; 2],
            away: [0; 2],
            enforced: policy == FlowControl::Required,
            // Where windows are required, the processor is taken at its duty: it may wait for room and send nothing.
            supported: policy == FlowControl::Required,
        }
    }

    /// The processor has given more room, or taken some away.
    pub(crate) fn update(&mut self, increments: [i64; 2]) -> Result<(), Violation> {
        (self.enforced, self.supported) = (true, true);
        for (window, increment) in self.send.iter_mut().zip(increments) {
            *window = window.checked_add(increment).ok_or(Violation::WindowOverflow)?;
        }
        Ok(())
    }

    /// Whether a message of any length may go.
    pub(crate) const fn has_room(&self, direction: Direction) -> bool {
        !self.enforced || self.send[direction as usize] > 0
    }

    pub(crate) fn sent(&mut self, direction: Direction, len: usize) {
        self.send[direction as usize] -= signed(len);
        self.away[direction as usize] += signed(len);
    }

    /// A message of the processor came. False: it had no room for it.
    pub(crate) fn received(&mut self, direction: Direction, len: usize) -> bool {
        let receive = &mut self.receive[direction as usize];
        let fits = len == 0 || receive.granted > 0;
        receive.granted -= signed(len);
        receive.inside += signed(len);
        self.away[direction as usize] -= signed(len);
        fits
    }

    /// What came of this direction has gone on. True: so much is owed by now that it should be granted at once.
    pub(crate) fn passed_on(&mut self, direction: Direction) -> bool {
        let receive = &mut self.receive[direction as usize];
        receive.owed += std::mem::take(&mut receive.inside);
        // A processor that has no windows would take the message for one that it must answer.
        self.supported && receive.owed > 0 && receive.owed >= self.initial / 2
    }

    /// The same for a part of it.
    pub(crate) fn passed(&mut self, direction: Direction, len: usize) -> bool {
        let receive = &mut self.receive[direction as usize];
        let gone = receive.inside.min(signed(len)).max(0);
        receive.inside -= gone;
        receive.owed += gone;
        self.supported && gone > 0 && receive.owed >= self.initial / 2
    }

    /// Room that is to be granted with the next message. A processor that has no windows gets none.
    pub(crate) fn grant(&mut self) -> Option<[i64; 2]> {
        if !self.supported || self.receive.iter().all(|receive| receive.owed == 0) {
            return None;
        }
        Some(self.receive.each_mut().map(|receive| {
            let owed = std::mem::take(&mut receive.owed);
            receive.granted += owed;
            owed
        }))
    }

    /// Room for everything that the processor still has, and a window more for what it makes of it: none can be granted
    /// later. `None`: it has no windows.
    pub(crate) fn grant_for_the_rest(&mut self) -> Option<[i64; 2]> {
        if !self.supported {
            return None;
        }
        for (receive, away) in self.receive.iter_mut().zip(self.away) {
            let inside = std::mem::take(&mut receive.inside);
            receive.owed = receive.owed.saturating_add(inside).saturating_add(away.max(0)).saturating_add(self.initial);
        }
        self.grant()
    }

    pub(crate) const fn initial(&self) -> i64 {
        self.initial
    }
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Request, Response};

    #[test]
    fn room_is_spent_by_messages_of_any_length() {
        let mut windows = Windows::new(10, FlowControl::Required);
        windows.sent(Request, 9);
        assert!(windows.has_room(Request));
        windows.sent(Request, 100);
        assert!(!windows.has_room(Request) && windows.has_room(Response));
        assert_eq!(windows.update([99, 0]), Ok(()));
        assert!(!windows.has_room(Request));
        assert_eq!(windows.update([1, -10]), Ok(()));
        assert!(windows.has_room(Request) && !windows.has_room(Response));
        assert_eq!(windows.update([i64::MAX, 0]), Err(Violation::WindowOverflow));
    }

    #[test]
    fn auto_waits_for_a_sign_of_support() {
        let mut windows = Windows::new(10, FlowControl::Auto);
        windows.sent(Request, 100);
        assert!(windows.has_room(Request));
        assert_eq!(windows.update([0, 0]), Ok(()));
        assert!(!windows.has_room(Request));
    }

    #[test]
    fn half_a_window_is_granted_at_once_and_nothing_twice() {
        let mut windows = Windows::new(10, FlowControl::Required);
        assert_eq!(windows.update([0, 0]), Ok(()));
        assert!(windows.received(Response, 4) && !windows.passed_on(Response));
        assert!(windows.received(Response, 1) && windows.passed_on(Response));
        assert_eq!((windows.grant(), windows.grant()), (Some([0, 5]), None));
        assert!(windows.received(Response, 11));
        assert!(!windows.received(Response, 1) && windows.received(Response, 0));
    }
}
