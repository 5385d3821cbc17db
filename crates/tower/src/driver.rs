//! The only loop: carries events to the filters of one exchange and what they want done to whoever does it.
//!
//! No decision is made here. Until the response headers are there, the future of the exchange polls the driver, so
//! that an exchange costs no task; afterwards the response body does, or a task of its own when there is something to
//! do that must not wait for the client.

mod linger;
mod sides;
mod timer;

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes};
use extproc_core::chain::{Effect, Peer};
use extproc_core::filter::{ApiMisuse, Forward, HttpEvent};
use extproc_core::local_reply::RequestKind;
use extproc_core::{Direction, DynamicMetadata, FilterChain};
use http::{Extensions, Request, Response, request};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tower_service::Service;

use self::sides::Side;
use self::timer::Timer;
use crate::body::BoxError;
use crate::facts;
use crate::headers;
use crate::http::{ClusterMetadata, Filter, RecomputeRoute, Refusal};
use crate::processor::Opened;
use crate::request_body::RequestBody;
use crate::shared::{Fate, Shared};

/// How often the loop goes round before it lets other tasks run.
const ROUNDS: usize = 64;

/// A driver whose types are forgotten.
pub(crate) trait Drive: Future<Output = ()> + Send {
    /// Nothing is left but to pass on response parts, when they are asked for.
    fn is_quiet(&self) -> bool;
}

/// Drives an exchange to its end in a task of its own.
pub(crate) fn spawn(driver: Pin<Box<dyn Drive>>) {
    tokio::spawn(driver);
}

pin_project! {
    pub(crate) struct Driver<B, S, UB>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        shared: Arc<Shared>,
        filters: Arc<[Filter]>,
        sides: Vec<Side>,
        kind: RequestKind,
        // What the request was made of, until it goes to the upstream.
        head: Option<request::Parts>,
        #[pin]
        request: Option<B>,
        reroute: bool,
        service: Option<S>,
        // A request that waits for the service to be ready.
        waiting: Option<Request<RequestBody<B>>>,
        #[pin]
        call: Option<S::Future>,
        #[pin]
        response: Option<UB>,
        extensions: Extensions,
        // The upstream is out of the picture: there is a local reply.
        cancelled: bool,
        concluded: bool,
        #[pin]
        timer: Timer,
    }

    impl<B, S, UB> PinnedDrop for Driver<B, S, UB>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !*this.concluded {
                linger::conclude(this.shared, this.filters, this.sides);
            }
        }
    }
}

