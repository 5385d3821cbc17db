//! A discrete simulation of one exchange: client, chain, processor and upstream under virtual time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_core::chain::{Effect, FilterChain, Peer};
use extproc_core::filter::{Forward, GrpcStatus, HttpEvent, Outgoing, StreamEvent};
use extproc_core::headers::{Headers, Name, Value};
use extproc_core::{Config, Direction, DynamicMetadata, LocalReply, LoggingInfo, Options, Stats};
use extproc_proto::processing_request::Request as Wire;
use extproc_proto::{ProcessingRequest, ProcessingResponse};

use crate::answers::ack;

/// A processor: called with each message, gives what it says and when, in milliseconds from now.
pub(crate) type Processor = Box<dyn FnMut(&Seen) -> Vec<(u64, StreamEvent)>>;

/// One message as the processor sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `qh qb qt sh sb st`.
    pub(crate) kind: &'static str,
    pub(crate) end: bool,
    pub(crate) body: Bytes,
    /// How many of this kind came before.
    pub(crate) nth: usize,
    pub(crate) wire: ProcessingRequest,
}

/// One exchange to run.
pub(crate) struct Scenario {
    pub(crate) options: Vec<Options>,
    /// Parts with the time of each, in milliseconds.
    pub(crate) request: Vec<(u64, HttpEvent)>,
    pub(crate) response: Vec<(u64, HttpEvent)>,
    /// How long the upstream takes, from the end of the request.
    pub(crate) upstream_ms: u64,
    /// The upstream answers when it has the headers.
    pub(crate) early: bool,
    /// The data plane answers in place of the upstream.
    pub(crate) answer: Option<LocalReply>,
    /// Metadata that the data plane tells.
    pub(crate) told: DynamicMetadata,
    /// The client goes away at this time.
    pub(crate) client_leaves: Option<u64>,
    pub(crate) processors: Vec<Processor>,
}

/// What every party saw.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) downstream: Received,
    pub(crate) upstream: Received,
    pub(crate) messages: Vec<Vec<String>>,
    pub(crate) wire: Vec<Vec<ProcessingRequest>>,
    pub(crate) stats: Vec<Stats>,
    pub(crate) logging: Vec<LoggingInfo>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) details: String,
    pub(crate) metadata: DynamicMetadata,
    /// When the client had its answer, or the exchange was given up.
    pub(crate) end_ms: u64,
    /// Nothing would ever have happened again.
    pub(crate) hung: bool,
    /// When the filters closed their streams.
    pub(crate) closed_ms: Vec<Option<u64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) complete: bool,
    pub(crate) cut: bool,
}

enum Action {
    Upstream(HttpEvent),
    Processor(usize, StreamEvent),
    ClientLeaves,
}

struct Run {
    chain: FilterChain,
    start: Instant,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Action>,
    tick: u64,
    client: std::collections::VecDeque<(Instant, HttpEvent)>,
    response: Option<Vec<(u64, HttpEvent)>>,
    open: Vec<bool>,
    draining: Vec<bool>,
    processors: Vec<Processor>,
    counts: Vec<BTreeMap<&'static str, usize>>,
    cancelled: bool,
    over: bool,
    answer: Option<LocalReply>,
    out: Outcome,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            options: vec![Options::default()],
            request: get(),
            response: u5(),
            upstream_ms: 0,
            early: false,
            answer: None,
            told: DynamicMetadata::default(),
            client_leaves: None,
            processors: vec![Box::new(ack)],
        }
    }
}

