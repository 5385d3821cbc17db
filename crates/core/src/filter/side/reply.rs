//! What the processor answers.

use bytes::Bytes;

use super::{Duplex, Phase, Side, Unanswered};
use crate::filter::calls::CallKind;
use crate::filter::fail::Cause;
use crate::filter::held::{CONTENT_LENGTH, Chunks, Held, Partial};
use crate::filter::link::Cx;
use crate::filter::order::Order;
use crate::headers::Value;
use crate::mutation::{Mutation, Part, Scope};
use crate::profile::Misplaced;
use crate::violation::Violation;
use crate::wire::{BodyChange, Common};
use crate::{BodyMode, Direction, Headers};

/// Whether an accepted reply may be the last one of the stream.
pub(in crate::filter) type Last = bool;

impl Side {
    pub(in crate::filter) fn on_headers_reply(&mut self, cx: &mut Cx<'_>, mut reply: Common) -> Result<Last, Cause> {
        let first_piece = self.read_body_in_headers_reply(cx, &mut reply);
        let scope = Scope { replacing: reply.replace, ..self.scope(cx, self.headers_part()) };
        // The body of `Early` is in its chunks.
        let bodiless = self.order == Order::Ended && !matches!(self.phase, Phase::Early(..));
        match &mut self.phase {
            Phase::GrpcHeaders(..) if reply.replace => Err(Violation::UnexpectedReplace.into()),
            Phase::Headers(held) | Phase::Early(held, _) | Phase::GrpcHeaders(held, _) => {
                cx.accept(self.direction, CallKind::Headers);
                let duplex = self.mode.body == BodyMode::FullDuplexStreamed;
                let original = !matches!(reply.body, BodyChange::Replace(_));
                if reply.replace && original && duplex && held.has_data && self.replay.lost().is_some() {
                    return Err(Violation::BodyLost.into());
                }
                let mutates = reply.mutation.is_some();
                if mutates {
                    held.remember_length();
                }
                if let Some(headers) = &mut held.headers {
                    cx.mutate(Some((self.direction, CallKind::Headers)), headers, reply.mutation, scope)?;
                }
                let no_body = bodiless && !held.has_data && self.mode.body != BodyMode::Grpc;
                let unsent = self.mode.body == BodyMode::None && !self.mode.whole_if_there;
                if unsent || reply.replace || no_body {
                    held.keep_true_length();
                }
                if self.direction == Direction::Request {
                    cx.choose_route(mutates, reply.clear_route_cache, true);
                }
                let mut held = std::mem::take(held);
                let chunks = if let Phase::Early(_, chunks) = &mut self.phase {
                    std::mem::take(chunks)
                } else {
                    Chunks::default()
                };
                if reply.replace {
                    held.absorb(chunks);
                    if !original {
                        cx.link.calls.changed_body(self.direction);
                    }
                    self.replay.take().into_iter().for_each(|piece| held.push(piece));
                    self.replace(held, reply.body);
                } else if chunks.len() > 0 {
                    if let Some(headers) = held.headers.take() {
                        self.forward_headers(headers, false);
                    }
                    self.phase = Phase::Chunks(chunks);
                    cx.expect_answer(self.direction);
                } else {
                    self.proceed(cx, held)?;
                    if let (Some((data, end)), Phase::Duplex(_)) = (first_piece, &self.phase) {
                        if end || !data.is_empty() {
                            self.replay.release();
                        }
                        self.out.data(data, end);
                        if end {
                            self.end_duplex();
                        }
                    }
                }
                Ok(true)
            }
            Phase::Cut(Unanswered::Duplex) => {
                cx.accept(self.direction, CallKind::Headers);
                Ok(true)
            }
            Phase::Cut(Unanswered::Early(bodies)) => {
                cx.accept(self.direction, CallKind::Headers);
                let bodies = *bodies;
                self.phase = Phase::Cut(Unanswered::Bodies(bodies));
                Ok(false)
            }
            Phase::Cut(unanswered @ Unanswered::Headers) => {
                cx.accept(self.direction, CallKind::Headers);
                *unanswered = Unanswered::Nothing;
                Ok(true)
            }
            Phase::Start
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::Grpc(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(Unanswered::Nothing | Unanswered::Bodies(_) | Unanswered::Trailers) => {
                Err(Violation::UnexpectedHeaders.into())
            }
        }
    }

    pub(in crate::filter) fn on_body_reply(&mut self, cx: &mut Cx<'_>, reply: Common) -> Result<Last, Cause> {
        match &mut self.phase {
            Phase::Chunks(_) if matches!(reply.body, BodyChange::Streamed(..)) => {
                Err(Violation::StreamedOutsideDuplex.into())
            }
            Phase::Whole(_) | Phase::Partial(_)
                if matches!(reply.body, BodyChange::Streamed(..))
                    && cx.config.options().profile.streamed_for_whole() == Misplaced::Refused =>
            {
                Err(Violation::StreamedOutsideDuplex.into())
            }
            Phase::Whole(_) => self.on_whole_reply(cx, reply),
            Phase::Partial(_) => self.on_partial_reply(cx, reply),
            Phase::Duplex(_) => self.on_duplex_reply(cx, reply.body),
            Phase::Grpc(_) => self.on_message_reply(cx, reply),
            Phase::Cut(Unanswered::Duplex) => {
                cx.accept(self.direction, CallKind::Body);
                Ok(true)
            }
            Phase::Chunks(chunks) => {
                let Some((data, end)) = chunks.pop() else {
                    debug_assert!(false, "a chunk is in flight in this phase");
                    return Err(Violation::UnexpectedBody.into());
                };
                cx.accept(self.direction, CallKind::Body);
                if self.direction == Direction::Request {
                    cx.choose_route(reply.mutation.is_some(), reply.clear_route_cache, false);
                }
                let data = match reply.body {
                    BodyChange::Replace(data) => {
                        cx.link.calls.changed_body(self.direction);
                        data
                    }
                    BodyChange::Keep | BodyChange::Streamed(..) => data,
                };
                self.out.data(data, end);
                if chunks.len() > 0 {
                    // Envoy stops its timer here and can wait forever for the next answer.
                    cx.expect_answer(self.direction);
                } else if let Some(trailers) = chunks.trailers.take() {
                    self.send_trailers_or_release(cx, Held::of_trailers(trailers));
                } else {
                    self.phase = if end { Phase::Done } else { Phase::Idle };
                }
                Ok(end)
            }
            Phase::Cut(unanswered @ Unanswered::Bodies(_)) => {
                cx.accept(self.direction, CallKind::Body);
                *unanswered = match *unanswered {
                    Unanswered::Bodies(left) if left > 1 => Unanswered::Bodies(left - 1),
                    Unanswered::Bodies(_)
                    | Unanswered::Nothing
                    | Unanswered::Headers
                    | Unanswered::Early(_)
                    | Unanswered::Trailers
                    | Unanswered::Duplex => Unanswered::Nothing,
                };
                Ok(*unanswered == Unanswered::Nothing)
            }
            Phase::Start
            | Phase::Headers(_)
            | Phase::Early(..)
            | Phase::GrpcHeaders(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(Unanswered::Nothing | Unanswered::Headers | Unanswered::Early(_) | Unanswered::Trailers) => {
                Err(Violation::UnexpectedBody.into())
            }
        }
    }

    pub(in crate::filter) fn on_trailers_reply(
        &mut self,
        cx: &mut Cx<'_>,
        mutation: Option<Mutation>,
    ) -> Result<Last, Cause> {
        let scope = self.scope(cx, Part::Trailers);
        match &mut self.phase {
            Phase::Grpc(_) => self.on_trailers_reply_behind_messages(cx, mutation),
            Phase::Trailers(held) => {
                cx.accept(self.direction, CallKind::Trailers);
                if let Some(trailers) = &mut held.trailers {
                    cx.mutate(Some((self.direction, CallKind::Trailers)), trailers, mutation, scope)?;
                }
                let held = std::mem::take(held);
                self.release(held);
                Ok(true)
            }
            Phase::Duplex(duplex) => {
                cx.accept(self.direction, CallKind::Trailers);
                if let Some(trailers) = &mut duplex.trailers {
                    cx.mutate(Some((self.direction, CallKind::Trailers)), trailers, mutation, scope)?;
                }
                match duplex.trailers.take() {
                    Some(trailers) => self.out.trailers(trailers),
                    // As in Envoy it ends a body that has no trailers, too.
                    None => self.out.data(Bytes::new(), true),
                }
                self.end_duplex();
                Ok(true)
            }
            // It answers trailers that went on when the processor ended the body.
            Phase::Done | Phase::Discard if self.mode.body == BodyMode::FullDuplexStreamed => {
                cx.accept(self.direction, CallKind::Trailers);
                Ok(true)
            }
            Phase::Cut(Unanswered::Duplex) => {
                cx.accept(self.direction, CallKind::Trailers);
                Ok(true)
            }
            Phase::Cut(unanswered @ Unanswered::Trailers) => {
                cx.accept(self.direction, CallKind::Trailers);
                *unanswered = Unanswered::Nothing;
                Ok(true)
            }
            Phase::Start
            | Phase::Headers(_)
            | Phase::Early(..)
            | Phase::GrpcHeaders(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(Unanswered::Nothing | Unanswered::Headers | Unanswered::Early(_) | Unanswered::Bodies(_)) => {
                Err(Violation::UnexpectedTrailers.into())
            }
        }
    }

    /// The body was sent as one message: BUFFERED, or any mode whose body was complete before the headers reply.
    fn on_whole_reply(&mut self, cx: &mut Cx<'_>, reply: Common) -> Result<Last, Cause> {
        let scope = self.scope(cx, self.headers_part());
        let Phase::Whole(held) = &mut self.phase else {
            debug_assert!(false, "only called in this phase");
            return Err(Violation::UnexpectedBody.into());
        };
        cx.accept(self.direction, CallKind::Body);
        if self.direction == Direction::Request {
            cx.choose_route(reply.mutation.is_some(), reply.clear_route_cache, held.headers.is_some());
        }
        let profile = cx.config.options().profile;
        // Where this may fail open, an answer that fails changes nothing.
        let before = profile.opens_on_bad_content().then(|| held.headers.clone());
        // Headers that went on before the body cannot be changed any more; Envoy ignores the mutation as well.
        if let Some(headers) = &mut held.headers {
            cx.mutate(Some((self.direction, CallKind::Headers)), headers, reply.mutation, scope)?;
        }
        let body = match reply.body {
            BodyChange::Replace(body) => {
                let limited = self.direction == Direction::Request && self.mode.body != BodyMode::BufferedPartial;
                if limited && body.len() > cx.config.options().buffer_limit {
                    return Err(Cause::Overflow(self.direction));
                }
                Some(body)
            }
            BodyChange::Streamed(body, _) if profile.streamed_for_whole() == Misplaced::Honoured => {
                if let Some(headers) = &mut held.headers {
                    headers.remove(CONTENT_LENGTH);
                }
                Some(body)
            }
            // Envoy takes it for a body of no length when it checks the content-length, and for no change otherwise.
            BodyChange::Streamed(..) => {
                if held.headers.as_ref().is_some_and(|headers| !length_matches(headers, 0)) {
                    return Err(Violation::LengthMismatch.into());
                }
                None
            }
            BodyChange::Keep => None,
        };
        let len = body.as_ref().map_or_else(|| held.bytes(), Bytes::len);
        if held.headers.as_ref().is_some_and(|headers| !length_matches(headers, len)) {
            if let Some(before) = before {
                held.headers = before;
            }
            return Err(Violation::LengthMismatch.into());
        }
        if let Some(body) = body {
            held.replace_body(body);
            cx.link.calls.changed_body(self.direction);
        }
        held.forget_length();
        // Envoy keeps the stream after a BUFFERED body, until the exchange ends.
        let last = self.mode.body == BodyMode::Streamed && held.trailers.is_none();
        let held = std::mem::take(held);
        self.send_trailers_or_release(cx, held);
        Ok(last)
    }

    /// The beginning of the body was sent; the rest passes.
    fn on_partial_reply(&mut self, cx: &mut Cx<'_>, reply: Common) -> Result<Last, Cause> {
        let scope = self.scope(cx, self.headers_part());
        let Phase::Partial(partial) = &mut self.phase else {
            debug_assert!(false, "only called in this phase");
            return Err(Violation::UnexpectedBody.into());
        };
        cx.accept(self.direction, CallKind::Body);
        if self.direction == Direction::Request {
            cx.choose_route(reply.mutation.is_some(), reply.clear_route_cache, partial.first.headers.is_some());
        }
        if let Some(headers) = &mut partial.first.headers {
            cx.mutate(Some((self.direction, CallKind::Headers)), headers, reply.mutation, scope)?;
        }
        match (reply.body, cx.config.options().profile.streamed_for_whole()) {
            (BodyChange::Replace(body), _) | (BodyChange::Streamed(body, _), Misplaced::Honoured) => {
                partial.first.replace_body(body);
                cx.link.calls.changed_body(self.direction);
            }
            (BodyChange::Streamed(..), Misplaced::Ignored | Misplaced::Refused) | (BodyChange::Keep, _) => {}
        }
        let Partial { mut first, mut rest } = std::mem::take(partial);
        if let Some(headers) = first.headers.take() {
            self.forward_headers(headers, false);
        }
        first.release(&mut self.out, false);
        let trailers = rest.trailers.take().map_or_else(Held::default, Held::of_trailers);
        rest.release(&mut self.out);
        self.mode.body = BodyMode::None;
        self.send_trailers_or_release(cx, trailers);
        // As after a BUFFERED body.
        Ok(false)
    }

    /// FULL_DUPLEX_STREAMED: what the processor gives goes on, whatever it answers.
    fn on_duplex_reply(&mut self, cx: &mut Cx<'_>, body: BodyChange) -> Result<Last, Cause> {
        let Phase::Duplex(duplex) = &mut self.phase else {
            debug_assert!(false, "only called in this phase");
            return Err(Violation::UnexpectedBody.into());
        };
        if !duplex.sent {
            return Err(Violation::UnexpectedBody.into());
        }
        let (data, end) = match (body, cx.config.options().profile.plain_in_duplex()) {
            (BodyChange::Streamed(data, end), _) => (data, end),
            (BodyChange::Replace(data), Misplaced::Honoured) => (data, true),
            (BodyChange::Keep, Misplaced::Honoured) => (Bytes::new(), true),
            (BodyChange::Replace(_) | BodyChange::Keep, Misplaced::Ignored | Misplaced::Refused) => {
                return Err(Violation::PlainInDuplex.into());
            }
        };
        cx.accept(self.direction, CallKind::Body);
        cx.link.calls.changed_body(self.direction);
        if end || !data.is_empty() {
            self.replay.release();
        }
        match duplex.trailers.take_if(|_| end) {
            // Envoy ends the body and keeps the trailers, and the next hop waits for ever.
            Some(trailers) => {
                self.out.data(data, false);
                self.out.trailers(trailers);
            }
            None => self.out.data(data, end),
        }
        if end {
            self.end_duplex();
        }
        Ok(end)
    }

    /// What a body in a headers response with CONTINUE means: nothing (Envoy), or, if there is a body, its replacement.
    /// In FULL_DUPLEX_STREAMED a streamed one is the first piece, which is given back.
    fn read_body_in_headers_reply(&self, cx: &Cx<'_>, reply: &mut Common) -> Option<(Bytes, bool)> {
        let honoured = cx.config.options().profile.body_in_headers_response() == Misplaced::Honoured;
        if reply.replace || !honoured || self.is_header_only() || self.mode.body == BodyMode::Grpc {
            return None;
        }
        match std::mem::take(&mut reply.body) {
            BodyChange::Keep => None,
            BodyChange::Streamed(data, end) if self.mode.body == BodyMode::FullDuplexStreamed => Some((data, end)),
            BodyChange::Streamed(data, _) | BodyChange::Replace(data) => {
                (reply.replace, reply.body) = (true, BodyChange::Replace(data));
                None
            }
        }
    }

    pub(super) fn end_duplex(&mut self) {
        self.replay.release();
        self.phase = if self.order == Order::Ended { Phase::Done } else { Phase::Discard };
    }

    /// After the headers reply: the body and the trailers are next, as far as they are there and wanted.
    fn proceed(&mut self, cx: &mut Cx<'_>, mut held: Held) -> Result<(), Cause> {
        let more = self.order != Order::Ended || held.has_more();
        if matches!(self.phase, Phase::GrpcHeaders(..)) || self.mode.body == BodyMode::Grpc && more {
            return self.proceed_with_messages(cx, held);
        }
        if self.mode.body == BodyMode::FullDuplexStreamed && more {
            if let Some(headers) = held.headers.take() {
                self.forward_headers(headers, false);
            }
            self.phase = Phase::Duplex(Duplex { sent: held.has_data, trailers: held.trailers.take() });
            return Ok(());
        }
        if self.order == Order::Ended {
            if held.has_data && (self.mode.body != BodyMode::None || self.mode.whole_if_there) {
                self.send_whole(cx, held);
            } else {
                self.send_trailers_or_release(cx, held);
            }
            return Ok(());
        }
        match self.mode.body {
            BodyMode::BufferedPartial if held.bytes() > cx.config.options().buffer_limit => self.send_partial(cx, held),
            BodyMode::Buffered | BodyMode::BufferedPartial => self.phase = Phase::Collect(held),
            BodyMode::Streamed => {
                if let Some(headers) = held.headers.take() {
                    self.forward_headers(headers, false);
                }
                self.phase = Phase::Idle;
                if held.has_data {
                    let mut chunks = Chunks::default();
                    self.send_chunk(cx, &mut chunks, held.join(), false);
                    self.phase = Phase::Chunks(chunks);
                }
            }
            BodyMode::None | BodyMode::FullDuplexStreamed | BodyMode::Grpc => {
                held.keep_true_length();
                self.release(held);
            }
        }
        Ok(())
    }

    /// CONTINUE_AND_REPLACE: nothing more of this direction is processed.
    fn replace(&mut self, mut held: Held, body: BodyChange) {
        self.mode.body = BodyMode::None;
        self.mode.trailers = false;
        let body = match body {
            BodyChange::Replace(body) => body,
            BodyChange::Keep => return self.release(held),
            // Envoy makes room for a body that it then does not find here.
            BodyChange::Streamed(..) => {
                if let Some(headers) = &mut held.headers {
                    headers.remove(CONTENT_LENGTH);
                }
                return self.release(held);
            }
        };
        let Held { headers, has_data, trailers, .. } = held;
        let ended = self.order == Order::Ended;
        let ends_with_body = ended && trailers.is_none();
        let bodiless = ends_with_body && !has_data && body.is_empty();
        if let Some(mut headers) = headers {
            headers.remove(CONTENT_LENGTH);
            self.out.headers(headers, bodiless);
        }
        if !bodiless {
            self.out.data(body, ends_with_body);
        }
        if let Some(trailers) = trailers {
            self.out.trailers(trailers);
        }
        self.phase = if ended { Phase::Done } else { Phase::Replaced };
    }
}

/// Whether no `content-length` contradicts the body. Envoy checks this only when the body was changed, so that a
/// false length set by the processor passes with the original body.
fn length_matches(headers: &Headers, len: usize) -> bool {
    let parse = |value: &Value| value.to_str().and_then(|text| text.parse::<u64>().ok());
    headers.get_all(CONTENT_LENGTH).all(|value| parse(value) == Some(len as u64))
}
