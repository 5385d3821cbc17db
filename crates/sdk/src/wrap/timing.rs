//! A response header that tells how long a processor took.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::{
    BodyKind, End, Halt, Io, LocalReply, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop,
    Trailers,
};

/// Tells the client how long the handlers of a processor took, waiting included, up to the response's head:
/// `server-timing: NAME;dur=MILLISECONDS` (W3C Server Timing), behind what is there. Also on its local replies.
///
/// It tells clients how the service is built; leave it off where that matters.
///
/// ```
/// use extproc::{Noop, Server, Timing};
///
/// let server = Server::new(Timing::new(Noop));
/// ```
#[derive(Clone, Debug)]
pub struct Timing<P> {
    inner: P,
    metric: String,
}

/// The inner context, and the time of the handlers so far.
#[derive(Debug)]
#[expect(unnameable_types, reason = "a wrapper's context")]
pub struct Timed<C> {
    ctx: C,
    spent: Duration,
}

const HEADER: &str = "server-timing";

impl<P: Processor> Timing<P> {
    /// Wraps a processor.
    pub fn new(inner: P) -> Self {
        let is_token = |it: char| it.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(it);
        let metric = inner.name().chars().map(|it| if is_token(it) { it } else { '_' }).collect();
        Self { inner, metric }
    }

    fn entry(&self, spent: Duration) -> String {
        format!("{};dur={:.3}", self.metric, spent.as_secs_f64() * 1000.0)
    }

    fn sign(&self, reply: &mut LocalReply, spent: Duration) {
        *reply = reply.clone().header(HEADER, self.entry(spent));
    }

    fn sign_stop(&self, mut stop: Stop, spent: Duration) -> Stop {
        if let Stop::Reply(reply) = &mut stop {
            self.sign(reply, spent);
        }
        stop
    }
}

async fn timed<T>(spent: &mut Duration, handler: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = handler.await;
    *spent += start.elapsed();
    result
}

impl<P: Processor> Processor for Timing<P> {
    type Ctx = Timed<P::Ctx>;

    delegate! { P, |cx| &mut cx.ctx; on_error response_trailers }

    fn open(&self, open: &Open) -> Self::Ctx {
        Timed { ctx: self.inner.open(open), spent: Duration::ZERO }
    }

    async fn request_headers(&self, cx: &mut Self::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        let result = timed(&mut cx.spent, self.inner.request_headers(&mut cx.ctx, req)).await;
        result.map_err(|stop| self.sign_stop(stop, cx.spent))
    }

    async fn request_body(
        &self,
        cx: &mut Self::Ctx,
        io: &mut Io<Request, P::RequestBody>,
    ) -> Result<(), Halt<Request, P::RequestBody>> {
        let result = timed(&mut cx.spent, self.inner.request_body(&mut cx.ctx, io)).await;
        result.map_err(|mut stop| {
            if let Some(reply) = P::RequestBody::reply(&mut stop) {
                self.sign(reply, cx.spent);
            }
            stop
        })
    }

    async fn request_trailers(&self, cx: &mut Self::Ctx, trailers: &mut Trailers) -> Result<(), Stop> {
        let result = timed(&mut cx.spent, self.inner.request_trailers(&mut cx.ctx, trailers)).await;
        result.map_err(|stop| self.sign_stop(stop, cx.spent))
    }

    async fn response_headers(&self, cx: &mut Self::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        let result = timed(&mut cx.spent, self.inner.response_headers(&mut cx.ctx, rsp)).await;
        result.map_err(|stop| self.sign_stop(stop, cx.spent))?;
        rsp.append(HEADER, self.entry(cx.spent));
        Ok(())
    }

    async fn response_body(
        &self,
        cx: &mut Self::Ctx,
        io: &mut Io<Response, P::ResponseBody>,
    ) -> Result<(), Halt<Response, P::ResponseBody>> {
        let result = timed(&mut cx.spent, self.inner.response_body(&mut cx.ctx, io)).await;
        result.map_err(|mut stop| {
            if let Some(reply) = P::ResponseBody::reply(&mut stop) {
                self.sign(reply, cx.spent);
            }
            stop
        })
    }

    fn close(&self, cx: Self::Ctx, end: End) {
        self.inner.close(cx.ctx, end);
    }
}
