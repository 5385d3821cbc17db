//! When the processor changes the mode of the exchange.

use std::time::Instant;

use super::Filter;
use super::fail::Cause;
use crate::mode::ModeOverride;
use crate::violation::Violation;
use crate::{BodyMode, Direction, ProcessingMode};

impl Filter {
    /// `mode_override` in a headers response, before the response itself. One that is not allowed is ignored.
    pub(super) fn override_mode(&mut self, now: Instant, mode: ModeOverride) {
        let waits = self.request.waits_for_headers() || self.response.waits_for_headers();
        if let Some(mode) = self.permitted(mode).filter(|_| waits) {
            self.set_mode(now, &mode);
        }
    }

    /// `mode_override` by itself: only to FULL_DUPLEX_STREAMED, and only while the request headers wait for their
    /// answer, which they go on to do.
    pub(super) fn on_mode(&mut self, now: Instant, mode: ModeOverride) -> Result<bool, Cause> {
        let asked = mode.request_body == BodyMode::FullDuplexStreamed && mode.request_trailers == Some(true);
        match self.permitted(mode) {
            Some(mode) if asked && self.request.may_become_duplex() => {
                self.set_mode(now, &mode);
                // Envoy stops it for header-only requests as well, and can wait forever.
                if !self.request.is_header_only() {
                    self.link.timers.stop(Direction::Request);
                }
                Ok(false)
            }
            Some(_) | None => Err(Violation::Unhandled.into()),
        }
    }

    /// The mode that an override leads to, if the configuration allows it.
    fn permitted(&self, mode: ModeOverride) -> Option<ProcessingMode> {
        let options = self.config.options();
        let base = self.config.base_mode();
        let duplex = Direction::BOTH
            .iter()
            .any(|it| matches!(options.profile.body(base.body(*it)), BodyMode::FullDuplexStreamed | BodyMode::Grpc));
        if !options.allow_mode_override || options.send_body_without_waiting_for_header_response || duplex {
            return None;
        }
        let profile = options.profile;
        let mut mode = mode.applied_to(base);
        mode.request_body = profile.overridden(self.request.body_mode(), mode.request_body);
        mode.response_body = profile.overridden(self.response.body_mode(), mode.response_body);
        let mode = profile.completed(mode);
        let equal =
            |allowed: &ProcessingMode| ProcessingMode { request_headers: mode.request_headers, ..*allowed } == mode;
        let allowed = &options.allowed_override_modes;
        (allowed.is_empty() || !profile.has_override_list() || allowed.iter().any(equal)).then_some(mode)
    }

    fn set_mode(&mut self, now: Instant, mode: &ProcessingMode) {
        for direction in Direction::BOTH {
            self.with_side(now, direction, |side, cx| side.set_mode(cx, mode));
        }
    }
}
