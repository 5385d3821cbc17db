//! What becomes of a request whose processor streams a reply to the client.

use super::{Phase, Side, Unanswered};
use crate::BodyMode;
use crate::filter::EndStream;
use crate::filter::order::Order;
use crate::violation::Violation;

/// Whether a streamed reply may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filter) enum BeginReply {
    Yes,
    /// The headers wait for their answer, but the client has got another one meanwhile.
    Unheard,
    No(Violation),
}

impl Side {
    /// It may in place of the answer to the headers; with a body only in the modes that hold no body of this request
    /// back for an answer (Envoy).
    pub(in crate::filter) fn may_begin_reply(&self, end: EndStream) -> BeginReply {
        let body = match self.mode.body {
            BodyMode::None => !self.mode.whole_if_there,
            BodyMode::FullDuplexStreamed => true,
            BodyMode::Streamed | BodyMode::Buffered | BodyMode::BufferedPartial | BodyMode::Grpc => false,
        };
        match self.phase {
            Phase::Headers(_) | Phase::Early(..) | Phase::GrpcHeaders(..) if end || body => BeginReply::Yes,
            Phase::Headers(_) | Phase::Early(..) | Phase::GrpcHeaders(..) => {
                BeginReply::No(Violation::ReplyBodyUnsupported)
            }
            Phase::Cut(Unanswered::Headers | Unanswered::Early(_)) => BeginReply::Unheard,
            Phase::Cut(Unanswered::Duplex) if self.body_mode() == BodyMode::FullDuplexStreamed => BeginReply::Unheard,
            Phase::Start
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
            | Phase::Cut(Unanswered::Nothing | Unanswered::Bodies(_) | Unanswered::Trailers | Unanswered::Duplex) => {
                BeginReply::No(Violation::UnexpectedHeaders)
            }
        }
    }

    /// The request goes no further. In FULL_DUPLEX_STREAMED the processor gets what still comes of it.
    pub(in crate::filter) fn begin_reply(&mut self, end: EndStream) {
        self.out.clear();
        self.replay.release();
        let goes_on = !end && self.mode.body == BodyMode::FullDuplexStreamed && self.order != Order::Ended;
        self.phase = if goes_on { Phase::Replying } else { Phase::Cut(Unanswered::Nothing) };
    }
}
