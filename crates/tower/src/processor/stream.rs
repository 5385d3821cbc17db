//! One gRPC stream to a processor, polled by the exchange it belongs to: no task, no channel.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use extproc_core::filter::GrpcStatus;
use extproc_proto::prost::Message;
use extproc_proto::{PROCESS_PATH, ProcessingRequest, ProcessingResponse};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};

use super::link::{Connection, Health};

/// The largest message a processor may send. Larger than any body a filter may hold by default.
const MAX_MESSAGE: usize = 64 << 20;
/// Length of the prefix of a gRPC message: a compression flag and the length.
const PREFIX: usize = 5;
/// How much is kept to be sent again when a processor refuses a stream without looking at it.
const MAX_REPLAY: usize = 64 << 10;

/// Metadata that the gRPC protocol itself sends.
const RESERVED: [header::HeaderName; 3] = [header::TE, header::CONTENT_TYPE, header::USER_AGENT];

pub(crate) struct SideStream {
    send: SendStream<Bytes>,
    /// What flow control has not let out yet.
    outbox: Bytes,
    half_closed: bool,
    receive: Receive,
    inbox: Inbox,
    health: Arc<Health>,
    /// How often data had come over the connection when this stream began.
    heard: u64,
    replay: Option<Replay>,
    refused: bool,
    /// Bytes of messages with their prefixes, sent and received, since somebody asked.
    bytes: [u64; 2],
}

/// What was sent on a stream that the processor has not answered yet.
#[derive(Default)]
pub(crate) struct Replay {
    bytes: BytesMut,
    half_closed: bool,
}

enum Receive {
    Head(ResponseFuture),
    Body(RecvStream),
    Trailers(RecvStream),
    Done,
}

impl SideStream {
    /// Sends the request headers, with this metadata of ours.
    pub(super) fn start(connection: &mut Connection, metadata: Option<&HeaderMap>) -> Result<Self, GrpcStatus> {
        let uri = Uri::builder().scheme("http").authority(&*connection.authority).path_and_query(PROCESS_PATH).build();
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.map_err(|error| status(13, &format!("no valid authority: {error}")))?;
        let fields = request.headers_mut();
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(header::USER_AGENT, HeaderValue::from_static(concat!("extproc/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in metadata.into_iter().flatten() {
            if !RESERVED.contains(name) {
                fields.append(name, value.clone());
            }
        }
        let (head, send) =
            connection.streams.send_request(request, false).map_err(|error| status_before_headers(&error))?;
        Ok(Self {
            send,
            outbox: Bytes::new(),
            half_closed: false,
            receive: Receive::Head(head),
            inbox: Inbox::default(),
            heard: connection.health.received(),
            health: Arc::clone(&connection.health),
            replay: Some(Replay::default()),
            refused: false,
            bytes: [0; 2],
        })
    }

    /// Whether a message may be given to [`send`](Self::send): all before it have left. Else wakes when it may.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.outbox.is_empty() {
            let capacity = self.send.capacity();
            if capacity > 0 {
                let piece = self.outbox.split_to(capacity.min(self.outbox.len()));
                if self.send.send_data(piece, false).is_err() {
                    self.outbox.clear();
                }
            } else {
                self.send.reserve_capacity(self.outbox.len());
                if self.send.capacity() > 0 {
                    continue;
                }
                match ready!(self.send.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    // The stream is over; the receiving side tells how.
                    Some(Err(_)) | None => self.outbox.clear(),
                }
            }
        }
        Poll::Ready(())
    }

    /// Takes a message; call only when [`poll_ready`](Self::poll_ready) allows.
    pub(crate) fn send(&mut self, message: &ProcessingRequest) {
        let length = message.encoded_len();
        let mut frame = BytesMut::with_capacity(PREFIX + length);
        frame.put_u8(0);
        // Messages are bounded by the buffer limit of the filter, far below 4 GiB.
        frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        message.encode_raw(&mut frame);
        self.replay = self.replay.take().filter(|it| it.bytes.len() + frame.len() <= MAX_REPLAY);
        if let Some(replay) = &mut self.replay {
            replay.bytes.extend_from_slice(&frame);
        }
        self.bytes[0] += frame.len() as u64;
        self.outbox = frame.freeze();
    }

    /// Sends what was sent on a stream that the processor refused. If it refuses this one too, that is final.
    pub(crate) fn resend(&mut self, replay: Replay) {
        self.replay = None;
        self.bytes[0] += replay.bytes.len() as u64;
        self.outbox = replay.bytes.freeze();
        if replay.half_closed {
            self.half_close();
        }
    }

    /// What to send on another stream, after this one has ended because the processor did not look at it: it has said
    /// that it takes no more streams on this connection (as one that is about to stop does).
    pub(crate) fn into_replay(self) -> Option<Replay> {
        self.replay.filter(|_| self.refused)
    }

