//! The one place that decides what becomes of a call that cannot go on normally.

use crate::filter::GrpcStatus;
use crate::violation::Violation;

/// Why a processor has failed (grpc-a93.md 3.8). The texts are stable: they stand behind `ext_proc: ` in the status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The side stream ended with a status other than OK.
    #[error("external processor RPC failed: {}: {}", code_name(*.code), .message)]
    Stream {
        /// The code.
        code: u8,
        /// The message.
        message: String,
    },
    /// It could not be opened.
    #[error("failed to open a stream to the external processor: {0}")]
    Open(String),
    /// CONTINUE_AND_REPLACE, or a status that the API does not define.
    #[error("unexpected status {status} in {kind} response, want CONTINUE")]
    Status {
        /// The kind of response.
        kind: Kind,
        /// Its status.
        status: i32,
    },
    /// A response that no event called for.
    #[error("unexpected {0} response: {1}")]
    Unexpected(Kind, Expected),
    /// A message marked as compressed.
    #[error("compressed message in {0} response is not supported")]
    Compressed(Kind),
    /// A body response that is no message.
    #[error("{0} response without streamed_response")]
    Plain(Kind),
    /// The end of the response is in its trailers.
    #[error("end_of_stream in response_body response")]
    EndInResponse,
    /// A header mutation that is no metadata.
    #[error("invalid header mutation: {0}")]
    Mutation(Violation),
    /// A header mutation that the rules refuse, with `disallow_is_error`.
    #[error("header mutation not allowed by mutation_rules")]
    Refused,
    /// An immediate response although the configuration disables it.
    #[error("immediate response received but disabled by configuration")]
    ImmediateDisabled,
    /// The processor has ended the stream OK although messages go on.
    #[error("stream closed by the external processor without drain")]
    WithoutDrain,
    /// `drain_complete` without a drain, or with a message.
    #[error("unexpected drain_complete")]
    DrainComplete,
    /// A window larger than can be.
    #[error("flow control window overflow")]
    WindowOverflow,
}

/// The kinds of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub enum Kind {
    RequestHeaders,
    ResponseHeaders,
    RequestBody,
    ResponseBody,
    RequestTrailers,
    ResponseTrailers,
    StreamedImmediate,
}

/// What was wrong with its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Expected {
    /// No event is unanswered that it could answer.
    #[error("no such event is unanswered")]
    NoSuchEvent,
    /// The headers have to be answered first.
    #[error("the headers are not answered yet")]
    HeadersFirst,
    /// The configuration sends none of those messages.
    #[error("the body mode is NONE")]
    NotSent,
    /// The direction has ended, or was drained.
    #[error("the direction is over")]
    Over,
    /// gRPC has no such thing.
    #[error("gRPC calls have no such response")]
    Never,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RequestHeaders => "request_headers",
            Self::ResponseHeaders => "response_headers",
            Self::RequestBody => "request_body",
            Self::ResponseBody => "response_body",
            Self::RequestTrailers => "request_trailers",
            Self::ResponseTrailers => "response_trailers",
            Self::StreamedImmediate => "streamed_immediate_response",
        })
    }
}

impl From<GrpcStatus> for Failure {
    fn from(GrpcStatus { code, message }: GrpcStatus) -> Self {
        Self::Stream { code, message }
    }
}

impl From<Violation> for Failure {
    /// Of a header mutation.
    fn from(violation: Violation) -> Self {
        let refused = matches!(violation, Violation::SetRefused | Violation::RemoveRefused);
        if refused { Self::Refused } else { Self::Mutation(violation) }
    }
}

const fn code_name(code: u8) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        2 => "UNKNOWN",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}
