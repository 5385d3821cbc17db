//! 10.2 Timeouts.

use std::time::Duration;

use extproc_core::Options;
use extproc_core::filter::StreamEvent;

use crate::answers::{ack, answer, at, more_time};
use crate::exchange::{Scenario, chunked, post};
use crate::{Processor, mode, rows, with};

fn silent() -> Processor {
    Box::new(|_| Vec::new())
}

/// Acknowledges everything so late.
fn slow(ms: u64) -> Processor {
    Box::new(move |seen| ack(seen).into_iter().map(|(_, event)| (ms, event)).collect())
}

fn silent_on(kind: &'static str) -> Processor {
    at(kind, |_| Vec::new())
}

/// At the request headers: asks for more time after some milliseconds each, then acknowledges.
fn asks(requests: &'static [(u64, i32)], acks_after: u64) -> Processor {
    at("qh", move |seen| {
        let requests = requests.iter().map(|(at, more)| (*at, more_time(*more)));
        let acks = ack(seen).into_iter().map(|(_, event)| (acks_after, event));
        requests.chain(acks).collect::<Vec<(u64, StreamEvent)>>()
    })
}

fn second(options: &mut Options) {
    options.max_message_timeout = Duration::from_secs(1);
}

/// C[aa,bb] without terminator.
fn unfinished(count: usize, ms: u64) -> Scenario {
    let mut parts = chunked(ms, &["aa"; 8][..count]);
    parts.pop();
    mode("rb ST sh K").sends(parts)
}

rows! {
    env_040: with(|_| ()).to(silent()) => "D 504 | U - | > qh! | 1/1/0/1 tmo1 imm1";
    env_041: mode("FMA").to(silent()) => "D 200 hello | U  | > qh! | 1/1/0/1 tmo1 fma1";
    env_042: with(|o| o.status_on_error = 429).to(silent()) => "D 504 | U - | > qh! | 1/1/0/1 tmo1 imm1";
    env_043: with(|o| o.message_timeout = Duration::ZERO) => "D 504 | U - | > qh! | 1/1/0/1 tmo1 imm1";
    env_044: mode("rb BU sb BU").sends(post("hello")).to(slow(150))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_046: with(second).to(asks(&[(0, 400)], 300)) => "D 200 hello | U  | > qh! sh | 1/2/2/1 ov+1";
    env_047: with(second).to(asks(&[(0, 300), (10, 900)], 500)) => "D 504 | U - | > qh! | 1/1/0/1 tmo1 imm1 ov+1 ov-1";
    env_048: with(second).to(asks(&[(0, 1500)], 300)) => "D 504 | U - | > qh! | 1/1/0/1 tmo1 imm1 ov-1";
    env_049: with(second).to(asks(&[(0, 0)], 100)) => "D 200 hello | U  | > qh! sh | 1/2/2/1 ov-1";
    more_time_is_refused_by_default: with(|_| ()).to(asks(&[(0, 150)], 100)) => "D 200 hello | U  | > qh! sh | 1/2/2/1 ov-1";
    env_051: mode("rb ST rt S sb ST st S").sends(chunked(50, &["aa", "bb"])).to(silent_on("qb"))
        => "D 504 | U incomplete | > qh qb\"aa\" qb\"bb\" qb! | 1/4/1/1 tmo1 imm1";
    env_052: mode("rb ST rt S sb ST st S FMA").sends(chunked(50, &["aa", "bb"])).to(silent_on("qb"))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" qb! | 1/4/1/1 tmo1 fma1";
    env_053: unfinished(8, 100).to(silent_on("qb"))
        => "D 504 | U incomplete | > qh qb\"aa\" qb\"aa\" qb\"aa\" qb\"aa\" qb\"aa\" qb\"aa\" qb\"aa\" qb\"aa\" | 1/9/1/1 tmo1 imm1";
    // Envoy hangs here until the client gives up.
    env_054_other_than_envoy: unfinished(2, 50).to(only_the_first_chunk())
        => "D 504 | U aa incomplete | > qh qb\"aa\" qb\"aa\" | 1/3/2/1 tmo1 imm1";
}

/// After the second one was sent.
fn only_the_first_chunk() -> Processor {
    at("qb", |seen| match seen.nth {
        0 => vec![(80, answer("qb", extproc_proto::CommonResponse::default()))],
        _ => Vec::new(),
    })
}

#[test]
fn deadlines_are_exact() {
    for (id, scenario, ms) in [
        ("ENV-040", with(|_| ()).to(silent()), 200),
        ("ENV-043", with(|o| o.message_timeout = Duration::ZERO).to(silent()), 0),
        ("ENV-047", with(second).to(asks(&[(0, 300), (10, 900)], 500)), 300),
        ("ENV-051", mode("rb ST").sends(chunked(50, &["aa", "bb"])).to(silent_on("qb")), 350),
        ("ENV-053", unfinished(8, 100).to(silent_on("qb")), 1000),
        ("ENV-054, from the last answer", unfinished(2, 50).to(only_the_first_chunk()), 330),
    ] {
        let outcome = scenario.run();
        assert_eq!(outcome.end_ms, ms, "{id}");
        assert_eq!(outcome.details, "ext_proc_error_per-message_timeout_exceeded", "{id}");
    }
}
