//! Body mode GRPC: messages, half-closes, credit and drain, message by message.
#![allow(clippy::unwrap_used, reason = "test code")]

use extproc::proto::processing_request::{ClientWindowUpdate, FlowControlInit, Request};
use extproc::proto::processing_response::{Response, ServerWindowUpdate};
use extproc::proto::{HttpBody, ProcessingRequest, ProcessingResponse, StreamedBodyResponse, body_mutation};
use extproc::testing::{Script, Transcript};
use extproc::{
    Abort, BodyMode, ChunkIo, Messages, MismatchKind, MsgIo, OnMismatch, Open, Phase, Policy, Processor, Reason,
    Request as ToUpstream, RequestHead, Response as ToClient, Skip, Start, Stop, Stream, Whole, WholeIo, Write,
};

const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/s/m"), ("content-type", "application/grpc")];
const OK: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

fn grpc() -> Script {
    Script::new().modes(BodyMode::Grpc, BodyMode::Grpc).request_headers(POST)
}

fn request(body: HttpBody) -> ProcessingRequest {
    ProcessingRequest { request: Some(Request::RequestBody(body)), ..ProcessingRequest::default() }
}

fn message(data: &'static str) -> HttpBody {
    HttpBody { body: data.into(), ..HttpBody::default() }
}

/// What was sent for a body: data, compressed, end, without message, drained.
fn said(transcript: &Transcript) -> Vec<String> {
    let streamed = |reply: &ProcessingResponse| -> Option<String> {
        let (way, body) = match reply.response.as_ref()? {
            Response::RequestBody(body) => ("up", body),
            Response::ResponseBody(body) => ("down", body),
            Response::RequestHeaders(_) => return Some("headers".to_owned()),
            _ => return Some("other".to_owned()),
        };
        let mutation = body.response.as_ref()?.body_mutation.as_ref()?.mutation.as_ref()?;
        let body_mutation::Mutation::StreamedResponse(chunk) = mutation else { return Some("plain".to_owned()) };
        let StreamedBodyResponse {
            body, end_of_stream, end_of_stream_without_message, grpc_message_compressed, ..
        } = chunk;
        let flags = [
            (*grpc_message_compressed, " compressed"),
            (*end_of_stream, " end"),
            (*end_of_stream_without_message, " without"),
            (chunk.drain_complete, " drained"),
        ];
        let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, text)| *text).collect();
        Some(format!("{way} {}{flags}", body.escape_ascii()))
    };
    let lines = transcript.replies.iter().filter_map(streamed);
    lines.chain(transcript.status.as_ref().err().map(|status| status.message().to_owned())).collect()
}

/// Doubles messages, drops `drop`, passes what is compressed.
struct Double;

impl Processor for Double {
    type Ctx = Vec<(Vec<u8>, bool)>;
    type RequestBody = Messages;
    type ResponseBody = Messages;

    fn open(&self, _: &Open) -> Self::Ctx {
        Vec::new()
    }

    async fn request_body(&self, seen: &mut Self::Ctx, io: &mut MsgIo<ToUpstream>) -> Result<(), Stop> {
        seen.push((io.raw().to_vec(), io.is_half_closed()));
        assert_eq!(io.call(), Some(("s", "m")));
        if io.is_compressed() {
            io.out.pass();
        } else if io.raw() != "drop" {
            io.out.send_raw(io.raw());
            io.out.send_raw([b"+", io.raw().as_ref()].concat());
        }
        Ok(())
    }

    async fn response_body(&self, _: &mut Self::Ctx, io: &mut MsgIo<ToClient>) -> Result<(), Abort> {
        io.out.send_compressed(io.raw());
        Ok(())
    }
}

