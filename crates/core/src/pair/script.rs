//! What client and upstream do.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::filter::HttpEvent;
use crate::{Headers, LocalReply};

/// What one side of the exchange does, in order, each after a pause.
///
/// Headers are given at once, body and trailers only while the chain [wants](crate::FilterChain::wants) the direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    acts: VecDeque<(Duration, Act)>,
    pause: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Part(HttpEvent),
    Reset,
    Respond(LocalReply),
}

/// The upstream: when it begins to answer, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    pub(super) begin: Begin,
    pub(super) script: Script,
}

/// When an upstream begins to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// When it has the request headers.
    AtHeaders,
    /// When it has the whole request.
    #[default]
    AtEnd,
}

impl Script {
    /// Does nothing, ever.
    #[must_use]
    pub const fn new() -> Self {
        Self { acts: VecDeque::new(), pause: Duration::ZERO }
    }

    /// A whole message: headers, the chunks of a body, trailers. The last part carries the end of the stream; without
    /// chunks and trailers that is the headers.
    #[must_use]
    pub fn message(headers: Headers, chunks: impl IntoIterator<Item = Bytes>, trailers: Option<Headers>) -> Self {
        let mut chunks = chunks.into_iter().peekable();
        let mut script = Self::new().headers(headers, chunks.peek().is_none() && trailers.is_none());
        while let Some(chunk) = chunks.next() {
            let last = chunks.peek().is_none() && trailers.is_none();
            script = script.data(chunk, last);
        }
        match trailers {
            Some(trailers) => script.trailers(trailers),
            None => script,
        }
    }

    /// Waits before the next act.
    #[must_use]
    pub fn wait(mut self, pause: Duration) -> Self {
        self.pause += pause;
        self
    }

    /// Sends headers.
    #[must_use]
    pub fn headers(self, headers: Headers, end_stream: bool) -> Self {
        self.act(Act::Part(HttpEvent::Headers(headers, end_stream)))
    }

    /// Sends a piece of the body.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>, end_stream: bool) -> Self {
        self.act(Act::Part(HttpEvent::Data(data.into(), end_stream)))
    }

    /// Sends trailers.
    #[must_use]
    pub fn trailers(self, trailers: Headers) -> Self {
        self.act(Act::Part(HttpEvent::Trailers(trailers)))
    }

    /// Gives up.
    #[must_use]
    pub fn reset(self) -> Self {
        self.act(Act::Reset)
    }

    /// In an upstream's script: there is no answer, the data plane gives this reply.
    #[must_use]
    pub fn respond(self, reply: LocalReply) -> Self {
        self.act(Act::Respond(reply))
    }

    fn act(mut self, act: Act) -> Self {
        self.acts.push_back((std::mem::take(&mut self.pause), act));
        self
    }

    pub(super) fn next_pause(&self) -> Option<Duration> {
        self.acts.front().map(|(pause, _)| *pause)
    }

    pub(super) fn next_is_body(&self) -> bool {
        matches!(self.acts.front(), Some((_, Act::Part(HttpEvent::Data(..) | HttpEvent::Trailers(_)))))
    }

    pub(super) fn take(&mut self) -> Option<Act> {
        self.acts.pop_front().map(|(_, act)| act)
    }

    pub(super) fn is_over(&self) -> bool {
        self.acts.is_empty()
    }
}

impl Upstream {
    /// An upstream that answers so.
    #[must_use]
    pub const fn new(begin: Begin, script: Script) -> Self {
        Self { begin, script }
    }
}
