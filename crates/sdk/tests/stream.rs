//! The kind `Stream` in each body mode, message by message, and: where bodies are cut does not matter.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use extproc::proto::body_mutation::Mutation;
use extproc::proto::processing_response::Response as Reply;
use extproc::testing::{Script, Transcript};
use extproc::{
    Abort, BodyMode, BoxProcessor, ChunkIo, LocalReply, Noop, OnError, Open, Policy, Processor, Request, RequestHead,
    Response, Skip, Start, Stop, Stream, Trailers, Whole, WholeIo, processor,
};

const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/a"), ("content-length", "5")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("content-length", "5")];
const NONE: [(&str, &str); 0] = [];
const INCREMENTAL: [BodyMode; 2] = [BodyMode::Streamed, BodyMode::FullDuplexStreamed];

/// Capitals, and the number of bytes at the end.
struct Upper;

impl Processor for Upper {
    type Ctx = (usize, usize);
    type RequestBody = Stream;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) -> (usize, usize) {
        (0, 0)
    }

    async fn request_headers(&self, _: &mut (usize, usize), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("x-head", "1");
        Ok(())
    }

    async fn request_body(&self, seen: &mut (usize, usize), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        if io.data.as_ref() == b"denied" {
            return Err(LocalReply::forbidden().into());
        }
        seen.0 += io.data.len();
        io.out.push(io.data.to_ascii_uppercase());
        if io.last {
            io.out.push(format!("#{}", seen.0));
        }
        Ok(())
    }

    async fn response_body(&self, seen: &mut (usize, usize), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        if io.data.as_ref() == b"cut" {
            return Err(Abort::Reset);
        }
        seen.1 += io.data.len();
        io.out.push(io.data.to_ascii_uppercase());
        if io.last {
            io.out.push(format!("#{}", seen.1));
        }
        Ok(())
    }
}

fn both(mode: BodyMode) -> Script {
    Script::new().modes(mode, mode)
}

async fn upper(script: Script) -> Vec<String> {
    script.run(Upper).await.lines()
}

