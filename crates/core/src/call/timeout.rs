//! `grpc-timeout`, the time that a call has left.

use std::time::Duration;

use crate::headers::{Name, Value};

pub(super) const GRPC_TIMEOUT: Name = Name::from_static("grpc-timeout");

/// One to eight digits and a unit. What is malformed is no deadline, as in tonic.
pub(super) fn read(value: &str) -> Option<Duration> {
    let unit = value.len().checked_sub(1).filter(|at| (1..=8).contains(at) && value.is_char_boundary(*at))?;
    let (digits, unit) = value.split_at(unit);
    let amount: u64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// In the finest unit that has room for it; rounded up, never nothing.
pub(super) fn write(left: Duration) -> Value {
    const MOST: u128 = 99_999_999;
    let nanos = left.as_nanos().max(1);
    let units = [("n", 1), ("u", 1_000), ("m", 1_000_000), ("S", 1_000_000_000), ("M", 60_000_000_000)];
    let fits = units.into_iter().map(|(unit, len)| (unit, nanos.div_ceil(len))).find(|(_, amount)| *amount <= MOST);
    let (unit, amount) = fits.unwrap_or_else(|| ("H", nanos.div_ceil(3_600_000_000_000).min(MOST)));
    Value::parse(format!("{amount}{unit}")).unwrap_or(Value::from_static("1n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_grpc_allows() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("700m", Some(Duration::from_millis(700))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789n", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("+1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn writes_the_finest_unit_with_room() {
        for (left, expected) in [
            (Duration::ZERO, "1n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_millis(700), "700000u"),
            (Duration::from_secs(3_600), "3600000m"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(write(left).to_str(), Some(expected), "{left:?}");
        }
    }
}
