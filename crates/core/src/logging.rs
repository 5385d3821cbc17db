//! What an access log tells of one filter on one exchange (Envoy `ExtProcLoggingInfo`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Direction;

/// The figures of one filter on one exchange, under the names of Envoy 1.40. Only the core changes them.
///
/// A call is a message that is owed an answer, from the last time that something was sent in its direction to the answer,
/// or to what came in its place. Copies (`observability_mode`) are no calls. Its status is a gRPC code: 0 answered, 3 an
/// answer whose mutation was refused, 4 too late, 9 an answer out of place, 10 the processor ended the stream, 13 a body
/// that does not fit its length, and that of the stream when it failed.
///
/// [`Display`](fmt::Display) gives Envoy's text: `rh:<us>:<status>`, `rb:<count>:<us>:<last status>`, `rt:<us>:<status>`
/// and the same with `s` for the response, as far as there were such calls, then always `bs:<bytes>,br:<bytes>`,
/// `os:<status before the first call>` and `ds:<destination>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggingInfo {
    /// What became of the request.
    pub request: DirectionInfo,
    /// What became of the response.
    pub response: DirectionInfo,
    /// The exchange went on without the processor after an error (`failure_mode_allow`).
    pub failed_open: bool,
    /// The processor answered the client itself, with an immediate response.
    pub received_immediate_response: bool,
    /// The gRPC status of a stream that failed before it took anything, because it could not even be begun; else 0.
    pub grpc_status_before_first_call: u8,
    /// Bytes given to the side stream, as [`count_bytes`](crate::FilterChain::count_bytes) was told.
    pub bytes_sent: u64,
    /// Bytes that came from the side stream, as [`count_bytes`](crate::FilterChain::count_bytes) was told.
    pub bytes_received: u64,
    /// The name of the processor that the stream was opened to, as
    /// [`set_destination`](crate::FilterChain::set_destination) was told; `None` while none was opened.
    pub destination: Option<Arc<str>>,
}

/// The calls of one direction and their effects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionInfo {
    /// The headers; `None` while they were not sent or not answered.
    pub headers: Option<Call>,
    /// The body; `None` while no part of it was sent and answered.
    pub body: Option<BodyCalls>,
    /// The trailers; `None` while they were not sent or not answered.
    pub trailers: Option<Call>,
    /// What the processor did to the headers, in whichever answer.
    pub headers_effect: ProcessingEffect,
    /// What the processor did to the body. One that it gives back itself (FULL_DUPLEX_STREAMED, GRPC) is always applied.
    pub body_effect: ProcessingEffect,
    /// What the processor did to the trailers.
    pub trailers_effect: ProcessingEffect,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// How long it took.
    pub latency: Duration,
    /// How it ended, as a gRPC code.
    pub status: u8,
}

/// The calls of a body. Chunks that wait at a time count one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyCalls {
    /// How many.
    pub count: u32,
    /// How long they took together.
    pub total_latency: Duration,
    /// How long the longest took.
    pub max_latency: Duration,
    /// How the last one ended, as a gRPC code.
    pub last_status: u8,
}

/// What the processor did to a part of a message, with Envoy's numbers. The last that is not `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessingEffect {
    /// Nothing, or only what the rules ignore.
    #[default]
    None = 0,
    /// A mutation was applied.
    MutationApplied = 1,
    /// A mutation was invalid.
    InvalidMutationRejected = 2,
    /// A mutation, or its result, was larger than the limits.
    MutationRejectedSizeLimitExceeded = 3,
    /// A rule refused a mutation, which is an error (`disallow_is_error`).
    MutationFailed = 4,
}

impl LoggingInfo {
    /// The figures of a direction.
    #[must_use]
    pub const fn direction(&self, direction: Direction) -> &DirectionInfo {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    pub(crate) const fn direction_mut(&mut self, direction: Direction) -> &mut DirectionInfo {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

impl BodyCalls {
    pub(crate) fn add(&mut self, Call { latency, status }: Call) {
        self.count += 1;
        self.total_latency += latency;
        self.max_latency = self.max_latency.max(latency);
        self.last_status = status;
    }
}

impl fmt::Display for LoggingInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, direction) in [('r', &self.request), ('s', &self.response)] {
            let DirectionInfo { headers, body, trailers, .. } = direction;
            if let Some(Call { latency, status }) = headers {
                write!(f, "{letter}h:{}:{status},", latency.as_micros())?;
            }
            if let Some(BodyCalls { count, total_latency, last_status, .. }) = body {
                write!(f, "{letter}b:{count}:{}:{last_status},", total_latency.as_micros())?;
            }
            if let Some(Call { latency, status }) = trailers {
                write!(f, "{letter}t:{}:{status},", latency.as_micros())?;
            }
        }
        let Self { bytes_sent, bytes_received, grpc_status_before_first_call, .. } = self;
        let destination = self.destination.as_deref().unwrap_or_default();
        write!(f, "bs:{bytes_sent},br:{bytes_received},os:{grpc_status_before_first_call},ds:{destination}")
    }
}
