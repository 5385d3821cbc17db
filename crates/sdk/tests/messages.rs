//! The kind `Messages`: gRPC messages are the same in every body mode, wherever bodies are cut.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc::proto::body_mutation::Mutation;
use extproc::proto::external_processor_client::ExternalProcessorClient;
use extproc::proto::processing_response::Response as Reply;
use extproc::testing::{InMemory, Script, Transcript};
use extproc::{
    Abort, Address, BodyMode, BoxProcessor, Headers, LocalReply, MessageError, Messages, MsgIo, Name, OnError, Open,
    Policy, Processor, Request, Response, Server, Skip, Stop, Value, processor,
};
use extproc_core::pair::{self, Begin, Ending, Pair, Upstream};
use extproc_core::{Config, Options, ProcessingMode};
use prost::Message;
use tokio::time::timeout;
use tonic::transport::Endpoint;

#[derive(Clone, PartialEq, Message)]
struct Hello {
    #[prost(string, tag = "1")]
    name: String,
}

fn hello(name: &str) -> Hello {
    Hello { name: name.to_owned() }
}

const POST: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/pkg.Greeter/Hello"), ("content-type", "application/grpc+proto")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];
const MODES: [BodyMode; 4] =
    [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::Streamed, BodyMode::FullDuplexStreamed];

/// Greets politely: drops `drop`, doubles `twice`, passes `pass`, puts a message behind `more`.
struct Greet;

fn greet<D: extproc::Dir>(io: &mut MsgIo<D>) -> Result<(), MessageError> {
    if io.is_compressed() {
        assert_eq!(io.decode::<Hello>(), Err(MessageError::Compressed));
        io.out.pass();
        return Ok(());
    }
    let mut message: Hello = io.decode()?;
    match message.name.as_str() {
        "drop" => {}
        "pass" => io.out.pass(),
        "twice" => {
            io.out.pass();
            io.out.send(&message);
        }
        "more" => {
            io.out.pass();
            io.out.send_raw(hello("and more").encode_to_vec());
        }
        _ => {
            message.name.insert_str(0, "dear ");
            io.out.send(&message);
        }
    }
    Ok(())
}

impl Processor for Greet {
    type Ctx = ();
    type RequestBody = Messages;
    type ResponseBody = Messages;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, (): &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
        assert_eq!(io.call(), Some(("pkg.Greeter", "Hello")));
        if io.raw() == hello("denied").encode_to_vec() {
            return Err(LocalReply::forbidden().into());
        }
        Ok(greet(io)?)
    }

    async fn response_body(&self, (): &mut (), io: &mut MsgIo<Response>) -> Result<(), Abort> {
        Ok(greet(io)?)
    }
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], length.as_slice(), message].concat()
}

fn frames(names: &[&str]) -> Bytes {
    names.iter().flat_map(|name| frame(0, &hello(name).encode_to_vec())).collect()
}

fn both(mode: BodyMode) -> Script {
    Script::new().modes(mode, mode)
}

/// What the data plane sends on after these replies to these chunks.
fn sent_on(transcript: &Transcript, chunks: &[Bytes]) -> Bytes {
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
    body.into()
}

fn cut(body: &Bytes, at: &[usize]) -> Vec<Bytes> {
    let mut rest = body.clone();
    let mut from = 0;
    let mut chunks = Vec::new();
    for at in at {
        chunks.push(rest.split_to(at - from));
        from = *at;
    }
    chunks.push(rest);
    chunks
}

const IN: [&str; 7] = ["ann", "drop", "pass", "twice", "more", "", "bob"];
const OUT: [&str; 8] = ["dear ann", "pass", "twice", "twice", "more", "and more", "dear ", "dear bob"];

fn expected() -> Bytes {
    frames(&OUT)
}

#[tokio::test]
async fn messages_are_the_same_however_they_come() {
    let body = frames(&IN);
    let mut cuts: Vec<Vec<usize>> = (0..=body.len()).map(|at| vec![at]).collect();
    cuts.push((1..body.len()).collect());
    cuts.extend((0..body.len() - 7).map(|at| vec![at, at + 2, at + 7]));
    for mode in MODES {
        let whole = matches!(mode, BodyMode::Buffered | BodyMode::BufferedPartial);
        for at in if whole { vec![vec![]] } else { cuts.clone() } {
            let chunks = cut(&body, &at);
            let count = chunks.len();
            let script = chunks.iter().enumerate().fold(both(mode).request_headers(POST), |script, (index, data)| {
                script.request_body(data.clone(), index + 1 == count)
            });
            let transcript = script.run(Greet).await;
            assert_eq!(transcript.status.as_ref().map_err(ToString::to_string), Ok(&()), "{mode:?} {at:?}");
            assert_eq!(sent_on(&transcript, &chunks), expected(), "{mode:?} {at:?}");
        }
    }
}

