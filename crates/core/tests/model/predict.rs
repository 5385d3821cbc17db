//! The filter, written a second time: flat variables and the tables of the specification (sections 3.1 to 3.16) read from
//! top to bottom, with the departures that `filter.rs` lists. No phases, no sharing, everything copied.

mod answer;
mod body;
mod chain;
mod fail;
mod modes;
mod side;
mod source;

use std::collections::VecDeque;

use extproc_core::filter::GrpcStatus;
use extproc_core::{Direction, Options, Stats};
use extproc_proto::ProcessingResponse;

use crate::mutate::{Map, text};
use crate::reading::Reading;

use answer::Common;
pub(crate) use chain::Lane;
pub(crate) use side::Side;
use side::{drops_length, meant};

/// What a direction waits for (Envoy's callback state).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    Nothing,
    Headers,
    /// One answer for the whole body.
    Whole,
    /// One answer for each chunk in the queue.
    Chunks,
    /// One answer for the beginning of the body.
    Partial,
    /// Any number of pieces (FULL_DUPLEX_STREAMED).
    Duplex,
    Trailers,
}

/// What becomes of what a direction brings from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The mode decides.
    Processed,
    /// CONTINUE_AND_REPLACE has put another body in its place.
    Replaced,
    /// The processor has ended the body already.
    Discarded,
    /// Processing is over.
    Passed,
    /// It goes nowhere any more.
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Start,
    Open,
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Headers(Map, bool),
    Data(Vec<u8>),
    Trailers(Map),
    /// The body ends, without trailers.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Unopened,
    Open,
    Over,
}

/// Why it cannot go on.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// A message out of place, with its details.
    Spurious(&'static str),
    /// A message in place with bad content.
    Content(&'static str),
    Timeout,
    Grpc(GrpcStatus),
    Overflow(Direction),
    EndedEarly,
    /// The stream ended OK and took body with it.
    BodyLost,
}

/// A message to the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToProcessor {
    pub(crate) text: String,
    /// Body that nobody else has.
    pub(crate) only_here: Option<(Direction, usize)>,
}

/// What goes back to the client in place of a response.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) headers: Map,
    pub(crate) body: Vec<u8>,
    pub(crate) details: String,
}

pub(crate) struct Model {
    pub(crate) options: Options,
    pub(crate) reading: Reading,
    pub(crate) now: u64,
    pub(crate) sides: [Side; 2],
    pub(crate) stream: Stream,
    pub(crate) to_processor: VecDeque<ToProcessor>,
    pub(crate) effects: Vec<String>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) stats: Stats,
    /// By direction: when, and whether it was moved once.
    pub(crate) deadlines: [Option<(u64, bool)>; 2],
    pub(crate) body_sent: bool,
    pub(crate) head: bool,
    pub(crate) grpc: bool,
    pub(crate) lanes: [Lane; 2],
    pub(crate) details: Option<String>,
    pub(crate) over: bool,
    pub(crate) cancelled: bool,
}

pub(crate) const fn at(direction: Direction) -> usize {
    match direction {
        Direction::Request => 0,
        Direction::Response => 1,
    }
}

