//! The data plane's trace as the parent, for OpenTelemetry.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace_parent::TraceParent;

/// Makes the span a child of the data plane's. Without a layer of tracing-opentelemetry it does nothing.
pub(super) fn set_parent(span: &Span, parent: TraceParent<'_>) {
    let (Ok(trace), Ok(id)) = (TraceId::from_hex(parent.trace_id), SpanId::from_hex(parent.parent_id)) else { return };
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let remote = SpanContext::new(trace, id, flags, true, TraceState::default());
    // It fails where no such layer listens, or where the span has begun already, which it has not.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
}
