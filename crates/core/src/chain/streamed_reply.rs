//! An answer that a processor streams, on its way to the client.

use std::time::Instant;

use super::{Effect, FilterChain};
use crate::Direction;
use crate::filter::HttpEvent;

/// Envoy's RESPONSE_CODE_DETAILS.
const DETAILS: &str = "ext_proc_local_response";

impl FilterChain {
    /// Whether the next message of a side stream may be taken. `false` while a processor streams a reply faster than the
    /// client takes it: the processor has to wait.
    #[must_use]
    pub fn takes_messages(&self, filter: usize) -> bool {
        let replying = self.filters.get(filter).is_some_and(|filter| filter.is_replying());
        let has_room =
            || self.response.has_room() && self.filters.iter().all(|filter| filter.has_room(Direction::Response));
        !replying || has_room()
    }

    /// The next part goes through the response direction of all filters, as in Envoy; its own lets it pass.
    pub(super) fn pass_reply(&mut self, now: Instant, index: usize, part: HttpEvent) {
        if self.over {
            return;
        }
        if matches!(part, HttpEvent::Headers(..)) && !self.begin_reply(now, index) {
            return;
        }
        let last = match &part {
            HttpEvent::Headers(_, end) | HttpEvent::Data(_, end) => *end,
            HttpEvent::Trailers(_) => true,
        };
        self.enter(now, Direction::Response, part);
        if last {
            self.cancel_upstream();
        }
    }

    /// The response is this filter's. False: there is another one.
    fn begin_reply(&mut self, now: Instant, index: usize) -> bool {
        if !self.response.take_over() {
            debug_assert!(false, "the filter's request waited, and its response had not begun");
            self.cut_response(now);
            return false;
        }
        self.details = Some(DETAILS.to_owned());
        if self.filters[index].reads_on() {
            // The request comes as far as this filter.
            self.filters[index + 1..].iter_mut().for_each(|filter| filter.cut(Direction::Request));
            self.cancelled = true;
            self.effects.push_back(Effect::CancelUpstream);
        } else {
            self.cancel_upstream();
        }
        true
    }
}