impl Model {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            reading: Reading::of(options.profile),
            now: 0,
            sides: Direction::BOTH.map(|direction| Side::new(direction, options)),
            stream: Stream::Unopened,
            to_processor: VecDeque::new(),
            effects: Vec::new(),
            replies: Vec::new(),
            stats: Stats::default(),
            deadlines: [None; 2],
            body_sent: false,
            head: false,
            grpc: false,
            lanes: [Lane::new(options.buffer_limit), Lane::new(options.buffer_limit)],
            details: None,
            over: false,
            cancelled: false,
            options: options.clone(),
        }
    }

    pub(crate) fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[at(direction)]
    }

    /// Whether the processor may still say something that counts.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.stream, Stream::Open)
    }

    /// Whether the upstream could answer by now.
    pub(crate) fn upstream_has_headers(&self) -> bool {
        self.lanes[0].has_given_headers()
    }

    /// The earliest deadline; the request's first.
    pub(crate) fn deadline(&self) -> Option<(u64, Direction)> {
        let of = |direction| self.deadlines[at(direction)].map(|(when, _)| (when, direction));
        [of(Direction::Request), of(Direction::Response)].into_iter().flatten().min_by_key(|(when, _)| *when)
    }

    pub(crate) fn wants(&self, direction: Direction) -> bool {
        let side = &self.sides[at(direction)];
        self.lanes[at(direction)].wants() && !side.full && side.source != Source::Ended && !side.is_cut()
    }

    /// Sends, opening the stream first if need be.
    pub(crate) fn send(&mut self, direction: Direction, mut text: String, only_here: Option<usize>, timed: bool) {
        assert!(self.stream != Stream::Over, "the model sends after the end: {text}");
        if self.stream == Stream::Unopened {
            self.stream = Stream::Open;
            self.stats.streams_started += 1;
            self.effects.push("OpenStream(0)".to_owned());
            let mode = &self.options.processing_mode;
            let early = self.options.send_body_without_waiting_for_header_response;
            text += &format!(" first({:?} {:?} {early})", mode.request_body, mode.response_body);
        }
        self.stats.stream_msgs_sent += 1;
        self.to_processor.push_back(ToProcessor { text, only_here: only_here.map(|len| (direction, len)) });
        if timed {
            self.arm(direction);
        }
    }

    pub(crate) fn arm(&mut self, direction: Direction) {
        if self.reading.timer {
            let timeout = u64::try_from(self.options.message_timeout.as_millis()).unwrap();
            self.deadlines[at(direction)] = Some((self.now + timeout, false));
        }
    }

    pub(crate) fn send_body(&mut self, direction: Direction, body: &[u8], end: bool, keeps: bool, timed: bool) {
        self.body_sent = true;
        let text = format!("{direction:?} body {}{}", body.escape_ascii(), if end { " !" } else { "" });
        self.send(direction, text, (!keeps).then_some(body.len()), timed);
    }

    pub(crate) fn send_map(&mut self, direction: Direction, what: &str, map: &Map, end: bool, timed: bool) {
        let shown: Map = map.iter().filter(|(name, _)| self.shows(name)).cloned().collect();
        let text = format!("{direction:?} {what} [{}]{}", text(&shown), if end { " !" } else { "" });
        self.send(direction, text, None, timed);
    }

    /// `forward_rules`.
    fn shows(&self, name: &str) -> bool {
        use extproc_core::rules::{NameMatcher, NamePattern};
        let hit = |matcher: &NameMatcher| match &matcher.pattern {
            NamePattern::Exact(it) => it == name,
            NamePattern::Prefix(it) => name.starts_with(it.as_str()),
            other => panic!("the generator makes no {other:?}"),
        };
        let rules = &self.options.forward_rules;
        let allowed = rules.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(hit));
        allowed && !rules.disallowed.iter().any(hit)
    }

    /// The stream takes everything.
    pub(crate) fn take_messages(&mut self) -> Vec<String> {
        let messages: Vec<_> = self.to_processor.drain(..).map(|message| message.text).collect();
        self.balance();
        messages
    }

    pub(crate) fn on_reply(&mut self, message: &ProcessingResponse) {
        if self.stream != Stream::Open {
            return;
        }
        if let Err(trouble) = self.reply(message) {
            self.fail(trouble);
        }
        self.after();
    }

    pub(crate) fn on_closed(&mut self, result: Result<(), GrpcStatus>) {
        match (self.stream, result) {
            (Stream::Over, _) => {
                self.to_processor.clear();
                self.balance();
                return self.settle();
            }
            (Stream::Unopened, _) => return,
            (Stream::Open, Ok(())) => {
                self.stats.server_half_closed += 1;
                if self.reading.early_end_fails {
                    self.fail(Trouble::EndedEarly);
                } else if self.sides.iter().any(Side::is_away) {
                    self.fail(Trouble::BodyLost);
                } else {
                    self.end_stream(true);
                    self.pass_everything();
                }
            }
            (Stream::Open, Err(status)) => self.fail(Trouble::Grpc(status)),
        }
        self.after();
    }

    pub(crate) fn on_time(&mut self) {
        if self.deadline().is_some_and(|(when, _)| when <= self.now) {
            self.fail(Trouble::Timeout);
            self.after();
        }
        self.settle();
    }

    /// The stream was lost: what was not taken is not sent.
    fn end_stream(&mut self, counts: bool) {
        self.stats.streams_closed += u64::from(counts);
        self.to_processor.clear();
        self.stream = Stream::Over;
        self.deadlines = [None; 2];
    }

    /// Half-closes.
    pub(crate) fn close_stream(&mut self) {
        if self.stream == Stream::Open {
            self.to_processor.push_back(ToProcessor { text: "half-close".to_owned(), only_here: None });
            self.stats.streams_closed += 1;
        }
        self.stream = Stream::Over;
        self.deadlines = [None; 2];
    }

    pub(crate) fn reset_stream(&mut self) {
        if self.stream == Stream::Open {
            self.effects.push("ResetStream(0)".to_owned());
            self.stats.streams_closed += 1;
            self.to_processor.clear();
        }
        self.stream = Stream::Over;
        self.deadlines = [None; 2];
    }

    pub(crate) fn close_if_settled(&mut self) {
        if self.stream == Stream::Open && self.sides.iter().all(Side::is_settled) {
            self.close_stream();
        }
    }

    /// The promises and the limits, then everything moves on.
    pub(crate) fn after(&mut self) {
        if self.sides.iter().any(|side| side.broken) {
            self.fail(Trouble::Content("mismatch_between_content_length_and_the_length_of_the_mutated_body"));
        }
        self.balance();
        self.settle();
    }

    pub(crate) fn balance(&mut self) {
        let limit = self.options.buffer_limit;
        for side in &mut self.sides {
            let mine = self.to_processor.iter().filter_map(|message| message.only_here);
            let unsent = mine.filter(|(direction, _)| *direction == side.direction).map(|(_, len)| len).sum();
            side.balance(limit, unsent);
        }
    }
}
