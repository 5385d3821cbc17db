//! Leaving an exchange in GRPC mode (gRFC A93; Envoy `request_drain` and its directional successors).

use extproc_proto::HttpBody;

use super::side::{Drain, Head, Side};
use super::{ApiMisuse, Call, Chunk, Session, State, Violation};
use crate::{BodyMode, Direction};

/// How a processor asks the data plane to go on without it in GRPC mode.
///
/// A data plane that does not know the form ignores it, and the processor goes on echoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DrainForm {
    /// For each direction: the data plane says when it sends no more, the processor when it does not either
    /// (`request_drain_requests`, `request_drain_responses`, `drain_complete`).
    Directional,
    /// For both at once: the data plane half-closes, the processor returns what it has and ends the stream
    /// (`request_drain`; deprecated, and the only form in grpc-go and grpc-java).
    Legacy,
}

/// What is asked for with the next message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asking {
    pub(super) legacy: bool,
    pub(super) requests: bool,
    pub(super) responses: bool,
}

impl Session {
    /// The form of drain that this data plane may know; `None` where no body comes in GRPC mode.
    ///
    /// Nothing on the wire announces it. A data plane that declares flow-control windows is of the generation of the
    /// protocol that has the directional form; the others may have the legacy one.
    #[must_use]
    pub fn drain_form(&self) -> Option<DrainForm> {
        let any = Direction::BOTH.into_iter().any(|direction| self.may_drain(direction));
        if self.state != State::Open || self.observing || !any {
            return None;
        }
        Some(if self.windows { DrainForm::Directional } else { DrainForm::Legacy })
    }

    /// Asks the data plane to go on without us. It goes out with the next message, because a data plane that does not
    /// know it may refuse a message with nothing else in it. Until the data plane has confirmed
    /// ([`Call::Drained`] for each direction, or the end of the stream) everything is answered as
    /// before. False when there is nothing to ask for.
    pub fn drain(&mut self, form: DrainForm) -> bool {
        if self.drain_form().is_none() {
            return false;
        }
        if form == DrainForm::Legacy {
            self.asking.legacy = true;
            return true;
        }
        for direction in Direction::BOTH {
            if !self.may_drain(direction) {
                continue;
            }
            self.side_mut(direction).drain = Drain::Asked;
            match direction {
                Direction::Request => self.asking.requests = true,
                Direction::Response => self.asking.responses = true,
            }
        }
        true
    }

    /// Answers [`Call::Drained`]: nothing more of this body comes from us.
    pub(super) fn answer_drained(&mut self, direction: Direction) -> Result<(), ApiMisuse> {
        let side = self.side_mut(direction);
        if side.drain != Drain::Heard {
            return Err(ApiMisuse::NotOwed(direction));
        }
        if side.head == Head::Owed {
            return Err(ApiMisuse::HeadersFirst(direction));
        }
        side.drain = Drain::Done;
        self.push_chunk(direction, Chunk::default(), true);
        Ok(())
    }

    fn may_drain(&self, direction: Direction) -> bool {
        let side = self.side(direction);
        side.mode == Some(BodyMode::Grpc) && !side.is_over() && !side.output_ended && side.drain == Drain::No
    }
}

impl Side {
    /// The data plane says that it sends no more of this body.
    pub(super) fn on_drained(&mut self, direction: Direction, message: &HttpBody) -> Result<Call, Violation> {
        let bare = message.body.is_empty() && !message.end_of_stream && !message.end_of_stream_without_message;
        if self.drain != Drain::Asked || !bare || self.is_over() {
            return Err(Violation::Drain(direction));
        }
        self.drain = Drain::Heard;
        Ok(Call::Drained { direction })
    }
}
