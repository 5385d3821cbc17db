//! The JSON of the header `instructions`, read by the rules of Go's `encoding/json`, as the original does: names of
//! fields match in any case, the last duplicate wins (objects merge), unknown fields are ignored, `null` empties a
//! field or leaves it, another type is an error, and so is anything after the value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What to do with one message's headers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Instructions {
    pub(super) add_headers: Vec<(String, String)>,
    pub(super) remove_headers: Vec<String>,
    pub(super) set_body: String,
    pub(super) set_trailers: Vec<(String, String)>,
}

impl Instructions {
    /// `None` for the value `null`.
    pub(super) fn parse(text: &[u8]) -> serde_json::Result<Option<Self>> {
        // Go replaces what is not UTF-8 too.
        let text = String::from_utf8_lossy(text);
        let mut input = serde_json::Deserializer::from_str(&text);
        let value = Option::deserialize(&mut input)?;
        input.end()?;
        Ok(value)
    }
}

impl<'de> Deserialize<'de> for Instructions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Instructions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with addHeaders, removeHeaders, setBody or setTrailers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Instructions, A::Error> {
        let mut instructions = Instructions::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.to_ascii_lowercase().as_str() {
                "addheaders" => merge(&mut instructions.add_headers, map.next_value()?),
                "removeheaders" => instructions.remove_headers = names(map.next_value()?),
                "setbody" => instructions.set_body = map.next_value::<Option<_>>()?.unwrap_or(instructions.set_body),
                "settrailers" => merge(&mut instructions.set_trailers, map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(instructions)
    }
}

/// The entries of an object of strings; `null` is an empty string.
struct Entries(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn merge(into: &mut Vec<(String, String)>, entries: Option<Entries>) {
    let Some(Entries(entries)) = entries else { return into.clear() };
    for (name, value) in entries {
        into.retain(|(seen, _)| *seen != name);
        into.push((name, value.unwrap_or_default()));
    }
}

fn names(names: Option<Vec<Option<String>>>) -> Vec<String> {
    names.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn add(entries: &[(&str, &str)]) -> Instructions {
        Instructions { add_headers: pairs(entries), ..Instructions::default() }
    }

    #[test]
    fn as_go_reads_it() {
        let remove = |names: &[&str]| Instructions {
            remove_headers: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Instructions::default()
        };
        let body = |text: &str| Instructions { set_body: text.to_owned(), ..Instructions::default() };
        for (text, expected) in [
            ("{}", Instructions::default()),
            (r#"{"addHeaders":{"A":"1","b":"2"}}"#, add(&[("A", "1"), ("b", "2")])),
            // Case of field names, not of entries.
            (r#"{"ADDHEADERS":{"a":"1"}}"#, add(&[("a", "1")])),
            (r#"{"addHeaders":{"a":"1","A":"2"}}"#, add(&[("a", "1"), ("A", "2")])),
            // Duplicates.
            (r#"{"addHeaders":{"a":"1","a":"2"}}"#, add(&[("a", "2")])),
            (r#"{"addHeaders":{"a":"1","b":"1"},"addheaders":{"a":"2"}}"#, add(&[("b", "1"), ("a", "2")])),
            (r#"{"removeHeaders":["a","b"],"removeHeaders":["c"]}"#, remove(&["c"])),
            (r#"{"setBody":"a","setBody":"b"}"#, body("b")),
            // Unknown fields.
            (r#"{"other":[1,{"x":null}],"setBody":"a"}"#, body("a")),
            // null.
            (r#"{"addHeaders":null,"removeHeaders":null,"setBody":null}"#, Instructions::default()),
            (r#"{"addHeaders":{"a":"1"},"addHeaders":null}"#, Instructions::default()),
            (r#"{"setBody":"a","setBody":null}"#, body("a")),
            (r#"{"addHeaders":{"a":null},"removeHeaders":[]}"#, add(&[("a", "")])),
            (r#"{"removeHeaders":["a",null]}"#, remove(&["a", ""])),
            // White space and escapes.
            (" \n{\"setBody\":\"\\u00e9\"} \t", body("\u{e9}")),
        ] {
            assert_eq!(Instructions::parse(text.as_bytes()).expect(text), Some(expected), "{text}");
        }
        assert_eq!(Instructions::parse(b"null").expect("null"), None);
        assert_eq!(Instructions::parse(b"{\"setBody\":\"\xff\"}").expect("lossy"), Some(body("\u{fffd}")));
    }

    #[test]
    fn errors() {
        for text in [
            "",
            "not-json",
            "[]",
            "\"a\"",
            "1",
            "true",
            "{",
            "{} {}",
            "{}x",
            "null null",
            "{'setBody':'a'}",
            r#"{"addHeaders":[]}"#,
            r#"{"addHeaders":"a"}"#,
            r#"{"addHeaders":{"a":1}}"#,
            r#"{"addHeaders":{"a":["b"]}}"#,
            r#"{"removeHeaders":"a"}"#,
            r#"{"removeHeaders":{"a":"b"}}"#,
            r#"{"removeHeaders":[1]}"#,
            r#"{"setBody":1}"#,
            r#"{"setBody":{}}"#,
            r#"{"setTrailers":[]}"#,
        ] {
            assert!(Instructions::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
