//! Replies that a processor streams (3.9, ENV-321 to ENV-338), as far as no scenario against Envoy can show them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_core::chain::Effect;
use extproc_core::filter::{Forward, HttpEvent, Outgoing, StreamEvent, Timer};
use extproc_core::{Config, Direction, FilterChain, Options, Profile};

use crate::answers::{ack, at, immediate, reply_body, reply_headers, reply_trailers, says};
use crate::chains::{chain, marks, report, signs};
use crate::exchange::{Scenario, chunked, headers, post, request};
use crate::{Processor, mode, rows};

const OK: &[(&str, &str)] = &[(":status", "200")];

/// A processor that streams these parts, each so many milliseconds after the one before.
fn streams(parts: Vec<(u64, StreamEvent)>) -> Processor {
    Box::new(move |seen| {
        let mut at = 0;
        let later = |(ms, part): &(u64, StreamEvent)| {
            at += ms;
            (at, part.clone())
        };
        if seen.kind == "qh" { parts.iter().map(later).collect() } else { Vec::new() }
    })
}

fn one_two(ms: u64) -> Vec<(u64, StreamEvent)> {
    vec![(0, reply_headers(OK, false)), (ms, reply_body("one", false)), (ms, reply_body("two", true))]
}

/// The base configuration and a processor that streams a reply.
fn replies(parts: Vec<(u64, StreamEvent)>) -> Scenario {
    Scenario { processors: vec![streams(parts)], ..Scenario::default() }
}

/// As the reply of ENV-324, with another length.
fn of_length(length: &'static str, parts: Vec<(u64, StreamEvent)>) -> Scenario {
    let head = reply_headers(&[(":status", "200"), ("content-length", length)], false);
    replies([(0, head)].into_iter().chain(parts).collect())
}

rows! {
    pauses_within_a_streamed_reply_have_their_own_deadline:
        replies(vec![(0, reply_headers(OK, false)), (299_000, reply_body("one", false)), (299_000, reply_trailers(&[("x-t", "1")]))])
        => "D 200 one +x-t: 1 | U - | > qh! | 1/1/3/1";
    env_336_beyond_it_the_reply_is_cut:
        replies(vec![(0, reply_headers(OK, false)), (10, reply_body("one", false)), (300_001, reply_body("two", true))])
        => "D 200 one cut | U - | > qh! | 1/1/2/1 tmo1 imm1";
    the_message_timer_runs_up_to_the_headers:
        replies(vec![(201, reply_headers(OK, true))]) => "D 504 | U - | > qh! | 1/1/0/1 tmo1 imm1";
    env_324_a_body_that_is_longer_than_its_length:
        of_length("3", vec![(1, reply_body("one", false)), (1, reply_body("two", true))])
        => "D 200 one cut | U - | > qh! | 1/1/3/1 imm1";
    env_324_a_body_that_is_shorter_than_its_length_before_trailers:
        of_length("4", vec![(1, reply_body("one", false)), (1, reply_trailers(&[]))])
        => "D 200 one cut | U - | > qh! | 1/1/3/1 imm1";
    env_324_a_length_that_is_no_number:
        of_length("many", vec![]) => "D 500 | U - | > qh! | 1/1/1/1 imm1";
    env_321_the_length_of_a_reply_to_head_is_information:
        of_length("6", vec![(0, reply_body("on", true))]).sends(request("HEAD", &[]))
        => "D 200 | U - | > qh! | 1/1/2/1";
    trailers_behind_nothing_are_an_empty_body:
        replies(vec![(0, reply_headers(OK, false)), (0, reply_trailers(&[]))]) => "D 200 | U - | > qh! | 1/1/2/1";
    env_329_a_full_duplex_request_is_read_until_the_reply_ends:
        Scenario { processors: vec![streams(one_two(60))], ..mode("rb FD rt S sh K") }.sends(chunked(50, &["a", "b", "c"]))
        => "D 200 onetwo | U - | > qh qb\"a\" qb\"b\" | 1/3/3/1";
    agentgateway_does_not_know_streamed_replies:
        replies(one_two(0)).options(|o| {
            *o = Options { processing_mode: o.processing_mode, ..Options::of(Profile::Agentgateway) };
        })
        => "D - hung | U - | > qh! | 1/1/0/1";
    grpc_has_no_streamed_replies:
        replies(one_two(0)).options(|o| o.profile = Profile::Grpc)
        => "D 500 54 bytes | U - | > qh! | 1/1/0/1 spur1 imm1";
}

