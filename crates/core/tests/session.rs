//! The processor's session: what it accepts, what it refuses, and that nothing a peer sends breaks it.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use extproc_core::headers::{Name, Value};
use extproc_core::session::{
    Answer, ApiMisuse, BodyAnswer, BodyModes, Call, Chunk, DynamicMetadata, HeaderEdits, HeadersAnswer, ImmediateReply,
    Session, Violation,
};
use extproc_core::{BodyMode, Direction};
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProtocolConfiguration,
    body_mutation,
};
use proptest::collection::vec;
use proptest::prelude::*;

const MODES: [BodyMode; 6] = [
    BodyMode::None,
    BodyMode::Streamed,
    BodyMode::Buffered,
    BodyMode::BufferedPartial,
    BodyMode::FullDuplexStreamed,
    BodyMode::Grpc,
];

fn number(mode: BodyMode) -> i32 {
    MODES.iter().position(|m| *m == mode).and_then(|at| i32::try_from(at).ok()).unwrap()
}

/// A session that has taken a declaration and nothing else.
fn declared(mode: BodyMode) -> Session {
    let mut session = Session::new();
    let config = ProtocolConfiguration {
        request_body_mode: number(mode),
        response_body_mode: number(mode),
        send_body_without_waiting_for_header_response: false,
    };
    let first = ProcessingRequest { protocol_config: Some(config), ..ProcessingRequest::default() };
    assert_eq!(session.handle(first), Ok(Call::Nothing));
    session
}

fn message(request: Request) -> ProcessingRequest {
    ProcessingRequest { request: Some(request), ..ProcessingRequest::default() }
}

fn headers(direction: Direction, end_of_stream: bool) -> ProcessingRequest {
    let headers = HttpHeaders { end_of_stream, ..HttpHeaders::default() };
    message(match direction {
        Direction::Request => Request::RequestHeaders(headers),
        Direction::Response => Request::ResponseHeaders(headers),
    })
}

fn body(direction: Direction, end_of_stream: bool) -> ProcessingRequest {
    let body = HttpBody { body: Bytes::from_static(b"x"), end_of_stream, ..HttpBody::default() };
    message(match direction {
        Direction::Request => Request::RequestBody(body),
        Direction::Response => Request::ResponseBody(body),
    })
}

fn trailers(direction: Direction) -> ProcessingRequest {
    message(match direction {
        Direction::Request => Request::RequestTrailers(HttpTrailers::default()),
        Direction::Response => Request::ResponseTrailers(HttpTrailers::default()),
    })
}

fn edits() -> HeaderEdits {
    let mut edits = HeaderEdits::new();
    edits.set(Name::from_static("a"), Value::from_static("1"));
    edits
}

fn head_answer() -> Answer {
    Answer::Headers(HeadersAnswer::default())
}

fn body_answer() -> Answer {
    Answer::Body(BodyAnswer::default())
}

fn chunk(end_stream: bool) -> Answer {
    Answer::Chunk(Chunk { end_stream, ..Chunk::default() })
}

const Q: Direction = Direction::Request;
const P: Direction = Direction::Response;

