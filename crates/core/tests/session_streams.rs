//! The session where output is not one answer for each message: credit, drain, replies in parts.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use extproc_core::Direction;
use extproc_core::headers::{Name, Value};
use extproc_core::session::{Answer, ApiMisuse, Call, Chunk, DrainForm, HeadersAnswer, Session, Violation};
use extproc_proto::processing_request::{ClientWindowUpdate, FlowControlInit, Request};
use extproc_proto::processing_response::{Response, ServerWindowUpdate};
use extproc_proto::{HttpBody, HttpHeaders, ProcessingRequest, ProtocolConfiguration};

const NONE: i32 = 0;
const STREAMED: i32 = 1;
const FULL_DUPLEX_STREAMED: i32 = 4;
const GRPC: i32 = 5;

/// A session that has the request's headers.
fn opened(mode: i32, windows: Option<i64>) -> Session {
    let mut session = Session::new();
    let first = ProcessingRequest {
        request: Some(Request::RequestHeaders(HttpHeaders::default())),
        protocol_config: Some(ProtocolConfiguration {
            request_body_mode: mode,
            response_body_mode: NONE,
            ..ProtocolConfiguration::default()
        }),
        flow_control_init: windows.map(|window| FlowControlInit {
            initial_window_downstream_to_sidestream: window,
            initial_window_sidestream_to_upstream: window,
            ..FlowControlInit::default()
        }),
        ..ProcessingRequest::default()
    };
    session.handle(first).unwrap();
    session
}

fn answered(mode: i32, windows: Option<i64>) -> Session {
    let mut session = opened(mode, windows);
    session.answer(Direction::Request, Answer::Headers(HeadersAnswer::default())).unwrap();
    while session.poll_reply().is_some() {}
    session
}

fn body(data: &'static str) -> ProcessingRequest {
    let body = HttpBody { body: data.into(), ..HttpBody::default() };
    ProcessingRequest { request: Some(Request::RequestBody(body)), ..ProcessingRequest::default() }
}

fn grant(bytes: i64) -> ProcessingRequest {
    let update = ClientWindowUpdate { window_increment_sidestream_to_upstream: bytes, ..ClientWindowUpdate::default() };
    ProcessingRequest { client_window_update: Some(update), ..ProcessingRequest::default() }
}

fn send(session: &mut Session, data: &'static str) {
    let chunk = Chunk { data: data.into(), ..Chunk::default() };
    session.answer(Direction::Request, Answer::Chunk(chunk)).unwrap();
}

/// The bytes that went out, message by message.
fn out(session: &mut Session) -> Vec<String> {
    use extproc_proto::body_mutation::Mutation;
    let mut texts = Vec::new();
    while let Some(reply) = session.poll_reply() {
        let Some(Response::RequestBody(body)) = reply.response else { continue };
        let Some(Mutation::StreamedResponse(chunk)) = body.response.unwrap().body_mutation.unwrap().mutation else {
            panic!("not streamed")
        };
        texts.push(chunk.body.escape_ascii().to_string());
    }
    texts
}

#[test]
fn a_message_goes_while_the_window_is_positive_and_the_rest_waits_in_order() {
    let mut session = answered(GRPC, Some(4));
    session.handle(body("in")).unwrap();
    for data in ["abcdefg", "hi", ""] {
        send(&mut session, data);
    }
    assert_eq!(
        out(&mut session),
        ["abcdefg"],
        "larger than the window, but it was positive; the empty one keeps its place"
    );
    session.handle(grant(3)).unwrap();
    assert_eq!(out(&mut session), [""; 0], "the window is 0");
    session.handle(grant(1)).unwrap();
    assert_eq!(out(&mut session), ["hi", ""]);
    assert_eq!(session.stalls(Direction::Request), 1);
    assert_eq!(session.handle(grant(i64::MAX)), Ok(Call::Nothing), "the window was below zero");
    assert_eq!(session.handle(grant(i64::MAX)), Err(Violation::WindowOverflow(Direction::Request)));
}

#[test]
fn chunks_are_cut_to_fit() {
    let mut session = answered(FULL_DUPLEX_STREAMED, Some(4));
    session.handle(body("in")).unwrap();
    send(&mut session, "abcdefg");
    assert_eq!(out(&mut session), ["abcd"]);
    session.handle(grant(10)).unwrap();
    assert_eq!(out(&mut session), ["efg"]);
}

#[test]
fn a_data_plane_that_keeps_windows_and_goes_on_without_credit_is_refused() {
    let mut session = answered(GRPC, Some(2));
    session.handle(grant(1)).unwrap();
    for _ in 0..2 {
        session.handle(body("in")).unwrap();
        send(&mut session, "out");
        while session.poll_reply().is_some() {}
    }
    let refused = session.handle(body("in"));
    assert_eq!(refused, Err(Violation::NoCredit(Direction::Request)), "the queue is bounded");
}

