//! A reply that the processor streams to the client (`streamed_immediate_response`).

use std::time::Instant;

use bytes::Bytes;

use super::fail::Cause;
use super::link::{Cx, Stream};
use super::side::BeginReply;
use super::{Effect, EndStream, Filter, HttpEvent};
use crate::headers::{Name, Value};
use crate::mutation::{Mutation, Part, Scope};
use crate::violation::Violation;
use crate::wire::ReplyPart;
use crate::{Direction, Headers, LocalReply};

/// How far a reply has come.
///
/// ```text
/// No --headers--> Running --end, trailers--> the stream is closed
///  +--headers, but the client gets another answer--> Unheard
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StreamedReply {
    /// There is none.
    #[default]
    No,
    /// The headers went out.
    Running(Body),
    /// The client is answered otherwise: what comes is expected, and goes nowhere.
    Unheard,
}

/// What may still come of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Anything.
    Any,
    /// So many bytes, by `content-length`.
    Left(u64),
    /// The response has no body, whatever the processor gives: HEAD, 204, 304.
    None,
}

impl Filter {
    /// Whether the client gets what the processor streams.
    pub(crate) fn is_replying(&self) -> bool {
        self.link.stream == Stream::Open && matches!(self.reply, StreamedReply::Running(_))
    }

    /// Whether request body goes to the processor although the upstream gets none.
    pub(crate) fn reads_on(&self) -> bool {
        self.is_replying() && !self.request.is_cut()
    }

    /// The client does not take what it has: the processor's time for the next part begins anew.
    pub(crate) fn put_off_reply(&mut self, now: Instant) {
        if self.is_replying() {
            self.await_part(now);
        }
    }

    /// Takes a part.
    pub(super) fn on_reply_part(&mut self, now: Instant, part: ReplyPart) -> Result<(), Cause> {
        match part {
            ReplyPart::Headers(mutation, end) => self.on_reply_headers(now, mutation, end),
            ReplyPart::Body(data, end) => self.on_reply_body(now, data, end),
            ReplyPart::Trailers(mutation) => self.on_reply_trailers(now, mutation),
            ReplyPart::Empty => {
                self.link.stats.stream_msgs_received += 1;
                Err(Violation::EmptyStreamedReply.into())
            }
        }
    }

    fn on_reply_headers(&mut self, now: Instant, mutation: Mutation, end: EndStream) -> Result<(), Cause> {
        if self.reply != StreamedReply::No {
            return Err(Violation::UnexpectedHeaders.into());
        }
        let heard = match self.request.may_begin_reply(end) {
            BeginReply::Yes => true,
            BeginReply::Unheard => false,
            BeginReply::No(violation) => return Err(violation.into()),
        };
        self.link.stats.stream_msgs_received += 1;
        self.link.timers.stop(Direction::Request);
        self.link.calls.replied(now);
        if !heard {
            self.reply = StreamedReply::Unheard;
            self.end_reply_if(now, end);
            return Ok(());
        }
        let Some((status, mutation)) = self.split_status(mutation)? else {
            self.miss_status(now);
            return Ok(());
        };
        let mut headers = Headers::new();
        headers.append(Name::from_static(":status"), status);
        self.mutate_reply(now, &mut headers, mutation, Part::ResponseHeaders)?;
        let body = self.body_of_reply(&mut headers, end)?;
        self.request.begin_reply(end);
        self.response.bypass();
        self.reply = StreamedReply::Running(body);
        self.put(HttpEvent::Headers(headers, end));
        self.await_part(now);
        self.end_reply_if(now, end);
        Ok(())
    }

    fn on_reply_body(&mut self, now: Instant, data: Bytes, end: EndStream) -> Result<(), Cause> {
        let body = match self.reply {
            StreamedReply::No => return Err(Violation::ReplyBodyFirst.into()),
            StreamedReply::Running(body) => Some(body),
            StreamedReply::Unheard => None,
        };
        self.link.stats.stream_msgs_received += 1;
        if let Some(body) = body {
            let left = body.after(data.len(), end)?;
            self.reply = StreamedReply::Running(left);
            self.await_part(now);
            let data = if left == Body::None { Bytes::new() } else { data };
            if end || !data.is_empty() {
                self.put(HttpEvent::Data(data, end));
            }
        }
        self.end_reply_if(now, end);
        Ok(())
    }

