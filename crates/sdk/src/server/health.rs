//! The gRPC health service (`grpc.health.v1.Health`) of one server.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use extproc_proto::external_processor_server::SERVICE_NAME;
use futures_core::Stream;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Answers for the whole server (`""`) and for the processor service. NOT_SERVING while draining; a watch ends with
/// that answer, so that it does not keep the server.
#[derive(Debug)]
pub(super) struct HealthService {
    serving: watch::Receiver<bool>,
}

impl HealthService {
    pub(super) const fn new(serving: watch::Receiver<bool>) -> Self {
        Self { serving }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !is_known(&service) {
            return Err(Status::not_found(format!("unknown service {service:?}; known are \"\" and {SERVICE_NAME:?}")));
        }
        Ok(Response::new(response(*self.serving.borrow())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !is_known(&request.into_inner().service) {
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            // The service will not appear later; the protocol wants the stream to stay open.
            let stream = tokio_stream::once(Ok(unknown)).chain(tokio_stream::pending());
            return Ok(Response::new(Box::pin(stream)));
        }
        let stream = Watch { serving: WatchStream::new(self.serving.clone()), draining: false };
        Ok(Response::new(Box::pin(stream)))
    }
}

/// The changes of one server's state, the last of which is that it drains.
struct Watch {
    serving: WatchStream<bool>,
    draining: bool,
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.draining {
            return Poll::Ready(None);
        }
        let serving = ready!(Pin::new(&mut self.serving).poll_next(cx));
        self.draining = serving == Some(false);
        Poll::Ready(serving.map(|serving| Ok(response(serving))))
    }
}

fn is_known(service: &str) -> bool {
    service.is_empty() || service == SERVICE_NAME
}

fn response(serving: bool) -> HealthCheckResponse {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}
