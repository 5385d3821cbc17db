//! What the processor answers (sections 3.3, 3.4, 3.6 to 3.11, 3.16).

use extproc_core::config::RouteCacheAction;
use extproc_core::{BodyMode, Direction};
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_response::Response;
use extproc_proto::{CommonResponse, HeaderMutation, ImmediateResponse, ProcessingResponse};

use super::{Awaits, Fate, Model, Side, Source, Token, Trouble, at};
use crate::mutate::{self, Around, Map, Part};
use crate::reading::Odd;

const SPURIOUS: &str = "spurious_message";

/// The parts of a `CommonResponse` that mean something.
#[derive(Clone, Default)]
pub(super) struct Common {
    pub(super) replace: bool,
    pub(super) mutation: Option<HeaderMutation>,
    pub(super) body: Option<Vec<u8>>,
    /// `streamed_response`
    pub(super) piece: Option<(Vec<u8>, bool)>,
    pub(super) clear_route: bool,
}

impl Model {
    /// One message, in the order of section 3.3.
    pub(crate) fn reply(&mut self, message: &ProcessingResponse) -> Result<(), Trouble> {
        if let Some(span) = message.override_message_timeout.filter(|_| self.reading.controls) {
            self.extend(span.seconds, span.nanos);
            return Ok(());
        }
        let last = match &message.response {
            None => return self.empty(message),
            Some(Response::RequestHeaders(it)) => self.headers_reply(Direction::Request, it.response.as_ref(), message),
            Some(Response::ResponseHeaders(it)) => {
                self.headers_reply(Direction::Response, it.response.as_ref(), message)
            }
            Some(Response::RequestBody(it)) => self.body_reply(Direction::Request, it.response.as_ref()),
            Some(Response::ResponseBody(it)) => self.body_reply(Direction::Response, it.response.as_ref()),
            Some(Response::RequestTrailers(it)) => self.trailers_reply(Direction::Request, it.header_mutation.as_ref()),
            Some(Response::ResponseTrailers(it)) => {
                self.trailers_reply(Direction::Response, it.header_mutation.as_ref())
            }
            Some(Response::ImmediateResponse(_)) if self.options.disable_immediate_response => {
                return Err(Trouble::Spurious("unhandled_immediate_response_due_to_config_disabled_it"));
            }
            Some(Response::ImmediateResponse(it)) => {
                self.immediate(it);
                return Ok(());
            }
            Some(Response::StreamedImmediateResponse(_)) => unreachable!("the generator makes none"),
        }?;
        if last {
            self.close_if_settled();
        }
        Ok(())
    }

    /// 3.6
    fn extend(&mut self, seconds: i64, nanos: i32) {
        let millis = i128::from(seconds) * 1000 + i128::from(nanos) / 1_000_000;
        let longest = self.options.max_message_timeout.as_millis().cast_signed();
        let running = self.deadlines.iter().flatten().any(|(_, moved)| !moved);
        if millis >= 1 && millis <= longest && running {
            self.stats.override_message_timeout_received += 1;
            let when = self.now + u64::try_from(millis).unwrap();
            for deadline in self.deadlines.iter_mut().flatten().filter(|(_, moved)| !moved) {
                *deadline = (when, true);
            }
        } else {
            self.stats.override_message_timeout_ignored += 1;
        }
    }

    /// An accepted answer.
    pub(super) fn accept(&mut self, direction: Direction) {
        self.stats.stream_msgs_received += 1;
        self.deadlines[at(direction)] = None;
    }

