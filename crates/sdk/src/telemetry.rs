//! What an operator sees of a processor.
//!
//! Everything that happens in an exchange goes through its [`Record`], once: from there it becomes counters, spans and
//! log events. The counters are plain atomics that are resolved when a server is built, so that a message costs no
//! lookup, no lock and no allocation.

mod counts;
#[cfg(feature = "metrics")]
mod encode;
#[cfg(feature = "metrics")]
mod endpoint;
mod histogram;
mod label;
mod limiter;
mod metrics;
#[cfg(feature = "otel")]
mod otel;
mod progress;
mod record;
mod redact;
mod span;
mod tally;
mod trace_parent;

pub(crate) use self::counts::Counts;
#[cfg(feature = "metrics")]
pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::label::{FailureKind, Label, Limit, Need, Way, labels};
pub use self::metrics::Metrics;
pub use self::progress::Progress;
pub(crate) use self::record::Record;
pub(crate) use self::redact::{REDACTED, Shown, ShownList, hides};
pub use self::redact::{Secret, redact};
