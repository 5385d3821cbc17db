//! The request and the response of a case.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use extproc::testing::{Exchange, Plan};
use extproc_core::Headers;
use extproc_core::headers::{Name, Value as HeaderValue};

use super::super::decode::{Keys, Problems, duration, number, text, truth, untagged};
use super::super::payload;
use super::super::yaml::{Node, Position, Value};
use super::Chunks;

/// Both sides of the exchange.
pub(super) fn exchange(
    request: Option<Node>,
    response: Option<Node>,
    chunks: &[Chunks; 2],
    dir: &Path,
    problems: &mut Problems,
) -> Exchange {
    let (request, gives_up) = self::request(request, &chunks[0], dir, problems);
    let head = request.headers().get_str(":method") == Some("HEAD");
    let response = self::response(response, head, gives_up, &chunks[1], dir, problems);
    Exchange::new(request).answered(response)
}

/// Default: GET / of localhost. Whether the client gives up.
fn request(node: Option<Node>, chunks: &Chunks, dir: &Path, problems: &mut Problems) -> (Plan, bool) {
    let mut keys = Keys::of(node.unwrap_or_else(nothing), "`request`", problems);
    let method = keys.read("method", problems, |node| {
        let text = text(node)?;
        http::Method::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a method"))?;
        Ok(text.to_owned())
    });
    let path = keys.read("path", problems, |node| {
        let text = text(node)?;
        let is_path = text.starts_with('/') || text == "*";
        if is_path { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a path; it begins with /")) }
    });
    let scheme = keys.read("scheme", problems, |node| text(node).map(str::to_owned));
    let authority = keys.read("authority", problems, |node| text(node).map(str::to_owned));
    let body = keys.read("body", problems, |node| payload::read(node, dir));
    let usual = if body.is_some() { "POST" } else { "GET" };
    let mut headers = Headers::new();
    for (name, given, default) in [
        (":method", method, usual),
        (":path", path, "/"),
        (":scheme", scheme, "http"),
        (":authority", authority, "localhost"),
    ] {
        let value = HeaderValue::parse(given.unwrap_or_else(|| default.to_owned())).map_err(|error| error.to_string());
        if let Some(value) = problems.note(keys.at(), value) {
            headers.append(Name::from_static(name), value);
        }
    }
    let (plan, gives_up) = message(&mut keys, headers, body.unwrap_or_default(), chunks, problems);
    keys.finish(problems);
    (plan, gives_up)
}

/// Default: 200 and nothing else.
fn response(
    node: Option<Node>,
    head: bool,
    given_up: bool,
    chunks: &Chunks,
    dir: &Path,
    problems: &mut Problems,
) -> Plan {
    let mut keys = Keys::of(node.unwrap_or_else(nothing), "`response`", problems);
    let status = keys.read("status", problems, |node| match number::<u16>(node)? {
        status @ 200..600 => Ok(status),
        other => Err(format!("{other} is not the status of a final response; give 200 to 599")),
    });
    let body = keys.read("body", problems, |node| match payload::read(node, dir)? {
        body if head && !body.is_empty() => Err("a response to HEAD has no body".to_owned()),
        body => Ok(body),
    });
    let mut headers = Headers::new();
    headers.append(Name::from_static(":status"), HeaderValue::from(u64::from(status.unwrap_or(200))));
    let (mut plan, _) = message(&mut keys, headers, body.unwrap_or_default(), chunks, problems);
    let mut on = |key| keys.read(key, problems, truth).unwrap_or(false);
    let (early, silent, unreachable) = (on("early"), on("silent"), on("unreachable"));
    if silent && !given_up {
        problems.push(keys.at(), "`silent` needs a request with `gives_up`: nothing else ends the exchange");
    }
    for (wanted, set) in
        [(early, Plan::early as fn(Plan) -> Plan), (silent, Plan::silent), (unreachable, Plan::unreachable)]
    {
        plan = if wanted { set(plan) } else { plan };
    }
    keys.finish(problems);
    plan
}

/// What both have.
fn message(
    keys: &mut Keys,
    mut headers: Headers,
    body: Bytes,
    chunks: &Chunks,
    problems: &mut Problems,
) -> (Plan, bool) {
    if let Some(node) = keys.take("headers") {
        headers.extend(fields(node, "`headers`", problems));
    }
    let trailers = keys.take("trailers").map(|node| fields(node, "`trailers`", problems));
    let sizes = chunks.sizes(body.len());
    let mut plan = Plan::of(headers).body(body).chunks(sizes).trailers(trailers);
    for (key, set) in
        [("chunked", Plan::chunked as fn(Plan) -> Plan), ("late_end", Plan::late_end), ("unfinished", Plan::unfinished)]
    {
        if keys.read(key, problems, truth).unwrap_or(false) {
            plan = set(plan);
        }
    }
    for (key, set) in [("wait", Plan::wait as fn(Plan, Duration) -> Plan), ("pace", Plan::pace)] {
        if let Some(time) = keys.read(key, problems, duration) {
            plan = set(plan, time);
        }
    }
    let gives_up = keys.read("gives_up", problems, duration);
    (
        match gives_up {
            Some(after) => plan.gives_up(after),
            None => plan,
        },
        gives_up.is_some(),
    )
}

fn fields(node: Node, what: &str, problems: &mut Problems) -> Headers {
    let mut headers = Headers::new();
    for (name, value, at) in pairs(node, what, problems) {
        let parsed = match name.as_str() {
            "host" => Err("write `authority` instead: HTTP/2 and the protocol have no Host".to_owned()),
            name if name.starts_with(':') => {
                Err("pseudo headers have keys of their own: method, path, scheme, authority, status".to_owned())
            }
            name => Name::parse(name.to_owned()).map_err(|error| format!("{name:?} is {error}")),
        };
        let value = HeaderValue::parse(value).map_err(|error| error.to_string());
        if let (Some(name), Some(value)) = (problems.note(at, parsed), problems.note(at, value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Names with one value or a list of values each.
pub(super) fn pairs(node: Node, what: &str, problems: &mut Problems) -> Vec<(String, String, Position)> {
    untagged(&node, problems);
    let Value::Map(entries) = node.value else {
        problems.push(node.at, format!("{what} must be names and values"));
        return Vec::new();
    };
    let mut all = Vec::new();
    for (key, value) in entries {
        let Some(name) = problems.note(key.at, text(&key).map(str::to_owned)) else { continue };
        for item in super::items(value) {
            if let Some(value) = problems.note(item.at, text(&item).map(str::to_owned)) {
                all.push((name.clone(), value, key.at));
            }
        }
    }
    all
}

/// A map without keys.
pub(super) fn nothing() -> Node {
    Node { at: Position::default(), tag: None, value: Value::Map(Vec::new()) }
}
