//! A limit on the bodies that a processor takes.

use crate::{
    BodyKind, End, Halt, Io, LocalReply, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop,
};

/// Refuses bodies that are longer than allowed: requests with 413, responses with 502, or with a reset where the response
/// has begun.
///
/// A `content-length` is judged before the body comes. Bodies without one are counted as far as the processor's kind lets
/// it see them: those of [`Whole`](crate::Whole), [`Stream`](crate::Stream) and [`Messages`](crate::Messages), as they
/// come in; not those of [`Skip`](crate::Skip). For [`Whole`](crate::Whole) it lowers the limit of the type at run time.
///
/// ```
/// use extproc::{BodyLimit, Noop, Server};
///
/// let server = Server::new(BodyLimit::new(Noop).request(1 << 20));
/// ```
#[derive(Clone, Debug)]
pub struct BodyLimit<P> {
    inner: P,
    request: u64,
    response: u64,
}

/// The inner context, and the bytes so far.
#[derive(Debug)]
#[expect(unnameable_types, reason = "a wrapper's context")]
pub struct Counted<C> {
    ctx: C,
    request: u64,
    response: u64,
}

impl<P: Processor> BodyLimit<P> {
    /// Wraps a processor; no limits yet.
    pub const fn new(inner: P) -> Self {
        Self { inner, request: u64::MAX, response: u64::MAX }
    }

    /// Limits the request's body, in bytes.
    #[must_use]
    pub const fn request(mut self, limit: u64) -> Self {
        self.request = limit;
        self
    }

    /// Limits the response's body, in bytes.
    #[must_use]
    pub const fn response(mut self, limit: u64) -> Self {
        self.response = limit;
        self
    }
}

fn request_too_long() -> LocalReply {
    LocalReply::payload_too_large().body("Payload Too Large")
}

fn response_too_long() -> LocalReply {
    LocalReply::new(502).details("response_payload_too_large")
}

impl<P: Processor> Processor for BodyLimit<P> {
    type Ctx = Counted<P::Ctx>;

    delegate! { P, |cx| &mut cx.ctx; on_error request_trailers response_trailers }

    fn open(&self, open: &Open) -> Self::Ctx {
        Counted { ctx: self.inner.open(open), request: 0, response: 0 }
    }

    async fn request_headers(&self, cx: &mut Self::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if !req.is_last() && req.content_length().is_some_and(|length| length > self.request) {
            return Err(request_too_long().into());
        }
        self.inner.request_headers(&mut cx.ctx, req).await
    }

    async fn request_body(
        &self,
        cx: &mut Self::Ctx,
        io: &mut Io<Request, P::RequestBody>,
    ) -> Result<(), Halt<Request, P::RequestBody>> {
        cx.request += P::RequestBody::size(io) as u64;
        if cx.request > self.request
            && let Some(stop) = P::RequestBody::stop_with(request_too_long())
        {
            return Err(stop);
        }
        self.inner.request_body(&mut cx.ctx, io).await
    }

    async fn response_headers(&self, cx: &mut Self::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        // The answer to HEAD has a length and no body.
        if !rsp.is_last() && rsp.content_length().is_some_and(|length| length > self.response) {
            return Err(response_too_long().into());
        }
        self.inner.response_headers(&mut cx.ctx, rsp).await
    }

    async fn response_body(
        &self,
        cx: &mut Self::Ctx,
        io: &mut Io<Response, P::ResponseBody>,
    ) -> Result<(), Halt<Response, P::ResponseBody>> {
        cx.response += P::ResponseBody::size(io) as u64;
        if cx.response > self.response
            && let Some(stop) = P::ResponseBody::stop_with(response_too_long())
        {
            return Err(stop);
        }
        self.inner.response_body(&mut cx.ctx, io).await
    }

    fn close(&self, cx: Self::Ctx, end: End) {
        self.inner.close(cx.ctx, end);
    }
}
