//! Answers to bodies and trailers (section 3.4).

use extproc_core::BodyMode;
use extproc_core::Direction;
use extproc_proto::{CommonResponse, HeaderMutation};

use super::{Awaits, Common, Fate, Model, Side, Source, Token, Trouble};
use crate::mutate;
use crate::reading::Odd;

const SPURIOUS: &str = "spurious_message";
const MISMATCH: &str = "mismatch_between_content_length_and_the_length_of_the_mutated_body";

impl Model {
    pub(super) fn body_reply(
        &mut self,
        direction: Direction,
        common: Option<&CommonResponse>,
    ) -> Result<bool, Trouble> {
        const STREAMED: &str =
            "spurious_message:_streamed_response_is_received_while_body_mode__is_not_FULL_DUPLEX_STREAMED";
        self.refuse(common, false)?;
        let common = self.common(common);
        let whole = self.reading.streamed_for_whole;
        let side = self.side(direction);
        let streamed = common.piece.is_some();
        if side.is_cut() {
            return self.body_reply_behind_the_end(direction);
        }
        match side.awaits {
            Awaits::Chunks if streamed => Err(Trouble::Spurious(STREAMED)),
            Awaits::Whole | Awaits::Partial if streamed && whole == Odd::Refused => Err(Trouble::Spurious(STREAMED)),
            Awaits::Chunks => Ok(self.chunk_reply(direction, common)),
            Awaits::Whole => {
                let before = self.side(direction).clone();
                let done = self.whole_reply(direction, common);
                if matches!(done, Err(Trouble::Content(_))) {
                    *self.side(direction) = before;
                }
                done
            }
            Awaits::Partial => self.partial_reply(direction, common),
            Awaits::Duplex if side.body_away => self.duplex_reply(direction, common),
            Awaits::Duplex | Awaits::Nothing | Awaits::Headers | Awaits::Trailers => Err(Trouble::Spurious(SPURIOUS)),
        }
    }

    /// The direction was cut: the answers that it was owed have no effect.
    fn body_reply_behind_the_end(&mut self, direction: Direction) -> Result<bool, Trouble> {
        let side = self.side(direction);
        let duplex = side.body == BodyMode::FullDuplexStreamed;
        match side.awaits {
            Awaits::Duplex => {}
            Awaits::Headers if duplex => {}
            Awaits::Whole | Awaits::Partial => side.awaits = Awaits::Nothing,
            Awaits::Chunks => {
                side.queue.pop_front();
                if side.queue.is_empty() {
                    side.awaits = Awaits::Nothing;
                }
            }
            Awaits::Nothing | Awaits::Headers | Awaits::Trailers => return Err(Trouble::Spurious(SPURIOUS)),
        }
        let last = side.awaits != Awaits::Chunks;
        self.accept(direction);
        Ok(last)
    }

    /// STREAMED: the oldest chunk.
    fn chunk_reply(&mut self, direction: Direction, common: Common) -> bool {
        self.accept(direction);
        if direction == Direction::Request {
            self.choose_route(&common, false);
        }
        let side = self.side(direction);
        let (original, end) = side.queue.pop_front().unwrap();
        side.emit_data(common.body.unwrap_or(original), end);
        if !side.queue.is_empty() {
            // Departure: Envoy's timer stops here.
            self.arm(direction);
        } else if side.trailers.is_some() {
            self.trailers_or_all(direction);
        } else {
            side.awaits = Awaits::Nothing;
            side.finished = end;
        }
        end
    }

    /// BUFFERED, and every body that was complete when its headers were answered.
    fn whole_reply(&mut self, direction: Direction, common: Common) -> Result<bool, Trouble> {
        self.accept(direction);
        let limit = self.options.buffer_limit;
        let held_headers = self.side(direction).headers.is_some();
        if direction == Direction::Request {
            self.choose_route(&common, held_headers);
        }
        self.mutate_headers(direction, common.mutation.as_ref(), false)?;
        let honoured = self.reading.streamed_for_whole == Odd::Honoured;
        let side = self.side(direction);
        if let Some(body) = common.body {
            side.held = body;
            let limited = direction == Direction::Request && side.body != BodyMode::BufferedPartial;
            if limited && side.held.len() > limit {
                return Err(Trouble::Overflow(direction));
            }
        } else if let Some((body, _)) = common.piece {
            if honoured {
                if let Some(headers) = &mut side.headers {
                    mutate::without(headers, "content-length");
                }
                side.held = body;
            } else if !side.fits(0) {
                return Err(Trouble::Content(MISMATCH));
            }
        }
        if !side.fits(side.held.len()) {
            return Err(Trouble::Content(MISMATCH));
        }
        side.length_checked = true;
        let last = side.body == BodyMode::Streamed && side.trailers.is_none();
        self.trailers_or_all(direction);
        Ok(last)
    }

