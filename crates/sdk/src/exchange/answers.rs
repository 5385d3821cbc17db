//! What a direction answers, by the body mode of the wire.

use bytes::Bytes;
use extproc_core::session::{Answer, ApiMisuse, BodyAnswer, BodyChange, BodyModes, Chunk, HeadersAnswer};
use extproc_core::{BodyMode, Direction, Session};

use super::flow::{Flow, Payload};
use super::way::Way;
use super::{Failure, Outcome, Row};
use crate::Trailers;
use crate::blocked::Reason;
use crate::body::joined;
use crate::head::Asked;
use crate::stages::Run;

/// Data planes that limit messages take this much (64 KiB).
const MAX_CHUNK: usize = 64 << 10;

impl<W: Way> Flow<W> {
    /// Answers the headers with what the header phases did.
    pub(super) fn answer_head<R: Run>(&mut self, row: &mut Row<R>, session: &mut Session) -> Result<(), Outcome> {
        let mode = session.body_mode(W::DIRECTION);
        let ask = self.ask(row, session)?;
        let mode = mode.map(|mode| ask.map_or(mode, |ask| ask.of(W::DIRECTION)));
        let wants_body = !self.last && !self.replaced && self.wants_body(row);
        if row.is_all_off()
            && let Some(form) = session.drain_form()
        {
            // Nobody here wants anything more: the data plane need not send it.
            session.drain(form);
        }
        let Some(head) = &mut self.head else { return Ok(()) };
        let cut = |mode| matches!(mode, BodyMode::Streamed | BodyMode::FullDuplexStreamed);
        if wants_body && mode.is_some_and(cut) {
            head.drop_length();
        }
        let chunked = matches!(mode, Some(BodyMode::FullDuplexStreamed | BodyMode::Grpc));
        let replace = match &mut self.body {
            Payload::Complete(body) if self.replaced && (self.last || !chunked) => {
                Some(std::mem::take(body).into_bytes())
            }
            Payload::Absent | Payload::Incoming(_) | Payload::Growing(_) | Payload::Complete(_) => None,
        };
        if let Some(metadata) = head.take_metadata() {
            session.annotate(metadata);
        }
        let answer = HeadersAnswer { edits: head.take_edits(), replace, clear_route: W::take_clear_route(head), ask };
        answered(session.answer(W::DIRECTION, Answer::Headers(answer)))
    }

    /// Answers a body message with what the body phases did.
    pub(super) fn answer_body(&mut self, session: &mut Session, mode: BodyMode) -> Result<(), Outcome> {
        let mut answer = BodyAnswer::default();
        if let Payload::Complete(body) = std::mem::take(&mut self.body)
            && (body.is_changed() || self.cleared)
        {
            let data = body.into_bytes();
            answer.change = if data.is_empty() { BodyChange::Clear } else { BodyChange::Replace(data) };
        }
        if let Some(metadata) = self.head.as_mut().and_then(|head| head.take_metadata()) {
            session.annotate(metadata);
        }
        if let Some(head) = &mut self.head
            && mode != BodyMode::Streamed
        {
            answer.edits = head.take_edits();
            answer.clear_route = W::take_clear_route(head);
        }
        answered(session.answer(W::DIRECTION, Answer::Body(answer)))
    }

    /// Answers the chunks that were held back, but for the last: what they held goes on in its answer.
    pub(super) fn answer_held(&mut self, session: &mut Session, but: usize) -> Result<(), Outcome> {
        let held = std::mem::take(&mut self.unanswered);
        self.cleared |= held > 0;
        (but..held).try_for_each(|_| self.answer_clear(session))
    }

    /// Answers a chunk with nothing; its bytes are kept.
    pub(super) fn answer_clear(&self, session: &mut Session) -> Result<(), Outcome> {
        let answer = BodyAnswer { change: BodyChange::Clear, ..BodyAnswer::default() };
        answered(session.answer(W::DIRECTION, Answer::Body(answer)))
    }

    pub(super) fn answer_trailers(session: &mut Session, mut trailers: Trailers) -> Result<(), Outcome> {
        answered(session.answer(W::DIRECTION, Answer::Trailers(trailers.take_edits())))
    }

    /// Lets a piece of body go on as it came.
    pub(super) fn pass(&self, session: &mut Session, mode: BodyMode, chunk: Chunk) -> Result<(), Outcome> {
        let answer = match mode {
            BodyMode::FullDuplexStreamed | BodyMode::Grpc => Answer::Chunk(chunk),
            BodyMode::None | BodyMode::Streamed | BodyMode::Buffered | BodyMode::BufferedPartial => {
                Answer::Body(BodyAnswer::default())
            }
        };
        answered(session.answer(W::DIRECTION, answer))
    }

