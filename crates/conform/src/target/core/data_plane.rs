//! The smallest data plane around a chain of one filter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bytes::Bytes;
use extproc_core::chain::{Effect, Peer};
use extproc_core::filter::{Forward, HttpEvent, Outgoing, StreamEvent};
use extproc_core::{Direction, FilterChain, Headers, LocalReply, RequestKind, Stats};

use super::facts;
use super::processor::Scripted as Processor;
use super::upstream::{Scripted as Upstream, Taken, list};
use super::{Agenda, Happening};
use crate::peer::{answer, values};
use crate::scenario::{Processor as Script, Scenario};
use crate::target::options::Filter;
use crate::transcript::{End, HeaderList, Logging, Reply, Transcript};

/// Envoy's text for an upstream that refuses connections.
const REFUSED: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";

/// A frame of HTTP/2 without content: what a stream takes that is only opened, but for its headers.
const FRAME: u64 = 9;

/// A chain, its sinks and its sources.
#[derive(Debug)]
pub(super) struct DataPlane<'a> {
    pub(super) agenda: Agenda,
    chain: FilterChain,
    processor: Processor,
    initial_metadata: Vec<(String, String)>,
    upstream: Upstream<'a>,
    client: Reply,
    /// The client's version of HTTP.
    http: u8,
    /// Body parts that came while the chain did not want them, by direction.
    waiting: [VecDeque<HttpEvent>; 2],
    /// The headers that a route is chosen by: those that came, until a processor's change asks to choose again.
    routing: Option<Headers>,
    reroute: bool,
    kind: RequestKind,
    cancelled: bool,
    /// The upstream's response has begun.
    responding: bool,
    client_done: bool,
    /// What the side stream had counted when the client went away is not all: closing counts too.
    gone: bool,
    /// When the client had its response, or went away.
    ended: Option<Duration>,
}

impl<'a> DataPlane<'a> {
    pub(super) fn new(scenario: &'a Scenario, filter: Option<Filter>) -> Self {
        let mut chain = FilterChain::new(filter.iter().map(|it| Arc::clone(&it.config)));
        let reachable = filter.as_ref().is_some_and(|it| it.reachable);
        let script = if reachable { &scenario.processor } else { &Script::Unreachable };
        facts::of_request(&mut chain);
        chain.set_destination(0, "scenario".into());
        if !scenario.metadata.is_empty() {
            chain.merge_metadata(values::metadata(&scenario.metadata));
        }
        if !scenario.upstream.metadata.is_empty() {
            chain.set_cluster_metadata(Arc::new(values::metadata(&scenario.upstream.metadata)));
        }
        Self {
            agenda: Agenda::default(),
            chain,
            processor: Processor::new(script),
            initial_metadata: filter.map(|it| it.initial_metadata).unwrap_or_default(),
            upstream: Upstream::new(scenario),
            client: Reply::default(),
            http: scenario.request.http,
            waiting: Default::default(),
            routing: None,
            reroute: false,
            kind: RequestKind::default(),
            cancelled: false,
            responding: false,
            client_done: false,
            gone: false,
            ended: None,
        }
    }

    /// Whether both directions are through.
    pub(super) fn is_over(&self) -> bool {
        let request_done = self.cancelled || self.chain.is_done(Direction::Request);
        self.gone || self.client_done && request_done
    }

    /// When the next thing happens.
    pub(super) fn next(&self, start: Instant) -> Option<Duration> {
        let deadline = self.chain.poll_timeout().map(|(at, ..)| at.saturating_duration_since(start));
        self.agenda.next_time().into_iter().chain(deadline).min()
    }

    /// When the client had its response, or went away.
    pub(super) fn ended(&self) -> Duration {
        self.ended.unwrap_or_default()
    }

    /// The exchange is over: what goes on is about the side stream.
    pub(super) fn finish(&mut self, at: Instant, now: Duration) -> anyhow::Result<()> {
        self.ended.get_or_insert(now);
        Direction::BOTH.into_iter().for_each(|direction| self.agenda.drop_parts(direction));
        self.chain.finish(at);
        self.settle(at, now)
    }

    /// Lets the next thing happen, or the deadline pass.
    pub(super) fn step(&mut self, at: Instant, now: Duration) -> anyhow::Result<()> {
        if self.agenda.next_time().is_none_or(|next| next > now) {
            self.chain.handle_timeout(at);
            return Ok(());
        }
        match self.agenda.take() {
            Some(Happening::Part(direction, event)) => {
                if let (Direction::Request, HttpEvent::Headers(headers, _)) = (direction, &event) {
                    self.routing = Some(headers.clone());
                    self.kind = RequestKind::of(headers);
                }
                if direction == Direction::Response && !self.responding {
                    facts::of_response(&mut self.chain);
                }
                self.responding |= direction == Direction::Response;
                self.waiting[direction as usize].push_back(event);
            }
            Some(Happening::UpstreamTimeout) if self.responding => {}
            Some(Happening::UpstreamTimeout) => {
                self.agenda.drop_parts(Direction::Response);
                self.respond(at, 504, "upstream request timeout", "response_timeout");
            }
            Some(Happening::UpstreamCut) => self.chain.handle_reset(at, Peer::Upstream),
            Some(Happening::Stream(event)) => {
                if let StreamEvent::Reply(message) = &event {
                    self.chain.count_bytes(0, 0, FRAME + answer::framed_len(&**message) as u64);
                }
                self.chain.handle_stream(at, 0, event);
            }
            // The client has what it wanted.
            Some(Happening::GiveUp) if self.is_over() => {}
            Some(Happening::GiveUp) => {
                self.chain.handle_reset(at, Peer::Downstream);
                self.client.end = End::GaveUp;
                self.gone = true;
            }
            None => {}
        }
        Ok(())
    }

