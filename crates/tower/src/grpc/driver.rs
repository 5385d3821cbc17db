//! One call: a task that carries what the core decides.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use extproc_core::Direction;
use extproc_core::call::{Call, Effect, RequestEvent, RequestPart, ResponseEvent, ResponsePart, Status as CallStatus};
use extproc_core::filter::{ApiMisuse, Outgoing, StreamEvent};
use extproc_core::headers::Name;
use http::{Extensions, HeaderMap, Request, Response, StatusCode, header, request};
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::layer::is_grpc;
use super::settings::Settings;
use super::slot::Slot;
use super::source::{Broken, Next, Source};
use super::status;
use crate::headers;
use crate::processor::{Opening, SideStream};

/// How often the loop goes round before it lets other tasks run.
const ROUNDS: usize = 64;

/// Makes the call to the server.
pub(super) type Upstream = Box<dyn FnOnce(Request<Body>) -> Answer + Send>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, CallStatus>> + Send>>;

/// The loop of one call.
pub(super) struct Driver {
    call: Call,
    settings: Arc<Settings>,
    side: Side,
    client: Option<Source>,
    /// What the request was made of, until it goes to the server.
    head: Option<request::Parts>,
    upstream: Option<Upstream>,
    request: Option<Slot>,
    answer: Option<Answer>,
    server: Option<Source>,
    extensions: Extensions,
    /// Until the client has its response.
    respond: Option<oneshot::Sender<Response<Body>>>,
    response: Option<Slot>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

/// The stream to the processor.
enum Side {
    Closed,
    Opening(Opening),
    Open(SideStream),
}

impl Driver {
    /// Begins a call. The response comes, unless the task is no more.
    pub(super) fn spawn(
        settings: Arc<Settings>,
        request: Request<Body>,
        upstream: Upstream,
    ) -> oneshot::Receiver<Response<Body>> {
        let (respond, response) = oneshot::channel();
        let (head, body) = request.into_parts();
        let mut call = Call::new(Arc::clone(&settings.config));
        let mut headers = headers::from_request(&head);
        if let (false, Some(authority)) = (headers.contains(":authority"), &settings.default_authority) {
            headers.append(const { Name::from_static(":authority") }, authority.clone());
        }
        fed(call.handle_request(now(), RequestEvent::Headers(headers)));
        let decodes = settings.config.sends_messages(Direction::Request);
        let client = Source::new(body, &head.headers, decodes, settings.max_message_bytes);
        let driver = Self {
            call,
            settings,
            side: Side::Closed,
            client: Some(client),
            head: Some(head),
            upstream: Some(upstream),
            request: None,
            answer: None,
            server: None,
            extensions: Extensions::new(),
            respond: Some(respond),
            response: None,
            timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            armed: None,
        };
        tokio::spawn(driver);
        response
    }

    /// One round. False: nothing has moved, and everything that may move wakes the task.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = self.do_effects();
        moved |= self.carry_side(cx);
        moved |= self.pass_to_server(cx);
        moved |= self.pass_to_client(cx);
        moved |= self.read_client(cx);
        moved |= self.await_answer(cx);
        moved |= self.read_server(cx);
        moved | self.keep_time(cx)
    }

    fn do_effects(&mut self) -> bool {
        let mut moved = false;
        while let Some(effect) = self.call.poll_effect() {
            moved = true;
            match effect {
                Effect::OpenStream => match self.settings.processor.open() {
                    Ok(opening) => self.side = Side::Opening(opening),
                    Err(status) => self.call.handle_open_failure(now(), &status.message),
                },
                Effect::ResetStream => {
                    if let Side::Open(stream) = std::mem::replace(&mut self.side, Side::Closed) {
                        stream.reset();
                    }
                }
                Effect::CancelUpstream => self.leave_server(),
                Effect::Proceeded(measure, after) => {
                    if let Some(observer) = &self.settings.observer {
                        observer.proceeded(measure, after);
                    }
                }
            }
        }
        moved
    }

    /// The call to the server is given up, or over.
    fn leave_server(&mut self) {
        (self.upstream, self.answer, self.server, self.client) = (None, None, None, None);
        if let Some(request) = self.request.take() {
            request.abort(Status::cancelled("the call was given up"));
        }
    }

