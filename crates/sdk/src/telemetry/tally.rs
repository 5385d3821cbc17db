//! Counters, one for each value of a label.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use super::label::Label;

/// A counter for each value of `A`.
#[derive(Debug)]
pub(crate) struct Tally<A> {
    counts: Box<[AtomicU64]>,
    labels: PhantomData<fn(A)>,
}

/// A counter for each pair of values of `A` and `B`.
#[derive(Debug)]
pub(crate) struct Tally2<A, B> {
    counts: Box<[AtomicU64]>,
    labels: PhantomData<fn(A, B)>,
}

impl<A: Label> Tally<A> {
    pub(crate) fn add(&self, label: A, count: u64) {
        self.counts[label.index()].fetch_add(count, Ordering::Relaxed);
    }

    /// Counts one. True: it is the first.
    pub(crate) fn first(&self, label: A) -> bool {
        self.counts[label.index()].fetch_add(1, Ordering::Relaxed) == 0
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn each(&self) -> impl Iterator<Item = (A, u64)> {
        A::ALL.iter().map(|label| (*label, self.counts[label.index()].load(Ordering::Relaxed)))
    }
}

impl<A: Label, B: Label> Tally2<A, B> {
    pub(crate) fn add(&self, a: A, b: B, count: u64) {
        self.counts[a.index() * B::ALL.len() + b.index()].fetch_add(count, Ordering::Relaxed);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn each(&self) -> impl Iterator<Item = (A, B, u64)> {
        let pairs = A::ALL.iter().flat_map(|a| B::ALL.iter().map(|b| (*a, *b)));
        pairs.zip(&self.counts).map(|((a, b), count)| (a, b, count.load(Ordering::Relaxed)))
    }
}

impl<A: Label> Default for Tally<A> {
    fn default() -> Self {
        Self { counts: A::ALL.iter().map(|_| AtomicU64::new(0)).collect(), labels: PhantomData }
    }
}

impl<A: Label, B: Label> Default for Tally2<A, B> {
    fn default() -> Self {
        let counts = (0..A::ALL.len() * B::ALL.len()).map(|_| AtomicU64::new(0)).collect();
        Self { counts, labels: PhantomData }
    }
}
