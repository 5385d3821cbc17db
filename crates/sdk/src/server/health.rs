//! The gRPC health service (`grpc.health.v1.Health`) of one server.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use extproc_proto::external_processor_server::SERVICE_NAME;
use extproc_proto::grpc::health::v1::health_check_response::ServingStatus;
use extproc_proto::grpc::health::v1::health_server::Health;
use extproc_proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use futures_core::Stream;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

/// Says whether a server and its processors serve, for `grpc.health.v1.Health`.
///
/// The services are `""` and `envoy.service.ext_proc.v3.ExternalProcessor`, which serve when all processors do, and each
/// processor by its name. All serve until told otherwise; none while the server drains.
///
/// ```
/// use extproc::{Noop, Server};
///
/// let server = Server::new(Noop);
/// let health = server.health_handle();
/// health.set("Noop", false)?; // until its data is loaded
/// assert!(!health.is_serving());
/// # Ok::<_, extproc::UnknownProcessor>(())
/// ```
#[derive(Clone)]
pub struct HealthHandle {
    state: watch::Sender<State>,
}

/// A server has no processor of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no processor {name:?} is served; there are {known}")]
pub struct UnknownProcessor {
    name: String,
    known: String,
}

#[derive(Clone, Debug)]
struct State {
    draining: bool,
    processors: BTreeMap<String, bool>,
}

impl HealthHandle {
    /// `names` as [`Stages::names`](crate::Stages::names) gives them.
    pub(super) fn new(names: &str) -> Self {
        let processors = names.split(',').filter(|name| !name.is_empty()).map(|name| (name.to_owned(), true)).collect();
        Self { state: watch::Sender::new(State { draining: false, processors }) }
    }

    /// Says whether one processor serves.
    ///
    /// # Errors
    /// The server has no processor of this name.
    pub fn set(&self, processor: &str, serving: bool) -> Result<(), UnknownProcessor> {
        let mut known = None;
        self.state.send_if_modified(|state| match state.processors.get_mut(processor) {
            Some(current) => std::mem::replace(current, serving) != serving,
            None => {
                let names: Vec<_> = state.processors.keys().map(|name| format!("{name:?}")).collect();
                known = Some(names.join(", "));
                false
            }
        });
        known.map_or(Ok(()), |known| Err(UnknownProcessor { name: processor.to_owned(), known }))
    }

    /// Says whether the processors serve, all at once.
    pub fn set_all(&self, serving: bool) {
        self.state.send_modify(|state| state.processors.values_mut().for_each(|it| *it = serving));
    }

    /// Whether the server as a whole serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.state.borrow().of("") == Some(ServingStatus::Serving)
    }

    /// From now on nothing serves.
    pub(super) fn drain(&self) {
        self.state.send_modify(|state| state.draining = true);
    }

    pub(super) fn service(&self) -> HealthService {
        HealthService { state: self.state.subscribe() }
    }
}

impl fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthHandle").field(&*self.state.borrow()).finish()
    }
}

impl State {
    /// None when the service is not known.
    fn of(&self, service: &str) -> Option<ServingStatus> {
        let serving = match service {
            "" | SERVICE_NAME => self.processors.values().all(|serving| *serving),
            name => *self.processors.get(name)?,
        };
        Some(if serving && !self.draining { ServingStatus::Serving } else { ServingStatus::NotServing })
    }

    fn services(&self) -> impl Iterator<Item = &str> {
        ["", SERVICE_NAME].into_iter().chain(self.processors.keys().map(String::as_str))
    }
}

/// The service. A watch ends when the server drains, so that it does not keep the server.
#[derive(Clone, Debug)]
pub(super) struct HealthService {
    state: watch::Receiver<State>,
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let state = self.state.borrow();
        match state.of(&service) {
            Some(status) => Ok(Response::new(response(status))),
            None => {
                let known: Vec<_> = state.services().map(|name| format!("{name:?}")).collect();
                Err(Status::not_found(format!("unknown service {service:?}; known are {}", known.join(", "))))
            }
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let state = self.state.borrow();
        let statuses = state.services().filter_map(|name| Some((name.to_owned(), response(state.of(name)?)))).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let state = WatchStream::new(self.state.clone());
        Ok(Response::new(Box::pin(Watch { service, state, last: None, draining: false })))
    }
}

/// The changes of one service's state, the last of which is that the server drains. A service that is not known stays
/// so.
struct Watch {
    service: String,
    state: WatchStream<State>,
    last: Option<ServingStatus>,
    draining: bool,
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.draining {
            let Some(state) = ready!(Pin::new(&mut self.state).poll_next(cx)) else { return Poll::Ready(None) };
            self.draining = state.draining;
            let status = state.of(&self.service).unwrap_or(ServingStatus::ServiceUnknown);
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(response(status))));
            }
        }
        Poll::Ready(None)
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
