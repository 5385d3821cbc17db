//! 10.1 Basics, errors, closes.

use extproc_core::filter::{GrpcStatus, StreamEvent};
use extproc_proto::processing_response::{Response, ServerWindowUpdate};
use extproc_proto::{BodyResponse, CommonResponse, HeaderMap, HeadersResponse, ProcessingResponse};

use crate::answers::{ack, answer, at, immediate, response, says};
use crate::exchange::{Scenario, chunked, chunked_t, get, internal, post, reply, uc};
use crate::{Processor, mode, rows, with};

fn closes_ok(kind: &'static str) -> Processor {
    says(kind, StreamEvent::Closed(Ok(())))
}

fn plain(kind: &str) -> StreamEvent {
    answer(kind, CommonResponse::default())
}

fn empty() -> StreamEvent {
    reply(ProcessingResponse::default())
}

fn acks_then(kind: &'static str, ms: u64, then: Vec<StreamEvent>) -> Processor {
    at(kind, move |seen| {
        let later = then.iter().map(|event| (ms, event.clone()));
        ack(seen).into_iter().chain(later).collect()
    })
}

/// What an HTTP service gives for an answer other than 200 with a response.
fn http_error() -> StreamEvent {
    StreamEvent::Closed(Err(GrpcStatus { code: 14, message: "status 500".to_owned() }))
}

rows! {
    env_421_ok: with(|o| o.http_service = true) => "D 200 hello | U  | > qh! sh | 0/2/2/0";
    env_421: with(|o| o.http_service = true).to(says("qh", http_error())) => "D 500 | U - | > qh! | 0/1/0/0 imm1 nok1";
    env_422: mode("FMA").options(|o| o.http_service = true).to(says("qh", http_error()))
        => "D 200 hello | U  | > qh! | 0/1/0/0 nok1 fma1";
    env_421_response: with(|o| o.http_service = true).to(says("sh", http_error()))
        => "D 500 | U  | > qh! sh | 0/2/1/0 imm1 nok1";
    env_424: with(|o| o.http_service = true).to(at("qh", |_| Vec::new())) => "D 504 | U - | > qh! | 0/1/0/0 tmo1 imm1";
    env_060_http: with(|o| o.http_service = true).to(says("qh", immediate(403, "", None)))
        => "D 403 | U - | > qh! | 0/1/1/0 imm1";
    env_003_http: with(|o| o.http_service = true).to(says("qh", plain("sh")))
        => "D 500 | U - | > qh! | 0/1/0/0 spur1 imm1";
    env_001: with(|_| ()) => "D 200 hello | U  | > qh! sh | 1/2/2/1";
    env_002: mode("rh K sh K") => "D 200 hello | U  | >  | 0/0/0/0";
    env_003: with(|_| ()).to(says("qh", plain("sh"))) => "D 500 | U - | > qh! | 1/1/0/1 spur1 imm1";
    env_004: mode("FMA").to(says("qh", plain("sh"))) => "D 200 hello | U  | > qh! | 1/1/0/1 spur1 fma1";
    env_006: with(|_| ()).to(says("qh", empty())) => "D 500 | U - | > qh! | 1/1/0/1 spur1 imm1";
    env_007: mode("FMA").to(says("qh", empty())) => "D 200 hello | U  | > qh! | 1/1/0/1 spur1 fma1";
    env_008: with(|_| ()).to(closes_ok("qh")) => "D 200 hello | U  | > qh! | 1/1/0/1 half1";
    env_009: mode("FMA").to(closes_ok("qh")) => "D 200 hello | U  | > qh! | 1/1/0/1 half1";
    env_010: with(|_| ()).to(says("qh", internal())) => "D 500 | U - | > qh! | 1/1/0/0 fail1 half1 imm1";
    env_011: mode("FMA").to(says("qh", internal())) => "D 200 hello | U  | > qh! | 1/1/0/1 fail1 half2 fma1";
    env_012: with(|o| o.status_on_error = 429).to(says("qh", internal()))
        => "D 429 | U - | > qh! | 1/1/0/0 fail1 half1 imm1";
    env_013: with(|o| o.status_on_error = 200).to(says("qh", internal()))
        => "D 500 | U - | > qh! | 1/1/0/0 fail1 half1 imm1";
    env_018: with(|_| ()).upstream_takes(300).to(acks_then("qh", 80, vec![internal()]))
        => "D 500 | U  | > qh! | 1/1/1/0 fail1 half1 imm1";
    env_019: mode("FMA").upstream_takes(300).to(acks_then("qh", 80, vec![internal()]))
        => "D 200 hello | U  | > qh! | 1/1/1/1 fail1 half2 fma1";
    env_021: with(|_| ()).to(acks_then("sh", 0, vec![internal()])) => "D 200 hello | U  | > qh! sh | 1/2/2/1";
    env_022: with(|_| ()).upstream_takes(100).to(acks_then("qh", 0, vec![plain("qh")]))
        => "D 500 | U  | > qh! | 1/1/1/1 spur1 imm1";
    env_023: with(|_| ()).upstream_takes(200).to(acks_then("qh", 0, vec![plain("qh"), plain("qh"), plain("qh")]))
        => "D 500 | U  | > qh! | 1/1/1/1 spur1 imm1";
    env_024: mode("rb BU").sends(chunked(50, &["a", "b"])).to(acks_then("qh", 0, vec![plain("qb")]))
        => "D 500 | U - | > qh | 1/1/1/1 spur1 imm1";
    env_026_headers: mode("rb BU").sends(post("hello"))
        .to(says("qh", response(Response::RequestHeaders(HeadersResponse::default()))))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
    env_026_body: mode("rb BU").sends(post("hello"))
        .to(says("qb", response(Response::RequestBody(BodyResponse::default()))))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
    env_027: mode("st S sb BU").to(acks_then("sh", 0, vec![plain("st")]))
        => "D 500 | U  | > qh! sh sb!\"hello\" | 1/3/2/1 spur1 imm1";
    env_028: mode("st S").gets(uc()).to(says("st", plain("sh")))
        => "D 200 r1r2 cut | U  | > qh! sh st | 1/3/2/1 spur1 imm1";
    env_029: mode("rb ST rt S sh K").sends(chunked_t(50, &["aa"])).to(acks_then("qh", 0, vec![plain("qt")]))
        => "D 500 | U incomplete | > qh | 1/1/1/1 spur1 imm1";
    env_031: mode("rb BU").sends(post("hello")).to(Box::new(with_unknown_fields))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
    env_032: mode("rb BU").sends(post("hello")).to(says("qh", answer("qh", CommonResponse {
            trailers: Some(HeaderMap::default()),
            ..CommonResponse::default()
        })))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
}

