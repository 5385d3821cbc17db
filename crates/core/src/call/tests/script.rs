//! A call played from a script.
//!
//! Inputs: `D.` the client, `U.` the server, `P.` the processor, `T` the time.
//!
//! ```text
//! D.head D.head=k:v,k:v  D.msg=text  D.end  D.cancel        a text `#70000` is a message of that many bytes
//! U.head U.head=k:v  U.msg=text  U.end U.end=5 U.end=0,k:v  U.only=10  U.fail=14  U.refuse
//! P.qh P.qh=+k:v,:k:v,-k  P.qb=text P.qb=text! P.qb=!!  P.sh P.sb=text P.st P.none
//! P.imm=10 P.imm=10,+k:v  P.ok P.err=14 P.open=why  and behind any answer &drain &drainq &drains &win=1,2
//! T=100 milliseconds go by     block=u free=u for sinks p, u, d
//! ```
//!
//! Outputs: `open`, `reset`, `cancel`; `p:` what the processor gets (`p:close` the half-close), `u:` the server, `d:` the client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_proto::body_mutation::Mutation as BodyMutation;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::{Response, ServerWindowUpdate};
use extproc_proto::{
    BodyMutation as WireBody, BodyResponse, CommonResponse, GrpcStatus as WireStatus, HeaderMutation, HeaderValue,
    HeaderValueOption, HeadersResponse, ImmediateResponse, ProcessingRequest, ProcessingResponse, StreamedBodyResponse,
    TrailersResponse,
};

use crate::call::{
    Call, Config, Effect, Measure, Message, Options, RequestEvent, RequestPart, ResponseEvent, ResponsePart, Status,
};
use crate::config::FlowControl;
use crate::filter::{GrpcStatus, Outgoing, StreamEvent};
use crate::headers::{Name, Value};
use crate::{BodyMode, Direction, Headers, ProcessingMode};

/// Plays a script and compares every line.
#[track_caller]
pub(super) fn check(row: &str, config: &str, script: &str) -> Player {
    let mut player = Player::new(options(config));
    player.shows_credit = config.contains("credit");
    player.play(row, script);
    player
}

#[track_caller]
pub(super) fn check_with(row: &str, options: Options, script: &str) -> Player {
    let mut player = Player::new(options);
    player.play(row, script);
    player
}

/// `SGSGS` is request headers, request body, response headers, response body, response trailers: `S` SEND, `K` SKIP, `G`
/// GRPC, `N` NONE, `*` what makes least noise. Words behind it are options.
pub(super) fn options(config: &str) -> Options {
    let mut words = config.split_whitespace();
    let modes: Vec<_> = words.next().unwrap().chars().collect();
    let sends = |at: usize| modes[at] == 'S';
    let body = |at: usize| if modes[at] == 'G' { BodyMode::Grpc } else { BodyMode::None };
    let mut options = Options {
        processing_mode: ProcessingMode {
            request_headers: sends(0),
            request_body: body(1),
            response_headers: sends(2),
            response_body: body(3),
            response_trailers: sends(4),
            request_trailers: false,
        },
        flow_control: FlowControl::Required,
        ..Options::default()
    };
    for word in words {
        match word {
            "fma" => options.failure_mode_allow = true,
            "obs" => options.observability_mode = true,
            "noimm" => options.disable_immediate_response = true,
            "auto" => options.flow_control = FlowControl::Auto,
            "off" => options.flow_control = FlowControl::Off,
            // For the player.
            "credit" => {}
            "error" => options.mutation_rules.disallow_is_error = true,
            "nothing" => options.mutation_rules.disallow_all = true,
            _ => {
                let (key, value) = word.split_once('=').unwrap();
                match key {
                    "allow" => options.mutation_rules.allow_expression = Some(regex::Regex::new(value).unwrap()),
                    "disallow" => options.mutation_rules.disallow_expression = Some(regex::Regex::new(value).unwrap()),
                    "qa" => options.request_attributes = value.split(',').map(str::to_owned).collect(),
                    "sa" => options.response_attributes = value.split(',').map(str::to_owned).collect(),
                    "timeout" => options.stream_timeout = Some(Duration::from_millis(value.parse().unwrap())),
                    "deferred" => options.deferred_close_timeout = Duration::from_millis(value.parse().unwrap()),
                    _ => panic!("no option {word}"),
                }
            }
        }
    }
    options
}