    fn carry_side(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Side::Opening(opening) = &mut self.side {
            match opening.poll(cx) {
                Poll::Ready(Ok(stream)) => (self.side, moved) = (Side::Open(stream), true),
                Poll::Ready(Err(status)) => {
                    self.side = Side::Closed;
                    self.call.handle_open_failure(now(), &status.message);
                    return true;
                }
                Poll::Pending => return false,
            }
        }
        let Side::Open(stream) = &mut self.side else { return moved };
        while stream.poll_ready(cx).is_ready()
            && !stream.is_half_closed()
            && let Some(outgoing) = self.call.poll_send()
        {
            moved = true;
            match outgoing {
                Outgoing::Message(message) => stream.send(&message),
                Outgoing::HalfClose => stream.half_close(),
            }
        }
        if self.call.wants_stream()
            && let Poll::Ready(message) = stream.poll_message(cx)
        {
            moved = true;
            match message {
                Ok(message) => self.call.handle_stream(now(), StreamEvent::Reply(message)),
                Err(end) => {
                    self.side = Side::Closed;
                    self.call.handle_stream(now(), StreamEvent::Closed(end));
                }
            }
        }
        moved
    }

    fn pass_to_server(&mut self, cx: &Context<'_>) -> bool {
        if let Some(request) = &self.request {
            if request.is_given_up() {
                self.request = None;
                self.call.handle_request_refused();
                return true;
            }
            if request.poll_ready(cx).is_pending() {
                return false;
            }
        }
        let Some(part) = self.call.poll_request() else { return false };
        match (part, &self.request) {
            (RequestPart::Headers(headers), _) => self.call_server(headers),
            (RequestPart::Message(message), Some(request)) => request.put(message.into_frame()),
            (RequestPart::HalfClose, Some(request)) => {
                request.end();
                self.request = None;
            }
            // The server is gone.
            (RequestPart::Message(_) | RequestPart::HalfClose, None) => {}
        }
        true
    }

    /// The headers may go: everything that is not a header stays as it was.
    fn call_server(&mut self, headers: extproc_core::Headers) {
        let (Some(mut head), Some(upstream)) = (self.head.take(), self.upstream.take()) else { return };
        let host = head.headers.remove(header::HOST);
        match headers::into_trailers(headers) {
            Ok(fields) => head.headers = fields,
            Err(error) => return self.fail(&Status::internal(format!("ext_proc: {error}"))),
        }
        if let Some(host) = host {
            head.headers.insert(header::HOST, host);
        }
        // Messages may come out longer or shorter.
        head.headers.remove(header::CONTENT_LENGTH);
        let (slot, body) = Slot::new();
        self.request = Some(slot);
        self.answer = Some(upstream(Request::from_parts(head, Body::new(body))));
    }

    fn pass_to_client(&mut self, cx: &mut Context<'_>) -> bool {
        let given_up = match (&mut self.respond, &self.response) {
            (Some(respond), _) => respond.poll_closed(cx).is_ready(),
            (None, Some(response)) => response.is_given_up(),
            (None, None) => false,
        };
        if given_up {
            (self.respond, self.response) = (None, None);
            self.call.handle_cancel();
            return true;
        }
        if let Some(response) = &self.response
            && response.poll_ready(cx).is_pending()
        {
            return false;
        }
        let Some(part) = self.call.poll_response() else { return false };
        match part {
            ResponsePart::Headers(headers) => {
                let (slot, body) = Slot::new();
                self.response = Some(slot);
                self.begin_response(headers, Body::new(body));
            }
            ResponsePart::TrailersOnly(headers) => {
                self.begin_response(headers, Body::empty());
                self.leave_server();
            }
            ResponsePart::Message(message) => {
                if let Some(response) = &self.response {
                    response.put(message.into_frame());
                }
            }
            ResponsePart::Trailers(trailers) => self.end_response(headers::into_trailers(trailers).unwrap_or_default()),
            ResponsePart::Status(end) if self.respond.is_some() => self.give(status::into_response(end)),
            ResponsePart::Status(end) => self.end_response(status::into_trailers(end)),
        }
        true
    }

    fn begin_response(&mut self, headers: extproc_core::Headers, body: Body) {
        let mut response = match headers::into_response(headers) {
            Ok((status, fields)) => {
                let mut response = Response::new(body);
                (*response.status_mut(), *response.headers_mut()) = (status, fields);
                response
            }
            Err(error) => Status::internal(format!("ext_proc: {error}")).into_http(),
        };
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.extensions_mut() = std::mem::take(&mut self.extensions);
        self.give(response);
    }