impl Scenario {
    pub(crate) fn run(self) -> Outcome {
        #[allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
        let start = Instant::now();
        let filters = self.options.len();
        let configs = self.options.into_iter().map(|options| Arc::new(Config::new(options).unwrap()));
        let mut run = Run {
            chain: FilterChain::new(configs),
            start,
            now: start,
            queue: BTreeMap::new(),
            tick: 0,
            client: self.request.into_iter().map(|(ms, event)| (start + Duration::from_millis(ms), event)).collect(),
            response: Some(self.response),
            open: vec![false; filters],
            draining: vec![false; filters],
            processors: self.processors,
            counts: vec![BTreeMap::new(); filters],
            cancelled: false,
            over: false,
            answer: self.answer,
            out: Outcome {
                messages: vec![Vec::new(); filters],
                wire: vec![Vec::new(); filters],
                closed_ms: vec![None; filters],
                ..Outcome::default()
            },
        };
        run.chain.merge_metadata(self.told);
        if let Some(ms) = self.client_leaves {
            run.at(ms, Action::ClientLeaves);
        }
        run.go(self.upstream_ms, self.early)
    }
}

impl Run {
    fn at(&mut self, ms: u64, action: Action) {
        self.tick += 1;
        self.queue.insert((self.now + Duration::from_millis(ms), self.tick), action);
    }

    fn go(mut self, upstream_ms: u64, early: bool) -> Outcome {
        for _ in 0..10_000 {
            self.drain();
            let request_there =
                self.chain.is_done(Direction::Request) || early && !self.out.upstream.headers.is_empty();
            if request_there && let Some(reply) = self.answer.take() {
                self.chain.respond(self.now, reply);
                self.drain();
            }
            if request_there
                && !self.cancelled
                && let Some(response) = self.response.take()
            {
                for (ms, event) in response {
                    self.at(upstream_ms + ms, Action::Upstream(event));
                }
            }
            if self.over || self.chain.is_done(Direction::Response) && self.response_ends_exchange() || !self.step() {
                break;
            }
        }
        if !self.over {
            self.out.hung = !self.chain.is_done(Direction::Response);
            self.out.end_ms = self.ms();
            self.chain.finish(self.now);
            self.drain();
        }
        self.out.metadata = self.chain.metadata().clone();
        self.out.details = self.chain.details().unwrap_or_default().to_owned();
        self.out.logging = (0..self.chain.len()).map(|filter| self.chain.logging(filter).clone()).collect();
        self.out.stats = (0..self.chain.len()).map(|filter| *self.chain.stats(filter)).collect();
        for (stats, wire) in self.out.stats.iter().zip(&self.out.wire) {
            check_counters(stats, wire.len() as u64);
        }
        self.out
    }

    /// A response that was there before its request ended does not end the exchange while the request goes on.
    fn response_ends_exchange(&self) -> bool {
        self.cancelled || self.chain.is_done(Direction::Request)
    }

    fn ms(&self) -> u64 {
        u64::try_from((self.now - self.start).as_millis()).unwrap()
    }

    /// The next thing that happens. The deadline comes first when it is as early as the rest.
    fn step(&mut self) -> bool {
        let client = self.client.front().map(|(at, _)| (*at).max(self.now));
        let client = client.filter(|_| self.chain.wants(Direction::Request));
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let deadline = self.chain.poll_timeout().map(|(at, ..)| at);
        let Some(next) = [client, queued, deadline].into_iter().flatten().min() else {
            return false;
        };
        self.now = next;
        if deadline == Some(next) {
            self.chain.handle_timeout(next);
        } else if client == Some(next) {
            let (_, event) = self.client.pop_front().unwrap();
            self.chain.handle_http(next, Direction::Request, event).unwrap();
        } else if let Some((_, action)) = self.queue.pop_first() {
            match action {
                Action::Upstream(event) if !self.cancelled => {
                    self.chain.handle_http(next, Direction::Response, event).unwrap();
                }
                Action::Upstream(_) => {}
                Action::Processor(filter, event) => {
                    self.open[filter] &= matches!(event, StreamEvent::Reply(_));
                    self.draining[filter] |= matches!(&event, StreamEvent::Reply(reply) if reply.request_drain);
                    self.chain.handle_stream(next, filter, event);
                }
                Action::ClientLeaves => {
                    self.chain.handle_reset(next, Peer::Downstream);
                    self.out.end_ms = self.ms();
                    self.over = true;
                    self.drain();
                }
            }
        }
        true
    }

