//! The side stream of a call: what goes out on it, its windows and its state.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_proto::processing_request::Request;
use extproc_proto::{HttpHeaders, HttpTrailers};
use prost_types::Struct;

use super::config::Config;
use super::event::{Effect, Measure};
use super::metadata;
use crate::config::FlowControl;
use crate::filter::{Outgoing, Windows};
use crate::wire::{self, Message as Wire};
use crate::{Direction, Headers};

/// What may wait for the shell before no more is read.
const WAITING_MESSAGES: usize = 2;

/// The state of the side stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stream {
    /// Nothing was sent.
    #[default]
    Unopened,
    /// Messages go out, answers count.
    Open,
    /// We have half-closed it and wait for its end.
    HalfClosed,
    /// It is over, or nobody wants it any more.
    Gone,
}

/// What both directions of a call share.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) stream: Stream,
    outgoing: VecDeque<Item>,
    pub(super) windows: Option<Windows>,
    /// A message has left for the processor: it may be the only one who has it.
    pub(super) handed: bool,
    /// By direction, what goes with its first message.
    pub(super) attributes: [Option<Struct>; 2],
    pub(super) effects: VecDeque<Effect>,
    /// When the processor must have ended the half-closed stream, or the whole stream must be over.
    pub(super) close_by: Option<Instant>,
    pub(super) stream_by: Option<Instant>,
    pub(super) rejected_header_mutations: u64,
    measured: [bool; 4],
}

#[derive(Debug)]
struct Item {
    outgoing: Outgoing,
    /// In observability mode: the direction whose next part may proceed once this has gone.
    releases: Option<Direction>,
}

/// A [`Link`] at one moment.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) now: Instant,
    pub(super) config: &'a Config,
    pub(super) link: &'a mut Link,
}

impl Link {
    /// The next thing for the processor, and the direction that waited for it to go.
    pub(super) fn next(&mut self) -> Option<(Outgoing, Option<Direction>)> {
        let item = self.outgoing.pop_front()?;
        if let Outgoing::Message(message) = &item.outgoing {
            self.handed |= is_message(message);
        }
        Some((item.outgoing, item.releases))
    }

    /// Whether the shell should first take what is there.
    pub(super) fn is_full(&self) -> bool {
        self.outgoing.len() >= WAITING_MESSAGES
    }

    /// Half-closes the stream. What is queued goes first.
    pub(super) fn half_close(&mut self, close_by: Option<Instant>) {
        if self.stream == Stream::Open {
            self.outgoing.push_back(Item { outgoing: Outgoing::HalfClose, releases: None });
            self.stream = Stream::HalfClosed;
        }
        if self.stream == Stream::HalfClosed {
            (self.close_by, self.stream_by) = (close_by, None);
        }
    }

    /// Cancels the stream. Idempotent.
    pub(super) fn reset(&mut self) {
        if matches!(self.stream, Stream::Open | Stream::HalfClosed) {
            self.effects.push_back(Effect::ResetStream);
        }
        self.leave();
    }

    /// The stream has failed. What has not left is still there, for [`take_back`](Self::take_back).
    pub(super) const fn lost(&mut self) {
        self.stream = Stream::Gone;
    }

    /// The stream is over.
    pub(super) fn leave(&mut self) {
        self.stream = Stream::Gone;
        self.outgoing.clear();
        (self.close_by, self.stream_by) = (None, None);
    }

    /// Takes back the messages that have not gone, by direction. The processor has ended the stream without them.
    pub(super) fn take_back(&mut self) -> [Vec<Bytes>; 2] {
        let mut unsent = [Vec::new(), Vec::new()];
        for item in self.outgoing.drain(..) {
            let Outgoing::Message(message) = item.outgoing else { continue };
            if !is_message(&message) {
                continue;
            }
            match message.request {
                Some(Request::RequestBody(body)) => unsent[Direction::Request as usize].push(body.body),
                Some(Request::ResponseBody(body)) => unsent[Direction::Response as usize].push(body.body),
                Some(
                    Request::RequestHeaders(_)
                    | Request::ResponseHeaders(_)
                    | Request::RequestTrailers(_)
                    | Request::ResponseTrailers(_),
                )
                | None => {}
            }
        }
        unsent
    }

