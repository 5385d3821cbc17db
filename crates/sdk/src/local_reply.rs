//! An answer to the client in place of the upstream's.

mod stream;

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use extproc_core::headers::{Name, Value};
use extproc_core::session::ImmediateReply;

pub use self::stream::{ReplyGone, ReplyWriter};
pub(crate) use self::stream::{ReplyStream, Running};
use crate::Error;
use crate::head::{IntoName, IntoValue};
use crate::telemetry::ShownList;

/// An answer to the client in place of the upstream's (ext_proc `ImmediateResponse`).
///
/// The data plane adds `content-length`, and `content-type: text/plain` to a body without a type. gRPC clients get
/// the body as message and [`grpc_status`](Self::grpc_status), or one derived from the HTTP status.
///
/// ```
/// use extproc::LocalReply;
///
/// let reply = LocalReply::new(429)
///     .header("retry-after", 30)
///     .body("slow down")
///     .details("over_quota");
/// assert_eq!(reply.status(), 429);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LocalReply {
    reply: ImmediateReply,
    /// Writes the body, in place of the one in `reply`.
    stream: Option<ReplyStream>,
    /// How many headers were left out.
    left_out: u16,
}

impl LocalReply {
    /// A reply with a status and nothing else. A status outside 200 to 599 becomes 500: data planes would turn it
    /// into 200.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = if (200..600).contains(&status) { status } else { 500 };
        Self { reply: ImmediateReply { status, ..ImmediateReply::default() }, stream: None, left_out: 0 }
    }

    /// 400.
    #[must_use]
    pub fn bad_request() -> Self {
        Self::new(400)
    }

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401)
    }

    /// 403.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(403)
    }

    /// 404.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404)
    }

    /// 413.
    #[must_use]
    pub fn payload_too_large() -> Self {
        Self::new(413).details("request_payload_too_large")
    }

    /// 429.
    #[must_use]
    pub fn too_many_requests() -> Self {
        Self::new(429)
    }

    /// 500.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::new(500)
    }

    /// 503.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(503)
    }

    /// Status and `location`.
    #[must_use]
    pub fn redirect(status: u16, location: impl IntoValue) -> Self {
        Self::new(status).header("location", location)
    }

    /// Adds a header; a repeated name is a repeated header.
    ///
    /// Left out, with a warning in the log where it is invalid: names and values that HTTP does not allow, pseudo
    /// headers, and the framing (`content-length`, `transfer-encoding`), which is the data plane's. A denial must not
    /// fail because of a header.
    #[must_use]
    pub fn header(mut self, name: impl IntoName, value: impl IntoValue) -> Self {
        match (name.into_name(), value.into_value()) {
            (Ok(name), Ok(value)) => self.push(name, value),
            _ => self.leave_out(),
        }
        self
    }

    /// The body, as text or bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.reply.body = body.into();
        self.stream = None;
        self
    }

    /// A body that is written while the client takes it (ext_proc `StreamedImmediateResponse`): server-sent events, a
    /// large file, an answer that is being made. The writer runs once the headers are sent; each
    /// [`send`](ReplyWriter::send) waits until the client has room, and the reply ends when the writer is done. If it
    /// fails or panics, the reply is cut, so that the client sees that it is incomplete.
    ///
    /// Return it from [`request_headers`](crate::Processor::request_headers). It is streamed where the data plane takes
    /// it: Envoy does while the body mode of the request is NONE or FULL_DUPLEX_STREAMED. Elsewhere (another phase or
    /// mode, a gRPC client, a repeated header, a processor in the chain that takes the whole body) the body is collected,
    /// up to 1 MiB, and sent as a whole, without trailers; a [`Blocked`](crate::Blocked) record tells. A writer that
    /// takes its time then meets the data plane's message timeout.
    ///
    /// The body runs through the response phases of the other processors of a chain, piece by piece.
    ///
    /// ```
    /// use extproc::LocalReply;
    ///
    /// let reply = LocalReply::new(200).header("content-type", "text/event-stream").stream(|mut to| async move {
    ///     for count in (1..=3).rev() {
    ///         to.send(format!("data: {count}\n\n")).await?;
    ///     }
    ///     to.trailer("x-done", "yes");
    ///     Ok(())
    /// });
    /// assert!(reply.is_streamed());
    /// ```
    #[must_use]
    pub fn stream<F, W>(mut self, write: F) -> Self
    where
        F: FnOnce(ReplyWriter) -> W + Send + 'static,
        W: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.reply.body = Bytes::new();
        self.stream = Some(ReplyStream::new(write));
        self
    }

    /// Whether the body is written while the client takes it.
    #[must_use]
    pub const fn is_streamed(&self) -> bool {
        self.stream.is_some()
    }

    /// Why, for the data plane's access log; white space becomes `_`. Not shown to the client.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.reply.details = details.into();
        self
    }

    /// The status for gRPC clients, 0 to 16; others become 2 (UNKNOWN), as gRPC clients read them.
    #[must_use]
    pub fn grpc_status(mut self, code: u32) -> Self {
        self.reply.grpc_status = Some(if code <= 16 { code } else { 2 });
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.reply.status
    }

    /// The headers, in order.
    #[must_use]
    pub fn headers(&self) -> &[(Name, Value)] {
        &self.reply.headers
    }

    /// The body; empty when it is streamed.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.reply.body
    }

    /// Why, as given to [`details`](Self::details).
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reply.details
    }

    /// Replaces the values of a header, or adds it; invalid ones are left out as by [`header`](Self::header).
    pub fn set(&mut self, name: impl IntoName, value: impl IntoValue) {
        match (name.into_name(), value.into_value()) {
            (Ok(name), Ok(value)) => {
                self.reply.headers.retain(|(n, _)| *n != name);
                self.push(name, value);
            }
            _ => self.leave_out(),
        }
    }

    /// How many headers were left out because they were invalid.
    #[must_use]
    pub const fn left_out(&self) -> u16 {
        self.left_out
    }

    pub(crate) fn push(&mut self, name: Name, value: Value) {
        if is_ours(&name) {
            self.reply.headers.push((name, value));
        } else {
            self.leave_out();
        }
    }

    fn leave_out(&mut self) {
        self.left_out = self.left_out.saturating_add(1);
        tracing::warn!("invalid header left out of a local reply");
    }

    /// Takes over a header of the view; what is the data plane's is not.
    pub(crate) fn copy(&mut self, name: &Name, value: &Value) {
        if is_ours(name) {
            self.reply.headers.push((name.clone(), value.clone()));
        }
    }

    pub(crate) fn take_stream(&mut self) -> Option<ReplyStream> {
        self.stream.take()
    }

    pub(crate) fn set_status(&mut self, status: u16) {
        self.reply.status = status;
    }

    pub(crate) fn clear_headers(&mut self) {
        self.reply.headers.clear();
    }

    pub(crate) fn into_immediate(self) -> ImmediateReply {
        self.reply
    }
}

/// Secrets in headers are hidden, see [`redact`](crate::redact()).
impl fmt::Debug for LocalReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reply = f.debug_struct("LocalReply");
        reply.field("status", &self.reply.status).field("headers", &ShownList(&self.reply.headers));
        reply.field("body", &self.reply.body).field("stream", &self.stream).field("details", &self.reply.details);
        reply.field("grpc_status", &self.reply.grpc_status).finish()
    }
}

fn is_ours(name: &Name) -> bool {
    !name.is_pseudo() && !matches!(name.as_str(), "content-length" | "transfer-encoding")
}
