//! What phases say to the data plane besides their edits: more time, other body modes, routes, metadata.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use extproc::proto::{Metadata, ProcessingRequest};
use extproc::testing::{InMemory, Script};
use extproc::{
    BodyMode, BoxProcessor, Headers, LocalReply, Name, OnError, Open, Policy, Processor, Request, RequestHead,
    ResponseHead, Skip, Start, Stop, Stream, Trailers, Value, Whole, WholeIo, processor,
};
use extproc_core::pair::{self, Begin, Pair, Upstream};
use extproc_core::{Config, Options, ProcessingMode};
use prost_types::Struct;

const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/a"), ("content-length", "5")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("content-length", "5")];

type Head = fn(&mut Start<RequestHead>);

/// A processor with a function for the request's head and without bodies.
fn head(function: Head) -> BoxProcessor {
    BoxProcessor::new(processor::<Head, ()>("Head", function).request_headers(run_head))
}

async fn run_head(function: &Head, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
    function(req);
    Ok(())
}

fn both(mode: BodyMode) -> Script {
    Script::new().modes(mode, mode)
}

#[tokio::test]
async fn more_time_once_for_each_message() {
    let extend: Head = |req| {
        req.extend(Duration::from_millis(1500));
    };
    let twice = || vec![head(extend), head(extend)];
    for mode in [BodyMode::None, BodyMode::Buffered, BodyMode::Streamed] {
        let lines = both(mode).request_headers(POST).run(twice()).await.lines();
        assert_eq!(lines, ["timeout 1.500s", "request_headers"], "{mode:?}: once for all processors");
        let second = vec![head(|_| {}), head(extend)];
        let lines = both(mode).request_headers(POST).run(second).await.lines();
        assert_eq!(lines, ["timeout 1.500s", "request_headers"], "{mode:?}: any of them");
    }
    let lines = both(BodyMode::FullDuplexStreamed).request_headers(POST).run(twice()).await.lines();
    assert_eq!(lines, ["request_headers"], "no timer runs there");
    let lines = both(BodyMode::None).observing().request_headers(POST).run(twice()).await.lines();
    assert_eq!(lines, [""; 0]);
    let short = head(|req| assert!(!req.extend(Duration::from_micros(999))));
    assert_eq!(both(BodyMode::None).request_headers(POST).run(short).await.lines(), ["request_headers"]);
}

/// Wants ten times the time it has, and never answers.
struct Slow(Duration);

impl Processor for Slow {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.extend(self.0);
        std::future::pending().await
    }
}

fn map(entries: &[(&'static str, &'static str)]) -> Headers {
    entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
}

#[test]
fn the_data_plane_waits_as_long_as_it_allows() {
    for (by, waited, received) in [(500, 500, 1), (1001, 200, 0)] {
        let options = Options {
            processing_mode: ProcessingMode::default(),
            message_timeout: Duration::from_millis(200),
            max_message_timeout: Duration::from_secs(1),
            ..Options::default()
        };
        let slow = InMemory::new(&Arc::new(Slow(Duration::from_millis(by))));
        let filter = (Arc::new(Config::new(options).unwrap()), Box::new(slow) as Box<dyn pair::Processor>);
        let outcome = Pair::new(Instant::now(), [filter])
            .client(pair::Script::message(map(&[(":method", "GET"), (":path", "/"), (":authority", "h")]), [], None))
            .upstream(Upstream::new(Begin::AtEnd, pair::Script::message(map(&[(":status", "200")]), [], None)))
            .run();
        assert_eq!(outcome.response.status(), Some(504), "{by}");
        assert_eq!(outcome.stats[0].override_message_timeout_received, received, "{by}");
        assert_eq!(outcome.stats[0].override_message_timeout_ignored, 1 - received, "{by}");
        let ended = outcome.log.iter().any(|(at, _)| *at == Duration::from_millis(waited));
        assert!(ended, "{by}: {}", outcome.print());
    }
}