impl<B, S, UB> Driver<B, S, UB>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body<Data = Bytes>,
{
    pub(crate) fn new(filters: Arc<[Filter]>, request: Request<B>, service: S) -> Self {
        let shared = Arc::new(Shared::new(&filters));
        let (headers, mut head, body) = crate::http::split(request);
        let end = body.is_end_stream();
        let kind = RequestKind::of(&headers);
        let sides = filters.iter().map(|_| Side::Unopened).collect();
        tell_metadata(&shared, &mut head.extensions);
        shared.step(|chain| chain.wants_attributes().then(|| facts::tell_request(chain, &head)));
        feed(&shared, Direction::Request, HttpEvent::Headers(headers, end));
        Self {
            shared,
            filters,
            sides,
            kind,
            head: Some(head),
            request: if end { None } else { Some(body) },
            reroute: false,
            service: Some(service),
            waiting: None,
            call: None,
            response: None,
            extensions: Extensions::new(),
            cancelled: false,
            concluded: false,
            timer: Timer::new(),
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Why the response is not the upstream's.
    pub(crate) fn details(&self) -> Option<String> {
        self.shared.lock().chain.details().map(str::to_owned)
    }

    /// The dynamic metadata so far, if there is any.
    pub(crate) fn metadata(&self) -> Option<DynamicMetadata> {
        metadata(&self.shared)
    }

    /// The extensions of the upstream's response.
    pub(crate) fn take_extensions(self: Pin<&mut Self>) -> Extensions {
        mem::take(self.project().extensions)
    }

    /// A reply went ahead of a request that was not read to its end, so no other request can follow it.
    pub(crate) const fn closes_connection(&self) -> bool {
        self.cancelled && self.request.is_some()
    }
}

impl<B, S, UB> Drive for Driver<B, S, UB>
where
    Self: Future<Output = ()> + Send,
    S: Service<Request<RequestBody<B>>>,
{
    fn is_quiet(&self) -> bool {
        let state = self.shared.lock();
        let sent = self.request.is_none() && self.call.is_none() && state.fate(Direction::Request) != Fate::Open;
        (self.cancelled || sent)
            && self.sides.iter().all(|side| match side {
                Side::Unopened | Side::Closed => true,
                // Nothing that comes counts any more.
                Side::Open(stream) => stream.is_half_closed(),
                Side::Opening(..) | Side::Http(_) => false,
            })
            && !state.chain.waits()
    }
}

impl<B, S, UB> Future for Driver<B, S, UB>
where
    S: Service<Request<RequestBody<B>>, Response = Response<UB>>,
    S::Error: Into<Refusal>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    UB: Body<Data = Bytes>,
    UB::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let seen = self.shared.lock().view();
            // Effects come after what causes them, and before the request to the upstream, which they may change.
            let moved = self.as_mut().poll_sides(cx)
                | self.as_mut().poll_timer(cx)
                | self.as_mut().poll_request(cx)
                | self.as_mut().run_effects()
                | self.as_mut().poll_upstream(cx)
                | self.as_mut().poll_response(cx);
            if self.is_over() {
                let this = self.as_mut().project();
                linger::conclude(this.shared, this.filters, this.sides);
                *this.concluded = true;
                return Poll::Ready(());
            }
            if !moved && self.shared.lock().park(seen, cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The steps of one round. Each tells whether anything happened.
impl<B, S, UB> Driver<B, S, UB>
where
    S: Service<Request<RequestBody<B>>, Response = Response<UB>>,
    S::Error: Into<Refusal>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    UB: Body<Data = Bytes>,
    UB::Error: Into<BoxError>,
{
    fn run_effects(self: Pin<&mut Self>) -> bool {
        let mut this = self.project();
        let mut moved = false;
        while let Some(effect) = this.shared.step(FilterChain::poll_effect) {
            moved = true;
            match effect {
                Effect::OpenStream(filter) => match this.filters[filter].processor.begin() {
                    Ok(Opened::Calls(calls)) => this.sides[filter] = Side::Http(calls),
                    Ok(Opened::Stream(opening)) => {
                        let first = this.shared.step(|chain| chain.poll_send(filter));
                        this.sides[filter] = Side::opening(opening, first);
                    }
                    Err(status) => sides::closed(this.shared, filter, Err(status)),
                },
                Effect::ResetStream(filter) => this.sides[filter].reset(),
                Effect::RecomputeRoute => *this.reroute = true,
                Effect::CancelUpstream => {
                    *this.cancelled = true;
                    *this.head = None;
                    *this.waiting = None;
                    this.call.set(None);
                    this.response.set(None);
                    this.shared.close(Direction::Request, Fate::Cut);
                }
                Effect::ResetDownstream => this.shared.close(Direction::Response, Fate::Cut),
            }
        }
        moved
    }

    fn poll_sides(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        sides::poll(this.sides, this.shared, |filter| this.filters[filter].processor.open().ok(), cx)
    }

    fn poll_timer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let fires = this.timer.poll(this.shared.lock().view().deadline, cx);
        if fires {
            this.shared.step(|chain| chain.handle_timeout(now()));
        }
        fires
    }

    fn poll_request(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        if !this.shared.lock().chain.wants(Direction::Request) {
            return false;
        }
        match poll_body(this.request.as_mut(), cx) {
            Some(Ok(event)) => {
                if ends(&event) {
                    this.request.set(None);
                }
                feed(this.shared, Direction::Request, event);
                true
            }
            Some(Err(error)) => {
                tracing::debug!(error = %error.into(), "the client's body failed");
                this.request.set(None);
                this.shared.step(|chain| chain.handle_reset(now(), Peer::Downstream));
                this.shared.close(Direction::Request, Fate::Cut);
                this.shared.close(Direction::Response, Fate::Cut);
                true
            }
            None => false,
        }
    }

    fn poll_upstream(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut moved = self.as_mut().make_request();
        let mut this = self.project();
        if let (Some(_), Some(service)) = (&this.waiting, &mut *this.service) {
            match service.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    let calls = this.waiting.take().map(|request| service.call(request));
                    this.call.set(calls);
                    moved = true;
                }
                Poll::Ready(Err(error)) => {
                    *this.waiting = None;
                    let reply = error.into().reply(*this.kind);
                    this.shared.step(|chain| chain.respond(now(), reply));
                    return true;
                }
                Poll::Pending => return moved,
            }
        }
        let Some(call) = this.call.as_mut().as_pin_mut() else { return moved };
        let Poll::Ready(result) = call.poll(cx) else { return moved };
        this.call.set(None);
        match result {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                tell_metadata(this.shared, &mut head.extensions);
                this.shared
                    .step(|chain| chain.wants_attributes().then(|| facts::tell_response(chain, &head.extensions)));
                let end = body.is_end_stream();
                let fields = headers::from_response(head.status, &head.headers);
                *this.extensions = head.extensions;
                this.response.set(if end { None } else { Some(body) });
                feed(this.shared, Direction::Response, HttpEvent::Headers(fields, end));
            }
            Err(error) => {
                let reply = error.into().reply(*this.kind);
                this.shared.step(|chain| chain.respond(now(), reply));
            }
        }
        true
    }

    /// Makes the request to the upstream once its headers have passed the filters.
    fn make_request(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        if this.head.is_none() {
            return false;
        }
        let Some(Forward::Headers(fields, end)) = this.shared.step(|chain| chain.poll_forward(Direction::Request))
        else {
            return false;
        };
        let Some(mut head) = this.head.take() else { return false };
        let declared = fields.content_length();
        if let Err(error) = headers::into_request(fields, &mut head) {
            tracing::warn!(%error, "a processor made a request that cannot be sent");
            let reply = Refusal::new(500, "", "invalid_request_headers_after_processing").reply(*this.kind);
            this.shared.step(|chain| chain.respond(now(), reply));
            return true;
        }
        if let Some(metadata) = metadata(this.shared) {
            head.extensions.insert(metadata);
        }
        if *this.reroute {
            head.extensions.insert(RecomputeRoute);
        }
        let body = if end {
            this.shared.close(Direction::Request, Fate::Ended);
            RequestBody::empty()
        } else {
            RequestBody::chain(Arc::clone(this.shared), declared)
        };
        *this.waiting = Some(Request::from_parts(head, body));
        true
    }

    fn poll_response(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        if this.response.is_none() || !this.shared.lock().chain.wants(Direction::Response) {
            return false;
        }
        match poll_body(this.response.as_mut(), cx) {
            Some(Ok(event)) => {
                if ends(&event) {
                    this.response.set(None);
                }
                feed(this.shared, Direction::Response, event);
                true
            }
            Some(Err(error)) => {
                tracing::debug!(error = %error.into(), "the upstream's body failed");
                this.response.set(None);
                this.shared.step(|chain| chain.handle_reset(now(), Peer::Upstream));
                this.shared.close(Direction::Response, Fate::Cut);
                true
            }
            None => false,
        }
    }

    /// The client has its response, and nothing more is to be read from it.
    fn is_over(&self) -> bool {
        let state = self.shared.lock();
        match state.fate(Direction::Response) {
            Fate::Open => false,
            Fate::Gone | Fate::Cut => true,
            // An upstream that has answered early may still be reading the request.
            Fate::Ended => self.cancelled || state.fate(Direction::Request) != Fate::Open,
        }
    }
}

