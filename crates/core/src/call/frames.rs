//! gRPC's framing, for the shells of a call.

use bytes::{BufMut, Bytes, BytesMut};

use crate::filter;

/// Finds messages in the data of a body, however it is cut. Copies only what came in several pieces.
#[derive(Debug, Default)]
pub struct Frames(filter::Frames);

/// One message as it stands in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// Its bytes.
    pub body: Bytes,
    /// They are compressed as `grpc-encoding` says.
    pub compressed: bool,
}

/// Why a body is no sequence of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message is longer than allowed.
    #[error("a message is longer than the limit of {0} bytes")]
    TooLarge(usize),
    /// The byte in front of a message is neither 0 nor 1.
    #[error("a message has an unknown flag")]
    Flag,
    /// The body ends inside of a message.
    #[error("the body ends inside of a message")]
    Truncated,
}

impl Frames {
    /// Takes data of the body.
    pub fn push(&mut self, data: Bytes) {
        self.0.push(data);
    }

    /// The next whole message of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FrameError`]; the rest of the body cannot be read then.
    pub fn next(&mut self, limit: usize) -> Result<Option<Framed>, FrameError> {
        let next = self.0.next(limit).map_err(|error| match error {
            filter::FrameError::TooLarge => FrameError::TooLarge(limit),
            filter::FrameError::Flag => FrameError::Flag,
            filter::FrameError::Truncated => FrameError::Truncated,
        })?;
        Ok(next.map(|message| Framed { body: message.body, compressed: message.compressed }))
    }

    /// Whether the body may end here.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if not.
    pub const fn end(&self) -> Result<(), FrameError> {
        if self.0.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

impl super::Message {
    /// The message with its prefix, as it goes on.
    #[must_use]
    pub fn into_frame(self) -> Bytes {
        let flag = u8::from(self.compressed.is_some());
        let bytes = self.compressed.unwrap_or(self.body);
        let mut frame = BytesMut::with_capacity(5 + bytes.len());
        frame.put_u8(flag);
        // The limits of messages are far below 4 GiB.
        frame.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        frame.put(bytes);
        frame.freeze()
    }
}
