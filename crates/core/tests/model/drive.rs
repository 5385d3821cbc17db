//! Plays a script to the filter and to the model, and compares them after every step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_core::filter::{Forward, GrpcStatus, HttpEvent, Outgoing, StreamEvent, Timer};
use extproc_core::{Config, Direction, FilterChain, LocalReply, Options, RequestKind, Stats};
use extproc_proto::processing_request::Request;
use extproc_proto::{HeaderMap, ProcessingRequest};

use crate::mutate::{map_of, text};
use crate::predict::{Model, Source, Token, at};
use crate::script::{Script, Step};

pub(crate) struct Play {
    chain: FilterChain,
    pub(crate) model: Model,
    start: Instant,
    now: Instant,
}

/// What can be seen of an exchange between two steps.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    effects: Vec<String>,
    sent: Vec<String>,
    forwarded: Vec<Token>,
    deadline: Option<(u64, Direction)>,
    wants: [bool; 2],
    done: [bool; 2],
    has_outgoing: bool,
    details: Option<String>,
    stats: Stats,
}

impl Play {
    pub(crate) fn new(script: &Script) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the start of the virtual clock")]
        let start = Instant::now();
        let model = Model::new(script.config.options());
        // How long a closed stream may linger is not the model's business.
        let options = Options { remote_close_timeout: Duration::from_secs(1 << 30), ..script.config.options().clone() };
        let config = Arc::new(Config::new(options).unwrap());
        Self { chain: FilterChain::new([config]), model, start, now: start }
    }

    /// Plays the whole script.
    pub(crate) fn run(script: &Script) -> Result<(), String> {
        let mut play = Self::new(script);
        for (number, step) in script.steps.iter().enumerate() {
            play.step(step).map_err(|error| format!("step {number}, {}: {error}", step.print()))?;
        }
        Ok(())
    }

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        let (mut sent, mut forwarded) = (Vec::new(), Vec::new());
        let (mut really_sent, mut really_forwarded) = (Vec::new(), Vec::new());
        match step {
            Step::Headers(direction, _, end) | Step::Data(direction, _, end) => {
                self.feed(*direction, step.event().unwrap(), *end)?;
            }
            Step::Trailers(direction, _) => self.feed(*direction, step.event().unwrap(), true)?,
            Step::Reply(message) => {
                self.chain.handle_stream(self.now, 0, StreamEvent::Reply(message.clone()));
                self.model.on_reply(message);
            }
            Step::Closed(code) => {
                let status = |code| GrpcStatus { code, message: "it broke".to_owned() };
                let result = code.map_or(Ok(()), |code| Err(status(code)));
                self.chain.handle_stream(self.now, 0, StreamEvent::Closed(result.clone()));
                self.model.on_closed(result);
            }
            Step::Wait(millis) => self.advance(self.model.now + millis),
            Step::Timeout => {
                if let Some((when, _)) = self.model.deadline() {
                    self.advance(when.max(self.model.now));
                }
            }
            Step::TakeMessages => {
                while let Some(outgoing) = self.chain.poll_send(0) {
                    really_sent.push(message_text(&outgoing)?);
                }
                sent = self.model.take_messages();
            }
            Step::Take(direction) => {
                while let Some(part) = self.chain.poll_forward(*direction) {
                    push_part(&mut really_forwarded, part)?;
                }
                for token in self.model.lanes[at(*direction)].take() {
                    push_token(&mut forwarded, token);
                }
            }
            Step::Respond(status, body) => {
                let kind = RequestKind::default();
                let reply = LocalReply::new(kind, *status, Bytes::from(body.clone()), "data_plane");
                self.chain.respond(self.now, reply);
                self.model.respond(*status, body);
            }
            Step::GiveUp(by) => {
                self.chain.handle_reset(self.now, *by);
                self.model.give_up(*by);
            }
            Step::Finish => {
                self.chain.finish(self.now);
                self.model.finish();
            }
        }
        self.compare((sent, forwarded), (really_sent, really_forwarded))
    }

    /// Feeds an event, or finds that it cannot come now.
    fn feed(&mut self, direction: Direction, event: HttpEvent, end: bool) -> Result<(), String> {
        let begins = matches!(event, HttpEvent::Headers(..));
        let lane = &self.model.lanes[at(direction)];
        let possible = lane.source == if begins { Source::Start } else { Source::Open };
        let misuse = !lane.closed && !possible;
        let fed = self.chain.handle_http(self.now, direction, event.clone());
        if fed.is_err() != misuse {
            return Err(format!("the filter says {fed:?}, the model says misuse: {misuse}"));
        }
        if misuse || !self.model.accepts(direction, end) {
            return Ok(());
        }
        match event {
            HttpEvent::Headers(headers, end) => self.model.feed_headers(direction, map_of(&headers), end),
            HttpEvent::Data(data, end) => self.model.feed_data(direction, data.to_vec(), end),
            HttpEvent::Trailers(trailers) => self.model.feed_trailers(direction, map_of(&trailers)),
        }
        Ok(())
    }

    /// Time goes on; a deadline that passes is told.
    fn advance(&mut self, to: u64) {
        self.model.now = to;
        self.now = self.start + Duration::from_millis(to);
        self.chain.handle_timeout(self.now);
        self.model.on_time();
    }

    fn compare(&mut self, model: (Vec<String>, Vec<Token>), filter: (Vec<String>, Vec<Token>)) -> Result<(), String> {
        let mut effects = Vec::new();
        while let Some(effect) = self.chain.poll_effect() {
            effects.push(format!("{effect:?}"));
        }
        let since = |at: Instant| u64::try_from(at.duration_since(self.start).as_millis()).unwrap();
        let deadline = self.chain.poll_timeout().and_then(|(at, _, timer)| match timer {
            Timer::Message(it) => Some((since(at), it)),
            Timer::RemoteClose => None,
            Timer::StreamedReply | Timer::Stalled | Timer::DeferredClose => panic!("no script here has {timer:?}"),
        });
        let filter = Seen {
            effects,
            sent: filter.0,
            forwarded: filter.1,
            deadline,
            wants: Direction::BOTH.map(|direction| self.chain.wants(direction)),
            done: Direction::BOTH.map(|direction| self.chain.is_done(direction)),
            has_outgoing: self.chain.has_outgoing(),
            details: self.chain.details().map(str::to_owned),
            stats: *self.chain.stats(0),
        };
        let model = Seen {
            effects: std::mem::take(&mut self.model.effects),
            sent: model.0,
            forwarded: model.1,
            deadline: self.model.deadline(),
            wants: Direction::BOTH.map(|direction| self.model.wants(direction)),
            done: Direction::BOTH.map(|direction| self.model.lanes[at(direction)].done),
            has_outgoing: !self.model.to_processor.is_empty(),
            details: self.model.details.clone(),
            stats: self.model.stats,
        };
        if filter == model { Ok(()) } else { Err(difference(&filter, &model)) }
    }
}

