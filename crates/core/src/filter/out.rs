//! What one direction has released and the next hop has not taken.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{EndStream, Forward};
use crate::Headers;

/// The outlet of one direction.
#[derive(Debug, Default)]
pub(super) struct Out {
    queue: VecDeque<Forward>,
    bytes: usize,
    /// What is left of a `content-length` that the body may still break.
    promised: Option<u64>,
    broken: bool,
}

impl Out {
    pub(super) fn headers(&mut self, headers: Headers, end: EndStream) {
        self.queue.push_back(Forward::Headers(headers, end));
    }

    /// Headers whose `content-length` the processor may have set, before a body that it may change. A body that does
    /// not fit breaks the outlet.
    pub(super) fn guarded_headers(&mut self, headers: Headers) {
        self.promised = headers.content_length();
        self.headers(headers, false);
    }

    /// Empty data that ends nothing is left out.
    pub(super) fn data(&mut self, data: Bytes, end: EndStream) {
        if let Some(left) = self.promised {
            match left.checked_sub(data.len() as u64) {
                Some(left) if left == 0 || !end => self.promised = Some(left),
                Some(_) | None => self.broken = true,
            }
        }
        if !self.broken && (end || !data.is_empty()) {
            self.bytes += data.len();
            self.queue.push_back(Forward::Data(data, end));
        }
    }

    pub(super) fn trailers(&mut self, trailers: Headers) {
        self.broken |= self.promised.is_some_and(|left| left != 0);
        if !self.broken {
            self.queue.push_back(Forward::Trailers(trailers));
        }
    }

    pub(super) fn pop(&mut self) -> Option<Forward> {
        let part = self.queue.pop_front()?;
        if let Forward::Data(data, _) = &part {
            self.bytes -= data.len();
        }
        Some(part)
    }

    /// Nothing more goes out.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the body did not fit the `content-length` before it. Nothing goes out any more.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }
}
