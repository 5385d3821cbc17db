//! Both ends of the protocol in memory, under a clock that the caller moves.
//!
//! A [`Pair`] is one HTTP exchange: a [`FilterChain`] between a scripted client and a scripted upstream, every filter's
//! side stream joined with a [`Processor`]. Nothing waits; time goes straight to the next thing that happens, so a run
//! over hours takes microseconds and the same input always gives the same [`Outcome`].
//!
//! ```text
//! client Script --> +-------------+ --> upstream Script
//!                   | FilterChain |
//!        the client <-- +-------------+ <-- its answer
//!                    |  ^   |  ^
//!              Legs  v  |   v  |
//!               Processor  Processor
//! ```
//!
//! Use it to test a processor against a data plane with Envoy's behaviour, or a data plane's rules against processors
//! that may do anything.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use extproc_core::headers::{Name, Value};
//! use extproc_core::pair::{Begin, Ending, Pair, Processor, Script, Silent, Upstream};
//! use extproc_core::{Config, Headers, Options};
//!
//! let one = |name, value| -> Headers { [(Name::from_static(name), Value::from_static(value))].into_iter().collect() };
//! // The default: both headers go to the processor, which has 200 ms to answer.
//! let config = Arc::new(Config::new(Options::default())?);
//! let filters = [(config, Box::new(Silent) as Box<dyn Processor>)];
//! let outcome = Pair::new(Instant::now(), filters)
//!     .client(Script::message(one(":method", "GET"), [], None))
//!     .upstream(Upstream::new(Begin::AtEnd, Script::message(one(":status", "200"), [], None)))
//!     .run();
//!
//! assert_eq!((outcome.ending, outcome.response.status()), (Ending::Complete, Some(504)), "{}", outcome.print());
//! assert_eq!(outcome.stats[0].message_timeouts, 1);
//! assert!(outcome.log.iter().any(|(at, _)| *at == Duration::from_millis(200)));
//! # Ok::<(), extproc_core::ConfigError>(())
//! ```

mod log;
mod processor;
mod queue;
mod script;
#[cfg(test)]
mod tests;
mod with_session;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use log::{Ending, Entry, Outcome, Said, Seen};
pub use processor::{Continue, Processor, Replies, Silent, said_by_data_plane, said_by_processor};
pub use script::{Begin, Script, Upstream};
pub use with_session::{Author, WithSession};

use crate::chain::{Effect, Peer};
use crate::filter::{Forward, Outgoing, StreamEvent};
use crate::{Config, Direction, FilterChain, LocalReply, Stats};
use queue::Queue;
use script::Act;

/// One exchange with everybody who takes part in it. See the [module](self).
#[derive(Debug)]
pub struct Pair {
    chain: FilterChain,
    streams: Vec<Stream>,
    client: Source,
    upstream: Source,
    begin: Begin,
    legs: Legs,
    sinks: [Sink; 2],
    start: Instant,
    now: Instant,
    queue: Queue<Happening>,
    log: Vec<(Duration, Entry)>,
    ending: Option<Ending>,
    early_finish: bool,
}

/// How long things are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Legs {
    /// From the data plane to a processor.
    pub to_processor: Duration,
    /// From a processor to the data plane.
    pub to_data_plane: Duration,
    /// How long a side stream needs before it can take the next message; zero takes all at once.
    pub stream_pace: Duration,
    /// How long the upstream needs before it can take the next part; zero takes all at once.
    pub upstream_pace: Duration,
    /// How long the client needs before it can take the next part; zero takes all at once.
    pub client_pace: Duration,
}

/// The side stream of one filter.
#[derive(Debug)]
struct Stream {
    processor: Box<dyn Processor>,
    over: bool,
    /// It can take the next message.
    ready: bool,
    /// The streams keep their order, whatever the delays.
    last_arrival: Instant,
}

/// Who feeds a direction.
#[derive(Debug)]
struct Source {
    script: Script,
    /// The next act is due: it waits only for `wants`.
    ready: bool,
    stopped: bool,
}

/// Who takes the parts of a direction.
#[derive(Clone, Copy, Debug)]
struct Sink {
    pace: Duration,
    ready: bool,
}

