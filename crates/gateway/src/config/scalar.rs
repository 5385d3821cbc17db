//! Values written as one word: durations, sizes, statuses, addresses, words of a fixed set.

use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::plan::Address;

/// Defines an enum whose words are compared without regard to case and separators, and printed as in Envoy or the
/// Gateway API.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident: $what:literal { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            const WORDS: &[(&str, Self)] = &[$(($word, Self::$variant)),+];

            /// The word as it is printed.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $crate::config::scalar::find_word(text, $what, Self::WORDS)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}
pub(super) use words;

pub(super) fn find_word<T: Copy>(text: &str, what: &str, words: &[(&str, T)]) -> Result<T, String> {
    let plain = |it: &str| it.to_lowercase().replace(['_', '-', ' '], "");
    let wanted = plain(text);
    words.iter().find(|(word, _)| plain(word) == wanted).map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        match super::error::nearest(text, all.iter().copied()) {
            Some(near) => format!("`{text}` is no {what}; did you mean {near}? ({})", all.join(", ")),
            None => format!("`{text}` is no {what}; use one of {}", all.join(", ")),
        }
    })
}

/// A duration such as `200ms`, `0.2s`, `1m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is no duration; write for example `200ms`, `0.2s`, `1m` or `1h`");
        let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (number, unit) = text.split_at(unit);
        let unit = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(invalid()),
        };
        let nanoseconds = scaled(number, unit).ok_or_else(invalid)?;
        u64::try_from(nanoseconds).map(|it| Self(Duration::from_nanos(it))).map_err(|_| invalid())
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanoseconds = self.0.subsec_nanos();
        if nanoseconds == 0 {
            write!(f, "{}s", self.0.as_secs())
        } else if nanoseconds.is_multiple_of(1_000_000) {
            write!(f, "{}ms", self.0.as_millis())
        } else {
            write!(f, "{}.{nanoseconds:09}s", self.0.as_secs())
        }
    }
}

/// A number of bytes such as `64KiB`, `1MiB` or `1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is no size; write for example `64KiB`, `1MiB` or a number of bytes");
        let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let unit = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(invalid()),
        };
        let bytes = scaled(number, unit).ok_or_else(invalid)?;
        usize::try_from(bytes).map(Self).map_err(|_| invalid())
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A decimal number times a unit, without rounding up; `None` if it is no number.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.len() > 18 || fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let whole: u128 = whole.parse().ok()?;
    let fraction: u128 = fraction.parse().ok()?;
    Some((whole * scale + fraction) * unit / scale)
}

/// An HTTP status, written as a number, by name (`ServiceUnavailable`) or in Envoy's form `{ code: 503 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

/// A regular expression, written as a string or in Envoy's form `{ regex: ... }`. It must match whole names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

