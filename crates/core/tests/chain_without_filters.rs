//! A chain without filters: everything passes, with back-pressure, and the data plane may answer itself.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_methods, reason = "tests need some instant to start from")]

use std::time::Instant;

use bytes::Bytes;
use extproc_core::chain::{Effect, Peer};
use extproc_core::filter::{Forward, HttpEvent};
use extproc_core::headers::{Headers, Name, Value};
use extproc_core::{Direction, FilterChain, LocalReply, RequestKind};

fn headers(entries: &[(&'static str, &'static str)]) -> Headers {
    entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
}

fn get() -> HttpEvent {
    HttpEvent::Headers(headers(&[(":method", "GET"), (":path", "/x")]), true)
}

fn chain() -> FilterChain {
    FilterChain::new([])
}

fn drain(chain: &mut FilterChain, direction: Direction) -> Vec<Forward> {
    std::iter::from_fn(|| chain.poll_forward(direction)).collect()
}

#[test]
fn parts_pass_in_order_and_end() {
    let (mut chain, now) = (chain(), Instant::now());
    let parts = [
        HttpEvent::Headers(headers(&[(":status", "200")]), false),
        HttpEvent::Data(Bytes::from_static(b"a"), false),
        HttpEvent::Trailers(headers(&[("x-t", "1")])),
    ];
    for part in parts.clone() {
        assert!(chain.wants(Direction::Response));
        chain.handle_http(now, Direction::Response, part).unwrap();
    }
    assert!(!chain.wants(Direction::Response));
    assert!(!chain.is_done(Direction::Response));
    assert_eq!(drain(&mut chain, Direction::Response), parts.map(Forward::from));
    assert!(chain.is_done(Direction::Response));
    assert!(!chain.is_done(Direction::Request));
    assert_eq!(chain.poll_effect(), None);
    assert_eq!(chain.poll_timeout(), None);
}

#[test]
fn events_out_of_order_are_refused_and_change_nothing() {
    let (mut chain, now) = (chain(), Instant::now());
    let data = HttpEvent::Data(Bytes::from_static(b"a"), true);
    chain.handle_http(now, Direction::Request, data.clone()).unwrap_err();
    chain.handle_http(now, Direction::Request, get()).unwrap();
    chain.handle_http(now, Direction::Request, data).unwrap_err();
    assert_eq!(drain(&mut chain, Direction::Request), [Forward::from(get())]);
}

#[test]
fn reading_stops_above_the_limit_and_resumes_at_half_of_it() {
    let (mut chain, now) = (chain(), Instant::now());
    let quarter = Bytes::from(vec![0; 1 << 18]);
    chain.handle_http(now, Direction::Request, HttpEvent::Headers(headers(&[(":method", "POST")]), false)).unwrap();
    let mut fed = 0;
    while chain.wants(Direction::Request) {
        chain.handle_http(now, Direction::Request, HttpEvent::Data(quarter.clone(), false)).unwrap();
        fed += 1;
    }
    assert_eq!(fed, 5, "1 MiB is the limit, not above it");
    let mut left = fed;
    while !chain.wants(Direction::Request) {
        if let Some(Forward::Data(..)) = chain.poll_forward(Direction::Request) {
            left -= 1;
        }
    }
    assert_eq!(left, 2, "resumes at half the limit");
}

#[test]
fn the_data_plane_answers() {
    let (mut chain, now) = (chain(), Instant::now());
    chain.handle_http(now, Direction::Request, get()).unwrap();
    chain.respond(now, LocalReply::new(RequestKind::default(), 404, Bytes::from_static(b"none"), "route not found"));
    assert_eq!(chain.poll_effect(), Some(Effect::CancelUpstream));
    assert_eq!(chain.poll_effect(), None);
    assert_eq!(drain(&mut chain, Direction::Request), []);
    let parts = drain(&mut chain, Direction::Response);
    assert!(matches!(&parts[0], Forward::Headers(h, false) if h.status() == Some(404)), "{parts:?}");
    assert_eq!(parts[1..], [Forward::Data(Bytes::from_static(b"none"), true)]);
    assert_eq!(chain.details(), Some("route_not_found"));
    // What the upstream still says is dropped, as is a second answer.
    chain.handle_http(now, Direction::Response, HttpEvent::Headers(headers(&[(":status", "200")]), true)).unwrap();
    chain.respond(now, LocalReply::new(RequestKind::default(), 503, Bytes::new(), "late"));
    assert_eq!(drain(&mut chain, Direction::Response), []);
    assert_eq!(chain.poll_effect(), None);
}

#[test]
fn an_answer_replaces_a_response_that_the_client_has_not_seen() {
    let (mut chain, now) = (chain(), Instant::now());
    chain.handle_http(now, Direction::Request, get()).unwrap();
    chain.handle_http(now, Direction::Response, HttpEvent::Headers(headers(&[(":status", "200")]), false)).unwrap();
    chain.respond(now, LocalReply::new(RequestKind::default(), 503, Bytes::new(), "upstream gone"));
    let parts = drain(&mut chain, Direction::Response);
    assert!(matches!(&parts[..], [Forward::Headers(h, true)] if h.status() == Some(503)), "{parts:?}");
    assert!(chain.is_done(Direction::Response));
}

#[test]
fn a_response_that_has_begun_is_cut() {
    for by_upstream in [true, false] {
        let (mut chain, now) = (chain(), Instant::now());
        chain.handle_http(now, Direction::Request, get()).unwrap();
        chain.handle_http(now, Direction::Response, HttpEvent::Headers(headers(&[(":status", "200")]), false)).unwrap();
        drain(&mut chain, Direction::Response);
        if by_upstream {
            chain.handle_reset(now, Peer::Upstream);
        } else {
            chain.respond(now, LocalReply::new(RequestKind::default(), 503, Bytes::new(), "upstream gone"));
        }
        let effects: Vec<_> = std::iter::from_fn(|| chain.poll_effect()).collect();
        assert_eq!(effects, [Effect::CancelUpstream, Effect::ResetDownstream]);
        let data = HttpEvent::Data(Bytes::from_static(b"late"), true);
        chain.handle_http(now, Direction::Response, data).unwrap();
        assert_eq!(drain(&mut chain, Direction::Response), []);
    }
}

#[test]
fn after_reset_or_finish_nothing_comes_out() {
    for finish in [true, false] {
        let (mut chain, now) = (chain(), Instant::now());
        chain.handle_http(now, Direction::Request, get()).unwrap();
        if finish {
            chain.finish(now);
            chain.finish(now);
        } else {
            chain.handle_reset(now, Peer::Downstream);
        }
        assert_eq!(drain(&mut chain, Direction::Request), []);
        assert_eq!(chain.poll_effect(), None);
        assert!(!chain.wants(Direction::Request));
    }
}