    fn drain(&mut self) {
        while let Some(effect) = self.chain.poll_effect() {
            match effect {
                Effect::OpenStream(filter) => self.open[filter] = true,
                Effect::ResetStream(filter) => self.close(filter),
                Effect::CancelUpstream => self.cancelled = true,
                Effect::ResetDownstream => {
                    self.out.downstream.cut = true;
                    self.out.end_ms = self.ms();
                    self.over = true;
                }
                Effect::RecomputeRoute => {}
            }
            self.out.effects.push(effect);
        }
        for filter in 0..self.chain.len() {
            while let Some(outgoing) = self.chain.poll_send(filter) {
                match outgoing {
                    Outgoing::Message(message) => self.deliver(filter, *message),
                    // The processor goes on: it has asked for this.
                    Outgoing::HalfClose if self.draining[filter] => {}
                    Outgoing::HalfClose => self.close(filter),
                }
            }
        }
        while let Some(part) = self.chain.poll_forward(Direction::Request) {
            self.out.upstream.take(part);
        }
        while let Some(part) = self.chain.poll_forward(Direction::Response) {
            self.out.downstream.take(part);
        }
    }

    fn close(&mut self, filter: usize) {
        self.open[filter] = false;
        let now = self.ms();
        self.out.closed_ms[filter].get_or_insert(now);
        self.queue.retain(|_, action| !matches!(action, Action::Processor(index, _) if *index == filter));
    }

    fn deliver(&mut self, filter: usize, wire: ProcessingRequest) {
        let (kind, end, body) = match wire.request.as_ref() {
            None => ("w", false, Bytes::new()),
            Some(Wire::RequestHeaders(headers)) => ("qh", headers.end_of_stream, Bytes::new()),
            Some(Wire::ResponseHeaders(headers)) => ("sh", headers.end_of_stream, Bytes::new()),
            Some(Wire::RequestBody(body)) => ("qb", body.end_of_stream, body.body.clone()),
            Some(Wire::ResponseBody(body)) => ("sb", body.end_of_stream, body.body.clone()),
            Some(Wire::RequestTrailers(_)) => ("qt", false, Bytes::new()),
            Some(Wire::ResponseTrailers(_)) => ("st", false, Bytes::new()),
        };
        let nth = self.counts[filter].entry(kind).or_default();
        let seen = Seen { kind, end, body, nth: *nth, wire };
        *nth += 1;
        self.out.messages[filter].push(seen.to_string());
        for (ms, event) in self.processors[filter](&seen) {
            self.at(ms, Action::Processor(filter, event));
        }
        self.out.wire[filter].push(seen.wire);
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)?;
        if self.end {
            f.write_char('!')?;
        }
        if let Some(Wire::RequestBody(body) | Wire::ResponseBody(body)) = &self.wire.request {
            // A bare half-close, a compressed message, the end of what is sent.
            f.write_str(if body.end_of_stream_without_message { "-" } else { "" })?;
            f.write_str(if body.grpc_message_compressed { "z" } else { "" })?;
            f.write_str(if body.drain_complete { "~" } else { "" })?;
        }
        match &*self.body {
            [] => Ok(()),
            body if body.len() > 40 => write!(f, "\"{} bytes\"", body.len()),
            body => write!(f, "\"{}\"", body.escape_ascii()),
        }
    }
}

impl Received {
    fn take(&mut self, part: Forward) {
        assert!(!self.complete, "nothing follows the last part: {part:?}");
        match part {
            Forward::Headers(headers, end) => {
                assert!(self.headers.is_empty(), "headers come once");
                self.headers = headers;
                self.complete = end;
            }
            Forward::Data(data, end) => {
                assert!(!self.headers.is_empty(), "headers come first");
                assert!(end || !data.is_empty(), "empty data only ends a body");
                self.body.extend_from_slice(&data);
                self.complete = end;
            }
            Forward::Trailers(trailers) => {
                self.trailers = Some(trailers);
                self.complete = true;
            }
        }
        let length = self.headers.content_length().filter(|_| !self.body.is_empty());
        assert!(length.is_none_or(|length| self.body.len() as u64 <= length), "more body than promised");
        assert!(!self.complete || length.is_none_or(|length| self.body.len() as u64 == length), "less than promised");
    }

