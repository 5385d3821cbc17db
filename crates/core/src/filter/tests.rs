//! The table of phases by inputs, enumerated and kept as a snapshot: what the machine does cannot change unseen.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::side::Phase;
use super::{Effect, Filter, Forward, GrpcStatus, HttpEvent, Outgoing, StreamEvent};
use crate::headers::{Headers, Name, Value};
use crate::mutation::{Mutation, SetHeader};
use crate::profile::How;
use crate::wire::{Common, Immediate, Marks, Reply, ReplyPart};
use crate::{BodyMode, Config, Direction, Options, Profile, Stats};

/// What can happen to a side.
const INPUTS: [&str; 27] = [
    "headers",
    "headers, end",
    "data",
    "data, end",
    "trailers",
    "headers reply",
    "body reply",
    "streamed reply",
    "streamed reply, end",
    "trailers reply",
    "reply of the other direction",
    "immediate response",
    "reply headers",
    "reply headers, end",
    "reply body",
    "reply trailers",
    "timeout override",
    "no reply at all",
    "drain complete",
    "drain request",
    "request_drain",
    "stream ends OK",
    "stream fails",
    "deadline",
    "cut",
    "finish",
    "reset",
];

/// How a phase is reached: the body mode, whether trailers are sent, and the inputs.
const PHASES: [(&str, BodyMode, bool, &[&str]); 44] = [
    ("Start", BodyMode::None, false, &[]),
    ("Headers, NONE", BodyMode::None, false, &["headers", "data"]),
    ("Headers, header-only", BodyMode::None, false, &["headers, end"]),
    ("Headers, STREAMED", BodyMode::Streamed, false, &["headers", "data"]),
    ("Headers, STREAMED, all there", BodyMode::Streamed, false, &["headers", "data, end"]),
    ("Headers, BUFFERED", BodyMode::Buffered, false, &["headers", "data"]),
    ("Headers, BUFFERED, with trailers", BodyMode::Buffered, true, &["headers", "data", "trailers"]),
    ("Idle, NONE", BodyMode::None, true, &["headers", "headers reply"]),
    ("Idle, STREAMED", BodyMode::Streamed, false, &["headers", "headers reply"]),
    ("Collect", BodyMode::Buffered, false, &["headers", "headers reply", "data"]),
    ("Collect, nothing yet", BodyMode::Buffered, true, &["headers", "headers reply"]),
    ("Whole", BodyMode::Buffered, false, &["headers", "headers reply", "data, end"]),
    ("Whole, with trailers", BodyMode::Buffered, true, &["headers", "headers reply", "data", "trailers"]),
    ("Collect, partial", BodyMode::BufferedPartial, false, &["headers", "headers reply", "data"]),
    ("Partial", BodyMode::BufferedPartial, true, &["headers", "headers reply", "much data"]),
    ("Partial, all there", BodyMode::BufferedPartial, true, &["headers", "headers reply", "much data", "trailers"]),
    ("Chunks, one", BodyMode::Streamed, true, &["headers", "headers reply", "data"]),
    ("Chunks, two, the last", BodyMode::Streamed, false, &["headers", "headers reply", "data", "data, end"]),
    ("Headers, FULL_DUPLEX_STREAMED", BodyMode::FullDuplexStreamed, true, &["headers"]),
    ("Headers, FULL_DUPLEX_STREAMED, body sent", BodyMode::FullDuplexStreamed, true, &["headers", "data"]),
    ("Headers, FULL_DUPLEX_STREAMED, header-only", BodyMode::FullDuplexStreamed, true, &["headers, end"]),
    ("Duplex", BodyMode::FullDuplexStreamed, true, &["headers", "headers reply"]),
    ("Duplex, body sent", BodyMode::FullDuplexStreamed, true, &["headers", "headers reply", "data"]),
    ("Duplex, all sent", BodyMode::FullDuplexStreamed, true, &["headers", "headers reply", "data, end"]),
    ("Duplex, trailers sent", BodyMode::FullDuplexStreamed, true, &["headers", "headers reply", "data", "trailers"]),
    ("Discard", BodyMode::FullDuplexStreamed, true, &["headers", "headers reply", "data", "streamed reply, end"]),
    ("Cut, full duplex", BodyMode::FullDuplexStreamed, true, &["headers", "headers reply", "data", "cut"]),
    ("GrpcHeaders", BodyMode::Grpc, true, &["headers"]),
    ("GrpcHeaders, message sent", BodyMode::Grpc, true, &["headers", "data"]),
    ("Grpc", BodyMode::Grpc, true, &["headers", "headers reply"]),
    ("Grpc, message sent", BodyMode::Grpc, true, &["headers", "headers reply", "data"]),
    ("Grpc, trailers sent", BodyMode::Grpc, true, &["headers", "headers reply", "data", "trailers"]),
    ("Grpc, draining", BodyMode::Grpc, true, &["headers", "headers reply", "data", "drain request"]),
    ("Grpc, stopped", BodyMode::Grpc, true, &["headers", "headers reply", "data", "request_drain"]),
    ("Early", BodyMode::Streamed, true, &["headers", "data"]),
    ("Early, cut", BodyMode::Streamed, true, &["headers", "data", "cut"]),
    ("Trailers", BodyMode::None, true, &["headers", "headers reply", "trailers"]),
    ("Replying", BodyMode::FullDuplexStreamed, true, &["headers", "reply headers"]),
    ("Cut, replying", BodyMode::None, false, &["headers, end", "reply headers"]),
    ("Cut, headers unanswered", BodyMode::None, false, &["headers", "cut"]),
    ("Replaced", BodyMode::None, false, &["headers", "replacing reply"]),
    ("Pass", BodyMode::None, false, &["headers", "stream ends OK"]),
    ("Done", BodyMode::Buffered, false, &["headers", "headers reply", "data, end", "body reply"]),
    ("Cut, chunk unanswered", BodyMode::Streamed, false, &["headers", "headers reply", "data", "cut"]),
];

