//! 10.3 Immediate responses.

use extproc_core::filter::StreamEvent;
use extproc_proto::processing_response::Response;
use extproc_proto::{HeaderMutation, ImmediateResponse};

use crate::answers::{ack, at, immediate, mutation, option, response, says};
use crate::exchange::{chunked_t, get, post, request, uc};
use crate::{Processor, mode, rows, with};

const EVERYTHING: &str = "rb ST rt S sb ST st S";

fn denies(kind: &'static str) -> Processor {
    says(kind, immediate(403, "denied", None))
}

fn late() -> Processor {
    at("qh", |seen| ack(seen).into_iter().chain([(100, immediate(403, "", None))]).collect())
}

rows! {
    env_060: with(|_| ()).to(denies("qh")) => "D 403 denied | U - | > qh! | 1/1/1/1 imm1";
    env_061: with(|_| ()).to(says("qh", without_status()))
        => "D 200 x | U - | > qh! | 1/1/1/1 imm1";
    env_062: with(|_| ()).to(says("qh", immediate(100, "", None))) => "D 200 | U - | > qh! | 1/1/1/1 imm1";
    env_063: with(|_| ()).to(says("qh", immediate(599, "", None))) => "D 599 | U - | > qh! | 1/1/1/1 imm1";
    env_071: with(|_| ()).sends(request("HEAD", &[])).to(denies("qh")) => "D 403 | U - | > qh! | 1/1/1/1 imm1";
    env_072: with(|o| o.disable_immediate_response = true).to(denies("qh"))
        => "D 500 | U - | > qh! | 1/1/0/1 spur1 imm1";
    env_073: mode("FMA").options(|o| o.disable_immediate_response = true).to(denies("qh"))
        => "D 200 hello | U  | > qh! | 1/1/0/1 spur1 fma1";
    env_074: mode("rb BU sb BU").sends(post("hello")).to(denies("qb"))
        => "D 403 denied | U - | > qh qb!\"hello\" | 1/2/2/1 imm1";
    env_076: mode(EVERYTHING).sends(chunked_t(50, &["aa", "bb"])).to(denies("qt"))
        => "D 403 denied | U aabb incomplete | > qh qb\"aa\" qb\"bb\" qt | 1/4/4/1 imm1";
    env_077: with(|_| ()).to(says("sh", immediate(403, "", Some(mutation(&[("x-a", "1")], &[])))))
        => "D 403 | U  | > qh! sh | 1/2/2/1 imm1";
    env_078: mode("sb BU").to(denies("sb")) => "D 403 denied | U  | > qh! sh sb!\"hello\" | 1/3/3/1 imm1";
    env_079: mode(EVERYTHING).sends(get()).gets(uc()).to(denies("sb"))
        => "D 200 cut | U  | > qh! sh sb\"r1\" | 1/3/3/1 imm1";
    env_081: with(|_| ()).upstream_takes(300).to(late()) => "D 403 | U  | > qh! | 1/1/2/1 imm1";
}

fn without_status() -> StreamEvent {
    response(Response::ImmediateResponse(ImmediateResponse { body: "x".into(), ..ImmediateResponse::default() }))
}

const SHOWN: [&str; 9] =
    ["content-length", "content-type", "x-foo", "host", "x-envoy-z", "x-ok", "x-after", "grpc-status", "grpc-message"];

#[test]
fn headers_of_the_reply() {
    let odd = HeaderMutation {
        set_headers: vec![
            option("content-type", "application/json", None),
            option("x-foo", "1", None),
            option(":status", "418", None),
            option("host", "other", None),
            option("x-envoy-z", "1", None),
            option("x-foo", "2", Some(true)),
        ],
        ..HeaderMutation::default()
    };
    let failing = mutation(&[("x-ok", "1"), ("bad header", "1"), ("x-after", "1")], &[]);
    let all = |o: &mut extproc_core::Options| {
        o.mutation_rules.allow_envoy = true;
        o.mutation_rules.allow_all_routing = true;
    };
    let none = |o: &mut extproc_core::Options| {
        o.mutation_rules.disallow_all = true;
        o.mutation_rules.disallow_is_error = true;
    };
    let ok = || Some(mutation(&[("x-ok", "1")], &[]));
    let routing = Some(mutation(&[("x-envoy-z", "1"), ("host", "h")], &[]));
    for (id, scenario, reply, headers, counters) in [
        (
            "ENV-064",
            with(|_| ()),
            immediate(403, "{}", Some(odd)),
            "content-length: 2, content-type: application/json, x-foo: 1, x-foo: 2",
            "1/1/1/1 rej2 imm1",
        ),
        ("ENV-066", with(|_| ()), immediate(403, "", Some(failing)), "x-ok: 1", "1/1/1/1 rej1 imm1"),
        ("ENV-067", with(none), immediate(403, "", ok()), "", "1/1/1/1 rej1 imm1"),
        (
            "ENV-068",
            with(|_| ()),
            immediate(200, "abc", Some(mutation(&[("content-length", "99")], &[]))),
            "content-length: 3, content-type: text/plain",
            "1/1/1/1 imm1",
        ),
        ("ENV-069", with(all), immediate(403, "", routing), "x-envoy-z: 1, host: h", "1/1/1/1 imm1"),
        (
            "gRPC",
            with(|_| ()).sends(request("POST", &[("content-type", "application/grpc")])),
            immediate(403, "no", None),
            "content-type: application/grpc, grpc-status: 7, grpc-message: no",
            "1/1/1/1 imm1",
        ),
        (
            "ENV-071 HEAD",
            with(|_| ()).sends(request("HEAD", &[])),
            immediate(403, "denied", None),
            "content-length: 6, content-type: text/plain",
            "1/1/1/1 imm1",
        ),
    ] {
        let outcome = scenario.to(says("qh", reply)).run();
        assert_eq!(outcome.downstream.only(&SHOWN), headers, "{id}");
        assert_eq!(outcome.counters(), counters, "{id}");
        assert!(outcome.downstream.complete, "{id}");
    }
}

#[test]
fn details_are_the_processors() {
    let details = |text: &str| {
        let reply = ImmediateResponse { details: text.to_owned(), ..ImmediateResponse::default() };
        with(|_| ()).to(says("qh", response(Response::ImmediateResponse(reply)))).run().details
    };
    assert_eq!(details("quota is gone"), "quota_is_gone");
    assert_eq!(details(""), "");
}

#[test]
fn env_072_details() {
    let outcome = with(|o| o.disable_immediate_response = true).to(denies("qh")).run();
    assert_eq!(outcome.details, "unhandled_immediate_response_due_to_config_disabled_it");
}
