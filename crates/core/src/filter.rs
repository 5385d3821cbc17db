//! One ext_proc filter on one HTTP exchange.

mod event;
mod order;

use std::sync::Arc;
use std::time::Instant;

pub use event::{Effect, EndStream, Forward, GrpcStatus, HttpEvent, Outgoing, StreamEvent, Timer};
pub(crate) use order::Order;

use crate::local_reply::RequestKind;
use crate::{Config, Direction, Stats};

/// One ext_proc filter on one HTTP exchange.
#[derive(Debug)]
pub struct Filter {
    config: Arc<Config>,
}

/// The caller broke the contract: an event that cannot follow what it fed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ApiMisuse(pub &'static str);

impl Filter {
    /// A filter for a new exchange.
    #[must_use]
    pub fn new(_config: Arc<Config>) -> Self {
        todo!()
    }

    /// Takes what the data plane saw.
    ///
    /// # Errors
    /// [`ApiMisuse`] when the event cannot follow the ones before; nothing has changed.
    pub fn handle_http(&mut self, _now: Instant, _direction: Direction, _event: HttpEvent) -> Result<(), ApiMisuse> {
        todo!()
    }

    /// Takes what the side stream brought. Late and unknown input is counted or ignored, never an error.
    pub fn handle_stream(&mut self, _now: Instant, _event: StreamEvent) {
        todo!()
    }

    /// Call when the deadline of [`poll_timeout`](Self::poll_timeout) has passed; earlier calls do nothing.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        todo!()
    }

    /// The next thing for the processor.
    pub fn poll_send(&mut self) -> Option<Outgoing> {
        todo!()
    }

    /// The next part for the next hop of this direction.
    pub fn poll_forward(&mut self, _direction: Direction) -> Option<Forward> {
        todo!()
    }

    /// The earliest deadline and its reason.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        todo!()
    }

    /// Whether more body of this direction may be fed. `false`: do not read it.
    #[must_use]
    pub fn wants(&self, _direction: Direction) -> bool {
        todo!()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        todo!()
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn set_request_kind(&mut self, _kind: RequestKind) {
        todo!()
    }

    pub(crate) fn cut(&mut self, _direction: Direction) {
        todo!()
    }

    pub(crate) fn finish(&mut self) {
        todo!()
    }

    pub(crate) fn reset(&mut self) {
        todo!()
    }
}
