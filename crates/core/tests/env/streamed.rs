//! 10.7 STREAMED.

use bytes::Bytes;
use extproc_core::filter::StreamEvent;

use crate::answers::{ack, answer, at, clear_body, new_body, says, sets, streamed};
use crate::exchange::{Scenario, Seen, chunked, chunked_t, internal, large, post, uc};
use crate::{Processor, mode, rows};

const EVERYTHING: &str = "rb ST rt S sb ST st S";

fn upper(kind: &'static str) -> Processor {
    at(kind, move |seen: &Seen| vec![(0, answer(kind, new_body(seen.body.to_ascii_uppercase().into())))])
}

fn shouting(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    let mut text = seen.body.to_ascii_uppercase();
    text.push(b'!');
    vec![(0, answer("qb", new_body(Bytes::from(text))))]
}

/// Answers the request headers so late.
fn late_headers(ms: u64) -> Processor {
    at("qh", move |seen| ack(seen).into_iter().map(|(_, event)| (ms, event)).collect())
}

/// At the second request body: ends OK.
fn leaves_at_second(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match (seen.kind, seen.nth) {
        ("qb", 1) => vec![(0, StreamEvent::Closed(Ok(())))],
        _ => ack(seen),
    }
}

rows! {
    a_broken_length_after_failing_open_is_answered: mode("rh K rb ST FMA")
        .options(|options| options.allow_content_length_header = true)
        .sends(large(8, 4).into_iter().enumerate().map(|(at, (_, part))| (at as u64 * 10, part)).collect())
        .to(at("qb", |_| vec![(0, answer("qb", crate::answers::body("xx"))), (0, answer("st", sets(&[])))]))
        => "D 500 | U xx incomplete | > qb\"xxxx\" | 1/1/1/1 spur1 imm1 fma1";
    env_200: mode("rb ST sb ST").sends(post("hello"))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_201: mode("rb ST sb ST").options(|o| o.allow_content_length_header = true).sends(post("hello"))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_202: mode("rb ST sb ST").sends(post("hello")).to(says("qh", answer("qh", sets(&[("content-length", "9")]))))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh sb!\"hello\" | 1/4/4/1";
    env_203: mode("rb ST sh K").sends(chunked(50, &["aa", "bb"])).to(at("qb", shouting))
        => "D 200 hello | U AA!BB!! | > qh qb\"aa\" qb\"bb\" qb! | 1/4/4/1";
    env_204: mode("rb ST sh K").sends(chunked(50, &["aa", "bb"])).to(says("qb", answer("qb", clear_body())))
        => "D 200 hello | U  | > qh qb\"aa\" qb\"bb\" qb! | 1/4/4/1";
    env_206: mode("rb ST sh K").sends(chunked(30, &["aa", "bb"])).to(late_headers(150))
        => "D 200 hello | U aabb | > qh qb!\"aabb\" | 1/2/2/1";
    env_207: mode("rb ST rt S sh K").sends(chunked_t(30, &["aa", "bb"])).to(late_headers(180))
        => "D 200 hello | U aabb +x-t: 1 | > qh qb\"aabb\" qt | 1/3/3/1";
    env_208: mode("rb ST rt S sh K").sends(chunked_t(0, &[])) => "D 200 hello | U +x-t: 1 | > qh qt | 1/2/2/1";
    env_209: mode("rb ST sh K").sends(chunked_t(50, &["a"])) => "D 200 hello | U a +x-t: 1 | > qh qb\"a\" | 1/2/2/1";
    env_211: mode("rb ST rt S sh K").sends(chunked_t(50, &["aa", "bb"])).to(upper("qb"))
        => "D 200 hello | U AABB +x-t: 1 | > qh qb\"aa\" qb\"bb\" qt | 1/4/4/1";
    env_215: mode(EVERYTHING).gets(uc()).to(says("sb", internal()))
        => "D 200 cut | U  | > qh! sh sb\"r1\" | 1/3/2/0 fail1 half1 imm1";
    env_216: mode("rb ST rt S sb ST st S FMA").gets(uc()).to(says("sb", internal()))
        => "D 200 r1r2 +x-rt: 2 | U  | > qh! sh sb\"r1\" | 1/3/2/1 fail1 half2 fma1";
    env_217: mode(EVERYTHING).gets(uc()).to(says("sb", StreamEvent::Closed(Ok(()))))
        => "D 200 r1r2 +x-rt: 2 | U  | > qh! sh sb\"r1\" | 1/3/2/1 half1";
    env_218: mode(EVERYTHING).gets(uc()).to(at("sb", |_| Vec::new()))
        => "D 200 cut | U  | > qh! sh sb\"r1\" sb\"r2\" | 1/4/2/1 tmo1 imm1";
    env_219: mode("rb ST rt S sb ST st S FMA").gets(uc()).to(at("sb", |_| Vec::new()))
        => "D 200 r1r2 +x-rt: 2 | U  | > qh! sh sb\"r1\" sb\"r2\" | 1/4/2/1 tmo1 fma1";
    env_221: mode(EVERYTHING).sends(chunked(50, &["aa", "bb", "cc"])).to(Box::new(leaves_at_second))
        => "D 200 hello | U aabbcc | > qh qb\"aa\" qb\"bb\" | 1/3/2/1 half1";
    env_223: mode("rb ST sh K").options(|o| o.buffer_limit = 10_000).sends(large(50_000, 5_000)).to(late_headers(150))
        => "D 200 hello | U 50000 bytes | > qh qb\"15000 bytes\" qb\"5000 bytes\" qb\"5000 bytes\" qb\"5000 bytes\" \
            qb\"5000 bytes\" qb\"5000 bytes\" qb\"5000 bytes\" qb!\"5000 bytes\" | 1/9/9/1";
    env_224: Scenario::default().options(|o| o.buffer_limit = 10_000).sends(large(50_000, 5_000)).to(late_headers(150))
        => "D 200 hello | U 50000 bytes | > qh sh | 1/2/2/1";
    env_226: mode("rb ST sh K").upstream_is_early().sends(chunked_t(50, &["aa", "bb", "cc"])).to(upper("qb"))
        => "D 200 hello | U AABBCC +x-t: 1 | > qh qb\"aa\" qb\"bb\" qb\"cc\" | 1/4/4/1";
    env_226_trailers: mode("rb ST rt S sh K").upstream_is_early().sends(chunked_t(50, &["aa", "bb", "cc"])).to(upper("qb"))
        => "D 200 hello | U AABBCC +x-t: 1 | > qh qb\"aa\" qb\"bb\" qb\"cc\" qt | 1/5/5/1";
    env_251: mode("rb ST sh K").sends(chunked(50, &["aa"])).to(says("qb", answer("qb", streamed("", false))))
        => "D 500 | U incomplete | > qh qb\"aa\" | 1/2/1/1 spur1 imm1";
}

