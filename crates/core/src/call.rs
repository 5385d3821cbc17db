//! One gRPC call seen from the data plane: external processing inside gRPC (gRFC A93), for clients and servers.
//!
//! A [`Call`] stands between a client and a server of gRPC and shows a processor what A93 says of the call. It knows
//! messages, not bytes: framing and compression are the caller's. As a [`Filter`](crate::filter::Filter) it only decides.
//!
//! ```text
//!                RequestEvent, ResponseEvent, StreamEvent, handle_timeout      (in, all take `now`)
//!                               |
//!                        +------v------+
//!  poll_effect  <--------|             |--------> poll_send       to the processor
//!  poll_timeout <--------|    Call     |--------> poll_request    to the server
//!                        |             |--------> poll_response   to the client
//!                        +-------------+          wants, wants_stream: may more be read?
//! ```
//!
//! # Where sources disagree
//!
//! gRPC for Go, Java and C++ differ in many places; what is done here, and why, stands in `docs/protocol/grpc.md`. In short:
//! an OK end of the side stream without a drain is a failure while messages go to the processor; both forms of drain are
//! known; names that are no metadata fail a mutation, and a failed mutation changes nothing; half-closes do not switch
//! off `failure_mode_allow`; a side stream is half-closed only after the trailers' answer.

mod attributes;
pub mod config;
pub mod envoy;
pub mod event;
mod fail;
mod frames;
mod link;
mod metadata;
mod outlet;
mod reply;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod timeout;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub use config::{Config, ConfigError, HeaderView, Options};
pub use event::{Effect, Measure, Message, RequestEvent, RequestPart, ResponseEvent, ResponsePart, Status, Timer};
pub use fail::{Expected, Failure, Kind};
pub use frames::{FrameError, Framed, Frames};

use self::link::{Cx, Link, Stream};
use self::request::Requests;
use self::response::Responses;
use crate::filter::{ApiMisuse, Outgoing, StreamEvent};
use crate::{Attribute, Direction};

/// The processing of one gRPC call.
///
/// Drive it so: feed what happens, then drain `poll_effect`, `poll_send`, `poll_request` and `poll_response` as far as each
/// sink takes more, read what [`wants`](Self::wants) and [`wants_stream`](Self::wants_stream) say, and call
/// [`handle_timeout`](Self::handle_timeout) at the time of [`poll_timeout`](Self::poll_timeout). Once the client has its end, go
/// on until [`is_over`](Self::is_over): the processor may still end its stream.
#[derive(Debug)]
pub struct Call {
    config: Arc<Config>,
    request: Requests,
    response: Responses,
    link: Link,
    path: Path,
    deadline: Option<Instant>,
    told: BTreeMap<String, Attribute>,
    failure: Option<Failure>,
}

/// Whether the processor is in the path of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// The call has not begun.
    Start,
    /// It is.
    Active,
    /// It was, or never will be.
    Bypass,
    /// The call is over; the side stream may not be.
    Over,
}

