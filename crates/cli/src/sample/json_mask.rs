//! `json-mask`: hides values in JSON bodies, in both directions.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use extproc::{LocalReply, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop, Whole, WholeIo};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::BODY_LIMIT;
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// What stands in place of a hidden value.
const MASK: &str = r#""***""#;
/// How deep a body may be nested.
const DEEPEST: usize = 128;

/// Replaces values by `"***"`; every other byte of a value stays as it is, also numbers that no float can hold. Content
/// codings are undone and applied again.
///
/// What says that it is JSON and cannot be read is not let through: it could hold what is to be hidden.
#[derive(Debug)]
pub(crate) struct JsonMask {
    paths: Vec<Vec<String>>,
    names: Vec<String>,
}

impl JsonMask {
    pub(super) const KEYS: &[Key] = &[
        key("path", "NAME.NAME, repeatable", "hide the value at this path; * is any name, or all elements of an array"),
        key(
            "name",
            "NAME, repeatable [default: password, secret, token]",
            "hide values of this name, wherever they are",
        ),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let path = |path: &String| path.split('.').map(str::to_owned).collect();
        let paths: Vec<Vec<String>> = settings.all("path").iter().map(path).collect();
        let mut names = settings.all("name").to_vec();
        if names.is_empty() && paths.is_empty() {
            names = ["password", "secret", "token"].map(str::to_owned).to_vec();
        }
        Ok(Self { paths, names })
    }

    /// The document with its values hidden.
    fn mask(&self, json: &[u8]) -> Result<Bytes, serde_json::Error> {
        let mut out = String::with_capacity(json.len());
        let paths: Vec<&[String]> = self.paths.iter().map(Vec::as_slice).collect();
        self.write(&mut out, serde_json::from_slice(json)?, &paths, DEEPEST)?;
        Ok(out.into())
    }

    fn write(
        &self,
        out: &mut String,
        raw: &RawValue,
        paths: &[&[String]],
        left: usize,
    ) -> Result<(), serde_json::Error> {
        let text = raw.get();
        let (open, close) = if text.starts_with('{') { ('{', '}') } else { ('[', ']') };
        // Nothing to hide below, or nothing below.
        if (self.names.is_empty() && paths.is_empty()) || !text.starts_with(open) {
            out.push_str(text);
            return Ok(());
        }
        let left = left.checked_sub(1).ok_or_else(|| serde::de::Error::custom("nested too deeply"))?;
        let Members(members) = if open == '{' {
            serde_json::from_str(text)?
        } else {
            Members(serde_json::from_str::<Vec<&RawValue>>(text)?.into_iter().map(|value| (None, value)).collect())
        };
        out.push(open);
        for (index, (name, value)) in members.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if let Some(name) = name {
                out.push_str(&serde_json::to_string(name)?);
                out.push(':');
            }
            let here = |path: &&&[String]| path[0] == "*" || name.as_ref().is_some_and(|name| path[0] == **name);
            let below: Vec<&[String]> = paths.iter().filter(here).map(|path| &path[1..]).collect();
            let named = name.as_ref().is_some_and(|name| self.names.iter().any(|hidden| hidden == name));
            if named || below.iter().any(|path| path.is_empty()) {
                out.push_str(MASK);
            } else {
                self.write(out, value, &below, left)?;
            }
        }
        out.push(close);
        Ok(())
    }
}

impl Processor for JsonMask {
    type Ctx = ();
    type RequestBody = Whole<BODY_LIMIT>;
    type ResponseBody = Whole<BODY_LIMIT>;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if is_json(req.content_type()) {
            forget(req);
        }
        Ok(())
    }

    async fn request_body(&self, _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        if is_json(io.head.content_type()) && !io.body.is_empty() {
            let refused =
                |error: &dyn fmt::Display| LocalReply::bad_request().body(error.to_string()).details("no_json");
            let plain = io.decoded(BODY_LIMIT).map_err(|error| refused(&error))?;
            let masked = self.mask(plain.bytes()).map_err(|error| refused(&error))?;
            io.replace_encoded(masked)?;
        }
        Ok(())
    }

    async fn response_headers(&self, _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if is_json(rsp.content_type()) {
            forget(rsp);
        }
        Ok(())
    }

    async fn response_body(&self, _: &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        if is_json(io.head.content_type()) && !io.body.is_empty() {
            let masked = self.mask(io.decoded(BODY_LIMIT)?.bytes())?;
            io.replace_encoded(masked)?;
        }
        Ok(())
    }
}