    /// Drains every outlet and feeds what is wanted until nothing moves any more.
    pub(super) fn settle(&mut self, at: Instant, now: Duration) -> anyhow::Result<()> {
        loop {
            let mut moved = self.feed(at)?;
            while let Some(effect) = self.chain.poll_effect() {
                self.obey(effect, now);
                moved = true;
            }
            while let Some(sent) = self.chain.poll_send(0) {
                if let (Outgoing::Message(message), true) = (&sent, self.processor.is_reachable()) {
                    self.chain.count_bytes(0, FRAME + answer::framed_len(&**message) as u64, 0);
                }
                self.processor.take(now, sent, &mut self.agenda)?;
                moved = true;
            }
            while let Some(part) = self.chain.poll_forward(Direction::Request) {
                self.give_upstream(at, now, part)?;
                moved = true;
            }
            while let Some(part) = self.chain.poll_forward(Direction::Response) {
                self.give_client(part, now);
                moved = true;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    pub(super) fn transcript(self, scenario: &Scenario) -> Transcript {
        let metadata = self.chain.metadata().namespaces();
        let metadata = metadata.map(|(name, it)| (name.to_owned(), values::values_text(it))).collect();
        let stats = if self.chain.is_empty() { Stats::default() } else { *self.chain.stats(0) };
        let counters = Stats::NAMES.iter().zip(stats.values()).filter(|(_, value)| *value > 0);
        Transcript {
            counters: counters.map(|(name, value)| ((*name).to_owned(), value)).collect(),
            details: self.chain.details().map(str::to_owned),
            stream: scenario.watch.and_then(|_| self.processor.stream_end(self.ended())),
            logging: scenario.logging.then(|| Logging::of(self.chain.logging(0))),
            processor: self.processor.into_messages(),
            upstream: self.upstream.into_received(),
            client: self.client,
            metadata,
            load: None,
            call: if stats.streams_started > 0 { self.initial_metadata.into_iter().collect() } else { BTreeMap::new() },
        }
    }

    fn feed(&mut self, at: Instant) -> anyhow::Result<bool> {
        let mut moved = false;
        for direction in Direction::BOTH {
            let queue = &mut self.waiting[direction as usize];
            while let Some(next) = queue.front() {
                let is_body = matches!(next, HttpEvent::Data(..) | HttpEvent::Trailers(_));
                if is_body && !self.chain.wants(direction) {
                    break;
                }
                let Some(event) = queue.pop_front() else { break };
                self.chain.handle_http(at, direction, event).map_err(|misuse| anyhow!("{direction:?}: {misuse}"))?;
                moved = true;
            }
        }
        Ok(moved)
    }

    fn obey(&mut self, effect: Effect, now: Duration) {
        match effect {
            Effect::OpenStream(_) => {
                if self.processor.open(now, &mut self.agenda) {
                    self.chain.count_bytes(0, FRAME, FRAME);
                }
            }
            Effect::ResetStream(_) => {
                self.agenda.drop_stream();
                self.processor.reset(now);
            }
            Effect::RecomputeRoute => self.reroute = true,
            Effect::CancelUpstream => {
                self.cancelled = true;
                // The request is fed on as far as it is wanted: a processor that streams a reply may read it.
                self.agenda.drop_parts(Direction::Response);
                self.waiting[Direction::Response as usize].clear();
            }
            Effect::ResetDownstream => {
                self.client.end = End::Cut;
                self.gone = true;
            }
        }
    }

    fn give_upstream(&mut self, at: Instant, now: Duration, part: Forward) -> anyhow::Result<()> {
        if self.cancelled {
            return Ok(());
        }
        if let Forward::Headers(headers, _) = &part
            && (self.reroute || self.routing.is_none())
        {
            self.routing = Some(headers.clone());
        }
        let routing = self.routing.clone().unwrap_or_default();
        match self.upstream.take(now, part, &routing, &mut self.agenda)? {
            Taken::Well => {}
            Taken::Unreachable => self.respond(at, 503, REFUSED, "upstream_reset_before_response_started"),
            Taken::Unrouted => self.respond(at, 404, "", "route_not_found"),
        }
        Ok(())
    }

    /// The data plane answers in place of the upstream.
    fn respond(&mut self, at: Instant, status: u16, body: &'static str, details: &str) {
        let reply = LocalReply::new(self.kind, status, Bytes::from_static(body.as_bytes()), details);
        self.chain.respond(at, reply);
    }

    fn give_client(&mut self, part: Forward, now: Duration) {
        let is_end = match part {
            Forward::Headers(headers, is_end) => {
                self.client.status = headers.status();
                self.client.headers = list(&headers);
                self.client.headers.retain(|(name, _)| !name.starts_with(':'));
                let may_have_body = !self.kind.head && !matches!(self.client.status, Some(204 | 304));
                if self.http == 1 && is_end && may_have_body {
                    say_empty(&mut self.client.headers);
                }
                is_end
            }
            Forward::Data(data, is_end) => {
                self.client.body = [&self.client.body[..], &data].concat().into();
                is_end
            }
            Forward::Trailers(trailers) => {
                self.client.trailers = list(&trailers);
                true
            }
        };
        if is_end && !self.gone {
            self.client.end = End::Complete;
            self.client_done = true;
            self.ended.get_or_insert(now);
        }
    }
}

/// What a codec of HTTP/1 writes into a message without a body that might have one.
pub(super) fn say_empty(headers: &mut HeaderList) {
    if !headers.iter().any(|(name, _)| name == "content-length") {
        headers.push(("content-length".to_owned(), "0".to_owned()));
    }
}
