//! 10.5 BUFFERED.

use extproc_core::filter::StreamEvent;
use extproc_proto::{BodyMutation, CommonResponse};

use crate::answers::{ack, answer, at, body, clear_body, new_body, removes, says, sets};
use crate::exchange::{Scenario, chunked, chunked_t, internal, large, post, request};
use crate::{Processor, mode, rows};

const BOTH: &str = "rb BU sb BU";

fn p(text: &str) -> Scenario {
    mode(text).sends(post("hello"))
}

fn qb(common: CommonResponse) -> Processor {
    says("qb", answer("qb", common))
}

fn with_length(text: &'static str, length: &'static str) -> CommonResponse {
    CommonResponse { body_mutation: body(text).body_mutation, ..sets(&[("content-length", length)]) }
}

/// One answer to the headers, one to the body.
fn first_then(headers: CommonResponse, then: CommonResponse) -> Processor {
    Box::new(move |seen| match seen.kind {
        "qh" => vec![(0, answer("qh", headers.clone()))],
        "qb" => vec![(0, answer("qb", then.clone()))],
        _ => ack(seen),
    })
}

fn closes(kind: &'static str) -> Processor {
    says(kind, StreamEvent::Closed(Ok(())))
}

fn fails(kind: &'static str) -> Processor {
    says(kind, internal())
}

fn silent(kind: &'static str) -> Processor {
    at(kind, |_| Vec::new())
}

fn spurious(kind: &'static str) -> Processor {
    says(kind, answer("qt", CommonResponse::default()))
}

rows! {
    env_151: mode(BOTH).sends(request("POST", &[("content-length", "0")]))
        => "D 200 hello | U  | > qh! sh sb!\"hello\" | 1/3/3/1";
    env_152: mode(BOTH).sends(chunked(0, &[])) => "D 200 hello | U  | > qh qb! sh sb!\"hello\" | 1/4/4/1";
    env_153: p(BOTH).to(qb(body("HELLO"))) => "D 200 hello | U HELLO | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_154: p(BOTH).to(qb(body("longer body"))) => "D 500 | U - | > qh qb!\"hello\" | 1/2/2/1 imm1";
    env_154_fma: p("rb BU sb BU FMA").to(qb(body("longer body"))) => "D 500 | U - | > qh qb!\"hello\" | 1/2/2/1 imm1";
    env_156: p(BOTH).to(qb(with_length("hello world", "11")))
        => "D 200 hello | U hello world | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_156_at_qh: p(BOTH).to(first_then(sets(&[("content-length", "11")]), body("hello world")))
        => "D 200 hello | U hello world | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_157: p(BOTH).to(first_then(removes(&["content-length"]), body("hello world")))
        => "D 200 hello | U hello world | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_158: mode(BOTH).sends(chunked(50, &["a", "b"])).to(qb(body("longer body")))
        => "D 200 hello | U longer body | > qh qb!\"ab\" sh sb!\"hello\" | 1/4/4/1";
    env_159: p(BOTH).to(qb(clear_body())) => "D 500 | U - | > qh qb!\"hello\" | 1/2/2/1 imm1";
    env_161: p(BOTH).to(qb(sets(&[("x-from-body", "1")])))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_162: p("rh K sh K rb BU sb BU")
        .to(Box::new(|seen| match seen.kind {
            "qb" => vec![(0, answer("qb", CommonResponse { body_mutation: body("longer body").body_mutation, ..sets(&[("x-m", "1")]) }))],
            _ => vec![(0, answer("sb", body("zz")))],
        }))
        => "D 200 zz | U longer body | > qb!\"hello\" sb!\"hello\" | 1/2/2/1";
    env_163: mode("sb BU").to(says("sb", answer("sb", body("longer body"))))
        => "D 500 | U  | > qh! sh sb!\"hello\" | 1/3/3/1 imm1";
    env_164: mode(BOTH).options(|o| o.buffer_limit = 10_000).sends(large(20_000, 4_000))
        => "D 413 Payload Too Large | U - | > qh sh sb!\"Payload Too Large\" | 1/3/3/1";
    env_166: mode(BOTH).options(|o| o.buffer_limit = 10_000).sends(chunked(50, &["a"]))
        .to(qb(new_body(vec![b'x'; 20_000].into())))
        => "D 413 Payload Too Large | U - | > qh qb!\"a\" sh sb!\"Payload Too Large\" | 1/4/4/1";
    env_167: mode("rb BU rt S sh K").sends(chunked_t(50, &["a", "b"]))
        => "D 200 hello | U ab +x-t: 1 | > qh qb\"ab\" qt | 1/3/3/1";
    env_168: mode("rb BU sh K").sends(chunked_t(50, &["a", "b"]))
        => "D 200 hello | U ab +x-t: 1 | > qh qb\"ab\" | 1/2/2/1";
    env_169: mode("rb BU rt S sh K").sends(chunked_t(50, &[])) => "D 200 hello | U +x-t: 1 | > qh qt | 1/2/2/1";

    env_171_qb: p(BOTH).to(fails("qb")) => "D 500 | U - | > qh qb!\"hello\" | 1/2/1/0 fail1 half1 imm1";
    env_171_sh: mode(BOTH).to(fails("sh")) => "D 500 | U  | > qh! sh | 1/2/1/0 fail1 half1 imm1";
    env_171_sb: mode(BOTH).to(fails("sb")) => "D 500 | U  | > qh! sh sb!\"hello\" | 1/3/2/0 fail1 half1 imm1";
    env_172_qb: p(BOTH).to(closes("qb")) => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/1/1 half1";
    env_172_sh: mode(BOTH).to(closes("sh")) => "D 200 hello | U  | > qh! sh | 1/2/1/1 half1";
    env_172_sb: mode(BOTH).to(closes("sb")) => "D 200 hello | U  | > qh! sh sb!\"hello\" | 1/3/2/1 half1";
    env_173_qb: p(BOTH).to(silent("qb")) => "D 504 | U - | > qh qb!\"hello\" | 1/2/1/1 tmo1 imm1";
    env_173_sh: mode(BOTH).to(silent("sh")) => "D 504 | U  | > qh! sh | 1/2/1/1 tmo1 imm1";
    env_173_sb: mode(BOTH).to(silent("sb")) => "D 504 | U  | > qh! sh sb!\"hello\" | 1/3/2/1 tmo1 imm1";
    env_174_qb: p(BOTH).to(spurious("qb")) => "D 500 | U - | > qh qb!\"hello\" | 1/2/1/1 spur1 imm1";
    env_174_sh: mode(BOTH).to(spurious("sh")) => "D 500 | U  | > qh! sh | 1/2/1/1 spur1 imm1";
    env_174_sb: mode(BOTH).to(spurious("sb")) => "D 500 | U  | > qh! sh sb!\"hello\" | 1/3/2/1 spur1 imm1";

    a_response_larger_than_the_buffer: mode("sb BU").options(|o| o.buffer_limit = 4)
        => "D 500 Internal Server Error | U  | > qh! sh | 1/2/1/1";
    a_new_response_body_may_be_larger_than_the_buffer: mode("sb BU").options(|o| o.buffer_limit = 10)
        .to(says("sb", answer("sb", with_length("twelve bytes", "12"))))
        => "D 200 twelve bytes | U  | > qh! sh sb!\"hello\" | 1/3/3/1";
    a_clear_body_that_is_false_keeps_the_body: p("rb BU").to(qb(CommonResponse {
            body_mutation: Some(BodyMutation {
                mutation: Some(extproc_proto::body_mutation::Mutation::ClearBody(false)),
            }),
            ..CommonResponse::default()
        })) => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
}

