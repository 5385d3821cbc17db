//! Upstreams: which endpoint a request goes to, the connections there, and what to answer when there is no answer.

mod body;
mod connector;
mod h2c;

use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use extproc_core::DynamicMetadata;
use extproc_tower::http::ClusterMetadata;
use extproc_tower::{Refusal, RequestBody};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::coding;
use crate::plan::{Backend, Protocol, Rule};
pub(crate) use body::UpstreamBody;
use body::Watched;
use connector::Connector;
use h2c::H2c;

/// How long an unused connection is kept. Shorter than most servers keep it, so that we close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

type Client = legacy::Client<Connector, Watched<RequestBody<Incoming>>>;

pub(crate) struct Upstream {
    client: Client,
    backends: Vec<Target>,
    /// Counts requests; gives rules their shares of backends.
    tickets: AtomicU64,
}

/// A backend with the authorities by which the connector knows its endpoints.
struct Target {
    backend: Backend,
    authorities: Vec<Authority>,
    /// The same endpoints, if they speak HTTP/2.
    h2c: Vec<Arc<H2c>>,
    tickets: AtomicU64,
}

/// An endpoint that was chosen.
enum Endpoint<'a> {
    Http1(&'a Authority),
    H2c(&'a Authority, &'a Arc<H2c>),
}

/// The future of an upstream's response.
pub(crate) struct Answer(Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, Refusal>> + Send>>);

impl Answer {
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self(Box::pin(std::future::ready(Err(refusal))))
    }
}

impl Answer {
    /// Tells whose response it is, because it is not the one that was told before.
    pub(crate) fn with_metadata(self, metadata: Arc<DynamicMetadata>) -> Self {
        Self(Box::pin(async move {
            let mut response = self.0.await?;
            response.extensions_mut().insert(ClusterMetadata(metadata));
            Ok(response)
        }))
    }
}