/// The buffer limit of the benches.
const LIMIT: usize = 10;

/// Outcomes that are the same in many rows.
const SHORT: [(&str, &str); 5] = [
    (
        "violation",
        "-> Cut ResetStream reply(500) \
         [spurious_msgs_received 1, streams_closed 1, immediate_responses_sent 1]",
    ),
    ("timeout", "-> Cut ResetStream reply(504) [streams_closed 1, message_timeouts 1, immediate_responses_sent 1]"),
    ("failure", "-> Cut reply(500) [streams_failed 1, server_half_closed 1, immediate_responses_sent 1]"),
    ("immediate", "-> Cut reply(403) HalfClose [stream_msgs_received 1, streams_closed 1, immediate_responses_sent 1]"),
    ("ended OK", "[streams_closed 1, server_half_closed 1]"),
];

#[test]
fn phase_by_input() {
    let mut table = String::new();
    for (short, long) in SHORT {
        writeln!(table, "{short:<12} = {long}").unwrap();
    }
    table.push('\n');
    let mut reached = Vec::new();
    for direction in Direction::BOTH {
        for (name, body, trailers, path) in PHASES {
            let mut reference = Bench::new(direction, body, trailers, name.starts_with("Early"));
            path.iter().for_each(|input| reference.run(input));
            reached.push(reference.phase());
            writeln!(table, "{direction:?}: {name}").unwrap();
            for input in INPUTS {
                let mut bench = Bench::new(direction, body, trailers, name.starts_with("Early"));
                path.iter().for_each(|input| bench.run(input));
                bench.drain();
                let line = bench.row(input);
                writeln!(table, "    {input:<28} {line}").unwrap();
            }
            table.push('\n');
        }
    }
    for phase in ALL {
        assert!(reached.contains(&phase), "no row for the phase {phase}");
    }
    insta::assert_snapshot!(table);
}

/// What a processor may say when, for readers: the same bench, the replies alone.
#[test]
fn phase_by_reply() {
    const COLUMNS: [(&str, &str); 9] = [
        ("headers", "headers reply"),
        ("body", "body reply"),
        ("`streamed_response`", "streamed reply"),
        ("the same, last", "streamed reply, end"),
        ("trailers", "trailers reply"),
        ("`immediate_response`", "immediate response"),
        ("`streamed_immediate_response`", "reply headers"),
        ("`drain_complete`", "drain complete"),
        ("empty", "no reply at all"),
    ];
    let mut table = String::from("| phase |");
    COLUMNS.iter().for_each(|(column, _)| write!(table, " {column} |").unwrap());
    table.push_str("\n|---|");
    COLUMNS.iter().for_each(|_| table.push_str("---|"));
    for (name, body, trailers, path) in PHASES {
        write!(table, "\n| {name} |").unwrap();
        for (_, input) in COLUMNS {
            let mut rows = Direction::BOTH.map(|direction| {
                let mut bench = Bench::new(direction, body, trailers, name.starts_with("Early"));
                path.iter().for_each(|input| bench.run(input));
                bench.drain();
                in_a_word(&bench.row(input))
            });
            let [request, response] = &mut rows;
            if request == response {
                write!(table, " {request} |").unwrap();
            } else {
                write!(table, " {request}; response: {response} |").unwrap();
            }
        }
    }
    let page = include_str!("../../../../docs/protocol/phases.md");
    assert!(page.contains(&table), "docs/protocol/phases.md must have this table:\n{table}");
}

