//! Trailers of either direction.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use extproc_core::Headers;
use percent_encoding::{AsciiSet, CONTROLS};

use super::{Fields, RequestHead};

/// What is encoded in `grpc-message`: all but printable ASCII, and `%` (gRPC over HTTP/2).
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// The trailers of a request or response. They are read and edited by the verbs of [`Fields`].
#[derive(Clone, Debug, Default)]
pub struct Trailers {
    fields: Fields,
    request: Option<Arc<RequestHead>>,
}

impl Trailers {
    /// `grpc-status`, if it is a number.
    #[must_use]
    pub fn grpc_status(&self) -> Option<u32> {
        self.header("grpc-status")?.parse().ok()
    }

    /// `grpc-message`, percent-encoded as on the wire.
    #[must_use]
    pub fn grpc_message(&self) -> Option<&str> {
        self.header("grpc-message")
    }

    /// `grpc-message`, decoded; `None` when it is not there or not UTF-8.
    #[must_use]
    pub fn grpc_message_text(&self) -> Option<String> {
        let decoded = percent_encoding::percent_decode_str(self.grpc_message()?).decode_utf8().ok()?;
        Some(decoded.into_owned())
    }

    /// Sets `grpc-status` and `grpc-message`, which is encoded.
    pub fn set_grpc_status(&mut self, code: u32, message: &str) {
        self.set("grpc-status", code);
        self.set("grpc-message", percent_encoding::utf8_percent_encode(message, GRPC_MESSAGE).to_string());
    }

    /// The head of the request as it was forwarded; `None` when this processor has not seen it.
    #[must_use]
    pub fn request(&self) -> Option<&RequestHead> {
        self.request.as_deref()
    }

    pub(crate) fn new(trailers: Headers) -> Self {
        Self { fields: Fields::new(trailers, true), request: None }
    }

    pub(crate) fn set_request(&mut self, request: Option<Arc<RequestHead>>) {
        self.request = request;
    }
}

impl Deref for Trailers {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for Trailers {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}
