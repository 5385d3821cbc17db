//! What goes into a call and what comes out.

use std::time::Duration;

use bytes::Bytes;

use crate::Headers;

/// One message of a call, without gRPC's prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The message, not compressed: what a processor sees.
    pub body: Bytes,
    /// The bytes as they came, if they were compressed. A message that the processor does not touch goes on so.
    pub compressed: Option<Bytes>,
}

impl Message {
    /// A message that is not compressed.
    #[must_use]
    pub const fn new(body: Bytes) -> Self {
        Self { body, compressed: None }
    }

    /// The bytes that go on.
    pub(super) fn len(&self) -> usize {
        self.compressed.as_ref().unwrap_or(&self.body).len()
    }
}

/// In: what the client's side brought (A93: downstream).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// The beginning of the call.
    Headers(Headers),
    /// A message.
    Message(Message),
    /// No more messages.
    HalfClose,
}

/// In: what the server's side brought (A93: upstream).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseEvent {
    /// The headers, without a status in them.
    Headers(Headers),
    /// A message.
    Message(Message),
    /// The trailers, with the status: the end.
    Trailers(Headers),
    /// Headers that are trailers at the same time: the status without any message.
    TrailersOnly(Headers),
    /// There is no response: the call could not be made, or broke.
    Failed(Status),
}

/// Out, by [`poll_request`](super::Call::poll_request): what goes to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestPart {
    /// The beginning: make the call.
    Headers(Headers),
    /// A message.
    Message(Message),
    /// No more messages.
    HalfClose,
}

/// Out, by [`poll_response`](super::Call::poll_response): what goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponsePart {
    /// The headers.
    Headers(Headers),
    /// A message.
    Message(Message),
    /// The server's trailers: the end.
    Trailers(Headers),
    /// The server's headers with its status: the end.
    TrailersOnly(Headers),
    /// The end with a status that is not the server's. As Trailers-Only if no headers have gone.
    Status(Status),
}

/// The end of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The gRPC code, 0 to 16.
    pub code: u8,
    /// `grpc-message`, not encoded.
    pub message: String,
    /// The metadata that goes with it.
    pub trailers: Headers,
}

/// Out, by [`poll_effect`](super::Call::poll_effect): what a call wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the side stream. Messages may be taken from `poll_send` at once.
    OpenStream,
    /// Cancel the side stream; nothing it brings counts any more.
    ResetStream,
    /// Cancel the call to the server, if it was made.
    CancelUpstream,
    /// An event of the call was let go on, this long after it came (A93 metrics). Once for each kind.
    Proceeded(Measure, Duration),
}

/// The events that A93 measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// `client_headers_duration`
    ClientHeaders,
    /// `client_half_close_duration`
    ClientHalfClose,
    /// `server_headers_duration`
    ServerHeaders,
    /// `server_trailers_duration`
    ServerTrailers,
}

/// Why a deadline exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The call's own (`grpc-timeout`).
    Call,
    /// That of the side stream (`grpc_service.timeout`).
    Stream,
    /// The side stream is half-closed, and the processor has not ended it.
    Close,
}