/// The next phase, or why there is none.
fn in_a_word(row: &str) -> String {
    if row.contains("spurious_msgs_received") {
        return "refused".to_owned();
    }
    if let Some(rest) = row.strip_prefix("-> ") {
        return format!("to {}", rest.split_whitespace().next().unwrap_or_default());
    }
    match row {
        "violation" => "refused".to_owned(),
        "immediate" => "to Cut".to_owned(),
        _ if row.contains("stream_msgs_received") => "taken".to_owned(),
        _ => "no effect".to_owned(),
    }
}

#[test]
fn what_the_processor_was_not_sent_is_dropped_when_it_answers_the_client() {
    let mut bench = Bench::new(Direction::Request, BodyMode::Streamed, false, false);
    ["headers", "headers reply"].iter().for_each(|input| bench.run(input));
    bench.drain();
    bench.run("data");
    bench.run("immediate response");
    assert_eq!(bench.filter.poll_send(), Some(Outgoing::HalfClose));
    assert_eq!(bench.filter.poll_send(), None);
}

const ALL: [&str; 18] = [
    "Start",
    "Headers",
    "Idle",
    "Collect",
    "Whole",
    "Partial",
    "Chunks",
    "Trailers",
    "Replaced",
    "Pass",
    "Done",
    "Cut",
    "Duplex",
    "Discard",
    "Early",
    "GrpcHeaders",
    "Grpc",
    "Replying",
];

/// The compiler asks for a name here, and [`ALL`] for a row, when a phase is added.
fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Start => ALL[0],
        Phase::Headers(_) => ALL[1],
        Phase::Idle => ALL[2],
        Phase::Collect(_) => ALL[3],
        Phase::Whole(_) => ALL[4],
        Phase::Partial(_) => ALL[5],
        Phase::Chunks(_) => ALL[6],
        Phase::Trailers(_) => ALL[7],
        Phase::Replaced => ALL[8],
        Phase::Pass => ALL[9],
        Phase::Done => ALL[10],
        Phase::Cut(_) => ALL[11],
        Phase::Early(..) => ALL[14],
        Phase::Duplex(_) => ALL[12],
        Phase::Discard => ALL[13],
        Phase::GrpcHeaders(..) => ALL[15],
        Phase::Grpc(_) => ALL[16],
        Phase::Replying => ALL[17],
    }
}

/// A filter whose other direction keeps the stream open.
struct Bench {
    filter: Filter,
    direction: Direction,
    start: Instant,
}

impl Bench {
    fn new(direction: Direction, body: BodyMode, trailers: bool, early: bool) -> Self {
        let mut options =
            Options { max_message_timeout: Duration::from_secs(1), buffer_limit: LIMIT, ..Options::default() };
        options.send_body_without_waiting_for_header_response = early;
        if body == BodyMode::Grpc {
            options.profile = Profile::Strict;
        }
        let mode = &mut options.processing_mode;
        match direction {
            Direction::Request => (mode.request_body, mode.request_trailers) = (body, trailers),
            Direction::Response => {
                (mode.response_body, mode.response_trailers) = (body, trailers);
                mode.request_body = if body == BodyMode::Grpc { BodyMode::None } else { BodyMode::Streamed };
            }
        }
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        let start = Instant::now();
        let mut bench = Self { filter: Filter::new(Arc::new(Config::new(options).unwrap())), direction, start };
        if direction == Direction::Response {
            // The request goes on: its body is not over.
            bench.http(Direction::Request, HttpEvent::Headers(headers(Direction::Request), false));
            bench.filter.on_reply(start, Reply::Headers(Direction::Request, Common::default()));
            bench.drain();
        }
        bench
    }

