//! Filters in a row: what a data plane drives for one exchange.

mod lane;
mod logging;
mod metadata;
mod streamed_reply;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::chain::lane::Lane;
use crate::chain::metadata::Known;
use crate::filter::{self, ApiMisuse, Filter, Forward, HttpEvent, Outgoing, StreamEvent, Timer};
use crate::local_reply::RequestKind;
use crate::{Attribute, Config, Direction, LocalReply, Stats};

/// The filters of one exchange, in request order; responses pass them in reverse.
///
/// Drive it so, for one exchange:
///
/// 1. Feed what happens: [`handle_http`](Self::handle_http) for both directions, [`handle_stream`](Self::handle_stream)
///    for each side stream, [`handle_timeout`](Self::handle_timeout) when the deadline has passed,
///    [`handle_reset`](Self::handle_reset) when client or upstream gave up, [`respond`](Self::respond) when the data
///    plane itself answers (no route, upstream down). `now` never goes back.
/// 2. After each of them drain `poll_effect`, and let every sink take what it can from `poll_send` and `poll_forward`.
///    Outlets never fail; `None` means nothing now.
/// 3. Read a body only while [`wants`](Self::wants) says so, and a side stream while
///    [`takes_messages`](Self::takes_messages) does.
///
/// # Back-pressure
///
/// What one filter lets go is given to the next one at once, whether that one wants more or not; only the source is
/// held back. A filter may thus hold its own `buffer_limit` plus what the filters before it held when it stopped
/// wanting: the chain is bounded by the sum of the limits, and no part waits for a sink to be polled.
#[derive(Debug)]
pub struct FilterChain {
    filters: Vec<Filter>,
    request: Lane,
    response: Lane,
    metadata: Known,
    effects: VecDeque<Effect>,
    details: Option<String>,
    cancelled: bool,
    over: bool,
}

/// What the chain wants done. Filters are named by their index in request order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the side stream of this filter. Messages may be taken from `poll_send` at once.
    OpenStream(usize),
    /// Reset the side stream of this filter; nothing it brings counts any more.
    ResetStream(usize),
    /// Choose the route again, with the headers as `poll_forward(Request)` will give them.
    RecomputeRoute,
    /// The response does not come from the upstream: abort the request to it, or do not make one. The response is
    /// taken from `poll_forward(Response)` as ever; request data goes no further, and is read only while it is wanted.
    CancelUpstream,
    /// The response had begun and cannot be finished: cut it so that the client sees it is incomplete (HTTP/1: close
    /// without the last chunk; HTTP/2: RST_STREAM INTERNAL_ERROR). Ends the exchange.
    ResetDownstream,
}

/// Who gave up the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The client.
    Downstream,
    /// The upstream, after its response headers.
    Upstream,
}

impl FilterChain {
    /// A chain for a new exchange. Without filters everything passes at once.
    #[must_use]
    pub fn new(configs: impl IntoIterator<Item = Arc<Config>>) -> Self {
        let filters: Vec<_> = configs.into_iter().map(Filter::new).collect();
        let limit = filters.iter().map(|filter| filter.config().options().buffer_limit).max();
        let limit = limit.unwrap_or_else(|| crate::Options::default().buffer_limit);
        Self {
            filters,
            request: Lane::new(limit),
            response: Lane::new(limit),
            metadata: Known::default(),
            effects: VecDeque::new(),
            details: None,
            cancelled: false,
            over: false,
        }
    }

    /// Takes what the data plane saw: requests from the client, responses from the upstream.
    ///
    /// # Errors
    /// [`ApiMisuse`] when the event cannot follow the ones before; nothing has changed. Events of a direction that a
    /// local reply or a reset has ended are no misuse: they are dropped.
    pub fn handle_http(&mut self, now: Instant, direction: Direction, event: HttpEvent) -> Result<(), ApiMisuse> {
        let lane = self.lane_mut(direction);
        if lane.is_closed() {
            return Ok(());
        }
        lane.accept(&event)?;
        if let (Direction::Request, HttpEvent::Headers(headers, _)) = (direction, &event) {
            let kind = RequestKind::of(headers);
            self.filters.iter_mut().for_each(|filter| filter.set_request_kind(kind));
        }
        self.enter(now, direction, event);
        self.settle(now);
        Ok(())
    }

    /// Tells the filters an attribute that headers do not have (`source.address`, `request.time`), before the headers of
    /// the direction that it is for. Names are Envoy's.
    pub fn set_attribute(&mut self, name: &str, value: &Attribute) {
        self.filters.iter_mut().for_each(|filter| filter.set_attribute(name, value.clone()));
    }

    /// Whether a filter asks for an attribute: one that takes work to find out need not be told otherwise.
    #[must_use]
    pub fn wants_attribute(&self, name: &str) -> bool {
        self.filters.iter().any(|filter| filter.wants_attribute(name))
    }

    /// Whether a filter asks for any attribute that headers do not have.
    #[must_use]
    pub fn wants_attributes(&self) -> bool {
        self.filters.iter().any(Filter::wants_attributes)
    }

