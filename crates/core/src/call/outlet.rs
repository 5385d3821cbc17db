//! Where parts of one direction wait for their way on.

use std::collections::VecDeque;

/// A part, and how many bytes of message it is.
pub(super) trait Part {
    fn bytes(&self) -> usize;
}

/// Parts in their order. In observability mode a part first waits until its copy has gone to the processor.
#[derive(Debug)]
pub(super) struct Outlet<P> {
    /// Behind a copy that has not gone. True: the part's own.
    copied: VecDeque<(P, bool)>,
    ready: VecDeque<P>,
    bytes: usize,
}

impl<P> Default for Outlet<P> {
    fn default() -> Self {
        Self { copied: VecDeque::new(), ready: VecDeque::new(), bytes: 0 }
    }
}

impl<P: Part> Outlet<P> {
    /// Adds a part behind all others.
    pub(super) fn push(&mut self, part: P) {
        self.bytes += part.bytes();
        if self.copied.is_empty() {
            self.ready.push_back(part);
        } else {
            self.copied.push_back((part, false));
        }
    }

    /// Adds a part whose copy has to go first.
    pub(super) fn push_behind_copy(&mut self, part: P) {
        self.bytes += part.bytes();
        self.copied.push_back((part, true));
    }

    /// Adds what stands before all others.
    pub(super) fn push_front(&mut self, part: P) {
        self.bytes += part.bytes();
        self.ready.push_front(part);
    }

    /// The first copy has gone.
    pub(super) fn copy_has_gone(&mut self) {
        let own = self.copied.pop_front().into_iter();
        self.ready.extend(own.map(|(part, _)| part));
        while self.copied.front().is_some_and(|(_, copied)| !copied) {
            self.ready.extend(self.copied.pop_front().map(|(part, _)| part));
        }
    }

    /// Copies will not go any more.
    pub(super) fn release(&mut self) {
        self.ready.extend(self.copied.drain(..).map(|(part, _)| part));
    }

    pub(super) fn pop(&mut self) -> Option<P> {
        let part = self.ready.pop_front()?;
        self.bytes -= part.bytes();
        Some(part)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.copied.is_empty() && self.ready.is_empty()
    }

    /// The bytes of all messages in it.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
