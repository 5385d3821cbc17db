//! What a case expects.

use std::path::Path;

use extproc_core::Stats;

use super::super::case::{Expect, Flag, Golden, KINDS, Kind, Mark, Part, Place, Say};
use super::super::decode::{Keys, Problems, duration, items, text, truth, unknown, word};
use super::super::matcher::{Names, read as matcher};
use super::super::yaml::{Node, Position, Value};
use super::http::nothing;

pub(super) fn read(
    node: Option<Node>,
    case: Position,
    dir: &Path,
    names: &mut Names,
    problems: &mut Problems,
) -> Expect {
    let mut reader = Reader { dir, names, problems, expect: Expect::default() };
    reader.expectations(node.unwrap_or_else(nothing));
    let mut expect = reader.expect;
    for (flag, usual) in [(Flag::Spurious, false), (Flag::TimedOut, false), (Flag::Cut, false)] {
        if !expect.flags.iter().any(|(given, ..)| *given == flag) {
            expect.flags.push((flag, usual, case));
        }
    }
    expect
}

struct Reader<'a> {
    dir: &'a Path,
    names: &'a mut Names,
    problems: &'a mut Problems,
    expect: Expect,
}

impl Reader<'_> {
    fn expectations(&mut self, node: Node) {
        let mut keys = Keys::of(node, "`expect`", self.problems);
        // Upstream before client: that is the order in which values are captured.
        if let Some(node) = keys.take("upstream") {
            self.upstream(node);
        }
        if let Some(node) = keys.take("client") {
            self.message(node, "client", Place::Client);
        }
        for (key, flag) in [
            ("immediate", Flag::Immediate),
            ("spurious", Flag::Spurious),
            ("timeout", Flag::TimedOut),
            ("route_cleared", Flag::RouteCleared),
        ] {
            self.flag(&mut keys, key, flag);
        }
        if let Some(node) = keys.take("messages") {
            self.messages(node);
        }
        for item in keys.take("never").map(items).unwrap_or_default() {
            if let Some(kind) = self.problems.note(item.at, word(&item, "message", &KINDS)) {
                self.expect.never.push((kind, item.at));
            }
        }
        if let Some(node) = keys.take("metadata") {
            self.metadata(node);
        }
        if let Some(node) = keys.take("end") {
            self.end(node);
        }
        if let Some(node) = keys.take("details") {
            self.value(&node, Place::Details);
        }
        if let Some(node) = keys.take("counters") {
            self.counters(node);
        }
        let at = |keys: &mut Keys, key, problems: &mut Problems| {
            let node = keys.take(key)?;
            Some((problems.note(node.at, duration(&node))?, node.at))
        };
        self.expect.within = at(&mut keys, "within", self.problems);
        self.expect.answer_within = at(&mut keys, "answer_within", self.problems);
        self.expect.transcript = keys.take("transcript").and_then(|node| self.golden(node));
        keys.finish(self.problems);
    }

    fn flag(&mut self, keys: &mut Keys, key: &'static str, flag: Flag) {
        let Some(node) = keys.take(key) else { return };
        let read = truth(&node).map_err(|message| format!("`{key}`: {message}"));
        if let Some(on) = self.problems.note(node.at, read) {
            self.expect.flags.push((flag, on, node.at));
        }
    }

    fn value(&mut self, node: &Node, place: Place) {
        if let Some(matcher) = matcher(node, self.dir, self.names, self.problems) {
            self.expect.values.push((place, matcher));
        }
    }

    fn upstream(&mut self, node: Node) {
        if matches!(&node.value, Value::Scalar { text, .. } if text == "none") && node.tag.is_none() {
            return self.expect.flags.push((Flag::Contacted, false, node.at));
        }
        self.expect.flags.push((Flag::Contacted, true, node.at));
        self.message(node, "upstream", Place::Upstream);
    }

    fn message(&mut self, node: Node, what: &str, place: fn(Part) -> Place) {
        let client = what == "client";
        let mut keys = Keys::of(node, &format!("`{what}`"), self.problems);
        let pseudo: &[(&str, &str)] = match client {
            true => &[("status", ":status")],
            false => &[("method", ":method"), ("path", ":path"), ("scheme", ":scheme"), ("authority", ":authority")],
        };
        for (key, name) in pseudo {
            if let Some(node) = keys.take(key) {
                self.value(&node, place(Part::Header((*name).to_owned())));
            }
        }
        if let Some(node) = keys.take("headers") {
            self.fields(node, |name| place(Part::Header(name)));
        }
        if let Some(node) = keys.take("body") {
            self.value(&node, place(Part::Body));
        }
        if let Some(node) = keys.take("trailers") {
            self.fields(node, |name| place(Part::Trailer(name)));
        }
        if client {
            self.flag(&mut keys, "cut", Flag::Cut);
        }
        keys.finish(self.problems);
    }

    /// Names and a matcher each. Names are lower-case on the wire.
    fn fields(&mut self, node: Node, place: impl Fn(String) -> Place) {
        let Value::Map(entries) = node.value else {
            return self.problems.push(node.at, "expected names and what their values must be");
        };
        for (key, value) in entries {
            if let Some(name) = self.problems.note(key.at, text(&key).map(str::to_ascii_lowercase)) {
                self.value(&value, place(name));
            }
        }
    }

    fn messages(&mut self, node: Node) {
        let at = node.at;
        let Value::List(list) = node.value else {
            return self.problems.push(at, "`messages` is the list of what the processor says, in order");
        };
        let mut kinds = Vec::new();
        for item in list {
            let index = kinds.len();
            let (name, fields) = match item.value {
                Value::Map(mut entries) if entries.len() == 1 => {
                    let (key, value) = entries.swap_remove(0);
                    (key, Some(value))
                }
                Value::Map(_) => {
                    self.problems.push(item.at, "a message has one key, its kind: - request_headers: {set: …}");
                    continue;
                }
                value => (Node { value, ..item }, None),
            };
            let Some(kind) = self.problems.note(name.at, word(&name, "message", &KINDS)) else { continue };
            kinds.push(kind);
            if let Some(fields) = fields {
                self.reply(index, kind, fields);
            }
        }
        self.expect.messages = Some((kinds, at));
    }

    fn reply(&mut self, index: usize, kind: Kind, node: Node) {
        let mut keys = Keys::of(node, "a message", self.problems);
        let set = if matches!(kind, Kind::Immediate | Kind::StreamedImmediate) { "headers" } else { "set" };
        if let Some(node) = keys.take(set) {
            self.fields(node, |name| Place::Reply(index, Say::Set(name)));
        }
        if let Some(node) = keys.take("append") {
            self.fields(node, |name| Place::Reply(index, Say::Append(name)));
        }
        let values: &[(&'static str, Say)] = match kind {
            Kind::Immediate => &[
                ("body", Say::Body),
                ("status", Say::Status),
                ("details", Say::Details),
                ("grpc_status", Say::GrpcStatus),
            ],
            Kind::StreamedImmediate => &[("body", Say::Body), ("status", Say::Status)],
            _ => &[("remove", Say::Remove), ("body", Say::Body)],
        };
        for (key, say) in values {
            if let Some(node) = keys.take(key) {
                self.value(&node, Place::Reply(index, say.clone()));
            }
        }
        for (key, mark) in [
            ("clear_body", Mark::ClearBody),
            ("continue_and_replace", Mark::ContinueAndReplace),
            ("clear_route_cache", Mark::ClearRouteCache),
            ("mode_override", Mark::ModeOverride),
        ] {
            self.flag(&mut keys, key, Flag::Reply(index, mark));
        }
        keys.finish(self.problems);
    }

    /// Namespaces, their keys, and what those must be.
    fn metadata(&mut self, node: Node) {
        let node = match node.tag {
            Some(_) => node,
            // Names may have dots: pointers, and every value a matcher.
            None => match flatten(node) {
                Ok(node) => node,
                Err((at, message)) => return self.problems.push(at, message),
            },
        };
        if let Some(matcher) = matcher(&node, self.dir, self.names, self.problems) {
            self.expect.values.push((Place::Metadata, matcher));
        }
    }

    fn end(&mut self, node: Node) {
        if !matches!(&node.value, Value::Map(_)) {
            return self.code(&node);
        }
        let mut keys = Keys::of(node, "`end`", self.problems);
        if let Some(node) = keys.take("code") {
            self.code(&node);
        }
        if let Some(node) = keys.take("message") {
            self.value(&node, Place::EndMessage);
        }
        keys.finish(self.problems);
    }

    fn code(&mut self, node: &Node) {
        if let (Ok(name), None) = (text(node), &node.tag)
            && !ENDS.contains(&name)
        {
            return self.problems.push(node.at, unknown("end", name, ENDS.into_iter()));
        }
        self.value(node, Place::End);
    }

    fn counters(&mut self, node: Node) {
        let mut keys = Keys::of(node, "`counters`", self.problems);
        for name in Stats::NAMES {
            if let Some(node) = keys.take(name) {
                self.value(&node, Place::Counter(name));
            }
        }
        keys.finish(self.problems);
    }

    fn golden(&mut self, node: Node) -> Option<Golden> {
        let at = node.at;
        if !matches!(&node.value, Value::Map(_)) {
            let file = self.problems.note(at, text(&node).map(str::to_owned))?;
            return Some(Golden { at, path: self.dir.join(file), mask: Vec::new() });
        }
        let mut keys = Keys::of(node, "`transcript`", self.problems);
        let file = keys.read("file", self.problems, |node| text(node).map(str::to_owned));
        let mask = keys.take("mask").map(|node| super::words(node, self.problems)).unwrap_or_default();
        keys.finish(self.problems);
        if file.is_none() {
            self.problems.push(at, "the transcript has no `file`");
        }
        Some(Golden { at, path: self.dir.join(file?), mask })
    }
}

