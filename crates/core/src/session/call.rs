//! What a session tells its caller, and what the caller answers.

use bytes::Bytes;

use super::HeaderEdits;
use crate::headers::{Name, Value};
use crate::{BodyMode, Direction, Headers};

/// What a message of the data plane asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// The headers of a direction. Answer with [`Answer::Headers`].
    Headers {
        /// Which.
        direction: Direction,
        /// As the data plane forwards them.
        headers: Headers,
        /// No body and no trailers follow.
        end_stream: bool,
    },
    /// Some or all of a body. Answer with [`Answer::Body`], or with any number of [`Answer::Chunk`], by
    /// [`Session::body_mode`](super::Session::body_mode).
    Body {
        /// Which.
        direction: Direction,
        /// The piece.
        chunk: Chunk,
    },
    /// The trailers; they end the direction. Answer with [`Answer::Trailers`].
    Trailers {
        /// Which.
        direction: Direction,
        /// As the data plane forwards them.
        trailers: Headers,
    },
    /// GRPC mode: the data plane sends no more of this body to us, as [asked](super::Session::drain). Put out what is
    /// left of it, then answer with [`Answer::Drained`].
    Drained {
        /// Which.
        direction: Direction,
    },
    /// Nothing: a window update, or a rest that was given up by replacing the body.
    Nothing,
}

/// A piece of a body on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    pub data: Bytes,
    /// No body and no trailers follow.
    pub end_stream: bool,
    /// GRPC mode: the end carries no message, as opposed to an empty last message.
    pub without_message: bool,
    /// GRPC mode: the message is compressed.
    pub compressed: bool,
}

/// What the author's side answers to a [`Call`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Call::Headers`].
    Headers(HeadersAnswer),
    /// To [`Call::Body`] in the modes BUFFERED, BUFFERED_PARTIAL and STREAMED: exactly one for each.
    Body(BodyAnswer),
    /// Output in the modes FULL_DUPLEX_STREAMED and GRPC: any number, after the headers are answered.
    Chunk(Chunk),
    /// To [`Call::Trailers`].
    Trailers(HeaderEdits),
    /// To [`Call::Drained`].
    Drained,
}

/// The answer to headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeadersAnswer {
    /// What changes in the headers.
    pub edits: HeaderEdits,
    /// This body in place of whatever follows, trailers untouched (CONTINUE_AND_REPLACE).
    pub replace: Option<Bytes>,
    /// The route must be chosen again.
    pub clear_route: bool,
    /// The body modes wanted from here on, if they are not the ones in force.
    pub ask: Option<BodyModes>,
}

/// The answer to a body, or to a chunk of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyAnswer {
    /// What changes in the headers; only while the data plane holds them.
    pub edits: HeaderEdits,
    /// What becomes of the bytes.
    pub change: BodyChange,
    /// The route must be chosen again.
    pub clear_route: bool,
}

/// What becomes of the bytes that a message carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BodyChange {
    /// They go on as they are.
    #[default]
    Keep,
    /// These go on in their place.
    Replace(Bytes),
    /// Nothing goes on.
    Clear,
}

/// How the bodies of an exchange go to the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BodyModes {
    /// Of the request.
    pub request: BodyMode,
    /// Of the response.
    pub response: BodyMode,
}

impl BodyModes {
    /// That of one direction.
    #[must_use]
    pub const fn of(&self, direction: Direction) -> BodyMode {
        match direction {
            Direction::Request => self.request,
            Direction::Response => self.response,
        }
    }
}

/// The data plane's own words on the first message (`ProtocolConfiguration`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// How it will send the bodies.
    pub bodies: BodyModes,
    /// Body chunks come without waiting for the answer to the headers.
    pub eager_body: bool,
}

/// A response in place of the upstream's. The data plane adds content type and length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImmediateReply {
    /// 200 to 599; data planes turn others into 200.
    pub status: u16,
    /// In order; a repeated name is a repeated header.
    pub headers: Vec<(Name, Value)>,
    /// The body; for gRPC clients the data plane makes it the message.
    pub body: Bytes,
    /// The status for gRPC clients, else derived from `status`.
    pub grpc_status: Option<u32>,
    /// Why, for the access log. White space becomes `_`.
    pub details: String,
}
