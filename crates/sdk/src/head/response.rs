//! The response's head.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use extproc_core::Headers;
use extproc_core::headers::{Name, Value};

use super::{Fields, Refused, RequestHead};

const STATUS: Name = Name::from_static(":status");

/// The head of a response. Headers are read and edited by the verbs of [`Fields`].
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    fields: Fields,
    request: Option<Arc<RequestHead>>,
}

impl ResponseHead {
    /// `:status`; 0 if the data plane hides it.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.fields.headers().status().unwrap_or_default()
    }

    /// The class of the status: 2 for 200 to 299, and so on; 0 if the data plane hides it.
    #[must_use]
    pub fn class(&self) -> u16 {
        self.status() / 100
    }

    /// Whether the status is 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.class() == 2
    }

    /// Sets the status, 200 to 599.
    pub fn set_status(&mut self, status: u16) {
        if (200..600).contains(&status) {
            self.fields.set_checked(STATUS, Value::from(u64::from(status)));
        } else {
            self.fields.keep(Err(Refused::Status(status)));
        }
    }

    /// The head of the request as it was forwarded. `None` when this processor has not seen it: the data plane sends
    /// response phases only, or something before this processor answered.
    #[must_use]
    pub fn request(&self) -> Option<&RequestHead> {
        self.request.as_deref()
    }

    /// Whether the content type is gRPC's.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.has_grpc_type()
    }

    /// Whether the body is a stream of server-sent events.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        self.content_type().is_some_and(|t| t.eq_ignore_ascii_case("text/event-stream"))
    }

    pub(crate) fn new(headers: Headers, last: bool) -> Self {
        // The answer to HEAD has a length and no body.
        Self { fields: Fields::new(headers, !last), request: None }
    }

    pub(crate) fn set_request(&mut self, request: Option<Arc<RequestHead>>) {
        self.request = request;
    }
}

impl Deref for ResponseHead {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for ResponseHead {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}
