//! `timer`: when the request came, and how long it took until the response's body was there.

use extproc::{Open, Processor, RequestHead, Response, ResponseHead, Skip, Start, Stop, Whole, WholeIo};
use extproc_core::BodyMode;

use super::BODY_LIMIT;
use super::stopwatch::Stopwatch;

const STARTED: &str = "x-request-started";
const DURATION: &str = "x-duration-ns";

#[derive(Debug)]
pub(crate) struct Timer;

/// One exchange.
#[derive(Debug)]
pub(crate) struct Ctx {
    stopwatch: Option<Stopwatch>,
    /// The data plane sends bodies: a response without one has no duration, as in the Python SDK.
    with_body: bool,
}

impl Processor for Timer {
    type Ctx = Ctx;
    type RequestBody = Skip;
    type ResponseBody = Whole<BODY_LIMIT>;

    fn name(&self) -> &'static str {
        "TimerExtProcService"
    }

    fn open(&self, open: &Open) -> Ctx {
        let with_body = open.protocol().is_some_and(|protocol| protocol.bodies.response == BodyMode::Buffered);
        Ctx { stopwatch: None, with_body }
    }

    async fn request_headers(&self, ctx: &mut Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        let stopwatch = ctx.stopwatch.insert(Stopwatch::start());
        req.set(STARTED, stopwatch.started());
        Ok(())
    }

    async fn response_headers(&self, ctx: &mut Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if let Some(stopwatch) = ctx.stopwatch.filter(|_| rsp.is_last() && !ctx.with_body) {
            report(stopwatch, rsp);
        }
        Ok(())
    }

    async fn response_body(&self, ctx: &mut Ctx, io: &mut WholeIo<Response>) -> Result<(), Stop> {
        if let Some(stopwatch) = ctx.stopwatch {
            report(stopwatch, &mut io.head);
        }
        Ok(())
    }
}

fn report(stopwatch: Stopwatch, rsp: &mut ResponseHead) {
    rsp.set(STARTED, stopwatch.started());
    rsp.set(DURATION, u64::try_from(stopwatch.elapsed().as_nanos()).unwrap_or(u64::MAX));
}
