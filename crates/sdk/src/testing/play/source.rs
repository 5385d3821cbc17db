//! The client or the upstream, and what the data plane tells about the exchange.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use extproc_core::filter::HttpEvent;
use extproc_proto::{Metadata, ProcessingRequest};
use prost_types::Struct;

use crate::testing::Exchange;
use crate::testing::plan::Act;

/// A side that does one thing after the other.
#[derive(Debug)]
pub(super) struct Source {
    acts: VecDeque<(Duration, Act)>,
    /// When the next act is due; `None` before the side begins and after it has stopped.
    due: Option<Instant>,
}

impl Source {
    pub(super) const fn new(acts: VecDeque<(Duration, Act)>) -> Self {
        Self { acts, due: None }
    }

    /// Begins, unless it has.
    pub(super) fn schedule(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = self.acts.front().map(|(pause, _)| now + *pause);
        }
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<Act> {
        let (_, act) = self.acts.pop_front()?;
        self.due = None;
        self.schedule(now);
        Some(act)
    }

    pub(super) fn stop(&mut self) {
        self.acts.clear();
        self.due = None;
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn is_body_next(&self) -> bool {
        matches!(self.acts.front(), Some((_, Act::Part(HttpEvent::Data(..) | HttpEvent::Trailers(_)))))
    }
}

/// What the messages carry besides.
#[derive(Debug, Default)]
pub(super) struct Context {
    attributes: BTreeMap<String, Struct>,
    metadata: Metadata,
}

impl Context {
    pub(super) fn of(exchange: &Exchange) -> Self {
        Self { attributes: exchange.attributes.clone(), metadata: exchange.metadata.clone() }
    }

    pub(super) fn add_to(&self, message: &mut ProcessingRequest, first: bool) {
        if first {
            message.attributes.extend(self.attributes.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        if !self.metadata.filter_metadata.is_empty() {
            let metadata = message.metadata_context.get_or_insert_default();
            let more = self.metadata.filter_metadata.iter();
            metadata.filter_metadata.extend(more.map(|(key, value)| (key.clone(), value.clone())));
        }
    }
}
