//! External processing around an HTTP exchange: a request, its filters, and the service that answers it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use extproc_core::filter::Forward;
use extproc_core::local_reply::RequestKind;
use extproc_core::{Config, Direction, DynamicMetadata, Headers, LocalReply};
use http::{HeaderValue, Method, Request, Response, Version, header, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::{BoxError, Cut};
use crate::driver::{Drive, Driver, spawn};
use crate::headers;
use crate::metrics::Counters;
use crate::processor::Processor;
use crate::request_body::RequestBody;
use crate::response_body::ResponseBody;
use crate::shared::Part;

/// A filter as an exchange needs it: how it behaves, whom it asks, where it counts.
#[derive(Clone, Debug)]
pub struct Filter {
    /// How it behaves.
    pub config: Arc<Config>,
    /// Whom it asks.
    pub processor: Processor,
    /// Where it counts.
    pub counters: Arc<Counters>,
}

/// Why there is no response of the upstream, and what to answer in its place. Processors see this answer as they would
/// see the upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {details}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// A text for the client; empty for none.
    pub body: Bytes,
    /// For the access log, without white space.
    pub details: String,
}

/// In the extensions of a request to the upstream: a processor changed headers and asked for a new choice of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecomputeRoute;

/// In the extensions of a request: the metadata of the upstream that its route leads to. In those of an upstream's
/// response: that of the upstream it came from, where this is another one. Processors are told what their
/// `cluster_metadata_forwarding_namespaces` name.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterMetadata(pub Arc<DynamicMetadata>);

/// In the extensions of a response that is not the upstream's: why (Envoy RESPONSE_CODE_DETAILS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details(pub String);

/// Puts filters around a service: requests pass them in order, responses in reverse.
///
/// Without filters, requests and responses pass untouched and nothing is allocated.
#[derive(Clone, Debug)]
pub struct ExtProc<S> {
    filters: Arc<[Filter]>,
    upstream: S,
}

impl<S> ExtProc<S> {
    /// Filters around `upstream`, which answers requests that have passed them.
    pub const fn new(filters: Arc<[Filter]>, upstream: S) -> Self {
        Self { filters, upstream }
    }
}

impl<S, B, UB> Service<Request<B>> for ExtProc<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<UB>> + Clone + Send + 'static,
    S::Error: Into<Refusal>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    UB: Body<Data = Bytes> + Send + 'static,
    UB::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<UB>>;
    type Error = Cut;
    type Future = Exchange<B, S, UB>;

    /// Always ready: the service is asked when a request has passed the filters.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        process(Arc::clone(&self.filters), request, self.upstream.clone())
    }
}

/// Sends a request through filters to `upstream`, and the response back.
///
/// Must run inside a tokio runtime when there are filters. Dropping the future, or later the response body, counts as
/// the client going away. A [`DynamicMetadata`] in the extensions of the request is what filters before have set; with what
/// processors have set by then, it is in the extensions of the request to the upstream and of the response, unless it is
/// empty. It fails with [`Cut`] when there can be no response: the client's own body failed, or the
/// upstream's response did before it was passed on; the connection is to be closed then.
pub fn process<S, B, UB>(filters: Arc<[Filter]>, request: Request<B>, upstream: S) -> Exchange<B, S, UB>
where
    S: Service<Request<RequestBody<B>>, Response = Response<UB>>,
    S::Error: Into<Refusal>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    UB: Body<Data = Bytes>,
    UB::Error: Into<BoxError>,
{
    if filters.is_empty() {
        let kind = kind_of(&request);
        let request = request.map(RequestBody::direct);
        return Exchange { kind: Kind::Direct { idle: Some((upstream, request)), call: None, kind } };
    }
    let version = request.version();
    let driver = Box::pin(Driver::new(filters, request, upstream));
    Exchange { kind: Kind::Driven { driver: Some(driver), version } }
}

/// What [`RequestKind::of`] finds, without the headers of the core.
fn kind_of<B>(request: &Request<B>) -> RequestKind {
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let grpc = content_type.strip_prefix(b"application/grpc");
    RequestKind {
        head: request.method() == Method::HEAD,
        grpc: grpc.is_some_and(|rest| matches!(rest.first(), None | Some(b'+'))),
    }
}

impl Refusal {
    /// A refusal with a status, a text for the client and details for the log.
    #[must_use]
    pub fn new(status: u16, body: &'static str, details: impl Into<String>) -> Self {
        Self { status, body: Bytes::from_static(body.as_bytes()), details: details.into() }
    }

    pub(crate) fn reply(self, kind: RequestKind) -> LocalReply {
        LocalReply::new(kind, self.status, self.body, &self.details)
    }
}

