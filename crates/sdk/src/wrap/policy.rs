//! Another error policy for a processor.

use crate::{
    Abort, End, Halt, Io, OnError, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop, Trailers,
};

/// A processor with another [`OnError`] than its own, for the place it has in a chain.
///
/// ```
/// use extproc::{Chain, Noop, OnError, Policy};
///
/// let chain = Chain::new(Policy::new(Noop, OnError::Skip)).then(Noop);
/// ```
#[derive(Clone, Debug)]
pub struct Policy<P> {
    inner: P,
    on_error: OnError,
}

impl<P: Processor> Policy<P> {
    /// Wraps a processor.
    pub const fn new(inner: P, on_error: OnError) -> Self {
        Self { inner, on_error }
    }
}

impl<P: Processor> Processor for Policy<P> {
    type Ctx = P::Ctx;
    type RequestBody = P::RequestBody;
    type ResponseBody = P::ResponseBody;

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn on_error(&self) -> OnError {
        self.on_error.clone()
    }

    fn open(&self, open: &Open) -> P::Ctx {
        self.inner.open(open)
    }

    async fn request_headers(&self, ctx: &mut P::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.inner.request_headers(ctx, req).await
    }

    async fn request_body(
        &self,
        ctx: &mut P::Ctx,
        io: &mut Io<Request, P::RequestBody>,
    ) -> Result<(), Halt<Request, P::RequestBody>> {
        self.inner.request_body(ctx, io).await
    }

    async fn request_trailers(&self, ctx: &mut P::Ctx, trailers: &mut Trailers) -> Result<(), Stop> {
        self.inner.request_trailers(ctx, trailers).await
    }

    async fn response_headers(&self, ctx: &mut P::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        self.inner.response_headers(ctx, rsp).await
    }

    async fn response_body(
        &self,
        ctx: &mut P::Ctx,
        io: &mut Io<Response, P::ResponseBody>,
    ) -> Result<(), Halt<Response, P::ResponseBody>> {
        self.inner.response_body(ctx, io).await
    }

    async fn response_trailers(&self, ctx: &mut P::Ctx, trailers: &mut Trailers) -> Result<(), Abort> {
        self.inner.response_trailers(ctx, trailers).await
    }

    fn close(&self, ctx: P::Ctx, end: End) {
        self.inner.close(ctx, end);
    }
}
