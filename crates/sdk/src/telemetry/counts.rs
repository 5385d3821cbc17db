//! The counters of processors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use extproc_core::{BodyMode, Direction};

use super::histogram::Histogram;
use super::label::{Blocked, FailureKind, Label, Limit, Need, StreamEnd, Way};
use super::limiter::Limiter;
use super::tally::{Tally, Tally2};
use crate::Phase;
use crate::difference::DifferenceLabel;
use crate::exchange::Expects;

/// How many different pairs of status and details are kept apart for a processor. Details may hold what a client sent.
const MAX_REPLIES: usize = 64;

/// How much of details is kept, in bytes.
const MAX_DETAILS: usize = 64;

/// What details count as when there are too many of them.
const OTHER: &str = "other";

/// The counters that one server moves.
#[derive(Debug)]
pub(crate) struct Counts {
    /// What is compared with each stream's first message.
    pub(crate) expects: Expects,
    pub(crate) stream: Arc<StreamCounts>,
    pub(crate) stages: Box<[Arc<StageCounts>]>,
}

/// What is counted for whole streams, under the names of all processors in them.
#[derive(Debug)]
pub(crate) struct StreamCounts {
    pub(crate) faults: Arc<Faults>,
    pub(crate) active: AtomicI64,
    pub(crate) ended: Tally<StreamEnd>,
    pub(crate) seconds: Histogram,
    pub(crate) events: Tally<Phase>,
    pub(crate) body_bytes: Tally2<Direction, Way>,
    pub(crate) credit_stalls: AtomicU64,
    pub(super) violations: Limiter,
}

/// What is counted for each processor.
#[derive(Debug)]
pub(crate) struct StageCounts {
    pub(crate) faults: Arc<Faults>,
    pub(crate) handler_seconds: [Histogram; Phase::ALL.len()],
    pub(crate) mismatches: Tally2<Need, BodyMode>,
    pub(crate) blocked: Tally<Blocked>,
    pub(crate) replies: Replies,
}

/// What goes wrong, in a processor or in a stream as a whole.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) processor: String,
    pub(crate) failures: Tally<FailureKind>,
    pub(crate) panics: AtomicU64,
    pub(crate) limits: Tally<Limit>,
    pub(crate) differences: Tally<DifferenceLabel>,
}

/// Local replies by status and details.
#[derive(Debug, Default)]
pub(crate) struct Replies(RwLock<BTreeMap<(u16, String), AtomicU64>>);

impl StreamCounts {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self {
            faults,
            active: AtomicI64::new(0),
            ended: Tally::default(),
            seconds: Histogram::default(),
            events: Tally::default(),
            body_bytes: Tally2::default(),
            credit_stalls: AtomicU64::new(0),
            violations: Limiter::default(),
        }
    }
}

impl StageCounts {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self {
            faults,
            handler_seconds: Default::default(),
            mismatches: Tally2::default(),
            blocked: Tally::default(),
            replies: Replies::default(),
        }
    }
}

impl Faults {
    pub(super) fn new(processor: &str) -> Self {
        Self {
            processor: processor.to_owned(),
            failures: Tally::default(),
            panics: AtomicU64::new(0),
            limits: Tally::default(),
            differences: Tally::default(),
        }
    }

    pub(super) fn failed(&self, kind: FailureKind) {
        self.failures.add(kind, 1);
        if kind == FailureKind::Panic {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Replies {
    /// Takes the lock for writing only when a pair comes for the first time.
    pub(super) fn add(&self, status: u16, details: &str) {
        let details = shortened(details);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Looked up as text that is borrowed: the map is small, and a reply ends its exchange.
        if let Some((_, count)) = known.iter().find(|((s, d), _)| *s == status && d == details) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(known);
        let mut replies = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let details = if replies.len() < MAX_REPLIES { details } else { OTHER };
        replies.entry((status, details.to_owned())).or_default().fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(any(feature = "metrics", test))]
    pub(crate) fn each(&self, mut visit: impl FnMut(u16, &str, u64)) {
        for ((status, details), count) in &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            visit(*status, details, count.load(Ordering::Relaxed));
        }
    }
}

fn shortened(details: &str) -> &str {
    &details[..details.floor_char_boundary(MAX_DETAILS)]
}

impl Label for Direction {
    const ALL: &'static [Self] = &Self::BOTH;

    fn text(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for BodyMode {
    const ALL: &'static [Self] =
        &[Self::None, Self::Streamed, Self::Buffered, Self::BufferedPartial, Self::FullDuplexStreamed, Self::Grpc];

    fn text(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Streamed => "STREAMED",
            Self::Buffered => "BUFFERED",
            Self::BufferedPartial => "BUFFERED_PARTIAL",
            Self::FullDuplexStreamed => "FULL_DUPLEX_STREAMED",
            Self::Grpc => "GRPC",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_do_not_make_the_metric_grow_without_end() {
        let replies = Replies::default();
        for number in 0..1000 {
            replies.add(403, &format!("user_{number}"));
        }
        replies.add(403, "user_0");
        replies.add(500, "new");
        let mut all = Vec::new();
        replies.each(|status, details, count| all.push((status, details.to_owned(), count)));
        assert_eq!(all.len(), MAX_REPLIES + 2, "the known ones, and one other for each status");
        assert!(all.contains(&(403, "user_0".to_owned(), 2)));
        assert!(all.contains(&(403, OTHER.to_owned(), 1000 - MAX_REPLIES as u64)));
        assert!(all.contains(&(500, OTHER.to_owned(), 1)));
    }

    #[test]
    fn long_details_are_cut_between_characters() {
        let replies = Replies::default();
        replies.add(400, &format!("{}é", "x".repeat(MAX_DETAILS - 1)));
        replies.each(|_, details, _| assert_eq!(details, "x".repeat(MAX_DETAILS - 1)));
    }

    #[test]
    fn labels_are_in_the_order_of_their_numbers() {
        fn check<L: Label>() {
            L::ALL.iter().enumerate().for_each(|(at, label)| assert_eq!(label.index(), at, "{}", label.text()));
        }
        check::<Direction>();
        check::<BodyMode>();
        check::<Phase>();
        check::<Blocked>();
    }
}