    /// Headers with these names, as `name: value`.
    pub(crate) fn only(&self, names: &[&str]) -> String {
        let shown = self.headers.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let shown: Vec<_> = shown.map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())).collect();
        shown.join(", ")
    }

    pub(crate) fn text(&self) -> String {
        let mut text = if self.body.len() > 40 {
            format!("{} bytes", self.body.len())
        } else {
            self.body.escape_ascii().to_string()
        };
        for (name, value) in self.trailers.iter().flatten() {
            write!(text, " +{name}: {}", value.as_bytes().escape_ascii()).unwrap();
        }
        if self.cut {
            text.push_str(" cut");
        } else if !self.complete {
            text.push_str(" incomplete");
        }
        text.trim_start().to_owned()
    }
}

impl Outcome {
    /// `200 hello`, with the parts that came. `-`: no headers came.
    pub(crate) fn d(&self) -> String {
        match self.downstream.headers.status() {
            Some(status) => format!("{status} {}", self.downstream.text()).trim_end().to_owned(),
            None if self.downstream.cut => "cut".to_owned(),
            None => "-".to_owned(),
        }
    }

    /// What the upstream got: the body and trailers, `-` when it was not contacted.
    pub(crate) fn u(&self) -> String {
        if self.upstream.headers.is_empty() { "-".to_owned() } else { self.upstream.text() }
    }

    pub(crate) fn seen(&self) -> String {
        self.messages[0].join(" ")
    }

    /// `started/sent/received/closed`, then the other counters that moved, under the names of the tables.
    pub(crate) fn counters(&self) -> String {
        counters(&self.stats[0])
    }
}

/// What holds for the counters of every finished exchange.
fn check_counters(stats: &Stats, messages: u64) {
    assert_eq!(stats.stream_msgs_sent, messages, "every message that is counted was sent");
    let failed_open = stats.streams_failed.min(stats.failure_mode_allowed);
    assert_eq!(stats.streams_started + failed_open, stats.streams_closed + stats.streams_failed, "streams end once");
    let ends =
        stats.spurious_msgs_received + stats.message_timeouts + stats.streams_failed + stats.http_not_ok_resp_received;
    assert!(ends <= 1, "processing ends once: {stats:?}");
    let bad_content = stats.rejected_header_mutations;
    assert!(stats.failure_mode_allowed <= ends + bad_content, "fail-open needs a failure: {stats:?}");
    // A body that broke its length before the processor failed may still need an answer.
    let outcomes = stats.immediate_responses_sent.max(stats.failure_mode_allowed);
    assert!(outcomes <= 1, "one outcome: {stats:?}");
}

pub(crate) fn counters(stats: &Stats) -> String {
    let mut text = format!(
        "{}/{}/{}/{}",
        stats.streams_started, stats.stream_msgs_sent, stats.stream_msgs_received, stats.streams_closed
    );
    for (name, value) in [
        ("spur", stats.spurious_msgs_received),
        ("fail", stats.streams_failed),
        ("half", stats.server_half_closed),
        ("rej", stats.rejected_header_mutations),
        ("tmo", stats.message_timeouts),
        ("imm", stats.immediate_responses_sent),
        ("nok", stats.http_not_ok_resp_received),
        ("fma", stats.failure_mode_allowed),
        ("ov+", stats.override_message_timeout_received),
        ("ov-", stats.override_message_timeout_ignored),
        ("rci", stats.clear_route_cache_ignored),
        ("rcd", stats.clear_route_cache_disabled),
    ] {
        if value != 0 {
            write!(text, " {name}{value}").unwrap();
        }
    }
    text
}

