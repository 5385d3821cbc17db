//! Settings in a YAML file.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, Location, MessageFormatter as _, Spanned};

use super::{Key, Origin, SettingError, Settings};

/// Takes what `text` says, which is called `name` in messages.
pub(super) fn read(settings: &mut Settings, name: &str, text: &str) -> Result<(), SettingError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(());
    }
    let Pairs(pairs) = serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let message = DefaultMessageFormatter.format_message(error);
        let place = error.location().map_or_else(|| name.to_owned(), |location| place(name, location));
        SettingError::File(format!("{place}: {message}"))
    })?;
    for (given, value) in pairs {
        let location = value.referenced;
        let Some(key) = Key::ALL.iter().find(|key| key.name == given.replace('-', "_")) else {
            let place = key_place(name, text, &given, location);
            return Err(SettingError::File(format!("{place}: unknown setting `{given}`; {}", hint(&given))));
        };
        match value.value {
            Scalar::Text(value) => settings.set(key, &value, Origin::File(place(name, location)))?,
            Scalar::Null => {}
            Scalar::Several => {
                let place = place(name, location);
                return Err(SettingError::File(format!("{place}: `{given}` takes one value")));
            }
        }
    }
    Ok(())
}

fn place(file: &str, location: Location) -> String {
    if location == Location::UNKNOWN {
        file.to_owned()
    } else {
        format!("{file}:{}:{}", location.line(), location.column())
    }
}

/// Keys have no location of their own: they stand in front of their values.
fn key_place(file: &str, text: &str, key: &str, value: Location) -> String {
    let last = usize::try_from(value.line()).unwrap_or(usize::MAX);
    let lines = text.lines().enumerate().take(last).filter(|(_, line)| line.trim_start().starts_with(key));
    lines.last().map_or_else(
        || place(file, value),
        |(index, line)| format!("{file}:{}:{}", index + 1, line.len() - line.trim_start().len() + 1),
    )
}

/// The key that a misspelt one most likely means.
fn hint(given: &str) -> String {
    let scored = Key::ALL.iter().map(|key| (strsim::jaro_winkler(given, key.name), key.name));
    match scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => format!("there are {}", Key::ALL.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")),
    }
}

/// A map, in the order of the file.
struct Pairs(Vec<(String, Spanned<Scalar>)>);

/// A value as it is written, more or less.
enum Scalar {
    Text(String),
    Null,
    Several,
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings, as `key: value`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

macro_rules! visit {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, value: $type) -> Result<Scalar, E> {
            Ok(Scalar::Text(value.to_string()))
        })*
    };
}

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }

    visit!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Several)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Several)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        read(&mut settings, "s.yaml", text).map(|()| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn files_say_what_flags_say() {
        let text = "# a comment\nport: 1\ngrace-period: 0.5\nreflection: true\nmax_message: 32MiB\nkeepalive_interval: none\n\
                    tls_key: null\nmax_connection_age: 1h\n";
        let settings = parse(text).unwrap();
        let values = settings.values();
        assert_eq!((values.port, values.grace_period, values.reflection), (1, Duration::from_millis(500), true));
        assert_eq!((values.limits.max_message, values.limits.keepalive_interval), (32 << 20, None));
        assert_eq!((&values.tls_key, values.limits.max_connection_age), (&None, Some(Duration::from_secs(3600))));
        let port = &Key::ALL[1];
        assert_eq!(settings.origin(port), &Origin::File("s.yaml:2:7".to_owned()));
        assert_eq!(parse(" \n# nothing\n").unwrap(), Settings::default());
    }

    #[test]
    fn errors_have_a_place_and_a_hint() {
        for (text, expected) in [
            ("port: 1\nmax_mesage: 2\n", "s.yaml:2:1: unknown setting `max_mesage`; did you mean `max_message`?"),
            ("nonsense: 1\n", "s.yaml:1:1: unknown setting `nonsense`; there are listen, port, "),
            ("port: x\n", "s.yaml:1:7: \"x\" is no value for port: write a number from 0 to 65535"),
            ("port: [1]\n", "s.yaml:1:7: `port` takes one value"),
            ("- port\n", "s.yaml:1:1: "),
            ("port: 1\nport: 2\n", "s.yaml:2:1: "),
            ("port: \"1\n", "s.yaml:"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