#[test]
fn a_streamed_reply_passes_all_other_filters_as_a_response_does() {
    let filters = [("sb ST", signs("1")), ("sh S", streams(one_two(10))), ("sb BU", signs("3"))];
    let outcome = chain(filters).run();
    assert_eq!(
        report(&outcome),
        [
            "D 200 onetwo31 | U -",
            "> qh! sh sb!\"onetwo3\" | 1/3/3/1",
            "> qh! | 1/1/3/1",
            "> sh sb!\"onetwo\" | 1/2/2/1",
        ]
    );
    let outcome = chain([("sh S", marks("a")), ("sh S", streams(one_two(10))), ("sh S", marks("c"))]).run();
    assert_eq!(outcome.downstream.only(&["x-path"]), "x-path: c, x-path: a");
}

#[test]
fn a_filter_nearer_to_the_client_may_answer_in_place_of_a_streamed_reply() {
    let filters = [("sh S", says("sh", immediate(403, "no", None))), ("sh S", streams(one_two(10)))];
    let outcome = chain(filters).run();
    assert_eq!(report(&outcome), ["D 403 no | U -", "> qh! sh | 1/2/2/1 imm1", "> qh! | 1/1/1/1"]);
}

/// The first filter answers unasked while the second one waits for its processor, which then streams.
#[test]
fn a_streamed_reply_that_comes_too_late_goes_nowhere() {
    let unasked = at("qh", |seen| {
        let mut events = ack(seen);
        events.push((5, immediate(403, "no", None)));
        events
    });
    let parts = vec![(10, reply_headers(OK, false)), (0, reply_body("one", true))];
    let outcome = chain([("sh S", unasked), ("sh S", streams(parts))]).run();
    assert_eq!(report(&outcome)[0], "D 403 no | U -");
}

#[test]
fn env_329_filters_before_it_process_a_full_duplex_request_that_is_answered() {
    let filters = [("rb ST sh K", signs("1")), ("rb FD rt S sh K", streams(one_two(60)))];
    let outcome = chain(filters).sends(chunked(50, &["a", "b", "c"])).run();
    let [status, first, second] = &report(&outcome)[..] else { panic!("two filters") };
    assert_eq!(status, "D 200 onetwo | U -");
    assert_eq!(first, "> qh qb\"a\" qb\"b\" | 1/3/3/1");
    assert_eq!(second, "> qh qb\"a1\" qb\"b1\" | 1/3/3/1");
    assert_eq!(outcome.effects.iter().filter(|effect| **effect == Effect::CancelUpstream).count(), 1);
}

#[test]
fn in_mode_none_the_rest_of_the_request_is_not_read() {
    let outcome = replies(one_two(10)).sends(post("hello")).run();
    assert_eq!(crate::line(&outcome), "D 200 onetwo | U - | > qh | 1/1/3/1");
}

#[test]
fn a_client_that_does_not_take_the_reply_stops_its_processor_and_its_deadline() {
    #[allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
    let start = Instant::now();
    let options = Options { buffer_limit: 10, ..Options::default() };
    let mut chain = FilterChain::new([Arc::new(Config::new(options).unwrap())]);
    let get = headers(&[(":method", "GET"), (":path", "/")]);
    chain.handle_http(start, Direction::Request, HttpEvent::Headers(get, true)).unwrap();
    assert!(matches!(chain.poll_send(0), Some(Outgoing::Message(_))));
    chain.handle_stream(start, 0, reply_headers(OK, false));
    assert!(chain.takes_messages(0), "there is room");
    chain.handle_stream(start, 0, reply_body(Bytes::from_static(&[b'x'; 11]), false));
    assert!(!chain.takes_messages(0), "the client has to take what is there first");
    let (deadline, _, timer) = chain.poll_timeout().unwrap();
    assert_eq!((deadline, timer), (start + Duration::from_secs(300), Timer::StreamedReply));
    chain.handle_timeout(deadline);
    assert_eq!(chain.stats(0).message_timeouts, 0, "it is not the processor's fault");
    assert!(matches!(chain.poll_forward(Direction::Response), Some(Forward::Headers(..))));
    assert!(matches!(chain.poll_forward(Direction::Response), Some(Forward::Data(..))));
    assert!(chain.takes_messages(0), "the client took it");
    let (deadline, ..) = chain.poll_timeout().unwrap();
    assert_eq!(deadline, start + Duration::from_secs(600), "the time begins anew");
    chain.handle_timeout(deadline);
    assert_eq!(chain.stats(0).message_timeouts, 1);
    assert!(std::iter::from_fn(|| chain.poll_effect()).any(|effect| effect == Effect::ResetDownstream));
}