fn difference(filter: &Seen, model: &Seen) -> String {
    let mut text = String::new();
    let mut compare = |what: &str, filter: &dyn std::fmt::Debug, model: &dyn std::fmt::Debug| {
        let (filter, model) = (format!("{filter:?}"), format!("{model:?}"));
        if filter != model {
            text += &format!("\n    {what}: the filter has {filter}, the model {model}");
        }
    };
    compare("effects", &filter.effects, &model.effects);
    compare("sent", &filter.sent, &model.sent);
    compare("forwarded", &filter.forwarded, &model.forwarded);
    compare("deadline", &filter.deadline, &model.deadline);
    compare("wants", &filter.wants, &model.wants);
    compare("done", &filter.done, &model.done);
    compare("has_outgoing", &filter.has_outgoing, &model.has_outgoing);
    compare("details", &filter.details, &model.details);
    for (name, (filter, model)) in Stats::NAMES.iter().zip(filter.stats.values().iter().zip(model.stats.values())) {
        compare(name, filter, &model);
    }
    text
}

/// Adjacent data is one piece: where it is cut does not matter.
fn push_token(tokens: &mut Vec<Token>, token: Token) {
    match (tokens.last_mut(), token) {
        (Some(Token::Data(before)), Token::Data(data)) => before.extend(data),
        (_, Token::Headers(mut map, end)) => {
            map.sort_by(|a, b| a.0.cmp(&b.0));
            tokens.push(Token::Headers(map, end));
        }
        (_, Token::Trailers(mut map)) => {
            map.sort_by(|a, b| a.0.cmp(&b.0));
            tokens.push(Token::Trailers(map));
        }
        (_, token) => tokens.push(token),
    }
}

