//! 10.18 What an access log is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use extproc_core::chain::FilterChain;
use extproc_core::filter::{GrpcStatus, HttpEvent, StreamEvent};
use extproc_core::logging::{BodyCalls, Call, ProcessingEffect};
use extproc_core::{Config, Direction, Options};

use crate::answers::ack;
use crate::exchange::{Scenario, chunked, chunked_t, headers};
use crate::mode;

/// Answers everything after so many milliseconds.
fn after(ms: u64, scenario: Scenario) -> Scenario {
    scenario.to(Box::new(move |seen| ack(seen).into_iter().map(|(_, event)| (ms, event)).collect()))
}

#[test]
fn env_407_times_of_calls_of_every_kind() {
    let outcome = after(7, mode("rb ST sb BU rt S").sends(chunked_t(50, &["a", "b"]))).run();
    let text = "rh:7000:0,rb:2:14000:0,rt:7000:0,sh:7000:0,sb:1:7000:0,bs:0,br:0,os:0,ds:";
    assert_eq!(outcome.logging[0].to_string(), text);
    let call = Call { latency: Duration::from_millis(7), status: 0 };
    let body = BodyCalls { count: 2, total_latency: 2 * call.latency, max_latency: call.latency, last_status: 0 };
    let request = outcome.logging[0].direction(Direction::Request);
    assert_eq!((request.headers, request.body, request.trailers), (Some(call), Some(body), Some(call)));
    assert_eq!(request.headers_effect, ProcessingEffect::None);
}

#[test]
fn env_407_a_call_begins_with_what_was_sent_last() {
    // Two chunks and the end, at 20, 40 and 60 ms; answers 60 ms later, the first two since the end was sent.
    let outcome = after(60, mode("rb ST rh K sh K").sends(chunked(20, &["a", "b"]))).run();
    assert_eq!(outcome.logging[0].to_string(), "rb:3:120000:0,bs:0,br:0,os:0,ds:");
}

#[expect(clippy::disallowed_methods, reason = "any instant will do as the start")]
fn opened() -> (FilterChain, Instant) {
    let mut chain = FilterChain::new([Arc::new(Config::new(Options::default()).unwrap())]);
    chain.set_destination(0, "processor".into());
    assert_eq!(chain.logging(0).to_string(), "bs:0,br:0,os:0,ds:", "nothing was sent");
    let now = Instant::now();
    let head = headers(&[(":method", "GET"), (":path", "/"), (":authority", "ex.com"), (":scheme", "http")]);
    chain.handle_http(now, Direction::Request, HttpEvent::Headers(head, true)).unwrap();
    (chain, now)
}

fn unavailable() -> StreamEvent {
    StreamEvent::Closed(Err(GrpcStatus { code: 14, message: String::new() }))
}

#[test]
fn env_409_a_stream_that_takes_nothing() {
    let (mut chain, now) = opened();
    chain.handle_stream(now, 0, unavailable());
    assert_eq!(chain.logging(0).to_string(), "bs:0,br:0,os:14,ds:processor");
}

#[test]
fn env_408_a_stream_that_fails_with_a_message_and_its_bytes() {
    let (mut chain, now) = opened();
    assert!(chain.poll_send(0).is_some());
    chain.count_bytes(0, 40, 3);
    chain.count_bytes(0, 2, 0);
    chain.handle_stream(now + Duration::from_micros(512), 0, unavailable());
    assert_eq!(chain.logging(0).to_string(), "rh:512:14,bs:42,br:3,os:0,ds:processor");
}