#[test]
fn refusals() {
    type Setup = fn(&mut Session);
    let late_head = || Answer::Body(BodyAnswer { edits: edits(), ..BodyAnswer::default() });
    let replace = || Answer::Headers(HeadersAnswer { replace: Some(Bytes::new()), ..HeadersAnswer::default() });
    let rows: [(&str, BodyMode, Setup, Answer, ApiMisuse); 13] = [
        ("nothing came", BodyMode::Buffered, |_| (), head_answer(), ApiMisuse::NotOwed(Q)),
        ("headers twice", BodyMode::Buffered, headers_answered, head_answer(), ApiMisuse::NotOwed(Q)),
        ("no body came", BodyMode::Buffered, headers_answered, body_answer(), ApiMisuse::NotOwed(Q)),
        ("no trailers came", BodyMode::Buffered, headers_answered, Answer::Trailers(edits()), ApiMisuse::NotOwed(Q)),
        ("head after chunk", BodyMode::FullDuplexStreamed, eager_body, chunk(false), ApiMisuse::HeadersFirst(Q)),
        ("head after body", BodyMode::Streamed, eager_body, body_answer(), ApiMisuse::HeadersFirst(Q)),
        ("chunk where one answer is due", BodyMode::Streamed, body_came, chunk(true), ApiMisuse::OneAnswerEach(Q)),
        ("one answer where chunks are due", BodyMode::Grpc, body_came, body_answer(), ApiMisuse::ChunksOnly(Q)),
        ("head edit that would be lost", BodyMode::Streamed, body_came, late_head(), ApiMisuse::HeadersGone(Q)),
        ("body before trailers", BodyMode::Streamed, trailers_came, Answer::Trailers(edits()), ApiMisuse::BodyFirst(Q)),
        ("end before trailers", BodyMode::FullDuplexStreamed, trailers_came, chunk(true), ApiMisuse::TrailersOwed(Q)),
        ("output behind the end", BodyMode::FullDuplexStreamed, output_ended, chunk(false), ApiMisuse::AfterEnd(Q)),
        ("replacing in full duplex", BodyMode::FullDuplexStreamed, headers_came, replace(), ApiMisuse::NoReplace(Q)),
    ];
    for (what, mode, setup, answer, expected) in rows {
        let mut session = declared(mode);
        setup(&mut session);
        while session.poll_reply().is_some() {}
        assert_eq!(session.answer(Q, answer), Err(expected), "{what}");
        assert_eq!(session.poll_reply(), None, "{what}: nothing was sent");
    }
}

fn headers_came(session: &mut Session) {
    session.handle(headers(Q, false)).unwrap();
}

fn headers_answered(session: &mut Session) {
    headers_came(session);
    session.answer(Q, head_answer()).unwrap();
}

fn eager_body(session: &mut Session) {
    headers_came(session);
    session.handle(body(Q, false)).unwrap();
}

fn body_came(session: &mut Session) {
    headers_answered(session);
    session.handle(body(Q, false)).unwrap();
}

fn trailers_came(session: &mut Session) {
    body_came(session);
    session.handle(trailers(Q)).unwrap();
}

fn output_ended(session: &mut Session) {
    body_came(session);
    session.answer(Q, chunk(true)).unwrap();
}

#[test]
fn violations() {
    type Before = fn(&mut Session);
    let bad_name =
        HeaderMap { headers: vec![HeaderValue { key: Bytes::from_static(b"a b"), ..HeaderValue::default() }] };
    let bad = message(Request::RequestHeaders(HttpHeaders { headers: Some(bad_name), ..HttpHeaders::default() }));
    let rows: [(&str, BodyMode, Before, ProcessingRequest, Violation); 7] = [
        ("headers twice", BodyMode::None, headers_came, headers(Q, false), Violation::LateHeaders(Q)),
        ("headers behind the body", BodyMode::Streamed, body_came, headers(Q, false), Violation::LateHeaders(Q)),
        ("body in NONE", BodyMode::None, headers_came, body(Q, false), Violation::UndeclaredBody(Q)),
        ("two bodies", BodyMode::Buffered, body_came, body(Q, true), Violation::SecondBody(Q)),
        ("body behind trailers", BodyMode::Streamed, trailers_came, body(Q, true), Violation::AfterEnd(Q)),
        ("trailers twice", BodyMode::Streamed, trailers_came, trailers(Q), Violation::AfterEnd(Q)),
        ("no header name", BodyMode::None, |_| (), bad, Violation::Name(extproc_core::headers::InvalidName)),
    ];
    for (what, mode, before, message, expected) in rows {
        let mut session = declared(mode);
        before(&mut session);
        assert_eq!(session.handle(message), Err(expected), "{what}");
    }
    let config = ProtocolConfiguration { request_body_mode: 9, ..ProtocolConfiguration::default() };
    let first = ProcessingRequest { protocol_config: Some(config), ..ProcessingRequest::default() };
    assert_eq!(Session::new().handle(first), Err(Violation::UnknownMode(9)));
}

#[test]
fn replies_and_when_the_response_has_begun() {
    type Before = fn(&mut Session);
    let rows: [(&str, BodyMode, Before, bool); 6] = [
        ("nothing came", BodyMode::None, |_| (), true),
        ("request only", BodyMode::Streamed, body_came, true),
        ("response headers wait", BodyMode::Streamed, |s| drop(s.handle(headers(P, false))), true),
        ("response headers are through", BodyMode::Streamed, response_headers_answered, false),
        ("the body holds them", BodyMode::Buffered, response_headers_answered, true),
        ("the body is answered", BodyMode::Buffered, response_body_answered, false),
    ];
    for (what, mode, before, accepted) in rows {
        let mut session = declared(mode);
        before(&mut session);
        let result = session.reply(ImmediateReply { status: 403, ..ImmediateReply::default() });
        assert_eq!(result, if accepted { Ok(()) } else { Err(ApiMisuse::ResponseBegun) }, "{what}");
        assert_eq!(session.is_ended(), accepted, "{what}");
    }
}