    fn http(&mut self, direction: Direction, event: HttpEvent) {
        let _refused = self.filter.handle_http(self.start, direction, event);
    }

    fn run(&mut self, input: &str) {
        let direction = self.direction;
        // The private entry: an input that comes over the stream while there is none is dropped before it.
        let reply = |bench: &mut Self, reply| {
            if bench.filter.link.stream == super::Stream::Open {
                bench.filter.on_reply(bench.start, reply);
                bench.filter.balance(bench.start);
            }
        };
        let grpc = matches!(self.filter.side(direction).body_mode(), BodyMode::Grpc);
        let data = || Bytes::from_static(if grpc { b"\0\0\0\0\x03abc" } else { b"abc" });
        match input {
            "headers" => self.http(direction, HttpEvent::Headers(headers(direction), false)),
            "headers, end" => self.http(direction, HttpEvent::Headers(headers(direction), true)),
            "data" => self.http(direction, HttpEvent::Data(data(), false)),
            "much data" => self.http(direction, HttpEvent::Data(Bytes::from_static(&[b'm'; LIMIT + 1]), false)),
            "data, end" => self.http(direction, HttpEvent::Data(data(), true)),
            "trailers" => {
                let trailers = [(Name::from_static("x-t"), Value::from_static("1"))].into_iter().collect();
                self.http(direction, HttpEvent::Trailers(trailers));
            }
            "headers reply" => reply(self, Reply::Headers(direction, Common::default())),
            "replacing reply" => {
                let body = crate::wire::BodyChange::Replace(Bytes::from_static(b"new"));
                reply(self, Reply::Headers(direction, Common { replace: true, body, ..Common::default() }));
            }
            "streamed reply" | "streamed reply, end" => {
                let piece = crate::wire::BodyChange::Streamed(Bytes::from_static(b"got"), input.ends_with("end"));
                reply(self, Reply::Body(direction, Common { body: piece, ..Common::default() }));
            }
            "body reply" => reply(self, Reply::Body(direction, Common::default())),
            "trailers reply" => reply(self, Reply::Trailers(direction, None)),
            "reply of the other direction" => reply(self, Reply::Trailers(direction.opposite(), None)),
            "immediate response" => reply(self, Reply::Immediate(Box::new(immediate()))),
            "reply headers" => reply(self, Reply::StreamedImmediate(ReplyPart::Headers(status(), false))),
            "reply headers, end" => reply(self, Reply::StreamedImmediate(ReplyPart::Headers(status(), true))),
            "reply body" => reply(self, Reply::StreamedImmediate(ReplyPart::Body(Bytes::from_static(b"got"), false))),
            "reply trailers" => reply(self, Reply::StreamedImmediate(ReplyPart::Trailers(Mutation::default()))),
            "timeout override" => reply(self, Reply::Timeout(Some(Duration::from_millis(500)))),
            "drain complete" => {
                let marks = Marks { drain_complete: true, ..Marks::default() };
                let body = crate::wire::BodyChange::Streamed(Bytes::new(), false);
                reply(self, Reply::Body(direction, Common { body, marks, ..Common::default() }));
            }
            "drain request" | "request_drain" => {
                let mut message = crate::wire::ReplyMessage::default();
                match (input, direction) {
                    ("request_drain", _) => message.request_drain = true,
                    (_, Direction::Request) => message.request_drain_requests = true,
                    (_, Direction::Response) => message.request_drain_responses = true,
                }
                self.filter.handle_stream(self.start, StreamEvent::Reply(Box::new(message)));
            }
            "no reply at all" => reply(self, Reply::Unknown),
            "stream ends OK" => self.filter.handle_stream(self.start, StreamEvent::Closed(Ok(()))),
            "stream fails" => {
                let status = GrpcStatus { code: 14, message: "gone".to_owned() };
                self.filter.handle_stream(self.start, StreamEvent::Closed(Err(status)));
            }
            "deadline" => {
                if let Some((at, _)) = self.filter.poll_timeout() {
                    self.filter.handle_timeout(at);
                }
            }
            "cut" => self.filter.cut(direction),
            "finish" => self.filter.finish(self.start),
            "reset" => self.filter.reset(self.start),
            other => panic!("no input {other:?}"),
        }
    }

