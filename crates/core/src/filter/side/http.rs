//! What the data plane brings.

use bytes::Bytes;

use super::{Duplex, Phase, Side};
use crate::filter::fail::Cause;
use crate::filter::grpc::Messages;
use crate::filter::held::{Chunks, Held, Partial};
use crate::filter::link::Cx;
use crate::filter::order::Order;
use crate::filter::{EndStream, HttpEvent};
use crate::{BodyMode, Headers, wire};

impl Side {
    /// Takes an event that may follow the ones before; `order` is the order after it.
    pub(in crate::filter) fn on_http(&mut self, cx: &mut Cx<'_>, order: Order, event: HttpEvent) -> Result<(), Cause> {
        self.order = order;
        match event {
            HttpEvent::Headers(headers, end) => self.on_headers(cx, headers, end),
            HttpEvent::Data(data, end) => return self.on_data(cx, data, end),
            HttpEvent::Trailers(trailers) => {
                if matches!(self.phase, Phase::GrpcHeaders(..) | Phase::Grpc(_)) {
                    return self.on_trailers_behind_messages(cx, trailers);
                }
                self.on_trailers(cx, trailers);
            }
        }
        Ok(())
    }

    fn on_headers(&mut self, cx: &mut Cx<'_>, mut headers: Headers, end: EndStream) {
        match self.phase {
            // Nothing can be sent any more, and the processor has nothing of this direction.
            Phase::Start if cx.link.draining => {
                self.out.headers(headers, end);
                self.phase = if end { Phase::Done } else { Phase::Pass };
            }
            Phase::Start => {
                self.leave_grpc_for_other_responses(&headers);
                if self.mode.headers {
                    let message = wire::headers_message(self.direction, &headers, end, cx.config);
                    if matches!(self.mode.body, BodyMode::FullDuplexStreamed | BodyMode::Grpc) {
                        cx.tell(message);
                    } else {
                        cx.send(self.direction, message);
                    }
                }
                // The length of a message without a body is information, not framing.
                if self.mode.drop_length && !end {
                    headers.remove("content-length");
                }
                let grpc = (self.mode.body == BodyMode::Grpc && !end).then(|| Box::new(Messages::new(&headers)));
                if self.mode.headers {
                    let held = Held::of_headers(headers);
                    self.phase = match grpc {
                        Some(messages) => Phase::GrpcHeaders(held, messages),
                        None => Phase::Headers(held),
                    };
                } else {
                    self.forward_headers(headers, end);
                    self.phase = match self.mode.body {
                        _ if end => Phase::Done,
                        BodyMode::Grpc => Phase::Grpc(grpc.unwrap_or_default()),
                        BodyMode::Buffered | BodyMode::BufferedPartial => Phase::Collect(Held::default()),
                        BodyMode::FullDuplexStreamed => Phase::Duplex(Duplex::default()),
                        BodyMode::None | BodyMode::Streamed => Phase::Idle,
                    };
                }
                if self.drain_wanted {
                    self.drain(cx);
                }
            }
            Phase::Pass => {
                self.out.headers(headers, end);
                self.done_if(end);
            }
            Phase::Headers(_)
            | Phase::Early(..)
            | Phase::Idle
            | Phase::Collect(_)
            | Phase::Whole(_)
            | Phase::Partial(_)
            | Phase::Chunks(_)
            | Phase::Duplex(_)
            | Phase::GrpcHeaders(..)
            | Phase::Grpc(_)
            | Phase::Trailers(_)
            | Phase::Replaced
            | Phase::Discard
            | Phase::Replying
            | Phase::Done
            | Phase::Cut(_) => debug_assert!(false, "headers come first"),
        }
    }

    fn on_data(&mut self, cx: &mut Cx<'_>, data: Bytes, end: EndStream) -> Result<(), Cause> {
        if data.is_empty() && !end {
            return Ok(());
        }
        let limit = cx.config.options().buffer_limit;
        match &mut self.phase {
            Phase::Headers(held) | Phase::Collect(held)
                if self.mode.body == BodyMode::Buffered && held.bytes() + data.len() > limit =>
            {
                return Err(Cause::Overflow(self.direction));
            }
            Phase::Headers(held) if self.mode.body == BodyMode::FullDuplexStreamed => {
                held.has_data = true;
                self.replay.keep(data.len(), cx.config.options().replay_buffer, || data.clone());
                cx.tell_body(self.direction, data, end);
            }
            Phase::Duplex(duplex) => {
                duplex.sent = true;
                self.replay.keep(data.len(), cx.config.options().replay_buffer, || data.clone());
                cx.tell_body(self.direction, data, end);
            }
            Phase::Replying => cx.tell_body(self.direction, data, end),
            Phase::GrpcHeaders(..) | Phase::Grpc(_) => return self.on_messages(cx, data, end),
            Phase::Headers(held) if self.mode.early => {
                let (held, mut chunks) = (std::mem::take(held), Chunks::default());
                self.send_chunk(cx, &mut chunks, data, end);
                self.phase = Phase::Early(held, chunks);
            }
            Phase::Early(held, chunks) => {
                let (held, mut chunks) = (std::mem::take(held), std::mem::take(chunks));
                self.send_chunk(cx, &mut chunks, data, end);
                self.phase = Phase::Early(held, chunks);
            }
            Phase::Headers(held) => held.push(data),
            Phase::Collect(held) => {
                held.push(data);
                let over = held.bytes() > limit;
                if end {
                    let held = std::mem::take(held);
                    self.send_whole(cx, held);
                } else if over {
                    let held = std::mem::take(held);
                    self.send_partial(cx, held);
                }
            }
            Phase::Partial(partial) => partial.rest.push(data, end),
            Phase::Idle => match self.mode.body {
                BodyMode::Streamed => {
                    let mut chunks = Chunks::default();
                    self.send_chunk(cx, &mut chunks, data, end);
                    self.phase = Phase::Chunks(chunks);
                }
                BodyMode::None
                | BodyMode::Buffered
                | BodyMode::BufferedPartial
                | BodyMode::FullDuplexStreamed
                | BodyMode::Grpc => {
                    self.out.data(data, end);
                    self.done_if(end);
                }
            },
            Phase::Chunks(chunks) => {
                let mut chunks = std::mem::take(chunks);
                self.send_chunk(cx, &mut chunks, data, end);
                self.phase = Phase::Chunks(chunks);
            }
            Phase::Replaced => {
                if end {
                    self.out.data(Bytes::new(), true);
                }
                self.done_if(end);
            }
            Phase::Pass => {
                self.out.data(data, end);
                self.done_if(end);
            }
            Phase::Discard => self.done_if(end),
            Phase::Cut(_) => {}
            Phase::Start | Phase::Whole(_) | Phase::Trailers(_) | Phase::Done => {
                debug_assert!(false, "data comes between headers and end");
            }
        }
        Ok(())
    }

