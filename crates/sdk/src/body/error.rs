//! Why a body cannot be read or written in a format.

use crate::NotText;

/// Why a body is not what a handler takes it for. `?` on it fails the phase; to answer the client instead, map it to a
/// [`LocalReply`](crate::LocalReply).
///
/// ```
/// # #[cfg(feature = "json")] {
/// use extproc::{LocalReply, Request, Stop, WholeIo};
///
/// async fn request_body(io: &mut WholeIo<Request>) -> Result<(), Stop> {
///     let ids: Vec<u64> = io.body.json().map_err(|error| LocalReply::bad_request().body(error.to_string()))?;
///     io.head.set("x-count", ids.len());
///     Ok(())
/// }
/// # let _ = request_body;
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is not the JSON that the type needs; tells line and column.
    #[cfg(feature = "json")]
    #[error("the body is not the expected JSON{hint}: {error}", hint = hint(*.coded))]
    Json {
        /// What is wrong, and where.
        error: serde_json::Error,
        /// It begins like compressed data.
        coded: bool,
    },
    /// The value has no form in JSON, such as a map with keys that are not text.
    #[cfg(feature = "json")]
    #[error("the value cannot be written as JSON: {0}")]
    ToJson(serde_json::Error),
    /// A name or value of a form is not UTF-8 when decoded.
    #[error("the form cannot be read: {0}")]
    Form(#[from] NotText),
    /// It is not a Protocol Buffers message of this type.
    #[error("the body is not the expected message{hint}: {error}", hint = hint(*.coded))]
    Message {
        /// What is wrong, and in which field.
        error: prost::DecodeError,
        /// It begins like compressed data.
        coded: bool,
    },
}

/// The most frequent mistake is to read a body that is compressed.
const fn hint(coded: bool) -> &'static str {
    if coded { " (it looks compressed: see WholeIo::decoded)" } else { "" }
}

/// Whether the data begins as gzip or zstd data does.
pub(super) fn looks_coded(data: &[u8]) -> bool {
    data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}