impl Future for Answer {
    type Output = Result<Response<UpstreamBody>, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl Upstream {
    pub(crate) fn new(backends: &[Backend]) -> Self {
        let mut connector = Connector::default();
        let authorities: Vec<Vec<Authority>> = backends
            .iter()
            .map(|backend| backend.endpoints.iter().map(|it| connector.authority(&it.address)).collect())
            .collect();
        let target = |(backend, authorities): (&Backend, Vec<Authority>)| Target {
            backend: backend.clone(),
            h2c: match backend.protocol {
                Protocol::Http1 => Vec::new(),
                Protocol::H2c => authorities.iter().map(|it| Arc::new(H2c::new(connector.clone(), it))).collect(),
            },
            authorities,
            tickets: AtomicU64::new(0),
        };
        let backends = backends.iter().zip(authorities).map(target).collect();
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .set_host(false)
            .build(connector);
        Self { client, backends, tickets: AtomicU64::new(0) }
    }

    /// Chooses one of the rule's backends, by its index in the plan.
    pub(crate) fn choose(&self, rule: &Rule) -> Option<usize> {
        match rule.backends.as_slice() {
            [one] if one.weight > 0 => Some(one.backend),
            _ => rule.backend(self.tickets.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Sends a request to a backend that was chosen.
    pub(crate) fn send(&self, rule: &Rule, backend: Option<usize>, request: Request<RequestBody<Incoming>>) -> Answer {
        let Some(endpoint) = backend.and_then(|it| self.endpoint(it)) else {
            return Answer::refused(Refusal::new(500, "", "no_backend_with_weight"));
        };
        let (Endpoint::Http1(authority) | Endpoint::H2c(authority, _)) = endpoint;
        let (mut head, body) = request.into_parts();
        // An absolute target beats the Host header, and HTTP/2 has only the target. HTTP/1.0 clients may send neither,
        // but HTTP/1.1 servers want a host.
        let named = head.uri.authority().or_else(|| (!head.headers.contains_key(header::HOST)).then_some(authority));
        if let Some(Ok(host)) = named.map(|it| HeaderValue::from_str(it.as_str())) {
            head.headers.insert(header::HOST, host);
        }
        let limits =
            Limits { started: Instant::now(), total: rule.timeouts.request, headers: rule.timeouts.backend_request };
        let (ended, end) = oneshot::channel();
        let ended = if body.is_end_stream() { None } else { Some(ended) };
        match endpoint {
            Endpoint::Http1(_) => {
                declare_length(&mut head, &body);
                head.version = Version::HTTP_11;
                head.uri = target(authority, &head.uri);
                let response = self.client.request(Request::from_parts(head, Watched::new(body, ended)));
                let response = async { response.await.map_err(|error| refusal(&error)) };
                Answer(Box::pin(limits.apply(response, end)))
            }
            Endpoint::H2c(_, h2c) => {
                head.version = Version::HTTP_2;
                // There is no Host header in HTTP/2; what it says is part of the target.
                let host = head.headers.remove(header::HOST).and_then(|it| Authority::try_from(it.as_bytes()).ok());
                head.uri = target(host.as_ref().unwrap_or(authority), &head.uri);
                let h2c = Arc::clone(h2c);
                let request = Request::from_parts(head, Watched::new(body, ended));
                let response = async move { h2c.send(request).await };
                Answer(Box::pin(limits.apply(response, end)))
            }
        }
    }

    fn endpoint(&self, backend: usize) -> Option<Endpoint<'_>> {
        let target = &self.backends[backend];
        let index = match target.authorities.as_slice() {
            [_] => 0,
            _ => {
                let endpoint = target.backend.endpoint(target.tickets.fetch_add(1, Ordering::Relaxed))?;
                target.backend.endpoints.iter().position(|it| std::ptr::eq(it, endpoint))?
            }
        };
        let authority = target.authorities.get(index)?;
        Some(target.h2c.get(index).map_or(Endpoint::Http1(authority), |it| Endpoint::H2c(authority, it)))
    }
}

/// Says how the body is framed where hyper would not: it sends no body of unknown length with GET and its like unless
/// it is told to, and does not tell servers that an empty body is meant (RFC 9110, 8.6; the methods are Envoy's).
fn declare_length(head: &mut http::request::Parts, body: &impl Body) {
    if head.headers.contains_key(header::CONTENT_LENGTH) {
        return;
    }
    if !body.is_end_stream() {
        if body.size_hint().exact().is_none() {
            head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    } else if ![Method::GET, Method::HEAD, Method::DELETE, Method::TRACE].contains(&head.method) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// How long a response may take.
struct Limits {
    started: Instant,
    /// From the request to the last byte of the response.
    total: Option<Duration>,
    /// From the end of the request to the headers of the response.
    headers: Option<Duration>,
}

impl Limits {
    async fn apply(
        self,
        response: impl Future<Output = Result<Response<Incoming>, Refusal>>,
        request_end: oneshot::Receiver<()>,
    ) -> Result<Response<UpstreamBody>, Refusal> {
        let deadline = self.total.map(|it| self.started + it);
        let expired = async {
            let _ = request_end.await;
            let limit = self.headers.map(|it| Instant::now() + it);
            until(limit).await;
        };
        let response = tokio::select! {
            biased;
            response = response => response?,
            () = expired => return Err(timed_out()),
            () = until(deadline) => return Err(timed_out()),
        };
        let mut response = response;
        check_framing(&mut response)?;
        Ok(response.map(|body| UpstreamBody::new(body, deadline)))
    }
}

/// Refuses a response that means something else than the request asked for, or a body that nobody here can decode.
/// A chunked body is as long as its chunks say, whatever `content-length` says (RFC 9112, 6.3): passed on, that length
/// would cut the body at a place where it looks complete.
fn check_framing<B>(response: &mut Response<B>) -> Result<(), Refusal> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS || !coding::is_known(response.headers()) {
        return Err(Refusal::new(
            503,
            "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
            "upstream_reset_before_response_started{protocol_error}",
        ));
    }
    if response.headers().contains_key(header::TRANSFER_ENCODING) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    Ok(())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn timed_out() -> Refusal {
    Refusal::new(504, "upstream request timeout", "response_timeout")
}

/// Envoy's texts, as far as the cause is known here.
fn refusal(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::debug!(error = %chain(error), "no response from the upstream");
    if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_user) {
        // The client's, to be exact: its request ended in the middle, or is no HTTP there.
        Refusal::new(400, "", "request_body_failed")
    } else if cause::<legacy::Error>(error).is_some_and(legacy::Error::is_connect) {
        unreachable()
    } else if cause::<h2::Error>(error).is_some_and(|it| it.is_reset() && it.is_remote()) {
        Refusal::new(
            503,
            "upstream connect error or disconnect/reset before headers. reset reason: remote reset",
            "upstream_reset_before_response_started{remote_reset}",
        )
    } else {
        Refusal::new(
            503,
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            "upstream_reset_before_response_started{connection_termination}",
        )
    }
}

/// No connection can be made.
fn unreachable() -> Refusal {
    Refusal::new(
        503,
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
        "upstream_reset_before_response_started{remote_connection_failure}",
    )
}

/// The error itself, or what caused it, if it is an `E`.
fn cause<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Where to connect, and what to ask for there.
fn target(authority: &Authority, asked: &Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(asked.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    // All three parts are there, which is all that can be wrong.
    Uri::from_parts(parts).unwrap_or_default()
}
