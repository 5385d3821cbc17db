//! Processors that fail, and calls that go on without them (grpc-a93.md 9.5).

use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeadersResponse, ProcessingResponse, StreamedBodyResponse,
    StreamedImmediateResponse, TrailersResponse,
};

use super::script::{Player, body, check, options};
use crate::call::Failure;

const HEAD: &str = "D.head => open p:qh \n";
const BEGUN: &str = "D.head => open p:qh \n P.qh => u:head \n";

#[track_caller]
fn failed(player: &Player, text: &str) {
    let status = player.status.as_ref().unwrap();
    assert_eq!((status.code, &status.message[..]), (13, &format!("ext_proc: {text}")[..]));
    assert!(status.trailers.is_empty(), "nothing of the side stream is told");
}

#[test]
fn a93_102_to_109_ends_in_the_headers_phase() {
    let player = check("A93-102", "SNKNK", &format!("{HEAD} P.err=14 => cancel d:status=13"));
    failed(&player, "external processor RPC failed: UNAVAILABLE: gone");
    check("A93-103", "SNSNK fma", &format!("{HEAD} P.err=14 => u:head \n U.head U.end => d:head d:end=0"));
    check("A93-104", "SNSNK", &format!("{HEAD} P.ok => u:head \n U.head U.msg=a U.end => d:head d:msg=a d:end=0"));
    let player = check("A93-106", "SGSGS", &format!("{HEAD} P.ok => cancel d:status=13"));
    failed(&player, "stream closed by the external processor without drain");
    check("A93-107", "SGSGS fma", &format!("{HEAD} P.ok => u:head"));
    check("A93-108", "SGSGS fma", &format!("{HEAD} D.msg=a => p:qb=a \n P.ok => cancel d:status=13"));
    let player = check("A93-109", "SNSNK", &format!("{HEAD} P.open=connection-refused => cancel d:status=13"));
    failed(&player, "failed to open a stream to the external processor: connection-refused");
}

#[test]
fn a93_111_to_119_ends_later() {
    check(
        "A93-111",
        "SGSGS fma",
        &format!("{BEGUN} D.msg=a => p:qb=a \n P.qb=a => u:msg=a \n P.err=14 => cancel d:status=13"),
    );
    check(
        "A93-112",
        "SNSGS fma",
        &format!("{BEGUN} U.head => p:sh \n P.sh => d:head \n U.msg=a => p:sb=a \n P.err=14 => cancel d:status=13"),
    );
    check("A93-113", "SGKNK fma", &format!("{BEGUN} P.err=14 => \n D.msg=a D.end => u:msg=a u:end"));
    check(
        "A93-114",
        "SNSNK fma",
        &format!(
            "{BEGUN} P.err=14 => \n D.msg=a D.msg=b D.end => u:msg=a u:msg=b u:end \n U.head U.msg=a U.msg=b U.end => d:head d:msg=a d:msg=b d:end=0"
        ),
    );
    check(
        "A93-116",
        "SNKNS fma",
        &format!("{BEGUN} U.head => d:head \n U.end=0,t:1 => p:st \n P.err=14 => d:end=0=t:1"),
    );
    check(
        "A93-117",
        "SNSNS",
        &format!("{BEGUN} U.head => p:sh \n P.sh => d:head \n U.end=0,t:1 => p:st \n P.err=14 => cancel d:status=13"),
    );
    check("A93-118", "SGKNK", &format!("{BEGUN} D.msg=a D.end => p:qb=a p:qb!! \n P.err=13 => cancel d:status=13"));
    let mut player = check("A93-119", "SGSNS", &format!("{BEGUN} U.head => p:sh \n P.sh => d:head"));
    for _ in 0..25 {
        player.play("A93-119", "D.msg=m => p:qb=m \n P.qb=m => u:msg=m");
    }
    player.play("A93-119", "P.err=14 => cancel d:status=13 \n D.msg=m D.end =>");
    failed(&player, "external processor RPC failed: UNAVAILABLE: gone");
}

#[test]
fn a93_121_122_times_and_the_server() {
    check("A93-121", "SNSNK fma timeout=100", &format!("{HEAD} T=99 => \n T=1 => reset u:head"));
    let player = check("A93-121 closed", "SNSNK timeout=100", &format!("{HEAD} T=100 => reset cancel d:status=13"));
    failed(&player, "external processor RPC failed: DEADLINE_EXCEEDED: the side stream has reached its timeout");
    check("A93-122", "SNSNK fma", &format!("{BEGUN} U.fail=14 => p:close d:status=14"));
}

/// The answer, in place of the one that is due.
#[track_caller]
fn fails(row: &str, config: &str, script: &str, response: Response, text: &str) {
    let mut player = Player::new(options(config));
    player.play(row, script);
    player.reply(ProcessingResponse { response: Some(response), ..ProcessingResponse::default() });
    assert_eq!(player.outputs(), ["reset", "cancel", "d:status=13"], "{row}");
    failed(&player, text);
}

fn replacing() -> Option<CommonResponse> {
    Some(CommonResponse { status: 1, ..CommonResponse::default() })
}

#[test]
fn a93_123_124_126_only_continue() {
    let request = || Response::RequestHeaders(HeadersResponse { response: replacing() });
    let response = || Response::ResponseHeaders(HeadersResponse { response: replacing() });
    fails("A93-123", "SNKNK", HEAD, request(), "unexpected status 1 in request_headers response, want CONTINUE");
    let script = "D.head => u:head \n U.head => open p:sh";
    fails("A93-124", "KNSNK", script, response(), "unexpected status 1 in response_headers response, want CONTINUE");
    let body = Response::RequestBody(BodyResponse { response: replacing() });
    fails(
        "body",
        "KGKNK",
        "D.head => u:head \n D.end => open p:qb!!",
        body,
        "unexpected status 1 in request_body response, want CONTINUE",
    );
    let mut player = Player::new(options("SNKNK fma"));
    player.play("A93-126", HEAD);
    player.reply(ProcessingResponse { response: Some(request()), ..ProcessingResponse::default() });
    assert_eq!(player.outputs(), ["reset", "u:head"]);
    assert!(matches!(player.call.failure(), Some(Failure::Status { .. })));
}

