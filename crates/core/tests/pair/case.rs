//! Random exchanges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_core::config::RouteCacheAction;
use extproc_core::headers::{Name, Value};
use extproc_core::pair::{Begin, Legs, Pair, Processor, Script, Upstream};
use extproc_core::rules::MutationRules;
use extproc_core::{BodyMode, Config, Headers, LocalReply, Options, ProcessingMode, Profile, RequestKind};

use crate::rng::Rng;

/// One exchange as plain data, so that it can be built again with something changed.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) filters: Vec<Options>,
    pub(crate) request: Message,
    pub(crate) response: Message,
    pub(crate) begin: Begin,
    pub(crate) unreachable: bool,
    /// Where the upstream would give up, the data plane answers in its place.
    pub(crate) late_reply: bool,
    pub(crate) legs: Legs,
    pub(crate) finish_early: bool,
}

/// What one side sends.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// Where the body is cut into chunks; ascending, inside the body.
    pub(crate) cuts: Vec<usize>,
    /// The end comes as an empty piece of its own.
    pub(crate) empty_end: bool,
    pub(crate) trailers: Option<Headers>,
    /// A pause before each part.
    pub(crate) pauses: Vec<Duration>,
    /// Gives up before this part.
    pub(crate) reset: Option<usize>,
}

/// How wild it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Client and upstream may give up, the upstream may be unreachable.
    pub(crate) resets: bool,
    /// Buffer limits are smaller than some bodies.
    pub(crate) small_limits: bool,
    /// Bodies are FULL_DUPLEX_STREAMED, too: there a processor that keeps silent is waited for without a deadline.
    pub(crate) duplex: bool,
    /// Everybody keeps failing open.
    pub(crate) fail_open: Option<bool>,
}

impl Case {
    pub(crate) fn random(rng: &mut Rng, shape: Shape) -> Self {
        let count = [1, 1, 1, 2, 2, 3][rng.below(6)];
        let head = rng.percent(3);
        let method = if head { "HEAD" } else { rng.pick(&["GET", "POST"]) };
        let mut request = Message::random(rng, &[(":method", method), (":path", "/p"), (":authority", "h")], shape);
        if rng.percent(3) {
            request.headers.append(Name::from_static("content-type"), Value::from_static("application/grpc"));
        }
        let mut response = Message::random(rng, &[(":status", "207")], shape);
        // Before its headers an upstream does not give up, it is unreachable.
        response.reset = response.reset.filter(|part| *part > 0);
        if head {
            response.make_headers_only();
        }
        Self {
            filters: (0..count).map(|_| options(rng, shape)).collect(),
            request,
            response,
            begin: rng.pick(&[Begin::AtHeaders, Begin::AtEnd, Begin::AtEnd]),
            unreachable: shape.resets && rng.percent(3),
            late_reply: rng.percent(30),
            legs: legs(rng),
            finish_early: rng.percent(20),
        }
    }

    /// Whether some answer has no deadline, so that a silent processor is waited for.
    pub(crate) fn may_wait_forever(&self) -> bool {
        self.filters.iter().any(|options| {
            let mode = &options.processing_mode;
            let endless = |body| matches!(body, BodyMode::FullDuplexStreamed | BodyMode::Grpc);
            !matches!(options.profile, Profile::Envoy | Profile::Strict)
                || options.allow_mode_override
                || endless(mode.request_body)
                || endless(mode.response_body)
        })
    }

    /// The exchange with these processors, one for each filter.
    pub(crate) fn pair(&self, processors: Vec<Box<dyn Processor>>) -> Pair {
        assert_eq!(processors.len(), self.filters.len());
        let configs = self.filters.iter().map(|options| Arc::new(Config::new(options.clone()).unwrap()));
        let kind = RequestKind::of(&self.request.headers);
        let reply = LocalReply::new(kind, 503, Bytes::from_static(b"no upstream"), "no_upstream");
        let script = if self.unreachable {
            Script::new().respond(reply)
        } else {
            self.response.script(self.late_reply.then_some(&reply))
        };
        let pair = Pair::new(start(), configs.zip(processors))
            .client(self.request.script(None))
            .upstream(Upstream::new(self.begin, script))
            .legs(self.legs);
        if self.finish_early { pair.finish_early() } else { pair }
    }
}

impl Message {
    pub(crate) fn random(rng: &mut Rng, pseudo: &[(&'static str, &'static str)], shape: Shape) -> Self {
        let mut headers: Headers =
            pseudo.iter().map(|(name, value)| (Name::from_static(name), Value::from_static(value))).collect();
        for _ in 0..rng.below(3) {
            headers.append(Name::from_static(rng.pick(&NAMES)), Value::from_static(rng.pick(&VALUES)));
        }
        let mut body = Bytes::new();
        if rng.percent(75) {
            let length = if rng.percent(10) { rng.below(600) } else { rng.below(60) };
            body = Bytes::from(rng.bytes(length));
        }
        let trailers = rng.percent(30).then(|| {
            (0..1 + rng.below(2))
                .map(|_| (Name::from_static(rng.pick(&NAMES)), Value::from_static(rng.pick(&VALUES))))
                .collect()
        });
        if rng.percent(if trailers.is_none() { 50 } else { 10 }) {
            headers.append(Name::from_static("content-length"), Value::from(body.len() as u64));
        }
        let mut message = Self {
            headers,
            body,
            cuts: Vec::new(),
            empty_end: rng.percent(30),
            trailers,
            pauses: Vec::new(),
            reset: None,
        };
        message.cut(rng);
        if rng.percent(40) {
            message.pauses = (0..4).map(|_| Duration::from_millis(rng.below(120) as u64)).collect();
        }
        if shape.resets && rng.percent(6) {
            message.reset = Some(rng.below(4));
        }
        message
    }