fn response_headers_answered(session: &mut Session) {
    session.handle(headers(P, false)).unwrap();
    session.answer(P, head_answer()).unwrap();
}

fn response_body_answered(session: &mut Session) {
    response_headers_answered(session);
    session.handle(body(P, true)).unwrap();
    session.answer(P, body_answer()).unwrap();
}

#[test]
fn a_granted_mode_is_in_force() {
    let mut session = declared(BodyMode::None);
    session.handle(headers(Q, false)).unwrap();
    let ask = Some(BodyModes { request: BodyMode::Buffered, response: BodyMode::None });
    session.answer(Q, Answer::Headers(HeadersAnswer { ask, ..HeadersAnswer::default() })).unwrap();
    assert!(matches!(session.handle(body(Q, true)), Ok(Call::Body { .. })));
    assert_eq!(session.body_mode(Q), Some(BodyMode::Buffered));
    assert_eq!(session.handle(body(P, true)), Err(Violation::UndeclaredBody(P)));
}

#[test]
fn value_is_read_where_raw_value_is_missing() {
    let entry = |raw: &'static [u8], value: &'static [u8]| HeaderValue {
        key: Bytes::from_static(b"A"),
        value: Bytes::from_static(value),
        raw_value: Bytes::from_static(raw),
    };
    let map = HeaderMap { headers: vec![entry(b"raw", b""), entry(b"", b"text"), entry(b"raw", b"text")] };
    let request = message(Request::RequestHeaders(HttpHeaders { headers: Some(map), ..HttpHeaders::default() }));
    let Ok(Call::Headers { headers, .. }) = Session::new().handle(request) else { panic!("not headers") };
    let values: Vec<_> = headers.get_all("a").map(|v| v.to_str().unwrap().to_owned()).collect();
    assert_eq!(values, ["raw", "text", "raw"]);
}

/// One step of an arbitrary peer or an arbitrary author.
#[derive(Clone, Debug)]
enum Step {
    Peer { direction: Direction, part: u8, end: bool },
    Author { direction: Direction, answer: u8, end: bool },
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let direction = prop_oneof![Just(Q), Just(P)];
    prop_oneof![
        10 => (direction.clone(), 0u8..4, any::<bool>()).prop_map(|(direction, part, end)| Step::Peer { direction, part, end }),
        10 => (direction, 0u8..8, any::<bool>()).prop_map(|(direction, answer, end)| Step::Author { direction, answer, end }),
        1 => Just(Step::End),
    ]
}

fn peer(direction: Direction, part: u8, end: bool) -> ProcessingRequest {
    match part {
        0 => headers(direction, end),
        1 => body(direction, end),
        2 => trailers(direction),
        _ => ProcessingRequest::default(),
    }
}

fn author(session: &mut Session, direction: Direction, answer: u8, end: bool) -> Result<(), ApiMisuse> {
    match answer {
        0 => session.answer(direction, head_answer()),
        1 => session.answer(
            direction,
            Answer::Headers(HeadersAnswer {
                replace: end.then(Bytes::new),
                edits: edits(),
                ..HeadersAnswer::default()
            }),
        ),
        2 => session.answer(direction, body_answer()),
        3 => session.answer(direction, Answer::Body(BodyAnswer { edits: edits(), ..BodyAnswer::default() })),
        4 => session.answer(direction, chunk(end)),
        5 => session.answer(direction, Answer::Trailers(edits())),
        6 => session.reply(ImmediateReply::default()),
        _ => session.cut("x"),
    }
}

/// What went out in one direction, judged as a strict data plane would.
#[derive(Default)]
struct Judge {
    headers: usize,
    bodies: usize,
    trailers: usize,
    ended: bool,
}

impl Judge {
    fn headers(&mut self) {
        self.headers += 1;
        assert!(self.headers == 1 && self.bodies == 0 && self.trailers == 0, "headers go first and once");
    }