#[tokio::test]
async fn messages_come_and_go_as_they_are() {
    let end = |end_of_stream, end_of_stream_without_message, body| {
        request(HttpBody { end_of_stream, end_of_stream_without_message, ..message(body) })
    };
    let rows: [(&str, Vec<ProcessingRequest>, &[&str]); 8] = [
        ("n for one", vec![request(message("a"))], &["up a", "up +a"]),
        ("an empty message is one", vec![request(message(""))], &["up ", "up +"]),
        ("none for one", vec![request(message("drop"))], &[]),
        (
            "compressed",
            vec![request(HttpBody { grpc_message_compressed: true, ..message("zip") })],
            &["up zip compressed"],
        ),
        ("half-close, both flags", vec![end(true, true, "")], &["up  end without"]),
        ("half-close, one flag", vec![end(false, true, "")], &["up  end without"]),
        ("half-close with a message", vec![end(true, false, "a")], &["up a", "up +a end"]),
        ("half-close with a message that is dropped", vec![end(true, false, "drop")], &["up  end without"]),
    ];
    for (what, messages, expected) in rows {
        let script = messages.into_iter().fold(grpc(), Script::message);
        let said = said(&script.run(Double).await);
        assert_eq!(said[1..], *expected, "{what}");
    }
    let script = grpc().response_headers(OK).response_body("b", false).response_trailers([("grpc-status", "0")]);
    assert_eq!(said(&script.run(Double).await), ["headers", "other", "down b compressed", "other"]);
}

#[tokio::test]
async fn skip_echoes_and_chunks_are_frames() {
    struct Frames;
    impl Processor for Frames {
        type Ctx = ();
        type RequestBody = Stream;
        type ResponseBody = Skip;
        fn open(&self, _: &Open) {}
        async fn request_body(&self, (): &mut (), io: &mut ChunkIo<ToUpstream>) -> Result<(), Stop> {
            assert!(io.data.is_empty() || io.data.starts_with(b"\0\0\0\0"), "a frame");
            // Cut anywhere: frames are put together again.
            for byte in &io.data {
                io.out.push(vec![*byte]);
            }
            Ok(())
        }
    }
    let end = HttpBody { end_of_stream: true, end_of_stream_without_message: true, ..HttpBody::default() };
    let script = grpc().message(request(message("ab"))).message(request(message(""))).message(request(end));
    let expected = ["headers", "up ab", "up ", "up  end without"];
    assert_eq!(said(&script.run(extproc::Noop).await), expected);
    let transcript = script.run(Frames).await;
    assert_eq!(said(&transcript), expected);
    let what: Vec<_> = transcript.mismatches.iter().map(|m| (m.what, m.action)).collect();
    assert_eq!(what, [(MismatchKind::ChunksOfMessages, OnMismatch::Serve)]);
}

/// Takes whole bodies, which in GRPC mode are all messages.
struct Wants(Option<OnMismatch>);

impl Processor for Wants {
    type Ctx = ();
    type RequestBody = Whole<64>;
    type ResponseBody = Skip;

    fn on_mismatch(&self) -> Option<OnMismatch> {
        self.0
    }

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if req.header("x-replace").is_some() {
            req.replace_body("new");
        }
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<ToUpstream>) -> Result<(), Stop> {
        io.body.replace("never");
        Ok(())
    }
}

#[tokio::test]
async fn whole_bodies_are_a_mismatch() {
    let script = grpc().message(request(message("a")));
    for (policy, expected) in [
        (None, &["headers"][..]),
        (Some(OnMismatch::Pass), &["headers", "up a"]),
        (Some(OnMismatch::Fail), &["processor Wants cannot serve body mode GRPC"]),
    ] {
        let transcript = script.run(Policy::new(Wants(policy), extproc::OnError::Fail)).await;
        assert_eq!(said(&transcript), expected, "{policy:?}");
        assert_eq!(transcript.mismatches[0].what, MismatchKind::WholeOfMessages);
        assert_eq!(transcript.mismatches[0].action, policy.unwrap_or_default());
    }
    let replace = [POST[0], POST[1], ("x-replace", "1")];
    let script = Script::new().modes(BodyMode::Grpc, BodyMode::None).request_headers(replace);
    let transcript = script.run(Wants(None)).await;
    assert_eq!(said(&transcript), ["processor Wants failed"]);
    let blocked = &transcript.blocked[0];
    let expected = (Phase::RequestHeaders, Write::ReplaceBody, Reason::NotMessages);
    assert_eq!((blocked.phase, blocked.what, blocked.reason), expected);
}

fn windows(to_us: i64, from_us: i64) -> ProcessingRequest {
    let mut first = grpc().messages().remove(0);
    first.flow_control_init = Some(FlowControlInit {
        initial_window_downstream_to_sidestream: to_us,
        initial_window_sidestream_to_upstream: from_us,
        initial_window_upstream_to_sidestream: to_us,
        initial_window_sidestream_to_downstream: from_us,
    });
    first
}

