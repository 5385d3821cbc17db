//! When an exchange began, and how long it takes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time by the wall, and by a clock that never goes backwards.
pub(crate) type Clock = fn() -> (SystemTime, Instant);

/// The machine's clocks.
pub(super) fn machine() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch {
    clock: Clock,
    started: SystemTime,
    since: Instant,
}

impl Stopwatch {
    pub(super) fn start(clock: Clock) -> Self {
        let (started, since) = clock();
        Self { clock, started, since }
    }

    /// The start as RFC 3339 in UTC, with 0, 3, 6 or 9 digits of a second.
    pub(super) fn started(&self) -> String {
        rfc3339(self.started.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    pub(super) fn elapsed(&self) -> Duration {
        (self.clock)().1 - self.since
    }
}

fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let nanos = since_epoch.subsec_nanos();
    let fraction = match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a count of days since 1970-01-01.
///
/// The calendar repeats every 146,097 days. Years are counted from March, so that the leap day comes last.
const fn date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (951_868_799, 999_999_999, "2000-02-29T23:59:59.999999999Z"),
            (1_709_164_800, 5_000_000, "2024-02-29T00:00:00.005Z"),
            (1_735_689_599, 120_000, "2024-12-31T23:59:59.000120Z"),
            (1_735_689_600, 1, "2025-01-01T00:00:00.000000001Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59Z"),
            (4_107_542_400, 100_000_000, "2100-03-01T00:00:00.100Z"),
        ] {
            assert_eq!(rfc3339(Duration::new(seconds, nanos)), expected);
        }
    }
}
