//! Counters of a filter over all exchanges.

use std::sync::atomic::{AtomicU64, Ordering};

use extproc_core::Stats;

/// What a filter counted over all exchanges, under the names of [`Stats::NAMES`]. Changes show at once, also those of
/// exchanges that are still running.
#[derive(Debug, Default)]
pub struct Counters {
    values: [AtomicU64; Stats::NAMES.len()],
}

impl Counters {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what one exchange counted.
    pub fn add(&self, stats: &Stats) {
        for (counter, value) in self.values.iter().zip(stats.values()) {
            if value != 0 {
                counter.fetch_add(value, Ordering::Relaxed);
            }
        }
    }

    /// One counter by its name; `None` when there is no such counter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        let index = Stats::NAMES.iter().position(|it| *it == name)?;
        Some(self.values[index].load(Ordering::Relaxed))
    }

    /// Every counter with its name, in the order of [`Stats::NAMES`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Stats::NAMES.into_iter().zip(self.values.iter().map(|it| it.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_by_name() {
        let counters = Counters::new();
        counters.add(&Stats { streams_started: 1, stream_msgs_sent: 2, ..Stats::default() });
        counters.add(&Stats { stream_msgs_sent: 3, ..Stats::default() });
        assert_eq!(counters.get("streams_started"), Some(1));
        assert_eq!(counters.get("stream_msgs_sent"), Some(5));
        assert_eq!(counters.get("no_such_counter"), None);
        assert_eq!(counters.iter().map(|(_, value)| value).sum::<u64>(), 6);
    }
}
