//! Processors in GRPC mode, by what the upstream and the client get: the same as in every other body mode.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::num::NonZeroU32;
use std::time::Duration;

use extproc::testing::{Exchange, Harness, Plan, Profile};
use extproc::{
    Abort, BodyLimit, BodyMode, BoxProcessor, CatchPanic, Chain, ChunkIo, ConcurrencyLimit, LocalReply, Messages,
    MismatchKind, MsgIo, OnError, OnMismatch, Open, Policy, Processor, RateLimit, Reason, Request, RequestHead,
    Response, Reveal, Skip, Start, Stop, Stream, Timing, When, Whole, WholeIo, Write,
};
use extproc_core::config::FlowControl;

const MODES: [BodyMode; 4] =
    [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::FullDuplexStreamed, BodyMode::Grpc];

/// A call; the answer's status is in its trailers.
fn call(request: &[&str], response: &[&str]) -> Exchange {
    Exchange::new(Plan::request("POST", "/pkg.Greeter/Hello").header("te", "trailers").messages(texts(request)))
        .answered(Plan::response(200).messages(texts(response)).trailer("grpc-status", 0))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn frames(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("\0\0\0\0{}{text}", char::from(u8::try_from(text.len()).unwrap()))).collect()
}

fn grpc(stages: impl extproc::Stages) -> Harness {
    Harness::new(stages).profile(Profile::Grpc).mode(BodyMode::Grpc)
}

/// Doubles each message, drops `drop`.
struct Double;

impl Processor for Double {
    type Ctx = ();
    type RequestBody = Messages;
    type ResponseBody = Messages;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, (): &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
        if io.raw() != "drop" {
            io.out.pass();
            io.out.send_raw(io.raw());
        }
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut MsgIo<Response>) -> Result<(), Abort> {
        io.out.pass();
        io.out.send_raw(io.raw());
        Ok(())
    }
}

/// Turns both bodies round, by frames.
struct Reverse(Option<OnMismatch>);

const REVERSE: Reverse = Reverse(None);

fn reversed(body: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (frame, behind) = rest.split_at(5 + usize::from(rest[4]));
        frames.push(frame);
        rest = behind;
    }
    frames.into_iter().rev().flatten().copied().collect()
}

impl Processor for Reverse {
    type Ctx = ();
    type RequestBody = Whole<4096>;
    type ResponseBody = Whole<4096>;

