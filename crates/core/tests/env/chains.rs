//! Filters in a row (3.17, 3.15, ENV-164, ENV-344): who sees what, and who may still answer.

use extproc_core::chain::Effect;
use extproc_core::filter::StreamEvent;
use extproc_core::{Direction, LocalReply, Options};
use extproc_proto::CommonResponse;

use crate::answers::{ack, answer, at, body, immediate, new_body, option, says, sets};
use crate::exchange::{Outcome, Scenario, Seen, chunked, chunked_t, counters, internal, large, post, uc};
use crate::{Processor, mode, with};

/// One filter for each mode text, each with a processor.
pub(crate) fn chain(filters: impl IntoIterator<Item = (&'static str, Processor)>) -> Scenario {
    let (texts, processors): (Vec<_>, Vec<_>) = filters.into_iter().unzip();
    let options: Vec<Options> = texts.into_iter().map(|text| mode(text).options.remove(0)).collect();
    Scenario { options, processors, ..Scenario::default() }
}

/// Adds its name to the header `x-path` of everything.
pub(crate) fn marks(name: &'static str) -> Processor {
    Box::new(move |seen: &Seen| {
        let mut common = sets(&[]);
        if let Some(mutation) = &mut common.header_mutation {
            mutation.set_headers.push(option("x-path", name, Some(true)));
        }
        vec![(0, answer(seen.kind, common))]
    })
}

/// Puts its name behind every body.
pub(crate) fn signs(name: &'static str) -> Processor {
    Box::new(move |seen: &Seen| {
        let signed = [&seen.body[..], name.as_bytes()].concat();
        let common = if seen.kind.ends_with('b') { new_body(signed.into()) } else { CommonResponse::default() };
        vec![(0, answer(seen.kind, common))]
    })
}

fn acks() -> Processor {
    Box::new(ack)
}

pub(crate) fn report(outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!("D {} | U {}", outcome.d(), outcome.u())];
    for (messages, stats) in outcome.messages.iter().zip(&outcome.stats) {
        lines.push(format!("> {} | {}", messages.join(" "), counters(stats)));
    }
    lines
}

#[test]
fn requests_pass_in_order_and_responses_in_reverse() {
    let outcome = chain([("sh S", marks("a")), ("sh S", marks("b")), ("sh S", marks("c"))]).run();
    assert_eq!(outcome.upstream.only(&["x-path"]), "x-path: a, x-path: b, x-path: c");
    assert_eq!(outcome.downstream.only(&["x-path"]), "x-path: c, x-path: b, x-path: a");
    for line in &report(&outcome)[1..] {
        assert_eq!(line, "> qh! sh | 1/2/2/1");
    }
}

#[test]
fn bodies_of_all_modes_pass_from_filter_to_filter() {
    let filters = [("rb ST sb BU", signs("1")), ("rb BU sb ST", signs("2")), ("rb ST rt S st S sb ST", signs("3"))];
    let outcome = chain(filters).sends(chunked_t(50, &["a", "b"])).gets(uc()).run();
    assert_eq!(
        report(&outcome),
        [
            "D 200 r132r2321 +x-rt: 2 | U a1b123 +x-t: 1",
            "> qh qb\"a\" qb\"b\" sh sb\"r132r232\" | 1/5/5/1",
            "> qh qb\"a1b1\" sh sb\"r13\" sb\"r23\" | 1/5/5/1",
            "> qh qb\"a1b12\" qt sh sb\"r1\" sb\"r2\" st | 1/7/7/1",
        ]
    );
}

#[test]
fn env_344_an_earlier_filter_answers() {
    let deny = says("qh", immediate(418, "teapot", None));
    let outcome = chain([("sh S", marks("a")), ("sh S", deny), ("sb BU", marks("c"))]).run();
    assert_eq!(
        report(&outcome),
        ["D 418 teapot | U -", "> qh! sh | 1/2/2/1", "> qh! | 1/1/1/1 imm1", "> sh sb!\"teapot\" | 1/2/2/1"]
    );
    assert_eq!(outcome.downstream.only(&["x-path"]), "x-path: c, x-path: c, x-path: a");
    assert!(outcome.wire[2][0].protocol_config.is_some(), "the first message of a stream tells the modes");
    assert_eq!(outcome.effects.iter().filter(|effect| **effect == Effect::CancelUpstream).count(), 1);
}