    fn drain(&mut self) -> String {
        let mut text = String::new();
        while let Some(effect) = self.filter.poll_effect() {
            match effect {
                Effect::LocalReply { reply, processed } => {
                    let status = reply.headers.status().unwrap_or_default();
                    let processed = if processed { ", processed" } else { "" };
                    write!(text, " reply({status}{processed})").unwrap();
                }
                Effect::StreamedReply(part) => {
                    let (part, end) = match part {
                        HttpEvent::Headers(_, end) => ("headers", end),
                        HttpEvent::Data(_, end) => ("data", end),
                        HttpEvent::Trailers(_) => ("trailers", true),
                    };
                    write!(text, " streamed({part}{})", if end { "!" } else { "" }).unwrap();
                }
                Effect::OpenStream | Effect::ResetStream | Effect::RecomputeRoute => {
                    write!(text, " {effect:?}").unwrap();
                }
            }
        }
        while let Some(outgoing) = self.filter.poll_send() {
            match outgoing {
                Outgoing::Message(message) => write!(text, " send({})", kind(&message)).unwrap(),
                Outgoing::HalfClose => text.push_str(" HalfClose"),
            }
        }
        while let Some(part) = self.filter.poll_forward(self.direction) {
            let (part, end) = match &part {
                Forward::Headers(_, end) => ("headers", *end),
                Forward::Data(data, end) => {
                    (std::str::from_utf8(data).unwrap().trim_start_matches(['\0', '\x03']), *end)
                }
                Forward::Trailers(_) => ("trailers", false),
            };
            write!(text, " forward({part}{})", if end { "!" } else { "" }).unwrap();
        }
        text
    }

    fn phase(&self) -> &'static str {
        name(&self.filter.side(self.direction).phase)
    }

    fn row(&mut self, input: &str) -> String {
        let (phase, stats) = (self.phase(), *self.filter.stats());
        if let Some(misuse) = self.misuse(input) {
            return format!("misuse: {misuse}");
        }
        self.run(input);
        let done = self.drain();
        let mut text = if phase == self.phase() { "stays".to_owned() } else { format!("-> {}", self.phase()) };
        text.push_str(&done);
        let counted = self.filter.stats().since(&stats);
        let counted = Stats::NAMES.iter().zip(counted.values()).filter(|(_, value)| *value != 0);
        let counted: Vec<_> = counted.map(|(name, value)| format!("{name} {value}")).collect();
        if !counted.is_empty() {
            write!(text, " [{}]", counted.join(", ")).unwrap();
        }
        for (short, long) in SHORT {
            text = text.replace(long, short);
        }
        text
    }

    /// Why the event cannot come now.
    fn misuse(&self, input: &str) -> Option<&'static str> {
        let side = self.filter.side(self.direction);
        let event = match input {
            "headers" | "headers, end" => HttpEvent::Headers(Headers::new(), false),
            "data" | "data, end" => HttpEvent::Data(Bytes::new(), true),
            "trailers" => HttpEvent::Trailers(Headers::new()),
            _ => return None,
        };
        side.order().next(&event).err().filter(|_| !side.is_cut()).map(|misuse| misuse.0)
    }
}

fn headers(direction: Direction) -> Headers {
    let entries: &[(&str, &str)] = match direction {
        Direction::Request => &[(":method", "POST"), (":path", "/")],
        Direction::Response => &[(":status", "200"), ("content-type", "application/grpc")],
    };
    entries.iter().map(|(n, v)| (Name::parse(n.as_bytes()).unwrap(), Value::parse(v.as_bytes()).unwrap())).collect()
}

fn immediate() -> Immediate {
    Immediate { status: 403, mutation: None, body: Bytes::new(), grpc_status: None, details: String::new() }
}

fn status() -> Mutation {
    let status =
        SetHeader { name: Bytes::from_static(b":status"), value: Bytes::from_static(b"200"), how: Ok(How::Overwrite) };
    Mutation { remove: Vec::new(), set: vec![Some(status)] }
}

fn kind(message: &crate::wire::Message) -> &'static str {
    use extproc_proto::processing_request::Request;
    match &message.request {
        Some(Request::RequestHeaders(_) | Request::ResponseHeaders(_)) => "headers",
        Some(Request::RequestBody(body) | Request::ResponseBody(body)) if body.end_of_stream => "body!",
        Some(Request::RequestBody(_) | Request::ResponseBody(_)) => "body",
        Some(Request::RequestTrailers(_) | Request::ResponseTrailers(_)) => "trailers",
        None => "nothing",
    }
}