    /// Cuts the body at other places.
    pub(crate) fn cut(&mut self, rng: &mut Rng) {
        self.cuts = (0..rng.below(5)).map(|_| rng.below(self.body.len() + 1)).collect();
        self.cuts.retain(|at| *at > 0 && *at < self.body.len());
        self.cuts.sort_unstable();
        self.cuts.dedup();
    }

    pub(crate) fn make_headers_only(&mut self) {
        self.body = Bytes::new();
        self.cuts.clear();
        self.trailers = None;
        self.empty_end = false;
    }

    /// Whether the headers are the last part.
    pub(crate) fn headers_only(&self) -> bool {
        self.body.is_empty() && self.trailers.is_none() && !self.empty_end
    }

    pub(crate) fn longest_chunk(&self) -> usize {
        let mut ends = self.cuts.clone();
        ends.push(self.body.len());
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        starts.zip(&ends).map(|(from, to)| to - from).max().unwrap_or(0)
    }

    /// `reply`: what is answered instead of giving up.
    fn script(&self, reply: Option<&LocalReply>) -> Script {
        let mut script = Script::new();
        let mut part = 0;
        let mut step = |script: Script| {
            let pause = self.pauses.get(part).copied().unwrap_or_default();
            let reset = self.reset == Some(part);
            part += 1;
            let script = script.wait(pause);
            match reply {
                _ if !reset => script,
                Some(reply) => script.respond(reply.clone()),
                None => script.reset(),
            }
        };
        script = step(script).headers(self.headers.clone(), self.headers_only());
        if !self.headers_only() {
            let ends_with_data = self.trailers.is_none() && !self.empty_end;
            let mut from = 0;
            for to in self.cuts.iter().copied().chain([self.body.len()]) {
                if to > from {
                    let last = to == self.body.len() && ends_with_data;
                    script = step(script).data(self.body.slice(from..to), last);
                }
                from = to;
            }
            script = match &self.trailers {
                Some(trailers) => step(script).trailers(trailers.clone()),
                None if self.empty_end => step(script).data(Bytes::new(), true),
                None => script,
            };
        }
        script
    }
}

const NAMES: [&str; 5] = ["x-a", "x-b", "x-c", "accept", "cookie"];
const VALUES: [&str; 4] = ["1", "2", "", "three"];

fn options(rng: &mut Rng, shape: Shape) -> Options {
    let mut bodies = vec![BodyMode::None, BodyMode::Streamed, BodyMode::Buffered, BodyMode::BufferedPartial];
    if shape.duplex {
        bodies.push(BodyMode::FullDuplexStreamed);
    }
    let [request_body, response_body] = [rng.pick(&bodies), rng.pick(&bodies)];
    let defaults = Options::default();
    Options {
        processing_mode: ProcessingMode {
            request_headers: rng.percent(85),
            response_headers: rng.percent(85),
            request_body,
            response_body,
            request_trailers: request_body == BodyMode::FullDuplexStreamed || rng.percent(40),
            response_trailers: response_body == BodyMode::FullDuplexStreamed || rng.percent(40),
        },
        failure_mode_allow: shape.fail_open.unwrap_or_else(|| rng.percent(50)),
        status_on_error: rng.pick(&[500, 503, 400, 200]),
        max_message_timeout: rng.pick(&[Duration::ZERO, Duration::from_secs(1)]),
        disable_immediate_response: rng.percent(10),
        send_body_without_waiting_for_header_response: rng.percent(20),
        // With it, a length that does not fit a changed body is an error.
        allow_content_length_header: shape.small_limits && rng.percent(5),
        route_cache_action: rng.pick(&[RouteCacheAction::Default, RouteCacheAction::Clear, RouteCacheAction::Retain]),
        mutation_rules: MutationRules {
            allow_all_routing: rng.percent(20),
            allow_envoy: rng.percent(20),
            disallow_system: shape.small_limits && rng.percent(10),
            disallow_all: shape.small_limits && rng.percent(5),
            disallow_is_error: shape.small_limits && rng.percent(20),
            ..MutationRules::default()
        },
        message_timeout: if shape.small_limits && rng.percent(3) { Duration::ZERO } else { defaults.message_timeout },
        max_headers: if shape.small_limits && rng.percent(10) { 6 } else { defaults.max_headers },
        buffer_limit: if shape.small_limits { 1 + rng.below(200) } else { defaults.buffer_limit },
        ..defaults
    }
}

fn legs(rng: &mut Rng) -> Legs {
    let mut millis = |percent: usize, most: usize| {
        Duration::from_millis(if rng.percent(percent) { rng.below(most) as u64 } else { 0 })
    };
    Legs {
        to_processor: millis(50, 20),
        to_data_plane: millis(50, 20),
        stream_pace: millis(15, 10),
        upstream_pace: millis(15, 50),
        client_pace: millis(15, 50),
    }
}

/// Any instant: only differences count.
pub(crate) fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the start of the virtual clock")]
    Instant::now()
}