#[derive(Debug)]
enum Happening {
    /// The next act of the source of this direction is due.
    Due(Direction),
    /// The sink of this direction can take the next part.
    Ready(Direction),
    /// The side stream of this filter can take the next message.
    StreamReady(usize),
    ToProcessor(usize, Outgoing),
    ToDataPlane(usize, StreamEvent),
}

/// Far more outlet items than any exchange has: beyond it an outlet never dries up.
const DRAIN_LIMIT: usize = 100_000;

impl Pair {
    /// An exchange that begins at `start`, any instant. Without filters, client or upstream so far.
    #[must_use]
    pub fn new(start: Instant, filters: impl IntoIterator<Item = (Arc<Config>, Box<dyn Processor>)>) -> Self {
        let (configs, processors): (Vec<_>, Vec<_>) = filters.into_iter().unzip();
        let stream = |processor| Stream { processor, over: false, ready: true, last_arrival: start };
        Self {
            chain: FilterChain::new(configs),
            streams: processors.into_iter().map(stream).collect(),
            client: Source::new(Script::new()),
            upstream: Source::new(Script::new()),
            begin: Begin::AtEnd,
            legs: Legs::default(),
            sinks: [Sink { pace: Duration::ZERO, ready: true }; 2],
            start,
            now: start,
            queue: Queue::new(),
            log: Vec::new(),
            ending: None,
            early_finish: false,
        }
    }

    /// What the client sends.
    #[must_use]
    pub fn client(mut self, script: Script) -> Self {
        self.client = Source::new(script);
        self
    }