    /// Ends the request stream. What has not left yet is dropped, which cannot happen after `poll_ready`.
    pub(crate) fn half_close(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.half_closed = true;
        }
        if !mem::replace(&mut self.half_closed, true) {
            // An error means that the stream is over already.
            let _ = self.send.send_data(mem::take(&mut self.outbox), true);
        }
    }

    pub(crate) const fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// Bytes sent and received since the last call; `None` when there are none.
    pub(crate) fn take_bytes(&mut self) -> Option<[u64; 2]> {
        Some(mem::take(&mut self.bytes)).filter(|it| *it != [0; 2])
    }

    /// Gives the stream up. If nothing at all came over the connection meanwhile, it may be dead.
    pub(crate) fn reset(mut self) {
        self.send.send_reset(Reason::CANCEL);
        if self.heard == self.health.received() {
            self.health.doubt();
        }
    }

    /// The next message, or how the stream ended. Not to be called after the end.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<ProcessingResponse>, Ended>> {
        loop {
            match self.inbox.next() {
                Ok(Some(message)) => return Poll::Ready(Ok(message)),
                Ok(None) => {}
                Err(status) => return self.end(Err(status)),
            }
            match &mut self.receive {
                Receive::Head(head) => match ready!(Pin::new(head).poll(cx)) {
                    Ok(response) => {
                        self.replay = None;
                        if let Some(end) = end_in_head(&response) {
                            return self.end(end);
                        }
                        self.receive = Receive::Body(response.into_body());
                    }
                    Err(error) => {
                        self.refused = is_refusal(&error);
                        return self.end(Err(status_before_headers(&error)));
                    }
                },
                Receive::Body(body) => match ready!(body.poll_data(cx)) {
                    Some(Ok(data)) => {
                        // An error means that the stream is over, which the next poll tells.
                        let _ = body.flow_control().release_capacity(data.len());
                        self.health.receive();
                        self.bytes[1] += data.len() as u64;
                        self.inbox.put(data);
                    }
                    Some(Err(error)) => return self.end(Err(status_after_headers(&error))),
                    None => match mem::replace(&mut self.receive, Receive::Done) {
                        Receive::Body(body) => self.receive = Receive::Trailers(body),
                        other => self.receive = other,
                    },
                },
                Receive::Trailers(body) => {
                    let end = match ready!(body.poll_trailers(cx)) {
                        Ok(Some(trailers)) if !self.inbox.is_empty() => {
                            status_of(&trailers).and_then(|()| Err(status(13, "the stream ended inside a message")))
                        }
                        Ok(Some(trailers)) => status_of(&trailers),
                        Ok(None) => Err(status(2, "the stream ended without a grpc-status")),
                        Err(error) => Err(status_after_headers(&error)),
                    };
                    return self.end(end);
                }
                Receive::Done => return Poll::Pending,
            }
        }
    }

    fn end(&mut self, end: Ended) -> Poll<Result<Box<ProcessingResponse>, Ended>> {
        self.receive = Receive::Done;
        Poll::Ready(Err(end))
    }
}

/// How a stream ended: OK, or with another status.
pub(crate) type Ended = Result<(), GrpcStatus>;

/// Finds messages in data frames. Copies only messages that are spread over several frames.
#[derive(Default)]
struct Inbox {
    /// The frame that is being taken apart; only used while `partial` is empty.
    frame: Bytes,
    /// A message of which more must come, prefix included.
    partial: BytesMut,
}

impl Inbox {
    fn put(&mut self, data: Bytes) {
        if self.partial.is_empty() && self.frame.is_empty() {
            self.frame = data;
        } else {
            let frame = mem::take(&mut self.frame);
            self.partial.extend_from_slice(&frame);
            self.partial.extend_from_slice(&data);
        }
    }

    fn is_empty(&self) -> bool {
        self.frame.is_empty() && self.partial.is_empty()
    }

    fn next(&mut self) -> Result<Option<Box<ProcessingResponse>>, GrpcStatus> {
        let mut bytes: &[u8] = if self.partial.is_empty() { &self.frame } else { &self.partial };
        if bytes.len() < PREFIX {
            return Ok(None);
        }
        if bytes.get_u8() != 0 {
            return Err(status(13, "the processor sent a compressed message, which was not offered"));
        }
        let length = bytes.get_u32() as usize;
        if length > MAX_MESSAGE {
            return Err(status(
                8,
                &format!("the processor sent a message of {length} bytes; {MAX_MESSAGE} are allowed"),
            ));
        }
        if bytes.len() < length {
            return Ok(None);
        }
        let message = if self.partial.is_empty() {
            self.frame.advance(PREFIX);
            self.frame.split_to(length)
        } else {
            self.partial.advance(PREFIX);
            self.partial.split_to(length).freeze()
        };
        let decoded = ProcessingResponse::decode(message);
        decoded.map(|it| Some(Box::new(it))).map_err(|error| status(13, &format!("not a ProcessingResponse: {error}")))
    }
}