fn feed(shared: &Shared, direction: Direction, event: HttpEvent) {
    let result: Result<(), ApiMisuse> = shared.step(|chain| chain.handle_http(now(), direction, event));
    if let Err(error) = result {
        debug_assert!(false, "the driver broke the contract: {error}");
        tracing::error!(%error, ?direction, "the driver broke the contract of the filter chain");
    }
}

/// Tells the filters the metadata that comes with a message.
fn tell_metadata(shared: &Shared, extensions: &mut Extensions) {
    if let Some(ClusterMetadata(metadata)) = extensions.remove() {
        shared.step(|chain| chain.set_cluster_metadata(metadata));
    }
    if let Some(metadata) = extensions.remove() {
        shared.step(|chain| chain.merge_metadata(metadata));
    }
}

fn metadata(shared: &Shared) -> Option<DynamicMetadata> {
    let state = shared.lock();
    let metadata = state.chain.metadata();
    (!metadata.is_empty()).then(|| metadata.clone())
}

/// The next event of a body; `None` when there is none now.
fn poll_body<B>(body: Pin<&mut Option<B>>, cx: &mut Context<'_>) -> Option<Result<HttpEvent, B::Error>>
where
    B: Body<Data = Bytes>,
{
    let mut body = body.as_pin_mut()?;
    loop {
        let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else { return None };
        let Some(frame) = frame else { return Some(Ok(HttpEvent::Data(Bytes::new(), true))) };
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                let end = body.is_end_stream();
                if data.has_remaining() || end {
                    return Some(Ok(HttpEvent::Data(data, end)));
                }
            }
            Ok(Err(frame)) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return Some(Ok(HttpEvent::Trailers(headers::from_trailers(&trailers))));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

const fn ends(event: &HttpEvent) -> bool {
    match event {
        HttpEvent::Headers(_, end) | HttpEvent::Data(_, end) => *end,
        HttpEvent::Trailers(_) => true,
    }
}

/// The clock of the runtime, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
