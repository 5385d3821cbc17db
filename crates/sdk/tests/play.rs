//! The data plane of the test kit, driven by hand: messages out, replies and the time in.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use extproc::proto::processing_request::Request;
use extproc::proto::processing_response::Response;
use extproc::proto::{BodyResponse, HeadersResponse, ProcessingRequest, ProcessingResponse, TrailersResponse};
use extproc::testing::{Effective, Ending, Exchange, Plan, Play, ToDo};
use extproc_core::filter::{GrpcStatus, StreamEvent};
use extproc_core::{BodyMode, Config, Options, ProcessingMode};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What a processor does about a message; nothing is silence.
type Answer = fn(&ProcessingRequest) -> Option<StreamEvent>;

fn go_on(message: &ProcessingRequest) -> Option<StreamEvent> {
    let response = match message.request.as_ref()? {
        Request::RequestHeaders(_) => Response::RequestHeaders(HeadersResponse::default()),
        Request::ResponseHeaders(_) => Response::ResponseHeaders(HeadersResponse::default()),
        Request::RequestBody(_) => Response::RequestBody(BodyResponse::default()),
        Request::ResponseBody(_) => Response::ResponseBody(BodyResponse::default()),
        Request::RequestTrailers(_) => Response::RequestTrailers(TrailersResponse::default()),
        Request::ResponseTrailers(_) => Response::ResponseTrailers(TrailersResponse::default()),
    };
    Some(StreamEvent::Reply(Box::new(ProcessingResponse { response: Some(response), ..Default::default() })))
}

fn silent(_: &ProcessingRequest) -> Option<StreamEvent> {
    None
}

fn fails(_: &ProcessingRequest) -> Option<StreamEvent> {
    Some(StreamEvent::Closed(Err(GrpcStatus { code: 13, message: "broken".to_owned() })))
}

fn buffered() -> Options {
    let processing_mode = ProcessingMode {
        request_body: BodyMode::Buffered,
        response_body: BodyMode::Buffered,
        request_trailers: true,
        response_trailers: true,
        ..ProcessingMode::default()
    };
    Options { processing_mode, ..Options::default() }
}

fn run(filters: &[(Options, Answer)], exchange: &Exchange) -> Effective {
    let mut now = Instant::now();
    let configs: Vec<_> = filters.iter().map(|(options, _)| Arc::new(Config::new(options.clone()).unwrap())).collect();
    let mut play = Play::new(now, configs, exchange);
    while !play.is_over() {
        while let Some(todo) = play.poll() {
            if let ToDo::Send(filter, message) = todo
                && let Some(event) = filters[filter].1(&message)
            {
                play.handle_stream(now, filter, event);
            }
        }
        if let Some(deadline) = play.deadline() {
            assert!(deadline >= now, "the time does not go back");
            // A timer that wakes early does nothing.
            play.handle_time(now);
            now = deadline;
            play.handle_time(now);
        }
    }
    play.finish(now)
}

fn exchange() -> Exchange {
    Exchange::new(Plan::request("POST", "/a").body("hello")).answered(Plan::response(200).body("ok"))
}