#[test]
fn a93_127_to_134_answers_to_nothing() {
    let unexpected = |row, config, script: &str, text: &str| {
        let player = check(row, config, script);
        failed(&player, text);
    };
    let fails = "=> reset cancel d:status=13";
    unexpected(
        "A93-127",
        "SGKNK",
        &format!("{HEAD} P.qb=x {fails}"),
        "unexpected request_body response: the headers are not answered yet",
    );
    check("A93-128", "SNKNK fma", &format!("{HEAD} P.qb=x => reset u:head"));
    unexpected(
        "A93-129",
        "SGSGS",
        &format!("{BEGUN} U.head => p:sh \n P.sb=x {fails}"),
        "unexpected response_body response: the headers are not answered yet",
    );
    unexpected(
        "A93-129 before the headers",
        "SGSGS",
        &format!("{BEGUN} P.sb=x {fails}"),
        "unexpected response_body response: the headers are not answered yet",
    );
    unexpected(
        "A93-131",
        "SNSNS",
        &format!("{BEGUN} P.st {fails}"),
        "unexpected response_trailers response: no such event is unanswered",
    );
    unexpected(
        "A93-132",
        "SNSNS",
        &format!("{BEGUN} P.qh {fails}"),
        "unexpected request_headers response: no such event is unanswered",
    );
    unexpected(
        "A93-132 response",
        "SNSNS",
        &format!("{BEGUN} U.head => p:sh \n P.sh => d:head \n P.sh {fails}"),
        "unexpected response_headers response: no such event is unanswered",
    );
    unexpected(
        "A93-133",
        "SNKNK",
        &format!("{BEGUN} P.qb=x {fails}"),
        "unexpected request_body response: the body mode is NONE",
    );
    unexpected(
        "A93-134",
        "SNKNK",
        &format!("{BEGUN} P.sh {fails}"),
        "unexpected response_headers response: no such event is unanswered",
    );
}

#[test]
fn a93_136_to_139_answers_that_grpc_does_not_know() {
    let compressed = || StreamedBodyResponse { grpc_message_compressed: true, ..StreamedBodyResponse::default() };
    let request = "D.head => u:head \n D.msg=a => open p:qb=a";
    let response = "D.head => u:head \n U.head => d:head \n U.msg=a => open p:sb=a";
    let text = "compressed message in request_body response is not supported";
    fails("A93-136", "KGKNK", request, Response::RequestBody(body(compressed())), text);
    let text = "compressed message in response_body response is not supported";
    fails("A93-137", "KNKGS", response, Response::ResponseBody(body(compressed())), text);
    for mutation in [None, Some(Mutation::Body(bytes::Bytes::from_static(b"x"))), Some(Mutation::ClearBody(true))] {
        let common = CommonResponse {
            body_mutation: mutation.map(|it| BodyMutation { mutation: Some(it) }),
            ..CommonResponse::default()
        };
        let reply = Response::RequestBody(BodyResponse { response: Some(common) });
        fails("A93-138", "KGKNK", request, reply, "request_body response without streamed_response");
    }
    let end = StreamedBodyResponse { end_of_stream: true, ..StreamedBodyResponse::default() };
    fails("F07", "KNKGS", response, Response::ResponseBody(body(end)), "end_of_stream in response_body response");
    for (reply, kind) in [
        (Response::RequestTrailers(TrailersResponse::default()), "request_trailers"),
        (Response::StreamedImmediateResponse(StreamedImmediateResponse::default()), "streamed_immediate_response"),
    ] {
        let text = format!("unexpected {kind} response: gRPC calls have no such response");
        fails("A93-139", "SNKNK", HEAD, reply, &text);
    }
}

#[test]
fn a93_141_to_144_when_a_call_goes_on_without_its_processor() {
    check("A93-141 before", "SGSGS fma", &format!("{HEAD} P.sh => reset u:head"));
    check("A93-141 after", "SGSGS fma", &format!("{BEGUN} D.msg=a => p:qb=a \n P.sh => reset cancel d:status=13"));
    // What has not left is not the processor's.
    check(
        "A93-141 queued",
        "SGSGS fma",
        &format!("{HEAD} block=p D.msg=a D.msg=b D.end => \n P.open=refused => u:head u:msg=a u:msg=b u:end"),
    );
    check("A93-142", "SGSGS fma", &format!("{BEGUN} D.end => p:qb!! \n P.err=14 => u:end"));
    check(
        "A93-143",
        "SGKNK",
        &format!("{BEGUN} D.msg=#70000 => p:qb=#70000 \n D.msg=b => \n P.err=14 => cancel d:status=13"),
    );
    check(
        "A93-144",
        "SNSNS fma",
        &format!("{HEAD} D.msg=a D.msg=b D.end => \n P.err=14 => u:head u:msg=a u:msg=b u:end"),
    );
}

#[test]
fn a93_146_147_the_first_cause_alone_is_told() {
    let player = check("A93-146", "SGSGS", &format!("{BEGUN} P.qh => reset cancel d:status=13 \n P.err=14 =>"));
    failed(&player, "unexpected request_headers response: no such event is unanswered");
    let player = check("A93-147", "SGSGS", &format!("{BEGUN} P.err=16 => cancel d:status=13"));
    failed(&player, "external processor RPC failed: UNAUTHENTICATED: gone");
}