    /// Takes what the side stream of a filter brought.
    pub fn handle_stream(&mut self, now: Instant, filter: usize, mut event: StreamEvent) {
        let Some(target) = self.filters.get_mut(filter) else {
            return debug_assert!(false, "the chain has no filter {filter}");
        };
        if target.take_metadata(&mut event).is_none_or(|received| self.receive_metadata(received)) {
            self.filters[filter].handle_stream(now, event);
        } else {
            self.filters[filter].refuse_metadata(now);
        }
        self.settle(now);
    }

    /// Call when the deadline of [`poll_timeout`](Self::poll_timeout) has passed; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.filters.len() {
            if !self.takes_messages(index) {
                self.filters[index].put_off_reply(now);
            }
            self.filters[index].handle_timeout(now);
            self.settle(now);
        }
    }

    /// A peer gave up, or the exchange is over for the data plane: closes all side streams and counts it.
    ///
    /// When the upstream gives up, the response cannot be finished: [`Effect::ResetDownstream`] follows, as in Envoy
    /// also when a filter still holds the response headers.
    pub fn handle_reset(&mut self, now: Instant, by: Peer) {
        if self.over {
            return;
        }
        match by {
            Peer::Downstream => self.abandon(now),
            Peer::Upstream if self.response.is_closed() || self.response.has_ended() => {}
            Peer::Upstream => self.cut_response(now),
        }
    }

    /// The data plane answers in place of the upstream. The reply passes the response direction of all filters, as in
    /// Envoy, unless response headers were already under way: then it goes to the client directly, or, when the
    /// client has headers already, the response is cut.
    pub fn respond(&mut self, now: Instant, reply: LocalReply) {
        self.answer(now, reply);
        self.settle(now);
    }

    /// The exchange is over for the data plane (both directions done, nothing to read any more): side streams that
    /// are still open are half-closed and counted as closed, those of observability mode after their
    /// `deferred_close_timeout`. Idempotent.
    ///
    /// Go on with streams and deadlines (steps 1 and 2) until [`has_streams`](Self::has_streams) says no. A data plane
    /// that cannot wait may reset the streams in place of that.
    pub fn finish(&mut self, now: Instant) {
        for filter in &mut self.filters {
            filter.finish(now);
        }
        self.request.close();
        self.response.close();
        self.over = true;
        self.collect_effects();
    }

    /// Closes the side streams that wait for their `deferred_close_timeout`, before it has passed: the data plane shuts
    /// down. Call it after [`finish`](Self::finish).
    pub fn close_streams(&mut self, now: Instant) {
        self.filters.iter_mut().for_each(|filter| filter.close_deferred(now));
        self.collect_effects();
    }

    /// Whether there is a side stream that has not ended at both ends.
    #[must_use]
    pub fn has_streams(&self) -> bool {
        !self.filters.iter().all(Filter::has_no_stream)
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The next thing for the processor of this filter.
    pub fn poll_send(&mut self, filter: usize) -> Option<Outgoing> {
        self.filters.get_mut(filter)?.poll_send()
    }

    /// Whether a filter has something for its processor. Taking a part may change this: it gives processors of GRPC
    /// bodies room for more.
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        self.filters.iter().any(Filter::has_outgoing)
    }

    /// The next part for the upstream (request) or the client (response).
    pub fn poll_forward(&mut self, direction: Direction) -> Option<Forward> {
        let part = self.lane_mut(direction).pop()?;
        self.return_credits(direction);
        Some(part)
    }

    /// The earliest deadline, the filter it belongs to, and its reason.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, usize, Timer)> {
        let deadlines = self.filters.iter().enumerate();
        let deadlines = deadlines.filter_map(|(index, filter)| filter.poll_timeout().map(|(at, why)| (at, index, why)));
        deadlines.min_by_key(|(at, index, _)| (*at, *index))
    }

    /// Whether a deadline is running that the exchange waits for. Those of [`Timer::DeferredClose`] and
    /// [`Timer::RemoteClose`] are about the end of a side stream only.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.filters.iter().any(Filter::waits)
    }

    /// Whether more body of this direction may be fed. `false`: do not read it.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> bool {
        self.lane(direction).wants() && self.filters.iter().all(|filter| filter.wants(direction))
    }

    /// Whether a direction has given its last part to `poll_forward`.
    #[must_use]
    pub fn is_done(&self, direction: Direction) -> bool {
        self.lane(direction).is_done()
    }

    /// The number of filters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether there is no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// What a filter counted so far.
    ///
    /// # Panics
    /// If there is no filter with this index.
    #[must_use]
    pub fn stats(&self, filter: usize) -> &Stats {
        self.filters[filter].stats()
    }

    /// Why the response is not the upstream's, for the access log (Envoy RESPONSE_CODE_DETAILS).
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }

    /// Gives an event to the first filter of its direction, or past all filters when there is none.
    fn enter(&mut self, now: Instant, direction: Direction, event: HttpEvent) {
        let first = match direction {
            Direction::Request => 0,
            Direction::Response => self.filters.len().wrapping_sub(1),
        };
        self.feed(now, direction, first, event);
    }

    fn feed(&mut self, now: Instant, direction: Direction, index: usize, event: HttpEvent) {
        let Some(filter) = self.filters.get_mut(index) else {
            return self.lane_mut(direction).push(event.into());
        };
        let fed = filter.handle_http(now, direction, event);
        debug_assert_eq!(fed, Ok(()), "filters give parts in the order they take them");
    }

    /// Moves parts from filter to filter and carries out what the filters want, until nothing moves any more.
    fn settle(&mut self, now: Instant) {
        loop {
            let mut moved = self.carry_out(now);
            for index in 0..self.filters.len() {
                for direction in Direction::BOTH {
                    let next = match direction {
                        Direction::Request => index + 1,
                        Direction::Response => index.wrapping_sub(1),
                    };
                    while let Some(part) = self.filters[index].poll_forward(direction) {
                        self.feed(now, direction, next, part.into());
                        moved = true;
                    }
                }
            }
            if !moved {
                Direction::BOTH.into_iter().for_each(|direction| self.return_credits(direction));
                return;
            }
        }
    }

    /// Processors get room for what has gone on, as long as there is room behind their filters: what one gives is
    /// bounded by its window and what the way to the sink holds.
    fn return_credits(&mut self, direction: Direction) {
        let mut room = self.lane(direction).has_room();
        let mut give = |filter: &mut Filter| {
            if room {
                filter.return_credit(direction);
            }
            room &= filter.has_room(direction);
        };
        match direction {
            Direction::Request => self.filters.iter_mut().rev().for_each(&mut give),
            Direction::Response => self.filters.iter_mut().for_each(&mut give),
        }
    }

    fn carry_out(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for index in 0..self.filters.len() {
            while let Some(effect) = self.filters[index].poll_effect() {
                moved = true;
                match effect {
                    filter::Effect::OpenStream => self.effects.push_back(Effect::OpenStream(index)),
                    filter::Effect::ResetStream => self.effects.push_back(Effect::ResetStream(index)),
                    filter::Effect::RecomputeRoute => self.effects.push_back(Effect::RecomputeRoute),
                    filter::Effect::LocalReply { reply, .. } => self.answer(now, reply),
                    filter::Effect::StreamedReply(part) => self.pass_reply(now, index, part),
                }
            }
        }
        moved
    }

    /// Answers the client, as Envoy's filter manager does: through the response direction of all filters while no
    /// response headers have entered it; directly while the client has none; else the response is cut.
    fn answer(&mut self, now: Instant, reply: LocalReply) {
        if self.over {
            return;
        }
        if self.response.is_complete() {
            // The client gets a whole response; only the request can still be stopped.
            return self.cancel_upstream();
        }
        self.details = Some(reply.details);
        if self.response.has_given_headers() {
            return self.cut_response(now);
        }
        self.cancel_upstream();
        let LocalReply { headers, body, .. } = reply;
        let headers = HttpEvent::Headers(headers, body.is_empty());
        let body = (!body.is_empty()).then_some(HttpEvent::Data(body, true));
        if self.response.take_over() {
            self.enter(now, Direction::Response, headers);
            if let Some(body) = body {
                self.enter(now, Direction::Response, body);
            }
            return;
        }
        self.filters.iter_mut().for_each(|filter| filter.finish(now));
        self.response.clear();
        self.response.push(headers.into());
        if let Some(body) = body {
            self.response.push(body.into());
        }
    }

    fn cancel_upstream(&mut self) {
        self.request.close();
        self.filters.iter_mut().for_each(|filter| filter.cut(Direction::Request));
        if !self.cancelled {
            self.cancelled = true;
            self.effects.push_back(Effect::CancelUpstream);
        }
    }

    fn cut_response(&mut self, now: Instant) {
        self.cancel_upstream();
        self.abandon(now);
        self.effects.push_back(Effect::ResetDownstream);
    }

    /// Ends the exchange at once: every open side stream is reset, nothing more is forwarded.
    fn abandon(&mut self, now: Instant) {
        for filter in &mut self.filters {
            filter.reset(now);
        }
        self.collect_effects();
        for lane in [&mut self.request, &mut self.response] {
            lane.close();
        }
        self.over = true;
    }

    fn collect_effects(&mut self) {
        for (index, filter) in self.filters.iter_mut().enumerate() {
            while let Some(effect) = filter.poll_effect() {
                match effect {
                    filter::Effect::ResetStream => self.effects.push_back(Effect::ResetStream(index)),
                    // Of no use to an exchange that is over.
                    filter::Effect::OpenStream
                    | filter::Effect::RecomputeRoute
                    | filter::Effect::LocalReply { .. }
                    | filter::Effect::StreamedReply(_) => {}
                }
            }
        }
    }

    fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    fn lane_mut(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}
