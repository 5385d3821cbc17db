//! The data plane's side of an exchange, without IO.

mod outlets;
mod source;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use extproc_core::chain::Peer;
use extproc_core::filter::{StreamEvent, Timer};
use extproc_core::{Config, Direction, FilterChain, RequestKind};
use extproc_proto::ProcessingRequest;

use self::source::{Context, Source};
use super::entry::{Entry, Event};
use super::plan::Act;
use super::{Effective, Ending, Exchange};

/// Plays the data plane for one [`Exchange`] with the filter engine of `extproc-core`, without a transport or a clock:
/// messages come out, replies and the time go in. In memory or over gRPC it is the same loop:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
///
/// use extproc::testing::{Ending, Exchange, Play, ToDo};
/// use extproc_core::{Config, Options};
///
/// let config = Arc::new(Config::new(Options::default())?);
/// let mut now = Instant::now();
/// let mut play = Play::new(now, [config], &Exchange::get("/"));
/// while !play.is_over() {
///     while let Some(todo) = play.poll() {
///         match todo {
///             ToDo::Open(_filter) => {}            // open the stream
///             ToDo::Send(_filter, _message) => {}  // send the message
///             ToDo::HalfClose(_filter) => {}       // close our half
///             ToDo::Reset(_filter) => {}           // drop the stream
///         }
///     }
///     // Wait for the streams: `play.handle_stream(now, filter, event)`; or, as here, only for the deadline.
///     if let Some(deadline) = play.deadline() {
///         now = deadline;
///         play.handle_time(now);
///     }
/// }
/// let effective = play.finish(now);
/// assert_eq!((effective.ending, effective.response.status()), (Ending::Complete, Some(504)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Play {
    chain: FilterChain,
    request: Source,
    response: Source,
    /// The upstream answers when it has the head.
    early: bool,
    context: Context,
    notes: Notes,
    streams: Vec<Stream>,
    todo: VecDeque<ToDo>,
    cancelled: bool,
    patience: Duration,
    /// When anything happened last.
    moved: Instant,
    ending: Option<Ending>,
}

/// What the transport has to do. Streams are named by the index of their filter.
#[derive(Clone, Debug, PartialEq)]
pub enum ToDo {
    /// Open the stream. That it failed is told by [`StreamEvent::Closed`] with an error.
    Open(usize),
    /// Send a message. Messages may be sent before the stream is known to be open.
    Send(usize, Box<ProcessingRequest>),
    /// Close our half of the stream.
    HalfClose(usize),
    /// Reset the stream; what it still brings does not count.
    Reset(usize),
}

/// What is written down on the way.
#[derive(Debug)]
struct Notes {
    start: Instant,
    now: Instant,
    entries: Vec<Entry>,
}

/// The stream of a filter.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    opened: bool,
    /// A message was sent.
    used: bool,
    over: bool,
}

/// How long nothing may happen, unless said otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the request may go on after the client has its response.
const LINGER: Duration = Duration::from_secs(1);

impl Play {
    /// An exchange that begins at `start` and passes these filters, in request order. Without filters it passes as it is.
    #[must_use]
    pub fn new(start: Instant, filters: impl IntoIterator<Item = Arc<Config>>, exchange: &Exchange) -> Self {
        let chain = FilterChain::new(filters);
        let kind = RequestKind::of(&exchange.request.headers());
        let mut play = Self {
            streams: vec![Stream::default(); chain.len()],
            chain,
            request: Source::new(exchange.request.acts(RequestKind::default())),
            response: Source::new(exchange.response.acts(kind)),
            early: exchange.response.is_early(),
            context: Context::of(exchange),
            notes: Notes { start, now: start, entries: Vec::new() },
            todo: VecDeque::new(),
            cancelled: false,
            patience: PATIENCE,
            moved: start,
            ending: None,
        };
        play.request.schedule(start);
        play.handle_time(start);
        play
    }

    /// How long nothing may happen before the exchange counts as [`Ending::Stuck`]. Default 60 s. It matters only when
    /// the filters have no deadline of their own.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Takes what the stream of a filter brought.
    pub fn handle_stream(&mut self, now: Instant, filter: usize, event: StreamEvent) {
        if self.streams.get(filter).is_none_or(|stream| stream.over) || self.is_over() {
            return;
        }
        self.note(
            now,
            match &event {
                StreamEvent::Reply(reply) => Event::Reply(filter, reply.clone()),
                StreamEvent::Closed(result) => Event::Closed(filter, result.clone()),
            },
        );
        self.streams[filter].over = matches!(event, StreamEvent::Closed(_));
        self.chain.handle_stream(self.notes.now, filter, event);
        self.settle();
    }

