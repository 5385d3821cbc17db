//! Where an exchange is, and what its handlers took.

use std::time::Duration;

use extproc_core::headers::Value;

use crate::Phase;

/// Where an exchange is, and what the handlers of this processor took in it so far. Handlers read it from every head and
/// from trailers: [`Fields::progress`](crate::Fields::progress).
///
/// ```
/// use extproc::{ResponseHead, Start};
///
/// fn stamp(rsp: &mut Start<ResponseHead>) {
///     let spent = rsp.progress().handler_time();
///     rsp.set("x-handler-ns", spent.as_nanos());
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub(super) phase: Option<Phase>,
    pub(super) request_id: Option<Value>,
    pub(super) times: Times,
}

/// Nanoseconds by phase.
pub(super) type Times = [u64; Phase::ALL.len()];

impl Progress {
    /// The phase whose handler runs; `None` outside an exchange.
    #[must_use]
    pub const fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// `x-request-id` of the request, in every phase; `None` if it has none, is no text, or was not seen.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref()?.to_str()
    }

    /// How long the handlers of this processor took in this exchange, those that are done: from their start to their
    /// end, with everything they waited for.
    #[must_use]
    pub fn handler_time(&self) -> Duration {
        Duration::from_nanos(self.times.iter().sum())
    }

    /// As [`handler_time`](Self::handler_time), in one phase. A body that comes in pieces is one phase.
    #[must_use]
    pub const fn handler_time_in(&self, phase: Phase) -> Duration {
        Duration::from_nanos(self.times[phase as usize])
    }
}
