//! Metrics and readiness over HTTP, for scrapers and probes.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::Metrics;

/// What [`Metrics::encode`] gives.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Connections at the same time; scrapers and probes are few.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long accepting rests after an error, such as when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket for the endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

/// What is told.
struct Sources {
    metrics: Metrics,
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Endpoint {
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the handle is dropped, also while the server drains.
    pub(crate) fn serve(
        self,
        metrics: Metrics,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> AbortOnDropHandle<()> {
        tracing::info!("Metrics at http://{}/metrics", self.address);
        let sources = Arc::new(Sources { metrics, is_ready: Box::new(is_ready) });
        AbortOnDropHandle::new(tokio::spawn(accept(self.listener, sources)))
    }
}

async fn accept(listener: TcpListener, sources: Arc<Sources>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Its connections end with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let sources = Arc::clone(&sources);
                connections.spawn(async move {
                    converse(socket, &sources).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the metrics endpoint cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(socket: TcpStream, sources: &Sources) {
    // A failure costs a delay at most.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, sources)) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the metrics endpoint failed");
    }
}

fn answer<B>(request: &Request<B>, sources: &Sources) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = Response::new(sources.metrics.encode());
            response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
            response
        }
        "/healthz" => text(StatusCode::OK, "alive\n"),
        "/readyz" if (sources.is_ready)() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    let mut response = Response::new(body.to_owned());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}
