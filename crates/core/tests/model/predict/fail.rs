//! Failures and local replies (sections 3.7, 3.8).

use extproc_core::filter::GrpcStatus;
use extproc_core::{Direction, Profile};

use super::{Awaits, Fate, Model, Reply, Side, Source, Token, Trouble, at};
use crate::mutate::Map;

impl Model {
    pub(crate) fn fail(&mut self, trouble: Trouble) {
        let away = self.sides.iter().any(Side::is_away);
        let response_began = !self.sides[1].is_untouched();
        let keeps = self.options.replay_buffer > 0;
        let body_closes = self.reading.body_closes && self.body_sent && !keeps;
        let too_late = self.reading.response_closes && response_began || body_closes;
        let mut may_open = self.options.failure_mode_allow && !away && !too_late;
        let configured = self.options.status_on_error;
        let mut status = if self.reading.own_status && configured >= 400 { configured } else { 500 };
        let mut details;
        let no_copy = self.sides.iter().filter(|side| side.is_away()).find_map(|side| side.no_copy);
        match &trouble {
            Trouble::Overflow(direction) => return self.overflow(*direction),
            Trouble::Spurious(text) => {
                self.stats.spurious_msgs_received += 1;
                details = (*text).to_owned();
                self.reset_stream();
            }
            Trouble::Content(text) => {
                may_open &= self.reading.opens_on_bad_content;
                details = (*text).to_owned();
                self.reset_stream();
            }
            Trouble::Timeout => {
                self.stats.message_timeouts += 1;
                status = 504;
                details = "ext_proc_error_per-message_timeout_exceeded".to_owned();
                self.reset_stream();
            }
            Trouble::Grpc(GrpcStatus { code, message }) => {
                self.stats.streams_failed += 1;
                self.stats.server_half_closed += if may_open { 2 } else { 1 };
                details = format!("ext_proc_error_gRPC_error_{code}{{{message}}}");
                self.end_stream(may_open);
            }
            Trouble::EndedEarly => {
                details = "stream_ended_by_the_processor".to_owned();
                self.end_stream(true);
            }
            Trouble::BodyLost => {
                may_open = false;
                details = "full_duplex_body_was_not_returned".to_owned();
                self.end_stream(true);
            }
        }
        // A body that broke its promise cannot be taken back.
        may_open &= !self.sides.iter().any(|side| side.broken);
        if may_open {
            self.stats.failure_mode_allowed += 1;
            self.pass_everything();
        } else {
            self.stats.immediate_responses_sent += 1;
            // Why failing open, or the end of the stream, is not enough for body that is away.
            let bad_content = matches!(trouble, Trouble::Content(_)) && !self.reading.opens_on_bad_content;
            let wanted = matches!(trouble, Trouble::BodyLost) || self.options.failure_mode_allow && !bad_content;
            if let Some(why) = no_copy.filter(|_| keeps && wanted) {
                details = format!("{details}:_{why}");
            }
            let mismatch = details.starts_with("mismatch_between");
            let body = match self.options.profile {
                Profile::Agentgateway if mismatch => {
                    "ext_proc failed: invalid body mutation: content-length mismatch".to_owned()
                }
                Profile::Agentgateway => format!("ext_proc failed: {details}"),
                Profile::Grpc => format!("ext_proc: {details}"),
                Profile::Strict => format!("ext_proc: {details}\n"),
                _ => String::new(),
            };
            let grpc_status = (self.options.profile == Profile::Grpc).then_some(13);
            self.local_reply(status, grpc_status, Vec::new(), body.as_bytes(), &details, false);
        }
    }

    fn overflow(&mut self, direction: Direction) {
        match direction {
            Direction::Request => {
                self.local_reply(413, None, Vec::new(), b"Payload Too Large", "request_payload_too_large", true);
            }
            Direction::Response => {
                self.close_stream();
                self.local_reply(500, None, Vec::new(), b"Internal Server Error", "response_payload_too_large", false);
            }
        }
    }

    /// Processing is over: what is held goes on.
    pub(super) fn pass_everything(&mut self) {
        for side in &mut self.sides {
            match side.fate {
                Fate::Cut => side.awaits = Awaits::Nothing,
                Fate::Replaced | Fate::Discarded => {}
                Fate::Processed | Fate::Passed => {
                    if side.is_away_at_all() {
                        side.held = std::mem::take(&mut side.copy);
                        side.true_length();
                        side.emit_all();
                    } else if side.awaits == Awaits::Duplex {
                        if let Some(trailers) = side.trailers.take() {
                            side.emit(Token::Trailers(trailers));
                        }
                    } else if side.fate == Fate::Processed && !side.finished {
                        side.true_length();
                        side.emit_all();
                    }
                    side.finished = side.source == Source::Ended;
                    side.fate = Fate::Passed;
                    side.awaits = Awaits::Nothing;
                    side.collecting = false;
                }
            }
        }
    }

    /// The form of a reply (3.8, 5).
    pub(crate) fn local_reply(
        &mut self,
        status: u16,
        grpc_status: Option<u32>,
        own: Map,
        body: &[u8],
        details: &str,
        processed: bool,
    ) {
        let details = details.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
        let mut own = own;
        for name in [":status", "content-length"] {
            crate::mutate::without(&mut own, name);
        }
        let mut headers: Map = Vec::new();
        let mut add = |name: &str, value: &[u8]| headers.push((name.to_owned(), value.to_vec()));
        let mut body = body.to_vec();
        if self.grpc {
            crate::mutate::without(&mut own, "content-type");
            add(":status", b"200");
            add("content-type", b"application/grpc");
            if crate::mutate::values(&own, "grpc-status").is_empty() {
                let mapped = match status {
                    400 => 13,
                    401 => 16,
                    403 => 7,
                    404 => 12,
                    429 | 502..=504 => 14,
                    _ => 2,
                };
                add("grpc-status", grpc_status.unwrap_or(mapped).to_string().as_bytes());
            }
            if !body.is_empty() && !self.head {
                crate::mutate::without(&mut own, "grpc-message");
                let encoded = body.iter().map(|byte| match byte {
                    b' '..=b'~' if *byte != b'%' => char::from(*byte).to_string(),
                    _ => format!("%{byte:02X}"),
                });
                add("grpc-message", encoded.collect::<String>().as_bytes());
            }
            body.clear();
        } else {
            add(":status", status.to_string().as_bytes());
            if !body.is_empty() {
                add("content-length", body.len().to_string().as_bytes());
            }
            if body.is_empty() {
                crate::mutate::without(&mut own, "content-type");
            } else if crate::mutate::values(&own, "content-type").is_empty() {
                add("content-type", b"text/plain");
            }
        }
        headers.extend(own);
        if self.head {
            body.clear();
        }
        self.cut(Direction::Request);
        if !self.sides[1].is_untouched() {
            self.cut(Direction::Response);
        } else if !processed {
            self.sides[1].fate = Fate::Passed;
        }
        self.replies.push(Reply { headers, body, details });
    }

    /// A direction goes nowhere any more; what it is owed is still expected.
    pub(crate) fn cut(&mut self, direction: Direction) {
        self.deadlines[at(direction)] = None;
        let side = self.side(direction);
        side.fate = Fate::Cut;
        side.out.clear();
        side.held.clear();
        (side.promised, side.broken) = (None, false);
    }
}
