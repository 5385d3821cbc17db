//! Times by ISO 8601.

/// Whether it is a date, or a date and a time with or without fraction and zone, that the calendar has.
pub(super) fn is_iso8601(text: &str) -> bool {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    is_date(date) && time.is_none_or(is_time)
}

fn is_date(text: &str) -> bool {
    let [year, month, day] = numbers(text, '-', &[4, 2, 2])[..] else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn is_time(text: &str) -> bool {
    let (clock, zone) = match text.find(['Z', 'z', '+', '-']) {
        Some(index) => text.split_at(index),
        None => (text, ""),
    };
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', &[2, 2, 2])[..] else { return false };
    // A leap second is a time too.
    let clock = hour < 24 && minute < 60 && second <= 60;
    clock && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()) && is_zone(zone)
}

fn is_zone(text: &str) -> bool {
    if matches!(text, "" | "Z" | "z") {
        return true;
    }
    let Some(offset) = text.strip_prefix(['+', '-']) else { return false };
    matches!(numbers(offset, ':', &[2, 2])[..], [hour, minute] if hour < 24 && minute < 60)
}

/// Numbers with so many digits each, or none.
fn numbers(text: &str, separator: char, digits: &[usize]) -> Vec<u32> {
    let parts: Vec<&str> = text.split(separator).collect();
    let fits = parts.len() == digits.len()
        && parts.iter().zip(digits).all(|(part, digits)| part.len() == *digits)
        && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if fits { parts.iter().filter_map(|part| part.parse().ok()).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, valid) in [
            ("2026-01-02T03:04:05Z", true),
            ("2026-01-02T03:04:05.006007+02:00", true),
            ("2026-01-02 03:04:05.006007", true),
            ("2024-02-29", true),
            ("2026-02-29", false),
            ("2026-13-01", false),
            ("2026-01-02T24:00:00Z", false),
            ("2026-01-02T03:04Z", false),
            ("2026-01-02T03:04:05.Z", false),
            ("2026-01-02T03:04:05+0200", false),
            ("yesterday", false),
            ("", false),
        ] {
            assert_eq!(is_iso8601(text), valid, "{text}");
        }
    }
}