pub(crate) fn headers(entries: &[(&'static str, &'static str)]) -> Headers {
    entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
}

fn head(method: &'static str, more: &[(&'static str, &'static str)]) -> Headers {
    let mut entries = vec![(":authority", "ex.com"), (":path", "/x"), (":method", method), (":scheme", "http")];
    entries.extend(more);
    headers(&entries)
}

fn data(text: &'static str, end: bool) -> HttpEvent {
    HttpEvent::Data(Bytes::from_static(text.as_bytes()), end)
}

/// **G** of the tables.
pub(crate) fn get() -> Vec<(u64, HttpEvent)> {
    request("GET", &[])
}

/// A request without body.
pub(crate) fn request(method: &'static str, more: &[(&'static str, &'static str)]) -> Vec<(u64, HttpEvent)> {
    vec![(0, HttpEvent::Headers(head(method, more), true))]
}

/// **P** of the tables with any text.
pub(crate) fn post(text: &'static str) -> Vec<(u64, HttpEvent)> {
    let mut headers = head("POST", &[]);
    headers.append(Name::from_static("content-length"), Value::from(text.len() as u64));
    vec![(0, HttpEvent::Headers(headers, false)), (0, data(text, true))]
}

/// A POST with a body of so many bytes, in pieces.
pub(crate) fn large(len: usize, piece: usize) -> Vec<(u64, HttpEvent)> {
    let mut headers = head("POST", &[]);
    headers.append(Name::from_static("content-length"), Value::from(len as u64));
    let mut parts = vec![(0, HttpEvent::Headers(headers, false))];
    let mut left = len;
    while left > 0 {
        let next = piece.min(left);
        left -= next;
        parts.push((0, HttpEvent::Data(vec![b'x'; next].into(), left == 0)));
    }
    parts
}

/// **C[a,b]** of the tables: a chunk every `ms` after the headers, the end `ms` after the last one.
pub(crate) fn chunked(ms: u64, chunks: &[&'static str]) -> Vec<(u64, HttpEvent)> {
    let mut parts = body(HttpEvent::Headers(head("POST", &[]), false), ms, chunks);
    parts.push((ms * (chunks.len() as u64 + 1), data("", true)));
    parts
}

/// **C[a,b]+T** of the tables.
pub(crate) fn chunked_t(ms: u64, chunks: &[&'static str]) -> Vec<(u64, HttpEvent)> {
    let mut parts = body(HttpEvent::Headers(head("POST", &[]), false), ms, chunks);
    parts.push((ms * (chunks.len() as u64 + 1), HttpEvent::Trailers(headers(&[("x-t", "1")]))));
    parts
}

fn body(headers: HttpEvent, ms: u64, chunks: &[&'static str]) -> Vec<(u64, HttpEvent)> {
    let mut parts = vec![(0, headers)];
    parts.extend(chunks.iter().enumerate().map(|(index, chunk)| (ms * (index as u64 + 1), data(chunk, false))));
    parts
}

/// **U5** of the tables.
pub(crate) fn u5() -> Vec<(u64, HttpEvent)> {
    let headers =
        headers(&[(":status", "200"), ("content-length", "5"), ("x-up", "1"), ("x-envoy-upstream-service-time", "0")]);
    vec![(0, HttpEvent::Headers(headers, false)), (0, data("hello", true))]
}

/// **UC** of the tables.
pub(crate) fn uc() -> Vec<(u64, HttpEvent)> {
    let mut parts = body(HttpEvent::Headers(headers(&[(":status", "200"), ("x-up", "1")]), false), 50, &["r1", "r2"]);
    parts.push((150, HttpEvent::Trailers(headers(&[("x-rt", "2")]))));
    parts
}

pub(crate) fn reply(response: ProcessingResponse) -> StreamEvent {
    StreamEvent::Reply(Box::new(response))
}

pub(crate) fn internal() -> StreamEvent {
    StreamEvent::Closed(Err(GrpcStatus { code: 13, message: "boom x".to_owned() }))
}