/// How streams end: gRPC's codes, the data plane's reset, and not at all.
const ENDS: [&str; 19] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
    "RESET",
    "OPEN",
];

/// The name of a gRPC code.
pub(in super::super) fn code_name(code: u8) -> &'static str {
    ENDS.get(usize::from(code)).copied().unwrap_or("UNKNOWN")
}

/// `{ns: {key: matcher}}` as `!json {/ns/key: matcher}`.
fn flatten(node: Node) -> Result<Node, (Position, &'static str)> {
    const SHAPE: &str = "write namespaces, their keys and what the values must be: {ns: {key: value}}";
    let Node { at, value: Value::Map(namespaces), .. } = node else { return Err((node.at, SHAPE)) };
    let mut all = Vec::new();
    for (namespace, fields) in namespaces {
        let Value::Scalar { text: namespace, .. } = namespace.value else { return Err((namespace.at, SHAPE)) };
        let absent = fields.tag.is_some();
        let fields = match fields.value {
            Value::Map(fields) if !absent => fields,
            _ if absent => {
                let key = Value::Scalar { text: format!("/{}", escaped(&namespace)), plain: false };
                all.push((Node { at: fields.at, tag: None, value: key }, fields));
                continue;
            }
            _ => return Err((fields.at, SHAPE)),
        };
        for (key, value) in fields {
            let Value::Scalar { text: name, .. } = key.value else { return Err((key.at, SHAPE)) };
            let path = format!("/{}/{}", escaped(&namespace), escaped(&name));
            all.push((Node { at: key.at, tag: None, value: Value::Scalar { text: path, plain: false } }, value));
        }
    }
    Ok(Node { at, tag: Some("json".to_owned()), value: Value::Map(all) })
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
