//! Replies that the data plane gives in place of the upstream.

use bytes::Bytes;

use crate::Headers;

/// A complete response that does not come from the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// `:status`, content type and content length included.
    pub headers: Headers,
    /// The body; empty for a reply to HEAD.
    pub body: Bytes,
    /// Why, for the access log (Envoy RESPONSE_CODE_DETAILS): no white space.
    pub details: String,
}

/// What of the request decides the form of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestKind {
    /// The method is HEAD: headers as for GET, no body.
    pub head: bool,
    /// The content type is `application/grpc`: status 200, `grpc-status` and `grpc-message` headers, no body.
    pub grpc: bool,
}

impl LocalReply {
    /// A reply with a status and a text body; the content type is left out when the body is empty.
    #[must_use]
    pub fn new(_request: RequestKind, _status: u16, _body: Bytes, _details: &str) -> Self {
        todo!()
    }
}
