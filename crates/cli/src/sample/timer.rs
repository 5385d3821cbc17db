//! `timer`: when the request came, and how long it took until the response's body was there.

use extproc::{Open, Processor, RequestHead, Response, ResponseHead, Skip, Start, Stop, Whole, WholeIo};
use extproc_core::BodyMode;

use super::BODY_LIMIT;
use super::stopwatch::{Clock, Stopwatch, machine};

const STARTED: &str = "x-request-started";
const DURATION: &str = "x-duration-ns";

#[derive(Debug)]
pub(crate) struct Timer {
    clock: Clock,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self { clock: machine }
    }
}

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
        let stopwatch = ctx.stopwatch.insert(Stopwatch::start(self.clock));
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant, SystemTime};

    use extproc::testing::Script;

    use super::*;

    thread_local! {
        static BEGAN: Instant = Instant::now();
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    /// Each look is 1.5 microseconds after the one before; the first is at 2026-01-02T03:04:05.006Z.
    fn clock() -> (SystemTime, Instant) {
        let passed = Duration::from_nanos(1500 * LOOKS.replace(LOOKS.get() + 1));
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_006);
        (epoch + passed, BEGAN.with(|began| *began) + passed)
    }

    const NONE: [(&str, &str); 0] = [];

    #[tokio::test]
    async fn the_response_tells_start_and_duration() {
        let script = Script::new()
            .modes(BodyMode::None, BodyMode::Buffered)
            .request_only(NONE)
            .response_headers(NONE)
            .response_body("hello", true);
        assert_eq!(
            script.run(Timer { clock }).await.lines(),
            [
                "request_headers x-request-started=2026-01-02T03:04:05.006Z",
                "response_headers",
                "response_body x-request-started=2026-01-02T03:04:05.006Z x-duration-ns=1500",
            ]
        );
    }

    #[tokio::test]
    async fn without_a_body_it_depends_on_the_mode() {
        let told = "response_headers x-request-started=2026-01-02T03:04:05.006Z x-duration-ns=1500";
        for (mode, expected) in [(BodyMode::Buffered, "response_headers"), (BodyMode::Streamed, told)] {
            LOOKS.set(0);
            let script = Script::new().modes(BodyMode::None, mode).request_only(NONE).response_only(NONE);
            assert_eq!(script.run(Timer { clock }).await.lines()[1], expected, "{mode:?}");
        }
    }

    #[tokio::test]
    async fn without_a_request_there_is_nothing_to_tell() {
        let script =
            Script::new().modes(BodyMode::None, BodyMode::Buffered).response_headers(NONE).response_body("hello", true);
        assert_eq!(script.run(Timer { clock }).await.lines(), ["response_headers", "response_body"]);
    }
}
