//! Filters in a row: what a data plane drives for one exchange.

use std::sync::Arc;
use std::time::Instant;

use crate::filter::{ApiMisuse, Forward, HttpEvent, Outgoing, StreamEvent, Timer};
use crate::{Config, Direction, LocalReply, Stats};

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
/// 3. Read a body only while [`wants`](Self::wants) says so.
#[derive(Debug)]
pub struct FilterChain {
    filters: Vec<crate::filter::Filter>,
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
    /// taken from `poll_forward(Response)` as ever; request data is no longer wanted.
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
    pub fn new(_configs: impl IntoIterator<Item = Arc<Config>>) -> Self {
        todo!()
    }

    /// Takes what the data plane saw: requests from the client, responses from the upstream.
    ///
    /// # Errors
    /// [`ApiMisuse`] when the event cannot follow the ones before; nothing has changed. Events of a direction that a
    /// local reply or a reset has ended are no misuse: they are dropped.
    pub fn handle_http(&mut self, _now: Instant, _direction: Direction, _event: HttpEvent) -> Result<(), ApiMisuse> {
        todo!()
    }

    /// Takes what the side stream of a filter brought.
    pub fn handle_stream(&mut self, _now: Instant, _filter: usize, _event: StreamEvent) {
        todo!()
    }

    /// Call when the deadline of [`poll_timeout`](Self::poll_timeout) has passed; earlier calls do nothing.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }

    /// A peer gave up, or the exchange is over for the data plane: closes all side streams and counts it.
    pub fn handle_reset(&mut self, _now: Instant, _by: Peer) {
        todo!()
    }

    /// The data plane answers in place of the upstream. The reply passes the response direction of all filters, as in
    /// Envoy, unless response headers were already under way.
    pub fn respond(&mut self, _now: Instant, _reply: LocalReply) {
        todo!()
    }

    /// The exchange is over for the data plane (both directions done, nothing to read any more): side streams that
    /// are still open are half-closed and counted as closed. Idempotent.
    pub fn finish(&mut self, _now: Instant) {
        todo!()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        todo!()
    }

    /// The next thing for the processor of this filter.
    pub fn poll_send(&mut self, _filter: usize) -> Option<Outgoing> {
        todo!()
    }

    /// The next part for the upstream (request) or the client (response).
    pub fn poll_forward(&mut self, _direction: Direction) -> Option<Forward> {
        todo!()
    }

    /// The earliest deadline, the filter it belongs to, and its reason.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, usize, Timer)> {
        todo!()
    }

    /// Whether more body of this direction may be fed. `false`: do not read it.
    #[must_use]
    pub fn wants(&self, _direction: Direction) -> bool {
        todo!()
    }

    /// Whether a direction has given its last part to `poll_forward`.
    #[must_use]
    pub fn is_done(&self, _direction: Direction) -> bool {
        todo!()
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
    #[must_use]
    pub fn stats(&self, filter: usize) -> &Stats {
        self.filters[filter].stats()
    }

    /// Why the response is not the upstream's, for the access log (Envoy RESPONSE_CODE_DETAILS).
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        todo!()
    }
}
