//! Panics as answers to the client.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::stages::panic_text;
use crate::{
    Abort, BodyKind, End, Halt, Io, LocalReply, Open, Processor, Request, RequestHead, Response, ResponseHead, Start,
    Stop, Trailers,
};

/// Turns a panic of a processor into an answer to the client, 500 unless said otherwise; where the response has begun it
/// is cut off. Without this wrapper a panic is an error like others, and [`OnError`](crate::OnError) says what it means.
///
/// The panicked processor's context is closed with [`End::Panicked`]. A panic of `open` is answered in the first phase.
///
/// ```
/// use extproc::{CatchPanic, LocalReply, Noop, Server};
///
/// let server = Server::new(CatchPanic::new(Noop).reply(LocalReply::unavailable().body("try again")));
/// ```
#[derive(Clone, Debug)]
pub struct CatchPanic<P> {
    inner: P,
    reply: LocalReply,
}

impl<P: Processor> CatchPanic<P> {
    /// Wraps a processor.
    pub fn new(inner: P) -> Self {
        Self { inner, reply: LocalReply::internal_error().details("processor_panicked") }
    }

    /// What the client is answered with, in place of 500.
    #[must_use]
    pub fn reply(mut self, reply: LocalReply) -> Self {
        self.reply = reply;
        self
    }

    /// What the handler gives; nothing when it panicked, now or before.
    async fn caught<T>(&self, result: impl Future<Output = Option<T>>) -> Option<T> {
        let mut result = pin!(result);
        let caught = |payload: &(dyn Any + Send)| {
            tracing::error!(processor = self.inner.name(), panic = panic_text(payload), "processor panicked");
            Poll::Ready(None)
        };
        poll_fn(|cx| {
            catch_unwind(AssertUnwindSafe(|| result.as_mut().poll(cx))).unwrap_or_else(|payload| caught(&*payload))
        })
        .await
    }

    fn fell(&self, ctx: &mut Option<P::Ctx>) {
        if let Some(ctx) = ctx.take() {
            self.inner.close(ctx, End::Panicked);
        }
    }
}

/// Runs a phase if there is a context; `$fallen` is how it stops after a panic.
macro_rules! phase {
    ($self:ident, $ctx:ident, $phase:ident($view:ident), $fallen:expr) => {{
        let handler = async {
            match &mut *$ctx {
                Some(ctx) => Some($self.inner.$phase(ctx, $view).await),
                None => None,
            }
        };
        match $self.caught(handler).await {
            Some(result) => result,
            None => {
                $self.fell($ctx);
                $fallen
            }
        }
    }};
}

impl<P: Processor> Processor for CatchPanic<P> {
    type Ctx = Option<P::Ctx>;

    delegate! { P, |ctx| ctx; on_error }

    fn open(&self, open: &Open) -> Self::Ctx {
        match catch_unwind(AssertUnwindSafe(|| self.inner.open(open))) {
            Ok(ctx) => Some(ctx),
            Err(payload) => {
                tracing::error!(processor = self.inner.name(), panic = panic_text(&*payload), "open panicked");
                None
            }
        }
    }

    async fn request_headers(&self, ctx: &mut Self::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        phase!(self, ctx, request_headers(req), Err(self.reply.clone().into()))
    }

    async fn request_body(
        &self,
        ctx: &mut Self::Ctx,
        io: &mut Io<Request, P::RequestBody>,
    ) -> Result<(), Halt<Request, P::RequestBody>> {
        phase!(self, ctx, request_body(io), P::RequestBody::stop_with(self.reply.clone()).map_or(Ok(()), Err))
    }

    async fn request_trailers(&self, ctx: &mut Self::Ctx, trailers: &mut Trailers) -> Result<(), Stop> {
        phase!(self, ctx, request_trailers(trailers), Err(self.reply.clone().into()))
    }

    async fn response_headers(&self, ctx: &mut Self::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        phase!(self, ctx, response_headers(rsp), Err(self.reply.clone().into()))
    }

    async fn response_body(
        &self,
        ctx: &mut Self::Ctx,
        io: &mut Io<Response, P::ResponseBody>,
    ) -> Result<(), Halt<Response, P::ResponseBody>> {
        phase!(self, ctx, response_body(io), P::ResponseBody::stop_with(self.reply.clone()).map_or(Ok(()), Err))
    }

    async fn response_trailers(&self, ctx: &mut Self::Ctx, trailers: &mut Trailers) -> Result<(), Abort> {
        phase!(self, ctx, response_trailers(trailers), Err(Abort::Reset))
    }

    fn close(&self, ctx: Self::Ctx, end: End) {
        if let Some(ctx) = ctx {
            self.inner.close(ctx, end);
        }
    }
}