#[tokio::test]
async fn asking_for_modes() {
    let ask: [(&str, Head); 6] = [
        ("NONE", |req| assert_eq!(req.ask(BodyMode::None), req.ask(BodyMode::None))),
        ("STREAMED", |req| assert_eq!(req.ask(BodyMode::Streamed), req.ask(BodyMode::Streamed))),
        ("BUFFERED", |req| assert_eq!(req.ask(BodyMode::Buffered), req.ask(BodyMode::Buffered))),
        ("BUFFERED_PARTIAL", |req| assert_eq!(req.ask(BodyMode::BufferedPartial), req.ask(BodyMode::BufferedPartial))),
        ("FULL_DUPLEX_STREAMED", |req| {
            assert_eq!(req.ask(BodyMode::FullDuplexStreamed), req.ask(BodyMode::FullDuplexStreamed))
        }),
        ("GRPC", |req| assert_eq!(req.ask(BodyMode::Grpc), req.ask(BodyMode::Grpc))),
    ];
    for (declared, print, refused) in [
        (BodyMode::None, "NONE", &["NONE", "GRPC"][..]),
        (BodyMode::Streamed, "STREAMED", &["FULL_DUPLEX_STREAMED", "GRPC"]),
        (BodyMode::Buffered, "BUFFERED", &["FULL_DUPLEX_STREAMED", "GRPC"]),
        (
            BodyMode::FullDuplexStreamed,
            "",
            &["NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED", "GRPC"],
        ),
    ] {
        for (mode, function) in ask {
            let lines = both(declared).request_headers(POST).run(head(function)).await.lines();
            let expected = if refused.contains(&mode) {
                "request_headers".to_owned()
            } else {
                format!("request_headers ask({mode},{print})")
            };
            assert_eq!(lines, [expected], "{declared:?} {mode}");
        }
    }
    let undeclared = Script::new().request_headers(POST);
    assert_eq!(undeclared.run(head(ask[1].1)).await.lines(), ["request_headers"]);
    let bodiless = both(BodyMode::Buffered).request_only([(":method", "GET")]);
    assert_eq!(bodiless.run(head(ask[0].1)).await.lines(), ["request_headers"], "there is none to ask for");
}

#[tokio::test]
async fn asking_for_the_response() {
    let early = head(|req| assert!(req.ask_response(BodyMode::Streamed)));
    let lines = both(BodyMode::Buffered).request_headers(POST).run(early).await.lines();
    assert_eq!(lines, ["request_headers ask(BUFFERED,STREAMED)"]);
    let late = processor::<(), ()>("Late", ()).response_headers(
        async |_: &(), _: &mut (), rsp: &mut Start<ResponseHead>| -> Result<(), Stop> {
            assert!(rsp.ask(BodyMode::FullDuplexStreamed));
            Ok(())
        },
    );
    let script = Script::new().modes(BodyMode::Buffered, BodyMode::None).response_headers(OK);
    assert_eq!(
        script.response_body("wo", false).response_body("rld", true).run(late).await.lines(),
        [
            "response_headers ask(BUFFERED,FULL_DUPLEX_STREAMED)",
            r#"response_body chunk="wo""#,
            r#"response_body chunk="rld" end"#
        ]
    );
}

/// Wants the body only of posts.
struct Posts;

impl Processor for Posts {
    type Ctx = ();
    type RequestBody = Whole<16>;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if req.method() != "POST" {
            req.ask(BodyMode::None);
        }
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        io.body.replace("seen");
        Ok(())
    }
}

#[tokio::test]
async fn a_body_can_be_declined() {
    let put = [(":method", "PUT")];
    let script = both(BodyMode::Buffered).request_headers(put);
    let ask = "request_headers ask(NONE,BUFFERED)";
    assert_eq!(script.run(Posts).await.lines(), [ask]);
    assert_eq!(
        script.clone().request_body("hello", true).run(Posts).await.lines(),
        [ask, "request_body"],
        "it passes if it comes all the same"
    );
    let others = || vec![BoxProcessor::new(Posts), BoxProcessor::new(extproc::Noop)];
    assert_eq!(script.run(others()).await.lines(), [ask]);
    let wanted = || vec![BoxProcessor::new(Posts), BoxProcessor::new(all())];
    assert_eq!(
        script.clone().request_body("hello", true).run(wanted()).await.lines(),
        ["request_headers", "request_body x-all=5"],
        "another one wants it"
    );
    let lines = both(BodyMode::None).request_headers(put).run(Posts).await.lines();
    assert_eq!(lines, ["request_headers"], "nothing is asked for that is declined");
}

