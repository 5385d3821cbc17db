//! Exchanges as JSON.

use std::time::Duration;

use extproc::testing::{Event, Seen};
use extproc_core::{Direction, Headers, Stats};
use serde_json::{Map, Value as Json, json};

use super::Played;
use crate::dialogue::Log;
use crate::dialogue::story::{Whole, came, readable, status_text};
use crate::dialogue::words::{self, Phase};
use crate::text::{Change, changes};
use crate::value;

/// One object; with several modes a list of them.
pub(super) fn render(all: &[Played]) -> serde_json::Result<String> {
    let json = match all {
        [one] if one.mode.is_none() => exchange(one),
        all => all.iter().map(exchange).collect(),
    };
    Ok(serde_json::to_string_pretty(&json)? + "\n")
}

fn exchange(Played { mode, log, broken, warnings }: &Played) -> Json {
    let effective = &log.effective;
    let before = if log.is_local() { Whole::default() } else { came(log, Direction::Response) };
    let upstream = match log.is_upstream_asked() {
        true => message(&came(log, Direction::Request), &effective.request),
        false => Json::Null,
    };
    json!({
        "mode": mode.map(|mode| mode.to_string()),
        "broken": broken,
        "warnings": warnings,
        "messages": messages(log),
        "stream_end": log.ended().map(|end| end.as_ref().map_or_else(status_text, |()| "OK".to_owned())),
        "upstream": upstream,
        "client": message(&before, &effective.response),
        "details": effective.details,
        "route_cleared": effective.cleared_route(),
        "metadata": metadata(log),
        "counters": counters(log),
        "milliseconds": millis(effective.took()),
    })
}

/// What went over the stream, in order, and how long each answer took.
fn messages(log: &Log) -> Json {
    let turns = log.turns();
    let took = |reply| {
        let turn = turns.iter().filter(|turn| turn.sent.is_some()).filter_map(|turn| turn.answer);
        turn.into_iter().find(|(_, it)| std::ptr::eq(*it, reply)).map(|(took, _)| millis(took))
    };
    let entry = |entry: &extproc::testing::Entry| match &entry.event {
        Event::Sent(_, message) => Some(json!({
            "at": millis(entry.at),
            "from": "data plane",
            "phase": words::asked(message).map(Phase::name),
            "says": words::sent(message),
        })),
        Event::Reply(_, reply) => Some(json!({
            "at": millis(entry.at),
            "from": "processor",
            "phase": words::answered(reply).map(Phase::name),
            "says": words::received(reply),
            "took": took(&**reply),
        })),
        _ => None,
    };
    log.effective.entries.iter().filter_map(entry).collect()
}

fn message(before: &Whole, seen: &Seen) -> Json {
    let none = Headers::new();
    let headers = seen.headers.as_ref().unwrap_or(&none);
    let body = seen.body();
    let change = |change: Change| match change {
        Change::Same => None,
        Change::Added => Some("added"),
        Change::Changed => Some("changed"),
        Change::Removed => Some("removed"),
    };
    let compare = if before.headers.is_empty() { headers } else { &before.headers };
    let changed: Vec<Json> = changes(&readable(compare), &readable(headers))
        .into_iter()
        .filter_map(|line| Some(json!({ "change": change(line.change)?, "name": line.name, "value": line.value })))
        .collect();
    json!({
        "headers": fields(headers),
        "changes": changed,
        "body": String::from_utf8_lossy(&body),
        "body_bytes": body.len(),
        "body_changed": !before.headers.is_empty() && before.body != body,
        "trailers": seen.trailers.as_ref().map(fields),
        "complete": seen.is_complete(),
    })
}

/// Pairs, because names may be repeated and have an order.
fn fields(headers: &Headers) -> Json {
    headers.iter().map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])).collect()
}

fn metadata(log: &Log) -> Json {
    let namespaces = log.effective.metadata();
    let fields = |fields: &std::collections::BTreeMap<String, extproc_proto::prost_types::Value>| {
        Json::Object(fields.iter().map(|(key, it)| (key.clone(), value::of_proto(it))).collect())
    };
    Json::Object(namespaces.iter().map(|(namespace, it)| (namespace.clone(), fields(it))).collect())
}

fn counters(log: &Log) -> Json {
    let counted = Stats::NAMES.iter().zip(log.stats().values()).filter(|(_, count)| *count > 0);
    Json::Object(counted.map(|(name, count)| ((*name).to_owned(), count.into())).collect::<Map<_, _>>())
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