    fn partial_reply(&mut self, direction: Direction, common: Common) -> Result<bool, Trouble> {
        self.accept(direction);
        let held_headers = self.side(direction).headers.is_some();
        if direction == Direction::Request {
            self.choose_route(&common, held_headers);
        }
        self.mutate_headers(direction, common.mutation.as_ref(), false)?;
        let honoured = self.reading.streamed_for_whole == Odd::Honoured;
        let side = self.side(direction);
        if let Some(body) = common.body.or_else(|| common.piece.filter(|_| honoured).map(|(body, _)| body)) {
            side.held = body;
        }
        side.emit_headers_before_body();
        let mut body = std::mem::take(&mut side.held);
        let rest: Vec<_> = side.queue.drain(..).collect();
        let end = rest.iter().any(|(_, end)| *end);
        body.extend(rest.into_iter().flat_map(|(data, _)| data));
        side.emit_data(body, end);
        side.body = BodyMode::None;
        if side.trailers.is_some() {
            self.trailers_or_all(direction);
        } else {
            (side.awaits, side.finished) = (Awaits::Nothing, end);
        }
        Ok(false)
    }

    fn duplex_reply(&mut self, direction: Direction, common: Common) -> Result<bool, Trouble> {
        let (data, end) = match common.piece {
            Some(piece) => piece,
            // agentgateway: the whole rest.
            None if self.reading.plain_in_duplex == Odd::Honoured => (common.body.unwrap_or_default(), true),
            None => {
                return Err(Trouble::Spurious(
                    "spurious_message:_Normal_body_mutation_response_is_received_while_body_mode__is_FULL_DUPLEX_STREAMED",
                ));
            }
        };
        self.accept(direction);
        let side = self.side(direction);
        // Departure: the end of the body lets the trailers go, too.
        let trailers = if end { side.trailers.take() } else { None };
        if end || !data.is_empty() {
            side.released();
        }
        side.emit_data(data, end && trailers.is_none());
        if let Some(trailers) = trailers {
            side.emit(Token::Trailers(trailers));
        }
        if end {
            side.end_duplex();
        }
        Ok(end)
    }

    pub(super) fn trailers_reply(
        &mut self,
        direction: Direction,
        mutation: Option<&HeaderMutation>,
    ) -> Result<bool, Trouble> {
        let side = self.side(direction);
        let duplex = side.body == BodyMode::FullDuplexStreamed;
        if side.is_cut() {
            match side.awaits {
                Awaits::Duplex => {}
                Awaits::Headers if duplex => {}
                Awaits::Trailers => side.awaits = Awaits::Nothing,
                _ => return Err(Trouble::Spurious(SPURIOUS)),
            }
            self.accept(direction);
            return Ok(true);
        }
        let answers_late = duplex && side.awaits == Awaits::Nothing && side.source != Source::Start;
        match side.awaits {
            Awaits::Trailers => {
                self.accept(direction);
                self.mutate_trailers(direction, mutation)?;
                let side = self.side(direction);
                (side.awaits, side.finished) = (Awaits::Nothing, true);
                side.emit_all();
            }
            Awaits::Duplex => {
                self.accept(direction);
                self.mutate_trailers(direction, mutation)?;
                let side = self.side(direction);
                match side.trailers.take() {
                    Some(trailers) => side.emit(Token::Trailers(trailers)),
                    None => side.emit_data(Vec::new(), true),
                }
                side.end_duplex();
            }
            Awaits::Nothing if answers_late && (side.finished || side.fate == Fate::Discarded) => {
                self.accept(direction);
            }
            _ => return Err(Trouble::Spurious(SPURIOUS)),
        }
        Ok(true)
    }
}

impl Side {
    /// Whether no `content-length` that is still here contradicts this length.
    fn fits(&self, len: usize) -> bool {
        let lengths = self.headers.iter().flat_map(|headers| mutate::values(headers, "content-length"));
        let mut lengths = lengths.map(|it| std::str::from_utf8(it).ok().and_then(|it| it.parse::<usize>().ok()));
        lengths.all(|length| length == Some(len))
    }

    pub(super) fn end_duplex(&mut self) {
        self.awaits = Awaits::Nothing;
        self.body_away = false;
        if self.source == Source::Ended {
            self.finished = true;
        } else {
            self.fate = Fate::Discarded;
        }
    }
}