fn all() -> impl Processor<RequestBody = Whole<16>, ResponseBody = Skip> {
    processor::<(), ()>("All", ()).request_body(
        Whole::<16>,
        async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
            io.head.set("x-all", io.body.len());
            Ok(())
        },
    )
}

#[tokio::test]
async fn streamed_in_place_of_buffered_is_right_granted_or_not() {
    let upper = || {
        processor::<(), ()>("Upper", ())
            .request_headers(async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                assert!(req.ask(BodyMode::Streamed));
                Ok(())
            })
            .request_body(Stream, async |_: &(), _: &mut (), io: &mut extproc::ChunkIo<Request>| -> Result<(), Stop> {
                io.out.push(io.data.to_ascii_uppercase());
                Ok(())
            })
    };
    let script = both(BodyMode::Buffered).request_headers(POST);
    let ask = "request_headers -content-length ask(STREAMED,BUFFERED)";
    assert_eq!(
        script.clone().request_body("hello", true).run(upper()).await.lines(),
        [ask, r#"request_body body="HELLO""#]
    );
    assert_eq!(
        script.request_body("he", false).request_body("llo", true).run(upper()).await.lines(),
        [ask, r#"request_body body="HE""#, r#"request_body body="LLO""#]
    );
}

#[tokio::test]
async fn a_head_that_will_not_wait_passes_all_header_phases_at_once() {
    let first = processor::<(), ()>("First", ())
        .request_headers(async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            assert!(req.ask(BodyMode::Streamed));
            Ok(())
        })
        .request_body(Whole::<16>, async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
            io.body.replace("new");
            Ok(())
        });
    let chain = vec![BoxProcessor::new(first), head(|req| req.set("x-b", "1"))];
    let script = both(BodyMode::Buffered).request_headers(POST).request_body("he", false).request_body("llo", true);
    assert_eq!(
        script.run(chain).await.lines(),
        [
            "request_headers x-b=1 -content-length ask(STREAMED,BUFFERED)",
            "request_body clear",
            r#"request_body body="new""#
        ]
    );
}

#[tokio::test]
async fn routes() {
    let rows: [(&str, Head, &str); 6] = [
        ("path", |req| req.set_path("/b"), "request_headers :path=/b route"),
        ("host", |req| req.set_host("h2"), "request_headers :authority=h2 route"),
        ("the same path", |req| req.set_path("/a"), "request_headers :path=/a"),
        (
            "kept",
            |req| {
                req.set_path("/b");
                req.keep_route();
            },
            "request_headers :path=/b",
        ),
        ("a header", |req| req.set("x-a", "1"), "request_headers x-a=1"),
        (
            "asked for",
            |req| {
                req.set("x-a", "1");
                req.clear_route();
            },
            "request_headers x-a=1 route",
        ),
    ];
    for (what, function, expected) in rows {
        let lines = both(BodyMode::None).request_headers(POST).run(head(function)).await.lines();
        assert_eq!(lines, [expected], "{what}");
    }
}

