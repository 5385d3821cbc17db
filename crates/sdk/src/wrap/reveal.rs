//! A response header that lists the processors that ran.

use extproc_core::headers::Name;

use crate::{
    Abort, BodyKind, End, Halt, Io, LocalReply, OnError, OnMismatch, Open, Processor, Request, RequestHead, Response,
    ResponseHead, Start, Stop, Trailers, Wishes,
};

/// Adds the processor's name to a response header, in front of those that are there: the header lists the processors
/// that ran, in the order of the request. One that failed open is missing, so it shows success too.
///
/// It tells clients how the service is built; leave it off where that matters.
///
/// Local replies carry the name alone. Nothing of the header that a client sends is reflected.
#[derive(Clone, Debug)]
pub struct Reveal<P> {
    inner: P,
    header: Option<Name>,
}

impl<P: Processor> Reveal<P> {
    /// The header's usual name.
    pub const HEADER: Name = Name::from_static("x-ext-procs-applied");

    /// Wraps a processor.
    pub const fn new(inner: P) -> Self {
        Self { inner, header: Some(Self::HEADER) }
    }

    /// Another header name.
    #[must_use]
    pub fn header(mut self, name: Name) -> Self {
        self.header = self.header.map(|_| name);
        self
    }

    /// Switches it on or off; off, the processor is as if not wrapped.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.header = if enabled { Some(self.header.unwrap_or(Self::HEADER)) } else { None };
        self
    }

    fn sign(&self, reply: &mut LocalReply) {
        if let Some(header) = &self.header {
            reply.set(header.clone(), self.name());
        }
    }

    fn sign_stop(&self, mut stop: Stop) -> Stop {
        if let Stop::Reply(reply) = &mut stop {
            self.sign(reply);
        }
        stop
    }
}

impl<P: Processor> Processor for Reveal<P> {
    type Ctx = P::Ctx;
    type RequestBody = P::RequestBody;
    type ResponseBody = P::ResponseBody;

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn on_error(&self) -> OnError {
        self.inner.on_error()
    }

    fn on_mismatch(&self) -> Option<OnMismatch> {
        self.inner.on_mismatch()
    }

    fn wishes(&self) -> Wishes {
        self.inner.wishes()
    }

    fn open(&self, open: &Open) -> P::Ctx {
        self.inner.open(open)
    }

    async fn request_headers(&self, ctx: &mut P::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.inner.request_headers(ctx, req).await.map_err(|stop| self.sign_stop(stop))
    }

    async fn request_body(
        &self,
        ctx: &mut P::Ctx,
        io: &mut Io<Request, P::RequestBody>,
    ) -> Result<(), Halt<Request, P::RequestBody>> {
        self.inner.request_body(ctx, io).await.map_err(|mut stop| {
            if let Some(reply) = P::RequestBody::reply(&mut stop) {
                self.sign(reply);
            }
            stop
        })
    }

    async fn request_trailers(&self, ctx: &mut P::Ctx, trailers: &mut Trailers) -> Result<(), Stop> {
        self.inner.request_trailers(ctx, trailers).await.map_err(|stop| self.sign_stop(stop))
    }

    async fn response_headers(&self, ctx: &mut P::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if let Some(header) = &self.header {
            let name = self.name();
            let list = match rsp.header(header.as_str()) {
                Some(others) => format!("{name},{others}"),
                None => name.to_owned(),
            };
            rsp.set(header, list);
        }
        self.inner.response_headers(ctx, rsp).await.map_err(|stop| self.sign_stop(stop))
    }

    async fn response_body(
        &self,
        ctx: &mut P::Ctx,
        io: &mut Io<Response, P::ResponseBody>,
    ) -> Result<(), Halt<Response, P::ResponseBody>> {
        self.inner.response_body(ctx, io).await.map_err(|mut stop| {
            if let Some(reply) = P::ResponseBody::reply(&mut stop) {
                self.sign(reply);
            }
            stop
        })
    }

    async fn response_trailers(&self, ctx: &mut P::Ctx, trailers: &mut Trailers) -> Result<(), Abort> {
        self.inner.response_trailers(ctx, trailers).await
    }

    fn close(&self, ctx: P::Ctx, end: End) {
        self.inner.close(ctx, end);
    }
}
