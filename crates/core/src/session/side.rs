//! One direction of an exchange: what it has brought and what it is owed.

use super::credit::Credit;
use crate::BodyMode;

#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) input: Input,
    pub(super) head: Head,
    /// The mode in force; `None` while neither declared nor seen.
    pub(super) mode: Option<BodyMode>,
    /// The mode that our last header answer asked for.
    pub(super) asked: Option<BodyMode>,
    /// Body messages that wait for their answer, in the modes that answer each.
    pub(super) bodies_owed: usize,
    pub(super) body_answered: bool,
    pub(super) trailers_owed: bool,
    /// The body was replaced from the header answer: what still comes of this direction is given up.
    pub(super) replaced: bool,
    pub(super) output_ended: bool,
    pub(super) drain: Drain,
    /// With data planes that declare windows.
    pub(super) credit: Option<Box<Credit>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Input {
    #[default]
    Nothing,
    Headers,
    Body,
    /// Ended by the headers.
    HeadersOnly,
    /// Ended by a body message.
    EndedByBody,
    /// Ended by the trailers.
    Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Head {
    /// Not sent to us, or not yet.
    #[default]
    Unseen,
    Owed,
    Answered,
}

/// How far the data plane has been asked to leave us out (GRPC mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Drain {
    #[default]
    No,
    Asked,
    /// The data plane said that it sends no more bodies.
    Heard,
    /// We said that we do not either.
    Done,
}

impl Side {
    pub(super) fn ask(&mut self, mode: BodyMode) {
        self.asked = Some(mode);
        let held = matches!(self.mode, Some(BodyMode::Buffered | BodyMode::BufferedPartial));
        if held && mode == BodyMode::Streamed && self.input != Input::Body {
            // Right also if it is refused: a whole body is answered as a chunk is, only with less in the answer.
            self.mode = Some(mode);
        }
    }

    pub(super) fn owes(&self) -> bool {
        self.head == Head::Owed || self.bodies_owed > 0 || self.trailers_owed
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.input, Input::HeadersOnly | Input::EndedByBody | Input::Ended)
    }

    /// Whether the stream can end without any part of this direction being lost.
    pub(super) fn may_close(&self) -> bool {
        let whole = matches!(self.mode, Some(BodyMode::None | BodyMode::Buffered | BodyMode::BufferedPartial));
        let settled = self.is_over() || whole || self.replaced || self.drain == Drain::Done;
        settled && !self.owes() && self.credit.as_ref().is_none_or(|credit| credit.is_empty())
    }

    /// Whether the data plane has passed the headers of this direction on.
    pub(super) fn is_forwarded(&self) -> bool {
        if self.input == Input::Nothing || self.head == Head::Owed {
            return false;
        }
        let holds = matches!(self.mode, Some(BodyMode::Buffered | BodyMode::BufferedPartial));
        let awaits_body = matches!(self.input, Input::Headers) || self.bodies_owed > 0;
        !holds || !awaits_body || self.body_answered || self.replaced
    }
}

/// Whether output is chunks, independent of the messages that came.
pub(super) const fn is_chunked(mode: BodyMode) -> bool {
    matches!(mode, BodyMode::FullDuplexStreamed | BodyMode::Grpc)
}
