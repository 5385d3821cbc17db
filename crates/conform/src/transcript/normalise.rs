//! A transcript as named fields, without what may differ between runs and data planes.

use std::collections::BTreeMap;

use super::{HeaderList, Message, Moment, StreamEnd, Transcript, text};
use crate::scenario::{Kind, Messages, Scenario};

/// Headers that no comparison looks at, with the reason.
pub const DROPPED: [(&str, &str); 16] = [
    ("date", "the time"),
    ("server", "names the data plane"),
    ("via", "names the data plane"),
    ("x-request-id", "random"),
    ("x-forwarded-for", "an address of the test machine"),
    ("x-forwarded-proto", "added by the data plane, not by the filter"),
    ("x-forwarded-host", "added by the data plane, not by the filter"),
    ("x-forwarded-port", "added by the data plane, not by the filter"),
    ("x-envoy-upstream-service-time", "a measured time"),
    ("x-envoy-expected-rq-timeout-ms", "added by Envoy's router"),
    ("x-envoy-attempt-count", "added by Envoy's router"),
    ("x-envoy-internal", "Envoy's judgement of the client's address"),
    ("x-envoy-external-address", "an address of the test machine"),
    ("connection", "belongs to the connection"),
    ("keep-alive", "belongs to the connection"),
    ("transfer-encoding", "belongs to the connection; where a message has no content-length it is chunked"),
];

/// Bodies longer than this are given by length and digest.
const LONG: usize = 64;

/// Details that tell of the data plane around the filter.
const NOT_OF_THE_FILTER: [&str; 7] = [
    "via_upstream",
    "downstream_remote_disconnect",
    "http2.remote_reset",
    "upstream_reset_before_response_started",
    "upstream_reset_after_response_started",
    "route_not_found",
    "response_timeout",
];