    fn on_trailers(&mut self, cx: &mut Cx<'_>, trailers: Headers) {
        match &mut self.phase {
            Phase::Headers(held) => {
                if self.mode.body == BodyMode::FullDuplexStreamed {
                    cx.tell(wire::trailers_message(self.direction, &trailers, cx.config));
                }
                held.trailers = Some(trailers);
            }
            Phase::Duplex(duplex) => {
                cx.tell(wire::trailers_message(self.direction, &trailers, cx.config));
                duplex.trailers = Some(trailers);
            }
            Phase::Replying => cx.tell(wire::trailers_message(self.direction, &trailers, cx.config)),
            Phase::Discard => self.phase = Phase::Done,
            Phase::Collect(held) => {
                let mut held = std::mem::take(held);
                held.trailers = Some(trailers);
                if held.has_data {
                    self.send_whole(cx, held);
                } else {
                    held.keep_true_length();
                    self.send_trailers_or_release(cx, held);
                }
            }
            Phase::Partial(Partial { rest: chunks, .. }) | Phase::Early(_, chunks) | Phase::Chunks(chunks) => {
                chunks.trailers = Some(trailers)
            }
            Phase::Idle => self.send_trailers_or_release(cx, Held::of_trailers(trailers)),
            Phase::Replaced | Phase::Pass => {
                self.out.trailers(trailers);
                self.phase = Phase::Done;
            }
            Phase::Cut(_) => {}
            Phase::Start
            | Phase::Whole(_)
            | Phase::GrpcHeaders(..)
            | Phase::Grpc(_)
            | Phase::Trailers(_)
            | Phase::Done => {
                debug_assert!(false, "trailers come between headers and end");
            }
        }
    }

    /// Headers of a body that is yet to come.
    pub(super) fn forward_headers(&mut self, headers: Headers, end: EndStream) {
        if self.mode.body != BodyMode::None && !self.mode.drop_length && !end {
            self.out.guarded_headers(headers);
        } else {
            self.out.headers(headers, end);
        }
    }

    /// Sends the whole body that is held.
    pub(super) fn send_whole(&mut self, cx: &mut Cx<'_>, mut held: Held) {
        let unsent_trailers = !self.mode.trailers && cx.config.options().profile.ends_body_before_unsent_trailers();
        let end = held.trailers.is_none() || unsent_trailers;
        cx.send(self.direction, wire::body_message(self.direction, held.join(), end));
        self.phase = Phase::Whole(held);
    }

    /// Sends the beginning of a body that is over the limit.
    pub(super) fn send_partial(&mut self, cx: &mut Cx<'_>, mut held: Held) {
        cx.send(self.direction, wire::body_message(self.direction, held.join(), false));
        self.phase = Phase::Partial(Partial { first: held, rest: Chunks::default() });
    }

    pub(super) fn send_chunk(&self, cx: &mut Cx<'_>, chunks: &mut Chunks, data: Bytes, end: EndStream) {
        cx.send(self.direction, wire::body_message(self.direction, data.clone(), end));
        chunks.push(data, end);
    }

    /// Nothing but trailers can still be asked about: sends them, or lets everything go.
    pub(super) fn send_trailers_or_release(&mut self, cx: &mut Cx<'_>, held: Held) {
        match &held.trailers {
            Some(trailers) if self.mode.trailers && !cx.link.draining => {
                cx.send(self.direction, wire::trailers_message(self.direction, trailers, cx.config));
                self.phase = Phase::Trailers(held);
            }
            Some(_) | None => self.release(held),
        }
    }

    pub(super) fn release(&mut self, held: Held) {
        let ended = self.order == Order::Ended;
        held.release(&mut self.out, ended);
        self.phase = if ended { Phase::Done } else { Phase::Idle };
    }

    fn done_if(&mut self, end: EndStream) {
        if end {
            self.phase = Phase::Done;
        }
    }
}