fn grant(bytes: i64) -> ProcessingRequest {
    ProcessingRequest {
        client_window_update: Some(ClientWindowUpdate {
            window_increment_sidestream_to_upstream: bytes,
            window_increment_sidestream_to_downstream: 0,
        }),
        ..ProcessingRequest::default()
    }
}

fn granted(transcript: &Transcript) -> Vec<i64> {
    let updates = transcript.replies.iter().filter_map(|reply| reply.server_window_update);
    updates.map(|ServerWindowUpdate { window_increment_downstream_to_sidestream: bytes, .. }| bytes).collect()
}

#[tokio::test]
async fn credit_goes_back_with_answers_or_at_half_a_window() {
    let with_answers = Script::new().message(windows(10, 100)).message(request(message("abc")));
    assert_eq!(granted(&with_answers.run(Double).await), [0, 3], "the first answer says that we keep windows");
    let dropped = |count| {
        (0..count).fold(Script::new().message(windows(10, 100)), |script, _| script.message(request(message("drop"))))
    };
    assert_eq!(granted(&dropped(1).run(Double).await), [0], "4 of 10");
    assert_eq!(granted(&dropped(2).run(Double).await), [0, 8], "8 of 10, by itself");
    let alone = dropped(2).run(Double).await.replies.pop().unwrap();
    assert_eq!(alone.response, None, "a message with nothing else in it");
    let none = grpc().message(request(message("abc"))).run(Double).await;
    assert_eq!(granted(&none), [] as [i64; 0], "no windows were declared");
}

#[tokio::test]
async fn output_waits_for_credit_and_keeps_its_order() {
    let script = Script::new().message(windows(100, 3)).message(request(message("abc")));
    assert_eq!(said(&script.run(extproc::Noop).await), ["headers", "up abc"], "the window is positive");
    // At the end of the stream no credit can come: what waits goes out. So look at the order of replies and grants.
    let end = request(HttpBody { end_of_stream: true, end_of_stream_without_message: true, ..HttpBody::default() });
    let script = script.message(request(message("d"))).message(end).message(grant(-1)).message(grant(2));
    assert_eq!(said(&script.run(extproc::Noop).await), ["headers", "up abc", "up d", "up  end without"]);
    let overflow = Script::new().message(windows(1, i64::MAX)).message(grant(1));
    assert_eq!(
        said(&overflow.run(extproc::Noop).await),
        ["headers", "protocol violation: the Request flow-control window overflows"]
    );
}

/// Leaves after the request's headers.
struct Leaves;

impl Processor for Leaves {
    type Ctx = ();
    type RequestBody = Messages;
    type ResponseBody = Messages;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.detach();
        Ok(())
    }

    async fn request_body(&self, (): &mut (), _: &mut MsgIo<ToUpstream>) -> Result<(), Stop> {
        unreachable!("it has left")
    }
}

#[tokio::test]
async fn leaving_asks_for_a_drain_and_echoes_until_it_is_done() {
    let drained = || HttpBody { drain_complete: true, ..HttpBody::default() };
    let response_drained =
        ProcessingRequest { request: Some(Request::ResponseBody(drained())), ..ProcessingRequest::default() };

    let legacy = grpc().message(request(message("a"))).run(Leaves).await;
    assert_eq!(said(&legacy), ["headers", "up a"]);
    assert!(legacy.replies[0].request_drain, "no windows: the legacy form");

    let script = Script::new().message(windows(10, 10)).message(request(message("a")));
    let ignored = script.run(Leaves).await;
    let first = &ignored.replies[0];
    assert_eq!(
        (first.request_drain, first.request_drain_requests, first.request_drain_responses),
        (false, true, true),
        "windows: the directional form"
    );
    assert_eq!(said(&ignored), ["headers", "up a"], "a data plane that ignores it loses nothing");

    let done = script.message(request(drained())).message(response_drained).message(request(message("late")));
    assert_eq!(
        said(&done.run(Leaves).await),
        ["headers", "up a", "up  drained", "down  drained"],
        "then the stream ends"
    );

    let unasked = grpc().message(request(drained())).run(Double).await;
    assert!(said(&unasked)[1].starts_with("protocol violation: a Request drain_complete"), "{:?}", said(&unasked));
}
