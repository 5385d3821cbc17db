//! What each body kind does in each body mode of the wire, both directions, message by message.
#![allow(clippy::unwrap_used, reason = "test code")]

use extproc::testing::Script;
use extproc::{
    BodyMode, LocalReply, Open, Processor, Request, RequestHead, Response, ResponseHead, Skip, Start, Stop, Trailers,
    Whole, WholeIo, processor,
};

const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/a"), ("content-length", "5")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("content-length", "5")];
const NONE: [(&str, &str); 0] = [];

/// Marks the head in the head phase, replaces the whole body, and marks the head again if told to.
struct Upper {
    late_edit: bool,
}

impl Processor for Upper {
    type Ctx = ();
    type RequestBody = Whole<16>;
    type ResponseBody = Whole<16>;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("x-head", "1");
        Ok(())
    }

    async fn request_body(&self, _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        let upper = io.body.bytes().to_ascii_uppercase();
        io.body.replace(upper);
        if self.late_edit {
            io.head.set("x-body", "1");
        }
        Ok(())
    }

    async fn response_headers(&self, _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        rsp.set("x-head", "2");
        Ok(())
    }

    async fn response_body(&self, _: &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        let upper = io.body.bytes().to_ascii_uppercase();
        io.body.replace(upper);
        if self.late_edit {
            io.head.set("x-body", "2");
        }
        Ok(())
    }
}

struct Plain;

impl Processor for Plain {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_trailers(&self, _: &mut (), trailers: &mut Trailers) -> Result<(), Stop> {
        trailers.set("x-t", "1");
        Ok(())
    }
}

async fn upper(script: Script) -> Vec<String> {
    script.run(Upper { late_edit: false }).await.lines()
}

async fn upper_late(script: Script) -> Vec<String> {
    script.run(Upper { late_edit: true }).await.lines()
}

fn both(mode: BodyMode) -> Script {
    Script::new().modes(mode, mode)
}

