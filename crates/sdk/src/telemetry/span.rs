//! Spans: one for each stream, one for each phase of each processor.

use tracing::field::{Empty, display};
use tracing::{Span, info_span};

use super::label::{Label, StreamEnd};
use super::trace_parent::TraceParent;
use crate::Phase;

/// The span of a stream: `ext_proc.stream`. Where nobody listens to it, nothing is done.
pub(super) fn stream(processor: &str, parent: impl FnOnce() -> Option<String>) -> Span {
    let span = info_span!(
        "ext_proc.stream",
        otel.kind = "server",
        processor,
        request_id = Empty,
        trace_id = Empty,
        parent_id = Empty,
        end = Empty,
        duration_ns = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    let header = parent();
    if let Some(parent) = header.as_deref().and_then(TraceParent::parse) {
        span.record("trace_id", display(parent.trace_id));
        span.record("parent_id", display(parent.parent_id));
        #[cfg(feature = "otel")]
        super::otel::set_parent(&span, parent);
    }
    span
}

/// The span of a phase: `ext_proc.<phase>`, in that of the stream. The names of spans are part of the code.
pub(super) fn phase(processor: &str, phase: Phase, request_id: Option<&str>) -> Span {
    macro_rules! span {
        ($name:literal) => {
            info_span!($name, processor, phase = phase.name(), request_id, duration_ns = Empty)
        };
    }
    match phase {
        Phase::RequestHeaders => span!("ext_proc.request_headers"),
        Phase::RequestBody => span!("ext_proc.request_body"),
        Phase::RequestTrailers => span!("ext_proc.request_trailers"),
        Phase::ResponseHeaders => span!("ext_proc.response_headers"),
        Phase::ResponseBody => span!("ext_proc.response_body"),
        Phase::ResponseTrailers => span!("ext_proc.response_trailers"),
    }
}

/// A stream is over.
pub(super) fn end(span: &Span, end: StreamEnd, duration_ns: u64) {
    if !span.is_disabled() {
        span.record("end", end.text());
        span.record("duration_ns", duration_ns);
    }
}
