//! Rows of the Python SDK's acceptance table about its testing package and its unit tests, each under its number.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use extproc::proto::common_response::ResponseStatus;
use extproc::proto::processing_request::Request as Ask;
use extproc::proto::{HeaderMap, ProcessingRequest};
use extproc::testing::{Exchange, Harness, IntoBody, Plan, ReadReply, Script, head};
use extproc::{
    BodyMode, Fields, Noop, Open, Phase, Processor, Request, RequestHead, ResponseHead, Skip, Start, Stop, Trailers,
    Whole, WholeIo, processor,
};

const PHASES: [Phase; 6] = [
    Phase::RequestHeaders,
    Phase::RequestBody,
    Phase::RequestTrailers,
    Phase::ResponseHeaders,
    Phase::ResponseBody,
    Phase::ResponseTrailers,
];

fn pairs(map: &HeaderMap) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    map.headers.iter().map(|header| (text(&header.key), text(&header.raw_value))).collect()
}

/// What a message carries: its phase, headers or body, and the end of the stream.
fn said(message: &ProcessingRequest) -> String {
    let fields = |map: &Option<HeaderMap>| format!("{:?}", pairs(map.as_ref().unwrap()));
    match message.request.as_ref().unwrap() {
        Ask::RequestHeaders(part) | Ask::ResponseHeaders(part) => {
            format!("head {} {}", fields(&part.headers), part.end_of_stream)
        }
        Ask::RequestBody(part) | Ask::ResponseBody(part) => {
            format!("body {} {}", part.body.escape_ascii(), part.end_of_stream)
        }
        Ask::RequestTrailers(part) | Ask::ResponseTrailers(part) => format!("trailers {}", fields(&part.trailers)),
    }
}

#[test]
fn py_080_py_089_heads_keep_duplicates_and_write_raw_value() {
    let one = [("x-a", "1")];
    let none: [(&str, &str); 0] = [];
    for (what, map, expected) in [
        ("an array", head([("x-a", "1"), ("x-a", "2")]), &[("x-a", "1"), ("x-a", "2")][..]),
        ("a slice", head(one.iter().copied()), &one),
        ("a vector of strings", head(vec![("x-a".to_owned(), "1".to_owned())]), &one),
        ("a map", head(BTreeMap::from(one)), &one),
        ("a hash map", head(HashMap::from(one)), &one),
        ("bytes", head([(b"x-a", b"1")]), &one),
        ("nothing", head(none), &[]),
        ("an option of nothing", head(None::<(&str, &str)>), &[]),
    ] {
        assert_eq!(pairs(&map), expected, "{what}");
        assert!(map.headers.iter().all(|header| header.value.is_empty()), "{what}");
    }
}

#[test]
fn py_081_py_089_bodies_of_many_kinds() {
    for (what, body, expected) in [
        ("bytes", b"hi".into_body(), "hi"),
        ("more bytes", Bytes::from_static(b"hi").into_body(), "hi"),
        ("a vector", vec![b'h', b'i'].into_body(), "hi"),
        ("text", "hi".into_body(), "hi"),
        ("a string", "h\u{e9}".to_owned().into_body(), "h\u{e9}"),
        ("an integer", 42.into_body(), "42"),
        ("a negative one", (-7_i64).into_body(), "-7"),
        ("nothing", ().into_body(), ""),
    ] {
        assert_eq!(body, expected.as_bytes(), "{what}");
    }
}

