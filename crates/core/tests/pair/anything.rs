//! A session against a data plane that sends anything, and an author who answers anything.

use bytes::Bytes;
use extproc_core::headers::{Name, Value};
use extproc_core::session::{
    Answer, BodyAnswer, BodyChange, BodyModes, Chunk, HeaderEdits, HeadersAnswer, ImmediateReply,
};
use extproc_core::{BodyMode, Direction, Session};
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProtocolConfiguration,
};

use crate::properties::check;
use crate::rng::Rng;

/// Never a panic, never an answer without its message, nothing behind an immediate reply, nothing at all while only
/// observing.
#[test]
fn a_session_takes_anything() {
    crate::exchanges(20_000, |rng| {
        let mut session = Session::new();
        let mut asked = Counts::default();
        let mut answered = Counts::default();
        let mut log = Vec::new();
        let chunks = rng.percent(30);
        for number in 0..4 + rng.below(12) {
            if rng.percent(60) {
                let message = message(rng, number == 0, chunks);
                log.push(format!("{message:?}"));
                let kind = message.request.as_ref().map(asks);
                let call = session.handle(message);
                log.push(format!("{call:?}"));
                if call.is_ok() {
                    asked.add(kind);
                }
            } else {
                log.push(say(rng, &mut session));
            }
            let ended = answered.immediate;
            while let Some(reply) = session.poll_reply() {
                let kind = reply.response.as_ref().map(says);
                let whole = || format!("{kind:?} is out of place\n{}", log.join("\n"));
                check(!ended && !answered.immediate && !session.is_observing(), whole)?;
                answered.immediate |= matches!(reply.response, Some(Response::ImmediateResponse(_)));
                answered.add(kind.flatten());
            }
            for (kind, (asked, answered)) in asked.kinds.iter().zip(&answered.kinds).enumerate() {
                // Chunks have no number of their own.
                let bodies = kind % 3 == 1 && chunks;
                check(answered <= asked || bodies, || {
                    format!("more answers of kind {kind} than messages\n{}", log.join("\n"))
                })?;
            }
        }
        Ok(())
    });
}

/// Headers, bodies and trailers of the request, then of the response.
#[derive(Default)]
struct Counts {
    kinds: [usize; 6],
    immediate: bool,
}

impl Counts {
    fn add(&mut self, kind: Option<usize>) {
        if let Some(kind) = kind {
            self.kinds[kind] += 1;
        }
    }
}

const fn asks(request: &Request) -> usize {
    match request {
        Request::RequestHeaders(_) => 0,
        Request::RequestBody(_) => 1,
        Request::RequestTrailers(_) => 2,
        Request::ResponseHeaders(_) => 3,
        Request::ResponseBody(_) => 4,
        Request::ResponseTrailers(_) => 5,
    }
}

const fn says(response: &Response) -> Option<usize> {
    match response {
        Response::RequestHeaders(_) => Some(0),
        Response::RequestBody(_) => Some(1),
        Response::RequestTrailers(_) => Some(2),
        Response::ResponseHeaders(_) => Some(3),
        Response::ResponseBody(_) => Some(4),
        Response::ResponseTrailers(_) => Some(5),
        Response::ImmediateResponse(_) | Response::StreamedImmediateResponse(_) => None,
    }
}

fn message(rng: &mut Rng, first: bool, chunks: bool) -> ProcessingRequest {
    let headers = |rng: &mut Rng| {
        rng.percent(80).then(|| HeaderMap {
            headers: (0..rng.below(3))
                .map(|_| HeaderValue {
                    key: Bytes::from_static(rng.pick(&[b"x-a", b":path", b"A B", b""])),
                    value: Bytes::new(),
                    raw_value: Bytes::from_static(rng.pick(&[b"1", b"", b"\xff", b"\r\n"])),
                })
                .collect(),
        })
    };
    let end_of_stream = rng.percent(30);
    let request = match rng.below(13) {
        0..=1 => Request::RequestHeaders(HttpHeaders { headers: headers(rng), end_of_stream, ..<_>::default() }),
        2..=3 => Request::ResponseHeaders(HttpHeaders { headers: headers(rng), end_of_stream, ..<_>::default() }),
        4..=6 => Request::RequestBody(HttpBody { body: Bytes::from_static(b"q"), end_of_stream, ..<_>::default() }),
        7..=9 => Request::ResponseBody(HttpBody { body: Bytes::from_static(b"s"), end_of_stream, ..<_>::default() }),
        10..=11 => Request::RequestTrailers(HttpTrailers { trailers: headers(rng) }),
        _ => Request::ResponseTrailers(HttpTrailers { trailers: headers(rng) }),
    };
    // FULL_DUPLEX_STREAMED and GRPC are 4 and 5; the others are answered one by one.
    let modes: &[i32] = if chunks { &[0, 4, 5, 9, -1] } else { &[0, 1, 2, 3] };
    ProcessingRequest {
        request: rng.percent(95).then_some(request),
        observability_mode: rng.percent(10),
        protocol_config: (first && rng.percent(90)).then(|| ProtocolConfiguration {
            request_body_mode: rng.pick(modes),
            response_body_mode: rng.pick(modes),
            send_body_without_waiting_for_header_response: rng.percent(20),
        }),
        ..ProcessingRequest::default()
    }
}

/// What the author says; an answer that does not fit is refused and nothing goes out.
fn say(rng: &mut Rng, session: &mut Session) -> String {
    let direction = rng.pick(&Direction::BOTH);
    let mut edits = HeaderEdits::new();
    if rng.percent(30) {
        edits.set(Name::from_static("x-a"), Value::from_static("1"));
    }
    let answer = match rng.below(12) {
        0..=3 => Answer::Headers(HeadersAnswer {
            edits,
            replace: rng.percent(20).then(|| Bytes::from_static(b"new")),
            clear_route: rng.percent(20),
            ask: (session.may_ask() && rng.percent(20))
                .then_some(BodyModes { request: BodyMode::Buffered, response: BodyMode::None }),
        }),
        4..=6 => Answer::Body(BodyAnswer { edits, change: BodyChange::Clear, clear_route: false }),
        7..=8 => {
            Answer::Chunk(Chunk { data: Bytes::from_static(b"c"), end_stream: rng.percent(30), ..Chunk::default() })
        }
        9..=10 => Answer::Trailers(edits),
        _ if rng.percent(30) => {
            session.handle_end();
            return "handle_end".to_owned();
        }
        _ => {
            let done = session.reply(ImmediateReply { status: 403, ..ImmediateReply::default() });
            return format!("reply {done:?}");
        }
    };
    let text = format!("{answer:?}");
    format!("{text} {:?}", session.answer(direction, answer))
}
