//! Wrappers around processors: kinds and modes stay, conditions switch off, limits answer.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use extproc::testing::Script;
use extproc::{
    Abort, BodyLimit, BodyMode, CatchPanic, Chain, ChunkIo, ConcurrencyLimit, End, LocalReply, Noop, OnError, Open,
    Policy, Processor, RateLimit, Request, RequestHead, Response, ResponseHead, Reveal, Skip, Stages, Start, Stop,
    Stream, Timing, Trailers, When, Whole, WholeIo, processor, sampled,
};
use tokio::sync::Notify;

const MODES: [BodyMode; 5] =
    [BodyMode::None, BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::Streamed, BodyMode::FullDuplexStreamed];
const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/a"), ("content-length", "5")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("content-length", "5")];

/// Edits everything there is, its bodies whole.
struct All;

impl Processor for All {
    type Ctx = ();
    type RequestBody = Whole<64>;
    type ResponseBody = Whole<64>;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("x-head", "1");
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        io.body.map(|body| body.to_ascii_uppercase());
        Ok(())
    }

    async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        rsp.set("x-head", "2");
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        io.body.map(|body| body.to_ascii_uppercase());
        Ok(())
    }

    async fn response_trailers(&self, (): &mut (), trailers: &mut Trailers) -> Result<(), Abort> {
        trailers.set("x-trailer", "2");
        Ok(())
    }
}

/// Edits everything there is, its bodies as they pass.
struct Passing;

impl Processor for Passing {
    type Ctx = ();
    type RequestBody = Stream;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("x-head", "1");
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        io.out.push(io.data.to_ascii_uppercase());
        Ok(())
    }

    async fn request_trailers(&self, (): &mut (), trailers: &mut Trailers) -> Result<(), Stop> {
        trailers.set("x-trailer", "1");
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        io.out.push(io.data.to_ascii_uppercase());
        Ok(())
    }
}

/// An exchange in this mode, its bodies cut as the mode cuts them.
fn exchange(mode: BodyMode) -> Script {
    let script = Script::new().modes(mode, mode).request_headers(POST);
    match mode {
        BodyMode::None => script.response_headers(OK),
        BodyMode::Buffered | BodyMode::BufferedPartial => {
            script.request_body("hello", true).response_headers(OK).response_body("world", true)
        }
        _ => {
            let script = script.request_body("he", false).request_body("llo", true).response_headers(OK);
            script.response_body("wor", false).response_body("ld", true)
        }
    }
}

async fn lines(script: &Script, stages: impl Stages) -> Vec<String> {
    script.run(stages).await.lines()
}

async fn same_as_bare<P: Processor>(make: fn() -> P) {
    let many = NonZeroU32::new(1_000_000).unwrap();
    for mode in MODES {
        let script = exchange(mode);
        let bare = lines(&script, make()).await;
        assert_eq!(lines(&script, When::new(make(), |_: &RequestHead| true)).await, bare, "When, {mode}");
        assert_eq!(lines(&script, sampled(make(), 1.0)).await, bare, "sampled, {mode}");
        assert_eq!(lines(&script, ConcurrencyLimit::new(make(), usize::MAX)).await, bare, "ConcurrencyLimit, {mode}");
        let rate = RateLimit::new(make(), many, Duration::from_secs(1));
        assert_eq!(lines(&script, rate).await, bare, "RateLimit, {mode}");
        assert_eq!(lines(&script, BodyLimit::new(make()).request(5).response(5)).await, bare, "BodyLimit, {mode}");
        assert_eq!(lines(&script, CatchPanic::new(make())).await, bare, "CatchPanic, {mode}");
        assert_eq!(lines(&script, Policy::new(make(), OnError::Skip)).await, bare, "Policy, {mode}");
        assert_eq!(lines(&script, Reveal::new(make()).enabled(false)).await, bare, "Reveal off, {mode}");
        let all = CatchPanic::new(BodyLimit::new(ConcurrencyLimit::new(sampled(make(), 1.0), 9)));
        assert_eq!(lines(&script, all).await, bare, "one in another, {mode}");
        let timed: Vec<String> = lines(&script, Timing::new(make())).await;
        assert_eq!(timed.len(), bare.len(), "Timing, {mode}");
        assert!(timed.iter().any(|line| line.contains("server-timing")), "Timing, {mode}: {timed:?}");
    }
}

