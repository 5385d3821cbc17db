//! What one direction holds back while the processor decides.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::out::Out;
use crate::Headers;
use crate::headers::Value;

pub(super) const CONTENT_LENGTH: &str = "content-length";

/// Parts of one message, in order, held together.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// `None`: they went on before.
    pub(super) headers: Option<Headers>,
    /// The `content-length` as it came, when the processor may have set another one for a body that it has yet to
    /// give.
    came_with: Option<Option<Value>>,
    body: Vec<Bytes>,
    bytes: usize,
    /// Data came, be it only an empty end.
    pub(super) has_data: bool,
    pub(super) trailers: Option<Headers>,
}

impl Held {
    pub(super) fn of_headers(headers: Headers) -> Self {
        Self { headers: Some(headers), ..Self::default() }
    }

    pub(super) fn of_trailers(trailers: Headers) -> Self {
        Self { trailers: Some(trailers), ..Self::default() }
    }

    pub(super) fn push(&mut self, data: Bytes) {
        self.has_data = true;
        self.bytes += data.len();
        if !data.is_empty() {
            self.body.push(data);
        }
    }

    /// Whether anything came behind the headers.
    pub(super) const fn has_more(&self) -> bool {
        self.has_data || self.trailers.is_some()
    }

    /// Takes in chunks behind what is held.
    pub(super) fn absorb(&mut self, chunks: Chunks) {
        chunks.queue.into_iter().for_each(|(data, _)| self.push(data));
        self.trailers = self.trailers.take().or(chunks.trailers);
    }

    /// The body in one piece, which is not held any more.
    pub(super) fn give_body(&mut self) -> Bytes {
        let body = self.join();
        self.body.clear();
        self.bytes = 0;
        body
    }

    /// The body may get any length.
    pub(super) fn drop_length(&mut self) {
        self.came_with = None;
        if let Some(headers) = &mut self.headers {
            headers.remove(CONTENT_LENGTH);
        }
    }

    /// The processor changes the headers.
    pub(super) fn remember_length(&mut self) {
        let length = || self.headers.as_ref().and_then(|headers| headers.get(CONTENT_LENGTH)).cloned();
        if self.came_with.is_none() {
            self.came_with = Some(length());
        }
    }

    /// The processor has given the body that its `content-length` speaks of, and it fits.
    pub(super) fn forget_length(&mut self) {
        self.came_with = None;
    }

    /// The body goes on as it is, so a `content-length` that the processor set says something false, unless it is the
    /// one that was there. Such a header is dropped: the body frames itself. Envoy forwards it, and with it a message
    /// that is cut short or never ends.
    pub(super) fn keep_true_length(&mut self) {
        let (Some(headers), Some(before)) = (&mut self.headers, self.came_with.take()) else { return };
        let mut lengths = headers.get_all(CONTENT_LENGTH);
        if lengths.next() != before.as_ref() || lengths.next().is_some() {
            drop(lengths);
            headers.remove(CONTENT_LENGTH);
        }
    }

    /// The body in one piece, still held. Copies only when it came in several.
    pub(super) fn join(&mut self) -> Bytes {
        if let [] | [_] = self.body[..] {
            return self.body.first().cloned().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.bytes);
        self.body.drain(..).for_each(|piece| whole.extend_from_slice(&piece));
        let whole = whole.freeze();
        self.body.push(whole.clone());
        whole
    }

    pub(super) fn replace_body(&mut self, body: Bytes) {
        self.body.clear();
        self.bytes = 0;
        self.push(body);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets everything go. `ended`: the source has given its last part.
    pub(super) fn release(self, out: &mut Out, ended: bool) {
        let ends_with_body = ended && self.trailers.is_none();
        if let Some(headers) = self.headers {
            out.headers(headers, ends_with_body && !self.has_data);
        }
        let mut pieces = self.body.into_iter().peekable();
        if ends_with_body && self.has_data && pieces.peek().is_none() {
            out.data(Bytes::new(), true);
        }
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            out.data(piece, last && ends_with_body);
        }
        if let Some(trailers) = self.trailers {
            out.trailers(trailers);
        }
    }
}

/// The beginning of a body that is too long to be gathered, and what came after it was sent.
#[derive(Debug, Default)]
pub(super) struct Partial {
    pub(super) first: Held,
    pub(super) rest: Chunks,
}

/// Chunks in flight, oldest first, and the trailers that wait behind them.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    queue: VecDeque<(Bytes, bool)>,
    bytes: usize,
    pub(super) trailers: Option<Headers>,
}

impl Chunks {
    pub(super) fn push(&mut self, data: Bytes, end: bool) {
        self.bytes += data.len();
        self.queue.push_back((data, end));
    }

    pub(super) fn pop(&mut self) -> Option<(Bytes, bool)> {
        let (data, end) = self.queue.pop_front()?;
        self.bytes -= data.len();
        Some((data, end))
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets everything go, unprocessed.
    pub(super) fn release(self, out: &mut Out) {
        for (data, end) in self.queue {
            out.data(data, end);
        }
        if let Some(trailers) = self.trailers {
            out.trailers(trailers);
        }
    }
}
