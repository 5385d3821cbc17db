//! Bytes as a case file writes them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use extproc::testing::Plan;

use super::decode::{number, text};
use super::json;
use super::yaml::{Node, Value};

/// The tags that make bytes, and what they take.
pub(super) const TAGS: [&str; 6] = ["hex", "base64", "file", "size", "json", "messages"];

/// The most that `!size` makes.
const MOST: usize = 64 << 20;

/// Text stands for itself; `!hex`, `!base64`, `!file` (relative to `dir`), `!size` (so many letters `x`), `!json` and
/// `!messages` (gRPC messages in their frames) make other bytes.
pub(super) fn read(node: &Node, dir: &Path) -> Result<Bytes, String> {
    let Some(tag) = node.tag.as_deref() else { return Ok(text(node)?.to_owned().into()) };
    if tag == "json" {
        return Ok(json::plain(node)?.to_string().into());
    }
    if tag == "messages" {
        let Value::List(items) = &node.value else {
            return Err(format!("`!messages` takes a list of messages, not {}", node.kind()));
        };
        let messages = items.iter().map(|item| read(item, dir)).collect::<Result<Vec<_>, _>>()?;
        return Ok(Plan::response(200).messages(messages).whole_body().clone());
    }
    let Value::Scalar { text: word, .. } = &node.value else {
        return Err(format!("`!{tag}` takes a single value, not {}", node.kind()));
    };
    match tag {
        "hex" => hex(word).map(Bytes::from),
        "base64" => STANDARD.decode(word).map(Bytes::from).map_err(|error| format!("{word:?} is no base64: {error}")),
        "file" => {
            let path = dir.join(word);
            std::fs::read(&path).map(Bytes::from).map_err(|error| format!("cannot read {}: {error}", path.display()))
        }
        "size" => {
            let size: usize = number(&Node { tag: None, ..node.clone() })?;
            if size > MOST {
                return Err(format!("{word} is more than the 64 MiB that a body may have"));
            }
            Ok(vec![b'x'; size].into())
        }
        other => Err(super::decode::unknown("tag", &format!("!{other}"), TAGS.map(|it| it).into_iter())),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text.chars().filter(|c| !c.is_whitespace()).map_while(|c| c.to_digit(16)).collect();
    let whole = digits.len() == text.chars().filter(|c| !c.is_whitespace()).count();
    if !whole || !digits.len().is_multiple_of(2) {
        return Err(format!("{text:?} is not pairs of hexadecimal digits"));
    }
    Ok(digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::yaml::documents;

    fn read_one(text: &str) -> Result<Bytes, String> {
        let documents = documents(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        read(&documents[0], Path::new("/nowhere"))
    }

    #[test]
    fn forms() {
        for (text, bytes) in [
            ("abc", &b"abc"[..]),
            ("12", b"12"),
            ("!hex 'ff 00'", b"\xff\x00"),
            ("!base64 aGk=", b"hi"),
            ("!size 3", b"xxx"),
            ("!messages [a, !hex '00 01', !size 0]", b"\0\0\0\0\x01a\0\0\0\0\x02\0\x01\0\0\0\0\0"),
            ("!json {b: [1, true, 'x'], a: null}", br#"{"a":null,"b":[1,true,"x"]}"#),
        ] {
            assert_eq!(read_one(text).as_deref(), Ok(bytes), "{text}");
        }
        for (text, part) in [
            ("!hex f", "pairs"),
            ("!hex zz", "pairs"),
            ("!base64 '*'", "base64"),
            ("!file none", "/nowhere/none"),
            ("!size 1000000000", "64 MiB"),
            ("!hexx 00", "did you mean `hex`"),
            ("[a]", "a list"),
            ("!messages a", "a list of messages"),
        ] {
            let error = read_one(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
