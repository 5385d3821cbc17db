//! What the demo prints.

use std::fmt::Write as _;
use std::net::SocketAddr;

use extproc_core::Direction;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::client::Answer;
use super::golden::{Difference, Walk};
use super::report::Report;
use super::tap::Edit;
use crate::text::{BOLD, Change, DIM, Fields, GREEN, Line, RED, Style, changes, cut, preview};

/// Wide enough for the name of a processor.
const BY: usize = 10;
/// How much of a response's body is shown: the upstream's view is shown in full already.
const BODY: usize = 120;
/// All of them: their names would not fit.
const ALL: usize = 6;

/// One exchange with every header, and who it came from; `proxy` is what stands in front of the processors.
pub(super) fn detailed(
    proxy: &str,
    walk: &Walk,
    answer: &Answer,
    edits: &[Edit],
    differences: &[Difference],
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ =
        writeln!(out, "\n{BOLD}{} {}{BOLD:#}  {DIM}{}: {}{DIM:#}", walk.ask.method, walk.ask.path, walk.id, walk.about);
    let _ = writeln!(out, "\n  {DIM}the client sends{DIM:#}");
    for (name, value) in &answer.sent {
        line(&mut out, "", ' ', &format!("{name}: {value}"), Style::new());
    }
    if let Some(body) = walk.ask.body {
        line(&mut out, "", ' ', body, Style::new());
    }
    if let Some((headers, body)) = upstream(answer) {
        let _ = writeln!(out, "\n  {DIM}the upstream receives{DIM:#}");
        for change in changes(&lower(&answer.sent), &headers) {
            let by = names(edits, Direction::Request, &change.name);
            let by = if by.is_empty() && change.change != Change::Same { proxy.to_owned() } else { by };
            header(&mut out, &by, &change);
        }
        if !body.is_empty() {
            line(&mut out, "", ' ', &preview(body.as_bytes()), Style::new());
        }
    }
    let _ = writeln!(out, "\n  {DIM}the client receives{DIM:#} {}", answer.status);
    for (name, value) in &answer.headers {
        let by = names(edits, Direction::Response, name);
        let change = if by.is_empty() { Change::Same } else { Change::Added };
        header(&mut out, &by, &Line { change, name: name.clone(), value: value.clone() });
    }
    line(&mut out, "", ' ', &cut(&answer.body, BODY), DIM);
    out.push('\n');
    verdict(&mut out, walk, differences);
    out
}

/// One exchange in one line, and what differs.
pub(super) fn short(walk: &Walk, differences: &[Difference]) -> String {
    let (style, word) = if differences.is_empty() { (GREEN, "ok") } else { (RED, "no") };
    let body = walk.ask.body.filter(|body| !body.is_empty()).map(|body| format!(" {body}")).unwrap_or_default();
    let request = format!("{} {}{body}", walk.ask.method, walk.ask.path);
    let mut out = format!("  {style}{word}{style:#}  {}  {request:<30}  {DIM}{}{DIM:#}\n", walk.id, walk.about);
    list(&mut out, differences);
    out
}

/// Above the short ones.
pub(super) fn more() -> String {
    format!("\n{BOLD}More{BOLD:#}\n")
}

/// The last lines.
pub(super) fn summary(report: &Report) -> String {
    let (exchanges, differing) = (report.exchanges(), report.differing());
    if differing.is_empty() {
        return format!("\n{GREEN}{exchanges} exchanges, {} values: all as expected{GREEN:#}\n", report.values);
    }
    let rows = differing.join(", ");
    format!("\n{RED}{} of {exchanges} exchanges differ from what is expected: {rows}{RED:#}\n", differing.len())
}

/// What to try while it is up.
pub(super) fn invitation(proxy: SocketAddr) -> String {
    let url = format!("http://{proxy}");
    let mut out = format!("\n{BOLD}Try it{BOLD:#}\n");
    for (about, command) in [
        ("a request without a body", format!("curl -i {url}/something")),
        (
            "with one",
            format!(r#"curl -i -X PUT -H 'content-type: application/json' -d '{{"hello":"hi"}}' {url}/something"#),
        ),
        ("another tenant, another digest", format!("curl -i -H 'x-tenant-id: acme' {url}/something")),
        ("a redirect", format!("curl -i '{url}/redirect?location=/a'")),
        ("state from request to response", format!("curl -i -H 'x-context-id: abc' -d abc {url}/something")),
        ("a processor that fails is passed over", format!("curl -i -H 'x-context-id: RIGHT' -d WRONG {url}/something")),
        ("a processor that answers itself", format!("curl -i -H 'x-echo-only: true' -d hi {url}/something")),
        ("without the processors", format!("curl -i {url}/no-ext-procs/something")),
    ] {
        let _ = writeln!(out, "  {DIM}# {about}{DIM:#}\n  {command}");
    }
    let _ = writeln!(out, "\nCtrl-C ends it.");
    out
}

fn verdict(out: &mut String, walk: &Walk, differences: &[Difference]) {
    let total = walk.expect.len();
    if differences.is_empty() {
        let _ = writeln!(out, "  {GREEN}{total} of {total} values as expected{GREEN:#}");
        return;
    }
    let _ = writeln!(out, "  {RED}{} of {total} values differ{RED:#}", differences.len());
    list(out, differences);
}

fn list(out: &mut String, differences: &[Difference]) {
    for Difference { place, expected, got } in differences {
        let _ = writeln!(out, "      {RED}{place}{RED:#}\n        expected {expected}\n        got      {got}");
    }
}

fn header(out: &mut String, by: &str, change: &Line) {
    line(out, by, change.mark(), &format!("{}: {}", change.name, change.value), change.style());
}

fn line(out: &mut String, by: &str, mark: char, text: &str, style: Style) {
    let _ = writeln!(out, "    {DIM}{by:<BY$}{DIM:#} {style}{mark} {text}{style:#}");
}

/// The processors that changed this header, in the order they did.
fn names(edits: &[Edit], direction: Direction, name: &str) -> String {
    let mut by: Vec<&str> = Vec::new();
    for edit in edits.iter().filter(|edit| edit.direction == direction && edit.name == name) {
        if !by.contains(&edit.by) {
            by.push(edit.by);
        }
    }
    if by.len() == ALL { "all".to_owned() } else { by.join(", ") }
}

/// The headers and the body as the upstream saw them, if it was asked.
fn upstream(answer: &Answer) -> Option<(Fields, String)> {
    let View { headers: Ordered(headers), body } = serde_json::from_slice(&answer.body).ok()?;
    Some((lower(&headers), body))
}

/// The part of the echo upstream's answer that is shown.
#[derive(serde::Deserialize)]
struct View {
    headers: Ordered,
    body: String,
}

/// An object of strings in its own order.
struct Ordered(Fields);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Ordered;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut fields = Fields::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Ordered(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn lower(fields: &Fields) -> Fields {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
}