fn with_unknown_fields(seen: &crate::exchange::Seen) -> Vec<(u64, StreamEvent)> {
    ack(seen)
        .into_iter()
        .map(|(ms, event)| match event {
            StreamEvent::Reply(mut message) => {
                message.request_drain = true;
                message.request_drain_requests = true;
                message.server_window_update = Some(ServerWindowUpdate::default());
                (ms, StreamEvent::Reply(message))
            }
            StreamEvent::Closed(_) => (ms, event),
        })
        .collect()
}

#[test]
fn env_003_006_010_details() {
    for (event, details) in [
        (plain("sh"), "spurious_message"),
        (empty(), "unhandled_message"),
        (internal(), "ext_proc_error_gRPC_error_13{boom_x}"),
    ] {
        assert_eq!(with(|_| ()).to(says("qh", event)).run().details, details);
    }
}

#[test]
fn env_421_details() {
    let outcome = with(|o| o.http_service = true).to(says("qh", http_error())).run();
    assert_eq!(outcome.details, "ext_proc_error_HTTP_ERROR");
}

#[test]
fn env_014_a_stream_that_cannot_be_opened() {
    let refused = StreamEvent::Closed(Err(GrpcStatus { code: 14, message: "connection refused".to_owned() }));
    let outcome = with(|_| ()).to(says("qh", refused)).run();
    assert_eq!(crate::line(&outcome), "D 500 | U - | > qh! | 1/1/0/0 fail1 half1 imm1");
    assert_eq!(outcome.details, "ext_proc_error_gRPC_error_14{connection_refused}");
}

#[test]
fn env_034_the_client_leaves() {
    let outcome =
        Scenario { client_leaves: Some(50), ..with(|o| o.message_timeout = std::time::Duration::from_secs(2)) }
            .to(at("qh", |_| Vec::new()))
            .run();
    assert_eq!(crate::line(&outcome), "D - | U - | > qh! | 1/1/0/1");
    assert_eq!(outcome.end_ms, 50);
    assert_eq!(outcome.closed_ms, [Some(50)]);
}

#[test]
fn only_the_first_message_tells_the_modes_and_all_have_metadata() {
    let outcome = mode("rb BU sb ST").sends(post("hello")).run();
    let told: Vec<_> = outcome.wire[0].iter().map(|message| message.protocol_config.is_some()).collect();
    assert_eq!(told, [true, false, false, false]);
    assert!(outcome.wire[0].iter().all(|message| message.metadata_context.is_some()));
    let config = outcome.wire[0][0].protocol_config.unwrap();
    assert_eq!((config.request_body_mode, config.response_body_mode), (2, 1));
}

#[test]
fn env_349_headers_are_seen_as_they_are() {
    let outcome = Scenario {
        request: crate::exchange::request("GET", &[("x-d", "1"), ("x-d", "2"), ("cookie", "a"), ("cookie", "b")]),
        ..Scenario::default()
    }
    .run();
    let Some(extproc_proto::processing_request::Request::RequestHeaders(seen)) = &outcome.wire[0][0].request else {
        panic!("the first message has the request headers");
    };
    let seen: Vec<_> = seen.headers.as_ref().unwrap().headers.iter().collect();
    assert!(seen.iter().all(|header| header.value.is_empty()), "values travel in raw_value");
    let seen: Vec<_> = seen
        .iter()
        .map(|header| format!("{}={}", header.key.escape_ascii(), header.raw_value.escape_ascii()))
        .collect();
    assert_eq!(
        seen,
        [":authority=ex.com", ":path=/x", ":method=GET", ":scheme=http", "x-d=1", "x-d=2", "cookie=a", "cookie=b"]
    );
}

#[test]
fn an_unsolicited_immediate_response_before_any_message_cannot_come() {
    // Nothing was sent, so there is no stream: whatever claims to come from it is ignored.
    let outcome = mode("rh K").to(says("sh", immediate(403, "", None))).sends(get()).run();
    assert_eq!(crate::line(&outcome), "D 403 | U  | > sh | 1/1/1/1 imm1");
}
