//! What random exchanges have found, in few words each.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use extproc_core::headers::{Name, Value};
use extproc_core::pair::{Begin, Ending, Outcome, Pair, Processor, Replies, Script, Upstream};
use extproc_core::{BodyMode, Config, Headers, Options, ProcessingMode, Profile};
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse,
    ProcessingRequest, ProcessingResponse, TrailersResponse,
};

/// Answers the messages with these, one after the other.
#[derive(Debug)]
struct Answers(VecDeque<Response>);

impl Processor for Answers {
    fn message(&mut self, _: ProcessingRequest, replies: &mut Replies) {
        if let Some(response) = self.0.pop_front() {
            replies.send(ProcessingResponse { response: Some(response), ..ProcessingResponse::default() });
        }
    }
}

fn sets_length(length: &'static str) -> Response {
    let header = HeaderValue {
        key: Bytes::from_static(b"content-length"),
        raw_value: Bytes::from_static(length.as_bytes()),
        ..HeaderValue::default()
    };
    let set = HeaderValueOption { header: Some(header), ..HeaderValueOption::default() };
    let header_mutation = Some(HeaderMutation { set_headers: vec![set], remove_headers: Vec::new() });
    let response = Some(CommonResponse { header_mutation, ..CommonResponse::default() });
    Response::RequestHeaders(HeadersResponse { response })
}

fn replaces_body(body: &'static str) -> Response {
    let body_mutation = Some(BodyMutation { mutation: Some(Mutation::Body(Bytes::from_static(body.as_bytes()))) });
    let response = Some(CommonResponse { body_mutation, ..CommonResponse::default() });
    Response::RequestBody(BodyResponse { response })
}

fn headers(entries: &[(&'static str, &'static str)]) -> Headers {
    entries.iter().map(|(name, value)| (Name::from_static(name), Value::from_static(value))).collect()
}

fn buffered() -> Options {
    let processing_mode = ProcessingMode {
        request_body: BodyMode::Buffered,
        request_trailers: true,
        response_headers: false,
        ..ProcessingMode::default()
    };
    Options { processing_mode, ..Options::default() }
}

fn exchange(options: Options, client: Script, answers: impl IntoIterator<Item = Response>) -> Outcome {
    let answers = Answers(answers.into_iter().collect());
    let filter = (Arc::new(Config::new(options).unwrap()), Box::new(answers) as Box<dyn Processor>);
    let answer = Script::message(headers(&[(":status", "200")]), [], None);
    Pair::new(crate::case::start(), [filter]).client(client).upstream(Upstream::new(Begin::AtEnd, answer)).run()
}

fn post(length: &'static str, chunks: &[&'static str], trailers: Option<Headers>) -> Script {
    let chunks: Vec<_> = chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect();
    Script::message(headers(&[(":method", "POST"), ("content-length", length)]), chunks, trailers)
}

/// A processor announces the length of a body that it then fails to give: the original body must not go on under it.
#[test]
fn failing_open_takes_back_the_length_of_a_body_that_never_came() {
    let options = Options { failure_mode_allow: true, ..buffered() };
    let outcome = exchange(
        options,
        post("5", &["he", "llo"], None),
        [sets_length("1"), Response::ResponseTrailers(<_>::default())],
    );
    assert_eq!(outcome.request.headers, Some(headers(&[(":method", "POST")])), "{}", outcome.print());
    assert_eq!(outcome.request.body, b"hello");
    assert_eq!((outcome.ending, outcome.stats[0].failure_mode_allowed), (Ending::Complete, 1));
}

/// The headers answer announces a body, but the body turns out empty in front of trailers: it is never asked for.
#[test]
fn no_length_for_a_body_that_is_never_asked_for() {
    let client = Script::new().headers(headers(&[(":method", "POST")]), false);
    let client = client.wait(std::time::Duration::from_millis(1)).trailers(headers(&[("x-t", "1")]));
    let outcome = exchange(buffered(), client, [sets_length("7"), Response::RequestTrailers(<_>::default())]);
    assert_eq!(outcome.request.headers, Some(headers(&[(":method", "POST")])), "{}", outcome.print());
    assert_eq!(outcome.request.trailers, Some(headers(&[("x-t", "1")])));
}

/// With `allow_content_length_header` the length left with headers that the processor did not want to see.
#[test]
fn a_changed_body_does_not_go_on_behind_another_length() {
    let mut options = Options { allow_content_length_header: true, ..buffered() };
    options.processing_mode.request_headers = false;
    let outcome = exchange(options, post("5", &["hello"], None), [replaces_body("hello, world")]);
    assert_eq!(outcome.response.status(), Some(500), "{}", outcome.print());
    assert!(outcome.request.body.is_empty() && !outcome.request.ended, "{:?}", outcome.request);
}

fn full_duplex(profile: Profile) -> Options {
    let mut options = Options { profile, failure_mode_allow: true, ..buffered() };
    options.processing_mode.request_body = BodyMode::FullDuplexStreamed;
    options
}

/// gRPC's reading opens also on bad content; trailers that a bad mutation was meant for are still there.
#[test]
fn failing_open_on_a_bad_trailers_mutation_keeps_the_trailers() {
    let bad = HeaderMutation { set_headers: Vec::new(), remove_headers: vec!["not metadata".to_owned()] };
    let client = Script::new().headers(headers(&[(":method", "POST")]), false);
    let client = client.wait(std::time::Duration::from_millis(1)).trailers(headers(&[("x-t", "1")]));
    let answers = [
        Response::RequestHeaders(HeadersResponse::default()),
        Response::RequestTrailers(TrailersResponse { header_mutation: Some(bad) }),
    ];
    let outcome = exchange(full_duplex(Profile::Grpc), client, answers);
    assert_eq!(outcome.request.trailers, Some(headers(&[("x-t", "1")])), "{}", outcome.print());
    assert_eq!((outcome.ending, outcome.stats[0].failure_mode_allowed), (Ending::Complete, 1));
}

/// What has gone on behind a length that it does not fit cannot be passed off as unprocessed.
#[test]
fn a_broken_length_does_not_fail_open() {
    let options = Options { allow_content_length_header: true, ..full_duplex(Profile::Grpc) };
    let client = Script::new().headers(headers(&[(":method", "POST"), ("content-length", "3")]), false);
    let client = client.wait(std::time::Duration::from_millis(1)).trailers(headers(&[]));
    let answers =
        [Response::RequestHeaders(HeadersResponse::default()), Response::RequestTrailers(TrailersResponse::default())];
    let outcome = exchange(options, client, answers);
    assert_eq!((outcome.ending, outcome.response.status()), (Ending::Complete, Some(500)), "{}", outcome.print());
    assert_eq!((outcome.stats[0].failure_mode_allowed, outcome.request.ended), (0, false));
}

/// With `allow_content_length_header` a length that the processor sets counts, also when the body went out before it.
#[test]
fn a_length_for_a_body_that_did_not_wait_is_kept() {
    let mut options = Options { allow_content_length_header: true, ..buffered() };
    options.processing_mode.request_body = BodyMode::Streamed;
    options.send_body_without_waiting_for_header_response = true;
    let client = Script::message(headers(&[(":method", "POST")]), [Bytes::from_static(b"hello")], None);
    let outcome = exchange(options, client, [sets_length("3"), replaces_body("bye")]);
    assert_eq!(outcome.request.headers, Some(headers(&[(":method", "POST"), ("content-length", "3")])));
    assert_eq!((outcome.request.body, outcome.request.ended), (b"bye".to_vec(), true));
}
