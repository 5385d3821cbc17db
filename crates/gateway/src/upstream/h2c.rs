//! Endpoints that speak HTTP/2 without TLS: one connection to each, shared by all requests.

use std::time::Duration;

use extproc_tower::{Refusal, RequestBody};
use http::uri::Authority;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Mutex;
use tower_service::Service as _;

use super::body::Watched;
use super::connector::Connector;
use super::refusal;

/// How often a connection in use is asked whether it is still there: one that is dead would hold all requests up.
const PING_INTERVAL: Duration = Duration::from_secs(10);

type Outgoing = Watched<RequestBody<Incoming>>;

/// An endpoint and the connection to it.
pub(super) struct H2c {
    connector: Connector,
    endpoint: Uri,
    connection: Mutex<Option<SendRequest<Outgoing>>>,
}

impl H2c {
    pub(super) fn new(connector: Connector, authority: &Authority) -> Self {
        Self { connector, endpoint: super::target(authority, &Uri::default()), connection: Mutex::default() }
    }

    /// Sends a request. One that a closing connection did not take goes over a new one, once.
    pub(super) async fn send(&self, mut request: Request<Outgoing>) -> Result<Response<Incoming>, Refusal> {
        for attempt in 0.. {
            let mut connection = self.connection().await?;
            let mut error = match connection.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            request = match error.take_message() {
                Some(request) if attempt == 0 => request,
                _ => return Err(refusal(error.error())),
            };
        }
        unreachable!("the loop ends with its second turn")
    }

    /// The connection, a new one if there is none that takes requests.
    async fn connection(&self) -> Result<SendRequest<Outgoing>, Refusal> {
        let mut place = self.connection.lock().await;
        if let Some(connection) = place.as_ref().filter(|it| !it.is_closed()) {
            return Ok(connection.clone());
        }
        let stream = self.connector.clone().call(self.endpoint.clone()).await.map_err(|error| {
            tracing::debug!(%error, "no connection to the upstream");
            super::unreachable()
        })?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .handshake(stream)
            .await
            .map_err(|error| refusal(&error))?;
        TokioExecutor::new().execute(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the upstream failed");
            }
        });
        Ok(place.insert(sender).clone())
    }
}
