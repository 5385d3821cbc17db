//! Mode overrides (section 3.10).

use extproc_core::{BodyMode, Direction, ProcessingMode, Profile};
use extproc_proto::ProcessingResponse;

use super::{Awaits, Fate, Model, Side, Source, Trouble, drops_length, meant};
use crate::reading::Odd;

impl Model {
    /// No member of the oneof: 3.10, standalone override.
    pub(super) fn empty(&mut self, message: &ProcessingResponse) -> Result<(), Trouble> {
        let unhandled = Err(Trouble::Spurious("unhandled_message"));
        let Some(mode) = message.mode_override.filter(|_| self.reading.controls) else {
            return if self.reading.empty == Odd::Ignored { Ok(()) } else { unhandled };
        };
        let Some(new) = self.permitted(&mode) else { return unhandled };
        let side = &self.sides[0];
        let possible = !side.is_cut()
            && side.awaits == Awaits::Headers
            && side.queue.is_empty()
            && matches!(side.body, BodyMode::None | BodyMode::Streamed);
        if !possible || mode.request_body_mode != 4 || mode.request_trailer_mode != 1 {
            return unhandled;
        }
        let header_only = side.source == Source::Ended && !side.got_data && side.trailers.is_none();
        self.set_modes(&new);
        if !header_only {
            self.deadlines[0] = None;
        }
        Ok(())
    }

    /// The mode that an override leads to.
    pub(super) fn permitted(&self, mode: &extproc_proto::ProcessingMode) -> Option<ProcessingMode> {
        let options = &self.options;
        let base = options.processing_mode;
        let streams = |mode| {
            let (mode, _) = meant(mode, options.profile);
            matches!(mode, BodyMode::FullDuplexStreamed | BodyMode::Grpc)
        };
        if !options.allow_mode_override
            || options.send_body_without_waiting_for_header_response
            || streams(base.request_body)
            || streams(base.response_body)
        {
            return None;
        }
        let send = |asked: i32, now: bool| match asked {
            1 => true,
            2 => false,
            _ => now,
        };
        let body = |asked: i32, side: &Side| match asked {
            1 if !self.reading.overrides_to_streams => side.body,
            5 if !self.reading.overrides_to_streams => side.body,
            1 => BodyMode::Streamed,
            2 => BodyMode::Buffered,
            3 => BodyMode::BufferedPartial,
            4 => BodyMode::FullDuplexStreamed,
            5 => BodyMode::Grpc,
            _ => BodyMode::None,
        };
        let mut new = ProcessingMode {
            request_headers: send(mode.request_header_mode, base.request_headers),
            response_headers: send(mode.response_header_mode, base.response_headers),
            request_body: body(mode.request_body_mode, &self.sides[0]),
            response_body: body(mode.response_body_mode, &self.sides[1]),
            request_trailers: send(mode.request_trailer_mode, base.request_trailers),
            response_trailers: send(mode.response_trailer_mode, base.response_trailers),
        };
        let agentgateway = options.profile == Profile::Agentgateway;
        if agentgateway && [new.request_body, new.response_body].contains(&BodyMode::FullDuplexStreamed) {
            (new.request_trailers, new.response_trailers) = (true, true);
        }
        let listed = |entry: &ProcessingMode| {
            (entry.response_headers, entry.request_body, entry.response_body)
                == (new.response_headers, new.request_body, new.response_body)
                && (entry.request_trailers, entry.response_trailers) == (new.request_trailers, new.response_trailers)
        };
        let list = &options.allowed_override_modes;
        (list.is_empty() || !self.reading.override_list || list.iter().any(listed)).then_some(new)
    }

    pub(super) fn set_modes(&mut self, new: &ProcessingMode) {
        let replay = self.options.replay_buffer;
        for direction in Direction::BOTH {
            let (body, whole_if_there) = meant(new.body(direction), self.options.profile);
            let trailers = new.trailers(direction) || body == BodyMode::FullDuplexStreamed;
            let drops = drops_length(body, new.headers(direction), &self.options);
            let side = self.side(direction);
            if side.fate != Fate::Processed {
                continue;
            }
            if side.source == Source::Start {
                (side.send_headers, side.body, side.send_trailers) = (new.headers(direction), body, trailers);
                (side.whole_if_there, side.drop_length) = (whole_if_there, drops);
                continue;
            }
            let more = side.got_data || side.trailers.is_some();
            // What was sent is not here any more, so the mode stays.
            if side.awaits != Awaits::Headers || side.body == BodyMode::FullDuplexStreamed && more {
                continue;
            }
            let duplex = body == BodyMode::FullDuplexStreamed;
            // The length of a body that is still to come, or that goes in pieces, is not known any more (departure).
            if drops && (duplex && more || side.source != Source::Ended) {
                side.drop_length = true;
                side.drop_length_now();
            }
            (side.body, side.send_trailers, side.whole_if_there) = (body, trailers, whole_if_there);
            if !duplex {
                continue;
            }
            let end = side.source == Source::Ended && side.trailers.is_none();
            if side.got_data {
                let held = std::mem::take(&mut side.held);
                side.give(&held, replay);
                self.send_body(direction, &held, end, false, false);
            }
            if let Some(trailers) = self.side(direction).trailers.clone() {
                self.send_map(direction, "trailers", &trailers, false, false);
            }
        }
    }
}
