//! What a profile changes in whole exchanges: the rows of agentgateway's table where it is not as Envoy, and the
//! portable meaning of header options.

use bytes::Bytes;
use extproc_core::filter::StreamEvent;
use extproc_core::{BodyMode, Options, Profile};
use extproc_proto::{
    CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse, ProcessingMode,
    ProcessingResponse, processing_response::Response,
};

use crate::answers::{answer, at, body, clear_body, option, piece, replacing, says, sets, streamed};
use crate::exchange::{Scenario, chunked, chunked_t, get, internal, post, reply, request, u5};
use crate::{mode, rows};

/// A mode of the shorthand under a profile.
fn under(profile: Profile, text: &str) -> Scenario {
    mode(text).options(|options| options.profile = profile)
}

fn agw(text: &str) -> Scenario {
    under(Profile::Agentgateway, text)
}

fn strict(text: &str) -> Scenario {
    under(Profile::Strict, text)
}

/// agentgateway's defaults.
fn agw_defaults() -> Scenario {
    Scenario { options: vec![Options::of(Profile::Agentgateway)], ..Scenario::default() }
}

fn ok() -> StreamEvent {
    StreamEvent::Closed(Ok(()))
}

fn overriding(body: BodyMode) -> StreamEvent {
    let number = if body == BodyMode::Streamed { 1 } else { 4 };
    reply(ProcessingResponse {
        response: Some(Response::RequestHeaders(HeadersResponse::default())),
        mode_override: Some(ProcessingMode { request_body_mode: number, ..ProcessingMode::default() }),
        ..ProcessingResponse::default()
    })
}

