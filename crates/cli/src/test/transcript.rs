//! The transcript of an exchange as a file to compare with: no times, and no order that is a race.

use std::fmt::Write as _;

use extproc::testing::Seen;
use extproc_core::Headers;
use extproc_proto::processing_request::Request;
use extproc_proto::{HeaderMap, ProcessingRequest};

use super::check::end;
use super::json;
use crate::dialogue::{Log, words};
use crate::text::preview;

/// What went each way over the stream, then what upstream and client got. The values of the headers in `mask` are `*`.
pub(super) fn render(log: &Log, mask: &[String]) -> String {
    let mask = Mask(mask);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "to the processor");
    for (_, message) in log.effective.sent() {
        let phase = words::asked(message).map_or("nothing", words::Phase::name);
        let _ = writeln!(out, "  {phase}: {}", words::sent(message).join(", "));
        for line in mask.fields(message) {
            let _ = writeln!(out, "    {line}");
        }
    }
    let _ = writeln!(out, "from the processor");
    for reply in log.replies() {
        let _ = writeln!(out, "  {}", super::reply::kind(reply).name());
        for line in words::received(reply) {
            let _ = writeln!(out, "    {}", mask.line(&line));
        }
    }
    let metadata = json::of_metadata(log.replies());
    if metadata.as_object().is_some_and(|fields| !fields.is_empty()) {
        let _ = writeln!(out, "metadata\n  {metadata}");
    }
    let _ = writeln!(out, "end {}", end(log));
    mask.seen(&mut out, "upstream", &log.effective.request);
    mask.seen(&mut out, "client", &log.effective.response);
    if let Some(details) = &log.effective.details {
        let _ = writeln!(out, "details {details}");
    }
    out
}

/// Lines that are in one text only, with those around them left out.
pub(super) fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    for (mark, lines) in [('-', &old[same..old.len() - tail]), ('+', &new[same..new.len() - tail])] {
        for line in lines {
            let _ = writeln!(out, "{mark} {line}");
        }
    }
    out
}

struct Mask<'a>(&'a [String]);

impl Mask<'_> {
    fn value(&self, name: &str, value: &[u8]) -> String {
        match self.0.iter().any(|it| it.eq_ignore_ascii_case(name)) {
            true => "*".to_owned(),
            false => preview(value),
        }
    }

    /// A line of a reply: `set NAME: VALUE` and the like.
    fn line(&self, line: &str) -> String {
        let masked = line.split_once(": ").and_then(|(verb, _)| {
            let name = verb.strip_prefix("set ").or_else(|| verb.strip_prefix("append "))?;
            self.0.iter().any(|it| it.eq_ignore_ascii_case(name)).then(|| format!("{verb}: *"))
        });
        masked.unwrap_or_else(|| line.to_owned())
    }

    fn fields(&self, message: &ProcessingRequest) -> Vec<String> {
        let map: Option<&HeaderMap> = match &message.request {
            Some(Request::RequestHeaders(it) | Request::ResponseHeaders(it)) => it.headers.as_ref(),
            Some(Request::RequestTrailers(it) | Request::ResponseTrailers(it)) => it.trailers.as_ref(),
            Some(Request::RequestBody(_) | Request::ResponseBody(_)) | None => None,
        };
        let field = |it: &extproc_proto::HeaderValue| {
            let name = String::from_utf8_lossy(&it.key).into_owned();
            let value = self.value(&name, &it.raw_value);
            format!("{name}: {value}")
        };
        map.into_iter().flat_map(|map| &map.headers).map(field).collect()
    }

    fn seen(&self, out: &mut String, who: &str, seen: &Seen) {
        let _ = writeln!(out, "{who}{}", if seen.is_there() { "" } else { " nothing" });
        let Some(headers) = &seen.headers else { return };
        self.headers(out, headers);
        let body = seen.body();
        if !body.is_empty() {
            let _ = writeln!(out, "  body ({} bytes): {}", body.len(), preview(&body));
        }
        if let Some(trailers) = &seen.trailers {
            let _ = writeln!(out, "  trailers");
            self.headers(out, trailers);
        }
        if !seen.is_complete() {
            let _ = writeln!(out, "  (incomplete)");
        }
    }

    fn headers(&self, out: &mut String, headers: &Headers) {
        for (name, value) in headers {
            let _ = writeln!(out, "  {name}: {}", self.value(name.as_str(), value.as_bytes()));
        }
    }
}
