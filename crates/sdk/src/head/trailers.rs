//! Trailers of either direction.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use extproc_core::Headers;

use super::{Fields, RequestHead};

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