    fn on_mismatch(&self) -> Option<OnMismatch> {
        self.0
    }

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("x-seen", 1);
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        io.body.replace(reversed(io.body.bytes()));
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        io.body.replace(reversed(io.body.bytes()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn messages_and_whole_bodies_do_not_depend_on_the_mode() {
    for (request, response) in [(&["a", "drop", "bc"][..], &["x", "yz"][..]), (&["a"], &[""]), (&["drop"], &["x"])] {
        let exchange = call(request, response);
        let doubled: Vec<_> = request.iter().filter(|it| **it != "drop").flat_map(|it| [*it, *it]).collect();
        for harness in [Harness::new(Double), Harness::new(Double).chunks([1, 6, 2])] {
            let done = harness.all_modes(&exchange).await;
            done.upstream().has_body(frames(&doubled)).is_whole();
            done.client().has_trailer("grpc-status", 0).is_whole();
        }
        let turned: Vec<_> = request.iter().rev().copied().collect();
        for harness in [Harness::new(REVERSE), Harness::new(REVERSE).chunks([1, 6, 2])] {
            let done = harness.all_modes(&exchange).await;
            done.upstream().has_body(frames(&turned)).has("x-seen", 1).is_whole();
            done.client().has_trailer("grpc-status", 0).is_whole();
        }
        let chain = || Chain::new(Double).then(REVERSE).then(Double);
        Harness::new(chain()).all_modes(&exchange).await.client().is_whole();
        Harness::new(Double).and(REVERSE).and(Double).all_modes(&exchange).await.client().is_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_and_whole_bodies_do_not_depend_on_chunks() {
    let exchange = call(&["a", "drop", "bc", "", "defg"], &["x", "yz"]);
    for profile in [Profile::Grpc, Profile::Strict] {
        grpc(Double).profile(profile).any_chunks(&exchange).await.upstream().is_whole();
        grpc(REVERSE).profile(profile).any_chunks(&exchange).await.upstream().is_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_call_is_left_out() {
    // Not in frames: GRPC could only refuse it.
    let plain = Exchange::new(Plan::request("POST", "/").body("hello")).answered(Plan::response(200).body("world"));
    Harness::new(extproc::Noop).all_modes(&plain).await.upstream().has_body("hello");
    grpc(extproc::Noop).run(&plain).await.client().has_status(400);
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_the_exchange_ends() {
    assert!(!grpc(Double).failures(&call(&["a", "b"], &["x"])).await.is_empty());
    assert!(!grpc(REVERSE).failures(&call(&["a", "b"], &["x"])).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn phases_may_be_left_out() {
    let exchange = call(&["a", "b"], &["x"]);
    // Without those that a data plane refuses.
    assert_eq!(grpc(Double).phase_subsets(&exchange).await.len(), 48);
    assert_eq!(grpc(REVERSE).phase_subsets(&exchange).await.len(), 48);
}

/// More than one window each way, under every policy (A93-242).
#[tokio::test(start_paused = true)]
async fn a93_242_long_calls_pass_under_every_flow_control() {
    let long = "x".repeat(40_000);
    let exchange = call(&[long.as_str(); 8], &[long.as_str(); 8]);
    for policy in [FlowControl::Auto, FlowControl::Required, FlowControl::Off] {
        for (name, harness) in [("Double", grpc(Double)), ("Whole", grpc(Whole64)), ("Noop", grpc(extproc::Noop))] {
            let times = if name == "Double" { 2 } else { 1 };
            let done = harness.options(|options| options.grpc_flow_control = policy).run(&exchange).await;
            done.went_well();
            let found = (done.request.body().len(), done.response.body().len());
            assert_eq!(found, (8 * times * 40_005, 8 * times * 40_005), "{name} under {policy:?}");
        }
    }
}

/// Takes bodies whole and leaves them as they are.
struct Whole64;

impl Processor for Whole64 {
    type Ctx = ();
    type RequestBody = Whole<{ 1 << 20 }>;
    type ResponseBody = Whole<{ 1 << 20 }>;
    fn open(&self, _: &Open) {}
}

#[tokio::test(start_paused = true)]
async fn whole_bodies_are_a_mismatch_that_is_served_unless_told_otherwise() {
    let exchange = call(&["a", "b"], &["x"]);
    for (policy, upstream) in [(None, Some("ba")), (Some(OnMismatch::Pass), Some("ab")), (Some(OnMismatch::Fail), None)]
    {
        let done = grpc(Reverse(policy)).run(&exchange).await;
        assert!(done.mismatches.iter().all(|it| it.what == MismatchKind::WholeOfMessages), "{:?}", done.mismatches);
        assert!(!done.mismatches.is_empty());
        match upstream {
            Some(order) => {
                let order: Vec<_> = order.split("").filter(|it| !it.is_empty()).collect();
                done.upstream().has_body(frames(&order)).is_whole();
            }
            None => {
                done.client().has("grpc-status", 13);
            }
        }
    }
    let small = grpc(BodyLimit::new(Whole64).request(11)).run(&exchange).await;
    small.client().has("grpc-message", "Payload Too Large");
}

/// Puts a body in place of the request's.
struct Replaces<K>(&'static str, std::marker::PhantomData<K>);

impl<K: extproc::BodyKind<Request>> Processor for Replaces<K> {
    type Ctx = ();
    type RequestBody = K;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.replace_body(self.0);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn replacements_are_messages_in_every_mode() {
    const NEW: &str = "\0\0\0\0\x03new\0\0\0\0\0";
    let exchange = call(&["a", "b"], &["x"]);
    fn replaces<K: extproc::BodyKind<Request>>(body: &'static str) -> Replaces<K> {
        Replaces(body, std::marker::PhantomData)
    }
    // STREAMED may not replace a body that ends with trailers; gRPC's requests have none.
    for harness in [Harness::new(replaces::<Messages>(NEW)), Harness::new(replaces::<Whole<64>>(NEW))] {
        harness.same_in(&MODES, &exchange).await.upstream().has_body(NEW).is_whole();
    }
    let behind = Chain::new(replaces::<Messages>(NEW)).then(Double);
    let done = Harness::new(behind).same_in(&MODES, &exchange).await;
    done.upstream().has_body(frames(&["new", "new", "", ""]));
    let before = Chain::new(Double).then(replaces::<Messages>(NEW));
    Harness::new(before).same_in(&MODES, &exchange).await.upstream().has_body(NEW);

    let bodiless =
        Exchange::new(Plan::request("POST", "/pkg.Greeter/Hello").header("content-type", "application/grpc"))
            .answered(Plan::response(200).messages(["x"]));
    let rows: [(&str, Harness, &Exchange, Reason); 5] = [
        ("no frames", grpc(replaces::<Messages>("new")), &exchange, Reason::NotMessages),
        ("no frames", grpc(replaces::<Whole<64>>("new")), &exchange, Reason::NotMessages),
        ("a kind of bytes", grpc(replaces::<Stream>(NEW)), &exchange, Reason::NoReplace(BodyMode::Grpc)),
        ("no kind", grpc(replaces::<Skip>(NEW)), &exchange, Reason::NoReplace(BodyMode::Grpc)),
        ("no body", grpc(replaces::<Messages>(NEW)), &bodiless, Reason::NoReplace(BodyMode::Grpc)),
    ];
    for (what, harness, exchange, reason) in rows {
        let done = harness.run(exchange).await;
        done.client().has("grpc-status", 13);
        let blocked: Vec<_> = done.blocked.iter().map(|blocked| (blocked.what, blocked.reason)).collect();
        assert_eq!(blocked, [(Write::ReplaceBody, reason)], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn conditions_and_wrappers() {
    let exchange = call(&["a", "b"], &["x"]);
    let all = || {
        let only = |method: &'static str| move |req: &RequestHead| req.path().ends_with(method);
        [
            ("When it holds", BoxProcessor::new(When::new(Double, only("/Hello"))), true),
            ("When it does not", BoxProcessor::new(When::new(Double, only("/Bye"))), false),
            ("Reveal", BoxProcessor::new(Reveal::new(Double)), true),
            ("Timing", BoxProcessor::new(Timing::new(Double)), true),
            ("RateLimit", BoxProcessor::new(RateLimit::new(Double, NonZeroU32::MAX, Duration::from_secs(1))), true),
            ("ConcurrencyLimit", BoxProcessor::new(ConcurrencyLimit::new(Double, 100)), true),
            ("CatchPanic", BoxProcessor::new(CatchPanic::new(Double)), true),
            ("BodyLimit", BoxProcessor::new(BodyLimit::new(Double).request(100).response(100)), true),
            ("Policy", BoxProcessor::new(Policy::new(Double, OnError::Skip)), true),
        ]
    };
    for (what, wrapped, takes_part) in all() {
        let done = grpc(vec![wrapped]).run(&exchange).await;
        done.went_well();
        let (up, down) =
            if takes_part { (&["a", "a", "b", "b"][..], &["x", "x"][..]) } else { (&["a", "b"][..], &["x"][..]) };
        assert_eq!(done.request.text(), frames(up), "{what}");
        assert_eq!(done.response.text(), frames(down), "{what}");
    }
    // A processor that stands aside asks to be left out, and the rest goes past it.
    let aside = grpc(When::new(Double, |_: &RequestHead| false)).run(&exchange).await;
    assert!(aside.replies().any(|(_, reply)| reply.request_drain || reply.request_drain_requests), "{aside}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_passed_ends_the_call() {
    let done = grpc(BodyLimit::new(Double).request(8)).run(&call(&["abc", "d"], &["x"])).await;
    done.client().has("grpc-message", "Payload Too Large");
    let denies = When::new(Denies, |_: &RequestHead| true);
    let done = grpc(denies).run(&call(&["a"], &["x"])).await;
    done.client().has_status(200).has("grpc-status", 7);
}

/// Refuses the first message.
struct Denies;

impl Processor for Denies {
    type Ctx = ();
    type RequestBody = Messages;
    type ResponseBody = Skip;
    fn open(&self, _: &Open) {}

    async fn request_body(&self, (): &mut (), _: &mut MsgIo<Request>) -> Result<(), Stop> {
        Err(LocalReply::forbidden().into())
    }
}

/// A chunk processor that copies.
struct Chunks;

impl Processor for Chunks {
    type Ctx = ();
    type RequestBody = Stream;
    type ResponseBody = Stream;
    fn open(&self, _: &Open) {}

    async fn request_body(&self, (): &mut (), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        io.out.push(io.data.clone());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_gives_up_gives_back_what_it_held() {
    // The response fails in a stage that still holds request messages.
    struct Holds;
    impl Processor for Holds {
        type Ctx = ();
        type RequestBody = Whole<64>;
        type ResponseBody = Skip;
        fn open(&self, _: &Open) {}
        fn on_error(&self) -> OnError {
            OnError::Skip
        }
        async fn response_headers(&self, (): &mut (), _: &mut Start<extproc::ResponseHead>) -> Result<(), Stop> {
            Err("on purpose".into())
        }
    }
    let exchange = Exchange::new(
        Plan::request("POST", "/a.B/C").messages(["a", "b", "c"]).chunks([6, 6]).pace(Duration::from_millis(10)),
    )
    .answered(Plan::response(200).messages(["x"]).trailer("grpc-status", 0).early());
    let done = grpc(Holds).run(&exchange).await;
    done.upstream().has_body(frames(&["a", "b", "c"])).is_whole();
    grpc(Chunks).run(&exchange).await.upstream().has_body(frames(&["a", "b", "c"]));
}
