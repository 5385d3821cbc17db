//! The gRPC service: one stream, one exchange.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use extproc_proto::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use futures_core::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument;

use crate::blocked::Settings;
use crate::exchange::{Exchange, Next, Outbox, traceparent};
use crate::telemetry::{Counts, Record};
use crate::{Open, RawReplies, Stages};

/// The service around a processor or a chain. Made by [`Server::into_service`](crate::Server::into_service), or in
/// memory by [`Script`](crate::testing::Script).
pub struct Service<S> {
    stages: Arc<S>,
    settings: Arc<Settings>,
    force: Arc<Force>,
    counts: Arc<Counts>,
}

/// Ends all exchanges of a server that is forced down.
#[derive(Debug, Default)]
pub(crate) struct Force {
    cut: AtomicBool,
    token: CancellationToken,
}

impl Force {
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.token.cancel();
    }
}

/// The messages of one exchange.
///
/// It holds the one future that reads requests, runs handlers and fills the outbox; polling for an answer is what
/// drives it. There is no task and no channel behind it.
pub struct Replies {
    outbox: Outbox,
    exchange: Option<Driver>,
    /// In place of an exchange: a processor that speaks the protocol itself, with what counts its stream.
    raw: Option<(RawReplies, Record)>,
    force: Arc<Force>,
    /// Made when the exchange first waits, and polled once for each waker: the token's lock is every exchange's.
    forced: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    waker: Option<Waker>,
}

type Driver = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

impl<S: Stages> Service<S> {
    pub(crate) fn new(stages: Arc<S>, settings: Arc<Settings>, force: Arc<Force>) -> Self {
        Self { counts: settings.metrics.counts(&*stages), stages, settings, force }
    }

    /// Limits on messages: what data planes send in one body message, at most.
    pub(crate) fn into_server(self, max_message: usize) -> ExternalProcessorServer<Self> {
        ExternalProcessorServer::new(self).max_decoding_message_size(max_message).max_encoding_message_size(usize::MAX)
    }

    pub(crate) fn run<I>(&self, requests: I, open: Open) -> Replies
    where
        I: Stream<Item = Result<ProcessingRequest, Status>> + Send + 'static,
    {
        let outbox = Outbox::default();
        let (stages, settings, out) = (Arc::clone(&self.stages), Arc::clone(&self.settings), outbox.clone());
        let record = Record::new(Arc::clone(&self.counts));
        if S::RAW {
            let raw = Some((stages.converse(&open, Box::pin(requests)), record));
            return Replies { outbox, exchange: None, raw, force: Arc::clone(&self.force), forced: None, waker: None };
        }
        let exchange: Driver = Box::pin(async move { drive(stages, settings, requests, open, &out, record).await });
        let (exchange, force) = (Some(exchange), Arc::clone(&self.force));
        Replies { outbox, exchange, raw: None, force, forced: None, waker: None }
    }
}

async fn drive<S: Stages>(
    stages: Arc<S>,
    settings: Arc<Settings>,
    requests: impl Stream<Item = Result<ProcessingRequest, Status>> + Send,
    open: Open,
    out: &Outbox,
    mut record: Record,
) -> Result<(), Status> {
    let mut requests = pin!(requests);
    let message = match next(requests.as_mut()).await {
        Ok(Some(message)) => message,
        Ok(None) => return Ok(()),
        Err(status) => {
            record.transport_failed(&status);
            return Err(status);
        }
    };
    let span = record.open_span(|| traceparent(&open, &message));
    converse(stages, settings, requests, message, open, out, record).instrument(span).await
}