    /// Call when the [`deadline`](Self::deadline) has passed; earlier calls do nothing. One thing happens for each call,
    /// so that the processors can answer one part before the next one comes.
    pub fn handle_time(&mut self, now: Instant) {
        if self.is_over() {
            return;
        }
        if self.deadline().is_some_and(|deadline| deadline > now) {
            return;
        }
        self.notes.advance(now);
        // What happens at the deadline is in time. One thing happens at once: what comes of it is heard first.
        if Direction::BOTH.into_iter().any(|direction| self.act(direction)) {
            return self.settle();
        }
        let Some((at, filter, timer)) = self.chain.poll_timeout() else { return self.lose_patience() };
        if at <= self.notes.now {
            self.note(now, Event::Timeout(filter, timer));
            self.chain.handle_timeout(self.notes.now);
            self.settle();
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<ToDo> {
        self.todo.pop_front()
    }

    /// When to call [`handle_time`](Self::handle_time) if nothing comes before. `None` when the exchange is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let due = [
            self.chain.poll_timeout().map(|(at, ..)| at),
            self.next_act(Direction::Request),
            self.next_act(Direction::Response),
        ];
        due.into_iter().flatten().min().or_else(|| Some(self.moved + self.idle_limit()))
    }

    /// Whether the exchange is over. What [`poll`](Self::poll) still gives closes the streams.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether a stream is still to be read: it was not ended by the processor.
    #[must_use]
    pub fn is_open(&self, filter: usize) -> bool {
        self.streams.get(filter).is_some_and(|stream| stream.opened && !stream.over)
    }

    /// The filter engine, to look at.
    #[must_use]
    pub const fn chain(&self) -> &FilterChain {
        &self.chain
    }

    /// What came of it. An exchange that is not over counts as [`Ending::Stuck`].
    #[must_use]
    pub fn finish(mut self, now: Instant) -> Effective {
        self.notes.advance(now);
        self.end(Ending::Stuck);
        let stats = (0..self.chain.len()).map(|filter| *self.chain.stats(filter)).collect();
        let details = self.chain.details().map(str::to_owned);
        Effective::new(self.ending.unwrap_or(Ending::Stuck), self.notes.entries, stats, details)
    }

    fn note(&mut self, now: Instant, event: Event) {
        self.notes.advance(now);
        self.moved = self.notes.now;
        self.notes.push(event);
    }

    fn idle_limit(&self) -> Duration {
        if self.chain.is_done(Direction::Response) { LINGER.min(self.patience) } else { self.patience }
    }

    fn lose_patience(&mut self) {
        if !self.is_over() && self.moved + self.idle_limit() <= self.notes.now {
            let answered = self.chain.is_done(Direction::Response);
            self.end(if answered { Ending::Complete } else { Ending::Stuck });
        }
    }

    fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
            self.chain.finish(self.notes.now);
            // Nobody learns anything from waiting for the streams of observability mode.
            while let Some((at, _, Timer::DeferredClose)) = self.chain.poll_timeout() {
                self.chain.handle_timeout(at);
            }
            self.drain();
        }
    }

    /// When the next act of a side can take place; `None` while it waits for the chain.
    fn next_act(&self, direction: Direction) -> Option<Instant> {
        let source = self.source(direction);
        let due = source.due()?;
        (!source.is_body_next() || self.chain.wants(direction)).then_some(due)
    }

    const fn source(&self, direction: Direction) -> &Source {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    const fn source_mut(&mut self, direction: Direction) -> &mut Source {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Empties the outlets, and sees whether that was all.
    fn settle(&mut self) {
        self.drain();
        let request_over = self.cancelled || self.chain.is_done(Direction::Request);
        if self.chain.is_done(Direction::Response) && request_over {
            self.end(Ending::Complete);
        }
    }

    /// Lets a side do the next thing, if it is due and may.
    fn act(&mut self, direction: Direction) -> bool {
        let now = self.notes.now;
        if self.next_act(direction).is_none_or(|due| due > now) {
            return false;
        }
        let Some(act) = self.source_mut(direction).take(now) else { return false };
        match act {
            Act::Part(event) => {
                self.note(now, Event::Came(direction, event.clone()));
                if let Err(misuse) = self.chain.handle_http(now, direction, event) {
                    self.note(now, Event::Misuse(misuse));
                }
            }
            Act::GiveUp => self.give_up(direction),
            Act::Respond(reply) => {
                self.note(now, Event::Respond(reply.clone()));
                self.chain.respond(now, reply);
            }
        }
        true
    }

    fn give_up(&mut self, direction: Direction) {
        let by = match direction {
            Direction::Request => Peer::Downstream,
            Direction::Response => Peer::Upstream,
        };
        let now = self.notes.now;
        self.note(now, Event::GaveUp(by));
        self.source_mut(direction).stop();
        self.chain.handle_reset(now, by);
        if by == Peer::Downstream {
            self.end(Ending::ClientGaveUp);
        }
    }
}

impl Notes {
    /// Time does not go back.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn push(&mut self, event: Event) {
        self.entries.push(Entry { at: self.now - self.start, event });
    }
}
