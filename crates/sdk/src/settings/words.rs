//! Values as people write them.

use std::time::Duration;

/// `5`, `0.5` (seconds), `200ms`, `5s`, `1m`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
        .into_iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, unit)))
        .unwrap_or((text, 1.0));
    let seconds = number.trim().parse::<f64>().ok().map(|number| number * unit);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write seconds, as 5 or 0.5, or with a unit, as 500ms, 5s, 1m, 1h".to_owned())
}

/// A duration, or `none`.
pub(super) fn optional_duration(text: &str) -> Result<Option<Duration>, String> {
    if matches!(text, "none" | "off" | "0") {
        return Ok(None);
    }
    duration(text).map(Some).map_err(|problem| format!("{problem}, or none"))
}

/// `1000`, `64KiB`, `16MiB`, `1GiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = [("KiB", 10), ("MiB", 20), ("GiB", 30)]
        .into_iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, unit)))
        .unwrap_or((text, 0));
    let number = number.trim().parse::<usize>().ok();
    number
        .and_then(|number| number.checked_mul(1 << unit))
        .ok_or_else(|| "write bytes, as 1000, or with a unit, as 64KiB, 16MiB, 1GiB".to_owned())
}

/// A size that HTTP/2 can tell.
pub(super) fn size_of_window(text: &str) -> Result<u32, String> {
    let size = size(text)?;
    u32::try_from(size).ok().filter(|size| *size < 1 << 31).ok_or_else(|| "HTTP/2 takes less than 2GiB here".to_owned())
}

pub(super) fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "write a whole number that is not negative".to_owned())
}

/// The usual words, the eight that the Python SDK knows among them.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Ok(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// So that it reads back.
pub(super) fn show_duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_secs_f64() * 1e3)
    }
}

/// So that it reads back.
pub(super) fn show_size(size: usize) -> String {
    match size {
        0 => "0".to_owned(),
        size if size % (1 << 20) == 0 => format!("{}MiB", size >> 20),
        size if size % (1 << 10) == 0 => format!("{}KiB", size >> 10),
        size => size.to_string(),
    }
}
