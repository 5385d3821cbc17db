//! The test kit's harness: what it shows of good processors, and that it finds what is wrong with bad ones.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use extproc::proto::processing_request::Request as Ask;
use extproc::proto::processing_response::Response as Reply;
use extproc::proto::{
    CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse, ProcessingResponse,
};
use extproc::testing::{Ending, Exchange, Fault, Harness, Plan, Profile};
use extproc::{
    Abort, BodyMode, BoxProcessor, Chain, ChunkIo, End, LocalReply, MetadataValue, Noop, Open, Phase, Processor,
    Request, RequestHead, Response, ResponseHead, Skip, Start, Stop, Stream, Trailers, Whole, WholeIo, Write,
    processor,
};
use tonic::Code;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Marks both heads, and appends its name to both bodies.
struct Mark(&'static str);

impl Processor for Mark {
    type Ctx = ();
    type RequestBody = Whole<4096>;
    type ResponseBody = Whole<4096>;

    fn name(&self) -> &str {
        self.0
    }

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.append("x-seen", self.0);
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        io.body.replace([io.body.bytes(), self.0.as_bytes()].concat());
        Ok(())
    }

    async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        rsp.append("x-seen", self.0);
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        io.body.replace([io.body.bytes(), self.0.as_bytes()].concat());
        Ok(())
    }
}

/// Lets bodies pass, with a hash between the pieces if it is `careless`.
struct Pieces {
    careless: bool,
}

impl Processor for Pieces {
    type Ctx = ();
    type RequestBody = Stream;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, (): &mut (), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        io.out.push(io.data.to_ascii_uppercase());
        if self.careless && !io.last {
            io.out.push("#");
        }
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        io.out.pass();
        Ok(())
    }
}

/// Waits in the request's head, and tells how it ended.
struct Waits<F>(F, Arc<Mutex<Vec<End>>>);

impl<F, W> Processor for Waits<F>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = Result<(), Stop>> + Send,
{
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.0().await?;
        req.set("x-waited", "yes");
        Ok(())
    }

    fn close(&self, (): (), end: End) {
        self.1.lock().unwrap().push(end);
    }
}

fn exchange() -> Exchange {
    Exchange::new(Plan::request("POST", "/a").body("hello")).answered(Plan::response(200).body("world"))
}

async fn sleep(time: Duration) -> Result<(), Stop> {
    tokio::time::sleep(time).await;
    Ok(())
}

