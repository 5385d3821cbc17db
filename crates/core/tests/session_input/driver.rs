//! Bytes as an exchange: messages of a data plane, in any order, and answers of an author, in any order.

use bytes::Bytes;
use extproc_core::headers::{Name, Value};
use extproc_core::session::{
    Answer, BodyAnswer, BodyChange, BodyModes, Chunk, DrainForm, HeaderEdits, HeadersAnswer, ImmediateReply,
};
use extproc_core::{BodyMode, Direction, Session};
use extproc_proto::processing_request::{ClientWindowUpdate, FlowControlInit, Request};
use extproc_proto::{
    HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProtocolConfiguration,
};

use super::oracle::Oracle;

/// What is left of the bytes. When there are none, zeros come.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn one_of(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// Rare: once in 16.
    fn rarely(&mut self) -> bool {
        self.one_of(16) == 15
    }

    fn direction(&mut self) -> Direction {
        if self.byte() & 1 == 0 { Direction::Request } else { Direction::Response }
    }

    /// Mostly short, sometimes long.
    fn bytes(&mut self) -> Bytes {
        let length = match self.byte() {
            length @ 0..=0x7f => usize::from(length % 8),
            length @ 0x80..=0xef => usize::from(length),
            length => usize::from(length) << 9,
        };
        Bytes::from(vec![b'x'; length])
    }

    fn mode(&mut self) -> BodyMode {
        match self.one_of(6) {
            0 => BodyMode::None,
            1 => BodyMode::Streamed,
            2 => BodyMode::Buffered,
            3 => BodyMode::BufferedPartial,
            4 => BodyMode::FullDuplexStreamed,
            _ => BodyMode::Grpc,
        }
    }

    /// Usually a window that output runs into, sometimes a number that no window should have.
    fn window(&mut self) -> i64 {
        match self.byte() {
            0xff => i64::MAX,
            0xfe => i64::MIN,
            0xfd => -1,
            small => i64::from(small),
        }
    }

    fn headers(&mut self) -> HeaderMap {
        let header = |input: &mut Self| {
            let keys = [&b"x-a"[..], b":path", b":status", b"content-length", b"X-Upper", b"x a", b"", b"te"];
            let values = [&b"1"[..], b"", b"200", b"a\r\nb", b"\xff"];
            let key = Bytes::from_static(keys[usize::from(input.one_of(8))]);
            let value = Bytes::from_static(values[usize::from(input.one_of(5))]);
            let (value, raw_value) = if input.rarely() { (value, Bytes::new()) } else { (Bytes::new(), value) };
            HeaderValue { key, value, raw_value }
        };
        // Names and values that HTTP does not have end the exchange at once: most inputs go further.
        let count = if self.rarely() { 3 } else { 0 };
        HeaderMap { headers: (0..count).map(|_| header(self)).collect() }
    }

    fn message(&mut self) -> ProcessingRequest {
        let request = self.request();
        ProcessingRequest { request, ..ProcessingRequest::default() }
    }

    fn request(&mut self) -> Option<Request> {
        let kind = self.one_of(8);
        let last = self.byte() & 3 == 0;
        Some(match kind {
            0 => Request::RequestHeaders(self.http_headers(last)),
            1 => Request::ResponseHeaders(self.http_headers(last)),
            2 | 3 => Request::RequestBody(self.http_body(last)),
            4 | 5 => Request::ResponseBody(self.http_body(last)),
            6 if last => Request::RequestTrailers(HttpTrailers { trailers: Some(self.headers()) }),
            6 => Request::ResponseTrailers(HttpTrailers { trailers: None }),
            _ => return None,
        })
    }

    fn http_headers(&mut self, end_of_stream: bool) -> HttpHeaders {
        HttpHeaders { headers: Some(self.headers()), end_of_stream, ..HttpHeaders::default() }
    }

    fn http_body(&mut self, end_of_stream: bool) -> HttpBody {
        HttpBody {
            body: self.bytes(),
            end_of_stream,
            end_of_stream_without_message: self.rarely(),
            grpc_message_compressed: self.rarely(),
            drain_complete: self.rarely(),
        }
    }

    /// The first message declares what the data plane will do, or lies about it.
    fn first(&mut self) -> ProcessingRequest {
        let mut first = self.message();
        first.observability_mode = self.rarely();
        if self.byte() & 7 != 0 {
            first.protocol_config = Some(ProtocolConfiguration {
                request_body_mode: self.send_mode(),
                response_body_mode: self.send_mode(),
                send_body_without_waiting_for_header_response: self.rarely(),
            });
        }
        if self.byte() & 1 == 1 {
            first.flow_control_init = Some(FlowControlInit {
                initial_window_downstream_to_sidestream: self.window(),
                initial_window_sidestream_to_upstream: self.window(),
                initial_window_upstream_to_sidestream: self.window(),
                initial_window_sidestream_to_downstream: self.window(),
            });
        }
        first
    }

    fn send_mode(&mut self) -> i32 {
        if self.rarely() { 77 } else { i32::from(self.one_of(6)) }
    }

    fn edits(&mut self) -> HeaderEdits {
        let mut edits = HeaderEdits::new();
        for _ in 0..self.one_of(4) {
            let name = Name::from_static(["x-a", "x-b", "content-length", ":path"][usize::from(self.one_of(4))]);
            match self.one_of(3) {
                0 => edits.set(name, Value::from_static("v")),
                1 => edits.append(name, Value::from_static("v")),
                _ => edits.remove(name),
            }
        }
        edits
    }

    fn chunk(&mut self) -> Chunk {
        Chunk {
            data: self.bytes(),
            end_stream: self.byte() & 3 == 0,
            without_message: self.rarely(),
            compressed: self.rarely(),
        }
    }

    fn answer(&mut self) -> Answer {
        match self.one_of(8) {
            0 | 1 => Answer::Headers(HeadersAnswer {
                edits: self.edits(),
                replace: self.rarely().then(|| self.bytes()),
                clear_route: self.rarely(),
                ask: self.rarely().then(|| BodyModes { request: self.mode(), response: self.mode() }),
            }),
            2 | 3 => Answer::Body(BodyAnswer {
                edits: if self.rarely() { self.edits() } else { HeaderEdits::new() },
                change: match self.one_of(3) {
                    0 => BodyChange::Keep,
                    1 => BodyChange::Replace(self.bytes()),
                    _ => BodyChange::Clear,
                },
                clear_route: self.rarely(),
            }),
            4 | 5 => Answer::Chunk(self.chunk()),
            6 => Answer::Trailers(self.edits()),
            _ => Answer::Drained,
        }
    }
}