/// A response whose headers already say how the call ended.
fn end_in_head(response: &Response<RecvStream>) -> Option<Ended> {
    let fields = response.headers();
    if fields.contains_key("grpc-status") && response.body().is_end_stream() {
        return Some(status_of(fields));
    }
    if response.status() != StatusCode::OK {
        let code = response.status().as_u16();
        return Some(Err(status(from_http(code), &format!("the processor answered with HTTP status {code}"))));
    }
    let content_type = fields.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(b"application/grpc") {
        let got = content_type.escape_ascii();
        return Some(Err(status(2, &format!("the processor answered with content-type `{got}`, not gRPC"))));
    }
    None
}

/// The processor has not looked at the stream, so it can be tried again without harm (RFC 9113, 8.7).
fn is_refusal(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (error.is_reset() && reason == Some(Reason::REFUSED_STREAM)
            || error.is_go_away() && reason == Some(Reason::NO_ERROR))
}

/// The table of gRPC's `http-grpc-status-mapping`.
const fn from_http(code: u16) -> u8 {
    match code {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

fn status_of(fields: &HeaderMap) -> Ended {
    let Some(code) = fields.get("grpc-status") else {
        return Err(status(2, "the stream ended without a grpc-status"));
    };
    match code.to_str().ok().and_then(|it| it.parse::<u8>().ok()) {
        Some(0) => Ok(()),
        Some(code @ 1..=16) => {
            let message = fields.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
            Err(GrpcStatus { code, message: percent_decode(message) })
        }
        _ => Err(status(2, &format!("the processor sent grpc-status {code:?}"))),
    }
}

/// Undoes the encoding of `grpc-message`: `%XX` is a byte, anything else stands for itself.
fn percent_decode(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%').then(|| tail.get(..2)).flatten();
        let decoded =
            hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Envoy: a stream that fails before its response headers is UNAVAILABLE (its router answers 503 in place of the
/// processor) ...
pub(super) fn status_before_headers(error: &h2::Error) -> GrpcStatus {
    status(14, &format!("processor: {error}"))
}

/// ... and INTERNAL after them.
fn status_after_headers(error: &h2::Error) -> GrpcStatus {
    status(13, &format!("processor: {error}"))
}

fn status(code: u8, message: &str) -> GrpcStatus {
    GrpcStatus { code, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extproc_proto::processing_response::Response;
    use extproc_proto::{BodyResponse, HeadersResponse};

    fn frame(message: &ProcessingResponse) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(message.encoded_len() as u32).to_be_bytes());
        message.encode_raw(&mut bytes);
        bytes
    }

    fn messages() -> [ProcessingResponse; 3] {
        [
            ProcessingResponse {
                response: Some(Response::RequestHeaders(HeadersResponse::default())),
                ..ProcessingResponse::default()
            },
            ProcessingResponse::default(),
            ProcessingResponse {
                response: Some(Response::RequestBody(BodyResponse::default())),
                ..ProcessingResponse::default()
            },
        ]
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = messages().iter().flat_map(frame).collect();
        for size in 1..=bytes.len() {
            let mut inbox = Inbox::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                inbox.put(Bytes::copy_from_slice(piece));
                while let Some(message) = inbox.next().unwrap() {
                    found.push(*message);
                }
            }
            assert_eq!(found, messages(), "pieces of {size}");
            assert!(inbox.is_empty());
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for (bytes, code) in [(&b"\x01\0\0\0\0"[..], 13), (b"\0\x7f\0\0\0", 8), (b"\0\0\0\0\x02\xff\xff", 13)] {
            let mut inbox = Inbox::default();
            inbox.put(Bytes::copy_from_slice(bytes));
            assert_eq!(inbox.next().unwrap_err().code, code, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn statuses() {
        let fields = |code: &'static str, message: &'static str| {
            let mut map = HeaderMap::new();
            map.insert("grpc-status", HeaderValue::from_static(code));
            map.insert("grpc-message", HeaderValue::from_static(message));
            map
        };
        for (code, message, expected) in [
            ("0", "", Ok(())),
            ("13", "boom x", Err(status(13, "boom x"))),
            ("5", "a%20b%C3%A4%zz%", Err(status(5, "a b\u{e4}%zz%"))),
        ] {
            assert_eq!(status_of(&fields(code, message)), expected, "{code} {message}");
        }
        for code in ["17", "x", "-1", ""] {
            assert_eq!(status_of(&fields(code, "")).unwrap_err().code, 2, "{code}");
        }
        assert_eq!(status_of(&HeaderMap::new()).unwrap_err().code, 2);
    }
}
