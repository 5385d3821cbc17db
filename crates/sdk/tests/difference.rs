//! The data plane's configuration against what processors need, at the first message.
#![allow(clippy::unwrap_used, reason = "test code")]

use extproc::testing::{Ending, Exchange, Harness, Plan, Profile, Script};
use extproc::{
    BodyMode, Messages, Metrics, OnMismatch, Open, Processor, Request, RequestHead, Skip, Start, Stop, Stream, Whole,
    Wishes,
};
use extproc_core::BodyMode::{Buffered, FullDuplexStreamed, Grpc, None as Unsent, Streamed};

/// Takes the request's body as `K`.
struct Takes<K> {
    wishes: fn() -> Wishes,
    on_mismatch: Option<OnMismatch>,
    kind: std::marker::PhantomData<K>,
}

fn takes<K>() -> Takes<K> {
    Takes { wishes: Wishes::new, on_mismatch: None, kind: std::marker::PhantomData }
}

impl<K: extproc::BodyKind<Request>> Processor for Takes<K> {
    type Ctx = ();
    type RequestBody = K;
    type ResponseBody = Skip;

    fn name(&self) -> &'static str {
        "Takes"
    }

    fn open(&self, _: &Open) {}

    fn wishes(&self) -> Wishes {
        (self.wishes)()
    }

    fn on_mismatch(&self) -> Option<OnMismatch> {
        self.on_mismatch
    }

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("x-seen", 1);
        Ok(())
    }
}

const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/")];

fn said<K: extproc::BodyKind<Request>>(
    processor: Takes<K>,
    request: BodyMode,
    response: BodyMode,
) -> impl Future<Output = Vec<String>> {
    let script = Script::new().modes(request, response).request_headers(POST);
    async move { script.run(processor).await.differences.iter().map(ToString::to_string).collect() }
}

#[tokio::test]
async fn what_differs_and_what_to_change() {
    const NOTHING: &[&str] = &[];
    for mode in [Streamed, Buffered, BodyMode::BufferedPartial, FullDuplexStreamed] {
        assert_eq!(said(takes::<Whole<9>>(), mode, Unsent).await, NOTHING, "{mode}");
        assert_eq!(said(takes::<Stream>(), mode, Unsent).await, NOTHING, "{mode}");
    }
    assert_eq!(said(takes::<Messages>(), Grpc, Unsent).await, NOTHING);
    assert_eq!(said(takes::<Skip>(), Unsent, Unsent).await, NOTHING);
    assert_eq!(
        said(takes::<Whole<9>>(), Unsent, Unsent).await,
        ["Takes: the request body is not sent; set processing_mode.request_body_mode: BUFFERED"]
    );
    assert_eq!(
        said(takes::<Messages>(), Unsent, Unsent).await,
        ["Takes: the request body is not sent; set processing_mode.request_body_mode: FULL_DUPLEX_STREAMED"]
    );
    assert_eq!(
        said(takes::<Whole<9>>(), Grpc, Unsent).await,
        ["Takes: the request body comes in GRPC, which does not go with the body kind; \
             set processing_mode.request_body_mode: BUFFERED"]
    );
    assert_eq!(
        said(takes::<Skip>(), Streamed, Buffered).await,
        [
            "Takes: the request body comes in STREAMED, and no processor takes it; set processing_mode.request_body_mode: NONE",
            "Takes: the response body comes in BUFFERED, and no processor takes it; set processing_mode.response_body_mode: NONE",
        ]
    );
    let asks = || Takes { wishes: || Wishes::new().mode_override(), ..takes::<Stream>() };
    assert_eq!(said(asks(), Streamed, Unsent).await, NOTHING);
    assert!(said(asks(), FullDuplexStreamed, Unsent).await[0].starts_with("Takes: body modes that are asked for"));
}

#[tokio::test]
async fn nothing_is_said_of_a_data_plane_that_does_not_declare_its_modes() {
    let undeclared = Script::new().request_headers(POST).run(takes::<Whole<9>>()).await;
    assert_eq!(undeclared.differences, []);
}

#[tokio::test(start_paused = true)]
async fn attributes_that_do_not_come() {
    let reads = || Takes { wishes: || Wishes::new().request_attribute("source.address"), ..takes::<Skip>() };
    let without = Harness::new(reads()).run(&Exchange::get("/")).await;
    assert_eq!(without.differences.len(), 1, "{without}");
    assert!(
        without.to_string().contains("configuration: Takes: no attributes came; set request_attributes"),
        "{without}"
    );
    let with = Harness::new(reads()).run(&Exchange::get("/").attribute("source.address", "192.0.2.1")).await;
    assert_eq!(with.differences, []);
}

#[tokio::test(start_paused = true)]
async fn the_policy_fails_at_the_first_message_what_is_certain_then() {
    let fails = || Takes { on_mismatch: Some(OnMismatch::Fail), ..takes::<Whole<9>>() };
    let post = Exchange::new(Plan::request("POST", "/").messages(["a"]));
    let grpc = |harness: Harness| harness.profile(Profile::Grpc).mode(Grpc);
    let done = grpc(Harness::new(fails())).run(&post).await;
    done.client().has("grpc-status", 13);
    done.upstream().has_nothing();
    assert_eq!(done.differences.iter().filter(|it| !it.to_string().contains("takes it")).count(), 1);
    assert_eq!(done.mismatches.len(), 1);
    // No body can come: nothing is lost.
    let get = grpc(Harness::new(fails())).run(&Exchange::get("/")).await;
    assert_eq!((get.ending, get.response.status()), (Ending::Complete, Some(200)), "{get}");
    // Another mode can be asked for, so it is too early.
    let asked = Harness::new(fails()).mode(Unsent).allow_mode_override(true).run(&post).await;
    asked.went_well().upstream().is_whole();
    assert_eq!((asked.differences.len(), asked.mismatches.len()), (1, 0), "{asked}");
}

#[tokio::test]
async fn differences_are_counted_for_each_stream() {
    let metrics = Metrics::new();
    for _ in 0..2 {
        let script = Script::new().metrics(&metrics).modes(Unsent, Streamed).request_headers(POST);
        script.run(takes::<Whole<9>>()).await;
    }
    let text = metrics.encode();
    for line in [
        "ext_proc_config_differences_total{processor=\"Takes\",difference=\"request_body_not_sent\"} 2",
        "ext_proc_config_differences_total{processor=\"Takes\",difference=\"response_body_unread\"} 2",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