impl Call {
    /// A call that has not begun.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            request: Requests::default(),
            response: Responses::default(),
            link: Link::default(),
            path: Path::Start,
            deadline: None,
            told: BTreeMap::new(),
            failure: None,
        }
    }

    /// Tells an attribute that headers do not have (`source.address`), before the request headers.
    pub fn set_attribute(&mut self, name: &str, value: Attribute) {
        self.told.insert(name.to_owned(), value);
    }

    /// Takes what the client's side brought.
    ///
    /// # Errors
    /// [`ApiMisuse`] for headers twice, or for anything in front of them; nothing has changed. What comes after the end is
    /// dropped.
    pub fn handle_request(&mut self, now: Instant, event: RequestEvent) -> Result<(), ApiMisuse> {
        match (self.path, event) {
            (Path::Over, _) => {}
            (Path::Start, RequestEvent::Headers(headers)) => self.begin(now, headers),
            (Path::Start, _) => return Err(ApiMisuse("request headers come first")),
            (_, RequestEvent::Headers(_)) => return Err(ApiMisuse("request headers come once")),
            (_, RequestEvent::Message(message)) => {
                let copied = self.copies();
                self.with_request(now, |request, cx| request.on_message(cx, message, copied));
            }
            (_, RequestEvent::HalfClose) => {
                let copied = self.copies();
                self.with_request(now, |request, cx| request.on_half_close(cx, copied));
            }
        }
        self.end_if_over(now);
        Ok(())
    }

    /// Takes what the server's side brought.
    ///
    /// # Errors
    /// [`ApiMisuse`] for what cannot follow what came before; nothing has changed. What comes after the end is dropped.
    pub fn handle_response(&mut self, now: Instant, event: ResponseEvent) -> Result<(), ApiMisuse> {
        match self.path {
            Path::Start => return Err(ApiMisuse("a response needs a request")),
            Path::Over => return Ok(()),
            Path::Active | Path::Bypass => {}
        }
        let begun = !matches!(self.response.head, response::Head::Start);
        let asked = self.path == Path::Active && self.link.stream != Stream::HalfClosed;
        match event {
            _ if self.response.has_end() => return Err(ApiMisuse("the response has ended")),
            ResponseEvent::Headers(_) | ResponseEvent::TrailersOnly(_) if begun => {
                return Err(ApiMisuse("response headers come once"));
            }
            ResponseEvent::Message(_) | ResponseEvent::Trailers(_) if !begun => {
                return Err(ApiMisuse("response headers come first"));
            }
            ResponseEvent::Headers(headers) => {
                self.with_response(now, |response, cx| response.on_headers(cx, headers, asked));
            }
            ResponseEvent::TrailersOnly(headers) => {
                self.with_response(now, |response, cx| response.on_trailers_only(cx, headers, asked));
            }
            ResponseEvent::Message(message) => {
                let copied = self.copies();
                self.with_response(now, |response, cx| response.on_message(cx, message, copied));
            }
            ResponseEvent::Trailers(trailers) => {
                self.with_response(now, |response, cx| response.on_trailers(cx, trailers, asked));
            }
            ResponseEvent::Failed(status) => {
                self.request.refuse();
                self.response.finish(status);
            }
        }
        self.end_if_over(now);
        Ok(())
    }

    /// Takes what the side stream brought. Late and unknown input is ignored, never an error.
    pub fn handle_stream(&mut self, now: Instant, event: StreamEvent) {
        if self.link.stream == Stream::Gone {
            return;
        }
        match (self.path, event) {
            (Path::Active, StreamEvent::Reply(_)) if self.config.options().observability_mode => {}
            (Path::Active, StreamEvent::Reply(message)) => {
                if let Err(failure) = self.on_reply(now, *message) {
                    self.fail(now, failure);
                }
            }
            (Path::Active, StreamEvent::Closed(Ok(()))) => self.on_end(now),
            (Path::Active, StreamEvent::Closed(Err(status))) => {
                self.link.lost();
                self.fail(now, status.into());
            }
            (Path::Start | Path::Bypass | Path::Over, StreamEvent::Closed(_)) => self.link.leave(),
            (Path::Start | Path::Bypass | Path::Over, StreamEvent::Reply(_)) => {}
        }
        self.end_if_over(now);
    }

    /// The side stream could not be opened.
    pub fn handle_open_failure(&mut self, now: Instant, reason: &str) {
        self.link.lost();
        if self.path == Path::Active {
            self.fail(now, Failure::Open(reason.to_owned()));
            self.end_if_over(now);
        }
    }

    /// The server reads no more of the request. Its response goes on.
    pub fn handle_request_refused(&mut self) {
        self.request.refuse();
    }

    /// The client gave up: everything is cancelled, and nothing more comes out.
    pub fn handle_cancel(&mut self) {
        if self.path != Path::Over {
            self.path = Path::Over;
            self.link.effects.push_back(Effect::CancelUpstream);
            self.request.refuse();
            self.response.cut();
        }
        self.link.reset();
    }

    /// Call when the deadline of [`poll_timeout`](Self::poll_timeout) has passed; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, timer)) = self.poll_timeout()
            && at <= now
        {
            match timer {
                Timer::Call => {
                    self.deadline = None;
                    self.link.reset();
                    let message = "deadline exceeded".to_owned();
                    self.end_with(Status { code: 4, message, ..Status::default() });
                }
                Timer::Stream => {
                    self.link.reset();
                    let message = "the side stream has reached its timeout".to_owned();
                    self.fail(now, Failure::Stream { code: 4, message });
                }
                Timer::Close => self.link.reset(),
            }
            self.end_if_over(now);
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.link.effects.pop_front()
    }

    /// The next thing for the processor. Taking one says that there was room for it.
    pub fn poll_send(&mut self) -> Option<Outgoing> {
        let (outgoing, releases) = self.link.next()?;
        match releases {
            Some(Direction::Request) => self.request.copy_has_gone(),
            Some(Direction::Response) => self.response.copy_has_gone(),
            None => {}
        }
        Some(outgoing)
    }

    /// The next part for the server. Taking one says that there was room for it.
    pub fn poll_request(&mut self) -> Option<RequestPart> {
        let part = self.request.pop()?;
        if let RequestPart::Message(message) = &part {
            self.return_credit(Direction::Request, message.len());
        }
        Some(part)
    }

    /// The next part for the client. Taking one says that there was room for it.
    pub fn poll_response(&mut self) -> Option<ResponsePart> {
        let part = self.response.pop()?;
        if let ResponsePart::Message(message) = &part {
            self.return_credit(Direction::Response, message.len());
        }
        Some(part)
    }

    /// The earliest deadline and its reason.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let call = self.deadline.filter(|_| !self.response.is_over()).map(|at| (at, Timer::Call));
        let stream = self.link.stream_by.map(|at| (at, Timer::Stream));
        let close = self.link.close_by.map(|at| (at, Timer::Close));
        [call, stream, close].into_iter().flatten().min()
    }

    /// Whether more of this direction may be read. `false`: leave it where it is.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> bool {
        let full = self.link.is_full();
        match (self.path, direction) {
            (Path::Start | Path::Over, _) => false,
            (Path::Active | Path::Bypass, _) if self.waits_for_drain(direction) => false,
            (Path::Active | Path::Bypass, Direction::Request) => self.request.wants(full),
            (Path::Active | Path::Bypass, Direction::Response) => self.response.wants(full),
        }
    }

    /// Whether more of the side stream may be read. `false`: what the processor gave waits for client or server.
    #[must_use]
    pub fn wants_stream(&self) -> bool {
        let limit = self.config.options().window as usize;
        self.path == Path::Over || (self.request.queued() <= limit && self.response.queued() <= limit)
    }

    /// Whether nothing is left to do: the client has its end, and the side stream is gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let stream = matches!(self.link.stream, Stream::Unopened | Stream::Gone);
        self.path == Path::Over && self.response.is_delivered() && stream && self.link.effects.is_empty()
    }

    /// Why the processor failed, if it did; also when the call went on without it.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Header operations of the processor that rules refused or that nobody may do.
    #[must_use]
    pub const fn rejected_header_mutations(&self) -> u64 {
        self.link.rejected_header_mutations
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Call {
    fn begin(&mut self, now: Instant, headers: crate::Headers) {
        let options = self.config.options();
        let timeout = headers.get_str(timeout::GRPC_TIMEOUT.as_str()).and_then(timeout::read);
        self.deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        for (direction, list) in
            [(Direction::Request, &options.request_attributes), (Direction::Response, &options.response_attributes)]
        {
            if !list.is_empty() {
                self.link.attributes[direction as usize] = attributes::of(list, &headers, &self.told);
            }
        }
        let asked = !self.config.is_off();
        self.path = if asked { Path::Active } else { Path::Bypass };
        let deadline = self.deadline;
        self.with_request(now, |request, cx| request.on_headers(cx, headers, deadline, asked));
        self.with_response(now, |response, cx| response.begin(cx, asked));
    }

    fn with_request(&mut self, now: Instant, change: impl FnOnce(&mut Requests, &mut Cx<'_>)) {
        change(&mut self.request, &mut Cx { now, config: &self.config, link: &mut self.link });
    }

    fn with_response(&mut self, now: Instant, change: impl FnOnce(&mut Responses, &mut Cx<'_>)) {
        change(&mut self.response, &mut Cx { now, config: &self.config, link: &mut self.link });
    }

    /// The processor has ended the stream OK. It may where nothing goes to it any more that only it could give back.
    fn on_end(&mut self, now: Instant) {
        let drained = self.is_drained();
        self.link.lost();
        if drained {
            self.take_back();
        }
        if drained || self.request.is_finished() && self.response.is_finished() {
            self.bypass(now);
        } else {
            self.fail(now, Failure::WithoutDrain);
        }
    }

    /// The processor has failed: the call goes on without it, if that is allowed and it has nothing of the call.
    fn fail(&mut self, now: Instant, failure: Failure) {
        if self.path != Path::Active {
            return;
        }
        let options = self.config.options();
        let opens = options.failure_mode_allow && (options.observability_mode || !self.link.handed);
        if opens && !options.observability_mode {
            self.take_back();
        }
        self.link.reset();
        if opens {
            self.bypass(now);
        } else {
            let message = format!("ext_proc: {failure}");
            self.end_with(Status { code: 13, message, ..Status::default() });
        }
        self.failure.get_or_insert(failure);
    }

    /// Messages that have not left are nobody else's.
    fn take_back(&mut self) {
        let [request, response] = self.link.take_back();
        self.request.take_back(request);
        self.response.take_back(response);
    }

    fn bypass(&mut self, now: Instant) {
        self.path = Path::Bypass;
        self.link.leave();
        self.with_request(now, Requests::bypass);
        self.with_response(now, Responses::bypass);
    }

    /// After every event: the end of the response is the end of the call, and copies that cannot go hold nothing back.
    fn end_if_over(&mut self, now: Instant) {
        if self.path != Path::Over && self.path != Path::Start && self.response.is_over() {
            self.path = Path::Over;
            self.request.refuse();
            let options = self.config.options();
            let wait = if options.observability_mode { options.deferred_close_timeout } else { options.close_timeout };
            if self.link.stream == Stream::Unopened {
                self.link.leave();
            }
            self.link.half_close(now.checked_add(wait));
        }
        if self.link.stream == Stream::Gone {
            self.request.release_copies();
            self.response.release_copies();
        }
    }

    /// Whether the processor has asked for the end of the side stream (`request_drain`), which has not come.
    fn is_drained(&self) -> bool {
        self.path == Path::Active && self.link.stream == Stream::HalfClosed
    }

    /// Whether the processor still has messages of this direction in a drain of the whole stream.
    fn waits_for_drain(&self, direction: Direction) -> bool {
        self.is_drained()
            && match direction {
                Direction::Request => !self.request.is_finished(),
                Direction::Response => !self.response.is_finished(),
            }
    }

    /// Whether the processor gets a copy of what goes on.
    fn copies(&self) -> bool {
        self.path == Path::Active && self.config.options().observability_mode
    }
}