pub(super) struct Player {
    pub(super) call: Call,
    pub(super) now: Instant,
    /// What the processor got, as it is on the wire.
    pub(super) sent: Vec<ProcessingRequest>,
    pub(super) measured: Vec<(Measure, Duration)>,
    pub(super) upstream_headers: Option<Headers>,
    pub(super) status: Option<Status>,
    /// The last headers or trailers that the client got.
    pub(super) client_headers: Option<Headers>,
    blocked: Vec<char>,
    /// Whether outputs show the room that the processor is given: `p:sb=a+10,20`, `p:win+10,20`.
    pub(super) shows_credit: bool,
}

impl Player {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start")]
    pub(super) fn new(options: Options) -> Self {
        Self {
            call: Call::new(Arc::new(Config::new(options).unwrap())),
            now: Instant::now(),
            sent: Vec::new(),
            measured: Vec::new(),
            upstream_headers: None,
            status: None,
            client_headers: None,
            blocked: Vec::new(),
            shows_credit: false,
        }
    }

    #[track_caller]
    pub(super) fn play(&mut self, row: &str, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (inputs, expected) = line.split_once("=>").unwrap_or((line, ""));
            inputs.split_whitespace().for_each(|input| self.input(input));
            let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(self.outputs().join(" "), expected, "{row}: {line}");
        }
    }

    pub(super) fn wants(&self) -> (bool, bool, bool) {
        (self.call.wants(Direction::Request), self.call.wants(Direction::Response), self.call.wants_stream())
    }

    pub(super) fn input(&mut self, input: &str) {
        let (what, of) = input.split_once('=').unwrap_or((input, ""));
        let now = self.now;
        match what {
            "T" => {
                self.now += Duration::from_millis(of.parse().unwrap());
                self.call.handle_timeout(self.now);
            }
            "block" => self.blocked.extend(of.chars()),
            "free" => self.blocked.retain(|sink| !of.contains(*sink)),
            "D.head" => self.request(RequestEvent::Headers(request_headers(of))),
            "D.msg" => self.request(RequestEvent::Message(Message::new(text(of)))),
            "D.end" => self.request(RequestEvent::HalfClose),
            "D.cancel" => self.call.handle_cancel(),
            "U.head" => self.response(ResponseEvent::Headers(response_headers(of))),
            "U.msg" => self.response(ResponseEvent::Message(Message::new(text(of)))),
            "U.end" => self.response(ResponseEvent::Trailers(trailers(of))),
            "U.only" => {
                let mut headers = response_headers("");
                headers.extend(trailers(of));
                self.response(ResponseEvent::TrailersOnly(headers));
            }
            "U.fail" => {
                let status = Status { code: of.parse().unwrap(), ..Status::default() };
                self.response(ResponseEvent::Failed(status));
            }
            "U.refuse" => self.call.handle_request_refused(),
            "P.ok" => self.call.handle_stream(now, StreamEvent::Closed(Ok(()))),
            "P.err" => {
                let status = GrpcStatus { code: of.parse().unwrap(), message: "gone".to_owned() };
                self.call.handle_stream(now, StreamEvent::Closed(Err(status)));
            }
            "P.open" => self.call.handle_open_failure(now, of),
            _ => self.reply(answer(input)),
        }
    }

    pub(super) fn reply(&mut self, reply: ProcessingResponse) {
        self.call.handle_stream(self.now, StreamEvent::Reply(Box::new(reply)));
    }

    pub(super) fn request(&mut self, event: RequestEvent) {
        self.call.handle_request(self.now, event).unwrap();
    }

    pub(super) fn response(&mut self, event: ResponseEvent) {
        self.call.handle_response(self.now, event).unwrap();
    }

    pub(super) fn outputs(&mut self) -> Vec<String> {
        let mut outputs = Vec::new();
        loop {
            let before = outputs.len();
            while let Some(effect) = self.call.poll_effect() {
                match effect {
                    Effect::OpenStream => outputs.push("open".to_owned()),
                    Effect::ResetStream => outputs.push("reset".to_owned()),
                    Effect::CancelUpstream => outputs.push("cancel".to_owned()),
                    Effect::Proceeded(measure, after) => self.measured.push((measure, after)),
                }
            }
            while !self.blocked.contains(&'p')
                && let Some(outgoing) = self.call.poll_send()
            {
                let text = self.outgoing(outgoing);
                if text != "win" {
                    outputs.push(format!("p:{text}"));
                }
            }
            while !self.blocked.contains(&'u')
                && let Some(part) = self.call.poll_request()
            {
                outputs.push(format!("u:{}", self.request_part(part)));
            }
            while !self.blocked.contains(&'d')
                && let Some(part) = self.call.poll_response()
            {
                outputs.push(format!("d:{}", self.response_part(part)));
            }
            if outputs.len() == before {
                return outputs;
            }
        }
    }

    fn outgoing(&mut self, outgoing: Outgoing) -> String {
        let Outgoing::Message(message) = outgoing else { return "close".to_owned() };
        let body = |direction: &str, body: &extproc_proto::HttpBody| match () {
            () if body.drain_complete => format!("{direction}drained"),
            () if body.end_of_stream_without_message => format!("{direction}b!!"),
            () if body.end_of_stream => format!("{direction}b={}!", shown(&body.body)),
            () => format!("{direction}b={}", shown(&body.body)),
        };
        let mut text = match &message.request {
            Some(Request::RequestHeaders(_)) => "qh".to_owned(),
            Some(Request::ResponseHeaders(headers)) => if headers.end_of_stream { "sh!" } else { "sh" }.to_owned(),
            Some(Request::RequestBody(it)) => body("q", it),
            Some(Request::ResponseBody(it)) => body("s", it),
            Some(Request::RequestTrailers(_)) => "qt".to_owned(),
            Some(Request::ResponseTrailers(_)) => "st".to_owned(),
            None => "win".to_owned(),
        };
        if let Some(update) = message.client_window_update.as_ref().filter(|_| self.shows_credit) {
            let (request, response) =
                (update.window_increment_sidestream_to_upstream, update.window_increment_sidestream_to_downstream);
            text.push_str(&format!("+{request},{response}"));
        }
        self.sent.push(*message);
        text
    }

    fn request_part(&mut self, part: RequestPart) -> String {
        match part {
            RequestPart::Headers(headers) => {
                let text = format!("head{}", added(&headers));
                self.upstream_headers = Some(headers);
                text
            }
            RequestPart::Message(message) => format!("msg={}", shown(&message.body)),
            RequestPart::HalfClose => "end".to_owned(),
        }
    }

    fn response_part(&mut self, part: ResponsePart) -> String {
        let status = |headers: &Headers| headers.get_str("grpc-status").unwrap_or("none").to_owned();
        match part {
            ResponsePart::Headers(headers) => {
                let text = format!("head{}", added(&headers));
                self.client_headers = Some(headers);
                text
            }
            ResponsePart::Message(message) => format!("msg={}", shown(&message.body)),
            ResponsePart::Trailers(trailers) => {
                let text = format!("end={}{}", status(&trailers), added(&trailers));
                self.client_headers = Some(trailers);
                text
            }
            ResponsePart::TrailersOnly(headers) => {
                let text = format!("only={}{}", status(&headers), added(&headers));
                self.client_headers = Some(headers);
                text
            }
            ResponsePart::Status(status) => {
                let text = format!("status={}{}", status.code, added(&status.trailers));
                self.status = Some(status);
                text
            }
        }
    }
}