/// Plays the bytes. Panics when the session says something illegal, or panics itself.
pub(crate) fn play(data: &[u8]) {
    let mut input = Input(data);
    let (mut session, mut oracle) = (Session::new(), Oracle::default());
    let mut first = true;
    while !input.0.is_empty() {
        match input.one_of(16) {
            0..=6 => {
                let mut message = if std::mem::take(&mut first) { input.first() } else { input.message() };
                if input.rarely() {
                    message.client_window_update = Some(ClientWindowUpdate {
                        window_increment_sidestream_to_upstream: input.window(),
                        window_increment_sidestream_to_downstream: input.window(),
                    });
                }
                let request = message.request.clone();
                oracle.declared(&message);
                if session.handle(message).is_err() {
                    // The exchange ends with this error; what was answered before may still go out.
                    oracle.replies(&mut session);
                    return;
                }
                oracle.taken(request.as_ref());
            }
            7..=12 => {
                let (direction, answer) = (input.direction(), input.answer());
                oracle.asks(&answer);
                // A refused answer is the author's mistake, and changes nothing.
                let _ = session.answer(direction, answer);
            }
            13 => {
                let form = if input.byte() & 1 == 0 { DrainForm::Directional } else { DrainForm::Legacy };
                let _ = session.drain(form);
            }
            14 if input.rarely() => {
                let reply = ImmediateReply { status: 403, body: input.bytes(), ..ImmediateReply::default() };
                let _ = session.reply(reply);
            }
            15 if input.rarely() => {
                let _ = session.cut("fuzz");
            }
            _ if input.rarely() => {
                oracle.ended();
                session.handle_end();
            }
            _ => {}
        }
        oracle.replies(&mut session);
    }
}