#[tokio::test]
async fn skip_in_every_mode() {
    for (mode, first, second) in [
        (BodyMode::Buffered, "request_body", "request_body"),
        (BodyMode::BufferedPartial, "request_body", "request_body"),
        (BodyMode::Streamed, "request_body", "request_body"),
        (BodyMode::FullDuplexStreamed, r#"request_body chunk="he""#, r#"request_body chunk="llo" end"#),
        (BodyMode::Grpc, r#"request_body chunk="he""#, r#"request_body chunk="llo" end"#),
    ] {
        let whole = matches!(mode, BodyMode::Buffered | BodyMode::BufferedPartial);
        let script = both(mode).request_headers(POST);
        let (script, expected) = if whole {
            (script.request_body("hello", true), vec!["request_headers", second])
        } else {
            (script.request_body("he", false).request_body("llo", true), vec!["request_headers", first, second])
        };
        assert_eq!(script.run(Plain).await.lines(), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn skip_with_trailers() {
    for (mode, body) in
        [(BodyMode::Buffered, "request_body"), (BodyMode::FullDuplexStreamed, r#"request_body chunk="he""#)]
    {
        let script = both(mode).request_headers(POST).request_body("he", false).request_trailers([("t", "0")]);
        let lines = script.run(Plain).await.lines();
        assert_eq!(lines, ["request_headers", body, "request_trailers x-t=1"], "{mode:?}");
    }
}

#[tokio::test]
async fn whole_in_buffered() {
    let script = both(BodyMode::Buffered)
        .request_headers(POST)
        .request_body("hello", true)
        .response_headers(OK)
        .response_body("world", true);
    assert_eq!(
        upper_late(script).await,
        [
            "request_headers x-head=1",
            r#"request_body x-body=1 content-length=5 body="HELLO""#,
            "response_headers x-head=2",
            r#"response_body x-body=2 content-length=5 body="WORLD""#,
        ]
    );
}

#[tokio::test]
async fn content_length_follows_the_body_and_is_not_invented() {
    let shorten = || {
        processor::<(), ()>("Shorten", ()).request_body(
            Whole::<16>,
            async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
                io.body.replace("hi");
                Ok(())
            },
        )
    };
    for (headers, expected) in
        [(&POST[..], r#"request_body content-length=2 body="hi""#), (&POST[..2], r#"request_body body="hi""#)]
    {
        let script = both(BodyMode::Buffered).request_headers(headers.iter().copied()).request_body("hello", true);
        assert_eq!(script.run(shorten()).await.lines()[1], expected);
    }
}

#[tokio::test]
async fn whole_in_partial_knows_a_beginning() {
    for (end, expected) in [(true, "request_body x-len=5"), (false, "request_body x-len=5+")] {
        let sizes = processor::<(), ()>("Sizes", ()).request_body(
            Whole::<16>,
            async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
                let len = format!("{}{}", io.body.len(), if io.body.truncated() { "+" } else { "" });
                io.head.set("x-len", len);
                Ok(())
            },
        );
        let script = both(BodyMode::BufferedPartial).request_headers(POST).request_body("hello", end);
        assert_eq!(script.run(sizes).await.lines()[1], expected);
    }
}

#[tokio::test]
async fn whole_in_streamed_collects_and_sends_in_the_last() {
    let script = both(BodyMode::Streamed)
        .request_headers(POST)
        .request_body("he", false)
        .request_body("llo", false)
        .request_body("", true);
    assert_eq!(
        upper(script).await,
        [
            "request_headers x-head=1 -content-length",
            "request_body clear",
            r#"request_body body="HELLO""#,
            "request_body",
        ],
        "the content-length says where it ends"
    );
}

#[tokio::test]
async fn whole_in_streamed_unchanged_body_survives() {
    let look = || {
        processor::<(), ()>("Look", ()).request_body(
            Whole::<16>,
            async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
                assert_eq!(io.body.text()?, "hello");
                Ok(())
            },
        )
    };
    let script = both(BodyMode::Streamed).request_headers(POST).request_body("he", false);
    assert_eq!(
        script.clone().request_body("llo", true).run(look()).await.lines(),
        ["request_headers -content-length", "request_body clear", r#"request_body body="hello""#]
    );
    assert_eq!(
        script.request_body("llo", false).request_trailers(NONE).run(look()).await.lines()[2..],
        [r#"request_body body="hello""#, "request_trailers"],
        "the content-length says where it ends"
    );
}

#[tokio::test]
async fn whole_in_streamed_cannot_edit_the_head_late() {
    let script = both(BodyMode::Streamed).request_headers(POST).request_body("hello", true);
    assert_eq!(
        upper_late(script).await,
        ["request_headers x-head=1 -content-length", "error Internal: processor Upper failed"]
    );
}

#[tokio::test]
async fn whole_in_streamed_of_unknown_length_answers_nothing_before_the_end() {
    let unknown = [(":method", "POST"), (":path", "/")];
    let script = both(BodyMode::Streamed).request_headers(unknown).request_body("he", false).request_body("l", false);
    assert_eq!(upper(script.clone()).await, ["request_headers x-head=1"], "the data plane keeps what it may need");
    let answers = ["request_headers x-head=1", "request_body clear", "request_body clear"];
    let whole = r#"request_body body="HELLO""#;
    assert_eq!(upper(script.clone().request_body("lo", true)).await, [&answers[..], &[whole]].concat());
    assert_eq!(
        upper(script.request_body("lo", false).request_trailers([("t", "1")])).await,
        [&answers[..], &[whole, "request_trailers"]].concat()
    );
}

#[tokio::test]
async fn whole_in_streamed_shorter_than_its_length_cuts_the_exchange() {
    let script =
        both(BodyMode::Streamed).request_headers(POST).request_body("hel", false).request_trailers([("t", "1")]);
    assert_eq!(
        upper(script).await,
        [
            "request_headers x-head=1 -content-length",
            "request_body clear",
            "immediate 500 details=processor_failed_with_body_in_hand",
        ],
        "an error of the stream may mean that the exchange goes on without what was taken"
    );
}

#[tokio::test]
async fn whole_in_full_duplex_defers_the_head() {
    let script = both(BodyMode::FullDuplexStreamed)
        .request_headers(POST)
        .request_body("he", false)
        .request_body("llo", false)
        .request_body("", true);
    assert_eq!(
        upper_late(script).await,
        ["request_headers x-head=1 x-body=1 content-length=5", r#"request_body chunk="HELLO" end"#]
    );
}

#[tokio::test]
async fn whole_in_full_duplex_with_trailers() {
    let script = both(BodyMode::FullDuplexStreamed)
        .request_headers(POST)
        .request_body("hello", false)
        .request_trailers([("t", "1")]);
    assert_eq!(
        upper_late(script).await,
        ["request_headers x-head=1 x-body=1 content-length=5", r#"request_body chunk="HELLO""#, "request_trailers"]
    );
}

#[tokio::test]
async fn full_duplex_output_is_cut_to_64_kib() {
    let big = processor::<(), ()>("Big", ()).response_body(
        Whole::<16>,
        async |_: &(), _: &mut (), io: &mut WholeIo<Response>| -> Result<(), Stop> {
            io.body.replace(vec![b'x'; (128 << 10) + 1]);
            Ok(())
        },
    );
    let lines =
        both(BodyMode::FullDuplexStreamed).response_headers(OK).response_body("world", true).run(big).await.lines();
    let sizes: Vec<_> = lines[1..].iter().map(|l| (l.matches('x').count(), l.ends_with("end"))).collect();
    assert_eq!(sizes, [(64 << 10, false), (64 << 10, false), (1, true)]);
}

#[tokio::test]
async fn whole_in_none_asks_for_buffered_and_works_if_granted() {
    let granted = both(BodyMode::None).request_headers(POST).request_body("hello", true);
    assert_eq!(
        upper_late(granted).await,
        ["request_headers x-head=1 ask(BUFFERED,BUFFERED)", r#"request_body x-body=1 content-length=5 body="HELLO""#]
    );
    let refused = both(BodyMode::None).request_headers(POST).response_headers(OK);
    assert_eq!(
        upper_late(refused).await,
        ["request_headers x-head=1 ask(BUFFERED,BUFFERED)", "response_headers x-head=2 ask(NONE,BUFFERED)"]
    );
}

#[tokio::test]
async fn whole_asks_only_where_it_can_be_granted() {
    // Envoy ignores the wish when the other body is full duplex.
    let script = Script::new().modes(BodyMode::None, BodyMode::FullDuplexStreamed).request_headers(POST);
    assert_eq!(upper(script).await, ["request_headers x-head=1"]);
    // And there is nothing to wish for when the message has no body.
    let script = Script::new().modes(BodyMode::None, BodyMode::Buffered).request_only([(":method", "GET")]);
    assert_eq!(upper(script).await, ["request_headers x-head=1"]);
}

#[tokio::test]
async fn whole_in_grpc_gets_all_messages_at_the_end() {
    let script = both(BodyMode::Grpc).request_headers(POST).request_body("m1", false).request_body("", true);
    assert_eq!(
        upper(script).await,
        ["request_headers x-head=1", r#"request_body chunk="M1""#, r#"request_body chunk="" end"#]
    );
}

#[tokio::test]
async fn undeclared_modes_are_read_off_the_body() {
    let whole = Script::new().request_headers(POST).request_body("hello", true);
    assert_eq!(
        upper_late(whole).await[1],
        r#"request_body x-body=1 content-length=5 body="HELLO""#,
        "a body in one message"
    );
    let chunks = Script::new().request_headers(POST).request_body("he", false).request_body("llo", true);
    assert_eq!(upper(chunks).await[1..], ["request_body clear", r#"request_body body="HELLO""#]);
}

#[tokio::test]
async fn an_empty_body_with_trailers_runs_the_body_phase() {
    let seen = || {
        processor::<(), bool>("Seen", ())
            .request_body(Whole::<16>, async |_: &(), seen: &mut bool, io: &mut WholeIo<Request>| -> Result<(), Stop> {
                *seen = io.body.is_empty();
                Ok(())
            })
            .request_trailers(async |_: &(), seen: &mut bool, t: &mut Trailers| -> Result<(), Stop> {
                t.set("x-seen", seen.to_string());
                Ok(())
            })
    };
    for mode in [BodyMode::Buffered, BodyMode::Streamed, BodyMode::FullDuplexStreamed] {
        let lines = both(mode).request_headers([(":method", "POST")]).request_trailers(NONE).run(seen()).await.lines();
        assert_eq!(lines, ["request_headers", "request_trailers x-seen=true"], "{mode:?}");
    }
    let lines = both(BodyMode::None).request_headers(POST).request_trailers(NONE).run(seen()).await.lines();
    assert_eq!(lines[1], "request_trailers x-seen=false", "in NONE there is a body that is not seen");
}

#[tokio::test]
async fn a_body_longer_than_the_limit() {
    for mode in [BodyMode::Buffered, BodyMode::Streamed, BodyMode::FullDuplexStreamed] {
        let long = "x".repeat(17);
        let lines = upper(both(mode).request_headers(POST).request_body(long.clone(), true)).await;
        let expected = r#"immediate 413 body="Payload Too Large" details=request_payload_too_large"#;
        assert_eq!(lines.last().unwrap(), expected, "{mode:?}");
        let lines = upper(both(mode).response_headers(OK).response_body(long, true)).await;
        assert_eq!(lines.last().unwrap(), "error Internal: processor Upper failed", "{mode:?}");
    }
}

#[tokio::test]
async fn replacing_the_body_in_the_head_phase() {
    let replace = || {
        processor::<(), ()>("Replace", ()).request_headers(
            async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                req.replace_body("new");
                Ok(())
            },
        )
    };
    let get = both(BodyMode::None).request_only([(":method", "GET")]);
    assert_eq!(get.run(replace()).await.lines(), [r#"request_headers replace body="new""#]);
    for mode in [BodyMode::None, BodyMode::Buffered, BodyMode::Streamed] {
        let lines = both(mode).request_headers(POST).run(replace()).await.lines();
        assert_eq!(lines, [r#"request_headers replace content-length=3 body="new""#], "{mode:?}");
    }
    // In full duplex the processor is the only one who sends: chunks in, the replacement out at their end.
    let script =
        both(BodyMode::FullDuplexStreamed).request_headers(POST).request_body("old", false).request_body("", true);
    assert_eq!(
        script.run(replace()).await.lines(),
        ["request_headers content-length=3", r#"request_body chunk="new" end"#]
    );
    let script =
        both(BodyMode::FullDuplexStreamed).request_headers(POST).request_body("old", false).request_trailers(NONE);
    assert_eq!(
        script.run(replace()).await.lines(),
        ["request_headers content-length=3", r#"request_body chunk="new""#, "request_trailers"]
    );
}

#[tokio::test]
async fn whole_leaves_upgrades_alone() {
    for headers in [[(":method", "CONNECT"), ("x", "1")], [(":method", "GET"), ("upgrade", "websocket")]] {
        let script = both(BodyMode::FullDuplexStreamed).request_headers(headers).request_body("frames", false);
        assert_eq!(upper(script).await, ["request_headers x-head=1", r#"request_body chunk="frames""#]);
    }
}

#[tokio::test]
async fn body_phases_without_a_head() {
    let script = both(BodyMode::Buffered).request_body("hello", true);
    assert_eq!(upper_late(script).await, [r#"request_body x-body=1 body="HELLO""#]);
}

#[tokio::test]
async fn nothing_is_answered_while_observing() {
    let script = Script::six().observing();
    let transcript = script.run(Upper { late_edit: true }).await;
    assert!(transcript.status.is_ok());
    assert_eq!(transcript.lines(), [""; 0]);
}

#[tokio::test]
async fn errors_and_replies_do_not_reach_the_client_while_observing() {
    for message in ["fail", "reply"] {
        let judge = processor::<(), ()>("Judge", ()).request_headers(
            async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                if req.path() == "fail" { Err("broken".into()) } else { Err(LocalReply::forbidden().into()) }
            },
        );
        let script = Script::new().observing().request_only([(":path", message)]).response_headers(OK);
        assert_eq!(script.run(judge).await.lines(), [""; 0], "an error on the stream would be the client's");
    }
}

#[tokio::test]
async fn violations_end_the_stream() {
    let twice = both(BodyMode::Buffered).request_headers(POST).request_headers(POST);
    assert_eq!(
        upper(twice).await.last().unwrap(),
        "error Internal: protocol violation: Request headers came twice or late"
    );
}

#[tokio::test]
async fn detach_closes_early_where_nothing_is_lost() {
    let detach = || {
        processor::<(), ()>("Detach", ()).request_headers(
            async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                req.detach();
                Ok(())
            },
        )
    };
    let late = |mode| both(mode).request_headers(POST).request_body("hello", true).response_headers(OK);
    assert_eq!(late(BodyMode::Buffered).run(detach()).await.lines(), ["request_headers"], "closed at once");
    assert_eq!(
        late(BodyMode::FullDuplexStreamed).run(detach()).await.lines(),
        ["request_headers", r#"request_body chunk="hello" end"#, "response_headers"],
        "closing would lose what is under way"
    );
}