#[cfg(feature = "json")]
#[test]
fn py_081_json_is_written_as_python_does() {
    for (value, expected) in [
        (serde_json::json!({"a": [1, "b"], "c": {}}), r#"{"a": [1, "b"], "c": {}}"#),
        (serde_json::json!([]), "[]"),
        (serde_json::json!("z\u{fc}\u{1f600}"), r#""z\u00fc\ud83d\ude00""#),
    ] {
        assert_eq!((&value).into_body(), expected.as_bytes());
        assert_eq!(value.into_body(), expected.as_bytes());
    }
}

#[tokio::test]
async fn py_082_what_a_reply_sets_in_order_and_by_name() {
    let tags = processor::<(), ()>("Tags", ()).request_headers(
        async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            req.append("x-b", "1");
            req.set("x-a", "2");
            req.append("x-b", "3");
            req.remove("cookie");
            Ok(())
        },
    );
    let said = Script::new().request_only([("cookie", "c")]).run(tags).await;
    let reply = &said.replies[0];
    let mut set = reply.set_headers();
    assert_eq!(set.len(), 3, "duplicates are kept: {set:?}");
    set.retain(|(name, _)| name == "x-b");
    assert_eq!(set.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["1", "3"], "in order");
    assert_eq!(reply.set_headers_map()["x-b"], "3", "the last wins");
    assert_eq!(reply.removed_headers(), ["cookie"]);
    assert_eq!((reply.phase(), reply.is_continue()), (Some(Phase::RequestHeaders), true));
}

#[test]
fn py_083_py_089_six_messages_in_order_or_some_of_them() {
    let phases = |script: &Script| script.messages().iter().map(said).collect::<Vec<_>>();
    let empty = ["head [] false", "body  false", "trailers []"];
    assert_eq!(phases(&Script::six()), [empty, empty].concat());
    let request = Plan::of(Default::default()).header("x-a", 1).body("hello").chunks([2]).chunked();
    let response = Plan::of(Default::default()).trailer("x-t", 2);
    let cycle = Script::cycle(&request, &response);
    assert_eq!(
        phases(&cycle),
        [
            r#"head [("x-a", "1")] false"#,
            "body he false",
            "body llo false",
            "trailers []",
            "head [] false",
            "body  false",
            r#"trailers [("x-t", "2")]"#,
        ]
    );
    let some = cycle.clone().only(&[Phase::RequestHeaders, Phase::RequestBody, Phase::ResponseHeaders]).with_ends();
    let ends = [r#"head [("x-a", "1")] false"#, "body he false", "body llo true", "head [] true"];
    assert_eq!(phases(&some), ends);
    assert_eq!(phases(&cycle.with_ends())[2], "body llo false", "trailers end it");
}

#[tokio::test]
async fn py_085_a_full_cycle_gives_six_replies_and_none_changes_anything() {
    let cycle = Script::cycle(&Plan::request("POST", "/").body("hello"), &Plan::response(200).body("world"));
    let said = cycle.run(Noop).await;
    assert_eq!(said.replies.iter().map(ReadReply::phase).collect::<Vec<_>>(), PHASES.map(Some));
    for reply in &said.replies {
        assert!(reply.is_continue() && reply.set_headers().is_empty() && reply.removed_headers().is_empty());
        assert_eq!((reply.new_body(), reply.immediate_status()), (None, None));
    }
    assert_eq!(ResponseStatus::default(), ResponseStatus::Continue);
}

#[tokio::test]
async fn py_085_a_message_that_says_nothing_is_passed_over() {
    // In the Python SDK it ends the stream with an error; the protocol allows it.
    let script = Script::six().message(ProcessingRequest::default());
    let said = script.run(Noop).await;
    assert_eq!((said.replies.len(), said.status.is_ok()), (6, true));
}

#[tokio::test]
async fn py_085_getters() {
    struct Getters;
    impl Processor for Getters {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {}

        async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
            // One header: there, in another case, absent.
            assert_eq!([req.header("x-a"), req.header("X-A"), req.header("x-none")], [Some("1"), Some("1"), None]);
            // Several: all there, some, none, in any case, not one asked for.
            assert_eq!(req.pick(["x-a", "x-b"]), [Some("1"), Some("2")]);
            assert_eq!(req.pick(["x-a", "x-none"]), [Some("1"), None]);
            assert_eq!(req.pick(["x-none"]), [None]);
            assert_eq!(req.pick(["X-B", "X-A"]), [Some("2"), Some("1")]);
            assert_eq!(req.pick([]), [None::<&str>; 0]);
            Ok(())
        }
    }
    let said = Script::new().request_only([("x-a", "1"), ("X-B", "2")]).run(Getters).await;
    assert_eq!(said.lines(), ["request_headers"]);
}

/// The same verbs for everything that has fields.
fn edit(fields: &mut Fields) {
    fields.set("x-one", 1);
    for (name, value) in [("x-two", 2), ("x-two", 3)] {
        fields.append(name, value);
    }
    for name in ["x-there", "x-none"] {
        fields.remove(name);
    }
}

async fn edit_request(_: &(), _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
    edit(req);
    Ok(())
}

async fn edit_response(_: &(), _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
    edit(rsp);
    Ok(())
}

async fn edit_trailers(_: &(), _: &mut (), trailers: &mut Trailers) -> Result<(), Stop> {
    edit(trailers);
    Ok(())
}

#[tokio::test]
async fn py_037_py_085_adding_and_removing_works_on_every_view_in_every_style() {
    struct Methods;
    impl Processor for Methods {
        type Ctx = ();
        type RequestBody = Whole<16>;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {}

        async fn request_headers(&self, ctx: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
            edit_request(&(), ctx, req).await
        }

        async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
            edit(&mut io.head);
            Ok(())
        }

        async fn request_trailers(&self, ctx: &mut (), trailers: &mut Trailers) -> Result<(), Stop> {
            edit_trailers(&(), ctx, trailers).await
        }

        async fn response_headers(&self, ctx: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
            edit_response(&(), ctx, rsp).await
        }
    }
    let functions = || {
        processor::<(), ()>("Functions", ())
            .request_headers(edit_request)
            .request_trailers(edit_trailers)
            .response_headers(edit_response)
    };
    let plan = |plan: Plan| plan.header("x-there", 0).body("x").trailer("x-there", 0);
    let cycle = Script::cycle(&plan(Plan::request("POST", "/")), &plan(Plan::response(200)));
    for (what, said, phases) in [
        ("functions", cycle.run(functions()).await, &[0, 2, 3][..]),
        ("methods", cycle.run(Methods).await, &[0, 1, 2, 3]),
    ] {
        for &at in phases {
            let reply = &said.replies[at];
            let set: Vec<_> = reply.set_headers().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(set, ["x-one=1", "x-two=2", "x-two=3"], "{what}, message {at}");
            assert!(reply.removed_headers().iter().any(|name| name == "x-there") || at == 1, "{what}, message {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn transcripts_are_kept_in_files() {
    let echo = || {
        processor::<(), ()>("Echo", ()).request_headers(edit_request).request_body(
            Whole::<64>,
            async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
                io.body.replace(io.body.text()?.to_uppercase());
                Ok(())
            },
        )
    };
    let exchange = Exchange::new(Plan::request("PUT", "/a").header("x-there", 0).body("hello").chunks([2]))
        .answered(Plan::response(200).body("ok"));
    let harness = Harness::new(echo()).modes(BodyMode::Streamed, BodyMode::None);
    harness.run(&exchange).await.golden("tests/golden/echo-streamed.txt");
    let phases = [Phase::RequestHeaders, Phase::RequestBody, Phase::ResponseHeaders];
    let cycle = Script::cycle(&exchange.request, &exchange.response).only(&phases).with_ends();
    cycle.run(echo()).await.golden("tests/golden/echo-cycle.txt");
}
