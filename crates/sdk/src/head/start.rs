//! A head in its own phase.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;

/// A head in its own phase, with the verbs that only this phase has. Everything of the head is reached through it.
#[derive(Debug)]
pub struct Start<H> {
    head: H,
    last: bool,
    replacement: Option<Bytes>,
    detached: bool,
}

impl<H> Start<H> {
    /// Whether no body and no trailers follow.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// Sends this body on in place of whatever follows, also where nothing follows. The body phase of this processor
    /// is not run; trailers pass unseen.
    pub fn replace_body(&mut self, body: impl Into<Bytes>) {
        self.replacement = Some(body.into());
    }

    /// Wants nothing more of this exchange: the rest passes this processor untouched, and no handler of it runs
    /// again. The stream is closed early where the body mode allows it without loss.
    pub const fn detach(&mut self) {
        self.detached = true;
    }

    pub(crate) const fn new(head: H, last: bool) -> Self {
        Self { head, last, replacement: None, detached: false }
    }

    pub(crate) fn into_parts(self) -> (H, Option<Bytes>, bool) {
        (self.head, self.replacement, self.detached)
    }
}

impl<H> Deref for Start<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.head
    }
}

impl<H> DerefMut for Start<H> {
    fn deref_mut(&mut self) -> &mut H {
        &mut self.head
    }
}
