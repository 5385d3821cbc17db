//! 10.8 BUFFERED_PARTIAL.

use bytes::Bytes;
use extproc_core::filter::{HttpEvent, StreamEvent};
use extproc_proto::CommonResponse;

use crate::answers::{answer, at, body, says, sets};
use crate::exchange::{Scenario, chunked, chunked_t, headers, internal, large, post, u5};
use crate::{Processor, mode, rows};

/// Pieces of so many bytes, 50 ms apart, and the end.
fn pieces(lengths: &[usize]) -> Vec<(u64, HttpEvent)> {
    let mut parts = chunked(50, &[]);
    let end = parts.pop();
    let mut at = 0;
    for length in lengths {
        at += 50;
        parts.push((at, HttpEvent::Data(vec![b'x'; *length].into(), false)));
    }
    parts.extend(end.map(|(_, event)| (at + 50, event)));
    parts
}

fn limited(text: &str) -> Scenario {
    mode(text).options(|options| options.buffer_limit = 1000)
}

fn first_and_header() -> CommonResponse {
    CommonResponse { header_mutation: sets(&[("x-a", "1")]).header_mutation, ..body("FIRST") }
}

fn qb(common: CommonResponse) -> Processor {
    says("qb", answer("qb", common))
}

/// Every answer to the body after so long.
fn late_body(ms: u64) -> Processor {
    at("qb", move |_| vec![(ms, answer("qb", first_and_header()))])
}

fn late_headers(ms: u64) -> Processor {
    at("qh", move |_| vec![(ms, answer("qh", CommonResponse::default()))])
}

/// U5 with so large a body.
fn large_u(len: usize) -> Vec<(u64, HttpEvent)> {
    let mut parts = u5();
    parts[0].1 = HttpEvent::Headers(headers(&[(":status", "200"), ("content-length", "5000")]), false);
    parts[1].1 = HttpEvent::Data(vec![b'x'; len].into(), true);
    parts
}

rows! {
    env_230: mode("rb BP sh K").sends(post("hello")).to(qb(body("HELLO!")))
        => "D 200 hello | U HELLO! | > qh qb!\"hello\" | 1/2/2/1";
    env_231: mode("rb BP sh K").sends(chunked(50, &["aa", "bb"])).to(qb(sets(&[("x-a", "1")])))
        => "D 200 hello | U aabb | > qh qb!\"aabb\" | 1/2/2/1";
    env_232: limited("rb BP sh K").sends(pieces(&[600, 600, 300])).to(qb(first_and_header()))
        => "D 200 hello | U 305 bytes | > qh qb\"1200 bytes\" | 1/2/2/1";
    env_232_waiting: limited("rb BP sh K").sends(pieces(&[600, 600, 30])).to(late_body(120))
        => "D 200 hello | U FIRSTxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | > qh qb\"1200 bytes\" | 1/2/2/1";
    env_232_headers_wait: limited("rb BP sh K").sends(pieces(&[600, 600, 30])).to(late_headers(120))
        => "D 200 hello | U 1230 bytes | > qh qb\"1200 bytes\" | 1/2/2/1";
    env_232_streamed: limited("rb BP sh K").sends(pieces(&[600, 600, 30])).to(says("qb", streamed()))
        => "D 200 hello | U 1230 bytes | > qh qb\"1200 bytes\" | 1/2/2/1";
    env_232_fails: limited("rb BP sh K").sends(pieces(&[600, 600, 30])).to(says("qb", internal()))
        => "D 500 | U - | > qh qb\"1200 bytes\" | 1/2/1/0 fail1 half1 imm1";
    env_232_fails_open: limited("rb BP sh K FMA").sends(pieces(&[600, 600, 30])).to(says("qb", internal()))
        => "D 200 hello | U 1230 bytes | > qh qb\"1200 bytes\" | 1/2/1/1 fail1 half2 fma1";
    env_232_silence: limited("rb BP sh K FMA").sends(pieces(&[600, 600, 30])).to(at("qb", |_| Vec::new()))
        => "D 200 hello | U 1230 bytes | > qh qb\"1200 bytes\" | 1/2/1/1 tmo1 fma1";
    env_233: limited("rb BP sh K").sends(large(5000, 5000)).to(qb(body("FIRST")))
        => "D 200 hello | U FIRST | > qh qb!\"5000 bytes\" | 1/2/2/1";
    env_233_as_long: limited("rb BP sh K").sends(large(5000, 5000)).to(qb(new_body(5000)))
        => "D 200 hello | U 5000 bytes | > qh qb!\"5000 bytes\" | 1/2/2/1";
    env_234: mode("rb BP rt S sh K").sends(chunked_t(50, &["aa", "bb"]))
        => "D 200 hello | U aabb +x-t: 1 | > qh qb\"aabb\" qt | 1/3/3/1";
    env_234_partial: limited("rb BP rt S sh K").sends(partial_t()).to(late_body(120))
        => "D 200 hello | U FIRSTend +x-t: 1 | > qh qb\"1001 bytes\" qt | 1/3/3/1";
    env_236: mode("rb BP sh K").sends(chunked(0, &[])) => "D 200 hello | U  | > qh qb! | 1/2/2/1";
    env_237: limited("sb BP").gets(large_u(5000)).to(says("sb", answer("sb", body("P"))))
        => "D 200 P | U  | > qh! sh sb!\"5000 bytes\" | 1/3/3/1";
    env_239_no_headers: limited("rh K rb BP sh K").sends(pieces(&[600, 600, 300])).to(qb(first_and_header()))
        => "D 200 hello | U 305 bytes | > qb\"1200 bytes\" | 1/1/1/1";
}

fn new_body(len: usize) -> CommonResponse {
    crate::answers::new_body(Bytes::from(vec![b'y'; len]))
}

fn streamed() -> StreamEvent {
    answer("qb", crate::answers::streamed("", false))
}

fn partial_t() -> Vec<(u64, HttpEvent)> {
    let mut parts = pieces(&[1001]);
    parts.pop();
    parts.push((60, HttpEvent::Data(Bytes::from_static(b"end"), false)));
    parts.push((70, HttpEvent::Trailers(headers(&[("x-t", "1")]))));
    parts
}

#[test]
fn headers_are_held_until_the_beginning_is_answered() {
    for lengths in [&[2, 2][..], &[600, 600, 30]] {
        let outcome = limited("rb BP sh K").sends(pieces(lengths)).to(qb(first_and_header())).run();
        assert_eq!(outcome.upstream.only(&["x-a"]), "x-a: 1", "ENV-231, ENV-232: {lengths:?}");
    }
    let early = limited("rh K rb BP sh K").sends(pieces(&[600, 600])).to(qb(first_and_header())).run();
    assert_eq!(early.upstream.only(&["x-a"]), "", "headers that were not sent have left");
}