#[tokio::test]
async fn a_wrapper_that_lets_pass_changes_nothing_in_any_mode() {
    same_as_bare(|| All).await;
    same_as_bare(|| Passing).await;
    same_as_bare(|| Noop).await;
}

#[tokio::test]
async fn a_processor_whose_condition_does_not_hold_is_as_if_it_were_not_there() {
    for mode in MODES {
        let script = exchange(mode);
        let absent = lines(&script, Noop).await;
        let whole = Chain::new(When::new(All, |_: &RequestHead| false)).then(Noop);
        assert_eq!(lines(&script, whole).await, absent, "{mode}");
        let passing = Chain::new(When::new(Passing, |_: &RequestHead| false)).then(Noop);
        assert_eq!(lines(&script, passing).await, absent, "{mode}");
        assert_eq!(lines(&script, Chain::new(sampled(All, 0.0)).then(Noop)).await, absent, "{mode}");
        let alone = lines(&script, sampled(All, 0.0)).await;
        assert!(absent.starts_with(&alone), "alone it may close its stream early, {mode}: {alone:?}");
    }
    // Its limit on bodies does not count either.
    let long = Script::new().modes(BodyMode::Buffered, BodyMode::None).request_headers(POST);
    let long = long.request_body(vec![b'x'; 100], true);
    assert_eq!(
        lines(&long, All).await.last().unwrap(),
        "immediate 413 body=\"Payload Too Large\" details=request_payload_too_large"
    );
    assert_eq!(
        lines(&long, Chain::new(When::new(All, |_: &RequestHead| false)).then(Noop)).await,
        ["request_headers", "request_body"]
    );
}

/// Counts its exchanges.
#[derive(Clone, Default)]
struct Counts(Arc<[AtomicUsize; 2]>);

impl Processor for Counts {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
    }

    fn close(&self, (): (), _: End) {
        self.0[1].fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn read(&self) -> [usize; 2] {
        [self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed)]
    }
}

