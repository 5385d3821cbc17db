//! What a value must be.

mod read;
mod time;

use std::collections::BTreeMap;

use bytes::Bytes;
use regex::bytes::Regex;
use serde_json::Value as Json;

#[cfg(test)]
pub(super) use self::read::TAGS;
pub(super) use self::read::{Names, read};
use super::json;
use super::yaml::Position;
use crate::text::preview;

/// One expectation, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub(super) at: Position,
    form: Form,
}

/// The forms of `docs/case-files.md`.
#[derive(Clone, Debug)]
enum Form {
    Exact(Bytes),
    ExactJson(Json),
    /// Exactly these values, in order.
    Values(Vec<Matcher>),
    Absent,
    Present,
    Regex(Regex),
    Contains(String),
    Json(Vec<(String, Matcher)>),
    Count(usize),
    Size(usize),
    First(Box<Matcher>),
    Any(Box<Matcher>),
    All(Box<Matcher>),
    Not(Box<Matcher>),
    And(Vec<Matcher>),
    Iso8601,
    Int,
    Capture(String),
    Same(String),
}

/// A value that was found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    Bytes(&'a [u8]),
    Json(&'a Json),
}

/// What did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Within the value: the path in JSON, or nothing.
    pub(super) path: String,
    pub(super) expected: String,
    pub(super) actual: String,
    /// The matcher that says so.
    pub(super) at: Position,
}

/// Values by the name that `!capture` gave them.
pub(super) type Captures = BTreeMap<String, Vec<u8>>;

