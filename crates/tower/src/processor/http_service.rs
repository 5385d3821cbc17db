//! An HTTP service in place of a stream: a request for each message, polled by the exchange it belongs to.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use extproc_core::filter::GrpcStatus;
use extproc_proto::json;
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::Endpoint;

/// The longest response that is read.
const LONGEST_RESPONSE: usize = 4 << 20;
/// How many connections wait for further messages.
const MOST_IDLE: usize = 64;

/// What an HTTP service is asked, over HTTP/1.1 (Envoy `http_service.http_uri`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpService {
    /// The Host header. It does not say where the service is.
    pub authority: Authority,
    /// The target of every request.
    pub path: PathAndQuery,
    /// How long an answer may take. The message timeout runs besides.
    pub timeout: Duration,
}

/// A service and the connections to it.
#[derive(Debug)]
pub(super) struct Pool {
    service: HttpService,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// The messages of one exchange, one after the other.
pub(crate) struct Calls {
    pool: Arc<Pool>,
    endpoint: Endpoint,
    connect_timeout: Duration,
    call: Option<Call>,
}

type Call = Pin<Box<dyn Future<Output = Result<Box<ProcessingResponse>, GrpcStatus>> + Send>>;

impl Pool {
    pub(super) const fn new(service: HttpService) -> Self {
        Self { service, idle: Mutex::new(Vec::new()) }
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.service.path.clone().into();
        if let Ok(host) = HeaderValue::from_str(self.service.authority.as_str()) {
            request.headers_mut().insert(header::HOST, host);
        }
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

impl Calls {
    pub(super) const fn new(pool: Arc<Pool>, endpoint: Endpoint, connect_timeout: Duration) -> Self {
        Self { pool, endpoint, connect_timeout, call: None }
    }

    /// Whether a message waits for its answer.
    pub(crate) const fn is_busy(&self) -> bool {
        self.call.is_some()
    }

    /// Sends a message. The one before has its answer.
    pub(crate) fn send(&mut self, message: &ProcessingRequest) {
        let body = Bytes::from(json::write_request(message));
        let (pool, endpoint, connect_timeout) = (Arc::clone(&self.pool), self.endpoint.clone(), self.connect_timeout);
        self.call = Some(Box::pin(async move {
            let answer = ask(&pool, &endpoint, connect_timeout, body);
            let answer = tokio::time::timeout(pool.service.timeout, answer).await;
            answer.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(|reason| {
                tracing::debug!(?endpoint, reason, "no response of the HTTP service");
                GrpcStatus { code: 14, message: reason }
            })
        }));
    }

    /// The answer to the message that was sent.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<ProcessingResponse>, GrpcStatus>> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        let answer = call.as_mut().poll(cx);
        if answer.is_ready() {
            self.call = None;
        }
        answer
    }
}

/// One message and its answer.
async fn ask(
    pool: &Pool,
    endpoint: &Endpoint,
    connect_timeout: Duration,
    body: Bytes,
) -> Result<Box<ProcessingResponse>, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let mut kept = None;
    if let Some(mut connection) = pool.take() {
        match connection.try_send_request(pool.request(body.clone())).await {
            Ok(response) => kept = Some((connection, response)),
            // The service has closed the connection, and saw nothing of the request.
            Err(mut error) => {
                if error.take_message().is_none() {
                    return Err(text(error.error()));
                }
            }
        }
    }
    let (connection, response) = match kept {
        Some(kept) => kept,
        None => {
            let connecting = tokio::time::timeout(connect_timeout, connect(endpoint)).await;
            let mut connection =
                connecting.map_err(|_| "connection timeout".to_owned())?.map_err(|error| text(&error))?;
            let response = connection.send_request(pool.request(body)).await.map_err(|error| text(&error))?;
            (connection, response)
        }
    };
    let (status, body) = (response.status(), read(response.into_body()).await?);
    pool.put(connection);
    if status != StatusCode::OK {
        return Err(format!("status {}", status.as_u16()));
    }
    json::read_response(&body).map(Box::new).map_err(|error| text(&error))
}

async fn read(body: Incoming) -> Result<Bytes, String> {
    let body = Limited::new(body, LONGEST_RESPONSE).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

async fn connect(endpoint: &Endpoint) -> io::Result<SendRequest<Full<Bytes>>> {
    match endpoint {
        Endpoint::Tcp(host, port) => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            handshake(TokioIo::new(socket)).await
        }
        Endpoint::Unix(path) => handshake(TokioIo::new(UnixStream::connect(path).await?)).await,
    }
}

async fn handshake<T>(io: T) -> io::Result<SendRequest<Full<Bytes>>>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (connection, driver) = http1::handshake(io).await.map_err(io::Error::other)?;
    // It ends with the connection, whose failure the request that uses it sees.
    tokio::spawn(driver);
    Ok(connection)
}