    /// 3.4; `Ok(true)`: it may have been the last one.
    fn headers_reply(
        &mut self,
        direction: Direction,
        common: Option<&CommonResponse>,
        message: &ProcessingResponse,
    ) -> Result<bool, Trouble> {
        self.refuse(common, true)?;
        let mut common = self.common(common);
        if let Some(mode) = message.mode_override.filter(|_| self.reading.mode_override) {
            let waits = |side: &Side| !side.is_cut() && side.awaits == Awaits::Headers;
            if self.sides.iter().any(waits)
                && let Some(mode) = self.permitted(&mode)
            {
                self.set_modes(&mode);
            }
        }
        let side = self.side(direction);
        if side.awaits != Awaits::Headers {
            if side.is_cut() && side.awaits == Awaits::Duplex {
                self.accept(direction);
                return Ok(true);
            }
            return Err(Trouble::Spurious(SPURIOUS));
        }
        let duplex = side.body == BodyMode::FullDuplexStreamed;
        if side.is_cut() {
            if duplex {
                self.accept(direction);
                return Ok(true);
            }
            let more = !side.queue.is_empty();
            side.awaits = if more { Awaits::Chunks } else { Awaits::Nothing };
            self.accept(direction);
            return Ok(!more);
        }
        let header_only = side.source == Source::Ended && !side.got_data && side.trailers.is_none();
        let mut first_piece = None;
        if self.reading.body_in_headers == Odd::Honoured && !common.replace && !header_only {
            match (common.piece.take(), duplex) {
                (Some(piece), true) => first_piece = Some(piece),
                (Some((body, _)), false) => (common.replace, common.body) = (true, Some(body)),
                (None, _) => common.replace = common.body.is_some(),
            }
        }
        self.accept(direction);
        let side = self.side(direction);
        if side.is_away() && common.replace && common.body.is_none() {
            return Err(Trouble::Content("full_duplex_body_was_not_returned"));
        }
        self.mutate_headers(direction, common.mutation.as_ref(), common.replace)?;
        if direction == Direction::Request {
            self.choose_route(&common, true);
        }
        if common.replace {
            self.replace(direction, common);
            return Ok(true);
        }
        self.after_headers(direction);
        if let Some((data, end)) = first_piece {
            let side = self.side(direction);
            if side.awaits == Awaits::Duplex {
                if end || !data.is_empty() {
                    side.released();
                }
                side.emit_data(data, end);
                if end {
                    side.end_duplex();
                }
            }
        }
        Ok(true)
    }

    /// What the header response lets happen: the table of 3.4, first match.
    fn after_headers(&mut self, direction: Direction) {
        let limit = self.options.buffer_limit;
        let side = self.side(direction);
        side.awaits = Awaits::Nothing;
        let complete = side.source == Source::Ended;
        if complete && !side.got_data {
            // There is no body that another length could belong to.
            side.true_length();
        }
        if complete && !side.got_data && side.trailers.is_none() {
            side.finished = true;
            return side.emit_all();
        }
        if side.body == BodyMode::FullDuplexStreamed {
            side.emit_headers_before_body();
            side.awaits = Awaits::Duplex;
            side.body_away = side.got_data;
            return;
        }
        if !side.queue.is_empty() {
            side.emit_headers_before_body();
            side.awaits = Awaits::Chunks;
            return self.arm(direction);
        }
        if complete && side.got_data && (side.body != BodyMode::None || side.whole_if_there) {
            return self.send_whole(direction);
        }
        if complete {
            side.true_length();
            return self.trailers_or_all(direction);
        }
        match side.body {
            BodyMode::Buffered => side.collecting = true,
            BodyMode::BufferedPartial if side.held.len() > limit => self.send_beginning(direction),
            BodyMode::BufferedPartial => side.collecting = true,
            BodyMode::Streamed => {
                side.emit_headers_before_body();
                if side.got_data {
                    let held = std::mem::take(&mut side.held);
                    side.queue.push_back((held.clone(), false));
                    side.awaits = Awaits::Chunks;
                    self.send_body(direction, &held, false, true, true);
                }
            }
            BodyMode::None | BodyMode::FullDuplexStreamed | BodyMode::Grpc => {
                side.true_length();
                side.emit_all();
            }
        }
    }

    /// 3.11
    fn replace(&mut self, direction: Direction, common: Common) {
        let side = self.side(direction);
        side.held.append(&mut side.copy);
        side.awaits = Awaits::Nothing;
        (side.body, side.send_trailers) = (BodyMode::None, false);
        side.whole_if_there = false;
        let ended = side.source == Source::Ended;
        side.finished = ended;
        if common.body.is_some() || common.piece.is_some() {
            if let Some(headers) = &mut side.headers {
                mutate::without(headers, "content-length");
            }
            side.length_before.clear();
        }
        let Some(body) = common.body else {
            side.true_length();
            return side.emit_all();
        };
        let ends = ended && side.trailers.is_none();
        let bodiless = ends && !side.got_data && body.is_empty();
        side.held.clear();
        side.queue.clear();
        if let Some(headers) = side.headers.take() {
            side.emit(Token::Headers(headers, bodiless));
        }
        side.emit_data(body, ends && !bodiless);
        if let Some(trailers) = side.trailers.take() {
            side.emit(Token::Trailers(trailers));
        }
        if !ended {
            side.fate = Fate::Replaced;
        }
    }

    pub(super) fn mutate_headers(
        &mut self,
        direction: Direction,
        mutation: Option<&HeaderMutation>,
        replacing: bool,
    ) -> Result<(), Trouble> {
        let part = if direction == Direction::Request { Part::Request } else { Part::Response };
        let side = &mut self.sides[at(direction)];
        let around = Around { part, without_length: side.drop_length, replacing };
        let (Some(headers), Some(mutation)) = (&mut side.headers, mutation) else { return Ok(()) };
        Self::mutate(headers, mutation, around, &self.options, &mut self.stats)
    }