    /// What the upstream answers.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.begin = upstream.begin;
        self.upstream = Source::new(upstream.script);
        self
    }

    /// How long things are under way. Default: no time at all.
    #[must_use]
    pub fn legs(mut self, legs: Legs) -> Self {
        self.legs = legs;
        self.sinks[index(Direction::Request)].pace = legs.upstream_pace;
        self.sinks[index(Direction::Response)].pace = legs.client_pace;
        self
    }

    /// The data plane ends the exchange as soon as the response is complete, though the client may still send.
    /// Default: it takes the rest of the request first.
    #[must_use]
    pub fn finish_early(mut self) -> Self {
        self.early_finish = true;
        self
    }

    /// Lets everything happen.
    ///
    /// # Panics
    /// If an outlet of the chain never dries up, which would be a bug of the chain.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        while self.step() {}
        self.outcome()
    }

    /// Lets the next thing happen; false when the exchange is over. See [`Pair::chain`] for looks in between.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn step(&mut self) -> bool {
        if self.ending.is_some() {
            return false;
        }
        if self.log.is_empty() {
            self.schedule(Direction::Request);
        }
        let deadline = self.chain.poll_timeout().map(|(at, ..)| at);
        match (self.queue.next_at(), deadline) {
            (None, None) => self.end(Ending::Stuck),
            (Some(at), None) => self.happen(at),
            // What arrives at the deadline is in time.
            (Some(at), Some(deadline)) if at <= deadline => self.happen(at),
            (_, Some(deadline)) => {
                self.advance(deadline);
                self.note(Entry::Timeout);
                self.chain.handle_timeout(self.now);
            }
        }
        self.drain();
        self.ending.is_none()
    }

    /// The chain, to look at between steps.
    #[must_use]
    pub const fn chain(&self) -> &FilterChain {
        &self.chain
    }

    /// Everything so far, with the time since the start.
    #[must_use]
    pub fn log(&self) -> &[(Duration, Entry)] {
        &self.log
    }

    /// What came of it, after [`step`](Self::step) was false.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        let stats: Vec<Stats> = (0..self.chain.len()).map(|filter| *self.chain.stats(filter)).collect();
        let details = self.chain.details().map(str::to_owned);
        Outcome::new(self.ending.unwrap_or(Ending::Stuck), stats, details, self.log)
    }

    fn happen(&mut self, at: Instant) {
        self.advance(at);
        // A timer may wake early: that must do nothing.
        if self.chain.poll_timeout().is_some_and(|(deadline, ..)| deadline > self.now) {
            self.chain.handle_timeout(self.now);
        }
        match self.queue.pop() {
            None => {}
            Some(Happening::Due(direction)) => {
                self.source(direction).ready = true;
                self.feed(direction);
            }
            Some(Happening::Ready(direction)) => self.sinks[index(direction)].ready = true,
            Some(Happening::StreamReady(filter)) => self.streams[filter].ready = true,
            Some(Happening::ToProcessor(filter, outgoing)) => self.processor_gets(filter, outgoing),
            Some(Happening::ToDataPlane(filter, event)) => {
                self.note(match &event {
                    StreamEvent::Reply(reply) => Entry::Reply(filter, said_by_processor(reply)),
                    StreamEvent::Closed(result) => Entry::Closed(filter, result.clone()),
                });
                self.chain.handle_stream(self.now, filter, event);
            }
        }
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
    }

    fn note(&mut self, entry: Entry) {
        self.log.push((self.now - self.start, entry));
    }

    fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
            self.chain.finish(self.now);
            self.drain_outlets();
            self.aftermath();
        }
    }

    /// What was under way when the exchange ended still arrives. The chain must not care; what it would do about it
    /// is in the log. Streams that are still open then are at their deadlines.
    fn aftermath(&mut self) {
        loop {
            while let Some(happening) = self.queue.pop() {
                if let Happening::ToDataPlane(filter, event) = happening {
                    self.chain.handle_stream(self.now, filter, event);
                }
            }
            self.drain_outlets();
            let Some((deadline, ..)) = self.chain.poll_timeout() else { return };
            self.advance(deadline);
            self.chain.handle_timeout(self.now);
            self.drain_outlets();
        }
    }

    fn source(&mut self, direction: Direction) -> &mut Source {
        match direction {
            Direction::Request => &mut self.client,
            Direction::Response => &mut self.upstream,
        }
    }

    /// Makes the next act of a source due after its pause.
    fn schedule(&mut self, direction: Direction) {
        let now = self.now;
        if let Some(pause) = self.source(direction).script.next_pause() {
            self.queue.push(now + pause, Happening::Due(direction));
        }
    }

    /// Lets a source act, if its next act is due and may be taken.
    fn feed(&mut self, direction: Direction) {
        let wanted = self.chain.wants(direction);
        let source = self.source(direction);
        if source.stopped || !source.ready || (!wanted && source.script.next_is_body()) {
            return;
        }
        source.ready = false;
        let Some(act) = source.script.take() else { return };
        match act {
            Act::Part(event) => {
                self.note(Entry::Fed(direction, event.clone()));
                if let Err(misuse) = self.chain.handle_http(self.now, direction, event) {
                    self.note(Entry::Misuse(misuse));
                }
            }
            Act::Reset => self.gives_up(direction),
            Act::Respond(reply) => self.data_plane_answers(reply),
        }
        self.schedule(direction);
    }

    fn gives_up(&mut self, direction: Direction) {
        let by = match direction {
            Direction::Request => Peer::Downstream,
            Direction::Response => Peer::Upstream,
        };
        self.note(Entry::GaveUp(by));
        self.source(direction).stopped = true;
        self.chain.handle_reset(self.now, by);
        if by == Peer::Downstream {
            self.end(Ending::ClientGaveUp);
        }
    }

    fn data_plane_answers(&mut self, reply: LocalReply) {
        self.note(Entry::Respond(reply.clone()));
        self.upstream.stopped = true;
        self.chain.respond(self.now, reply);
    }

    fn processor_gets(&mut self, filter: usize, outgoing: Outgoing) {
        let mut replies = Replies::new();
        let stream = &mut self.streams[filter];
        if stream.over {
            return;
        }
        match outgoing {
            Outgoing::Message(message) => stream.processor.message(*message, &mut replies),
            Outgoing::HalfClose => stream.processor.half_closed(&mut replies),
        }
        self.post(filter, replies);
    }

    /// Puts what a processor does on its way.
    fn post(&mut self, filter: usize, replies: Replies) {
        let stream = &mut self.streams[filter];
        for (pause, event) in replies.into_events() {
            if stream.over {
                return;
            }
            stream.over = matches!(event, StreamEvent::Closed(_));
            let arrival = (self.now + pause + self.legs.to_data_plane).max(stream.last_arrival);
            stream.last_arrival = arrival;
            self.queue.push(arrival, Happening::ToDataPlane(filter, event));
        }
    }

    /// Takes everything that the outlets have, and lets sources go on that were not wanted before.
    fn drain(&mut self) {
        loop {
            let before = self.log.len();
            self.drain_outlets();
            if self.ending.is_some() {
                return;
            }
            for direction in Direction::BOTH {
                self.feed(direction);
            }
            if self.log.len() == before {
                break;
            }
        }
        let answered = self.chain.is_done(Direction::Response);
        let idle = self.client.stopped || self.client.script.is_over() || !self.chain.wants(Direction::Request);
        let request_over = self.chain.is_done(Direction::Request) || idle && self.nothing_under_way();
        if answered && (self.early_finish || request_over) {
            self.end(Ending::Complete);
        }
    }

    /// The request cannot get further: whatever is still going on is about the streams only.
    fn nothing_under_way(&self) -> bool {
        !self.chain.waits() && !self.queue.iter().any(|h| !matches!(h, Happening::Due(_)))
    }

    fn drain_outlets(&mut self) {
        for _ in 0..DRAIN_LIMIT {
            let before = self.log.len();
            while let Some(effect) = self.chain.poll_effect() {
                self.note(Entry::Effect(effect.clone()));
                self.carry_out(&effect);
            }
            for filter in 0..self.streams.len() {
                while self.streams[filter].ready {
                    let Some(outgoing) = self.chain.poll_send(filter) else { break };
                    self.send(filter, outgoing);
                }
            }
            for direction in Direction::BOTH {
                self.drain_forward(direction);
            }
            if self.log.len() == before {
                return;
            }
        }
        panic!("the outlets never dry up:\n{}", log::print(&self.log[self.log.len() - 50..]));
    }

    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::OpenStream(filter) => {
                let mut replies = Replies::new();
                self.streams[*filter].processor.opened(&mut replies);
                self.post(*filter, replies);
            }
            Effect::ResetStream(filter) => {
                // What is already under way still arrives: the core must not care.
                let stream = &mut self.streams[*filter];
                stream.over = true;
                stream.processor.reset();
            }
            Effect::CancelUpstream => self.upstream.stopped = true,
            Effect::ResetDownstream => self.end(Ending::Cut),
            Effect::RecomputeRoute => {}
        }
    }

    fn send(&mut self, filter: usize, outgoing: Outgoing) {
        self.note(match &outgoing {
            Outgoing::Message(message) => Entry::Sent(filter, said_by_data_plane(message)),
            Outgoing::HalfClose => Entry::HalfClosed(filter),
        });
        self.queue.push(self.now + self.legs.to_processor, Happening::ToProcessor(filter, outgoing));
        if !self.legs.stream_pace.is_zero() {
            self.streams[filter].ready = false;
            self.queue.push(self.now + self.legs.stream_pace, Happening::StreamReady(filter));
        }
    }

    fn drain_forward(&mut self, direction: Direction) {
        while self.sinks[index(direction)].ready {
            let Some(part) = self.chain.poll_forward(direction) else { return };
            let sink = &mut self.sinks[index(direction)];
            if !sink.pace.is_zero() {
                sink.ready = false;
                self.queue.push(self.now + sink.pace, Happening::Ready(direction));
            }
            let (headers, end) = match &part {
                Forward::Headers(_, end) => (true, *end),
                Forward::Data(_, end) => (false, *end),
                Forward::Trailers(_) => (false, true),
            };
            self.note(Entry::Forward(direction, part));
            let begins = match self.begin {
                Begin::AtHeaders => headers,
                Begin::AtEnd => end,
            };
            if direction == Direction::Request && begins {
                self.schedule(Direction::Response);
            }
        }
    }
}

impl Source {
    const fn new(script: Script) -> Self {
        Self { script, ready: false, stopped: false }
    }
}

const fn index(direction: Direction) -> usize {
    match direction {
        Direction::Request => 0,
        Direction::Response => 1,
    }
}
