//! Data planes that read the same protocol differently: every difference is one small decision here.

use bytes::Bytes;

use crate::violation::Violation;
use crate::{BodyMode, Direction, ProcessingMode};

/// Whose reading of the protocol a filter follows. Where a profile says nothing, it is Envoy's.
///
/// Never, in any profile, is a body byte lost, doubled or reordered without an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Envoy 1.40 as measured.
    #[default]
    Envoy,
    /// agentgateway: both bodies FULL_DUPLEX_STREAMED by default, lenient answers, no deadlines for answers.
    Agentgateway,
    /// gRPC (gRFC A93 and A102): header options by the letter, GRPC bodies, no deadlines for answers.
    Grpc,
    /// As Envoy, but what a processor says is read as the API's comments mean it, and whatever a data plane may lose
    /// silently is an error that names it.
    Strict,
}

/// What a `HeaderValueOption` does to the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Replaces all values, or adds the first.
    Overwrite,
    /// Adds a value.
    Append,
    /// Adds the first value; nothing when there is one.
    AddIfAbsent,
    /// Replaces all values; nothing when there is none.
    OverwriteIfExists,
}

/// What becomes of something that a reply carries where it does not belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// It has no effect.
    Ignored,
    /// It is taken for what it most likely means.
    Honoured,
    /// It is a violation.
    Refused,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::Envoy, Self::Agentgateway, Self::Grpc, Self::Strict];

    /// The mode where none is configured. agentgateway: everything, bodies FULL_DUPLEX_STREAMED; others: the headers.
    #[must_use]
    pub const fn default_mode(self) -> ProcessingMode {
        let bodies = match self {
            Self::Agentgateway => BodyMode::FullDuplexStreamed,
            Self::Envoy | Self::Grpc | Self::Strict => BodyMode::None,
        };
        let trailers = matches!(self, Self::Agentgateway);
        ProcessingMode {
            request_headers: true,
            response_headers: true,
            request_body: bodies,
            response_body: bodies,
            request_trailers: trailers,
            response_trailers: trailers,
        }
    }

    /// The mode that a configured one means. agentgateway sends the trailers of both directions as soon as one body is
    /// FULL_DUPLEX_STREAMED; the others refuse such a body without its trailers.
    pub(crate) fn completed(self, mode: ProcessingMode) -> ProcessingMode {
        let duplex = Direction::BOTH.iter().any(|it| mode.body(*it) == BodyMode::FullDuplexStreamed);
        match self {
            Self::Agentgateway if duplex => ProcessingMode { request_trailers: true, response_trailers: true, ..mode },
            Self::Agentgateway | Self::Envoy | Self::Grpc | Self::Strict => mode,
        }
    }

    /// The mode that a body mode is taken for. Envoy knows GRPC by name only: nothing is sent, but for a body that is all
    /// there when the headers are answered.
    pub(crate) const fn body(self, mode: BodyMode) -> BodyMode {
        match (self, mode) {
            (Self::Envoy, BodyMode::Grpc) => BodyMode::None,
            (Self::Envoy | Self::Agentgateway | Self::Grpc | Self::Strict, mode) => mode,
        }
    }

    /// Whether windows, drain requests and messages without an answer are read.
    pub(crate) const fn reads_grpc_controls(self) -> bool {
        !matches!(self, Self::Envoy)
    }

    /// Whether an answer has a deadline (`message_timeout`).
    pub(crate) const fn has_message_timer(self) -> bool {
        matches!(self, Self::Envoy | Self::Strict)
    }

    /// The value of a header to set. `None`: the option is skipped.
    pub(crate) fn value(self, value: Bytes, raw: Bytes) -> Result<Option<Bytes>, Violation> {
        match self {
            Self::Envoy => Ok(Some(raw)),
            Self::Strict if !value.is_empty() && !raw.is_empty() => Err(Violation::TwoValues),
            Self::Agentgateway | Self::Grpc | Self::Strict if !raw.is_empty() => Ok(Some(raw)),
            Self::Agentgateway if value.is_empty() => Ok(None),
            Self::Agentgateway | Self::Grpc | Self::Strict => Ok(Some(value)),
        }
    }

    /// What `append` and `append_action` mean together.
    pub(crate) const fn how(self, append: Option<bool>, action: i32) -> Result<How, Violation> {
        let by_append = if matches!(append, Some(true)) { How::Append } else { How::Overwrite };
        Ok(match (self, action) {
            (Self::Envoy, _) | (Self::Agentgateway | Self::Strict, 0) => by_append,
            (Self::Grpc, 0) => How::Append,
            (Self::Agentgateway | Self::Grpc | Self::Strict, 1) => How::AddIfAbsent,
            (Self::Agentgateway | Self::Grpc | Self::Strict, 2) => How::Overwrite,
            (Self::Agentgateway | Self::Grpc | Self::Strict, 3) => How::OverwriteIfExists,
            (Self::Agentgateway, _) => How::Append,
            (Self::Grpc | Self::Strict, _) => return Err(Violation::UnknownAppendAction),
        })
    }

    /// Whether a processor may change routing headers and `x-envoy-` names without a rule that allows it. Pseudo
    /// headers cannot be removed in any profile.
    pub(crate) const fn unlocks_all_names(self) -> bool {
        matches!(self, Self::Agentgateway | Self::Grpc)
    }

    /// Whether this header may be set or removed at all. gRPC: only what an application may have as metadata.
    pub(crate) fn admits_name(self, name: &[u8]) -> bool {
        let alphabet = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'-' | b'.');
        let metadata = || {
            (1..=LONGEST_METADATA).contains(&name.len())
                && name.iter().all(alphabet)
                && name != b"host"
                && !name.starts_with(b"grpc-")
        };
        !matches!(self, Self::Grpc) || metadata()
    }

    /// Whether this header may have this value. gRPC: printable text, or base64 for `-bin`.
    pub(crate) fn admits_value(self, name: &[u8], value: &[u8]) -> bool {
        let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        let metadata = || {
            value.len() <= LONGEST_METADATA
                && if name.ends_with(b"-bin") {
                    value.iter().all(base64)
                } else {
                    value.iter().all(|byte| matches!(byte, b' '..=b'~'))
                }
        };
        !matches!(self, Self::Grpc) || metadata()
    }

    /// A body response without `streamed_response` in FULL_DUPLEX_STREAMED. agentgateway: it is the whole rest of the
    /// body.
    pub(crate) const fn plain_in_duplex(self) -> Misplaced {
        match self {
            Self::Agentgateway => Misplaced::Honoured,
            Self::Envoy | Self::Grpc | Self::Strict => Misplaced::Refused,
        }
    }

    /// `streamed_response` for a body that was sent as a whole. agentgateway: it replaces the body.
    pub(crate) const fn streamed_for_whole(self) -> Misplaced {
        match self {
            Self::Envoy => Misplaced::Ignored,
            Self::Agentgateway => Misplaced::Honoured,
            Self::Grpc | Self::Strict => Misplaced::Refused,
        }
    }

    /// A body in a headers response with CONTINUE. agentgateway: it replaces the body, if there is one.
    pub(crate) const fn body_in_headers_response(self) -> Misplaced {
        match self {
            Self::Envoy | Self::Grpc => Misplaced::Ignored,
            Self::Agentgateway => Misplaced::Honoured,
            Self::Strict => Misplaced::Refused,
        }
    }

    /// CONTINUE_AND_REPLACE in a headers response.
    pub(crate) const fn replacing(self) -> Misplaced {
        match self {
            Self::Envoy | Self::Strict => Misplaced::Honoured,
            Self::Agentgateway => Misplaced::Ignored,
            Self::Grpc => Misplaced::Refused,
        }
    }

    /// A message of the processor that says nothing.
    pub(crate) const fn empty_message(self) -> Misplaced {
        match self {
            Self::Envoy | Self::Strict => Misplaced::Refused,
            Self::Agentgateway | Self::Grpc => Misplaced::Ignored,
        }
    }

    /// A `streamed_immediate_response`. agentgateway does not know the field, gRPC (gRFC A93) does not have it.
    pub(crate) const fn streamed_reply(self) -> Misplaced {
        match self {
            Self::Envoy | Self::Strict => Misplaced::Honoured,
            Self::Agentgateway => Misplaced::Ignored,
            Self::Grpc => Misplaced::Refused,
        }
    }

    /// Whether `override_message_timeout`, `clear_route_cache` and a `mode_override` by itself are read.
    pub(crate) const fn reads_controls(self) -> bool {
        matches!(self, Self::Envoy | Self::Strict)
    }

    /// CONTINUE_AND_REPLACE in a body response, where it means nothing.
    pub(crate) const fn replacing_in_body(self) -> Misplaced {
        match self {
            Self::Envoy | Self::Agentgateway => Misplaced::Ignored,
            Self::Grpc | Self::Strict => Misplaced::Refused,
        }
    }

    /// Whether `allowed_override_modes` restricts overrides.
    pub(crate) const fn has_override_list(self) -> bool {
        !matches!(self, Self::Agentgateway)
    }

    /// Whether `mode_override` is read in headers responses.
    pub(crate) const fn reads_mode_override(self) -> bool {
        !matches!(self, Self::Grpc)
    }

    /// The body mode that an override leads to. agentgateway knows no STREAMED and keeps what is in force.
    pub(crate) const fn overridden(self, present: BodyMode, asked: BodyMode) -> BodyMode {
        match (self, asked) {
            (Self::Agentgateway, BodyMode::Streamed | BodyMode::Grpc) => present,
            (Self::Envoy | Self::Agentgateway | Self::Grpc | Self::Strict, _) => asked,
        }
    }

    /// Whether a processor that ends its stream OK before it was asked to has failed. Envoy: it has no more to say.
    pub(crate) const fn early_end_fails(self) -> bool {
        matches!(self, Self::Agentgateway)
    }

    /// Whether the last body message carries the end although trailers follow that are not sent.
    pub(crate) const fn ends_body_before_unsent_trailers(self) -> bool {
        matches!(self, Self::Agentgateway)
    }

    /// Whether a failure may pass unnoticed, as far as the profile decides. `response_begun`: the response has reached
    /// the filter; `body_sent`: the processor was given body, in either direction.
    pub(crate) const fn may_open(self, response_begun: bool, body_sent: bool) -> bool {
        match self {
            Self::Envoy | Self::Strict => true,
            Self::Agentgateway => !response_begun && !body_sent,
            Self::Grpc => !body_sent,
        }
    }

    /// Whether bad content in an expected message may fail open as well.
    pub(crate) const fn opens_on_bad_content(self) -> bool {
        matches!(self, Self::Grpc)
    }

    /// The status of an error reply.
    pub(crate) const fn error_status(self, configured: u16) -> u16 {
        match (self, configured) {
            (Self::Envoy | Self::Strict, 400..=599) => configured,
            (Self::Envoy | Self::Strict | Self::Agentgateway | Self::Grpc, _) => 500,
        }
    }

    /// The gRPC status of an error reply to a gRPC request; `None`: mapped from the HTTP status.
    pub(crate) const fn error_grpc_status(self) -> Option<u32> {
        match self {
            // INTERNAL
            Self::Grpc => Some(13),
            Self::Envoy | Self::Agentgateway | Self::Strict => None,
        }
    }

    /// The body of an error reply, for gRPC requests its `grpc-message`.
    pub(crate) fn error_body(self, violation: Option<Violation>, reason: &str) -> Bytes {
        match self {
            Self::Envoy => Bytes::new(),
            Self::Agentgateway if violation == Some(Violation::LengthMismatch) => {
                Bytes::from_static(b"ext_proc failed: invalid body mutation: content-length mismatch")
            }
            Self::Agentgateway => format!("ext_proc failed: {reason}").into(),
            Self::Grpc => format!("ext_proc: {reason}").into(),
            Self::Strict => format!("ext_proc: {reason}\n").into(),
        }
    }

    /// Where the keys of `dynamic_metadata` go, which are no namespaces then, and need no leave. agentgateway: into what
    /// its expressions know as `extproc`.
    pub(crate) const fn flat_metadata_namespace(self) -> Option<&'static str> {
        match self {
            Self::Agentgateway => Some("extproc"),
            Self::Envoy | Self::Grpc | Self::Strict => None,
        }
    }

    /// Whether pseudo headers stand behind the others, with `value` in place of `raw_value`, in what is sent.
    pub(crate) const fn sends_pseudo_headers_last(self) -> bool {
        matches!(self, Self::Agentgateway)
    }
}

