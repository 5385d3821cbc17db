//! Processors that speak the protocol themselves.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use extproc_proto::{ProcessingRequest, ProcessingResponse};
use futures_core::Stream;
use tonic::Status;

use crate::{Needs, Noop, Open, Stages};

/// The messages of one stream, as they come.
pub type RawRequests = Pin<Box<dyn Stream<Item = Result<ProcessingRequest, Status>> + Send>>;

/// The answers of one stream; its end is the end of the stream.
pub type RawReplies = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

/// A processor of messages: for tests of data planes, adapters and whatever [`Processor`](crate::Processor) does not let
/// one say. Nothing checks its answers.
///
/// [`Raw`] makes it something that a [`Server`](crate::Server) serves, with all of the server's settings.
pub trait RawProcessor: Send + Sync + 'static {
    /// Its name, in the start line, logs and metrics.
    fn name(&self) -> &str;

    /// The answers to the messages of a stream. `open` has the peer and the headers of the call.
    fn process(&self, open: &Open, requests: RawRequests) -> RawReplies;
}

/// A [`RawProcessor`] in the place of a processor, alone: it cannot be part of a [`Chain`](crate::Chain). Its
/// [`needs`](crate::Server::needs) are not known, and of the metrics only those of streams move.
///
/// ```
/// use extproc::{Open, Raw, RawProcessor, RawReplies, RawRequests, Server};
///
/// /// Ends every stream at once, which is "go on without me".
/// struct Leaves;
///
/// impl RawProcessor for Leaves {
///     fn name(&self) -> &str {
///         "Leaves"
///     }
///
///     fn process(&self, _: &Open, _: RawRequests) -> RawReplies {
///         Box::pin(tokio_stream::empty())
///     }
/// }
///
/// let server = Server::new(Raw::new(Leaves));
/// assert_eq!(server.name(), "Leaves");
/// ```
pub struct Raw<P>(P);

impl<P: RawProcessor> Raw<P> {
    /// To be served.
    pub const fn new(processor: P) -> Self {
        Self(processor)
    }
}

impl<P: RawProcessor> Stages for Raw<P> {
    type Run = <Noop as Stages>::Run;

    const RAW: bool = true;

    fn open(_: &Arc<Self>, open: &Open) -> Self::Run {
        Noop::open(&Arc::new(Noop), open)
    }

    fn converse(&self, open: &Open, requests: RawRequests) -> RawReplies {
        self.0.process(open, requests)
    }

    fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        visit(self.0.name());
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// No answers.
pub(crate) struct Ended;

impl Stream for Ended {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

impl<P: RawProcessor> fmt::Debug for Raw<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Raw").field(&self.0.name()).finish()
    }
}
