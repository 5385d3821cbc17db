//! What was done and seen.

use std::fmt::Write as _;
use std::time::Duration;

use crate::chain::{Effect, Peer};
use crate::filter::{ApiMisuse, Forward, GrpcStatus, HttpEvent};
use crate::{Direction, Headers, LocalReply, Stats};

/// One line of the log. Filters are named by their index in request order.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A source gave a part to the chain.
    Fed(Direction, HttpEvent),
    /// The chain refused it.
    Misuse(ApiMisuse),
    /// A source gave up.
    GaveUp(Peer),
    /// The data plane answered in place of the upstream.
    Respond(LocalReply),
    /// A message came from the processor of this filter.
    Reply(usize, Said),
    /// The stream of this filter was ended by its processor.
    Closed(usize, Result<(), GrpcStatus>),
    /// A deadline passed.
    Timeout,
    /// The chain wanted something done.
    Effect(Effect),
    /// The chain gave a message for the processor of this filter.
    Sent(usize, Said),
    /// The chain closed its half of the stream of this filter.
    HalfClosed(usize),
    /// The chain gave a part for the next hop.
    Forward(Direction, Forward),
}

/// A message on a side stream in short: its kind, the length of its body, whether it ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Headers.
    Headers(Direction, bool),
    /// A body or a piece of it.
    Body(Direction, usize, bool),
    /// Trailers.
    Trailers(Direction),
    /// An immediate response.
    Immediate,
    /// Anything else, such as a message without a kind.
    Other,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The client has a complete response.
    Complete,
    /// The response was cut after it had begun.
    Cut,
    /// The client gave up.
    ClientGaveUp,
    /// Nothing can happen any more, and the client has no complete response.
    Stuck,
}

/// What came of an exchange.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What the upstream saw.
    pub request: Seen,
    /// What the client saw.
    pub response: Seen,
    /// What each filter counted.
    pub stats: Vec<Stats>,
    /// Why the response is not the upstream's.
    pub details: Option<String>,
    /// Everything that happened, with the time since the start.
    pub log: Vec<(Duration, Entry)>,
}

/// One direction as the next hop saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The headers.
    pub headers: Option<Headers>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Option<Headers>,
    /// Whether the last part came.
    pub ended: bool,
}

impl Outcome {
    pub(super) fn new(ending: Ending, stats: Vec<Stats>, details: Option<String>, log: Vec<(Duration, Entry)>) -> Self {
        let (mut request, mut response) = (Seen::default(), Seen::default());
        for (_, entry) in &log {
            match entry {
                Entry::Forward(Direction::Request, part) => request.take(part),
                Entry::Forward(Direction::Response, part) => response.take(part),
                Entry::Fed(..)
                | Entry::Misuse(_)
                | Entry::GaveUp(_)
                | Entry::Respond(_)
                | Entry::Reply(..)
                | Entry::Closed(..)
                | Entry::Timeout
                | Entry::Effect(_)
                | Entry::Sent(..)
                | Entry::HalfClosed(_) => {}
            }
        }
        Self { ending, request, response, stats, details, log }
    }

    /// The log as text, one line each.
    #[must_use]
    pub fn print(&self) -> String {
        print(&self.log)
    }
}

impl Seen {
    fn take(&mut self, part: &Forward) {
        match part {
            Forward::Headers(headers, end) => {
                self.headers = Some(headers.clone());
                self.ended |= end;
            }
            Forward::Data(data, end) => {
                self.body.extend_from_slice(data);
                self.ended |= end;
            }
            Forward::Trailers(trailers) => {
                self.trailers = Some(trailers.clone());
                self.ended = true;
            }
        }
    }

    /// `:status` of the headers.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.headers.as_ref().and_then(Headers::status)
    }
}

pub(super) fn print(log: &[(Duration, Entry)]) -> String {
    let mut text = String::new();
    for (at, entry) in log {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:>8.1} ms  {entry:?}", at.as_secs_f64() * 1000.0);
    }
    text
}
