//! Comparing transcripts with each other and with expectations.

use std::collections::{BTreeMap, BTreeSet};

use super::normalise::body;
use crate::scenario::{Expect, Fields};

/// A field of which two transcripts, or a transcript and an expectation, do not agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The field's name.
    pub field: String,
    /// What the target has; `absent` when it has no such field.
    pub ours: String,
    /// What it should have.
    pub theirs: String,
}

/// A field that is not there.
const ABSENT: &str = "absent";

/// The fields in which `ours` differs from `theirs`.
#[must_use]
pub fn differences(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> Vec<Difference> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let value =
        |fields: &BTreeMap<String, String>, name: &str| fields.get(name).cloned().unwrap_or_else(|| ABSENT.to_owned());
    names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| Difference { field: name.clone(), ours: value(ours, name), theirs: value(theirs, name) })
        .collect()
}

/// The short names that expectations use for counters.
const COUNTERS: [(&str, &str); 15] = [
    ("started", "streams_started"),
    ("sent", "stream_msgs_sent"),
    ("received", "stream_msgs_received"),
    ("closed", "streams_closed"),
    ("spurious", "spurious_msgs_received"),
    ("immediate", "immediate_responses_sent"),
    ("allowed", "failure_mode_allowed"),
    ("timeouts", "message_timeouts"),
    ("rejected", "rejected_header_mutations"),
    ("failed", "streams_failed"),
    ("half_closed", "server_half_closed"),
    ("override_received", "override_message_timeout_received"),
    ("override_ignored", "override_message_timeout_ignored"),
    ("route_ignored", "clear_route_cache_ignored"),
    ("route_disabled", "clear_route_cache_disabled"),
];

/// What of an expectation does not hold for these fields.
#[must_use]
pub fn check(expect: &Expect, fields: &BTreeMap<String, String>) -> Vec<Difference> {
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            wanted.insert(name.to_owned(), value);
        }
    };
    if let Some(client) = &expect.client {
        put("client.status", client.status.map(|status| status.to_string()));
        put("client.body", client.body.as_ref().map(|bytes| body(&bytes.bytes())));
        put("client.end", client.end.clone());
        put_fields(&mut put, "client.header", &client.headers, &client.absent);
        put_fields(&mut put, "client.trailer", &client.trailers, &[]);
    }
    if let Some(upstream) = &expect.upstream {
        put("upstream", upstream.not_contacted.then(|| "not contacted".to_owned()));
        put("upstream.method", upstream.method.clone());
        put("upstream.path", upstream.path.clone());
        put("upstream.body", upstream.body.as_ref().map(|bytes| body(&bytes.bytes())));
        put("upstream.end", upstream.end.clone());
        put_fields(&mut put, "upstream.header", &upstream.headers, &upstream.absent);
        put_fields(&mut put, "upstream.trailer", &upstream.trailers, &[]);
    }
    for (name, value) in &expect.fields {
        put(name, Some(value.clone()));
    }
    put("processor", expect.processor.as_ref().map(|lines| lines.join(", ")));

    let mut found = wrong(&wanted, fields);
    if let Some(counters) = &expect.counters {
        found.extend(wrong_counters(counters, fields));
    }
    if let Some(details) = &expect.details {
        // What stands behind a brace is the data plane's own, see `fields`.
        let wanted = details.split_once('{').map_or(details.as_str(), |(cause, _)| cause).trim_end_matches('*');
        let ours = fields.get("details").map_or(ABSENT, String::as_str);
        let holds = if details.ends_with('*') { ours.starts_with(wanted) } else { ours == wanted };
        if !holds {
            found.push(Difference { field: "details".to_owned(), ours: ours.to_owned(), theirs: wanted.to_owned() });
        }
    }
    found
}

fn wrong(wanted: &BTreeMap<String, String>, fields: &BTreeMap<String, String>) -> Vec<Difference> {
    let ours: BTreeMap<String, String> =
        fields.iter().filter(|(name, _)| wanted.contains_key(*name)).map(|(n, v)| (n.clone(), v.clone())).collect();
    let wanted = wanted.iter().filter(|(_, value)| *value != ABSENT).map(|(n, v)| (n.clone(), v.clone())).collect();
    differences(&ours, &wanted)
}

