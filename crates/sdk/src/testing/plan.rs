//! What one side of an exchange sends: its message, how it is cut, and when.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use extproc_core::filter::HttpEvent;
use extproc_core::headers::{Name, Value};
use extproc_core::{Headers, LocalReply, RequestKind};

use super::IntoBody;
use crate::body::{Deframer, Message, joined};
use crate::{IntoName, IntoValue, RequestHead};

/// What a client or an upstream sends: head, body, trailers, where the body is cut, and when each part comes.
///
/// ```
/// use std::time::Duration;
/// use extproc::testing::Plan;
///
/// let request = Plan::request("PUT", "/something")
///     .header("content-type", "application/json")
///     .body(r#"{"hello":"hi"}"#)
///     .chunks([1, 3]);                        // 1 byte, 3 bytes, the rest
/// let response = Plan::response(200).wait(Duration::from_millis(5)).body("ok");
/// assert_eq!(request.headers().content_length(), Some(14));
/// # let _ = response;
/// ```
///
/// A body has a `content-length` unless the plan has [trailers](Self::trailer), is [`chunked`](Self::chunked), or sets
/// the header itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    headers: Headers,
    body: Bytes,
    sizes: Vec<usize>,
    trailers: Option<Headers>,
    chunked: bool,
    late_end: bool,
    unfinished: bool,
    wait: Duration,
    pace: Duration,
    gives_up: Option<Duration>,
    unreachable: bool,
    silent: bool,
    early: bool,
}

/// One thing that a side does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Part(HttpEvent),
    GiveUp,
    Respond(LocalReply),
}

impl Plan {
    /// A request without body: the pseudo headers, with scheme `http` and authority `example.com`.
    ///
    /// # Panics
    /// If method or path hold CR, LF or NUL.
    #[must_use]
    #[track_caller]
    pub fn request(method: &str, path: &str) -> Self {
        Self::of(Headers::new())
            .header(":method", method)
            .header(":path", path)
            .header(":scheme", "http")
            .header(":authority", "example.com")
    }

    /// A response without body.
    #[must_use]
    pub fn response(status: u16) -> Self {
        Self::of([(STATUS, Value::from(u64::from(status)))].into_iter().collect())
    }

    /// A message with this head, pseudo headers included, and no body.
    #[must_use]
    pub const fn of(headers: Headers) -> Self {
        Self {
            headers,
            body: Bytes::new(),
            sizes: Vec::new(),
            trailers: None,
            chunked: false,
            late_end: false,
            unfinished: false,
            wait: Duration::ZERO,
            pace: Duration::ZERO,
            gives_up: None,
            unreachable: false,
            silent: false,
            early: false,
        }
    }

    /// Adds a header; a pseudo header replaces the one there is.
    ///
    /// # Panics
    /// If the name is no HTTP token, or the value holds CR, LF or NUL. [`of`](Self::of) takes checked headers.
    #[must_use]
    #[track_caller]
    pub fn header(mut self, name: impl IntoName, value: impl IntoValue) -> Self {
        let (name, value) = checked(name, value);
        if name.is_pseudo() {
            self.headers.set(name, value);
        } else {
            self.headers.append(name, value);
        }
        self
    }

    /// The whole body. See [`IntoBody`] for what it can be.
    #[must_use]
    pub fn body(mut self, body: impl IntoBody) -> Self {
        self.body = body.into_body();
        self
    }

    /// A body of gRPC messages, each in its frame, and the content type `application/grpc` unless there is one. Give a
    /// response its `grpc-status` with [`trailer`](Self::trailer).
    ///
    /// ```
    /// use extproc::testing::Plan;
    ///
    /// let call = Plan::request("POST", "/pkg.Greeter/Hello").messages(["hi", ""]);
    /// assert_eq!(call.whole_body(), "\0\0\0\0\x02hi\0\0\0\0\0");
    /// ```
    #[must_use]
    pub fn messages<B: IntoBody>(mut self, messages: impl IntoIterator<Item = B>) -> Self {
        if !self.headers.contains("content-type") {
            self.headers.append(Name::from_static("content-type"), Value::from_static("application/grpc"));
        }
        let frame = |message: B| Message::new(message.into_body(), false).into_frame();
        self.body = joined(messages.into_iter().map(frame).collect());
        self
    }

    /// Cuts the body: pieces of these sizes, then the rest. Sizes beyond the end, and zero, are left out.
    #[must_use]
    pub fn chunks(mut self, sizes: impl IntoIterator<Item = usize>) -> Self {
        self.sizes = sizes.into_iter().collect();
        self
    }

    /// Adds a trailer.
    ///
    /// # Panics
    /// As [`header`](Self::header).
    #[must_use]
    #[track_caller]
    pub fn trailer(mut self, name: impl IntoName, value: impl IntoValue) -> Self {
        let (name, value) = checked(name, value);
        self.trailers.get_or_insert_default().append(name, value);
        self
    }