/// The text of the panic that a future ends with.
async fn panic_of(future: impl Future<Output: Send> + Send + 'static) -> String {
    let error = tokio::spawn(AssertUnwindSafe(future).0).await.err().expect("a panic");
    *error.into_panic().downcast::<String>().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_effective_http_on_both_sides() {
    let done = Harness::new(Mark("a")).run(&exchange()).await;
    done.went_well().within(Duration::ZERO);
    done.upstream().has(":method", "POST").has("x-seen", "a").has_body("helloa").lacks("x-other").is_whole();
    done.client().has_status(200).has("x-seen", "a").has("content-length", 6).has_body("worlda");
    assert_eq!(done.upstream().header("x-seen"), Some("a"));
    assert_eq!(done.stats[0].stream_msgs_sent, 4);
}

#[tokio::test(start_paused = true)]
async fn separate_filters_and_a_chain_have_the_same_effect() {
    let filters = Harness::new(Mark("a")).and(Mark("b")).and(Mark("c")).run(&exchange()).await;
    let chain = Harness::new(Chain::new(Mark("a")).then(Mark("b")).then(Mark("c"))).run(&exchange()).await;
    let boxed: Vec<_> = ["a", "b", "c"].map(|name| BoxProcessor::new(Mark(name))).into();
    let boxed = Harness::new(boxed).run(&exchange()).await;
    for (what, done) in [("filters", &filters), ("chain", &chain), ("boxed", &boxed)] {
        done.upstream().has_all("x-seen", ["a", "b", "c"]).has_body("helloabc");
        done.client().has_all("x-seen", ["c", "b", "a"]).has_body("worldcba");
        assert_eq!(done.stats.len(), if what == "filters" { 3 } else { 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_may_wait_and_time_is_virtual() {
    let began = Instant::now();
    let (sender, receiver) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        tokio::time::sleep(MS(150)).await;
        sender.send(true).unwrap();
        std::future::pending::<()>().await;
    });
    type Wait = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Stop>> + Send>> + Send + Sync>;
    type Row = (&'static str, Wait, Option<u16>, u64, Option<&'static str>);
    let waits: [Row; 4] = [
        ("a timer in time", Box::new(|| Box::pin(sleep(MS(199)))), Some(200), 199, Some("yes")),
        ("a timer that is late", Box::new(|| Box::pin(sleep(MS(3_600_000)))), Some(504), 200, None),
        (
            "a task's message",
            Box::new(move || {
                let mut receiver = receiver.clone();
                Box::pin(async move { Ok(receiver.wait_for(|ready| *ready).await.map(drop)?) })
            }),
            Some(200),
            0,
            Some("yes"),
        ),
        ("for ever", Box::new(|| Box::pin(std::future::pending())), Some(504), 200, None),
    ];
    for (what, wait, status, took, header) in waits {
        let done = Harness::new(Waits(wait, Arc::default())).run(&Exchange::get("/")).await;
        let found = (done.response.status(), done.took().as_millis(), done.upstream().header("x-waited"));
        assert_eq!(found, (status, u128::from(took), header), "{what}\n{}", done.timed());
    }
    assert!(began.elapsed() < Duration::from_secs(5), "an hour passes at once");
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_processor_mean_what_the_policy_says() {
    let fails = || -> Result<(), Stop> { Err("broken".into()) };
    let panics = || -> Result<(), Stop> { panic!("on purpose") };
    let denies = || -> Result<(), Stop> { Err(LocalReply::forbidden().body("no").into()) };
    let passes = || -> Result<(), Stop> { Ok(()) };
    type Act = fn() -> Result<(), Stop>;
    let none = None::<Fault>;
    for (what, act, fault, closed, open, end) in [
        ("well", passes as Act, none, 200, 200, Some(End::Ok)),
        ("a local reply", denies, none, 403, 403, Some(End::Ok)),
        ("an error", fails, none, 500, 200, Some(End::Failed)),
        ("a panic", panics, none, 500, 200, Some(End::Panicked)),
        ("unreachable", passes, Some(Fault::Unreachable), 500, 200, None),
        ("no answer", passes, Some(Fault::Silent), 504, 200, None),
        ("late", passes, Some(Fault::Slow(MS(201))), 504, 200, None),
        ("just in time", passes, Some(Fault::Slow(MS(200))), 200, 200, Some(End::Ok)),
        ("a failing stream", passes, Some(Fault::Fails(Code::Unavailable)), 500, 200, None),
        ("an early end", passes, Some(Fault::Ends), 200, 200, None),
    ] {
        for (open, status) in [(false, closed), (true, open)] {
            let ends = Arc::<Mutex<Vec<End>>>::default();
            let waits = Waits(move || std::future::ready(act()), Arc::clone(&ends));
            let mut harness = Harness::new(waits).failure_mode_allow(open);
            if let Some(fault) = fault {
                harness = harness.fault(0, fault);
            }
            let done = harness.run(&Exchange::get("/")).await;
            assert_eq!(done.response.status(), Some(status), "{what}, open: {open}\n{}", done.timed());
            assert_eq!(ends.lock().unwrap().first().copied(), end, "{what}, open: {open}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_may_go_away_and_the_processor_hears_of_it() {
    let ends = Arc::<Mutex<Vec<End>>>::default();
    let waits = Waits(|| sleep(MS(100)), Arc::clone(&ends));
    let done = Harness::new(waits).run(&Exchange::new(Plan::request("GET", "/").gives_up(MS(50)))).await;
    assert_eq!((done.ending, done.took()), (Ending::ClientGaveUp, MS(50)));
    assert_eq!(*ends.lock().unwrap(), [End::Cancelled]);
    done.upstream().has_nothing();
    done.client().has_nothing();
}

#[tokio::test(start_paused = true)]
async fn limits_of_the_data_plane() {
    let harness = Harness::new(Mark("a")).options(|options| options.buffer_limit = 32);
    let exchange = Exchange::new(Plan::request("POST", "/").body(vec![b'x'; 64]));
    harness.run(&exchange).await.client().has_status(413);
}

#[tokio::test(start_paused = true)]
async fn effects_besides_http() {
    let routes = processor::<(), ()>("Routes", ()).request_headers(
        async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            req.set_path("/b");
            req.metadata("acme", "tier", MetadataValue::from("gold"));
            Ok(())
        },
    );
    let done = Harness::new(routes).run(&Exchange::get("/a")).await;
    assert!(done.cleared_route() && done.sent_immediate().is_none());
    assert_eq!(done.metadata()["acme"]["tier"], MetadataValue::from("gold"));
    done.upstream().has(":path", "/b");
    let denies = processor::<(), ()>("Denies", ()).request_headers(
        async |_: &(), _: &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
            Err(LocalReply::unauthorized().into())
        },
    );
    let done = Harness::new(denies).run(&Exchange::get("/a")).await;
    assert_eq!(done.sent_immediate().and_then(|reply| reply.status.as_ref()).unwrap().code, 401);
    done.upstream().has_nothing();
}

#[tokio::test(start_paused = true)]
async fn whole_bodies_do_not_depend_on_the_mode() {
    let trailers = Exchange::new(Plan::request("POST", "/").body("hello").trailer("t", 1));
    for exchange in [exchange(), Exchange::get("/"), trailers] {
        Harness::new(Mark("a")).all_modes(&exchange).await.upstream().has_all("x-seen", ["a"]);
        Harness::new(Mark("a")).chunks([1, 3]).all_modes(&exchange).await.went_well();
    }
}

#[tokio::test(start_paused = true)]
async fn a_dependence_on_the_mode_is_found() {
    let late = processor::<(), ()>("Late", ()).request_body(
        Whole::<64>,
        async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
            io.head.set("x-size", io.body.len());
            Ok(())
        },
    );
    let harness = Harness::new(late);
    let modes = [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::FullDuplexStreamed];
    harness.same_in(&modes, &exchange()).await.upstream().has("x-size", 5);
    let text = panic_of(harness.all_modes(&exchange())).await;
    for part in ["tests/harness.rs", "depends on the body mode", "in BUFFERED", "in STREAMED", "x-size: [\"5\"]"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_do_not_matter_to_careful_processors() {
    let exchange =
        Exchange::new(Plan::request("POST", "/").body("hello world")).answered(Plan::response(200).body("ok"));
    for mode in [BodyMode::Streamed, BodyMode::FullDuplexStreamed] {
        let harness = Harness::new(Pieces { careless: false }).mode(mode);
        harness.any_chunks(&exchange).await.upstream().has_body("HELLO WORLD");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dependence_on_chunks_is_found_with_the_smallest_split() {
    let harness = Harness::new(Pieces { careless: true }).mode(BodyMode::Streamed);
    let text = panic_of(harness.any_chunks(&exchange())).await;
    let split = text.split("cut: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    // One cut, or the end on its own, is enough to show it.
    assert!(!split.contains(',') && !split.contains(';'), "{split}");
    assert!(text.contains("upstream, body from byte"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn phases_may_be_left_out() {
    let exchange = Exchange::new(Plan::request("POST", "/").body("hello").trailer("t", 1))
        .answered(Plan::response(200).body("world").trailer("t", 2));
    assert_eq!(Harness::new(Mark("a")).phase_subsets(&exchange).await.len(), 64);
    let duplex = Harness::new(Pieces { careless: false }).phase_subsets(&exchange).await.len();
    assert_eq!(duplex, 36, "without those that Envoy refuses");
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_relies_on_a_phase_is_found() {
    let relies = processor::<(), Option<String>>("Relies", ())
        .request_headers(async |_: &(), path: &mut Option<String>, req: &mut Start<RequestHead>| -> Result<(), Stop> {
            *path = Some(req.path().to_owned());
            Ok(())
        })
        .response_headers(
            async |_: &(), path: &mut Option<String>, rsp: &mut Start<ResponseHead>| -> Result<(), Stop> {
                rsp.set("x-path", path.as_deref().ok_or("no path")?);
                Ok(())
            },
        );
    let text = panic_of(Harness::new(relies).phase_subsets(&Exchange::get("/"))).await;
    assert!(text.contains("with only response headers sent, "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_the_exchange_ends_by_the_policy() {
    for mode in [BodyMode::None, BodyMode::Streamed, BodyMode::Buffered, BodyMode::BufferedPartial] {
        let all = Harness::new(Noop).mode(mode).failures(&exchange()).await;
        let messages = if mode == BodyMode::None { 2 } else { 4 };
        assert_eq!(all.len(), messages * 5 * 2, "{mode}");
    }
    assert!(!Harness::new(Noop).mode(BodyMode::FullDuplexStreamed).failures(&exchange()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_checks_show_the_exchange() {
    let done = Harness::new(Mark("a")).run(&exchange()).await;
    type Check = fn(&extproc::testing::Effective);
    const fn ignore(_: extproc::testing::Hop<'_>) {}
    let checks: [(Check, &str); 8] = [
        (|done| ignore(done.upstream().has("x-seen", "b")), r#"upstream: x-seen is ["a"]; expected ["b"]"#),
        (|done| ignore(done.upstream().has_all("x-seen", ["a", "b"])), r#"expected ["a", "b"]"#),
        (|done| ignore(done.upstream().lacks("x-seen")), r#"upstream: x-seen is ["a"]; expected none"#),
        (|done| ignore(done.client().has_status(404)), "client: the status is Some(200); expected 404"),
        (|done| ignore(done.client().has_body("")), r#"client: the body is "worlda"; expected """#),
        (|done| ignore(done.client().has_trailer("t", 1)), r#"client: trailer t is None; expected "1""#),
        (|done| ignore(done.client().has_nothing()), "client: got 200"),
        (|done| ignore(done.upstream().has(":path", "/b")), r#"expected ["/b"]"#),
    ];
    for (check, expected) in checks {
        let panic = std::panic::catch_unwind(AssertUnwindSafe(|| check(&done))).unwrap_err();
        let text = panic.downcast::<String>().unwrap();
        assert!(text.contains(expected), "{expected}\n{text}");
        assert!(text.contains("<- request_headers x-seen+=a"), "the transcript\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_of_both_sides() {
    let marks = processor::<(), ()>("Marks", ()).response_trailers(
        async |_: &(), _: &mut (), trailers: &mut Trailers| -> Result<(), Abort> {
            trailers.set("grpc-status", 0);
            Ok(())
        },
    );
    let exchange = Exchange::get("/").answered(Plan::response(200).body("x").trailer("grpc-status", 5));
    Harness::new(marks).run(&exchange).await.client().has_trailer("grpc-status", 0).has_body("x");
}

/// Answers the request's head with this header; the rest passes.
fn raw(value: &'static str, raw_value: &'static str) -> Harness {
    Harness::raw(move |message| {
        let mut common = CommonResponse::default();
        let headers = match message.request {
            Some(Ask::RequestHeaders(_)) => {
                let header = HeaderValue { key: "x-a".into(), value: value.into(), raw_value: raw_value.into() };
                let option = HeaderValueOption { header: Some(header), ..HeaderValueOption::default() };
                common.header_mutation = Some(HeaderMutation { set_headers: vec![option], ..Default::default() });
                Reply::RequestHeaders
            }
            _ => Reply::ResponseHeaders,
        };
        let response = Some(headers(HeadersResponse { response: Some(common) }));
        vec![ProcessingResponse { response, ..ProcessingResponse::default() }]
    })
}

/// What works with one data plane and not with another shows without any of them.
#[tokio::test(start_paused = true)]
async fn each_profile_shows_a_portability_bug() {
    let on_head = |edit: fn(&mut Start<RequestHead>)| {
        let edits = processor::<fn(&mut Start<RequestHead>), ()>("Edits", edit);
        Harness::new(edits.request_headers(
            async |edit: &fn(&mut Start<RequestHead>), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                edit(req);
                Ok(())
            },
        ))
    };
    // A header, the body and the status that come of it, for Envoy, agentgateway, gRPC and a strict reader.
    let rows = [
        ("value in place of raw_value", raw("1", ""), ["  200", "1  200", "0,1  200", "1  200"]),
        ("an append that is not said", raw("", "1"), ["1  200", "1  200", "0,1  200", "1  200"]),
        ("both values", raw("1", "2"), ["2  200", "2  200", "0,2  200", "  500"]),
        ("a body for a GET", on_head(|req| req.replace_body("b")), ["0 b 200", "0  200", "  500", "0 b 200"]),
        ("a protected header", on_head(|req| req.set("x-envoy-a", 1)), ["0  200", "0,1  200", "0,1  200", "0  200"]),
    ];
    let exchange = Exchange::new(Plan::request("GET", "/").header("x-a", 0));
    for (what, harness, expected) in rows {
        for (profile, expected) in Profile::ALL.into_iter().zip(expected) {
            let done = harness.clone().profile(profile).run(&exchange).await;
            let status = done.response.status().unwrap_or_default();
            let values = ["x-a", "x-envoy-a"].map(|name| done.request.header_all(name)).concat().join(",");
            let found = format!("{values} {} {status}", done.request.text());
            assert_eq!(found, expected, "{what}, {profile:?}\n{}", done.timed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_sdk_writes_is_portable() {
    let portable = Harness::new(Mark("a")).same_for(&Profile::ALL, &exchange()).await;
    portable.upstream().has("x-seen", "a").has_body("helloa");
    let text =
        panic_of(raw("", "1").same_for(&Profile::ALL, &Exchange::new(Plan::request("GET", "/").header("x-a", 0))))
            .await;
    assert!(text.contains(r#"upstream, header x-a: ["1"] for Envoy, but ["0", "1"] for Grpc"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn blocked_writes_are_told() {
    let early = processor::<(), ()>("Early", ()).request_headers(
        async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            req.extend(Duration::ZERO);
            Ok(())
        },
    );
    let done = Harness::new(early).run(&Exchange::get("/")).await;
    assert_eq!(
        done.blocked.iter().map(|blocked| (blocked.phase, blocked.what)).collect::<Vec<_>>(),
        [(Phase::RequestHeaders, Write::Extend)]
    );
    let panic = std::panic::catch_unwind(AssertUnwindSafe(|| done.nothing_blocked().ending)).unwrap_err();
    assert!(panic.downcast::<String>().unwrap().contains("a write was blocked: extend of Early in request_headers"));
    let kind = Harness::new(Mark("a")).mode(BodyMode::None).run(&exchange()).await;
    assert!(kind.to_string().contains("mismatch: a in NONE"), "{kind}");
    Harness::new(Mark("a")).run(&exchange()).await.nothing_blocked().went_well();
}
