//! GRPC bodies: messages go to the processor as they come, what it gives goes on.

use bytes::Bytes;

use super::reply::Last;
use super::{Phase, Side};
use crate::filter::EndStream;
use crate::filter::calls::CallKind;
use crate::filter::fail::Cause;
use crate::filter::grpc::{Message, Messages};
use crate::filter::held::Held;
use crate::filter::link::Cx;
use crate::filter::order::Order;
use crate::local_reply::is_grpc;
use crate::mutation::{Mutation, Part, Scope};
use crate::violation::Violation;
use crate::wire::{BodyChange, Common};
use crate::{BodyMode, Direction, Headers, Profile, wire};

impl Side {
    /// A response of another type has no messages: what a proxy or a filter says in place of a gRPC server. Its body
    /// passes. A request is taken at its word, so that nothing goes past the processor.
    pub(super) fn leave_grpc_for_other_responses(&mut self, headers: &Headers) {
        if self.mode.body == BodyMode::Grpc && self.direction == Direction::Response && !is_grpc(headers) {
            (self.mode.body, self.mode.drop_length) = (BodyMode::None, false);
        }
    }

    /// Body of the source.
    pub(super) fn on_messages(&mut self, cx: &mut Cx<'_>, data: Bytes, end: EndStream) -> Result<(), Cause> {
        let (direction, limit) = (self.direction, cx.config.options().max_grpc_message);
        self.with_messages(cx, |messages| {
            messages.push(data, end, limit).map_err(|error| Cause::Framing(direction, error))
        })
    }

    /// The trailers of the source.
    pub(super) fn on_trailers_behind_messages(&mut self, cx: &mut Cx<'_>, trailers: Headers) -> Result<(), Cause> {
        let direction = self.direction;
        self.with_messages(cx, |messages| {
            messages.end(Some(trailers)).map_err(|error| Cause::Framing(direction, error))
        })
    }

