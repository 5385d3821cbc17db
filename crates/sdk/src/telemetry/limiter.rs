//! Keeps the log from being filled by what a peer can repeat at will.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How many are logged in each window.
const FIRST: u64 = 5;

const WINDOW: Duration = Duration::from_secs(60);

/// Lets the first few events of each minute into the log, and counts the others.
#[derive(Debug)]
pub(crate) struct Limiter {
    start: Instant,
    window: AtomicU64,
    logged: AtomicU64,
    held: AtomicU64,
}

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Log it. So many before it were not logged and have not been told.
    Log { held: u64 },
    /// Log it, and that it is the last one for a while.
    Last,
    /// It is counted.
    Hold,
}

impl Limiter {
    pub(crate) fn judge(&self, now: Instant) -> Verdict {
        let window = now.saturating_duration_since(self.start).as_secs() / WINDOW.as_secs();
        let mut held = 0;
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.logged.store(0, Ordering::Relaxed);
            held = self.held.swap(0, Ordering::Relaxed);
        }
        match self.logged.fetch_add(1, Ordering::Relaxed) + 1 {
            count if count < FIRST => Verdict::Log { held },
            FIRST => Verdict::Last,
            _ => {
                self.held.fetch_add(1, Ordering::Relaxed);
                Verdict::Hold
            }
        }
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self { start: Instant::now(), window: AtomicU64::new(0), logged: AtomicU64::new(0), held: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_minute_are_logged_and_the_rest_is_summed_up() {
        let limiter = Limiter::default();
        let at = |seconds| limiter.judge(limiter.start + Duration::from_secs(seconds));
        for _ in 1..FIRST {
            assert_eq!(at(0), Verdict::Log { held: 0 });
        }
        assert_eq!(at(1), Verdict::Last);
        assert_eq!([at(2), at(59)], [Verdict::Hold, Verdict::Hold]);
        assert_eq!(at(60), Verdict::Log { held: 2 });
        assert_eq!(at(61), Verdict::Log { held: 0 });
        assert_eq!(at(200), Verdict::Log { held: 0 });
    }
}