fn wrong_counters(wanted: &BTreeMap<String, u64>, fields: &BTreeMap<String, String>) -> Vec<Difference> {
    let mut found = Vec::new();
    for name in wanted.keys().filter(|name| !COUNTERS.iter().any(|(short, _)| short == name)) {
        found.push(Difference {
            field: format!("counters.{name}"),
            ours: ABSENT.to_owned(),
            theirs: "a counter's short name".to_owned(),
        });
    }
    for (short, name) in COUNTERS {
        let field = format!("counters.{name}");
        let ours: u64 = fields.get(&field).and_then(|value| value.parse().ok()).unwrap_or(0);
        let theirs = wanted.get(short).copied().unwrap_or(0);
        if ours != theirs {
            found.push(Difference { field, ours: ours.to_string(), theirs: theirs.to_string() });
        }
    }
    found
}

fn put_fields(put: &mut impl FnMut(&str, Option<String>), prefix: &str, fields: &Fields, absent: &[String]) {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in fields.iter() {
        by_name.entry(name).or_default().push(value);
    }
    for (name, values) in by_name {
        put(&format!("{prefix}.{name}"), Some(values.join(" | ")));
    }
    for name in absent {
        put(&format!("{prefix}.{name}"), Some(ABSENT.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::load_str;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn missing_and_changed_fields_differ() {
        let ours = map(&[("a", "1"), ("b", "2")]);
        let theirs = map(&[("a", "1"), ("b", "3"), ("c", "4")]);
        let found: Vec<_> = differences(&ours, &theirs).into_iter().map(|d| (d.field, d.ours, d.theirs)).collect();
        let expected = [("b", "2", "3"), ("c", "absent", "4")];
        assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert_eq!(differences(&ours, &ours), []);
    }

    #[test]
    fn expectations() {
        let fields = map(&[
            ("client.status", "500"),
            ("client.header.x-a", "1 | 2"),
            ("upstream", "contacted"),
            ("upstream.body", "hello"),
            ("processor", r#"request_headers, request_body "hello" end"#),
            ("counters.streams_started", "1"),
            ("counters.stream_msgs_sent", "2"),
            ("details", "ext_proc_error_gRPC_error_13"),
        ]);
        for (expect, wrong) in [
            ("{}", &[][..]),
            ("{ client: { status: 500, headers: { x-a: [1, 2] }, absent: [x-b] } }", &[]),
            ("{ client: { status: 200, absent: [x-a] } }", &["client.header.x-a", "client.status"]),
            ("{ client: { headers: { x-a: [2, 1], x-c: 1 } } }", &["client.header.x-a", "client.header.x-c"]),
            ("{ upstream: not contacted }", &["upstream"]),
            ("{ upstream: { body: hello } }", &[]),
            (r#"{ processor: [request_headers, request_body "hello" end] }"#, &[]),
            ("{ processor: [request_headers] }", &["processor"]),
            ("{ counters: { started: 1, sent: 2 } }", &[]),
            ("{ counters: { started: 1 } }", &["counters.stream_msgs_sent"]),
            ("{ counters: { started: 1, sent: 2, oops: 1 } }", &["counters.oops"]),
            ("{ fields: { upstream.body: hello, client.body: absent } }", &[]),
            ("{ fields: { upstream.body: absent } }", &["upstream.body"]),
            ("{ details: ext_proc_error_gRPC_error_1* }", &[]),
            ("{ details: 'ext_proc_error_gRPC_error_13{anything}' }", &[]),
            ("{ details: ext_proc_error_gRPC_error_1 }", &["details"]),
        ] {
            let text = format!("- id: A\n  title: t\n  expect: {expect}\n");
            let scenario = load_str("f", &text).unwrap().remove(0);
            let found: Vec<String> = check(&scenario.expect, &fields).into_iter().map(|d| d.field).collect();
            assert_eq!(found, wrong, "{expect}");
        }
    }
}