#[test]
fn the_last_filter_answers_the_response_headers() {
    let deny = says("sh", immediate(403, "denied", None));
    let outcome = chain([("sh S", marks("a")), ("sh S", deny)]).run();
    // The response was inside the chain already: the reply goes to the client directly.
    assert_eq!(report(&outcome), ["D 403 denied | U ", "> qh! | 1/1/1/1", "> qh! sh | 1/2/2/1 imm1"]);
    assert_eq!(outcome.downstream.only(&["x-path"]), "");
}

#[test]
fn a_filter_answers_after_the_client_has_headers() {
    let deny = says("sb", immediate(403, "denied", None));
    let outcome = chain([("sh S", acks()), ("sb ST", deny)]).gets(uc()).run();
    assert_eq!(report(&outcome), ["D 200 cut | U ", "> qh! sh | 1/2/2/1", "> qh! sh sb\"r1\" | 1/3/3/1 imm1"]);
    assert_eq!(
        outcome.effects,
        [Effect::OpenStream(0), Effect::OpenStream(1), Effect::CancelUpstream, Effect::ResetDownstream]
    );
}

#[test]
fn a_reply_to_a_reply_goes_to_the_client_directly() {
    // The second filter denies the request; the first one does not like the denial.
    let filters = [
        ("sh S", says("sh", immediate(500, "no denials", None))),
        ("sh S", says("qh", immediate(403, "denied", None))),
    ];
    let outcome = chain(filters).run();
    assert_eq!(report(&outcome), ["D 500 no denials | U -", "> qh! sh | 1/2/2/1 imm1", "> qh! | 1/1/1/1 imm1"]);
}

#[test]
fn env_164_a_413_is_processed_by_all() {
    let outcome = chain([("sb BU", marks("a")), ("rb BU sb BU", marks("b"))])
        .options_of(1, |o| o.buffer_limit = 10_000)
        .sends(large(20_000, 4_000))
        .run();
    assert_eq!(
        report(&outcome),
        [
            "D 413 Payload Too Large | U -",
            "> qh sh sb!\"Payload Too Large\" | 1/3/3/1",
            "> qh sh sb!\"Payload Too Large\" | 1/3/3/1"
        ]
    );
    assert_eq!(outcome.downstream.only(&["x-path"]), "x-path: b, x-path: b, x-path: a, x-path: a");
}

#[test]
fn answers_to_a_request_that_another_filter_has_ended_are_expected() {
    // The second filter denies at the first chunk; the first one still waits for answers to two chunks.
    let slow = at("qb", |seen| vec![(if seen.nth == 0 { 0 } else { 150 }, answer("qb", CommonResponse::default()))]);
    let deny = at("qb", |_| vec![(60, immediate(403, "", None))]);
    let outcome = chain([("rb ST", slow), ("rb ST", deny)]).sends(chunked(50, &["aa", "bb", "cc"])).run();
    assert_eq!(
        report(&outcome),
        ["D 403 | U incomplete", "> qh qb\"aa\" qb\"bb\" sh! | 1/4/3/1", "> qh qb\"aa\" | 1/2/2/1 imm1"]
    );
}

#[test]
fn nobody_waits_for_a_request_that_another_filter_has_ended() {
    // The first filter never hears about its second chunk, and takes its time over the reply.
    let slow: Processor = Box::new(|seen| match (seen.kind, seen.nth) {
        ("qb", 1) => Vec::new(),
        ("sh", _) => vec![(190, answer("sh", CommonResponse::default()))],
        _ => ack(seen),
    });
    let deny = at("qb", |_| vec![(70, immediate(403, "", None))]);
    let outcome = chain([("rb ST", slow), ("rb ST", deny)]).sends(chunked(50, &["aa", "bb", "cc"])).run();
    assert_eq!(
        report(&outcome),
        ["D 403 | U incomplete", "> qh qb\"aa\" qb\"bb\" sh! | 1/4/3/1", "> qh qb\"aa\" | 1/2/2/1 imm1"]
    );
}

#[test]
fn a_direct_reply_ends_the_response_in_every_filter() {
    // The first filter holds the response headers when the second one denies at the body.
    let slow = at("sh", |_| vec![(100, answer("sh", CommonResponse::default()))]);
    let deny = at("sb", |_| vec![(20, immediate(403, "denied", None))]);
    let outcome = chain([("sh S", slow), ("sb ST", deny)]).gets(uc()).run();
    assert_eq!(report(&outcome), ["D 403 denied | U ", "> qh! sh | 1/2/1/1", "> qh! sh sb\"r1\" | 1/3/3/1 imm1"]);
    assert_eq!(outcome.closed_ms, [Some(70), Some(70)]);
}

