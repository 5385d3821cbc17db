//! The layers, and the service that they put around another one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use extproc_core::call::Config;
use extproc_core::headers::Value;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body as HttpBody;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::driver::{Driver, Upstream};
use super::settings::{Observer, Settings};
use super::status;
use crate::body::BoxError;
use crate::processor::Processor;

/// Shows the calls of a client to a processor. It goes around a `Channel`, so that retries and load balancing are below
/// it.
#[derive(Clone, Debug)]
pub struct ExtProcClientLayer {
    settings: Arc<Settings>,
}

/// Shows the calls that a server gets to a processor: `Server::builder().layer(..)`, or around one service. A layer for
/// gRPC-Web goes outside of it.
#[derive(Clone, Debug)]
pub struct ExtProcServerLayer {
    settings: Arc<Settings>,
}

macro_rules! layer {
    ($name:ident) => {
        impl $name {
            /// A layer with the default settings.
            #[must_use]
            pub fn new(config: Arc<Config>, processor: Processor) -> Self {
                Settings::new(config, processor).into()
            }

            /// What processors see as the authority of calls that have none.
            #[must_use]
            pub fn with_default_authority(self, authority: Value) -> Self {
                self.with(|settings| settings.default_authority = Some(authority))
            }

            /// The longest message, in bytes.
            #[must_use]
            pub fn with_max_message_bytes(self, max: usize) -> Self {
                self.with(|settings| settings.max_message_bytes = max)
            }

            /// Only calls are processed for whose path `/package.Service/Method` this is true; health checks may pass.
            #[must_use]
            pub fn with_predicate(self, processes: fn(&str) -> bool) -> Self {
                self.with(|settings| settings.processes = Some(processes))
            }

            /// Who is told the measures of calls.
            #[must_use]
            pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
                self.with(|settings| settings.observer = Some(observer))
            }

            fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
                let mut settings = Arc::unwrap_or_clone(self.settings);
                change(&mut settings);
                settings.into()
            }
        }

        impl From<Settings> for $name {
            fn from(settings: Settings) -> Self {
                Self { settings: Arc::new(settings) }
            }
        }

        impl<S> Layer<S> for $name {
            type Service = ExtProcService<S>;

            fn layer(&self, inner: S) -> ExtProcService<S> {
                ExtProcService { inner, settings: Arc::clone(&self.settings) }
            }
        }
    };
}

layer!(ExtProcClientLayer);
layer!(ExtProcServerLayer);

/// What the layers make of a service.
#[derive(Clone, Debug)]
pub struct ExtProcService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, UB> Service<Request<B>> for ExtProcService<S>
where
    S: Service<Request<Body>, Response = Response<UB>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    UB: HttpBody<Data = Bytes> + Send + 'static,
    UB::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    /// Always ready: the service is asked once the headers are answered, so that no call holds a place in it while it
    /// waits for a processor.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = self.inner.clone();
        let request = request.map(Body::new);
        let chosen = self.settings.processes.is_none_or(|processes| processes(request.uri().path()));
        if !chosen || self.settings.config.is_off() || !is_grpc(request.headers()) {
            return Box::pin(async move {
                std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
                Ok(inner.call(request).await?.map(Body::new))
            });
        }
        let upstream: Upstream = Box::new(|request| {
            Box::pin(async move {
                let ready = std::future::poll_fn(|cx| inner.poll_ready(cx)).await;
                ready.map_err(|error| status::of_error(error.into()))?;
                let response = inner.call(request).await.map_err(|error| status::of_error(error.into()))?;
                Ok(response.map(Body::new))
            })
        });
        let response = Driver::spawn(Arc::clone(&self.settings), request, upstream);
        Box::pin(async move {
            // The driver always answers, unless it has panicked.
            Ok(response
                .await
                .unwrap_or_else(|_| tonic::Status::internal("ext_proc: the call was given up").into_http()))
        })
    }
}

/// gRPC, and not gRPC-Web.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
