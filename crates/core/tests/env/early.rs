//! 10.7 send_body_without_waiting_for_header_response.

use extproc_core::filter::StreamEvent;
use extproc_proto::CommonResponse;

use crate::answers::{ack, answer, at, body, replacing, says, sets};
use crate::exchange::{Scenario, Seen, chunked, chunked_t, get, internal, large, post};
use crate::{Processor, mode, rows};

/// Nothing until the end of the request body; then the headers with x-late, and so many bodies.
fn at_the_end(headers: CommonResponse, bodies: usize) -> Processor {
    Box::new(move |seen| {
        if seen.kind.starts_with('s') || seen.kind == "qt" {
            return ack(seen);
        }
        if !seen.end {
            return Vec::new();
        }
        let mut events = vec![(0, answer("qh", headers.clone()))];
        events.extend((0..bodies).map(|_| (0, answer("qb", CommonResponse::default()))));
        events
    })
}

/// Three bodies, but headers never.
fn bodies_only(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    if seen.kind == "qh" { Vec::new() } else { ack(seen) }
}

fn slow_headers(ms: u64) -> Processor {
    let mut seen_bodies = Vec::new();
    Box::new(move |seen| match seen.kind {
        "qh" => vec![(ms, answer("qh", CommonResponse::default()))],
        "qb" => {
            seen_bodies.push(());
            vec![(ms, answer("qb", CommonResponse::default()))]
        }
        _ => ack(seen),
    })
}

fn sbw() -> Scenario {
    mode("rb ST sh K SBW")
}

rows! {
    env_212: sbw().sends(chunked(50, &["aa", "bb"])).to(at_the_end(sets(&[("x-late", "1")]), 3))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" qb! | 1/4/4/1";
    env_213: sbw().sends(chunked(50, &["aa", "bb"])).to(Box::new(bodies_only))
        => "D 500 | U - | > qh qb\"aa\" | 1/2/0/1 spur1 imm1";
    env_214: mode("rb ST sb BU SBW").sends(post("hello"))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    early_trailers: mode("rb ST rt S sh K SBW").sends(chunked_t(10, &["aa"])).to(slow_headers(100))
        => "D 200 hello | U aa +x-t: 1 | > qh qb\"aa\" qt | 1/3/3/1";
    early_header_only: sbw().sends(get()) => "D 200 hello | U  | > qh! | 1/1/1/1";
    early_silence: sbw().sends(chunked(50, &["aa"])).to(at("qh", |_| Vec::new()))
        => "D 500 | U - | > qh qb\"aa\" | 1/2/0/1 spur1 imm1";
    early_silence_of_all: sbw().sends(chunked(50, &["aa"])).to(Box::new(|_| Vec::new()))
        => "D 504 | U - | > qh qb\"aa\" qb! | 1/3/0/1 tmo1 imm1";
    early_silence_after_headers: sbw().sends(chunked(50, &["aa"])).to(at_the_end(CommonResponse::default(), 1))
        => "D 504 | U aa incomplete | > qh qb\"aa\" qb! | 1/3/2/1 tmo1 imm1";
    early_fails: sbw().sends(chunked(50, &["aa", "bb"])).to(fails_at_second())
        => "D 500 | U - | > qh qb\"aa\" qb\"bb\" | 1/3/0/0 fail1 half1 imm1";
    early_fails_open: mode("rb ST sh K SBW FMA").sends(chunked(50, &["aa", "bb"])).to(fails_at_second())
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" | 1/3/0/1 fail1 half2 fma1";
    early_replaced: sbw().sends(chunked(50, &["aa", "bb"])).to(at_the_end(replacing(body("new")), 0))
        => "D 200 hello | U new | > qh qb\"aa\" qb\"bb\" qb! | 1/4/1/1";
    early_replaced_without_a_body: sbw().sends(chunked(50, &["aa", "bb"])).to(at_the_end(replacing(CommonResponse::default()), 0))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" qb! | 1/4/1/1";
    early_in_other_modes: mode("rb BU sh K SBW").sends(post("hello")).to(says("qh", answer("qh", CommonResponse::default())))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
}

fn fails_at_second() -> Processor {
    Box::new(|seen| if (seen.kind, seen.nth) == ("qb", 1) { vec![(0, internal())] } else { Vec::new() })
}

#[test]
fn headers_change_late_and_the_mode_is_told() {
    let outcome = sbw().sends(chunked(50, &["aa"])).to(at_the_end(sets(&[("x-late", "1")]), 2)).run();
    assert_eq!(outcome.upstream.only(&["x-late"]), "x-late: 1", "ENV-212");
    for (text, early) in [("rb ST sb BU SBW", true), ("rb ST sb BU", false)] {
        let outcome = mode(text).sends(post("hello")).run();
        let config = outcome.wire[0][0].protocol_config.unwrap();
        assert_eq!(config.send_body_without_waiting_for_header_response, early, "ENV-214");
    }
}

#[test]
fn no_more_than_the_limit_goes_ahead() {
    let scenario = sbw().options(|options| options.buffer_limit = 1_000).sends(large(5_000, 600)).to(slow_headers(100));
    let outcome = scenario.run();
    assert_eq!((outcome.upstream.body.len(), outcome.upstream.complete), (5_000, true));
}
