//! One direction of a chain: its source at one end, its sink at the other.

use std::collections::VecDeque;

use crate::filter::{ApiMisuse, Forward, HttpEvent, Order};

/// What the source of a direction may still give, and what its sink has not taken yet.
#[derive(Debug)]
pub(super) struct Lane {
    order: Order,
    closed: bool,
    queue: VecDeque<Forward>,
    bytes: usize,
    limit: usize,
    full: bool,
    given_headers: bool,
    /// The last part is in the queue, or was given.
    complete: bool,
    done: bool,
}

impl Lane {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            order: Order::Start,
            closed: false,
            queue: VecDeque::new(),
            bytes: 0,
            limit,
            full: false,
            given_headers: false,
            complete: false,
            done: false,
        }
    }

    /// Whether the event may come now.
    pub(super) fn accept(&mut self, event: &HttpEvent) -> Result<(), ApiMisuse> {
        self.order = self.order.next(event)?;
        Ok(())
    }

    /// A local reply takes the place of the source. False when the source had begun.
    pub(super) fn take_over(&mut self) -> bool {
        let before_headers = self.order == Order::Start && !self.closed;
        self.closed = true;
        before_headers
    }

    /// Nothing comes from the source any more, and the sink gets nothing.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.clear();
    }

    /// Drops what the sink has not taken.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.bytes = 0;
        self.full = false;
        self.complete = self.done;
    }

    pub(super) fn push(&mut self, part: Forward) {
        self.bytes += data_len(&part);
        self.full |= self.bytes > self.limit;
        self.complete |= is_last(&part);
        self.queue.push_back(part);
    }

    pub(super) fn pop(&mut self) -> Option<Forward> {
        let part = self.queue.pop_front()?;
        self.bytes -= data_len(&part);
        self.full &= self.bytes > self.limit / 2;
        self.given_headers |= matches!(part, Forward::Headers(..));
        self.done |= is_last(&part);
        Some(part)
    }

    pub(super) fn wants(&self) -> bool {
        !self.closed && !self.full && self.order != Order::Ended
    }

    /// Whether less than the limit waits for the sink.
    pub(super) const fn has_room(&self) -> bool {
        !self.full
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn has_ended(&self) -> bool {
        self.order == Order::Ended
    }

    pub(super) const fn has_given_headers(&self) -> bool {
        self.given_headers
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) const fn is_done(&self) -> bool {
        self.done
    }
}

fn data_len(part: &Forward) -> usize {
    match part {
        Forward::Data(data, _) => data.len(),
        Forward::Headers(..) | Forward::Trailers(_) => 0,
    }
}

const fn is_last(part: &Forward) -> bool {
    match part {
        Forward::Headers(_, end) | Forward::Data(_, end) => *end,
        Forward::Trailers(_) => true,
    }
}
