//! What passes, and what of it is copied.

use super::{Phase, Side};
use crate::filter::HttpEvent;
use crate::filter::link::{Cx, Stream};
use crate::filter::order::Order;
use crate::{BodyMode, wire};

impl Side {
    /// Lets an event pass, with a copy of it for the processor. Bodies that are not STREAMED are not copied, as in Envoy.
    pub(in crate::filter) fn observe(&mut self, cx: &mut Cx<'_>, order: Order, event: HttpEvent) {
        self.order = order;
        let told = cx.link.stream != Stream::Closed;
        match event {
            HttpEvent::Headers(headers, end) => {
                if told && self.mode.headers {
                    cx.tell(wire::headers_message(self.direction, &headers, end, cx.config));
                }
                self.out.headers(headers, end);
            }
            HttpEvent::Data(data, end) => {
                if data.is_empty() && !end {
                    return;
                }
                if told && self.mode.body == BodyMode::Streamed {
                    cx.tell_body(self.direction, data.clone(), end);
                }
                self.out.data(data, end);
            }
            HttpEvent::Trailers(trailers) => {
                if told && self.mode.trailers {
                    cx.tell(wire::trailers_message(self.direction, &trailers, cx.config));
                }
                self.out.trailers(trailers);
            }
        }
        self.phase = if order == Order::Ended { Phase::Done } else { Phase::Pass };
    }
}
