//! What goes into a filter and what comes out.

use bytes::Bytes;
use extproc_proto::{ProcessingRequest, ProcessingResponse};

use crate::{Headers, LocalReply};

/// Whether anything follows in this direction: `true` on headers means no body and no trailers, on data no further
/// data and no trailers.
pub type EndStream = bool;

/// In: what the data plane saw of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpEvent {
    /// The headers, pseudo headers in front. Informational (1xx) responses never come here.
    Headers(Headers, EndStream),
    /// A piece of the body. Empty only together with the end.
    Data(Bytes, EndStream),
    /// The trailers; they end the direction.
    Trailers(Headers),
}

/// In: what the side stream to the processor brought.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// A message of the processor.
    Reply(Box<ProcessingResponse>),
    /// The stream is over: ended by the processor, failed, or could not be opened. Of an `http_service`: a message was not
    /// answered with 200 and a response, whatever the status says.
    Closed(Result<(), GrpcStatus>),
}

/// A gRPC status other than OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStatus {
    /// The code, 1 to 16.
    pub code: u8,
    /// The message, possibly empty.
    pub message: String,
}

/// Out, by [`poll_forward`](crate::FilterChain::poll_forward): a part that goes on to the next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The headers.
    Headers(Headers, EndStream),
    /// A piece of the body. Empty only together with the end.
    Data(Bytes, EndStream),
    /// The trailers; they end the direction.
    Trailers(Headers),
}

impl From<Forward> for HttpEvent {
    fn from(part: Forward) -> Self {
        match part {
            Forward::Headers(headers, end) => Self::Headers(headers, end),
            Forward::Data(data, end) => Self::Data(data, end),
            Forward::Trailers(trailers) => Self::Trailers(trailers),
        }
    }
}

impl From<HttpEvent> for Forward {
    fn from(event: HttpEvent) -> Self {
        match event {
            HttpEvent::Headers(headers, end) => Self::Headers(headers, end),
            HttpEvent::Data(data, end) => Self::Data(data, end),
            HttpEvent::Trailers(trailers) => Self::Trailers(trailers),
        }
    }
}

/// Out, by [`poll_send`](crate::FilterChain::poll_send): what goes to the processor.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// A message.
    Message(Box<ProcessingRequest>),
    /// Nothing more will be sent. What the processor still says is read and ignored until it ends the stream, or
    /// [`Timer::RemoteClose`] resets it.
    HalfClose,
}

/// Out, by [`poll_effect`](super::Filter::poll_effect): what one filter wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the side stream. Messages may be taken from `poll_send` at once.
    OpenStream,
    /// Reset the side stream; nothing it brings counts any more.
    ResetStream,
    /// The request headers changed in a way that asks for a new choice of route.
    RecomputeRoute,
    /// Answer the client with this, if its response has not begun; else cut the response.
    LocalReply {
        /// The reply.
        reply: LocalReply,
        /// Whether this filter processes the reply as it would an upstream's response (an overflow of its own
        /// request buffer does, as in Envoy).
        processed: bool,
    },
    /// The next part of an answer that the processor streams to the client. It begins with headers, before which nothing
    /// of a response has come.
    StreamedReply(HttpEvent),
}

/// Why a deadline exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The processor owes an answer in this direction.
    Message(crate::Direction),
    /// The processor streams a reply and owes the next part.
    StreamedReply,
    /// Observability mode: the exchange waits because the processor takes no copies.
    Stalled,
    /// Observability mode: the exchange is over, and the stream is still open for the processor to read.
    DeferredClose,
    /// The stream was half-closed, and the processor has not ended it.
    RemoteClose,
}
