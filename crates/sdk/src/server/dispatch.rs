//! Which call goes to which service.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use extproc_proto::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer, SERVICE_NAME as EXTERNAL_PROCESSOR,
};
use extproc_proto::grpc::health::v1::health_server::{HealthServer, SERVICE_NAME as HEALTH};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;
use tonic::codegen::{BoxFuture, Service as _};
use tonic::transport::server::TcpConnectInfo;

use super::health::HealthService;
use super::reflection::Reflection;

/// All services of a server.
pub(super) struct Services<T> {
    processor: ExternalProcessorServer<T>,
    health: HealthServer<HealthService>,
    reflection: Option<Reflection>,
    running: Arc<AtomicUsize>,
    max_exchanges: usize,
}

/// The services as one connection sees them.
pub(super) struct OfConnection<T> {
    services: Arc<Services<T>>,
    peer: TcpConnectInfo,
    running: Arc<AtomicUsize>,
}

impl<T: ExternalProcessor> Services<T> {
    pub(super) fn new(processor: ExternalProcessorServer<T>, health: HealthService, max_exchanges: usize) -> Self {
        let health = HealthServer::new(health);
        Self { processor, health, reflection: None, running: Arc::default(), max_exchanges }
    }

    pub(super) fn with_reflection(mut self, on: bool) -> Self {
        self.reflection = on.then(Reflection::new);
        self
    }

    /// How many exchanges are running now.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// `running` counts the exchanges of the connection.
    pub(super) const fn for_connection(
        self: Arc<Self>,
        peer: TcpConnectInfo,
        running: Arc<AtomicUsize>,
    ) -> OfConnection<T> {
        OfConnection { services: self, peer, running }
    }
}

impl<T: ExternalProcessor> OfConnection<T> {
    fn process(&self, mut request: Request<Incoming>) -> Answer {
        let exchange = Exchange::begin([&self.running, &self.services.running]);
        if self.services.running() > self.services.max_exchanges {
            let limit = self.services.max_exchanges;
            tracing::debug!(limit, "an exchange is refused: the limit max_exchanges is reached");
            return Answer::status(Status::resource_exhausted(format!("{limit} exchanges are running already")));
        }
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.services.processor.clone().call(request);
        Answer { answer, exchange: Some(exchange) }
    }
}

impl<T: ExternalProcessor> hyper::service::Service<Request<Incoming>> for OfConnection<T> {
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(service, _)| service);
        match service {
            EXTERNAL_PROCESSOR => self.process(request),
            HEALTH => Answer { answer: self.services.health.clone().call(request), exchange: None },
            other => match self.services.reflection.as_ref().and_then(|it| it.handler(other)) {
                Some(handler) => Answer { answer: handler(request), exchange: None },
                None => Answer::status(Status::unimplemented(format!("unknown service {other:?}"))),
            },
        }
    }
}

/// An exchange from its call to the last byte of its answer.
struct Exchange([Arc<AtomicUsize>; 2]);

impl Exchange {
    fn begin(counters: [&Arc<AtomicUsize>; 2]) -> Self {
        Self(counters.map(|counter| {
            counter.fetch_add(1, Ordering::Relaxed);
            Arc::clone(counter)
        }))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for counter in &self.0 {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The head of an answer to come.
pub(super) struct Answer {
    answer: BoxFuture<Response<tonic::body::Body>, Infallible>,
    exchange: Option<Exchange>,
}

impl Answer {
    fn status(status: Status) -> Self {
        let answer = Box::pin(std::future::ready(Ok(status.into_http())));
        Self { answer, exchange: None }
    }
}

impl Future for Answer {
    type Output = Result<Response<Counted>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(cx));
        let exchange = self.exchange.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| Counted { body, _exchange: exchange })))
    }
}

/// The body of an answer; its exchange is over when it is dropped.
pub(super) struct Counted {
    body: tonic::body::Body,
    _exchange: Option<Exchange>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