/// A message of the processor.
pub(super) fn answer(text: &str) -> ProcessingResponse {
    let mut parts = text.split('&');
    let (what, of) = parts.next().map(|first| first.split_once('=').unwrap_or((first, ""))).unwrap();
    let headers = || HeadersResponse {
        response: Some(CommonResponse { header_mutation: mutation(of), ..CommonResponse::default() }),
    };
    let response = match what {
        "P.qh" => Some(Response::RequestHeaders(headers())),
        "P.sh" => Some(Response::ResponseHeaders(headers())),
        "P.st" => Some(Response::ResponseTrailers(TrailersResponse { header_mutation: mutation(of) })),
        "P.qb" => Some(Response::RequestBody(body(piece(of)))),
        "P.sb" => Some(Response::ResponseBody(body(piece(of)))),
        "P.imm" => {
            let (code, change) = of.split_once(',').unwrap_or((of, ""));
            let grpc_status = code.parse().ok().map(|status| WireStatus { status });
            let details = "why".to_owned();
            let immediate =
                ImmediateResponse { grpc_status, details, headers: mutation(change), ..ImmediateResponse::default() };
            Some(Response::ImmediateResponse(immediate))
        }
        "P.none" => None,
        other => panic!("no input {other}"),
    };
    let mut reply = ProcessingResponse { response, ..ProcessingResponse::default() };
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("drain", _) => reply.request_drain = true,
            ("drainq", _) => reply.request_drain_requests = true,
            ("drains", _) => reply.request_drain_responses = true,
            ("win", increments) => {
                let (request, response) = increments.split_once(',').unwrap();
                reply.server_window_update = Some(ServerWindowUpdate {
                    window_increment_downstream_to_sidestream: request.parse().unwrap(),
                    window_increment_upstream_to_sidestream: response.parse().unwrap(),
                });
            }
            other => panic!("no mark {other:?}"),
        }
    }
    reply
}