    /// There may be room in the processor's window.
    pub(in crate::filter) fn pump(&mut self, cx: &mut Cx<'_>) {
        let (direction, trailers) = (self.direction, self.mode.trailers);
        if let Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages) = &mut self.phase {
            messages.pump(cx, direction, trailers);
        }
    }

    fn with_messages(
        &mut self,
        cx: &mut Cx<'_>,
        change: impl FnOnce(&mut Messages) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let (Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages)) = &mut self.phase else {
            debug_assert!(false, "only called in these phases");
            return Ok(());
        };
        change(messages)?;
        self.pump(cx);
        Ok(())
    }

    /// The headers are answered. `held` may have body that came under another mode.
    pub(super) fn proceed_with_messages(&mut self, cx: &mut Cx<'_>, mut held: Held) -> Result<(), Cause> {
        let mut messages = match &mut self.phase {
            Phase::GrpcHeaders(_, messages) => std::mem::take(messages),
            Phase::Start
            | Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Partial(_)
            | Phase::Whole(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::Grpc(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => Box::new(held.headers.as_ref().map(Messages::new).unwrap_or_default()),
        };
        if let Some(headers) = held.headers.take() {
            self.forward_headers(headers, false);
        }
        let limit = cx.config.options().max_grpc_message;
        let failed = |error| Cause::Framing(self.direction, error);
        if held.has_data {
            let end = self.order == Order::Ended && held.trailers.is_none();
            messages.push(held.give_body(), end, limit).map_err(failed)?;
        }
        if let Some(trailers) = held.trailers.take() {
            messages.end(Some(trailers)).map_err(failed)?;
        }
        self.phase = Phase::Grpc(messages);
        self.pump(cx);
        Ok(())
    }

    /// A message of the processor, or a mark: the end of the body, the end of the drain.
    pub(super) fn on_message_reply(&mut self, cx: &mut Cx<'_>, reply: Common) -> Result<Last, Cause> {
        let Phase::Grpc(messages) = &mut self.phase else {
            debug_assert!(false, "only called in this phase");
            return Err(Violation::UnexpectedBody.into());
        };
        let BodyChange::Streamed(body, end) = reply.body else {
            return Err(Violation::PlainInGrpc.into());
        };
        let marks = reply.marks;
        if marks.drain_complete {
            if !messages.draining || !body.is_empty() {
                return Err(Violation::UnexpectedDrainComplete.into());
            }
            cx.accept(self.direction, CallKind::Body);
            self.leave_messages(cx);
            return Ok(true);
        }
        let end_only = end && marks.without_message;
        if marks.compressed && !messages.encoded {
            return Err(Violation::CompressedMessage.into());
        }
        let told = messages.end_sent && !messages.trailers_sent;
        if end && !told && self.direction == Direction::Response {
            return Err(Violation::EndInResponse.into());
        }
        if end_only && !body.is_empty() {
            return Err(Violation::MessageBesideItsAbsence.into());
        }
        if !cx.link.received(self.direction, body.len()) && cx.config.options().profile == Profile::Strict {
            return Err(Violation::WindowExceeded.into());
        }
        cx.accept(self.direction, CallKind::Body);
        cx.link.calls.changed_body(self.direction);
        messages.release_replay();
        let trailers = if end { messages.trailers.take() } else { None };
        let last_part = end && trailers.is_none();
        if end_only {
            if last_part {
                self.out.data(Bytes::new(), true);
            }
        } else {
            Message { body, compressed: marks.compressed }.release(&mut self.out, last_part);
        }
        if let Some(trailers) = trailers {
            self.out.trailers(trailers);
        }
        if end {
            self.end_duplex();
        }
        Ok(end)
    }

    /// The answer to the trailers that end the direction.
    pub(super) fn on_trailers_reply_behind_messages(
        &mut self,
        cx: &mut Cx<'_>,
        mutation: Option<Mutation>,
    ) -> Result<Last, Cause> {
        let scope = Scope { config: cx.config, part: Part::Trailers, drop_length: false, replacing: false };
        let Phase::Grpc(messages) = &mut self.phase else {
            debug_assert!(false, "only called in this phase");
            return Err(Violation::UnexpectedTrailers.into());
        };
        if !messages.trailers_sent {
            return Err(Violation::UnexpectedTrailers.into());
        }
        cx.accept(self.direction, CallKind::Trailers);
        if let Some(trailers) = &mut messages.trailers {
            cx.mutate(Some((self.direction, CallKind::Trailers)), trailers, mutation, scope)?;
        }
        if let Some(trailers) = messages.trailers.take() {
            self.out.trailers(trailers);
        }
        self.phase = Phase::Done;
        Ok(true)
    }

    /// The processor wants no more messages of this direction (`request_drain_requests`, `request_drain_responses`).
    pub(in crate::filter) fn drain(&mut self, cx: &mut Cx<'_>) {
        let direction = self.direction;
        match &mut self.phase {
            Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages) => {
                if !messages.draining && !messages.stopped && !messages.end_sent {
                    messages.draining = true;
                    cx.tell(wire::drain_complete_message(direction));
                }
            }
            // As soon as it has begun.
            Phase::Start => self.drain_wanted = true,
            Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Partial(_)
            | Phase::Whole(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => {}
        }
    }

    /// The side stream is half-closed (`request_drain`): nothing more can be sent.
    pub(in crate::filter) fn stop(&mut self) {
        if let Phase::GrpcHeaders(_, messages) | Phase::Grpc(messages) = &mut self.phase {
            messages.stopped = true;
        }
    }

    /// The processor has given back everything: the rest of the direction is not for it.
    fn leave_messages(&mut self, cx: &mut Cx<'_>) {
        let Phase::Grpc(messages) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return debug_assert!(false, "only called in this phase");
        };
        self.mode.body = BodyMode::None;
        match messages.release_body(&mut self.out) {
            Some(trailers) => self.send_trailers_or_release(cx, Held::of_trailers(trailers)),
            None if self.order == Order::Ended => {
                self.out.data(Bytes::new(), true);
                self.phase = Phase::Done;
            }
            None => {}
        }
    }

    /// Whether a processor may end its stream OK now: it has nothing, and was told that nothing more comes, or has
    /// said that it wants nothing.
    pub(in crate::filter) const fn may_end_here(&self) -> bool {
        match &self.phase {
            Phase::Start => !matches!(self.mode.body, BodyMode::Grpc),
            Phase::GrpcHeaders(..) | Phase::Grpc(_) => false,
            Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Partial(_)
            | Phase::Whole(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Pass
            | Phase::Done
            | Phase::Cut(_) => true,
        }
    }
}