#[test]
fn lengths() {
    for (id, allow, upstream) in [("ENV-200", false, ""), ("ENV-201", true, "content-length: 5")] {
        let outcome = mode("rb ST sb ST").options(|o| o.allow_content_length_header = allow).sends(post("hello")).run();
        assert_eq!(outcome.upstream.only(&["content-length"]), upstream, "{id}");
        assert_eq!(outcome.downstream.only(&["content-length"]), upstream, "{id}");
    }
    let empty = crate::exchange::request("POST", &[("content-length", "0")]);
    let header_only = mode("rb ST").sends(empty).run();
    assert_eq!(header_only.upstream.only(&["content-length"]), "content-length: 0", "no body, no framing to change");
    let kept = Scenario::default().sends(large(50_000, 5_000)).run();
    assert_eq!(kept.upstream.only(&["content-length"]), "content-length: 50000", "ENV-224");
}

#[test]
fn env_401_to_404_when_the_stream_is_closed() {
    for (id, scenario, closed, end) in [
        ("ENV-401", mode("sh K").sends(chunked(50, &["a", "b"])), 0, 150),
        ("ENV-402", Scenario::default().gets(uc()), 0, 150),
        ("ENV-403", mode("rb BU sh K").sends(post("hello")).gets(uc()).upstream_takes(100), 100, 250),
        ("ENV-404", mode("rb ST sh K").sends(chunked(50, &["a"])), 100, 100),
        ("ENV-406", mode("st S").gets(slow_u5()), 60, 60),
    ] {
        let outcome = scenario.run();
        assert_eq!((outcome.closed_ms[0], outcome.end_ms), (Some(closed), end), "{id}");
    }
}

/// No trailers come, which is known only at the end.
fn slow_u5() -> Vec<(u64, extproc_core::filter::HttpEvent)> {
    let mut parts = crate::exchange::u5();
    parts[1].0 = 60;
    parts
}