/// The longest name or value of gRPC metadata that a processor may set.
const LONGEST_METADATA: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::Misplaced::{Honoured, Ignored, Refused};
    use super::*;

    /// One column for each of [`Profile::ALL`].
    fn row<T>(decide: impl Fn(Profile) -> T) -> [T; 4] {
        Profile::ALL.map(decide)
    }

    #[test]
    fn decisions() {
        //                                                        Envoy    Agentgateway  Grpc  Strict
        assert_eq!(row(Profile::reads_grpc_controls), [false, true, true, true]);
        assert_eq!(row(Profile::has_message_timer), [true, false, false, true]);
        assert_eq!(row(Profile::unlocks_all_names), [false, true, true, false]);
        assert_eq!(row(Profile::plain_in_duplex), [Refused, Honoured, Refused, Refused]);
        assert_eq!(row(Profile::streamed_for_whole), [Ignored, Honoured, Refused, Refused]);
        assert_eq!(row(Profile::body_in_headers_response), [Ignored, Honoured, Ignored, Refused]);
        assert_eq!(row(Profile::replacing), [Honoured, Ignored, Refused, Honoured]);
        assert_eq!(row(Profile::replacing_in_body), [Ignored, Ignored, Refused, Refused]);
        assert_eq!(row(Profile::streamed_reply), [Honoured, Ignored, Refused, Honoured]);
        assert_eq!(row(Profile::has_override_list), [true, false, true, true]);
        assert_eq!(row(Profile::empty_message), [Refused, Ignored, Ignored, Refused]);
        assert_eq!(row(Profile::reads_controls), [true, false, false, true]);
        assert_eq!(row(Profile::reads_mode_override), [true, true, false, true]);
        assert_eq!(row(Profile::early_end_fails), [false, true, false, false]);
        assert_eq!(row(Profile::ends_body_before_unsent_trailers), [false, true, false, false]);
        assert_eq!(row(Profile::opens_on_bad_content), [false, false, true, false]);
        assert_eq!(row(Profile::sends_pseudo_headers_last), [false, true, false, false]);
        assert_eq!(row(Profile::flat_metadata_namespace), [None, Some("extproc"), None, None]);
        assert_eq!(row(Profile::error_grpc_status), [None, None, Some(13), None]);
        assert_eq!(row(|it| it.error_status(418)), [418, 500, 500, 418]);
        assert_eq!(row(|it| it.error_status(200)), [500; 4]);
        assert_eq!(
            row(|it| it.error_body(None, "why")),
            ["", "ext_proc failed: why", "ext_proc: why", "ext_proc: why\n"]
        );
        assert_eq!(row(|it| it.may_open(false, false)), [true; 4]);
        assert_eq!(row(|it| it.may_open(true, false)), [true, false, true, true]);
        assert_eq!(row(|it| it.may_open(false, true)), [true, false, false, true]);
    }

    #[test]
    fn modes() {
        use BodyMode::{Buffered, FullDuplexStreamed, Grpc, None, Streamed};
        assert_eq!(row(|it| it.body(Grpc)), [None, Grpc, Grpc, Grpc]);
        assert_eq!(row(|it| it.body(Streamed)), [Streamed; 4]);
        assert_eq!(row(|it| it.default_mode().request_body), [None, FullDuplexStreamed, None, None]);
        assert_eq!(row(|it| it.default_mode().response_trailers), [false, true, false, false]);
        assert_eq!(Profile::Envoy.default_mode(), ProcessingMode::default());
        assert_eq!(row(|it| it.overridden(Buffered, Streamed)), [Streamed, Buffered, Streamed, Streamed]);
        assert_eq!(row(|it| it.overridden(Buffered, Grpc)), [Grpc, Buffered, Grpc, Grpc]);
        assert_eq!(row(|it| it.overridden(Buffered, None)), [None; 4]);
        let duplex = ProcessingMode { request_body: FullDuplexStreamed, ..ProcessingMode::default() };
        assert_eq!(row(|it| it.completed(duplex).response_trailers), [false, true, false, false], "AGW-001");
        assert_eq!(row(|it| it.completed(ProcessingMode::default()).request_trailers), [false; 4]);
    }

    /// sdks.md 6.1, "how peers interpret one HeaderValueOption".
    #[test]
    fn values_of_header_options() {
        let value = |value: &'static str, raw: &'static str| {
            row(|it| {
                it.value(value.into(), raw.into()).map(|got| got.map(|got| String::from_utf8(got.to_vec()).unwrap()))
            })
        };
        let ok = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(value("", "raw"), [ok("raw"), ok("raw"), ok("raw"), ok("raw")]);
        assert_eq!(value("text", ""), [ok(""), ok("text"), ok("text"), ok("text")]);
        assert_eq!(value("", ""), [ok(""), Ok(None), ok(""), ok("")]);
        assert_eq!(value("text", "raw"), [ok("raw"), ok("raw"), ok("raw"), Err(Violation::TwoValues)]);
    }

    #[test]
    fn append_and_append_action() {
        use How::{AddIfAbsent, Append, Overwrite, OverwriteIfExists};
        let unknown = Err(Violation::UnknownAppendAction);
        for (append, action, expected) in [
            (None, 0, [Ok(Overwrite), Ok(Overwrite), Ok(Append), Ok(Overwrite)]),
            (Some(false), 0, [Ok(Overwrite), Ok(Overwrite), Ok(Append), Ok(Overwrite)]),
            (Some(true), 0, [Ok(Append); 4]),
            (None, 1, [Ok(Overwrite), Ok(AddIfAbsent), Ok(AddIfAbsent), Ok(AddIfAbsent)]),
            (None, 2, [Ok(Overwrite); 4]),
            (Some(true), 2, [Ok(Append), Ok(Overwrite), Ok(Overwrite), Ok(Overwrite)]),
            (None, 3, [Ok(Overwrite), Ok(OverwriteIfExists), Ok(OverwriteIfExists), Ok(OverwriteIfExists)]),
            (None, 99, [Ok(Overwrite), Ok(Append), unknown, unknown]),
        ] {
            assert_eq!(row(|it| it.how(append, action)), expected, "append {append:?}, action {action}");
        }
    }

    /// grpc-a93.md 3.3.
    #[test]
    fn what_grpc_takes_for_metadata() {
        let long = vec![b'a'; LONGEST_METADATA + 1];
        for name in [&b""[..], b"X-A", b":path", b"host", b"grpc-status", b"a b", &long] {
            assert_eq!(row(|it| it.admits_name(name)), [true, true, false, true], "{}", name.escape_ascii());
        }
        assert_eq!(row(|it| it.admits_name(b"x-a_1.b")), [true; 4]);
        for (name, value) in [(&b"x-a"[..], &b"\t"[..]), (b"x-a", b"\xff"), (b"x-bin", b"a b"), (b"x-a", &long)] {
            assert_eq!(row(|it| it.admits_value(name, value)), [true, true, false, true]);
        }
        assert_eq!(row(|it| it.admits_value(b"x-bin", b"BAUG")), [true; 4]);
        assert_eq!(row(|it| it.admits_value(b"x-a", b"")), [true; 4]);
    }
}