#[test]
fn what_client_and_upstream_get() {
    for (what, filters) in [
        ("no filter", vec![]),
        ("one", vec![(buffered(), go_on as Answer)]),
        ("two", vec![(buffered(), go_on as Answer), (Options::default(), go_on)]),
        ("one that fails open", vec![(Options { failure_mode_allow: true, ..buffered() }, fails as Answer)]),
        ("one that looks on", vec![(Options { observability_mode: true, ..Options::default() }, silent as _)]),
        ("one that looks on and talks", vec![(Options { observability_mode: true, ..Options::default() }, go_on as _)]),
        ("one that is silent and fails open", vec![(Options { failure_mode_allow: true, ..buffered() }, silent as _)]),
    ] {
        let done = run(&filters, &exchange());
        assert_eq!(done.ending, Ending::Complete, "{what}\n{done}");
        let lines = (done.request.to_string(), done.response.to_string());
        assert_eq!(
            (lines.0.as_str(), lines.1.as_str()),
            (r#"POST /a content-length=5 body="hello""#, r#"200 content-length=2 body="ok""#),
            "{what}"
        );
        assert_eq!(done.stats.len(), filters.len(), "{what}");
    }
}

#[test]
fn endings() {
    let post = || Plan::request("POST", "/a").body("hello");
    let ok = || Plan::response(200).body("ok");
    for (what, options, answer, exchange, expected) in [
        (
            "a slow upstream",
            buffered(),
            go_on as Answer,
            Exchange::new(post()).answered(ok().wait(MS(70))),
            (Ending::Complete, Some(200), 70),
        ),
        (
            "a slow client",
            buffered(),
            go_on,
            Exchange::new(post().chunks([1, 1]).pace(MS(5))),
            (Ending::Complete, Some(200), 15),
        ),
        ("a silent processor", buffered(), silent, exchange(), (Ending::Complete, Some(504), 200)),
        ("a processor that fails", buffered(), fails, exchange(), (Ending::Complete, Some(500), 0)),
        (
            "no upstream",
            buffered(),
            go_on,
            Exchange::new(post()).answered(ok().unreachable()),
            (Ending::Complete, Some(503), 0),
        ),
        (
            "a silent upstream",
            buffered(),
            go_on,
            Exchange::new(post()).answered(ok().silent()),
            (Ending::Stuck, None, 60_000),
        ),
        (
            "an early answer",
            Options::default(),
            go_on,
            Exchange::new(post().pace(MS(9))).answered(ok().early()),
            (Ending::Complete, Some(200), 0),
        ),
        (
            "an answer to half a request",
            Options::default(),
            go_on,
            Exchange::new(post().unfinished()).answered(ok().early()),
            (Ending::Complete, Some(200), 0),
        ),
        (
            "a client that gives up",
            buffered(),
            silent,
            Exchange::new(post().gives_up(MS(30))),
            (Ending::ClientGaveUp, None, 30),
        ),
        (
            "an upstream that breaks down",
            Options::default(),
            go_on,
            Exchange::new(post()).answered(ok().unfinished().gives_up(MS(1))),
            (Ending::Cut, Some(200), 1),
        ),
    ] {
        let done = run(&[(options, answer)], &exchange);
        assert_eq!(
            (done.ending, done.response.status(), done.took().as_millis()),
            (expected.0, expected.1, expected.2),
            "{what}\n{}",
            done.timed()
        );
    }
}

#[test]
fn the_transcript_has_a_line_for_each_message_and_effect() {
    let exchange = Exchange::new(Plan::request("POST", "/a").body("hello").chunks([2]).trailer("x-t", 1))
        .answered(Plan::response(204).header("x-a", "1").header("x-a", "2"));
    let done = run(&[(buffered(), go_on), (Options::default(), fails)], &exchange);
    assert_eq!(
        done.to_string(),
        "\
0-> request_headers :method=POST :path=/a :scheme=http :authority=example.com
0<- request_headers
0-> request_body \"hello\"
0<- request_body
0-> request_trailers x-t=1
0<- request_trailers
1-> request_headers :method=POST :path=/a :scheme=http :authority=example.com
1<- (closed Internal: broken)
-- upstream cancelled
0-> response_headers :status=500 end
0<- response_headers
0-> (half-close)
upstream: nothing
client: 500
"
    );
}

#[test]
fn attributes_and_metadata_go_along() {
    let exchange = exchange().attribute("request.path", "/a").metadata("envoy.lb", "zone", "b");
    let done = run(&[(buffered(), go_on)], &exchange);
    let shown: Vec<_> = done
        .sent()
        .map(|(_, message)| {
            let metadata = message.metadata_context.as_ref().unwrap();
            (message.attributes.len(), metadata.filter_metadata["envoy.lb"].fields.contains_key("zone"))
        })
        .collect();
    assert_eq!(shown, [(1, true), (0, true), (0, true), (0, true)]);
}

#[test]
fn plans_cut_bodies() {
    let pieces = |plan: Plan| {
        let done = run(&[], &Exchange::new(plan));
        let pieces: Vec<_> =
            done.request.pieces.iter().map(|(_, piece)| String::from_utf8(piece.to_vec()).unwrap()).collect();
        (pieces, done.request.header("content-length").map(str::to_owned))
    };
    let post = || Plan::request("POST", "/").body("abcde");
    for (plan, expected, length) in [
        (post(), &["abcde"][..], Some("5")),
        (post().chunks([1, 0, 3]), &["a", "bcd", "e"], Some("5")),
        (post().chunks([5, 9]), &["abcde"], Some("5")),
        (post().chunks([2]).late_end(), &["ab", "cde"], Some("5")),
        (post().chunked(), &["abcde"], None),
        (post().trailer("t", 1), &["abcde"], None),
        (Plan::request("GET", "/"), &[], None),
    ] {
        assert_eq!(pieces(plan), (expected.iter().map(|&p| p.to_owned()).collect(), length.map(str::to_owned)));
    }
}

#[test]
#[should_panic(expected = "the name of a header")]
fn a_bad_header_says_so() {
    let _ = Plan::response(200).header("a b", "1");
}
