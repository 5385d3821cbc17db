//! With the feature `otel`, the data plane's span is the parent of ours in OpenTelemetry.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::{Arc, Mutex};

use extproc::testing::Script;
use extproc::{BodyMode, RequestHead, Start, Stop, processor};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::trace::noop::NoopTracer;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A tracer that records nothing hands on the trace it is in: what the handler is in is what the data plane said.
#[tokio::test]
async fn handlers_run_in_the_data_planes_trace() {
    let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(NoopTracer::new()));
    let _guard = tracing::subscriber::set_default(subscriber);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = processor::<Arc<Mutex<Vec<(String, bool)>>>, ()>("Note", Arc::clone(&seen)).request_headers(
        async |seen: &Arc<Mutex<Vec<(String, bool)>>>, _: &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
            let context = tracing::Span::current().context();
            let span = context.span().span_context().clone();
            seen.lock().unwrap().push((span.trace_id().to_string(), span.is_sampled()));
            Ok(())
        },
    );
    let note = Arc::new(note);
    for flags in ["01", "00"] {
        let header = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
        Script::new()
            .modes(BodyMode::None, BodyMode::None)
            .request_only([(":method", "GET"), ("traceparent", &header)])
            .run_shared(&note)
            .await;
    }
    assert_eq!(*seen.lock().unwrap(), [(TRACE.to_owned(), true), (TRACE.to_owned(), false)]);
}
