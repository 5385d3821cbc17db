//! Content codings: bodies that are compressed on the wire.

mod coding;
mod decoder;
mod encoder;
mod layer;
mod whole;

pub use self::coding::Coding;
pub use self::decoder::Decoder;
pub use self::encoder::Encoder;

/// Why a body cannot be decoded or encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// `content-encoding` names a coding that is not known here.
    #[error("the content coding `{0}` is not known; known are gzip, deflate, br and zstd")]
    Unknown(String),
    /// `content-encoding` names more codings than are taken.
    #[error("{0} content codings, one in another; at most {max} are taken", max = Coding::MAX_STACKED)]
    TooMany(usize),
    /// The data is not of this coding.
    #[error("broken {coding} data within its first {at} bytes: {reason}")]
    Broken {
        /// The coding that was being undone.
        coding: Coding,
        /// How many encoded bytes had been taken; the break is in these.
        at: u64,
        /// What the decoder says.
        reason: String,
    },
    /// The data ends in the middle.
    #[error("the {coding} data ends early, after {at} bytes")]
    Incomplete {
        /// The coding that was being undone.
        coding: Coding,
        /// How many encoded bytes there were.
        at: u64,
    },
    /// The decoded data is longer than is taken.
    #[error("decoded from {coding} the data is longer than the {limit} bytes that are taken")]
    TooLong {
        /// The coding that was being undone.
        coding: Coding,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The encoder gave up.
    #[error("the data cannot be encoded as {coding}: {reason}")]
    Encode {
        /// The coding.
        coding: Coding,
        /// What the encoder says.
        reason: String,
    },
}