#[tokio::test]
async fn conditions_see_the_request_and_are_asked_once() {
    type Row = (Script, [usize; 2], usize);
    let get = [(":path", "/a")];
    let table: [Row; 4] = [
        (Script::new().request_only([(":path", "/a")]).response_only(OK), [1, 1], 1),
        (Script::new().request_only([(":path", "/b")]).response_only(OK), [0, 0], 1),
        (Script::new().response_only(OK), [0, 0], 1),
        (
            Script::new().request_headers(get).request_trailers(get).response_headers(OK).response_trailers(OK),
            [1, 1],
            1,
        ),
    ];
    for (index, (script, expected, asked)) in table.into_iter().enumerate() {
        let (counts, questions) = (Counts::default(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&questions);
        let condition = move |req: &RequestHead| {
            count.fetch_add(1, Ordering::Relaxed);
            req.path() == "/a"
        };
        assert!(script.run(When::new(counts.clone(), condition)).await.status.is_ok());
        assert_eq!((counts.read(), questions.load(Ordering::Relaxed)), (expected, asked), "row {index}");
    }
}

#[tokio::test]
async fn a_share_is_spread_evenly() {
    let counts = Counts::default();
    let share = Arc::new(sampled(counts.clone(), 0.25));
    let script = Script::new().request_only(POST);
    for round in 1..=20 {
        for _ in 0..20 {
            script.run_shared(&share).await;
        }
        let [opened, closed] = counts.read();
        assert!(opened.abs_diff(5 * round) <= 2 && opened == closed, "{opened} of {}", 20 * round);
    }
}

/// Waits in its header phase until it is let go.
#[derive(Clone, Default)]
struct Waits(Arc<Notify>, Arc<AtomicUsize>);

impl Processor for Waits {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), _: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.notified().await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn more_exchanges_at_once_wait_or_are_refused() {
    let waits = Waits::default();
    let limit = Arc::new(ConcurrencyLimit::new(waits.clone(), 1).queue(1, Duration::from_secs(1)));
    let run = || {
        let limit = Arc::clone(&limit);
        tokio::spawn(async move { Script::new().request_only(POST).run_shared(&limit).await.lines().join("\n") })
    };
    let refused = "immediate 503 details=concurrency_limit";
    let first = run();
    tokio::task::yield_now().await;
    let second = run();
    tokio::task::yield_now().await;
    assert_eq!(run().await.unwrap(), refused, "the queue is full");
    assert_eq!(second.await.unwrap(), refused, "it has waited for a second");
    let third = run();
    tokio::task::yield_now().await;
    waits.0.notify_one();
    assert_eq!(first.await.unwrap(), "request_headers");
    waits.0.notify_one();
    assert_eq!(third.await.unwrap(), "request_headers", "it had its turn");
    assert_eq!(waits.1.load(Ordering::Relaxed), 2, "those that were refused never came in");
}

#[tokio::test(start_paused = true)]
async fn requests_above_the_rate_are_refused_until_it_is_their_time() {
    let two = NonZeroU32::new(2).unwrap();
    let limit = Arc::new(RateLimit::new(Noop, two, Duration::from_secs(10)));
    let script = Script::new().request_only(POST);
    let steps: [(u64, &str); 7] = [
        (0, "request_headers"),
        (0, "request_headers"),
        (0, "immediate 429 retry-after=5 details=rate_limit"),
        (4_500, "immediate 429 retry-after=1 details=rate_limit"),
        (500, "request_headers"),
        (0, "immediate 429 retry-after=5 details=rate_limit"),
        (60_000, "request_headers"),
    ];
    for (index, (wait, expected)) in steps.into_iter().enumerate() {
        tokio::time::advance(Duration::from_millis(wait)).await;
        assert_eq!(script.run_shared(&limit).await.lines().join("\n"), expected, "step {index}");
    }
    let burst = Arc::new(RateLimit::new(Noop, two, Duration::from_secs(10)).burst(NonZeroU32::MIN));
    let said = [script.run_shared(&burst).await.lines(), script.run_shared(&burst).await.lines()].concat();
    assert_eq!(said, ["request_headers", "immediate 429 retry-after=5 details=rate_limit"]);
}

#[tokio::test]
async fn bodies_above_the_limit_are_refused() {
    let too_long = "immediate 413 body=\"Payload Too Large\" details=request_payload_too_large";
    let unsized_post = [(":method", "POST")];
    let chunks = |mode| {
        Script::new()
            .modes(mode, mode)
            .request_headers(unsized_post)
            .request_body("abc", false)
            .request_body("de", true)
    };
    let limit = |limit| BodyLimit::new(Passing).request(limit);
    assert_eq!(lines(&exchange(BodyMode::Streamed), limit(4)).await, [too_long], "by its length");
    for mode in [BodyMode::Streamed, BodyMode::FullDuplexStreamed] {
        assert_eq!(lines(&chunks(mode), limit(4)).await.last().unwrap(), too_long, "as it comes, {mode}");
        assert_ne!(lines(&chunks(mode), limit(5)).await.last().unwrap(), too_long, "{mode}");
    }
    let whole = Script::new().modes(BodyMode::Buffered, BodyMode::Buffered).request_headers(unsized_post);
    assert_eq!(lines(&whole.request_body("abcde", true), BodyLimit::new(All).request(4)).await[1], too_long);
    let skip = BodyLimit::new(Noop).request(4);
    assert_eq!(lines(&exchange(BodyMode::None), skip).await, [too_long]);

    let response = Script::new().modes(BodyMode::None, BodyMode::Streamed).response_headers(OK);
    assert_eq!(
        lines(&response, BodyLimit::new(Noop).response(4)).await,
        ["immediate 502 details=response_payload_too_large"]
    );
    let head = Script::new().response_only(OK);
    assert_eq!(lines(&head, BodyLimit::new(Noop).response(4)).await, ["response_headers"], "the answer to HEAD");
}

/// Panics in one place, and tells how it was closed.
struct Panics(&'static str, Arc<Mutex<Vec<End>>>);

impl Processor for Panics {
    type Ctx = ();
    type RequestBody = Whole<64>;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) {
        assert_ne!(self.0, "open");
    }

    async fn request_headers(&self, (): &mut (), _: &mut Start<RequestHead>) -> Result<(), Stop> {
        assert_ne!(self.0, "request_headers");
        Ok(())
    }

    async fn request_body(&self, (): &mut (), _: &mut WholeIo<Request>) -> Result<(), Stop> {
        assert_ne!(self.0, "request_body");
        Ok(())
    }

    async fn response_headers(&self, (): &mut (), _: &mut Start<ResponseHead>) -> Result<(), Stop> {
        assert_ne!(self.0, "response_headers");
        Ok(())
    }

    fn close(&self, (): (), end: End) {
        self.1.lock().unwrap().push(end);
    }
}

#[tokio::test]
async fn panics_are_answers() {
    let answer = "immediate 503 body=\"again\"";
    let table: [(&str, &[&str], &[End]); 5] = [
        ("nowhere", &["request_headers", "request_body", "response_headers", "response_body"], &[End::Ok]),
        ("open", &[answer], &[]),
        ("request_headers", &[answer], &[End::Panicked]),
        ("request_body", &["request_headers", answer], &[End::Panicked]),
        ("response_headers", &["request_headers", "request_body", answer], &[End::Panicked]),
    ];
    for (place, expected, ends) in table {
        let closed = Arc::default();
        let panics = CatchPanic::new(Panics(place, Arc::clone(&closed)));
        let panics = panics.reply(LocalReply::unavailable().body("again"));
        assert_eq!(lines(&exchange(BodyMode::Buffered), panics).await, expected, "{place}");
        assert_eq!(*closed.lock().unwrap(), ends, "{place}");
    }
    let errors = processor::<(), ()>("Errors", ()).request_headers(
        async |_: &(), _: &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> { Err("broken".into()) },
    );
    let said = lines(&exchange(BodyMode::None), CatchPanic::new(errors)).await;
    assert_eq!(said, ["error Internal: processor Errors failed"], "an error is none");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_handlers_is_told() {
    let slow = || {
        processor::<(), ()>("Slow one", ())
            .request_headers(async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                tokio::time::sleep(Duration::from_millis(12)).await;
                if req.path() == "/deny" { Err(LocalReply::forbidden().into()) } else { Ok(()) }
            })
            .response_headers(async |_: &(), _: &mut (), _: &mut Start<ResponseHead>| -> Result<(), Stop> {
                tokio::time::sleep(Duration::from_micros(500)).await;
                Ok(())
            })
    };
    let script = |path| Script::new().request_only([(":path", path)]).response_only([(":status", "200")]);
    assert_eq!(
        lines(&script("/a"), Timing::new(slow())).await,
        ["request_headers", "response_headers server-timing+=Slow_one;dur=13.000"],
        "tokio's timer is exact to the millisecond, rounded up"
    );
    assert_eq!(
        lines(&script("/deny"), Timing::new(slow())).await[0],
        "immediate 403 server-timing=Slow_one;dur=12.000"
    );
}