async fn converse<S: Stages>(
    stages: Arc<S>,
    settings: Arc<Settings>,
    mut requests: Pin<&mut impl Stream<Item = Result<ProcessingRequest, Status>>>,
    mut message: ProcessingRequest,
    open: Open,
    out: &Outbox,
    record: Record,
) -> Result<(), Status> {
    let mut exchange =
        Exchange::open(&stages, open, &mut message, settings, record).map_err(|f| Status::internal(f.to_string()))?;
    loop {
        let next_step = exchange.handle(message, out).await.map_err(|f| Status::internal(f.to_string()))?;
        if next_step == Next::Close {
            return Ok(());
        }
        out.drained().await;
        match next(requests.as_mut()).await {
            Ok(Some(request)) => message = request,
            Ok(None) => {
                exchange.end(out);
                return Ok(());
            }
            Err(status) => {
                exchange.broken(&status, out);
                return Err(status);
            }
        }
    }
}

/// The next message; `None` at the end, clean or reset, which data planes race and which both are normal.
async fn next(
    mut requests: Pin<&mut impl Stream<Item = Result<ProcessingRequest, Status>>>,
) -> Result<Option<ProcessingRequest>, Status> {
    match poll_fn(|cx| requests.as_mut().poll_next(cx)).await {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(message)),
        Some(Err(status)) if status.code() == Code::Cancelled => Ok(None),
        Some(Err(status)) => Err(status),
    }
}

#[tonic::async_trait]
impl<S: Stages> ExternalProcessor for Service<S> {
    type ProcessStream = Replies;

    async fn process(&self, request: Request<Streaming<ProcessingRequest>>) -> Result<Response<Replies>, Status> {
        let peer = request.remote_addr();
        let (grpc_metadata, _, requests) = request.into_parts();
        let open = Open { peer, grpc_metadata: Arc::new(grpc_metadata), ..Open::default() };
        Ok(Response::new(self.run(requests, open)))
    }
}

impl Replies {
    /// Whether the server was forced down; if not, the task is woken when it is.
    fn is_forced(&mut self, cx: &mut Context<'_>) -> bool {
        if self.force.cut.load(Ordering::Acquire) {
            return true;
        }
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return false;
        }
        self.waker = Some(cx.waker().clone());
        let token = &self.force.token;
        self.forced.get_or_insert_with(|| Box::pin(token.clone().cancelled_owned())).as_mut().poll(cx).is_ready()
    }
}

impl Replies {
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ProcessingResponse, Status>>> {
        let Some((replies, record)) = &mut self.raw else { return Poll::Ready(None) };
        let polled = replies.as_mut().poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => return polled,
            Poll::Ready(Some(Err(_))) => record.stream_failed(),
            Poll::Ready(None) => {}
            Poll::Pending if self.is_forced(cx) => {
                self.raw = None;
                return Poll::Ready(Some(Err(Status::unavailable("the server is shutting down"))));
            }
            Poll::Pending => return Poll::Pending,
        }
        self.raw = None;
        polled
    }
}

impl Stream for Replies {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(reply) = self.outbox.pop() {
            return Poll::Ready(Some(Ok(reply)));
        }
        if self.raw.is_some() {
            return self.poll_raw(cx);
        }
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        let polled = exchange.as_mut().poll(cx);
        let result = match polled {
            Poll::Pending => None,
            Poll::Ready(result) => {
                self.exchange = None;
                Some(result)
            }
        };
        match (self.outbox.pop(), result) {
            (Some(reply), Some(Err(status))) => {
                // What was answered before the failure goes out first.
                self.exchange = Some(Box::pin(std::future::ready(Err(status))));
                Poll::Ready(Some(Ok(reply)))
            }
            (Some(reply), _) => Poll::Ready(Some(Ok(reply))),
            (None, None) if self.is_forced(cx) => {
                self.exchange = None;
                Poll::Ready(Some(Err(Status::unavailable("the server is shutting down"))))
            }
            (None, None) => Poll::Pending,
            (None, Some(Ok(()))) => Poll::Ready(None),
            (None, Some(Err(status))) => Poll::Ready(Some(Err(status))),
        }
    }
}

impl<S: Stages> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.stages.names()).finish()
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").finish_non_exhaustive()
    }
}