#[test]
fn every_stream_is_closed_and_counted_when_the_client_leaves() {
    let silent = || -> Processor { Box::new(|_| Vec::new()) };
    let mut scenario = chain([("sh S", acks()), ("sh S", silent()), ("sh S", acks())]);
    scenario.client_leaves = Some(50);
    let outcome = scenario.run();
    assert_eq!(report(&outcome), ["D - | U -", "> qh! | 1/1/1/1", "> qh! | 1/1/0/1", ">  | 0/0/0/0"]);
    assert!(outcome.effects.contains(&Effect::ResetStream(0)) && outcome.effects.contains(&Effect::ResetStream(1)));
}

#[test]
fn an_early_answer_of_the_upstream_waits_for_no_request() {
    let outcome = chain([("rb ST", acks()), ("rb ST sb ST", acks())])
        .upstream_is_early()
        .sends(chunked(50, &["aa", "bb"]))
        .gets(uc())
        .run();
    assert_eq!(outcome.d(), "200 r1r2 +x-rt: 2");
    assert_eq!(outcome.u(), "aabb");
    assert_eq!(outcome.messages[1].join(" "), "qh sh sb\"r1\" qb\"aa\" sb\"r2\" qb\"bb\" qb!");
}

#[test]
fn failures_of_two_filters_meet_their_own_policies() {
    let outcome = chain([("FMA", says("qh", internal())), ("sh S", says("sh", StreamEvent::Closed(Ok(()))))]).run();
    assert_eq!(report(&outcome), ["D 200 hello | U ", "> qh! | 1/1/0/1 fail1 half2 fma1", "> qh! sh | 1/2/1/1 half1"]);
}

#[test]
fn env_341_346_the_data_planes_own_answers_are_processed() {
    let reply = LocalReply::new(extproc_core::RequestKind::default(), 503, "gone".into(), "upstream_reset");
    let scenario = Scenario { answer: Some(reply), ..mode("sb BU").sends(post("hello")) }
        .to(says("sb", answer("sb", body("GONE"))));
    let outcome = scenario.run();
    assert_eq!(report(&outcome), ["D 503 GONE | U hello", "> qh sh sb!\"gone\" | 1/3/3/1"]);
    assert_eq!(outcome.details, "upstream_reset");
}

#[test]
fn no_chain_holds_more_than_the_sum_of_its_limits() {
    let silent = || at("qb", |_| Vec::new());
    let mut scenario = chain([("rb ST", acks()), ("rb ST", silent())]).sends(large(1_000_000, 1_000));
    for options in &mut scenario.options {
        options.buffer_limit = 10_000;
    }
    let outcome = scenario.run();
    assert_eq!(outcome.d(), "504");
    let sent = |filter: usize| outcome.messages[filter].iter().filter(|kind| kind.starts_with("qb")).count();
    assert!(sent(0) <= 22 && sent(1) <= 22, "{} and {} chunks of 1000 bytes", sent(0), sent(1));
}

#[test]
fn an_empty_chain_of_configurations_is_a_chain() {
    let outcome = Scenario { options: Vec::new(), processors: Vec::new(), ..with(|_| ()) }.run();
    assert_eq!(report(&outcome), ["D 200 hello | U "]);
}

#[test]
fn nothing_follows_a_direct_reply() {
    let configs = [mode("sh S"), mode("sh S")].map(|mut scenario| scenario.options.remove(0));
    let configs = configs.map(|options| std::sync::Arc::new(extproc_core::Config::new(options).unwrap()));
    let mut chain = extproc_core::FilterChain::new(configs);
    #[allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
    let now = std::time::Instant::now();
    for (_, event) in crate::exchange::get() {
        chain.handle_http(now, Direction::Request, event).unwrap();
    }
    let ack = |kind| answer(kind, CommonResponse::default());
    chain.handle_stream(now, 0, ack("qh"));
    chain.handle_stream(now, 1, ack("qh"));
    for (_, event) in crate::exchange::u5() {
        chain.handle_http(now, Direction::Response, event).unwrap();
    }
    chain.handle_stream(now, 1, ack("sh"));
    chain.respond(now, LocalReply::new(extproc_core::RequestKind::default(), 503, "gone".into(), "timeout"));
    // The first filter held the upstream's response; its answer comes too late.
    chain.handle_stream(now, 0, ack("sh"));
    let parts = std::iter::from_fn(|| chain.poll_forward(Direction::Response)).count();
    assert_eq!(parts, 2, "headers and body of the reply");
    assert!(chain.is_done(Direction::Response));
    assert!(!chain.waits(), "{:?}", chain.poll_timeout());
}