    /// Answers a chunk with what the stages made of it.
    pub(super) fn answer_pieces(
        &self,
        session: &mut Session,
        mode: BodyMode,
        output: (Vec<Bytes>, bool),
        end: bool,
    ) -> Result<(), Outcome> {
        let (pieces, changed) = output;
        if mode == BodyMode::FullDuplexStreamed {
            return Self::emit_all(session, pieces, end);
        }
        let change = match changed.then(|| joined(pieces)) {
            None => BodyChange::Keep,
            Some(data) if data.is_empty() => BodyChange::Clear,
            Some(data) => BodyChange::Replace(data),
        };
        answered(session.answer(W::DIRECTION, Answer::Body(BodyAnswer { change, ..BodyAnswer::default() })))
    }

    /// Sends the complete body on in chunks, or in messages.
    pub(super) fn emit<R: Run>(&mut self, row: &Row<R>, session: &mut Session, end: bool) -> Result<(), Outcome> {
        if let Some(metadata) = self.take_metadata() {
            session.annotate(metadata);
        }
        if self.is_messages() {
            return self.emit_replacement(row, session, end);
        }
        let pieces = match std::mem::take(&mut self.body) {
            Payload::Complete(body) => vec![body.into_bytes()],
            Payload::Absent | Payload::Incoming(_) | Payload::Growing(_) => Vec::new(),
        };
        Self::emit_all(session, pieces, end)
    }

    /// Sends pieces on in chunks, none of them empty but for an end without data.
    fn emit_all(session: &mut Session, mut pieces: Vec<Bytes>, end: bool) -> Result<(), Outcome> {
        pieces.retain(|piece| !piece.is_empty());
        let count = pieces.len();
        for (index, mut rest) in pieces.into_iter().enumerate() {
            while !rest.is_empty() {
                let data = rest.split_to(rest.len().min(MAX_CHUNK));
                let end_stream = end && rest.is_empty() && index + 1 == count;
                answered(session.answer(W::DIRECTION, Answer::Chunk(Chunk { data, end_stream, ..Chunk::default() })))?;
            }
        }
        if end && count == 0 {
            let chunk = Chunk { end_stream: true, ..Chunk::default() };
            return answered(session.answer(W::DIRECTION, Answer::Chunk(chunk)));
        }
        Ok(())
    }

    /// Sends on what must go before the trailers, or fails where nothing can carry it.
    pub(super) fn flush_before_trailers<R: Run>(
        &mut self,
        row: &Row<R>,
        session: &mut Session,
        mode: BodyMode,
    ) -> Result<(), Outcome> {
        if mode == BodyMode::FullDuplexStreamed {
            return self.emit(row, session, false);
        }
        let Payload::Complete(body) = std::mem::take(&mut self.body) else { return Ok(()) };
        // What came was answered, so this is output.
        if !body.is_empty() && !session.is_observing() {
            return Err(row.fail_body::<W>(row.last_wanting::<W>(), Reason::NoAnswerLeft));
        }
        Ok(())
    }

    /// The body modes to ask for: what header phases asked for, and where a mode is NONE what the kinds need.
    fn ask<R: Run>(&mut self, row: &mut Row<R>, session: &Session) -> Result<Option<BodyModes>, Outcome> {
        let Some(declared) = session.protocol().map(|protocol| protocol.bodies) else { return Ok(None) };
        let asked = std::mem::take(&mut row.reach.asked);
        let wish = |direction: Direction| {
            let unwanted = row.declined(direction) && !row.wants(direction) && declared.of(direction) != BodyMode::None;
            let lacks = declared.of(direction) == BodyMode::None && row.wants(direction);
            match asked.of(direction) {
                Some(mode) => Some(mode),
                None if unwanted => Some(BodyMode::None),
                None if lacks && row.collects_any(direction) => Some(BodyMode::Buffered),
                None if lacks => Some(BodyMode::Streamed),
                None => None,
            }
        };
        let here = wish(W::DIRECTION).filter(|_| !self.last && !self.upgraded && !self.replaced);
        let later = wish(Direction::Response).filter(|_| W::DIRECTION == Direction::Request);
        if here.is_none() && later.is_none() {
            return Ok(None);
        }
        if !session.may_ask() {
            if here.is_some() {
                row.not_sent(W::DIRECTION)?;
            }
            return Ok(None);
        }
        self.asked = here.is_some() && declared.of(W::DIRECTION) == BodyMode::None;
        Ok(Some(match W::DIRECTION {
            Direction::Request => Asked { request: here, response: later }.over(declared),
            Direction::Response => {
                let request = session.body_mode(Direction::Request).unwrap_or(declared.request);
                BodyModes { request, response: here.unwrap_or(declared.response) }
            }
        }))
    }
}

/// A misuse here is our own mistake: the kinds leave authors none to make.
pub(super) fn answered(result: Result<(), ApiMisuse>) -> Result<(), Outcome> {
    result.map_err(|misuse| Outcome::Fail(Failure::Misuse(misuse)))
}