rows! {
    agw_001_trailers_are_sent_with_full_duplex: agw("rb FD sh K").sends(chunked_t(50, &["a"]))
        .to(Box::new(|seen| vec![(0, match seen.kind {
            "qb" => answer("qb", piece(seen.body.clone(), false)),
            kind => answer(kind, CommonResponse::default()),
        })]))
        => "D 200 hello | U a +x-t: 1 | > qh qb\"a\" qt | 1/3/3/1";
    agw_003_an_empty_reply_ends_the_body: agw_defaults().sends(post(""))
        => "D 200 | U  | > qh qb! sh sb!\"hello\" | 1/4/4/1";
    agw_004: agw("sb FD st S") => "D 200 | U  | > qh! sh sb!\"hello\" | 1/3/3/1";
    a_body_reply_is_the_rest_of_the_body: agw("rb FD sh K").sends(chunked(50, &["a", "b"])).to(says("qb", answer("qb", body("new"))))
        => "D 200 hello | U new | > qh qb\"a\" | 1/2/2/1";
    agw_008: agw("rb BU sh K").sends(post("hello")).to(says("qb", answer("qb", body("longer body"))))
        => "D 500 63 bytes | U - | > qh qb!\"hello\" | 1/2/2/1 imm1";
    agw_009: agw("rb BU sh K").sends(post("hello")).to(says("qb", answer("qb", streamed("short", true))))
        => "D 200 hello | U short | > qh qb!\"hello\" | 1/2/2/1";
    agw_009_strict: strict("rb BU sh K").sends(post("hello")).to(says("qb", answer("qb", streamed("short", true))))
        => "D 500 103 bytes | U - | > qh qb!\"hello\" | 1/2/1/1 spur1 imm1";
    agw_019: agw("sb BU").to(says("sb", answer("sb", streamed("short", true))))
        => "D 200 short | U  | > qh! sh sb!\"hello\" | 1/3/3/1";
    agw_043_no_streamed_by_override: agw("AMO sh K").sends(post("hello")).to(says("qh", overriding(BodyMode::Streamed)))
        => "D 200 hello | U hello | > qh | 1/1/1/1";
    agw_043_envoy: mode("AMO sh K").sends(post("hello")).to(says("qh", overriding(BodyMode::Streamed)))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    agw_052: agw("sh K").to(says("qh", internal()))
        => "D 500 53 bytes | U - | > qh! | 1/1/0/0 fail1 half1 imm1";
    agw_053: agw("rb FD rt S sh K FMA").sends(post("hello")).to(at("qb", |_| vec![(0, internal())]))
        => "D 500 53 bytes | U incomplete | > qh qb!\"hello\" | 1/2/1/0 fail1 half1 imm1";
    agw_054: agw("rb BU sh K FMA").sends(post("hello")).to(says("qh", internal()))
        => "D 200 hello | U hello | > qh | 1/1/0/1 fail1 half2 fma1";
    agw_054_the_body_was_sent: agw("rb BU sh K FMA").sends(post("hello")).to(says("qb", internal()))
        => "D 500 53 bytes | U - | > qh qb!\"hello\" | 1/2/1/0 fail1 half1 imm1";
    agw_057: agw("FMA").to(says("sh", internal()))
        => "D 500 53 bytes | U  | > qh! sh | 1/2/1/0 fail1 half1 imm1";
    agw_058: agw("").to(says("sh", ok()))
        => "D 500 46 bytes | U  | > qh! sh | 1/2/1/1 half1 imm1";
    agw_058_strict: strict("").to(says("sh", ok())) => "D 200 hello | U  | > qh! sh | 1/2/1/1 half1";
    agw_059: agw("rb FD rt S sh K").sends(post("hello")).to(at("qb", |_| vec![(0, ok())]))
        => "D 500 46 bytes | U incomplete | > qh qb!\"hello\" | 1/2/1/1 half1 imm1";
    no_deadline: agw("sh K").to(at("qh", |_| vec![(60_000, answer("qh", CommonResponse::default()))]))
        => "D 200 hello | U  | > qh! | 1/1/1/1";
    nothing_said: agw("sh K").to(at("qh", |_| vec![
            (0, reply(ProcessingResponse::default())), (0, answer("qh", CommonResponse::default())),
        ]))
        => "D 200 hello | U  | > qh! | 1/1/1/1";
    a_body_with_the_headers: agw("rb BU sh K").sends(post("hello")).to(says("qh", answer("qh", body("new"))))
        => "D 200 hello | U new | > qh | 1/1/1/1";
    a_body_with_the_headers_of_a_get: agw("sh K").sends(get()).to(says("qh", answer("qh", body("new"))))
        => "D 200 hello | U  | > qh! | 1/1/1/1";
    a_piece_with_the_headers: agw("rb FD sh K").sends(chunked(50, &["a"])).to(Box::new(|seen| vec![(0, match seen.kind {
            "qh" => answer("qh", streamed("first ", false)),
            kind => answer(kind, piece(seen.body.clone(), seen.end)),
        })]))
        => "D 200 hello | U first a | > qh qb\"a\" qb! | 1/3/3/1";
    a_body_with_the_headers_envoy: mode("rb BU sh K").sends(post("hello")).to(says("qh", answer("qh", body("new"))))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    a_body_with_the_headers_strict: strict("rb BU sh K").sends(post("hello")).to(says("qh", answer("qh", body("new"))))
        => "D 500 64 bytes | U - | > qh | 1/1/1/1 imm1";
    replacing_is_ignored: agw("rb BU sh K").sends(post("hello"))
        .to(says("qb", answer("qb", replacing(clear_body_and_length()))))
        => "D 200 hello | U  | > qh qb!\"hello\" | 1/2/2/1";
    replacing_a_body_is_refused: strict("rb BU sh K").sends(post("hello"))
        .to(says("qb", answer("qb", replacing(clear_body_and_length()))))
        => "D 500 64 bytes | U - | > qh qb!\"hello\" | 1/2/2/1 imm1";
    trailers_that_are_not_sent: agw("rb BU sh K").sends(chunked_t(50, &["a"]))
        => "D 200 hello | U a +x-t: 1 | > qh qb!\"a\" | 1/2/2/1";
    grpc_replacing: under(Profile::Grpc, "sh K").to(says("qh", answer("qh", replacing(body("new")))))
        => "D 500 63 bytes | U - | > qh! | 1/1/1/1 imm1";
    grpc_bad_content_fails_open: under(Profile::Grpc, "sh K FMA").to(says("qh", answer("qh", sets(&[(":path", "/y"), ("grpc-status", "1")]))))
        => "D 200 hello | U  | > qh! | 1/1/1/1 rej1 fma1";
}

fn clear_body_and_length() -> CommonResponse {
    CommonResponse { header_mutation: sets(&[("content-length", "0")]).header_mutation, ..clear_body() }
}

fn what_comes_of(profile: Profile, options: Vec<HeaderValueOption>, names: &[&str]) -> String {
    let header_mutation = Some(HeaderMutation { set_headers: options, ..HeaderMutation::default() });
    let outcome = Scenario { request: request("GET", &[("x-a", "1")]), response: u5(), ..Scenario::default() }
        .options(|options| options.profile = profile)
        .to(says("qh", answer("qh", CommonResponse { header_mutation, ..CommonResponse::default() })))
        .run();
    if outcome.d().starts_with("200") { outcome.upstream.only(names) } else { outcome.details }
}