fn push_part(tokens: &mut Vec<Token>, part: Forward) -> Result<(), String> {
    match part {
        Forward::Headers(headers, end) => push_token(tokens, Token::Headers(map_of(&headers), end)),
        Forward::Data(data, false) if data.is_empty() => return Err("an empty piece in the middle".to_owned()),
        Forward::Data(data, end) => {
            if !data.is_empty() {
                push_token(tokens, Token::Data(data.to_vec()));
            }
            if end {
                push_token(tokens, Token::End);
            }
        }
        Forward::Trailers(trailers) => push_token(tokens, Token::Trailers(map_of(&trailers))),
    }
    Ok(())
}

/// A message as the model writes it.
fn message_text(outgoing: &Outgoing) -> Result<String, String> {
    let message = match outgoing {
        Outgoing::HalfClose => return Ok("half-close".to_owned()),
        Outgoing::Message(message) => message,
    };
    let ProcessingRequest { request, observability_mode, protocol_config, flow_control_init, .. } = &**message;
    if *observability_mode || flow_control_init.is_some() || message.client_window_update.is_some() {
        return Err(format!("a message says what it must not: {message:?}"));
    }
    let map = |map: &Option<HeaderMap>| {
        let pairs = map.iter().flat_map(|map| &map.headers);
        let pairs = pairs.map(|header| {
            let value = if header.raw_value.is_empty() { &header.value } else { &header.raw_value };
            (String::from_utf8_lossy(&header.key).into_owned(), value.to_vec())
        });
        text(&pairs.collect())
    };
    let last = |end: bool| if end { " !" } else { "" };
    let mut line = match request {
        Some(Request::RequestHeaders(it)) => {
            format!("Request headers [{}]{}", map(&it.headers), last(it.end_of_stream))
        }
        Some(Request::ResponseHeaders(it)) => {
            format!("Response headers [{}]{}", map(&it.headers), last(it.end_of_stream))
        }
        Some(Request::RequestBody(it)) => {
            format!("Request body {}{}", it.body.escape_ascii(), last(it.end_of_stream))
        }
        Some(Request::ResponseBody(it)) => {
            format!("Response body {}{}", it.body.escape_ascii(), last(it.end_of_stream))
        }
        Some(Request::RequestTrailers(it)) => format!("Request trailers [{}]", map(&it.trailers)),
        Some(Request::ResponseTrailers(it)) => format!("Response trailers [{}]", map(&it.trailers)),
        None => return Err(format!("a message that says nothing: {message:?}")),
    };
    if let Some(config) = protocol_config {
        let mode = |number: i32| {
            use extproc_core::BodyMode::{Buffered, BufferedPartial, FullDuplexStreamed, Grpc, None, Streamed};
            [None, Streamed, Buffered, BufferedPartial, FullDuplexStreamed, Grpc][usize::try_from(number).unwrap()]
        };
        let early = config.send_body_without_waiting_for_header_response;
        line += &format!(" first({:?} {:?} {early})", mode(config.request_body_mode), mode(config.response_body_mode));
    }
    Ok(line)
}
