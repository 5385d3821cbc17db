//! Flow control of one direction (gRFC A93, section "Flow Control"; Envoy `flow_control_init`).

use std::collections::VecDeque;

use extproc_proto::ProcessingResponse;

use super::{Chunk, Violation};
use crate::Direction;

/// How much output may wait while the data plane has not shown that it keeps to windows.
const MAX_WAITING: usize = 16 << 20;

/// The credit of both paths of a direction, and the output that waits for credit.
///
/// Only the bytes of messages count. A message may be sent while the window is positive, whatever its size; messages
/// without bytes cost nothing but keep their place.
#[derive(Debug)]
pub(super) struct Credit {
    /// What the data plane may send unanswered; we return credit in halves of it.
    initial: i64,
    /// What the data plane may still send; negative after a message larger than it.
    room: i64,
    /// Taken in and not yet returned.
    owed: i64,
    /// What we may still send.
    window: i64,
    /// In chunk modes a message may be cut to fit; gRPC messages are whole.
    cuts: bool,
    /// The data plane has granted something, so it keeps to ours too.
    joined: bool,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    stalls: u64,
}

/// Output that waits for credit, or for what is in front of it.
#[derive(Debug)]
pub(super) enum Waiting {
    Chunk(Chunk),
    Reply(Box<ProcessingResponse>),
}

impl Credit {
    pub(super) const fn new(to_us: i64, from_us: i64) -> Self {
        Self {
            initial: to_us,
            room: to_us,
            owed: 0,
            window: from_us,
            cuts: false,
            joined: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            stalls: 0,
        }
    }

    pub(super) const fn set_cuts(&mut self, cuts: bool) {
        self.cuts = cuts;
    }

    /// The data plane takes part in the windows: what it sends from now on has credit.
    pub(super) const fn join(&mut self) {
        self.joined = true;
    }

    /// Takes bytes in.
    ///
    /// # Errors
    /// When the data plane goes on although it has no credit and our own output waits for it: the queue must not grow
    /// without bound. One that has not granted anything yet may not know that we keep windows (grpc-a93.md 4.4, Auto),
    /// and has more before it is refused.
    pub(super) fn take(&mut self, direction: Direction, bytes: usize) -> Result<(), Violation> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let refused = if self.joined { self.is_backed_up() } else { self.waiting_bytes >= MAX_WAITING };
        if bytes > 0 && self.room <= 0 && refused {
            return Err(Violation::NoCredit(direction));
        }
        self.room = self.room.saturating_sub(bytes);
        self.owed = self.owed.saturating_add(bytes);
        Ok(())
    }

    /// The data plane grants more, or takes some back.
    ///
    /// # Errors
    /// When it is more than can be counted.
    pub(super) fn grant(&mut self, direction: Direction, increment: i64) -> Result<(), Violation> {
        self.window = self.window.checked_add(increment).ok_or(Violation::WindowOverflow(direction))?;
        Ok(())
    }

    /// Whether credit should go back even if nothing else does.
    pub(super) const fn is_due(&self) -> bool {
        self.owed > 0 && self.owed >= self.initial / 2 && !self.is_backed_up()
    }

    /// The credit to return now, all of it.
    pub(super) fn take_owed(&mut self) -> i64 {
        if self.is_backed_up() {
            return 0;
        }
        self.room = self.room.saturating_add(self.owed);
        std::mem::take(&mut self.owed)
    }

    /// Queues a piece, if it cannot go at once; gives back what can.
    pub(super) fn push(&mut self, item: Waiting) {
        self.waiting_bytes += item.bytes();
        if self.waiting.is_empty() && !self.may_send(&item) {
            self.stalls += 1;
        }
        self.waiting.push_back(item);
    }

    /// The next piece that may go.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let front = self.waiting.front_mut()?;
        let bytes = front.bytes();
        if bytes == 0 {
            return self.waiting.pop_front();
        }
        if self.window <= 0 {
            return None;
        }
        let fits = usize::try_from(self.window).unwrap_or(usize::MAX);
        if let Waiting::Chunk(chunk) = front
            && self.cuts
            && bytes > fits
        {
            let data = chunk.data.split_to(fits);
            self.spend(fits);
            return Some(Waiting::Chunk(Chunk { data, ..Chunk::default() }));
        }
        self.spend(bytes);
        self.waiting.pop_front()
    }

    /// Everything that waits: no credit can come any more.
    pub(super) fn release(&mut self) -> VecDeque<Waiting> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) const fn stalls(&self) -> u64 {
        self.stalls
    }

    fn spend(&mut self, bytes: usize) {
        self.waiting_bytes -= bytes;
        self.window = self.window.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn may_send(&self, item: &Waiting) -> bool {
        self.window > 0 || item.bytes() == 0
    }

    /// Whether more waits than the data plane lets us take in at once.
    const fn is_backed_up(&self) -> bool {
        self.waiting_bytes > 0 && self.waiting_bytes as u128 >= self.initial.unsigned_abs() as u128
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.data.len(),
            Self::Reply(_) => 0,
        }
    }
}