/// The transcript's fields by name, without those that are a race in this scenario. Two transcripts are equal when
/// their fields are.
#[must_use]
pub fn fields(transcript: &Transcript, scenario: &Scenario) -> BTreeMap<String, String> {
    let mut fields = all_fields(transcript, scenario.messages);
    fields.retain(|name, _| {
        !scenario
            .races
            .keys()
            .any(|race| name.strip_prefix(race.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    });
    fields
}

fn all_fields(transcript: &Transcript, messages: Messages) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    if let Some(loads) = transcript.load {
        fields.insert("load".to_owned(), if loads { "accepted" } else { "rejected" }.to_owned());
        return fields;
    }
    let mut put = |name: String, value: String| {
        fields.insert(name, value);
    };

    let seen = if messages == Messages::Exact { transcript.processor.clone() } else { merged(&transcript.processor) };
    let lines: Vec<String> = seen.iter().map(line).collect();
    put("processor".to_owned(), lines.join(", "));
    for message in &seen {
        put_headers(&mut put, &format!("processor.{}.header", message.kind), &message.headers);
        if let Some(config) = &message.protocol_config {
            put(format!("processor.{}.protocol_config", message.kind), config.clone());
        }
        for (name, value) in &message.context {
            put(format!("processor.{}.{name}", message.kind), shape(name, value));
        }
        if !message.remarks.is_empty() {
            put(format!("processor.{}.remarks", message.kind), message.remarks.join(", "));
        }
    }

    match &transcript.upstream {
        None => put("upstream".to_owned(), "not contacted".to_owned()),
        Some(request) => {
            put("upstream".to_owned(), "contacted".to_owned());
            put("upstream.route".to_owned(), request.route.to_string());
            put("upstream.method".to_owned(), request.method.clone());
            put("upstream.path".to_owned(), request.path.clone());
            put("upstream.body".to_owned(), body(&request.body));
            put("upstream.end".to_owned(), request.end.name().to_owned());
            put_headers(&mut put, "upstream.header", &request.headers);
            put_headers(&mut put, "upstream.trailer", &request.trailers);
        }
    }

    let client = &transcript.client;
    put("client.status".to_owned(), client.status.map_or_else(|| "none".to_owned(), |status| status.to_string()));
    put("client.body".to_owned(), body(&client.body));
    put("client.end".to_owned(), client.end.name().to_owned());
    put_headers(&mut put, "client.header", &client.headers);
    put_headers(&mut put, "client.trailer", &client.trailers);

    for (name, value) in &transcript.counters {
        let depends_on_division = matches!(name.as_str(), "stream_msgs_sent" | "stream_msgs_received");
        if *value > 0 && !(messages == Messages::Free && depends_on_division) {
            put(format!("counters.{name}"), value.to_string());
        }
    }
    for (name, value) in &transcript.call {
        put(format!("processor.call.{name}"), value.clone());
    }
    for (namespace, value) in &transcript.metadata {
        put(format!("metadata.{namespace}"), value.clone());
    }
    if let Some(StreamEnd { half_closed, reset }) = transcript.stream {
        let told = |moment: Option<Moment>| moment.map_or_else(|| "never".to_owned(), |it| it.to_string());
        put("stream.closed".to_owned(), told(half_closed.into_iter().chain(reset).min()));
        put("stream.reset".to_owned(), told(reset));
    }
    if let Some(logging) = &transcript.logging {
        put("logging".to_owned(), logging.text.clone());
        for (name, value) in &logging.fields {
            put(format!("logging.{name}"), value.clone());
        }
    }
    if let Some(cause) = transcript.details.as_deref().map(cause)
        && !NOT_OF_THE_FILTER.contains(&cause)
    {
        put("details".to_owned(), cause.to_owned());
    }
    fields
}

/// What attributes tell of this run alone is compared by its shape: numbers do not count, and names are names.
fn shape(name: &str, value: &str) -> String {
    let attribute = name.rsplit_once("ext_proc.").map_or("", |(_, attribute)| attribute);
    match attribute {
        "request.time"
        | "connection.id"
        | "source.address"
        | "source.port"
        | "destination.address"
        | "destination.port"
        | "upstream.address"
        | "upstream.port" => {
            let mut shape = value.replace(|c: char| c.is_ascii_digit(), "#");
            while shape.contains("##") {
                shape = shape.replace("##", "#");
            }
            shape
        }
        "xds.cluster_name" => "a name".to_owned(),
        _ => value.to_owned(),
    }
}

/// One message in one line: `request_body "hello" end`.
fn line(message: &Message) -> String {
    let mut line = message.kind.name().to_owned();
    if matches!(message.kind, Kind::RequestBody | Kind::ResponseBody) {
        line.push_str(&format!(" \"{}\"", body(&message.body)));
    }
    if message.end {
        line.push_str(" end");
    }
    line
}

/// Joins body messages of one kind that follow each other.
fn merged(messages: &[Message]) -> Vec<Message> {
    let mut merged: Vec<Message> = Vec::new();
    for message in messages {
        let is_body = matches!(message.kind, Kind::RequestBody | Kind::ResponseBody);
        match merged.last_mut() {
            Some(last) if is_body && last.kind == message.kind => {
                last.body = [&last.body[..], &message.body[..]].concat().into();
                last.end |= message.end;
            }
            _ => merged.push(message.clone()),
        }
    }
    merged
}

/// Envoy nests its own explanation into gRPC failures: `…gRPC_error_13{boom{via_upstream}}`. Up to the first brace the
/// text is the filter's.
fn cause(details: &str) -> &str {
    details.split_once('{').map_or(details, |(cause, _)| cause)
}

pub(super) fn body(bytes: &[u8]) -> String {
    if bytes.len() <= LONG {
        return text(bytes);
    }
    // FNV-1a: tells different bodies of one length apart.
    let digest = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{}… {} bytes, {digest:016x}", text(&bytes[..16]), bytes.len())
}

/// Values of one name are joined in order: where a name stands among others has no meaning.
fn put_headers(put: &mut impl FnMut(String, String), prefix: &str, headers: &HeaderList) {
    let mut by_name: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if !DROPPED.iter().any(|(dropped, _)| *dropped == name) {
            by_name.entry(name).or_default().push(value);
        }
    }
    for (name, values) in by_name {
        put(format!("{prefix}.{name}"), values.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::load_str;
    use bytes::Bytes;

    fn message(kind: Kind, body: &'static str, end: bool) -> Message {
        Message {
            kind,
            headers: Vec::new(),
            body: Bytes::from_static(body.as_bytes()),
            end,
            protocol_config: None,
            context: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }

    #[test]
    fn adjacent_body_messages_of_one_direction_are_one_unless_exact() {
        let transcript = Transcript {
            processor: vec![
                message(Kind::RequestHeaders, "", false),
                message(Kind::RequestBody, "a", false),
                message(Kind::ResponseBody, "r", true),
                message(Kind::RequestBody, "b", false),
                message(Kind::RequestBody, "", true),
            ],
            ..Transcript::default()
        };
        let line = |messages| all_fields(&transcript, messages)["processor"].clone();
        assert_eq!(
            line(Messages::Merged),
            r#"request_headers, request_body "a", response_body "r" end, request_body "b" end"#
        );
        assert!(line(Messages::Exact).ends_with(r#"request_body "b", request_body "" end"#));
    }

    #[test]
    fn noise_is_dropped_and_repeated_values_keep_their_order() {
        let headers = [("Date", "now"), ("x-b", "2"), ("X-A", "1"), ("x-b", "1"), ("x-request-id", "r")];
        let mut transcript = Transcript::default();
        transcript.client.headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        let fields = all_fields(&transcript, Messages::Merged);
        let headers: Vec<_> = fields.iter().filter(|(name, _)| name.starts_with("client.header")).collect();
        assert_eq!(
            headers,
            [
                (&"client.header.x-a".to_owned(), &"1".to_owned()),
                (&"client.header.x-b".to_owned(), &"2 | 1".to_owned())
            ]
        );
    }

    #[test]
    fn a_race_takes_its_field_and_all_below_it() {
        let text = "- id: A\n  title: t\n  races: { upstream: r, client.end: r }\n";
        let scenario = load_str("f", text).unwrap().remove(0);
        let names: Vec<String> = fields(&Transcript::default(), &scenario).into_keys().collect();
        assert_eq!(names, ["client.body", "client.status", "processor"]);
    }

    #[test]
    fn long_bodies_of_one_length_differ_by_digest() {
        let one = vec![b'x'; 100];
        let mut other = one.clone();
        other[99] = b'y';
        assert_ne!(body(&one), body(&other));
        assert!(body(&one).starts_with("xxxxxxxxxxxxxxxx… 100 bytes, "));
        assert_eq!(body(b"short\n"), "short\\n");
    }

    #[test]
    fn free_division_leaves_message_counters_out() {
        let mut transcript = Transcript::default();
        for (name, value) in [("stream_msgs_sent", 3), ("streams_closed", 1), ("failure_mode_allowed", 0)] {
            transcript.counters.insert(name.to_owned(), value);
        }
        let names = |messages| {
            all_fields(&transcript, messages)
                .into_keys()
                .filter(|name| name.starts_with("counters"))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(Messages::Free), ["counters.streams_closed"]);
        assert_eq!(names(Messages::Merged), ["counters.stream_msgs_sent", "counters.streams_closed"]);
    }

    #[test]
    fn the_data_planes_own_part_of_details_is_left_out() {
        assert_eq!(cause("ext_proc_error_gRPC_error_13{boom{via_upstream}}"), "ext_proc_error_gRPC_error_13");
        assert_eq!(cause("spurious_message"), "spurious_message");
    }
}