    /// All trailers at once; `Some` of an empty map is a trailers part without fields.
    #[must_use]
    pub fn trailers(mut self, trailers: Option<Headers>) -> Self {
        self.trailers = trailers;
        self
    }

    /// Gives no `content-length`: the length is not known when the head is sent.
    #[must_use]
    pub const fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The end of the body comes after the last piece, on its own, as in chunked HTTP/1. Default: on the last piece.
    #[must_use]
    pub const fn late_end(mut self) -> Self {
        self.late_end = true;
        self
    }

    /// The last piece comes without the end, and nothing after it. See [`gives_up`](Self::gives_up).
    #[must_use]
    pub const fn unfinished(mut self) -> Self {
        self.unfinished = true;
        self
    }

    /// Time before the head. Default: none.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Time before every further part. Default: none.
    #[must_use]
    pub const fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// Resets its stream so long after its last part: a client that goes away, an upstream that breaks down.
    #[must_use]
    pub const fn gives_up(mut self, after: Duration) -> Self {
        self.gives_up = Some(after);
        self
    }

    /// For an upstream: there is none. The data plane answers 503.
    #[must_use]
    pub const fn unreachable(mut self) -> Self {
        self.unreachable = true;
        self
    }

    /// For an upstream: it takes the request and never answers.
    #[must_use]
    pub const fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// For an upstream: it begins to answer when it has the request's head. Default: when it has the whole request.
    #[must_use]
    pub const fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// The head as it is sent.
    #[must_use]
    pub fn headers(&self) -> Headers {
        let mut headers = self.headers.clone();
        let measured = !self.body.is_empty() && self.trailers.is_none() && !self.chunked;
        if measured && !headers.contains("content-length") {
            headers.append(Name::from_static("content-length"), Value::from(self.body.len() as u64));
        }
        headers
    }

    /// The whole body.
    #[must_use]
    pub const fn whole_body(&self) -> &Bytes {
        &self.body
    }

    /// Whether trailers are sent.
    #[must_use]
    pub const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// Whether the content type is gRPC's and the body whole messages.
    pub(super) fn is_messages(&self) -> bool {
        RequestHead::new(self.headers.clone()).is_grpc() && Deframer::messages(self.body.clone()).is_some()
    }

    pub(super) const fn trailer_fields(&self) -> Option<&Headers> {
        self.trailers.as_ref()
    }

    pub(super) fn cut(&mut self, sizes: Vec<usize>, late_end: bool) {
        (self.sizes, self.late_end) = (sizes, late_end);
    }

    pub(super) const fn is_early(&self) -> bool {
        self.early
    }

    /// What the side does, each after a pause.
    pub(super) fn acts(&self, answers_to: RequestKind) -> VecDeque<(Duration, Act)> {
        let mut acts = VecDeque::new();
        if self.unreachable {
            let reply = LocalReply::new(answers_to, 503, REFUSED, "upstream_reset_before_response_started");
            acts.push_back((self.wait, Act::Respond(reply)));
            return acts;
        }
        if !self.silent {
            let pauses = std::iter::once(self.wait).chain(std::iter::repeat(self.pace));
            acts.extend(pauses.zip(self.parts().into_iter().map(Act::Part)));
        }
        if let Some(after) = self.gives_up {
            acts.push_back((after, Act::GiveUp));
        }
        acts
    }

    /// The parts in order, the end of the stream on the last one.
    fn parts(&self) -> Vec<HttpEvent> {
        let mut pieces = self.pieces();
        if self.unfinished {
            let data = pieces.into_iter().map(|piece| HttpEvent::Data(piece, false));
            return std::iter::once(HttpEvent::Headers(self.headers(), false)).chain(data).collect();
        }
        if self.late_end && !pieces.is_empty() && self.trailers.is_none() {
            pieces.push(Bytes::new());
        }
        let (last, trailers) = (pieces.len(), self.trailers.is_some());
        let mut parts = vec![HttpEvent::Headers(self.headers(), last == 0 && !trailers)];
        let data = pieces.into_iter().zip(1..);
        parts.extend(data.map(|(piece, number)| HttpEvent::Data(piece, number == last && !trailers)));
        parts.extend(self.trailers.clone().map(HttpEvent::Trailers));
        parts
    }

    /// The body as it is cut.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        let mut rest = self.body.clone();
        let mut pieces = Vec::new();
        for &size in &self.sizes {
            if size < rest.len() && size > 0 {
                pieces.push(rest.split_to(size));
            }
        }
        if !rest.is_empty() {
            pieces.push(rest);
        }
        pieces
    }
}

const STATUS: Name = Name::from_static(":status");

/// Envoy's text for an upstream that refuses connections.
const REFUSED: Bytes = Bytes::from_static(
    b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
);

#[track_caller]
fn checked(name: impl IntoName, value: impl IntoValue) -> (Name, Value) {
    let name = name.into_name().unwrap_or_else(|error| panic!("the name of a header: {error}"));
    let value = value.into_value().unwrap_or_else(|error| panic!("the value of {name}: {error}"));
    (name, value)
}