/// sdks.md 6.1; agentgateway's rows AGW-073 to AGW-077.
#[test]
fn agw_073_to_077_header_options_by_profile() {
    let act = |name, append_action, append| HeaderValueOption { append_action, ..option(name, "2", append) };
    let options = || {
        vec![
            act("x-a", 1, None),
            act("x-b", 1, None),
            act("x-c", 3, None),
            act("x-d", 2, Some(true)),
            act("x-d", 2, Some(true)),
        ]
    };
    let names = ["x-a", "x-b", "x-c", "x-d"];
    for (profile, expected) in [
        (Profile::Envoy, "x-a: 2, x-b: 2, x-c: 2, x-d: 2, x-d: 2"),
        (Profile::Agentgateway, "x-a: 1, x-b: 2, x-d: 2"),
        (Profile::Grpc, "x-a: 1, x-b: 2, x-d: 2"),
        (Profile::Strict, "x-a: 1, x-b: 2, x-d: 2"),
    ] {
        assert_eq!(what_comes_of(profile, options(), &names), expected, "{profile:?}");
    }
    for (profile, expected) in [
        (Profile::Envoy, "x-a: 2"),
        (Profile::Agentgateway, "x-a: 2"),
        (Profile::Grpc, "x-a: 1, x-a: 2"),
        (Profile::Strict, "x-a: 2"),
    ] {
        assert_eq!(what_comes_of(profile, vec![option("x-a", "2", None)], &["x-a"]), expected, "{profile:?}");
    }
}

#[test]
fn values_by_profile() {
    let header = |value: &'static str, raw: &'static str| HeaderValueOption {
        header: Some(HeaderValue {
            key: Bytes::from_static(b"x-a"),
            value: Bytes::from_static(value.as_bytes()),
            raw_value: Bytes::from_static(raw.as_bytes()),
        }),
        append_action: 2,
        ..HeaderValueOption::default()
    };
    for (profile, only_value, nothing, both) in [
        (Profile::Envoy, "x-a: ", "x-a: ", "x-a: raw"),
        (Profile::Agentgateway, "x-a: text", "x-a: 1", "x-a: raw"),
        (Profile::Grpc, "x-a: text", "x-a: ", "x-a: raw"),
        (Profile::Strict, "x-a: text", "x-a: ", "header_mutation_sets_both_value_and_raw_value"),
    ] {
        let run = |option| what_comes_of(profile, vec![option], &["x-a"]);
        assert_eq!(run(header("text", "")), only_value, "{profile:?}");
        assert_eq!(run(header("", "")), nothing, "{profile:?}");
        assert_eq!(run(header("text", "raw")), both, "{profile:?}");
    }
}

/// AGW-078, AGW-079.
#[test]
fn agw_078_079_pseudo_headers_are_free() {
    let set = || vec![option(":method", "PUT", None), option(":scheme", "https", None), option("host", "other", None)];
    let names = [":method", ":scheme", ":authority", "host"];
    let free = ":authority: other, :method: PUT, :scheme: https";
    assert_eq!(what_comes_of(Profile::Agentgateway, set(), &names), free);
    let kept = ":authority: ex.com, :method: GET, :scheme: http";
    assert_eq!(what_comes_of(Profile::Envoy, set(), &names), kept);
    assert_eq!(what_comes_of(Profile::Strict, set(), &names), kept);
    assert_eq!(what_comes_of(Profile::Grpc, set(), &names), "header_mutation_is_no_grpc_metadata");
}

/// AGW-071.
#[test]
fn agw_071_pseudo_headers_go_last_in_value() {
    use extproc_proto::processing_request::Request;
    let outcome = agw("sh K").sends(request("GET", &[("x-a", "1")])).run();
    let Some(Request::RequestHeaders(message)) = outcome.wire[0][0].request.clone() else { panic!("headers") };
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let seen: Vec<_> = message
        .headers
        .unwrap()
        .headers
        .iter()
        .map(|h| format!("{}={}|{}", text(&h.key), text(&h.value), text(&h.raw_value)))
        .collect();
    assert_eq!(seen, ["x-a=|1", ":authority=ex.com|", ":path=/x|", ":method=GET|", ":scheme=http|"]);
}

#[test]
fn a_mutation_that_fails_open_leaves_nothing_behind() {
    let answer = answer("qh", sets(&[("x-a", "2"), ("grpc-status", "1")]));
    let outcome = under(Profile::Grpc, "sh K FMA").sends(request("GET", &[("x-a", "1")])).to(says("qh", answer)).run();
    assert_eq!((outcome.d().as_str(), outcome.upstream.only(&["x-a"]).as_str()), ("200 hello", "x-a: 1"));
}
