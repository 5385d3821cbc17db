//! 10.6 CONTINUE_AND_REPLACE.

use extproc_proto::CommonResponse;

use crate::answers::{ack, answer, body, clear_body, replacing, says, sets};
use crate::exchange::{Scenario, chunked, chunked_t, headers, post, uc};
use crate::{Processor, mode, rows};

fn original(text: &str) -> Scenario {
    mode(text).sends(post("original"))
}

fn qh(common: CommonResponse) -> Processor {
    says("qh", answer("qh", replacing(common)))
}

fn both(kind: &'static str, common: CommonResponse, then: &'static str, next: CommonResponse) -> Processor {
    Box::new(move |seen| match seen.kind {
        seen if seen == kind => vec![(0, answer(kind, replacing(common.clone())))],
        seen if seen == then => vec![(0, answer(then, next.clone()))],
        _ => ack(seen),
    })
}

fn empty_response() -> Vec<(u64, extproc_core::filter::HttpEvent)> {
    vec![(0, extproc_core::filter::HttpEvent::Headers(headers(&[(":status", "200"), ("content-length", "0")]), true))]
}

rows! {
    env_181: original("sh S").to(qh(body("newbody"))) => "D 200 hello | U newbody | > qh sh | 1/2/2/1";
    env_181_buffered: original("rb BU sb BU").to(qh(body("newbody")))
        => "D 200 hello | U newbody | > qh sh sb!\"hello\" | 1/3/3/1";
    env_182: original("rb BU sb BU").to(qh(CommonResponse::default()))
        => "D 200 hello | U original | > qh sh sb!\"hello\" | 1/3/3/1";
    env_183: original("rb BU sb BU").to(qh(clear_body())) => "D 200 hello | U  | > qh sh sb!\"hello\" | 1/3/3/1";
    env_184: mode("rb ST rt S").sends(chunked_t(50, &["a", "b"])).to(qh(body("newbody")))
        => "D 200 hello | U newbody +x-t: 1 | > qh sh | 1/2/2/1";
    trailers_of_a_kept_body_are_not_processed: mode("rb ST rt S").sends(chunked_t(50, &["a", "b"]))
        .to(qh(CommonResponse::default()))
        => "D 200 hello | U ab +x-t: 1 | > qh sh | 1/2/2/1";
    env_186: mode("sh S").gets(empty_response()).to(says("sh", answer("sh", replacing(body("NEW RESP")))))
        => "D 200 NEW RESP | U  | > qh! sh! | 1/2/2/1";
    env_187: mode("rb BU sb BU").sends(post("hello")).to(says("qb", answer("qb", replacing(body("HELLO")))))
        => "D 200 hello | U HELLO | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_188: mode("sh S").sends(post("hello")).to(says("qh", answer("qh", body("ignored"))))
        => "D 200 hello | U hello | > qh sh | 1/2/2/1";
    env_189: mode("sb ST st S").gets(uc()).to(says("sh", answer("sh", replacing(body("NEW")))))
        => "D 200 NEW +x-rt: 2 | U  | > qh! sh | 1/2/2/1";
    env_191: mode("sb BU").sends(post("hello")).to(both("qh", body("NEW"), "sb", body("HELLO")))
        => "D 200 HELLO | U NEW | > qh sh sb!\"hello\" | 1/3/3/1";
    env_192: mode("rb ST sh K").sends(chunked(50, &["aa", "bb"])).to(says("qb", answer("qb", replacing(body("Z")))))
        => "D 200 hello | U ZZZ | > qh qb\"aa\" qb\"bb\" qb! | 1/4/4/1";
}

#[test]
fn lengths_and_methods() {
    let length = |scenario: Scenario| {
        let outcome = scenario.run();
        outcome.upstream.only(&["content-length", ":method"])
    };
    assert_eq!(length(original("rb BU").to(qh(body("newbody")))), ":method: POST", "ENV-181");
    assert_eq!(
        length(original("rb BU").to(qh(CommonResponse::default()))),
        ":method: POST, content-length: 8",
        "ENV-182"
    );
    let put = CommonResponse { body_mutation: body("x").body_mutation, ..sets(&[(":method", "PUT")]) };
    assert_eq!(length(mode("sh S").to(qh(put))), ":method: PUT", "a GET may become a PUT without allow_all_routing");
}