/// What describes the body as it was. Removed in the header phase: in STREAMED the head is gone when the body comes.
pub(super) fn forget(head: &mut extproc::Fields) {
    for name in ["etag", "content-md5", "digest", "content-digest", "repr-digest"] {
        if head.header_bytes(name).is_some() {
            head.remove(name);
        }
    }
}

fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|media| media == "application/json" || media.ends_with("+json"))
}

/// The members of an object in order, also those whose name comes twice.
struct Members<'a>(Vec<(Option<Cow<'a, str>>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Some(name.into()), value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    fn mask(settings: &[&str], json: &str) -> Option<String> {
        let sample = JsonMask::new(&Settings::test(settings)).ok()?;
        sample.mask(json.as_bytes()).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn only_what_is_named_is_hidden() {
        for (settings, json, expected) in [
            (
                &[][..],
                r#"{"token": [1, {"a": 2}], "b": {"password":"x"}}"#,
                r#"{"token":"***","b":{"password":"***"}}"#,
            ),
            (
                &[],
                r#"[{"to\u006ben":1},"token",12345678901234567890123,1.10]"#,
                r#"[{"token":"***"},"token",12345678901234567890123,1.10]"#,
            ),
            (&[], r#"{"token":1,"token":2}"#, r#"{"token":"***","token":"***"}"#),
            (
                &["path=a.b"],
                r#"{"a":{"b":1,"c" : 2},"b":3,"password":4}"#,
                r#"{"a":{"b":"***","c":2},"b":3,"password":4}"#,
            ),
            (&["path=u.*.k"], r#"{"u":[{"k":1},{"j":2}],"k":3}"#, r#"{"u":[{"k":"***"},{"j":2}],"k":3}"#),
            (&["path=*"], "[1,2]", r#"["***","***"]"#),
            (&["path=a"], r#"{"b":{ "x" : [ 1 ] }}"#, r#"{"b":{ "x" : [ 1 ] }}"#),
            (&[], r#"  "text"  "#, r#""text""#),
        ] {
            assert_eq!(mask(settings, json).as_deref(), Some(expected), "{settings:?} {json}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        for json in ["", "{", r#"{"a" 1}"#, "{} {}", &deep] {
            assert_eq!(mask(&[], json), None, "{json}");
        }
    }

    const JSON: [(&str, &str); 3] = [(":status", "200"), ("content-type", "application/json; v=1"), ("etag", "x")];

    #[tokio::test]
    async fn bodies_in_both_directions_and_all_whole_modes() {
        let body = r#"{"token":1}"#;
        for (mode, expected) in [
            (BodyMode::Buffered, r#"response_body body="{\"token\":\"***\"}""#),
            (BodyMode::BufferedPartial, r#"response_body body="{\"token\":\"***\"}""#),
            (BodyMode::Streamed, r#"response_body body="{\"token\":\"***\"}""#),
        ] {
            let script = Script::new().modes(BodyMode::None, mode).request_only([(":method", "GET")]);
            let lines = script.response_headers(JSON).response_body(body, true).run(sample()).await.lines();
            assert_eq!(lines[1..], ["response_headers -etag", expected], "{mode:?}");
        }
        let script = Script::new().modes(BodyMode::Buffered, BodyMode::Buffered);
        let lines = script.request_headers(JSON).request_body("[", true).run(sample()).await.lines();
        assert!(lines[1].starts_with("immediate 400"), "{lines:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_does_not_leave() {
        let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
        for (headers, body, passes) in
            [(&JSON[..], "{", false), (&JSON, "", true), (&gzip, "{}", false), (&[], "{", true)]
        {
            let script = Script::new().modes(BodyMode::None, BodyMode::Buffered).request_only([(":method", "GET")]);
            let script = script.response_headers(headers.iter().copied()).response_body(body, true);
            assert_eq!(script.run(sample()).await.status.is_ok(), passes, "{headers:?} {body}");
        }
    }

    fn sample() -> JsonMask {
        JsonMask::new(&Settings::test(&[])).expect("valid")
    }
}