    fn on_reply_trailers(&mut self, now: Instant, mutation: Mutation) -> Result<(), Cause> {
        let body = match self.reply {
            StreamedReply::No => return Err(Violation::ReplyTrailersFirst.into()),
            StreamedReply::Running(body) => Some(body),
            StreamedReply::Unheard => None,
        };
        self.link.stats.stream_msgs_received += 1;
        if let Some(body) = body {
            let mut trailers = Headers::new();
            self.mutate_reply(now, &mut trailers, mutation, Part::Trailers)?;
            let without = body.after(0, true)? == Body::None || trailers.is_empty();
            self.put(if without { HttpEvent::Data(Bytes::new(), true) } else { HttpEvent::Trailers(trailers) });
        }
        self.end_reply_if(now, true);
        Ok(())
    }

    /// Takes the status out: no rule is asked about it, but it must be one. `None`: there is none.
    fn split_status(&mut self, mut mutation: Mutation) -> Result<Option<(Value, Mutation)>, Violation> {
        let mut status = None;
        let mut refused = false;
        mutation.set.retain(|set| match set {
            Some(set) if set.name.eq_ignore_ascii_case(b":status") => {
                refused |= !crate::rules::is_status(&set.value);
                status = Value::parse(set.value.clone()).ok();
                false
            }
            Some(_) | None => true,
        });
        if refused {
            self.link.stats.rejected_header_mutations += 1;
            return Err(Violation::SetRefused);
        }
        Ok(status.map(|status| (status, mutation)))
    }

    fn mutate_reply(&mut self, now: Instant, map: &mut Headers, by: Mutation, part: Part) -> Result<(), Violation> {
        let scope = Scope { config: &self.config, part, drop_length: false, replacing: false };
        Cx { now, config: &self.config, link: &mut self.link }.mutate(None, map, Some(by), scope)
    }

    /// What body may follow. A `content-length` that it cannot keep is refused, where Envoy sends a message that is cut
    /// short or never ends.
    fn body_of_reply(&self, headers: &mut Headers, end: EndStream) -> Result<Body, Violation> {
        let head = self.kind.is_some_and(|kind| kind.head);
        let status = headers.status();
        if head || matches!(status, Some(204 | 304)) {
            if status == Some(204) {
                headers.remove("content-length");
            }
            return Ok(Body::None);
        }
        match (headers.contains("content-length"), headers.content_length()) {
            (false, _) => Ok(Body::Any),
            (true, Some(length)) if !end || length == 0 => Ok(Body::Left(length)),
            (true, _) => Err(Violation::LengthMismatch),
        }
    }

    /// Envoy's own answer when a filter gives a response without a status.
    fn miss_status(&mut self, now: Instant) {
        self.link.unsend();
        self.close(now);
        let body = Bytes::from_static(b"missing required header: :status");
        let details = "filter_removed_required_response_headers{missing_required_header:_:status}";
        self.reply_locally(LocalReply::new(self.kind.unwrap_or_default(), 502, body, details), false);
    }

    fn put(&mut self, part: HttpEvent) {
        self.link.effects.push_back(Effect::StreamedReply(part));
    }

    fn await_part(&mut self, now: Instant) {
        self.link.timers.arm_reply(now + self.config.options().streamed_reply_timeout);
    }

    fn end_reply_if(&mut self, now: Instant, end: EndStream) {
        if end {
            self.request.cut();
            self.link.unsend();
            self.close(now);
            // The answer that the client gets instead is not for this processor, which has said all it had to say.
            self.response.bypass();
        }
    }
}

impl Body {
    /// What is left after a piece.
    fn after(self, len: usize, end: EndStream) -> Result<Self, Violation> {
        let Self::Left(left) = self else { return Ok(self) };
        match left.checked_sub(len as u64) {
            Some(left) if left == 0 || !end => Ok(Self::Left(left)),
            Some(_) | None => Err(Violation::LengthMismatch),
        }
    }
}
