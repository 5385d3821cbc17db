//! What happened in an exchange, in order.

use std::time::Duration;

use extproc_core::chain::{Effect, Peer};
use extproc_core::filter::{ApiMisuse, Forward, GrpcStatus, HttpEvent, Timer};
use extproc_core::{Direction, LocalReply};
use extproc_proto::{ProcessingRequest, ProcessingResponse};

/// One thing that happened. Filters are named by their index in request order.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The time since the exchange began.
    pub at: Duration,
    /// What it was.
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message went to the processor of this filter.
    Sent(usize, Box<ProcessingRequest>),
    /// The data plane said that it will send nothing more on the stream of this filter.
    HalfClosed(usize),
    /// A message came from the processor of this filter.
    Reply(usize, Box<ProcessingResponse>),
    /// The processor of this filter ended its stream, it failed, or it could not be opened.
    Closed(usize, Result<(), GrpcStatus>),
    /// A deadline of this filter passed.
    Timeout(usize, Timer),
    /// The data plane did this.
    Effect(Effect),
    /// The client (request) or the upstream (response) sent a part.
    Came(Direction, HttpEvent),
    /// The upstream (request) or the client (response) got a part.
    Went(Direction, Forward),
    /// The client or the upstream gave up.
    GaveUp(Peer),
    /// The data plane answered in place of the upstream, which cannot be reached.
    Respond(LocalReply),
    /// The filter chain refused a part: a mistake of the test kit.
    Misuse(ApiMisuse),
}
