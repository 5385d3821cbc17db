//! JSON as Python's `json.dumps` writes it: a space after `,` and `:`, ASCII only.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Writes a value.
pub(super) fn dumps(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, Spaced))?;
    Ok(out)
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !c.is_ascii()) {
            let (plain, tail) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut chars = tail.chars();
            for unit in chars.next().into_iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_writes_it() {
        for (value, expected) in [
            (serde_json::json!({"a": [1, "b"], "c": {}}), r#"{"a": [1, "b"], "c": {}}"#),
            (serde_json::json!("a\u{e9}\u{20ac}z\u{1f600}"), r#""a\u00e9\u20acz\ud83d\ude00""#),
            (serde_json::json!("q\"b\\n\nt\tc\u{1}\u{7f}"), "\"q\\\"b\\\\n\\nt\\tc\\u0001\u{7f}\""),
        ] {
            assert_eq!(String::from_utf8(dumps(&value).expect("serializable")).expect("ASCII"), expected);
        }
    }
}
