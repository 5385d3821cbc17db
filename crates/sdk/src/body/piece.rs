//! A piece of a body on its way through one stage.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::Trailers;
use crate::stop::Error;

/// What goes into a body handler, and what comes out.
#[doc(hidden)]
#[derive(Debug)]
#[expect(unnameable_types, reason = "sealed")]
pub struct Piece {
    data: Bytes,
    /// GRPC mode: the data is one message, without a frame.
    message: Option<Message>,
    /// Nothing of this body follows.
    pub(crate) last: bool,
    /// What follows passes unseen.
    pub(crate) truncated: bool,
    /// The trailers that ended the body, where they came before the handler runs.
    pub(crate) trailers: Option<Arc<Trailers>>,
    taken: bool,
    pub(crate) out: Output,
    /// What goes on if the handler's output is not wanted, where that is more than the piece.
    pub(crate) fallback: Option<Bytes>,
    /// Why the piece cannot be given to a handler.
    pub(crate) error: Option<Error>,
}

/// What a stage made of a piece.
#[derive(Debug, Default)]
pub(crate) enum Output {
    /// It goes on as it came.
    #[default]
    Same,
    /// These go on in its place.
    Pieces(Vec<Bytes>),
    /// As [`Pieces`](Self::Pieces), in GRPC mode.
    Messages(Vec<Message>),
}

/// Flag and length in front of each gRPC message.
pub(crate) const PREFIX: usize = 5;

/// A gRPC message on its way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) data: Bytes,
    pub(crate) compressed: bool,
    /// The message with its frame, where it came in one.
    frame: Option<Bytes>,
}

impl Message {
    pub(crate) const fn new(data: Bytes, compressed: bool) -> Self {
        Self { data, compressed, frame: None }
    }

    /// The message of a frame that is complete.
    pub(crate) fn of_frame(frame: Bytes) -> Self {
        Self { data: frame.slice(PREFIX..), compressed: frame[0] != 0, frame: Some(frame) }
    }

    /// The number of bytes that it takes on the wire of HTTP, frame included.
    pub(crate) const fn len(&self) -> usize {
        PREFIX + self.data.len()
    }

    /// The message in its frame. A message that came in one is not copied.
    pub(crate) fn into_frame(self) -> Bytes {
        self.frame.unwrap_or_else(|| {
            let mut frame = BytesMut::with_capacity(PREFIX + self.data.len());
            frame.put_u8(self.compressed.into());
            frame.put_u32(u32::try_from(self.data.len()).unwrap_or(u32::MAX));
            frame.put_slice(&self.data);
            frame.freeze()
        })
    }
}

impl Piece {
    pub(crate) const fn new(data: Bytes, last: bool, truncated: bool) -> Self {
        Self {
            data,
            message: None,
            last,
            truncated,
            trailers: None,
            taken: false,
            out: Output::Same,
            fallback: None,
            error: None,
        }
    }

    /// A message of GRPC mode.
    pub(crate) fn of_message(message: Message, last: bool) -> Self {
        Self { message: Some(message), ..Self::new(Bytes::new(), last, false) }
    }

    /// Whether the piece is a message of GRPC mode.
    pub(crate) const fn is_message(&self) -> bool {
        self.message.is_some()
    }

    /// The message, once.
    pub(crate) fn take_message(&mut self) -> Option<Message> {
        if self.taken {
            return None;
        }
        self.taken = true;
        self.message.clone()
    }

    /// The data, once.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        if self.taken {
            return None;
        }
        self.taken = true;
        Some(self.data.clone())
    }
}

/// The pieces as one; a piece that is alone is not copied.
pub(crate) fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.swap_remove(0),
        _ => pieces.concat().into(),
    }
}
