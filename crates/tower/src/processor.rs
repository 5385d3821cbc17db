//! Where a processor is, and the connections to it.

mod http_service;
mod link;
mod stream;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use extproc_core::filter::GrpcStatus;
use http::HeaderMap;

pub(crate) use http_service::Calls;
pub use http_service::HttpService;
use http_service::Pool;
use link::{Connection, Link};
pub(crate) use stream::{Replay, SideStream};
use tokio::sync::watch;

/// An external processor: one or more equal servers. Clones share the connections.
///
/// There is one HTTP/2 connection for each endpoint. It is made when the first exchange needs it, made again when it
/// has failed, and carries every exchange as a stream of its own. Exchanges go round the endpoints; one whose last
/// connection attempt failed is passed over while another is there.
#[derive(Clone, Debug)]
pub struct Processor {
    inner: Arc<Inner>,
    /// What every call is given.
    metadata: Option<Arc<HeaderMap>>,
    /// What logs call it.
    name: Arc<str>,
    /// It is an HTTP service.
    http_service: Option<Arc<Pool>>,
}

#[derive(Debug)]
struct Inner {
    links: Vec<Link>,
    connect_timeout: Duration,
    next: AtomicUsize,
    /// Dropped with the last clone, which ends what still goes on of exchanges that are over.
    alive: watch::Sender<()>,
}

/// Where one server of a processor listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Cleartext HTTP/2 over TCP, to a host name or IP address (IPv6 without brackets) and a port.
    Tcp(String, u16),
    /// Cleartext HTTP/2 over a unix socket.
    Unix(PathBuf),
}

/// How the messages of an exchange go to a processor.
pub(crate) enum Opened {
    /// As requests of their own.
    Calls(Calls),
    /// On a stream.
    Stream(Opening),
}

/// A stream that is not open yet.
pub(crate) struct Opening {
    waits: Waits,
    metadata: Option<Arc<HeaderMap>>,
}

/// Why a stream is not open.
enum Waits {
    /// The connection is being made: ask again.
    Connecting(link::Waiting),
    /// The connection is there; it may have to wait for a free stream.
    Connected(Connection),
}

impl Processor {
    /// A processor at these endpoints. Connecting takes no longer than `connect_timeout`; nothing is connected yet.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>, connect_timeout: Duration) -> Self {
        let links = endpoints.into_iter().map(|it| Link::new(it, connect_timeout)).collect();
        let inner = Inner { links, connect_timeout, next: AtomicUsize::new(0), alive: watch::Sender::new(()) };
        Self { inner: Arc::new(inner), metadata: None, http_service: None, name: Arc::default() }
    }

    /// The same processor under a name for logs: the destination in [`LoggingInfo`](extproc_core::LoggingInfo). Default: empty.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Completes when the last clone is dropped.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut alive = self.inner.alive.subscribe();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// The same processor, with the same connections, where every call has this metadata as well. What the gRPC
    /// protocol itself sends is not replaced.
    #[must_use]
    pub fn with_metadata(self, metadata: HeaderMap) -> Self {
        Self { metadata: (!metadata.is_empty()).then(|| Arc::new(metadata)), ..self }
    }

    /// The same processor as an HTTP service (Envoy `http_service`): no gRPC stream, but a POST for each message, with the
    /// messages as JSON. [`Options::http_service`](extproc_core::Options) must say so to the filter.
    #[must_use]
    pub fn with_http_service(self, service: HttpService) -> Self {
        Self { http_service: Some(Arc::new(Pool::new(service))), ..self }
    }

    /// Begins an exchange, as [`open`](Self::open) does for a stream.
    pub(crate) fn begin(&self) -> Result<Opened, GrpcStatus> {
        match self.calls() {
            Some(calls) => Ok(Opened::Calls(calls)),
            None => self.open().map(Opened::Stream),
        }
    }

    /// The messages of one exchange, if this is an HTTP service.
    fn calls(&self) -> Option<Calls> {
        let pool = self.http_service.as_ref()?;
        let links = &self.inner.links;
        let link = links.get(self.inner.next.fetch_add(1, Ordering::Relaxed).checked_rem(links.len())?)?;
        Some(Calls::new(Arc::clone(pool), link.endpoint().clone(), self.inner.connect_timeout))
    }

    /// Begins to open a stream. Must run inside a tokio runtime.
    pub(crate) fn open(&self) -> Result<Opening, GrpcStatus> {
        let links = &self.inner.links;
        let count = links.len();
        if count == 0 {
            return Err(GrpcStatus { code: 14, message: "the processor has no endpoint".to_owned() });
        }
        let first = if count == 1 { 0 } else { self.inner.next.fetch_add(1, Ordering::Relaxed) % count };
        let mut in_turn = (0..count).map(|offset| &links[(first + offset) % count]);
        let link = in_turn.find(|it| !it.has_failed()).unwrap_or(&links[first]);
        Ok(Opening { waits: link.open(), metadata: self.metadata.clone() })
    }
}

impl Opening {
    /// Waits for a connection and for a free stream on it, then sends the request headers.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<SideStream, GrpcStatus>> {
        if let Waits::Connecting(waiting) = &mut self.waits {
            match waiting.poll(cx) {
                Poll::Ready(Ok(connection)) => self.waits = Waits::Connected(connection),
                Poll::Ready(Err(status)) => return Poll::Ready(Err(status)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Waits::Connected(connection) = &mut self.waits else { return Poll::Pending };
        match connection.streams.poll_ready(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(SideStream::start(connection, self.metadata.as_deref())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(stream::status_before_headers(&error))),
            Poll::Pending => Poll::Pending,
        }
    }
}