pin_project! {
    /// The future of [`process`].
    pub struct Exchange<B, S, UB>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        #[pin]
        kind: Kind<B, S, UB>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B, S, UB>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        Direct {
            idle: Option<(S, Request<RequestBody<B>>)>,
            #[pin]
            call: Option<S::Future>,
            kind: RequestKind,
        },
        Driven { driver: Option<Pin<Box<Driver<B, S, UB>>>>, version: Version },
    }
}

impl<B, S, UB> std::fmt::Debug for Exchange<B, S, UB>
where
    S: Service<Request<RequestBody<B>>>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl<B, S, UB> Future for Exchange<B, S, UB>
where
    S: Service<Request<RequestBody<B>>, Response = Response<UB>> + Send + 'static,
    S::Error: Into<Refusal>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    UB: Body<Data = Bytes> + Send + 'static,
    UB::Error: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody<UB>>, Cut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Direct { idle, mut call, kind } => {
                if let Some((service, _)) = idle {
                    let ready = ready!(service.poll_ready(cx));
                    if let Some((mut service, request)) = idle.take() {
                        match ready {
                            Ok(()) => call.set(Some(service.call(request))),
                            Err(error) => return Poll::Ready(direct_reply(error.into().reply(*kind))),
                        }
                    }
                }
                let Some(call) = call.as_pin_mut() else { return Poll::Pending };
                Poll::Ready(match ready!(call.poll(cx)) {
                    Ok(response) => Ok(response.map(ResponseBody::direct)),
                    Err(error) => direct_reply(error.into().reply(*kind)),
                })
            }
            KindProj::Driven { driver: slot, version } => {
                let Some(mut driver) = slot.take() else { return Poll::Pending };
                let over = driver.as_mut().poll(cx).is_ready();
                let shared = driver.shared();
                match shared.poll_part(Direction::Response, None) {
                    Poll::Ready(Part::Next(Forward::Headers(headers, end))) => {
                        Poll::Ready(respond(driver, over, headers, end, *version, cx))
                    }
                    Poll::Pending if !over => {
                        *slot = Some(driver);
                        Poll::Pending
                    }
                    Poll::Pending | Poll::Ready(_) => Poll::Ready(Err(Cut("there is no response to give"))),
                }
            }
        }
    }
}

/// Turns the headers of a response into a response, and decides who goes on driving the exchange.
fn respond<B, S, UB>(
    mut driver: Pin<Box<Driver<B, S, UB>>>,
    mut over: bool,
    fields: Headers,
    end: bool,
    version: Version,
    cx: &mut Context<'_>,
) -> Result<Response<ResponseBody<UB>>, Cut>
where
    S: Service<Request<RequestBody<B>>, Response = Response<UB>> + Send + 'static,
    S::Error: Into<Refusal>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    UB: Body<Data = Bytes> + Send + 'static,
    UB::Error: Into<BoxError>,
{
    let declared = if end { None } else { fields.content_length() };
    let shared = Arc::clone(driver.shared());
    let extensions = driver.as_mut().take_extensions();
    let details = driver.details();
    let metadata = driver.metadata();
    let closes = driver.closes_connection() && version <= Version::HTTP_11;
    let head = headers::into_response(fields).map_err(|error| {
        tracing::warn!(%error, "the response cannot be sent");
        Cut("the response headers cannot be sent")
    })?;
    if end && !over {
        over = driver.as_mut().poll(cx).is_ready();
    }
    let driver = match (over, driver.is_quiet()) {
        (true, _) => None,
        (false, true) if !end => Some(driver as _),
        (false, _) => {
            spawn(driver);
            None
        }
    };
    let body = if end { ResponseBody::full(Bytes::new()) } else { ResponseBody::chain(shared, declared, driver) };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = head;
    *response.extensions_mut() = extensions;
    if let Some(details) = details {
        response.extensions_mut().insert(Details(details));
    }
    if let Some(metadata) = metadata {
        response.extensions_mut().insert(metadata);
    }
    if closes {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn direct_reply<UB>(reply: LocalReply) -> Result<Response<ResponseBody<UB>>, Cut> {
    let (status, fields) = headers::into_response(reply.headers).map_err(|_| Cut("the local reply cannot be sent"))?;
    let mut response = Response::new(ResponseBody::full(reply.body));
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response.extensions_mut().insert(Details(reply.details));
    Ok(response)
}

/// The parts of a request that the driver keeps while the headers are with the filters.
pub(crate) fn split<B>(request: Request<B>) -> (Headers, request::Parts, B) {
    let (head, body) = request.into_parts();
    (headers::from_request(&head), head, body)
}
