//! Processors in a row, as the exchange drives them.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use extproc_core::Direction;

use crate::body::{Piece, Want};
use crate::raw::Ended;
use crate::stop::Halted;
use crate::{
    BodyKind, End, Needs, OnError, OnMismatch, Open, Processor, RawReplies, RawRequests, Request, RequestHead,
    Response, ResponseHead, Start, Trailers,
};

/// What a server can run: any [`Processor`], a [`Chain`](crate::Chain) of them, or a `Vec` of
/// [`BoxProcessor`](crate::BoxProcessor)s. Sealed.
pub trait Stages: Send + Sync + Sized + 'static {
    #[doc(hidden)]
    type Run: Run;

    /// It takes whole streams, and `open` is not called.
    #[doc(hidden)]
    const RAW: bool = false;

    #[doc(hidden)]
    fn open(stages: &Arc<Self>, open: &Open) -> Self::Run;

    #[doc(hidden)]
    fn converse(&self, _: &Open, requests: RawRequests) -> RawReplies {
        drop(requests);
        Box::pin(Ended)
    }

    /// The names of the processors, joined by commas.
    fn names(&self) -> String {
        let mut names = String::new();
        self.each_name(&mut |name| {
            if !names.is_empty() {
                names.push(',');
            }
            names.push_str(name);
        });
        names
    }

    #[doc(hidden)]
    fn each_name(&self, visit: &mut dyn FnMut(&str));

    /// What a data plane should do for them.
    fn needs(&self) -> Needs;
}

/// The stages of one exchange.
#[doc(hidden)]
#[expect(unnameable_types, reason = "sealed")]
pub trait Run: Send + 'static {
    fn len(&self) -> usize;
    fn name(&self, index: usize) -> &str;
    fn want(&self, index: usize, direction: Direction) -> Want;
    fn on_error(&self, index: usize) -> OnError;
    fn on_mismatch(&self, index: usize) -> Option<OnMismatch>;

    fn request_headers(
        &mut self,
        index: usize,
        req: &mut Start<RequestHead>,
    ) -> impl Future<Output = Result<(), Halted>> + Send;
    fn request_body(
        &mut self,
        index: usize,
        head: &mut RequestHead,
        piece: &mut Piece,
    ) -> impl Future<Output = Result<(), Halted>> + Send;
    fn request_trailers(
        &mut self,
        index: usize,
        trailers: &mut Trailers,
    ) -> impl Future<Output = Result<(), Halted>> + Send;
    fn response_headers(
        &mut self,
        index: usize,
        rsp: &mut Start<ResponseHead>,
    ) -> impl Future<Output = Result<(), Halted>> + Send;
    fn response_body(
        &mut self,
        index: usize,
        head: &mut ResponseHead,
        piece: &mut Piece,
    ) -> impl Future<Output = Result<(), Halted>> + Send;
    fn response_trailers(
        &mut self,
        index: usize,
        trailers: &mut Trailers,
    ) -> impl Future<Output = Result<(), Halted>> + Send;

    fn close(&mut self, index: usize, end: End);
}

/// One processor on one exchange. Dropping it closes what is open.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "hidden")]
#[expect(unnameable_types, reason = "sealed")]
pub struct One<P: Processor> {
    processor: Arc<P>,
    ctx: Option<P::Ctx>,
    request_state: <P::RequestBody as BodyKind<Request>>::State,
    response_state: <P::ResponseBody as BodyKind<Response>>::State,
}

impl<P: Processor> Stages for P {
    type Run = One<P>;

    fn open(stages: &Arc<Self>, open: &Open) -> One<P> {
        One {
            ctx: Some(stages.open(open)),
            processor: Arc::clone(stages),
            request_state: Default::default(),
            response_state: Default::default(),
        }
    }

    fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        visit(self.name());
    }

    fn needs(&self) -> Needs {
        Needs::of(P::RequestBody::WANT, P::ResponseBody::WANT, self.wishes())
    }
}

macro_rules! phase {
    ($self:ident, $phase:ident, $view:ident) => {{
        let Some(ctx) = &mut $self.ctx else { return Ok(()) };
        isolate(async { $self.processor.$phase(ctx, $view).await.map_err(Halted::from) }).await
    }};
}

macro_rules! body_phase {
    ($self:ident, $phase:ident, $kind:ident, $state:ident, $head:ident, $piece:ident) => {{
        let Some(ctx) = &mut $self.ctx else { return Ok(()) };
        loop {
            let mut io = match P::$kind::load(&mut $self.$state, std::mem::take($head), $piece) {
                Ok(io) => io,
                Err(head) => {
                    *$head = head;
                    return $piece.error.take().map_or(Ok(()), |error| Err(Halted::Fail(error)));
                }
            };
            let result = isolate(async { $self.processor.$phase(ctx, &mut io).await.map_err(P::$kind::halted) }).await;
            *$head = P::$kind::unload(io, $piece);
            result?;
        }
    }};
}

impl<P: Processor> Run for One<P> {
    fn len(&self) -> usize {
        1
    }

    fn name(&self, _: usize) -> &str {
        self.processor.name()
    }

    fn want(&self, _: usize, direction: Direction) -> Want {
        match direction {
            Direction::Request => P::RequestBody::WANT,
            Direction::Response => P::ResponseBody::WANT,
        }
    }

    fn on_error(&self, _: usize) -> OnError {
        self.processor.on_error()
    }

    fn on_mismatch(&self, _: usize) -> Option<OnMismatch> {
        self.processor.on_mismatch()
    }

    async fn request_headers(&mut self, _: usize, req: &mut Start<RequestHead>) -> Result<(), Halted> {
        phase!(self, request_headers, req)
    }

    async fn request_body(&mut self, _: usize, head: &mut RequestHead, piece: &mut Piece) -> Result<(), Halted> {
        body_phase!(self, request_body, RequestBody, request_state, head, piece)
    }

    async fn request_trailers(&mut self, _: usize, trailers: &mut Trailers) -> Result<(), Halted> {
        phase!(self, request_trailers, trailers)
    }

    async fn response_headers(&mut self, _: usize, rsp: &mut Start<ResponseHead>) -> Result<(), Halted> {
        phase!(self, response_headers, rsp)
    }

    async fn response_body(&mut self, _: usize, head: &mut ResponseHead, piece: &mut Piece) -> Result<(), Halted> {
        body_phase!(self, response_body, ResponseBody, response_state, head, piece)
    }

    async fn response_trailers(&mut self, _: usize, trailers: &mut Trailers) -> Result<(), Halted> {
        phase!(self, response_trailers, trailers)
    }

    fn close(&mut self, _: usize, end: End) {
        let Some(ctx) = self.ctx.take() else { return };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.processor.close(ctx, end))) {
            tracing::error!(processor = self.processor.name(), panic = panic_text(&*payload), "close panicked");
        }
    }
}

impl<P: Processor> Drop for One<P> {
    fn drop(&mut self) {
        self.close(0, End::Cancelled);
    }
}

/// Turns a panic of the future into a value.
pub(crate) async fn isolate(future: impl Future<Output = Result<(), Halted>>) -> Result<(), Halted> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(payload) => Poll::Ready(Err(Halted::Panic(panic_text(&*payload).to_owned()))),
    })
    .await
}

pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
