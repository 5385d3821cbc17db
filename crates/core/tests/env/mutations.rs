//! 10.4 Header mutations that are more than one map's matter; `mutation.rs` has the others.

use extproc_proto::{CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption};

use crate::answers::{answer, at, option, removes, says, sets};
use crate::exchange::{Outcome, Scenario, chunked_t, post, request, uc};
use crate::{mode, rows, with};

fn at_qh(common: CommonResponse) -> super::Processor {
    says("qh", answer("qh", common))
}

fn strict() -> Scenario {
    with(|o| o.mutation_rules.disallow_is_error = true)
}

rows! {
    env_112: strict().to(at_qh(sets(&[("ok", "1"), ("host", "q")]))) => "D 500 | U - | > qh! | 1/1/1/1 rej1 imm1";
    env_113: mode("FMA").options(|o| o.mutation_rules.disallow_is_error = true)
        .to(at_qh(sets(&[("ok", "1"), ("host", "q")])))
        => "D 500 | U - | > qh! | 1/1/1/1 rej1 imm1";
    env_114: strict().options(|o| o.status_on_error = 502).to(at_qh(sets(&[("ok", "1"), ("host", "q")])))
        => "D 502 | U - | > qh! | 1/1/1/1 rej1 imm1";
    env_128: with(|_| ()).to(says("sh", answer("sh", sets(&[(":status", "418")]))))
        => "D 418 hello | U  | > qh! sh | 1/2/2/1";
    env_129_99: with(|_| ()).to(says("sh", answer("sh", sets(&[(":status", "99")]))))
        => "D 200 hello | U  | > qh! sh | 1/2/2/1 rej1";
    env_129_abc: with(|_| ()).to(says("sh", answer("sh", sets(&[(":status", "abc")]))))
        => "D 200 hello | U  | > qh! sh | 1/2/2/1 rej1";
    env_129_remove: with(|_| ()).to(says("sh", answer("sh", removes(&[":status"]))))
        => "D 200 hello | U  | > qh! sh | 1/2/2/1 rej1";
    env_131: strict().to(says("sh", answer("sh", sets(&[("x-envoy-q", "1")]))))
        => "D 500 | U  | > qh! sh | 1/2/2/1 rej1 imm1";
    // Envoy forwards the length of 3 and cuts the body to it; here the false length is dropped.
    env_132_other_than_envoy: with(|_| ()).to(says("sh", answer("sh", sets(&[("content-length", "3")]))))
        => "D 200 hello | U  | > qh! sh | 1/2/2/1";
    // Envoy emits `:foo` literally.
    env_134_other_than_envoy: mode("rt S sh K").sends(chunked_t(50, &["a"]))
        .to(says("qt", answer("qt", CommonResponse {
            header_mutation: Some(HeaderMutation {
                remove_headers: vec!["x-t".to_owned()],
                ..crate::answers::mutation(&[("x-envoy-z", "1"), (":foo", "1"), ("x-ok", "1")], &[])
            }),
            ..CommonResponse::default()
        })))
        => "D 200 hello | U a +x-ok: 1 | > qh qt | 1/2/2/1 rej1";
    env_136: mode("st S").gets(uc()).to(says("st", answer("st", sets(&[("x y", "1")]))))
        => "D 200 r1r2 cut | U  | > qh! sh st | 1/3/3/1 rej1 imm1";
    env_137_request: mode("rb BU").sends(post("hello")).to(says("qb", answer("qb", sets(&[("x y", "1")]))))
        => "D 500 | U - | > qh qb!\"hello\" | 1/2/2/1 rej1 imm1";
    env_137_response: mode("sb BU").to(says("sb", answer("sb", sets(&[("x y", "1")]))))
        => "D 500 | U  | > qh! sh sb!\"hello\" | 1/3/3/1 rej1 imm1";
    env_137_streamed_but_complete: mode("sb ST").to(late_headers_then_bad_name())
        => "D 500 | U  | > qh! sh sb!\"hello\" | 1/3/3/1 rej1 imm1";
    env_138: with(|o| o.status_on_error = 502).to(at_qh(sets(&[("x y", "1")])))
        => "D 502 | U - | > qh! | 1/1/1/1 rej1 imm1";
    env_139: mode("rt S sh K").sends(chunked_t(50, &["a"])).to(says("qt", answer("qt", removes(&["x-t"]))))
        => "D 200 hello | U a | > qh qt | 1/2/2/1";
}

/// The body is complete when the headers are answered.
fn late_headers_then_bad_name() -> super::Processor {
    Box::new(|seen| match seen.kind {
        "sh" => vec![(50, answer("sh", CommonResponse::default()))],
        "sb" => vec![(0, answer("sb", sets(&[("x y", "1")])))],
        kind => vec![(0, answer(kind, CommonResponse::default()))],
    })
}

fn upstream(outcome: &Outcome, names: &[&str]) -> String {
    outcome.upstream.only(names)
}