#[tokio::test]
async fn chunk_by_chunk() {
    let cut = |script: Script| script.request_body("he", false).request_body("llo", false).request_body("", true);
    let whole = |script: Script| script.request_body("hello", true);
    type Send = fn(Script) -> Script;
    let rows: [(BodyMode, Send, &[&str]); 6] = [
        (BodyMode::None, |s| s, &["request_headers x-head=1 -content-length ask(STREAMED,STREAMED)"]),
        (BodyMode::Buffered, whole, &["request_headers x-head=1", r##"request_body content-length=7 body="HELLO#5""##]),
        (
            BodyMode::BufferedPartial,
            whole,
            &["request_headers x-head=1", r##"request_body content-length=7 body="HELLO#5""##],
        ),
        (
            BodyMode::Streamed,
            cut,
            &[
                "request_headers x-head=1 -content-length",
                r#"request_body body="HE""#,
                r#"request_body body="LLO""#,
                r##"request_body body="#5""##,
            ],
        ),
        (
            BodyMode::FullDuplexStreamed,
            cut,
            &[
                "request_headers x-head=1 -content-length",
                r#"request_body chunk="HE""#,
                r#"request_body chunk="LLO""#,
                r##"request_body chunk="#5" end"##,
            ],
        ),
        (
            BodyMode::Grpc,
            cut,
            &[
                "request_headers x-head=1",
                r#"request_body chunk="HE""#,
                r#"request_body chunk="LLO""#,
                // What it puts out at the end is no frame.
                "error Internal: processor Upper failed",
            ],
        ),
    ];
    for (mode, send, expected) in rows {
        assert_eq!(upper(send(both(mode).request_headers(POST))).await, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn chunk_by_chunk_on_responses() {
    for (mode, expected) in [
        (BodyMode::Streamed, [r#"response_body body="WOR""#, r##"response_body body="LD#5""##]),
        (BodyMode::FullDuplexStreamed, [r#"response_body chunk="WOR""#, ""]),
    ] {
        let script = both(mode).response_headers(OK).response_body("wor", false).response_body("ld", true);
        let lines = upper(script).await;
        assert_eq!(lines[0], "response_headers -content-length", "{mode:?}");
        if mode == BodyMode::Streamed {
            assert_eq!(lines[1..], expected);
        } else {
            let rest = [expected[0], r#"response_body chunk="LD""#, r##"response_body chunk="#5" end"##];
            assert_eq!(lines[1..], rest, "what is put out in pieces goes out in pieces");
        }
    }
}

#[tokio::test]
async fn asking_is_of_use() {
    let granted = both(BodyMode::None).request_headers(POST).request_body("he", false).request_body("llo", true);
    assert_eq!(
        upper(granted).await[1..],
        [r#"request_body body="HE""#, r##"request_body body="LLO#5""##],
        "STREAMED was asked for and is what comes"
    );
    let whole = || processor::<(), ()>("All", ()).request_body(Whole::<16>, all);
    let chain = vec![BoxProcessor::new(Upper), BoxProcessor::new(whole())];
    let lines = both(BodyMode::None).request_headers(POST).run(chain).await.lines();
    assert_eq!(
        lines,
        ["request_headers x-head=1 -content-length ask(BUFFERED,STREAMED)"]
            .map(|line| line.replace(" -content-length", "")),
        "a whole body is the stronger wish"
    );
}

async fn all(_: &(), _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
    io.head.set("x-all", io.body.len());
    Ok(())
}

#[tokio::test]
async fn a_body_in_partial_knows_that_it_is_a_beginning() {
    let look = || {
        processor::<(), ()>("Look", ()).request_body(
            Stream,
            async |_: &(), _: &mut (), io: &mut ChunkIo<Request>| -> Result<(), Stop> {
                assert!(io.last);
                io.out.push(if io.truncated() { "begin" } else { "all" });
                Ok(())
            },
        )
    };
    for (end, expected) in
        [(true, r#"request_body content-length=3 body="all""#), (false, r#"request_body -content-length body="begin""#)]
    {
        let script = both(BodyMode::BufferedPartial).request_headers(POST).request_body("hello", end);
        assert_eq!(script.run(look()).await.lines()[1], expected);
    }
}

#[tokio::test]
async fn passing_dropping_and_repeating() {
    let by_data = || {
        processor::<(), ()>("ByData", ()).request_body(
            Stream,
            async |_: &(), _: &mut (), io: &mut ChunkIo<Request>| -> Result<(), Stop> {
                assert_eq!(io.head().path(), "/a");
                match io.data.as_ref() {
                    b"pass" => io.out.pass(),
                    b"twice" => {
                        io.out.pass();
                        io.out.pass();
                    }
                    b"frame" => {
                        io.out.push("<");
                        io.out.pass();
                        io.out.push(">");
                    }
                    _ => io.out.push(""),
                }
                Ok(())
            },
        )
    };
    let send = |mode| {
        ["pass", "twice", "frame", "drop"]
            .iter()
            .fold(both(mode).request_headers(POST), |script, data| script.request_body(*data, false))
            .request_body("", true)
    };
    assert_eq!(
        send(BodyMode::Streamed).run(by_data()).await.lines()[1..],
        [
            "request_body",
            r#"request_body body="twicetwice""#,
            r#"request_body body="<frame>""#,
            "request_body clear",
            "request_body clear"
        ]
    );
    assert_eq!(
        send(BodyMode::FullDuplexStreamed).run(by_data()).await.lines()[1..],
        ["pass", "twice", "twice", "<", "frame", ">"]
            .map(|data| format!("request_body chunk=\"{data}\""))
            .into_iter()
            .chain([r#"request_body chunk="" end"#.to_owned()])
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_handler_that_was_not_written_passes() {
    struct Idle;
    impl Processor for Idle {
        type Ctx = ();
        type RequestBody = Stream;
        type ResponseBody = Stream;

        fn open(&self, _: &Open) {}
    }
    for (mode, body) in [(BodyMode::Streamed, ""), (BodyMode::FullDuplexStreamed, r#" chunk="hello" end"#)] {
        let script = both(mode).request_headers(POST).request_body("hello", true);
        let script = script.response_headers(OK).response_body("hello", true);
        let lines = script.run(Idle).await.lines();
        assert_eq!(lines[1], format!("request_body{body}"), "{mode:?}");
        assert_eq!(lines[3], format!("response_body{body}"), "{mode:?}");
    }
}

#[tokio::test]
async fn long_output_is_cut_where_that_is_possible() {
    let big = || {
        processor::<(), ()>("Big", ()).response_body(
            Stream,
            async |_: &(), _: &mut (), io: &mut ChunkIo<Response>| -> Result<(), Abort> {
                io.out.push(vec![b'x'; (128 << 10) + 1]);
                Ok(())
            },
        )
    };
    for (mode, expected) in
        [(BodyMode::FullDuplexStreamed, &[64 << 10, 64 << 10, 1][..]), (BodyMode::Streamed, &[(128 << 10) + 1][..])]
    {
        let lines = both(mode).response_headers(OK).response_body("w", true).run(big()).await.lines();
        let sizes: Vec<_> = lines[1..].iter().map(|line| line.matches('x').count()).collect();
        assert_eq!(sizes, expected, "{mode:?}");
        let ends = lines.iter().filter(|line| line.ends_with(" end")).count();
        assert_eq!(ends, usize::from(mode == BodyMode::FullDuplexStreamed), "{mode:?}");
    }
}

/// Tells of each end it sees; puts nothing out.
#[derive(Default)]
struct Ends(usize);

async fn count_ends(_: &(), ends: &mut Ends, io: &mut ChunkIo<Request>) -> Result<(), Stop> {
    ends.0 += usize::from(io.last);
    io.out.pass();
    Ok(())
}

#[tokio::test]
async fn trailers_end_a_body_once() {
    let count = || {
        processor::<(), Ends>("Count", ()).request_body(Stream, count_ends).request_trailers(
            async |_: &(), ends: &mut Ends, t: &mut Trailers| -> Result<(), Stop> {
                t.set("x-ends", ends.0);
                Ok(())
            },
        )
    };
    for mode in [BodyMode::Streamed, BodyMode::FullDuplexStreamed, BodyMode::Buffered] {
        for body in [false, true] {
            let script = both(mode).request_headers(POST);
            let script = if body { script.request_body("hello", false) } else { script };
            let lines = script.request_trailers(NONE).run(count()).await.lines();
            assert_eq!(lines.last().unwrap(), "request_trailers x-ends=1", "{mode:?} {body}");
        }
    }
}

#[tokio::test]
async fn output_at_trailers_is_sent_or_fails() {
    let script = |mode| both(mode).request_headers(POST).request_body("hello", false).request_trailers(NONE);
    assert_eq!(
        upper(script(BodyMode::FullDuplexStreamed)).await[1..],
        [r#"request_body chunk="HELLO""#, r##"request_body chunk="#5""##, "request_trailers"]
    );
    assert_eq!(
        upper(script(BodyMode::Streamed)).await[1..],
        [r#"request_body body="HELLO""#, "error Internal: processor Upper failed"],
        "no answer is left that could carry it"
    );
    let chain = || vec![BoxProcessor::new(Noop), BoxProcessor::new(Upper)];
    assert_eq!(
        script(BodyMode::Streamed).run(chain()).await.lines().last().unwrap(),
        "error Internal: processor Upper failed",
        "the one that wants the body is named"
    );
}

#[tokio::test]
async fn requests_can_be_answered_and_responses_cut() {
    for mode in INCREMENTAL {
        let script = both(mode).request_headers(POST).request_body("he", false).request_body("denied", false);
        assert_eq!(upper(script).await.last().unwrap(), "immediate 403", "{mode:?}");
        let script = both(mode).response_headers(OK).response_body("wo", false).response_body("cut", false);
        assert_eq!(upper(script).await.last().unwrap(), "immediate 500 details=processor_cut", "{mode:?}");
    }
}

#[tokio::test]
async fn a_skipped_stage_lets_chunks_pass() {
    let fail = || {
        processor::<(), ()>("Fail", ()).request_body(
            Stream,
            async |_: &(), _: &mut (), io: &mut ChunkIo<Request>| -> Result<(), Stop> {
                io.out.push("lost");
                if io.data.as_ref() == b"bad" { Err("broken".into()) } else { Ok(()) }
            },
        )
    };
    let script = both(BodyMode::FullDuplexStreamed)
        .request_headers(POST)
        .request_body("good", false)
        .request_body("bad", false)
        .request_body("more", true);
    assert_eq!(
        script.run(Policy::new(fail(), OnError::Skip)).await.lines()[1..],
        [r#"request_body chunk="lost""#, r#"request_body chunk="bad""#, r#"request_body chunk="more" end"#]
    );
    assert_eq!(script.run(fail()).await.lines().last().unwrap(), "error Internal: processor Fail failed");
}

/// Puts out where each chunk is: its offset, its length, whether it is the last.
async fn place<D: extproc::Dir>(_: &(), (): &mut (), io: &mut ChunkIo<D>) -> Result<(), Abort> {
    let last = if io.last { "." } else { "" };
    io.out.push(format!("{}+{}{last}", io.offset(), io.data.len()));
    Ok(())
}

#[tokio::test]
async fn a_chunk_knows_its_place() {
    let places = || {
        processor::<(), ()>("Place", ())
            .request_body(Stream, async |s: &(), c: &mut (), io: &mut ChunkIo<Request>| -> Result<(), Stop> {
                place(s, c, io).await.map_err(|_| Stop::Fail("cut".into()))
            })
            .response_body(Stream, place::<Response>)
    };
    for (mode, form, end) in [(BodyMode::Streamed, "body", ""), (BodyMode::FullDuplexStreamed, "chunk", " end")] {
        let script = both(mode).request_headers(POST).request_body("he", false).request_body("llo", false);
        let script = script.request_body("", true).response_headers(OK).response_body("world", true);
        let lines = script.run(places()).await.lines();
        let expected = [
            format!(r#"request_body {form}="0+2""#),
            format!(r#"request_body {form}="2+3""#),
            format!(r#"request_body {form}="5+0."{end}"#),
        ];
        assert_eq!(lines[1..4], expected, "{mode:?}");
        assert_eq!(lines[5], format!(r#"response_body {form}="0+5."{end}"#), "{mode:?}: each body has its own");

        // Behind one that repeats what it gets, and in the chunks that this one puts out.
        let twice = processor::<(), ()>("Twice", ()).request_body(
            Stream,
            async |_: &(), (): &mut (), io: &mut ChunkIo<Request>| -> Result<(), Stop> {
                io.out.pass();
                io.out.pass();
                Ok(())
            },
        );
        let chain = vec![BoxProcessor::new(twice), BoxProcessor::new(places())];
        let script = both(mode).request_headers(POST).request_body("he", false).request_body("llo", true);
        let transcript = script.run(chain).await;
        let sent = sent_on(&transcript, &[]);
        assert_eq!(String::from_utf8(sent).unwrap(), "0+22+24+37+3.", "{mode:?}");
    }
}

/// Doubles whole bodies.
struct Double;

impl Processor for Double {
    type Ctx = ();
    type RequestBody = Whole<4096>;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        io.body.replace([io.body.bytes(), io.body.bytes().as_ref()].concat());
        Ok(())
    }
}

/// Puts words out only when they are complete, each in brackets.
struct Words;

impl Processor for Words {
    type Ctx = Vec<u8>;
    type RequestBody = Stream;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) -> Vec<u8> {
        Vec::new()
    }

    async fn request_body(&self, word: &mut Vec<u8>, io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        for byte in &io.data {
            if *byte == b' ' {
                io.out.push([b"[".as_slice(), word, b"]"].concat());
                word.clear();
            } else {
                word.push(*byte);
            }
        }
        if io.last {
            io.out.push(std::mem::take(word));
        }
        Ok(())
    }
}

/// What the data plane sends on after these replies to these chunks.
fn sent_on(transcript: &Transcript, chunks: &[Bytes]) -> Vec<u8> {
    let mut chunks = chunks.iter();
    let mut body = Vec::new();
    for reply in &transcript.replies {
        let Some(Reply::RequestBody(reply)) = &reply.response else { continue };
        let mutation = reply.response.as_ref().and_then(|r| r.body_mutation.as_ref()).and_then(|m| m.mutation.as_ref());
        let chunk = chunks.next();
        match mutation {
            Some(Mutation::StreamedResponse(chunk)) => body.extend_from_slice(&chunk.body),
            Some(Mutation::Body(data)) => body.extend_from_slice(data),
            Some(Mutation::ClearBody(_)) => {}
            None => body.extend_from_slice(chunk.unwrap()),
        }
    }
    body
}

type Make = fn() -> Vec<BoxProcessor>;

const ROWS: [(&str, Make); 7] = [
    ("upper", || vec![BoxProcessor::new(Upper)]),
    ("words", || vec![BoxProcessor::new(Words)]),
    ("noop, words, upper", || vec![BoxProcessor::new(Noop), BoxProcessor::new(Words), BoxProcessor::new(Upper)]),
    ("upper, upper", || vec![BoxProcessor::new(Upper), BoxProcessor::new(Upper)]),
    ("words, double", || vec![BoxProcessor::new(Words), BoxProcessor::new(Double)]),
    ("double, upper", || vec![BoxProcessor::new(Double), BoxProcessor::new(Upper)]),
    ("upper, double, words", || vec![BoxProcessor::new(Upper), BoxProcessor::new(Double), BoxProcessor::new(Words)]),
];

/// Without a length.
const UNKNOWN: [(&str, &str); 2] = [(":method", "POST"), (":path", "/a")];

/// A small generator (xorshift), so that a seed says it all.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[tokio::test]
async fn where_a_body_is_cut_does_not_matter() {
    for (what, make) in ROWS {
        for seed in 1..150 {
            let mut rng = Rng(seed * 0x9e37_79b9);
            let body: Bytes = (0..rng.below(60)).map(|_| *b"ab cd ef".get(rng.below(8)).unwrap()).collect();
            let script = both(BodyMode::Buffered).request_headers(POST).request_body(body.clone(), true);
            let expected = sent_on(&script.run(make()).await, std::slice::from_ref(&body));
            for mode in INCREMENTAL {
                for trailers in [false, true] {
                    if trailers && mode == BodyMode::Streamed {
                        continue;
                    }
                    let mut rest = body.clone();
                    let mut chunks = Vec::new();
                    while !rest.is_empty() {
                        chunks.push(rest.split_to(rng.below(rest.len() + 1)));
                    }
                    let late_end = trailers || chunks.is_empty() || rng.below(2) == 0;
                    if late_end && !trailers {
                        chunks.push(Bytes::new());
                    }
                    let count = chunks.len();
                    let script = chunks.iter().enumerate().fold(both(mode).request_headers(UNKNOWN), |s, (i, data)| {
                        s.request_body(data.clone(), !trailers && i + 1 == count)
                    });
                    let script = if trailers { script.request_trailers(NONE) } else { script };
                    let transcript = script.run(make()).await;
                    assert!(transcript.status.is_ok(), "{what} {mode:?} seed {seed}");
                    let actual = sent_on(&transcript, &chunks);
                    assert_eq!(
                        actual.escape_ascii().to_string(),
                        expected.escape_ascii().to_string(),
                        "{what} {mode:?} seed {seed} {chunks:?}"
                    );
                    let ends = transcript.lines().iter().filter(|line| line.ends_with(" end")).count();
                    assert_eq!(ends, usize::from(mode == BodyMode::FullDuplexStreamed && !trailers));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_local_reply_of_another_stage_comes_in_one_chunk() {
    let deny = processor::<(), ()>("Deny", ()).request_headers(
        async |_: &(), _: &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
            Err(LocalReply::forbidden().body("no").into())
        },
    );
    let chain = vec![BoxProcessor::new(Upper), BoxProcessor::new(deny)];
    let lines = both(BodyMode::FullDuplexStreamed).request_headers(POST).run(chain).await.lines();
    assert_eq!(lines, [r##"immediate 403 content-type=text/plain body="NO#2""##]);
}