    pub(super) fn mutate_trailers(
        &mut self,
        direction: Direction,
        mutation: Option<&HeaderMutation>,
    ) -> Result<(), Trouble> {
        let side = &mut self.sides[at(direction)];
        let around = Around { part: Part::Trailers, without_length: side.drop_length, replacing: false };
        let (Some(trailers), Some(mutation)) = (&mut side.trailers, mutation) else { return Ok(()) };
        Self::mutate(trailers, mutation, around, &self.options, &mut self.stats)
    }

    /// A mutation that fails changes nothing.
    fn mutate(
        map: &mut Map,
        mutation: &HeaderMutation,
        around: Around,
        options: &extproc_core::Options,
        stats: &mut extproc_core::Stats,
    ) -> Result<(), Trouble> {
        let mut changed = map.clone();
        let verdict = mutate::apply(&mut changed, mutation, options, around);
        stats.rejected_header_mutations += verdict.rejected;
        match verdict.failure {
            Some(details) => Err(Trouble::Content(details)),
            None => {
                *map = changed;
                Ok(())
            }
        }
    }

    /// 3.16
    pub(super) fn choose_route(&mut self, common: &Common, headers_held: bool) {
        let action = self.options.route_cache_action;
        let clear = u64::from(common.clear_route);
        if common.mutation.is_none() {
            self.stats.clear_route_cache_ignored += clear;
            return;
        }
        match action {
            RouteCacheAction::Retain => self.stats.clear_route_cache_disabled += clear,
            RouteCacheAction::Clear | RouteCacheAction::Default => {
                if headers_held && (common.clear_route || action == RouteCacheAction::Clear) {
                    self.effects.push("RecomputeRoute".to_owned());
                }
            }
        }
    }

    /// 3.8
    fn immediate(&mut self, reply: &ImmediateResponse) {
        let status = reply.status.as_ref().map_or(0, |status| status.code);
        let status = u16::try_from(status).ok().filter(|status| (200..600).contains(status)).unwrap_or(200);
        let mut headers: Map = vec![(":status".to_owned(), status.to_string().into_bytes())];
        if let Some(mutation) = &reply.headers {
            let around = Around { part: Part::Response, without_length: false, replacing: false };
            let before = headers.clone();
            let verdict = mutate::apply(&mut headers, mutation, &self.options, around);
            self.stats.rejected_header_mutations += verdict.rejected;
            if verdict.failure.is_some() && self.reading.opens_on_bad_content {
                headers = before;
            }
        }
        self.stats.stream_msgs_received += 1;
        self.stats.immediate_responses_sent += 1;
        self.to_processor.clear();
        self.close_stream();
        let grpc_status = reply.grpc_status.as_ref().map(|status| status.status);
        self.local_reply(status, grpc_status, headers, &reply.body, &reply.details, false);
    }

    /// What the profile does not let a response say.
    pub(super) fn refuse(&mut self, common: Option<&CommonResponse>, headers: bool) -> Result<(), Trouble> {
        let Some(common) = common else { return Ok(()) };
        let replaces = common.status == 1;
        let refused = if headers && replaces {
            (self.reading.replace == Odd::Refused).then_some("unexpected_status_CONTINUE_AND_REPLACE,_want_CONTINUE")
        } else if headers {
            let read = self.common(Some(common));
            (self.reading.body_in_headers == Odd::Refused && (read.body.is_some() || read.piece.is_some()))
                .then_some("body_in_headers_response_without_CONTINUE_AND_REPLACE")
        } else {
            (self.reading.replace_in_body == Odd::Refused && replaces)
                .then_some("unexpected_status_CONTINUE_AND_REPLACE,_want_CONTINUE")
        };
        match refused {
            Some(details) => {
                self.stats.stream_msgs_received += 1;
                Err(Trouble::Content(details))
            }
            None => Ok(()),
        }
    }

    pub(super) fn common(&self, common: Option<&CommonResponse>) -> Common {
        let Some(common) = common else { return Common::default() };
        let (mut body, mut piece) = (None, None);
        match common.body_mutation.as_ref().and_then(|it| it.mutation.as_ref()) {
            Some(Mutation::Body(bytes)) => body = Some(bytes.to_vec()),
            Some(Mutation::ClearBody(true)) => body = Some(Vec::new()),
            Some(Mutation::StreamedResponse(it)) => piece = Some((it.body.to_vec(), it.end_of_stream)),
            Some(Mutation::ClearBody(false)) | None => {}
        }
        Common {
            replace: common.status == 1 && self.reading.replace == Odd::Honoured,
            mutation: common.header_mutation.clone(),
            body,
            piece,
            clear_route: common.clear_route_cache && self.reading.controls,
        }
    }
}