#[tokio::test]
async fn metadata_goes_with_the_answer() {
    let set: Head = |req| {
        req.metadata("auth", "user", "u1");
        req.metadata("auth", "score", 0.5);
        req.metadata("other", "ok", true);
        req.metadata("auth", "user", "u2");
    };
    let lines = both(BodyMode::None).request_headers(POST).run(head(set)).await.lines();
    assert_eq!(lines, [r#"request_headers auth.score:0.5 auth.user:"u2" other.ok:true"#]);
    let again: Head = |req| req.metadata("auth", "user", "u3");
    let lines = both(BodyMode::None).request_headers(POST).run(vec![head(set), head(again)]).await.lines();
    assert_eq!(lines, [r#"request_headers auth.score:0.5 auth.user:"u3" other.ok:true"#]);
    let lines = both(BodyMode::None).observing().request_headers(POST).run(head(set)).await.lines();
    assert_eq!(lines, [""; 0]);
}

#[tokio::test]
async fn metadata_of_bodies_trailers_and_replies() {
    let late = || {
        processor::<(), ()>("Late", ())
            .request_headers(async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                req.metadata("n", "k", "denied");
                if req.path() == "/deny" { Err(LocalReply::forbidden().into()) } else { Ok(()) }
            })
            .request_body(Whole::<16>, async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
                io.head.metadata("n", "size", 5);
                Ok(())
            })
            .request_trailers(async |_: &(), _: &mut (), t: &mut Trailers| -> Result<(), Stop> {
                t.metadata("n", "t", "1");
                Ok(())
            })
    };
    let script =
        both(BodyMode::Buffered).request_headers(POST).request_body("hello", false).request_trailers([("t", "1")]);
    assert_eq!(
        script.run(late()).await.lines(),
        [r#"request_headers n.k:"denied""#, "request_body n.size:5", r#"request_trailers n.t:"1""#]
    );
    let streamed = both(BodyMode::Streamed).request_headers(POST).request_body("hello", true);
    assert_eq!(
        streamed.run(late()).await.lines(),
        [r#"request_headers -content-length n.k:"denied""#, r#"request_body n.size:5"#],
        "metadata is no header edit"
    );
    let denied = both(BodyMode::Buffered).request_headers([(":path", "/deny")]);
    assert_eq!(denied.run(late()).await.lines(), [r#"immediate 403 n.k:"denied""#]);
}

#[tokio::test]
async fn a_skipped_phase_says_nothing() {
    let fail = processor::<(), ()>("Fail", ()).request_headers(
        async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            req.metadata("n", "k", "v");
            req.ask(BodyMode::Streamed);
            Err("broken".into())
        },
    );
    let lines = both(BodyMode::None).request_headers(POST).run(Policy::new(fail, OnError::Skip)).await.lines();
    assert_eq!(lines, ["request_headers"]);
}

#[tokio::test]
async fn what_is_known_at_the_opening() {
    struct Look(Mutex<Vec<String>>);
    impl Processor for Look {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, open: &Open) {
            let mut seen = self.0.lock().unwrap();
            seen.push(format!("{:?}", open.attribute("request.path")));
            seen.push(format!("{:?}", open.attribute_number("source.port")));
            seen.push(format!("{:?}", open.attribute_bool("connection.mtls")));
            seen.push(format!("{:?}", open.attribute_number("request.path")));
            seen.push(format!("{:?}", open.metadata_text("ns", "text")));
            seen.push(format!("{:?}", open.metadata_number("ns", "number")));
            seen.push(format!("{:?}", open.metadata_bool("ns", "truth")));
            seen.push(format!("{:?}", open.metadata_text("other", "text")));
        }
    }
    let fields = |entries: &[(&str, prost_types::Value)]| Struct {
        fields: entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
    };
    let attributes =
        fields(&[("request.path", "/a".into()), ("source.port", 4711.into()), ("connection.mtls", true.into())]);
    let metadata = fields(&[("text", "t".into()), ("number", 1.5.into()), ("truth", false.into())]);
    let first = ProcessingRequest {
        attributes: BTreeMap::from([("envoy.filters.http.ext_proc".to_owned(), attributes)]),
        metadata_context: Some(Metadata {
            filter_metadata: BTreeMap::from([("ns".to_owned(), metadata)]),
            ..Metadata::default()
        }),
        ..ProcessingRequest::default()
    };
    let look = Arc::new(Look(Mutex::default()));
    Script::new().message(first).run_shared(&look).await;
    let expected =
        ["Some(\"/a\")", "Some(4711.0)", "Some(true)", "None", "Some(\"t\")", "Some(1.5)", "Some(false)", "None"];
    assert_eq!(*look.0.lock().unwrap(), expected);
}