#[test]
fn lengths() {
    for (id, scenario, upstream, downstream) in [
        ("ENV-153", p(BOTH).to(qb(body("HELLO"))), "5", "5"),
        ("ENV-156", p(BOTH).to(qb(with_length("hello world", "11"))), "11", "5"),
        ("ENV-157", p(BOTH).to(first_then(removes(&["content-length"]), body("hello world"))), "", "5"),
        ("ENV-162", p("rh K sh K rb BU sb BU"), "", ""),
    ] {
        let outcome = scenario.run();
        let length = |received: &crate::exchange::Received| {
            received.headers.get_str("content-length").unwrap_or_default().to_owned()
        };
        assert_eq!(
            (length(&outcome.upstream).as_str(), length(&outcome.downstream).as_str()),
            (upstream, downstream),
            "{id}"
        );
    }
}

#[test]
fn env_161_and_162_a_body_response_changes_headers_only_while_they_are_held() {
    let held = p(BOTH).to(qb(sets(&[("x-from-body", "1")]))).run();
    assert_eq!(held.upstream.only(&["x-from-body"]), "x-from-body: 1");
    let gone = p("rh K sh K rb BU").to(qb(sets(&[("x-from-body", "1")]))).run();
    assert_eq!(gone.upstream.only(&["x-from-body"]), "");
}

#[test]
fn env_154_164_details() {
    assert_eq!(
        p(BOTH).to(qb(body("longer body"))).run().details,
        "mismatch_between_content_length_and_the_length_of_the_mutated_body"
    );
    let large = mode(BOTH).options(|o| o.buffer_limit = 100).sends(large(200, 200)).run();
    assert_eq!(large.details, "request_payload_too_large");
    let large = mode("sb BU").options(|o| o.buffer_limit = 4).run();
    assert_eq!(large.details, "response_payload_too_large");
}