/// Reads a type from the texts and numbers that stand for it.
macro_rules! from_text {
    ($name:ty, $expecting:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

from_text!(Time, "a duration such as `200ms` or `0.2s`");
from_text!(Size, "a size such as `64KiB`");
from_text!(Address, "an address such as `127.0.0.1:8080` or `unix:/run/processor.sock`");

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(code) = text.parse() {
            return Ok(Self(code));
        }
        let plain = |it: &str| it.to_lowercase().replace(['_', '-', ' ', '\''], "");
        let named = |code: &u16| {
            let status = http::StatusCode::from_u16(*code).ok();
            status.and_then(|it| it.canonical_reason()).is_some_and(|it| plain(it) == plain(text))
        };
        (100..600).find(named).map(Self).ok_or_else(|| {
            format!("`{text}` is no HTTP status; write a number such as 503 or a name such as ServiceUnavailable")
        })
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct HttpStatus {
            code: Status,
        }

        struct StatusVisitor;
        impl<'de> Visitor<'de> for StatusVisitor {
            type Value = Status;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an HTTP status such as 503")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Status, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Status, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Status, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Status, A::Error> {
                HttpStatus::deserialize(de::value::MapAccessDeserializer::new(map)).map(|it| it.code)
            }
        }
        deserializer.deserialize_any(StatusVisitor)
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct RegexMatcher {
            regex: String,
            /// Which engine Envoy is to use; ours understands the same language.
            #[serde(default, rename = "google_re2", alias = "googleRe2")]
            _google_re2: de::IgnoredAny,
        }

        struct PatternVisitor;
        impl<'de> Visitor<'de> for PatternVisitor {
            type Value = Pattern;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a regular expression")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
                Ok(Pattern(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pattern, A::Error> {
                RegexMatcher::deserialize(de::value::MapAccessDeserializer::new(map)).map(|it| Pattern(it.regex))
            }
        }
        deserializer.deserialize_any(PatternVisitor)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Pattern {
    /// Compiles it; the core anchors it.
    pub(super) fn compile(&self) -> Result<regex::Regex, String> {
        regex::Regex::new(&self.0).map_err(|error| {
            // The lines before the last draw a picture of the place.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            format!("`{}` is no regular expression: {}", self.0, reason.trim_start_matches("error: "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let table = [
            ("200ms", Some(200_000_000), "200ms"),
            ("0.2s", Some(200_000_000), "200ms"),
            ("1s", Some(1_000_000_000), "1s"),
            ("1.5m", Some(90_000_000_000), "90s"),
            ("1h", Some(3_600_000_000_000), "3600s"),
            ("0s", Some(0), "0s"),
            ("0.000000001s", Some(1), "0.000000001s"),
            ("1.25ms", Some(1_250_000), "0.001250000s"),
            ("", None, ""),
            ("5", None, ""),
            ("s", None, ""),
            (".5s", None, ""),
            ("5.s", None, ""),
            ("1.2.3s", None, ""),
            ("-1s", None, ""),
            ("1 s", None, ""),
            ("1d", None, ""),
            ("99999999999999999s", None, ""),
        ];
        for (text, nanoseconds, printed) in table {
            let time: Option<Time> = text.parse().ok();
            assert_eq!(time, nanoseconds.map(|it| Time(Duration::from_nanos(it))), "{text}");
            if let Some(time) = time {
                assert_eq!(time.to_string(), printed);
                assert_eq!(printed.parse(), Ok(time), "what is printed can be read");
            }
        }
    }

    #[test]
    fn sizes() {
        let table = [
            ("0", Some(0), "0"),
            ("1000", Some(1000), "1000"),
            ("64KiB", Some(65536), "64KiB"),
            ("64 KiB", Some(65536), "64KiB"),
            ("1MiB", Some(1 << 20), "1MiB"),
            ("0.5MiB", Some(1 << 19), "512KiB"),
            ("2GiB", Some(2 << 30), "2GiB"),
            ("12B", Some(12), "12"),
            ("1KB", None, ""),
            ("", None, ""),
            ("-1", None, ""),
            ("99999999999999999GiB", None, ""),
        ];
        for (text, bytes, printed) in table {
            let size: Option<Size> = text.parse().ok();
            assert_eq!(size, bytes.map(Size), "{text}");
            if let Some(size) = size {
                assert_eq!(size.to_string(), printed);
                assert_eq!(printed.parse(), Ok(size), "what is printed can be read");
            }
        }
    }

    #[test]
    fn statuses_and_patterns() {
        let table = [
            ("503", Some(503)),
            ("{ code: 503 }", Some(503)),
            ("{ code: ServiceUnavailable }", Some(503)),
            ("service_unavailable", Some(503)),
            ("InternalServerError", Some(500)),
            ("ImATeapot", Some(418)),
            ("70000", None),
            ("-1", None),
            ("nope", None),
            ("{ status: 503 }", None),
        ];
        for (text, code) in table {
            assert_eq!(serde_saphyr::from_str(text).ok(), code.map(Status), "{text}");
        }
        for text in ["x-a|x-ab", "{ regex: x-a|x-ab }", "{ google_re2: {}, regex: x-a|x-ab }"] {
            let pattern: Pattern = serde_saphyr::from_str(text).unwrap();
            let regex = pattern.compile().unwrap();
            assert_eq!(regex.as_str(), "x-a|x-ab", "{text}");
        }
        for invalid in ["(", "a)|(b"] {
            assert!(Pattern(invalid.to_owned()).compile().is_err());
        }
    }
}
