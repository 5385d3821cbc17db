//! The echo upstream's server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};

use super::names::{Recent, Recorded};
use super::reply;
use crate::listen::Listen;

/// The most body that a JSON answer shows; larger requests get 413. `/raw` has no limit.
const BODY_LIMIT: usize = 64 << 20;
/// How long requests may go on after a stop was asked for.
const GRACE: Duration = Duration::from_secs(5);

type Body = BoxBody<Bytes, hyper::Error>;

/// An echo upstream, listening.
pub(crate) struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    message: Arc<str>,
}

impl Server {
    pub(crate) async fn bind(listen: &Listen, message: impl Into<Arc<str>>) -> anyhow::Result<Self> {
        let listener = listen.bind().await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr, message: message.into() })
    }

    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `stop`, then lets running requests finish.
    pub(crate) async fn serve(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, _)) => self.connect(stream, &graceful),
                Err(error) => pause_after(&error).await,
            }
        }
        drop(self.listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were cut: they took longer than {GRACE:?} after the stop");
        }
    }

    fn connect(&self, stream: TcpStream, graceful: &GracefulShutdown) {
        // A response in several writes must not wait for an acknowledgement of the first.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection keeps its delay");
        }
        let (stream, recent) = Recorded::new(stream);
        let message = Arc::clone(&self.message);
        let service = service_fn(move |request| answer(request, recent.clone(), Arc::clone(&message)));
        let mut builder = Builder::new(TokioExecutor::new());
        // Idle connections stay open: the pools of proxies must not race with this end closing them.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        builder.http2().timer(TokioTimer::new());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

/// Out of file descriptors or memory: accepting again at once would spin. Errors of one connection are no reason.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "cannot accept a connection; trying again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn answer(request: Request<Incoming>, recent: Recent, message: Arc<str>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let names = recent.names();
    let path = head.uri.path();
    tracing::debug!(method = %head.method, path, "request");
    if path == "/raw" {
        recent.clear();
        return Ok(raw(&head, body));
    }
    let response = match Limited::new(body, BODY_LIMIT).collect().await.map(http_body_util::Collected::to_bytes) {
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            reply::refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 64 MiB; use /raw\n")
        }
        Err(_) => reply::refusal(StatusCode::BAD_REQUEST, "the request's body is incomplete\n"),
        Ok(_) if path.starts_with("/redirect") => reply::redirect(&head),
        Ok(_) if path == "/headers" => reply::headers(&head),
        Ok(body) => reply::view(&head, &names, &body, &message),
    };
    recent.clear();
    Ok(response.map(|bytes| Full::new(bytes).map_err(|never| match never {}).boxed()))
}

/// The body as it comes, while it comes.
fn raw(head: &http::request::Parts, body: Incoming) -> Response<Body> {
    let mut response = Response::new(body.boxed());
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, reply::content_type(&head.headers));
    if let Some(length) = head.headers.get(header::CONTENT_LENGTH).filter(|_| head.method != Method::HEAD) {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::clone(length));
    }
    response
}
