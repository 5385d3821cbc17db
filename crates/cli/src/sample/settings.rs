//! What the command line says to the samples: `--set SAMPLE.KEY=VALUE`, or a file with the same.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;

use crate::failure::{Failure, Outcome};

/// A key that a sample understands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What to write, and what goes without it.
    pub(crate) value: &'static str,
    pub(crate) about: &'static str,
}

/// A key of a sample, in one line of its file.
pub(super) const fn key(name: &'static str, value: &'static str, about: &'static str) -> Key {
    Key { name, value, about }
}

/// One `SAMPLE.KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) sample: String,
    key: String,
    value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(place, value)| Some((place.split_once('.')?, value)));
        let ((sample, key), value) = parts.ok_or("write SAMPLE.KEY=VALUE, as slow.delay=300ms")?;
        Ok(Self { sample: sample.to_owned(), key: key.to_owned(), value: value.to_owned() })
    }
}

/// Reads a file of settings: for each sample a map of keys, each with a value or a list of values.
pub(crate) fn read(path: &Path) -> Outcome<Vec<Setting>> {
    let wrong = |error: anyhow::Error| Failure::Usage(error.context(format!("settings in {}", path.display())));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.into()))?;
    parse(&text).map_err(wrong)
}

fn parse(text: &str) -> anyhow::Result<Vec<Setting>> {
    use serde_json::Value;
    let file: BTreeMap<String, BTreeMap<String, Value>> = serde_saphyr::from_str(text)?;
    let mut settings = Vec::new();
    for (sample, keys) in file {
        for (key, value) in keys {
            let values = if let Value::Array(values) = value { values } else { vec![value] };
            for value in values {
                let value = match value {
                    Value::String(text) => text,
                    Value::Number(number) => number.to_string(),
                    Value::Bool(truth) => truth.to_string(),
                    _ => anyhow::bail!("{sample}.{key}: write text, a number, true or false, or a list of these"),
                };
                settings.push(Setting { sample: sample.clone(), key: key.clone(), value });
            }
        }
    }
    Ok(settings)
}

/// What was set for one sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    sample: &'static str,
    values: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Those of `sample`. What `file` says gives way to the same key in `given`.
    pub(crate) fn of(sample: &'static str, keys: &[Key], file: &[Setting], given: &[Setting]) -> Outcome<Self> {
        let mut values = BTreeMap::<String, Vec<String>>::new();
        for source in [given, file] {
            let mut here = BTreeMap::<String, Vec<String>>::new();
            for setting in source.iter().filter(|setting| setting.sample == sample) {
                if !keys.iter().any(|key| key.name == setting.key) {
                    let known = keys.iter().map(|key| key.name).collect::<Vec<_>>();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err(Failure::usage(format!("{sample} has no key {:?}; it has: {known}", setting.key)));
                }
                here.entry(setting.key.clone()).or_default().push(setting.value.clone());
            }
            for (key, list) in here {
                values.entry(key).or_insert(list);
            }
        }
        Ok(Self { sample, values })
    }

    /// Every value of a key that may be given several times.
    pub(super) fn all(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that may be given once.
    pub(super) fn text(&self, key: &str) -> Outcome<Option<&str>> {
        match self.all(key) {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self.wrong(key, "is given more than once")),
        }
    }

    /// The value, read by the rules of its type.
    pub(super) fn get<T: FromStr<Err: fmt::Display>>(&self, key: &str) -> Outcome<Option<T>> {
        let parse = |text: &str| text.parse().map_err(|error| self.wrong(key, format_args!("{text:?}: {error}")));
        self.text(key)?.map(parse).transpose()
    }

    /// A time, as `300ms` or `10s`.
    pub(super) fn duration(&self, key: &str, default: Duration) -> Outcome<Duration> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
        let seconds = number.parse::<f64>().ok().and_then(|number| match unit {
            "ms" => Some(number / 1e3),
            "s" => Some(number),
            "m" => Some(number * 60.0),
            "h" => Some(number * 3600.0),
            _ => None,
        });
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| self.wrong(key, format_args!("{text:?} is no time; write 300ms, 10s, 5m or 1h")))
    }

    /// What a file holds whose path the key gives.
    pub(super) fn file(&self, key: &str) -> Outcome<Option<Vec<u8>>> {
        let read =
            |path: &str| std::fs::read(path).with_context(|| format!("{}.{key}: cannot read {path}", self.sample));
        self.text(key)?.map(|path| read(path).map_err(Failure::Usage)).transpose()
    }

    /// The error for a value that cannot be used.
    pub(super) fn wrong(&self, key: &str, why: impl fmt::Display) -> Failure {
        Failure::usage(format!("{}.{key} {why}", self.sample))
    }

    /// The error for a key that must be given.
    pub(super) fn missing(&self, example: &str) -> Failure {
        Failure::usage(format!("{0} needs a setting: --set '{0}.{example}'", self.sample))
    }

    /// For tests: `KEY=VALUE` each.
    #[cfg(test)]
    pub(super) fn test(settings: &[&str]) -> Self {
        let mut values = BTreeMap::<String, Vec<String>>::new();
        for (key, value) in settings.iter().filter_map(|setting| setting.split_once('=')) {
            values.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Self { sample: "test", values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[key("a", "TEXT", ""), key("b", "TEXT", "")];

    fn message<T: fmt::Debug>(result: Outcome<T>) -> String {
        match result {
            Err(Failure::Usage(error)) => format!("{error:#}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_given_wins_over_the_file_key_by_key() {
        let file = parse("x:\n  a: [1, two]\n  b: true\ny:\n  any: 5").expect("valid");
        let given: Vec<Setting> = vec!["x.a=three=3".parse().expect("valid")];
        let settings = Settings::of("x", KEYS, &file, &given).expect("known");
        assert_eq!((settings.all("a"), settings.all("b")), (&["three=3".to_owned()][..], &["true".to_owned()][..]));
        assert_eq!(Settings::of("x", KEYS, &file, &[]).expect("known").all("a"), ["1", "two"]);
    }

    #[test]
    fn mistakes_are_told() {
        let given: Vec<Setting> = vec!["x.c=1".parse().expect("valid")];
        assert_eq!(message(Settings::of("x", KEYS, &[], &given)), r#"x has no key "c"; it has: a, b"#);
        assert_eq!(message(Settings::test(&["a=1", "a=2"]).text("a")), "test.a is given more than once");
        assert!(message(Settings::test(&["a=x"]).get::<u16>("a")).starts_with(r#"test.a "x": invalid digit"#));
        for text in ["a", "a.b", "a=b"] {
            assert!(text.parse::<Setting>().is_err(), "{text}");
        }
        for text in ["a: 1", "a: {b: {c: 1}}", "a: {b: null}", "["] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in
            [("300ms", Some(300)), ("1.5s", Some(1500)), ("2m", Some(120_000)), ("1h", Some(3_600_000))]
                .into_iter()
                .chain(["", "5", "s", "-1s", "1d", "1e99h"].map(|text| (text, None)))
        {
            let read = Settings::test(&[&format!("t={text}")]).duration("t", Duration::ZERO).ok();
            assert_eq!(read, expected.map(Duration::from_millis), "{text}");
        }
    }
}