#[test]
fn a_data_plane_that_may_not_know_that_we_keep_windows_has_more() {
    let mut session = answered(GRPC, Some(2));
    let big = Bytes::from(vec![0; 4 << 20]);
    let body = HttpBody { body: big.clone(), ..HttpBody::default() };
    let message = ProcessingRequest { request: Some(Request::RequestBody(body)), ..ProcessingRequest::default() };
    let taken = (0..100).take_while(|_| {
        let taken = session.handle(message.clone()).is_ok();
        if taken {
            let chunk = Chunk { data: big.clone(), ..Chunk::default() };
            session.answer(Direction::Request, Answer::Chunk(chunk)).unwrap();
            while session.poll_reply().is_some() {}
        }
        taken
    });
    assert_eq!(taken.count(), 5, "one went out, 16 MiB wait");
}

#[test]
fn the_first_message_says_that_we_keep_windows() {
    let told = |windows| {
        let mut session = opened(GRPC, windows);
        session.answer(Direction::Request, Answer::Headers(HeadersAnswer::default())).unwrap();
        send(&mut session, "out");
        std::iter::from_fn(|| session.poll_reply()).map(|reply| reply.server_window_update).collect::<Vec<_>>()
    };
    assert_eq!(told(Some(9)), [Some(ServerWindowUpdate::default()), None]);
    assert_eq!(told(None), [None, None], "where the data plane has some");
}

#[test]
fn what_waits_goes_out_when_no_credit_can_come() {
    let mut session = answered(GRPC, Some(1));
    session.handle(body("in")).unwrap();
    send(&mut session, "ab");
    send(&mut session, "cd");
    assert_eq!(out(&mut session), ["ab"]);
    session.handle_end();
    assert_eq!(out(&mut session), ["cd"]);
}

#[test]
fn drains() {
    assert_eq!(opened(STREAMED, Some(9)).drain_form(), None, "only in GRPC mode");
    assert_eq!(opened(GRPC, None).drain_form(), Some(DrainForm::Legacy));
    let mut session = opened(GRPC, Some(9));
    assert_eq!(session.drain_form(), Some(DrainForm::Directional));
    assert!(session.drain(DrainForm::Directional));
    assert_eq!(session.poll_reply(), None, "never in a message of its own");
    session.answer(Direction::Request, Answer::Headers(HeadersAnswer::default())).unwrap();
    assert!(session.poll_reply().unwrap().request_drain_requests);
    assert!(!session.may_close());
    assert_eq!(session.answer(Direction::Request, Answer::Drained), Err(ApiMisuse::NotOwed(Direction::Request)));
    let drained = HttpBody { drain_complete: true, ..HttpBody::default() };
    let drained = ProcessingRequest { request: Some(Request::RequestBody(drained)), ..ProcessingRequest::default() };
    assert_eq!(session.handle(drained.clone()), Ok(Call::Drained { direction: Direction::Request }));
    session.answer(Direction::Request, Answer::Drained).unwrap();
    while session.poll_reply().is_some() {}
    assert!(session.may_close());
    assert_eq!(session.handle(drained), Err(Violation::Drain(Direction::Request)));
    assert_eq!(session.handle(body("late")), Err(Violation::AfterEnd(Direction::Request)));
}

#[test]
fn replies_in_parts_only_where_the_data_plane_takes_them() {
    for (mode, may) in [(NONE, true), (FULL_DUPLEX_STREAMED, true), (STREAMED, false), (GRPC, false)] {
        let mut session = opened(mode, None);
        assert_eq!(session.may_stream_reply(), may, "{mode}");
        let begun = session.stream_reply(200, vec![(Name::from_static("a"), Value::from_static("1"))], false);
        assert_eq!(begun, if may { Ok(()) } else { Err(ApiMisuse::NoStreamedReply) }, "{mode}");
        if !may {
            assert_eq!(session.poll_reply(), None, "{mode}");
            continue;
        }
        session.stream_reply_body(Bytes::from_static(b"x"), false).unwrap();
        session.stream_reply_trailers(Vec::new()).unwrap();
        assert_eq!(session.stream_reply_body(Bytes::new(), true), Err(ApiMisuse::Ended), "nothing follows the end");
        let parts = std::iter::from_fn(|| session.poll_reply()).count();
        assert_eq!(parts, 3);
        assert!(session.is_ended());
    }
    assert!(!answered(NONE, None).may_stream_reply(), "the headers are answered");
}