pub(super) fn body(piece: StreamedBodyResponse) -> BodyResponse {
    let mutation = WireBody { mutation: Some(BodyMutation::StreamedResponse(piece)) };
    BodyResponse { response: Some(CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() }) }
}

/// `text`, `text!` with the end, `!!` the end alone, `drained`.
fn piece(of: &str) -> StreamedBodyResponse {
    let piece = StreamedBodyResponse::default();
    match of {
        "drained" => StreamedBodyResponse { drain_complete: true, ..piece },
        "!!" => StreamedBodyResponse { end_of_stream: true, end_of_stream_without_message: true, ..piece },
        _ => match of.strip_suffix('!') {
            Some(of) => StreamedBodyResponse { body: text(of), end_of_stream: true, ..piece },
            None => StreamedBodyResponse { body: text(of), ..piece },
        },
    }
}

/// `+k:v` with the default action, `:k:v` overwrites, `-k` removes.
fn mutation(of: &str) -> Option<HeaderMutation> {
    if of.is_empty() {
        return None;
    }
    let mut mutation = HeaderMutation::default();
    for change in of.split(',') {
        let (sign, rest) = change.split_at(1);
        match sign {
            "-" => mutation.remove_headers.push(rest.to_owned()),
            "+" | ":" => mutation.set_headers.push(set(rest, if sign == ":" { 2 } else { 0 })),
            _ => panic!("no change {change}"),
        }
    }
    Some(mutation)
}

pub(super) fn set(of: &str, append_action: i32) -> HeaderValueOption {
    let (key, value) = of.rsplit_once(':').unwrap();
    let (key, raw_value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    let header = Some(HeaderValue { key, raw_value, ..HeaderValue::default() });
    HeaderValueOption { header, append_action, ..HeaderValueOption::default() }
}

fn text(of: &str) -> Bytes {
    match of.strip_prefix('#') {
        Some(len) => vec![b'.'; len.parse().unwrap()].into(),
        None => Bytes::copy_from_slice(of.as_bytes()),
    }
}

fn shown(body: &Bytes) -> String {
    if body.len() > 20 { format!("#{}", body.len()) } else { String::from_utf8_lossy(body).into_owned() }
}

pub(super) fn headers(entries: &[(&str, &str)]) -> Headers {
    entries
        .iter()
        .map(|(name, value)| {
            (Name::parse((*name).to_owned()).unwrap(), Value::parse(value.as_bytes().to_vec()).unwrap())
        })
        .collect()
}

fn with(entries: &[(&str, &str)], more: &str) -> Headers {
    let mut all = headers(entries);
    let more: Vec<_> = more.split(',').filter_map(|entry| entry.split_once(':')).collect();
    all.extend(headers(&more));
    all
}

fn request_headers(more: &str) -> Headers {
    let all = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "ex.com"),
        (":path", "/pkg.Service/Method"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    with(&all, more)
}

fn response_headers(more: &str) -> Headers {
    with(&[(":status", "200"), ("content-type", "application/grpc")], more)
}

fn trailers(of: &str) -> Headers {
    let (status, more) = of.split_once(',').unwrap_or((of, ""));
    with(&[("grpc-status", if status.is_empty() { "0" } else { status })], more)
}

/// What is not in every map.
fn added(headers: &Headers) -> String {
    let usual = [":method", ":scheme", ":authority", ":path", ":status", "te", "content-type", "grpc-status"];
    let added = headers.iter().filter(|(name, _)| !usual.contains(&name.as_str()));
    let added: Vec<_> =
        added.map(|(name, value)| format!("{}:{}", name.as_str(), value.to_str().unwrap_or("?"))).collect();
    if added.is_empty() { String::new() } else { format!("={}", added.join(",")) }
}