#[test]
fn env_092_values_travel_in_raw_value() {
    let only_value = |name: &'static str| HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: "old".into(), ..HeaderValue::default() }),
        ..HeaderValueOption::default()
    };
    let mut both = option("x-both", "raw", None);
    both.header.as_mut().unwrap().value = "old".into();
    let set_headers = vec![only_value("x-v"), only_value("x-a"), both];
    let header_mutation = Some(HeaderMutation { set_headers, ..HeaderMutation::default() });
    let outcome = Scenario { request: request("GET", &[("x-a", "1")]), ..Scenario::default() }
        .to(at_qh(CommonResponse { header_mutation, ..CommonResponse::default() }))
        .run();
    assert_eq!(upstream(&outcome, &["x-v", "x-a", "x-both"]), "x-a: , x-v: , x-both: raw");
}

#[test]
fn env_094_append_action_is_ignored() {
    let set_headers = [("x-a", 0), ("x-b", 1), ("x-c", 1), ("x-d", 2), ("x-e", 3)];
    let set_headers =
        set_headers.map(|(name, append_action)| HeaderValueOption { append_action, ..option(name, "2", None) });
    let header_mutation = Some(HeaderMutation { set_headers: set_headers.to_vec(), ..HeaderMutation::default() });
    let outcome = Scenario { request: request("GET", &[("x-a", "1"), ("x-b", "1")]), ..Scenario::default() }
        .to(at_qh(CommonResponse { header_mutation, ..CommonResponse::default() }))
        .run();
    assert_eq!(upstream(&outcome, &["x-a", "x-b", "x-c", "x-d", "x-e"]), "x-a: 2, x-b: 2, x-c: 2, x-d: 2, x-e: 2");
}

#[test]
fn env_098_all_routing_headers() {
    let set = [(":path", "/new?x=1"), (":method", "PUT"), (":scheme", "https"), (":authority", "other")];
    let outcome = with(|o| o.mutation_rules.allow_all_routing = true).to(at_qh(sets(&set))).run();
    assert_eq!(
        upstream(&outcome, &[":path", ":method", ":scheme", ":authority"]),
        ":authority: other, :path: /new?x=1, :method: PUT, :scheme: https"
    );
}

#[test]
fn env_121_other_than_envoy_a_path_that_breaks_the_request_line_is_refused() {
    let outcome = with(|_| ()).to(at_qh(sets(&[(":path", "/a b")]))).run();
    assert_eq!(upstream(&outcome, &[":path"]), ":path: /x");
    assert_eq!(outcome.counters(), "1/2/2/1 rej1");
}

#[test]
fn env_112_details() {
    let outcome = strict().to(at_qh(sets(&[("host", "q")]))).run();
    assert_eq!(outcome.details, "header_mutation_set_headers_failed");
}

/// A length that the processor makes up never frames a body that stays as it is.
#[test]
fn false_lengths_are_dropped() {
    let set = || sets(&[("content-length", "7")]);
    for (id, scenario, at_upstream) in [
        ("no body", with(|_| ()), ""),
        ("mode NONE", with(|_| ()).sends(post("hello")), ""),
        ("replacing, body kept", mode("rb BU").sends(post("hello")), ""),
    ] {
        let common = if id.starts_with("replacing") { crate::answers::replacing(set()) } else { set() };
        let outcome = scenario.to(at_qh(common)).run();
        assert_eq!(upstream(&outcome, &["content-length"]), at_upstream, "{id}");
        assert!(outcome.upstream.complete, "{id}");
    }
    let same = with(|_| ()).sends(post("hello")).to(at_qh(sets(&[("content-length", "5")]))).run();
    assert_eq!(upstream(&same, &["content-length"]), "content-length: 5", "the true length stays");
    let held = mode("rb BU").sends(post("hello")).to(at_qh(set())).run();
    assert_eq!(crate::line(&held), "D 500 | U - | > qh qb!\"hello\" | 1/2/2/1 imm1");
}

/// The processor may set a length under `allow_content_length_header`; a body that does not fit is cut.
#[test]
fn a_streamed_body_must_fit_the_length_that_was_set() {
    let short = mode("sb ST")
        .options(|o| o.allow_content_length_header = true)
        .gets(uc())
        .to(says("sh", answer("sh", sets(&[("content-length", "10")]))))
        .run();
    assert_eq!(short.d(), "200 r1r2 cut", "trailers end the body as well");
    let long = |chunk: &'static str| at("sb", move |_| vec![(0, answer("sb", crate::answers::body(chunk)))]);
    for (chunk, expected) in [("hello", "200 hellohello"), ("hell", "200 hellhell cut"), ("hello!", "200 hello! cut")] {
        let mut processor = long(chunk);
        let outcome = mode("sb ST")
            .options(|o| o.allow_content_length_header = true)
            .gets(two_chunks())
            .to(Box::new(move |seen| match seen.kind {
                "sh" => vec![(0, answer("sh", sets(&[("content-length", "10")])))],
                "sb" if seen.end => vec![(0, answer("sb", CommonResponse::default()))],
                _ => processor(seen),
            }))
            .run();
        assert_eq!(outcome.d(), expected, "{chunk}");
    }
}

fn two_chunks() -> Vec<(u64, extproc_core::filter::HttpEvent)> {
    let mut parts = uc();
    let last = parts.len() - 1;
    parts[last].1 = extproc_core::filter::HttpEvent::Data(bytes::Bytes::new(), true);
    parts
}