impl Matcher {
    /// Remembers what `!capture` names.
    pub(super) fn capture(&self, found: &[Found<'_>], captures: &mut Captures) {
        match &self.form {
            Form::Capture(name) => {
                if let [one] = found {
                    captures.insert(name.clone(), one.bytes());
                }
            }
            Form::First(inner) => inner.capture(found.get(..1).unwrap_or_default(), captures),
            Form::And(all) => all.iter().for_each(|inner| inner.capture(found, captures)),
            Form::Values(all) => {
                all.iter().zip(found).for_each(|(inner, one)| inner.capture(std::slice::from_ref(one), captures));
            }
            Form::Json(fields) => {
                let [one] = found else { return };
                let Some(whole) = one.json() else { return };
                for (path, inner) in fields {
                    if let Some(value) = json::at(&whole, path) {
                        inner.capture(&[Found::Json(value)], captures);
                    }
                }
            }
            _ => {}
        }
    }

    /// Every way in which the values are not what they must be.
    pub(super) fn check(&self, found: &[Found<'_>], captures: &Captures) -> Vec<Mismatch> {
        let verdict = match &self.form {
            Form::Absent => found.is_empty(),
            Form::Present => !found.is_empty(),
            Form::Count(count) => found.len() == *count,
            Form::First(inner) => return inner.check(found.get(..1).unwrap_or_default(), captures),
            Form::Any(inner) => found.iter().any(|one| inner.accepts(one, captures)),
            Form::All(inner) => !found.is_empty() && found.iter().all(|one| inner.accepts(one, captures)),
            Form::Not(inner) => !inner.check(found, captures).is_empty(),
            Form::And(all) => return all.iter().flat_map(|inner| inner.check(found, captures)).collect(),
            Form::Values(all) => {
                all.len() == found.len() && all.iter().zip(found).all(|(inner, one)| inner.accepts(one, captures))
            }
            Form::Json(fields) => return self.check_json(fields, found, captures),
            _ => matches!(found, [one] if self.holds(one, captures)),
        };
        if verdict { Vec::new() } else { vec![self.mismatch(found, captures)] }
    }

    fn accepts(&self, one: &Found<'_>, captures: &Captures) -> bool {
        self.check(std::slice::from_ref(one), captures).is_empty()
    }

    /// The forms for one value.
    fn holds(&self, one: &Found<'_>, captures: &Captures) -> bool {
        match &self.form {
            Form::Exact(bytes) => one.bytes() == *bytes,
            Form::ExactJson(json) => one.json().as_ref() == Some(json),
            Form::Regex(regex) => regex.is_match(&one.bytes()),
            Form::Contains(part) => has(&one.bytes(), part.as_bytes()),
            Form::Size(size) => one.bytes().len() == *size,
            Form::Iso8601 => std::str::from_utf8(&one.bytes()).is_ok_and(time::is_iso8601),
            Form::Int => {
                let bytes = one.bytes();
                let digits = bytes.strip_prefix(b"-").unwrap_or(&bytes);
                !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
            }
            Form::Capture(_) => true,
            Form::Same(name) => captures.get(name).is_some_and(|value| *value == one.bytes()),
            _ => false,
        }
    }

    fn check_json(&self, fields: &[(String, Self)], found: &[Found<'_>], captures: &Captures) -> Vec<Mismatch> {
        let [one] = found else { return vec![self.mismatch(found, captures)] };
        let Some(whole) = one.json() else {
            return vec![Mismatch { expected: "JSON".to_owned(), ..self.mismatch(found, captures) }];
        };
        let of = |(path, inner): &(String, Self)| {
            let value = json::at(&whole, path).map(Found::Json);
            let mut wrong = inner.check(value.as_slice(), captures);
            for mismatch in &mut wrong {
                let rest = std::mem::take(&mut mismatch.path);
                mismatch.path = if rest.is_empty() { path.clone() } else { format!("{path}.{rest}") };
            }
            wrong
        };
        fields.iter().flat_map(of).collect()
    }

    fn mismatch(&self, found: &[Found<'_>], captures: &Captures) -> Mismatch {
        let actual = match found {
            [] => "none".to_owned(),
            [one] => one.show(),
            many => {
                let all: Vec<String> = many.iter().map(Found::show).collect();
                format!("{} values: {}", many.len(), all.join(", "))
            }
        };
        let hint =
            if found.len() > 1 && self.is_for_one() { " (alone; !first, !any and !all take several)" } else { "" };
        let expected = format!("{}{hint}", self.describe(captures));
        Mismatch { path: String::new(), expected, actual, at: self.at }
    }

    const fn is_for_one(&self) -> bool {
        !matches!(
            self.form,
            Form::Absent
                | Form::Present
                | Form::Count(_)
                | Form::Values(_)
                | Form::Any(_)
                | Form::All(_)
                | Form::Not(_)
        )
    }

    fn describe(&self, captures: &Captures) -> String {
        match &self.form {
            Form::Exact(bytes) => format!("\"{}\"", preview(bytes)),
            Form::ExactJson(json) => json.to_string(),
            Form::Values(all) => {
                let all: Vec<String> = all.iter().map(|inner| inner.describe(captures)).collect();
                format!("exactly {}", all.join(", "))
            }
            Form::Absent => "none".to_owned(),
            Form::Present => "any value".to_owned(),
            Form::Regex(regex) => format!("a match of {}", regex.as_str()),
            Form::Contains(part) => format!("something with \"{}\" in it", preview(part.as_bytes())),
            Form::Json(_) => "JSON".to_owned(),
            Form::Count(count) => format!("{count} value(s)"),
            Form::Size(size) => format!("{size} byte(s)"),
            Form::First(inner) => format!("first {}", inner.describe(captures)),
            Form::Any(inner) => format!("among others {}", inner.describe(captures)),
            Form::All(inner) => format!("nothing but {}", inner.describe(captures)),
            Form::Not(inner) => format!("not {}", inner.describe(captures)),
            Form::And(all) => {
                let all: Vec<String> = all.iter().map(|inner| inner.describe(captures)).collect();
                all.join(" and ")
            }
            Form::Iso8601 => "a time by ISO 8601, as 2026-01-02T03:04:05Z".to_owned(),
            Form::Int => "a whole number".to_owned(),
            Form::Capture(_) => "one value".to_owned(),
            Form::Same(name) => match captures.get(name) {
                Some(value) => format!("\"{}\", as captured as {name}", preview(value)),
                None => format!("the value captured as {name}, which was not there"),
            },
        }
    }
}

impl Found<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Json(json) => json::readable(json).into_bytes(),
        }
    }

    fn json(&self) -> Option<Json> {
        match self {
            Self::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
            Self::Json(json) => Some((*json).clone()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Bytes(bytes) => format!("\"{}\"", preview(bytes)),
            Self::Json(json) => json.to_string(),
        }
    }
}

fn has(hay: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || hay.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests;
