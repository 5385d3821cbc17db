//! The one place that decides what becomes of an exchange that cannot go on normally.

use std::time::Instant;

use bytes::Bytes;

use super::grpc::FrameError;
use super::link::Cx;
use super::replay::Lost;
use super::side::Side;
use super::{Effect, Filter, GrpcStatus};
use crate::headers::{Headers, Name, Value};
use crate::mutation::{Part, Scope};
use crate::violation::Violation;
use crate::wire::Immediate;
use crate::{Direction, LocalReply};

/// Why the filter cannot go on normally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The processor broke the protocol.
    Violation(Violation),
    /// The processor did not answer in time.
    Timeout,
    /// The side stream failed.
    Grpc(GrpcStatus),
    /// The HTTP service gave no response.
    Http,
    /// A body that must be held as a whole is larger than the buffer.
    Overflow(Direction),
    /// The processor has ended the stream OK, and the profile takes that for a failure.
    EndedEarly,
    /// The processor has ended the stream OK although a GRPC body goes on.
    EndedUndrained,
    /// A GRPC body is no sequence of messages.
    Framing(Direction, FrameError),
    /// The processor has ended the stream and kept body that nobody else has.
    BodyLost,
    /// The processor has ended the stream in the middle of a reply that it streams.
    ReplyUnfinished,
}

impl From<Violation> for Cause {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl Filter {
    /// Counts the cause, ends the processing, and fails open or closed as the configuration says.
    pub(super) fn fail(&mut self, now: Instant, cause: Cause) {
        let options = self.config.options();
        // Nothing can go on without body that only the processor has.
        let profile = options.profile;
        let may_open = options.failure_mode_allow
            && !self.is_replying()
            && !self.request.is_away()
            && !self.response.is_away()
            // What a body has broken cannot be taken back.
            && !self.request.out.is_broken()
            && !self.response.out.is_broken()
            && profile.may_open(!self.response.is_untouched(), self.link.body_sent && options.replay_buffer == 0);
        let stats = &mut self.link.stats;
        let (opens, status, mut details) = match &cause {
            Cause::Overflow(direction) => return self.overflow(now, *direction),
            Cause::Framing(direction, error) => return self.bad_framing(*direction, *error),
            Cause::BodyLost => {
                (false, profile.error_status(options.status_on_error), "full_duplex_body_was_not_returned".to_owned())
            }
            Cause::ReplyUnfinished => {
                (false, profile.error_status(options.status_on_error), "streamed_reply_was_not_finished".to_owned())
            }
            Cause::EndedEarly => {
                let details = "stream_ended_by_the_processor".to_owned();
                (may_open, profile.error_status(options.status_on_error), details)
            }
            Cause::EndedUndrained => {
                let details = "stream_closed_by_the_external_processor_without_drain".to_owned();
                (may_open, profile.error_status(options.status_on_error), details)
            }
            Cause::Timeout => {
                stats.message_timeouts += 1;
                self.link.calls.ended(now, 4);
                // Never `status_on_error`.
                (may_open, 504, "ext_proc_error_per-message_timeout_exceeded".to_owned())
            }
            Cause::Violation(violation) => {
                stats.spurious_msgs_received += u64::from(violation.is_spurious());
                self.link.calls.refused(now, *violation);
                (
                    may_open && (violation.is_spurious() || profile.opens_on_bad_content()),
                    profile.error_status(options.status_on_error),
                    violation.details().to_owned(),
                )
            }
            Cause::Http => {
                stats.http_not_ok_resp_received += 1;
                (may_open, profile.error_status(options.status_on_error), "ext_proc_error_HTTP_ERROR".to_owned())
            }
            Cause::Grpc(GrpcStatus { code, message }) => {
                stats.streams_failed += 1;
                self.link.calls.failed(now, *code, self.link.taken > 0);
                // Envoy counts the end of the stream twice when it fails open.
                stats.server_half_closed += if may_open { 2 } else { 1 };
                let details = format!("ext_proc_error_gRPC_error_{code}{{{message}}}");
                (may_open, profile.error_status(options.status_on_error), details)
            }
        };
        if !opens && let Some(why) = self.why_no_copy(&cause) {
            details = format!("{details}:_{why}");
        }
        match &cause {
            Cause::Grpc(_) | Cause::Http => self.link.lose(opens),
            Cause::EndedEarly | Cause::EndedUndrained | Cause::ReplyUnfinished => self.link.lose(true),
            Cause::Violation(_) | Cause::Timeout | Cause::Overflow(_) | Cause::Framing(..) | Cause::BodyLost => {
                self.link.reset()
            }
        }
        if opens {
            self.link.stats.failure_mode_allowed += 1;
            self.link.calls.info.failed_open = true;
            self.go_on_without();
        } else {
            self.link.stats.immediate_responses_sent += 1;
            let violation = if let Cause::Violation(violation) = cause { Some(violation) } else { None };
            let (kind, body) = (self.kind.unwrap_or_default(), profile.error_body(violation, &details));
            let grpc_status = profile.error_grpc_status();
            let reply = LocalReply::with_headers(kind, status, grpc_status, Headers::new(), body, &details);
            self.reply_locally(reply, false);
        }
    }