    /// An event of the call was let go on.
    pub(super) fn proceeded(&mut self, measure: Measure, after: Duration) {
        let measured = &mut self.measured[measure as usize];
        if !std::mem::replace(measured, true) {
            self.effects.push_back(Effect::Proceeded(measure, after));
        }
    }

    /// Gives the processor the room that it is owed, without a message that could carry it.
    pub(super) fn grant_now(&mut self) {
        if self.stream == Stream::Open
            && let Some(increments) = self.windows.as_mut().and_then(Windows::grant)
        {
            self.push_grant(increments);
        }
    }

    /// The same for all that may still come: nothing can be granted later.
    pub(super) fn grant_for_the_rest(&mut self) {
        if self.stream == Stream::Open
            && let Some(increments) = self.windows.as_mut().and_then(Windows::grant_for_the_rest)
        {
            self.push_grant(increments);
        }
    }

    fn push_grant(&mut self, increments: [i64; 2]) {
        let mut message = wire::window_message(increments);
        message.metadata_context = None;
        self.outgoing.push_back(Item { outgoing: Outgoing::Message(message), releases: None });
    }

    /// Whether the processor has room for a message.
    pub(super) fn has_room(&self, direction: Direction) -> bool {
        self.windows.as_ref().is_none_or(|windows| windows.has_room(direction))
    }
}

/// Whether it has a message of the call, rather than a mark.
fn is_message(message: &Wire) -> bool {
    wire::has_body(message)
}

impl Cx<'_> {
    /// Sends headers, or all of a Trailers-Only response.
    pub(super) fn send_headers(&mut self, direction: Direction, headers: &Headers, end_of_stream: bool) {
        let headers = Some(metadata::shown(headers, self.config));
        let headers = HttpHeaders { headers, end_of_stream, ..HttpHeaders::default() };
        self.send(
            direction,
            match direction {
                Direction::Request => Request::RequestHeaders(headers),
                Direction::Response => Request::ResponseHeaders(headers),
            },
        );
    }

    /// Sends a message of the call.
    pub(super) fn send_message(&mut self, direction: Direction, body: Bytes) {
        let len = body.len();
        if let Some(request) = wire::grpc_message(direction, body, false, false).request {
            self.send(direction, request);
        }
        if let Some(windows) = &mut self.link.windows {
            windows.sent(direction, len);
        }
    }

    /// Tells that the client has no more messages.
    pub(super) fn send_half_close(&mut self) {
        if let Some(request) = wire::half_close_message(Direction::Request).request {
            self.send(Direction::Request, request);
        }
    }

    /// Tells the processor that it gets no more messages of a direction.
    pub(super) fn send_drain_complete(&mut self, direction: Direction) {
        if let Some(request) = wire::drain_complete_message(direction).request {
            self.send(direction, request);
        }
    }

    /// Sends the server's trailers.
    pub(super) fn send_trailers(&mut self, trailers: &Headers) {
        let trailers = HttpTrailers { trailers: Some(metadata::shown(trailers, self.config)) };
        self.send(Direction::Response, Request::ResponseTrailers(trailers));
    }

    fn send(&mut self, direction: Direction, request: Request) {
        let options = self.config.options();
        let observing = options.observability_mode;
        let mut message = Box::new(Wire { request: Some(request), observability_mode: observing, ..Wire::default() });
        if self.link.stream == Stream::Unopened {
            self.open(&mut message);
        }
        if let Some(attributes) = self.link.attributes[direction as usize].take() {
            wire::set_attribute_struct(&mut message, attributes);
        }
        if let Some(increments) = self.link.windows.as_mut().and_then(Windows::grant) {
            wire::grant(&mut message, increments);
        }
        self.link
            .outgoing
            .push_back(Item { outgoing: Outgoing::Message(message), releases: observing.then_some(direction) });
    }

    /// Makes a message the first one.
    fn open(&mut self, message: &mut Wire) {
        let options = self.config.options();
        wire::set_protocol_modes(message, &options.processing_mode, false);
        if !options.observability_mode && options.flow_control != FlowControl::Off {
            let windows = Windows::new(options.window, options.flow_control);
            wire::set_windows(message, windows.initial());
            self.link.windows = Some(windows);
        }
        self.link.stream = Stream::Open;
        self.link.stream_by = options.stream_timeout.map(|timeout| self.now + timeout);
        self.link.effects.push_back(Effect::OpenStream);
    }
}