    fn body(&mut self, response: &extproc_proto::BodyResponse, mode: BodyMode) {
        assert!(!self.ended && self.trailers == 0, "output behind the end");
        self.bodies += 1;
        let common = response.response.as_ref();
        let mutation = common.and_then(|r| r.body_mutation.as_ref()?.mutation.as_ref());
        let chunked = matches!(mode, BodyMode::FullDuplexStreamed | BodyMode::Grpc);
        match mutation {
            Some(body_mutation::Mutation::StreamedResponse(chunk)) => {
                assert!(chunked, "chunk in {mode:?}");
                self.ended = chunk.end_of_stream;
            }
            _ => assert!(!chunked, "one answer in {mode:?}"),
        }
        let edited = common.is_some_and(|r| r.header_mutation.is_some());
        assert!(!edited || matches!(mode, BodyMode::Buffered | BodyMode::BufferedPartial), "lost edit in {mode:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_peers_and_authors(mode in 0usize..6, observing in prop::bool::weighted(0.1), steps in vec(step(), 0..24)) {
        let mode = MODES[mode];
        let mut session = Session::new();
        let config = ProtocolConfiguration {
            request_body_mode: number(mode), response_body_mode: number(mode),
            send_body_without_waiting_for_header_response: false,
        };
        session.handle(ProcessingRequest {
            protocol_config: Some(config), observability_mode: observing, ..ProcessingRequest::default()
        }).unwrap();
        let mut judges = [Judge::default(), Judge::default()];
        let mut immediate = 0;
        for step in steps {
            match step {
                // A violation ends the exchange; going on must still not panic.
                Step::Peer { direction, part, end } => drop(session.handle(peer(direction, part, end))),
                Step::Author { direction, answer, end } => drop(author(&mut session, direction, answer, end)),
                Step::End => session.handle_end(),
            }
            while let Some(reply) = session.poll_reply() {
                prop_assert!(!observing, "nothing is sent while observing");
                prop_assert_eq!(immediate, 0, "nothing follows an immediate reply");
                let [request, response] = &mut judges;
                match reply.response.unwrap() {
                    Response::RequestHeaders(_) => request.headers(),
                    Response::ResponseHeaders(_) => response.headers(),
                    Response::RequestBody(r) => request.body(&r, mode),
                    Response::ResponseBody(r) => response.body(&r, mode),
                    Response::RequestTrailers(_) => request.trailers += 1,
                    Response::ResponseTrailers(_) => response.trailers += 1,
                    Response::ImmediateResponse(_) => immediate += 1,
                    Response::StreamedImmediateResponse(_) => prop_assert!(false, "never sent"),
                }
                prop_assert!(request.trailers <= 1 && response.trailers <= 1);
            }
        }
    }

    /// A peer that keeps to the protocol and an author who answers each call as its mode wants are never refused.
    #[test]
    fn obedience_is_never_refused(
        mode in 0usize..6, chunks in 0usize..5, with_trailers in any::<bool>(), header_only in any::<bool>(),
    ) {
        let mode = MODES[mode];
        let mut session = declared(mode);
        for direction in Direction::BOTH {
            let mut messages = vec![headers(direction, header_only)];
            let chunks = match mode {
                _ if header_only => 0,
                BodyMode::None => 0,
                BodyMode::Buffered | BodyMode::BufferedPartial => chunks.min(1),
                _ => chunks,
            };
            for n in 1..=chunks {
                messages.push(body(direction, n == chunks && !with_trailers));
            }
            if with_trailers && !header_only {
                messages.push(trailers(direction));
            }
            for message in messages {
                let answer = match session.handle(message).unwrap() {
                    Call::Headers { .. } => head_answer(),
                    Call::Body { chunk, .. } if matches!(mode, BodyMode::FullDuplexStreamed | BodyMode::Grpc) => {
                        Answer::Chunk(chunk)
                    }
                    Call::Body { .. } => body_answer(),
                    Call::Trailers { .. } => Answer::Trailers(HeaderEdits::new()),
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(session.answer(direction, answer), Ok(()));
                prop_assert!(session.poll_reply().is_some());
            }
        }
    }
}

#[test]
fn what_may_be_asked_for() {
    let row = |mode| {
        let session = declared(mode);
        MODES.map(|mode| session.may_ask_for(Direction::Request, mode))
    };
    // NONE, STREAMED, BUFFERED, BUFFERED_PARTIAL, FULL_DUPLEX_STREAMED, GRPC
    assert_eq!(row(BodyMode::None), [true, true, true, true, true, false]);
    assert_eq!(row(BodyMode::Streamed), [true, true, true, true, false, false]);
    assert_eq!(row(BodyMode::Buffered), [true, true, true, true, false, false]);
    assert_eq!(row(BodyMode::FullDuplexStreamed), [false; 6]);
    assert!(!Session::new().may_ask_for(Direction::Request, BodyMode::Buffered), "nothing is declared");
}

#[test]
fn streamed_may_be_asked_for_in_place_of_buffered() {
    let mut session = declared(BodyMode::Buffered);
    session.handle(headers(Direction::Request, false)).unwrap();
    let ask = BodyModes { request: BodyMode::Streamed, response: BodyMode::Buffered };
    let answer = HeadersAnswer { ask: Some(ask), ..HeadersAnswer::default() };
    session.answer(Direction::Request, Answer::Headers(answer)).unwrap();
    assert_eq!(session.body_mode(Direction::Request), Some(BodyMode::Streamed));
    for end in [false, true] {
        session.handle(body(Direction::Request, end)).unwrap();
        session.answer(Direction::Request, Answer::Body(BodyAnswer::default())).unwrap();
    }
}

#[test]
fn full_duplex_is_asked_for_with_trailers() {
    use extproc_proto::{BodySendMode, HeaderSendMode};
    let mut session = declared(BodyMode::None);
    session.handle(headers(Direction::Request, false)).unwrap();
    let ask = BodyModes { request: BodyMode::FullDuplexStreamed, response: BodyMode::None };
    let answer = HeadersAnswer { ask: Some(ask), ..HeadersAnswer::default() };
    session.answer(Direction::Request, Answer::Headers(answer)).unwrap();
    let modes = session.poll_reply().unwrap().mode_override.unwrap();
    assert_eq!(modes.request_body_mode(), BodySendMode::FullDuplexStreamed);
    assert_eq!(modes.request_trailer_mode(), HeaderSendMode::Send);
    assert_eq!(modes.response_trailer_mode(), HeaderSendMode::Default);
}

#[test]
fn more_time() {
    use std::time::Duration;
    for (mode, expected) in [(BodyMode::None, true), (BodyMode::Buffered, true), (BodyMode::FullDuplexStreamed, false)]
    {
        let mut session = declared(mode);
        assert!(!session.may_extend(Direction::Request), "{mode:?}: nothing is awaited");
        session.handle(headers(Direction::Request, false)).unwrap();
        assert_eq!(session.may_extend(Direction::Request), expected, "{mode:?}");
        assert!(!session.may_extend(Direction::Response), "{mode:?}");
        session.answer(Direction::Request, head_answer()).unwrap();
        assert!(!session.may_extend(Direction::Request), "{mode:?}: it is answered");
    }
    assert_eq!(Session::extension(Duration::from_micros(999)), None);
    let span = Session::extension(Duration::from_millis(1500)).unwrap().override_message_timeout.unwrap();
    assert_eq!((span.seconds, span.nanos), (1, 500_000_000));
}

#[test]
fn metadata_goes_out_once_with_the_next_message() {
    use prost_types::Value;
    use prost_types::value::Kind;
    let one = |key: &str, value: f64| {
        let mut metadata = DynamicMetadata::default();
        metadata.set("ns", key, value);
        metadata
    };
    let mut session = declared(BodyMode::None);
    session.handle(headers(Direction::Request, false)).unwrap();
    session.annotate(one("a", 1.0));
    session.annotate(one("b", 2.0));
    session.annotate(one("a", 3.0));
    session.answer(Direction::Request, head_answer()).unwrap();
    session.handle(headers(Direction::Response, false)).unwrap();
    session.answer(Direction::Response, head_answer()).unwrap();
    let first = session.poll_reply().unwrap().dynamic_metadata.unwrap();
    let Some(Kind::StructValue(ns)) = &first.fields["ns"].kind else { panic!("no namespace: {first:?}") };
    assert_eq!(ns.fields, [("a".to_owned(), Value::from(3.0)), ("b".to_owned(), Value::from(2.0))].into());
    assert_eq!(session.poll_reply().unwrap().dynamic_metadata, None);
}
