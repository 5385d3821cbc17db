//! Durations, counted by how long they are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper ends of the buckets, in seconds: from 50 us, which an idle handler stays below, to 10 s. 200 ms is there
/// because it is the time after which data planes give up by default.
pub(crate) const BOUNDS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0];

/// A histogram without locks. What a scrape reads while durations are added may be off by those, never torn: the count
/// is the sum of the buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Not cumulative; the last one takes what is longer than every bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// What a histogram held at a moment.
#[cfg(any(feature = "metrics", test))]
#[derive(Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// How many durations are in each bucket, with its upper end; not cumulative.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// The sum of all durations, in seconds.
    pub(crate) sum: f64,
    pub(crate) count: u64,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(duration), Ordering::Relaxed);
    }

    #[cfg(any(feature = "metrics", test))]
    pub(crate) fn snapshot(&self) -> Snapshot {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(&self.buckets).map(|(b, count)| (b, count.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        Snapshot { buckets, sum, count }
    }
}

/// In nanoseconds, which 64 bits hold for 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_takes_it() {
        for (micros, bucket) in [(0, 0), (50, 0), (51, 1), (100, 1), (200_000, 11), (200_001, 12), (10_000_001, 16)] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(micros));
            let snapshot = histogram.snapshot();
            let filled: Vec<usize> = (0..snapshot.buckets.len()).filter(|at| snapshot.buckets[*at].1 == 1).collect();
            assert_eq!((filled, snapshot.count), (vec![bucket], 1), "{micros} us");
        }
    }

    #[test]
    fn sum_and_count_are_those_of_all() {
        let histogram = Histogram::default();
        (1..=4).for_each(|ms| histogram.observe(Duration::from_millis(ms)));
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.sum, snapshot.count), (0.01, 4));
    }
}