#[tokio::test]
async fn output_goes_with_the_chunk_that_completed_the_message() {
    let body = frames(&["a", "b"]);
    let chunks = cut(&body, &[3, 10, 14]);
    for mode in [BodyMode::Streamed, BodyMode::FullDuplexStreamed] {
        let script =
            chunks.iter().fold(both(mode).request_headers(POST), |s, data| s.request_body(data.clone(), false));
        let lines = script.request_trailers([("t", "1")]).run(Greet).await.lines();
        let count = lines.iter().filter(|line| line.contains("dear")).count();
        assert_eq!((count, lines.len()), (2, if mode == BodyMode::Streamed { 6 } else { 4 }), "{mode:?} {lines:?}");
        assert_eq!(lines.last().unwrap(), "request_trailers");
    }
}

#[tokio::test]
async fn what_is_no_message_passes() {
    let json = [(":method", "POST"), (":path", "/a"), ("content-type", "application/json")];
    for (mode, expected) in
        [(BodyMode::Streamed, "request_body"), (BodyMode::FullDuplexStreamed, r#"request_body chunk="{}" end"#)]
    {
        let lines = both(mode).request_headers(json).request_body("{}", true).run(Greet).await.lines();
        assert_eq!(lines[1], expected, "another content type");
    }
    let cut_off = [&frames(&["ann"])[..], b"\0\0"].concat();
    let expected = Bytes::from([&frames(&["dear ann"])[..], b"\0\0"].concat());
    for mode in MODES {
        let script = both(mode).request_headers(POST).request_body(cut_off.clone(), true);
        assert_eq!(sent_on(&script.run(Greet).await, &[]), expected, "{mode:?}: the rest of a broken body");
    }
    let partial = both(BodyMode::BufferedPartial).request_headers(POST).request_body(cut_off, false);
    assert_eq!(sent_on(&partial.run(Greet).await, &[]), expected, "the rest follows unseen");
    let compressed = frame(1, b"zip");
    let script = both(BodyMode::Buffered).request_headers(POST).request_body(compressed.clone(), true);
    assert_eq!(sent_on(&script.run(Greet).await, &[]), compressed);
}

#[tokio::test]
async fn failures() {
    for mode in MODES {
        let send = |body: Bytes| both(mode).request_headers(POST).request_body(body, true);
        let failed = "error Internal: processor Greet failed";
        assert_eq!(send(frames(&["denied"])).run(Greet).await.lines().last().unwrap(), "immediate 403", "{mode:?}");
        let broken = Bytes::from(frame(0, b"\xff"));
        assert_eq!(send(broken).run(Greet).await.lines().last().unwrap(), failed, "{mode:?}");
        let long = Bytes::from_static(&[0, 0, 0x40, 0, 1]);
        assert_eq!(send(long).run(Greet).await.lines().last().unwrap(), failed, "{mode:?}");
    }
}

#[tokio::test]
async fn a_skipped_stage_loses_nothing() {
    // The second message is broken, and its beginning is kept back when the handler fails.
    let body = Bytes::from([frame(0, &hello("ann").encode_to_vec()), frame(0, b"\xff\xff"), b"rest".to_vec()].concat());
    let good = hello("ann").encode_to_vec().len() + 5;
    for at in good..body.len() {
        let chunks = cut(&body, &[at]);
        let script = both(BodyMode::FullDuplexStreamed)
            .request_headers(POST)
            .request_body(chunks[0].clone(), false)
            .request_body(chunks[1].clone(), true);
        let transcript = script.run(Policy::new(Greet, OnError::Skip)).await;
        let sent = sent_on(&transcript, &chunks);
        let dear = Bytes::from([&frames(&["dear ann"])[..], &body[good..]].concat());
        let expected = if at < good + 7 { dear } else { body.clone() };
        assert_eq!(sent, expected, "{at}: a failed phase is undone as a whole");
    }
}

#[tokio::test]
async fn a_handler_that_was_not_written_passes_and_the_last_is_known() {
    struct Idle;
    impl Processor for Idle {
        type Ctx = ();
        type RequestBody = Messages;
        type ResponseBody = Messages;

        fn open(&self, _: &Open) {}
    }
    let script = both(BodyMode::FullDuplexStreamed).request_headers(POST).request_body(frames(&IN), true);
    assert_eq!(sent_on(&script.run(Idle).await, &[]), frames(&IN));
    let last = processor::<(), Vec<bool>>("Last", ()).request_body(
        Messages,
        async |_: &(), seen: &mut Vec<bool>, io: &mut MsgIo<Request>| -> Result<(), Stop> {
            seen.push(io.is_half_closed());
            io.out.send(&hello(&format!("{seen:?}")));
            Ok(())
        },
    );
    let script = both(BodyMode::Buffered).request_headers(POST).request_body(frames(&["a", "b"]), true);
    assert_eq!(sent_on(&script.run(last).await, &[]), frames(&["[false]", "[false, true]"]));
}

fn map(entries: &[(&'static str, &'static str)]) -> Headers {
    entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
}

#[test]
fn client_and_upstream_see_the_same_in_every_mode() {
    let body = frames(&IN);
    for mode in MODES {
        for at in [vec![], vec![1], vec![6, 20], (1..body.len()).collect()] {
            for chained in [false, true] {
                let options = Options {
                    processing_mode: ProcessingMode {
                        request_body: mode,
                        response_body: mode,
                        request_trailers: true,
                        response_trailers: true,
                        ..ProcessingMode::default()
                    },
                    ..Options::default()
                };
                let config = Arc::new(Config::new(options).unwrap());
                let row = if chained {
                    vec![BoxProcessor::new(Greet), BoxProcessor::new(extproc::Noop)]
                } else {
                    vec![BoxProcessor::new(Greet)]
                };
                let filter = (config, Box::new(InMemory::new(&Arc::new(row))) as Box<dyn pair::Processor>);
                let post: Vec<_> = POST.into_iter().chain([(":authority", "h")]).collect();
                let outcome = Pair::new(Instant::now(), [filter])
                    .client(pair::Script::message(map(&post), cut(&body, &at), None))
                    .upstream(Upstream::new(
                        Begin::AtEnd,
                        pair::Script::message(map(&OK), cut(&body, &at), Some(map(&[("grpc-status", "0")]))),
                    ))
                    .run();
                assert_eq!(outcome.ending, Ending::Complete, "{mode:?} {at:?} {}", outcome.print());
                assert_eq!(outcome.stats[0].spurious_msgs_received, 0, "{mode:?} {at:?}");
                assert_eq!(outcome.request.body, expected(), "{mode:?} {at:?}");
                assert_eq!(outcome.response.body, expected(), "{mode:?} {at:?}");
                assert_eq!(outcome.response.trailers, Some(map(&[("grpc-status", "0")])), "{mode:?} {at:?}");
            }
        }
    }
}

#[tokio::test]
async fn over_a_real_connection() {
    let bound = Server::new(Greet).listen("127.0.0.1:0").bind().await.unwrap();
    let Address::Tcp(address) = bound.address().clone() else { panic!("not TCP") };
    tokio::spawn(bound.serve_with_shutdown(pending()));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let body = frames(&IN);
    let script = cut(&body, &[2, 9])
        .into_iter()
        .fold(both(BodyMode::FullDuplexStreamed).request_headers(POST), |s, data| s.request_body(data, false))
        .request_body("", true);
    let requests = tokio_stream::iter(script.messages());
    let mut replies = ExternalProcessorClient::new(channel).process(requests).await.unwrap().into_inner();
    let mut transcript = Transcript::default();
    while let Some(reply) = timeout(Duration::from_secs(10), replies.message()).await.unwrap().unwrap() {
        transcript.replies.push(reply);
    }
    assert_eq!(sent_on(&transcript, &[]), expected());
    assert!(transcript.lines().last().unwrap().ends_with(" end"));
}

#[test]
fn it_needs_full_duplex() {
    struct Requests;
    impl Processor for Requests {
        type Ctx = ();
        type RequestBody = Messages;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {}
    }
    let needs = Server::new(Requests).needs().bodies;
    assert_eq!((needs.request, needs.response), (BodyMode::FullDuplexStreamed, BodyMode::None));
}