    fn end_response(&mut self, trailers: HeaderMap) {
        if let Some(response) = self.response.take() {
            response.put_trailers(trailers);
        }
        self.leave_server();
    }

    fn give(&mut self, response: Response<Body>) {
        if let Some(respond) = self.respond.take() {
            // One that is not taken is a call that was given up, which the next round sees.
            let _not_taken = respond.send(response);
        }
    }

    fn read_client(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(client) = self.client.as_mut().filter(|_| self.call.wants(Direction::Request)) else { return false };
        let Poll::Ready(next) = client.poll_next(cx) else { return false };
        match next {
            Ok(Next::Message(message)) => fed(self.call.handle_request(now(), RequestEvent::Message(message))),
            // gRPC has no trailers of requests.
            Ok(Next::End(_)) => {
                self.client = None;
                fed(self.call.handle_request(now(), RequestEvent::HalfClose));
            }
            Err(Broken::Peer(error)) => {
                tracing::debug!(%error, "the client's side of a call has failed");
                (self.respond, self.response) = (None, None);
                self.call.handle_cancel();
            }
            Err(Broken::Content(status)) => self.fail(&status),
        }
        true
    }

    fn await_answer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(answer) = &mut self.answer else { return false };
        let Poll::Ready(answer) = answer.as_mut().poll(cx) else { return false };
        self.answer = None;
        match answer {
            Err(status) => self.respond_with(ResponseEvent::Failed(status)),
            Ok(response) if response.status() != StatusCode::OK || !is_grpc(response.headers()) => {
                // Not gRPC: what it means is for tonic to say.
                self.give(response);
                self.call.handle_cancel();
            }
            Ok(response) => {
                let (head, body) = response.into_parts();
                let headers = headers::from_response(head.status, &head.headers);
                self.extensions = head.extensions;
                if head.headers.contains_key("grpc-status") {
                    self.respond_with(ResponseEvent::TrailersOnly(headers));
                } else {
                    let decodes = self.settings.config.sends_messages(Direction::Response);
                    self.server = Some(Source::new(body, &head.headers, decodes, self.settings.max_message_bytes));
                    self.respond_with(ResponseEvent::Headers(headers));
                }
            }
        }
        true
    }

    fn read_server(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(server) = self.server.as_mut().filter(|_| self.call.wants(Direction::Response)) else { return false };
        let Poll::Ready(next) = server.poll_next(cx) else { return false };
        match next {
            Ok(Next::Message(message)) => self.respond_with(ResponseEvent::Message(message)),
            Ok(Next::End(Some(trailers))) => {
                self.server = None;
                self.respond_with(ResponseEvent::Trailers(headers::from_trailers(&trailers)));
            }
            Ok(Next::End(None)) => self.fail(&Status::internal("the server ended the call without a status")),
            Err(Broken::Peer(error)) => {
                self.server = None;
                self.respond_with(ResponseEvent::Failed(status::of_tonic(error)));
            }
            Err(Broken::Content(status)) => self.fail(&status),
        }
        true
    }

    /// The call cannot go on, and no processor is to blame.
    fn fail(&mut self, status: &Status) {
        self.leave_server();
        self.respond_with(ResponseEvent::Failed(status::of_tonic(status.clone())));
    }

    fn respond_with(&mut self, event: ResponseEvent) {
        fed(self.call.handle_response(now(), event));
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((at, _)) = self.call.poll_timeout() else {
            self.armed = None;
            return false;
        };
        if self.armed != Some(at) {
            self.armed = Some(at);
            self.timer.as_mut().reset(tokio::time::Instant::from_std(at));
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.armed = None;
        self.call.handle_timeout(now());
        true
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            if !self.round(cx) {
                return if self.call.is_over() { Poll::Ready(()) } else { Poll::Pending };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// A client that still waits sees the end of the call, not a hang.
    fn drop(&mut self) {
        if let Some(response) = self.response.take() {
            response.abort(Status::internal("ext_proc: the call was given up"));
        }
        if let Some(request) = self.request.take() {
            request.abort(Status::cancelled("the call was given up"));
        }
    }
}

fn fed(result: Result<(), ApiMisuse>) {
    if let Err(error) = result {
        debug_assert!(false, "the driver broke the contract: {error}");
        tracing::error!(%error, "the driver broke the contract of the call");
    }
}

/// The clock of the runtime, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
