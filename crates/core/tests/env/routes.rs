//! 10.15 Route cache, and 10.14 local replies of the data plane.

use extproc_core::chain::Effect;
use extproc_core::config::RouteCacheAction;
use extproc_core::filter::HttpEvent;
use extproc_proto::CommonResponse;

use crate::answers::{answer, body, says, sets};
use crate::exchange::{Scenario, chunked, post};
use crate::{mode, with};

fn clearing(common: CommonResponse) -> CommonResponse {
    CommonResponse { clear_route_cache: true, ..common }
}

#[test]
fn when_the_route_is_chosen_again() {
    let route = || sets(&[("x-route", "b")]);
    let action = |action| with(move |o| o.route_cache_action = action);
    for (id, scenario, kind, reply, recomputed, counters) in [
        ("ENV-361", Scenario::default(), "qh", route(), false, "1/2/2/1"),
        ("by default", Scenario::default(), "qh", clearing(route()), true, "1/2/2/1"),
        ("ENV-362", Scenario::default(), "qh", clearing(CommonResponse::default()), false, "1/2/2/1 rci1"),
        ("ENV-363", action(RouteCacheAction::Retain), "qh", clearing(route()), false, "1/2/2/1 rcd1"),
        ("ENV-363 no bit", action(RouteCacheAction::Retain), "qh", route(), false, "1/2/2/1"),
        ("ENV-364", action(RouteCacheAction::Clear), "qh", route(), true, "1/2/2/1"),
        ("CLEAR, nothing changed", action(RouteCacheAction::Clear), "qh", CommonResponse::default(), false, "1/2/2/1"),
        ("ENV-366", mode("rb BU").sends(post("hello")), "qb", clearing(route()), true, "1/3/3/1"),
        ("a chunk", mode("rb ST").sends(chunked(50, &["a"])), "qb", clearing(route()), false, "1/4/4/1"),
        ("ENV-367", Scenario::default(), "sh", clearing(route()), false, "1/2/2/1"),
        ("ENV-367 no mutation", Scenario::default(), "sh", clearing(CommonResponse::default()), false, "1/2/2/1"),
        ("ENV-368", Scenario::default(), "qh", clearing(sets(&[("host", "q")])), true, "1/2/2/1 rej1"),
        ("a body alone", mode("rb BU").sends(post("hello")), "qb", clearing(body("HELLO")), false, "1/3/3/1 rci1"),
    ] {
        let outcome = scenario.to(says(kind, answer(kind, reply))).run();
        let chosen = outcome.effects.iter().filter(|effect| **effect == Effect::RecomputeRoute).count();
        assert_eq!(chosen, usize::from(recomputed), "{id}");
        assert_eq!(outcome.counters(), counters, "{id}");
    }
}

#[test]
fn env_347_responses_without_a_body_keep_their_length() {
    for body_mode in ["sb BU", "sb ST"] {
        let only_headers = crate::exchange::headers(&[(":status", "304"), ("content-length", "5")]);
        let outcome = mode(body_mode)
            .sends(crate::exchange::request("HEAD", &[]))
            .gets(vec![(0, HttpEvent::Headers(only_headers, true))])
            .run();
        assert_eq!(crate::line(&outcome), "D 304 | U  | > qh! sh! | 1/2/2/1", "{body_mode}");
        assert_eq!(outcome.downstream.only(&["content-length"]), "content-length: 5", "{body_mode}");
    }
}