    /// Why `replay_buffer` does not help, if it should.
    fn why_no_copy(&self, cause: &Cause) -> Option<&'static str> {
        let options = self.config.options();
        let helps = match cause {
            Cause::BodyLost => true,
            Cause::Violation(it) if !it.is_spurious() && !options.profile.opens_on_bad_content() => false,
            Cause::Violation(_)
            | Cause::Timeout
            | Cause::Grpc(_)
            | Cause::Http
            | Cause::EndedEarly
            | Cause::EndedUndrained => options.failure_mode_allow,
            Cause::Overflow(_) | Cause::Framing(..) | Cause::ReplyUnfinished => false,
        };
        if options.replay_buffer == 0 || !helps {
            return None;
        }
        let lost = [&self.request, &self.response].into_iter().find_map(Side::lost)?;
        Some(match lost {
            Lost::TooMuch => "more_body_was_sent_than_replay_buffer",
            Lost::Released => "body_of_the_processor_has_gone_on",
        })
    }

    /// An overflow is not the processor's fault: the 413 for a request is processed as an upstream's response would
    /// be. The 500 for a response is not; nothing of the exchange is left to process then.
    fn overflow(&mut self, now: Instant, direction: Direction) {
        let kind = self.kind.unwrap_or_default();
        match direction {
            Direction::Request => {
                let body = Bytes::from_static(b"Payload Too Large");
                self.reply_locally(LocalReply::new(kind, 413, body, "request_payload_too_large"), true);
            }
            Direction::Response => {
                self.close(now);
                let body = Bytes::from_static(b"Internal Server Error");
                self.reply_locally(LocalReply::new(kind, 500, body, "response_payload_too_large"), false);
            }
        }
    }

    /// The body is not what it should be, which is not the processor's fault. What is left of the exchange is nobody's.
    fn bad_framing(&mut self, direction: Direction, error: FrameError) {
        let details = error.to_string();
        let status = match (direction, error) {
            (Direction::Request, FrameError::TooLarge) => 413,
            (Direction::Request, FrameError::Flag | FrameError::Truncated) => 400,
            (Direction::Response, FrameError::TooLarge | FrameError::Flag | FrameError::Truncated) => 502,
        };
        // RESOURCE_EXHAUSTED, INTERNAL: what gRPC libraries say.
        let grpc_status = Some(if error == FrameError::TooLarge { 8 } else { 13 });
        self.link.reset();
        let (kind, body) = (self.kind.unwrap_or_default(), Bytes::from(details.replace('_', " ")));
        self.reply_locally(LocalReply::with_headers(kind, status, grpc_status, Headers::new(), body, &details), false);
    }

    /// The processor answers the client itself.
    pub(super) fn on_immediate(&mut self, now: Instant, immediate: Immediate) {
        let Immediate { status, mutation, body, grpc_status, details } = immediate;
        let mut headers = Headers::new();
        headers.append(Name::from_static(":status"), Value::from(u64::from(status)));
        let scope = Scope { config: &self.config, part: Part::ResponseHeaders, drop_length: false, replacing: false };
        let mut cx = Cx { now, config: &self.config, link: &mut self.link };
        // A bad operation ends the mutation, not the reply; what was applied before it stays.
        let _partial = cx.mutate(None, &mut headers, mutation, scope);
        self.link.stats.stream_msgs_received += 1;
        self.link.stats.immediate_responses_sent += 1;
        self.link.calls.ended(now, 0);
        self.link.calls.info.received_immediate_response = true;
        self.link.unsend();
        self.close(now);
        let kind = self.kind.unwrap_or_default();
        self.reply_locally(LocalReply::with_headers(kind, status, grpc_status, headers, body, &details), false);
    }

    /// Answers the client. The request goes no further; a response that has begun goes no further either.
    pub(super) fn reply_locally(&mut self, reply: LocalReply, processed: bool) {
        self.request.cut();
        self.link.timers.stop(Direction::Request);
        if !self.response.is_untouched() {
            self.response.cut();
            self.link.timers.stop(Direction::Response);
        } else if !processed {
            self.response.bypass();
        }
        self.link.effects.push_back(Effect::LocalReply { reply, processed });
    }
}
