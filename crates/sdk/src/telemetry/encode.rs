//! Metrics as text, and in registries of prometheus-client.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counts::{Faults, StageCounts, StreamCounts};
use super::histogram::Histogram;
use super::label::Label;
use super::metrics::{Metrics, Processor, Processors};
use crate::Phase;

impl Metrics {
    /// The metrics in the text format of OpenMetrics, which Prometheus scrapes. They are described in
    /// `docs/observability.md`.
    ///
    /// ```
    /// use extproc::{Metrics, Noop, Server};
    ///
    /// let metrics = Metrics::new();
    /// let service = Server::new(Noop).metrics(&metrics).into_service();
    /// assert!(metrics.encode().contains("ext_proc_streams_active{processor=\"Noop\"} 0\n"));
    /// # drop(service);
    /// ```
    #[must_use]
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        self.register(&mut registry);
        let mut encoded = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut encoded, &registry);
        encoded
    }

    /// Adds them to a registry of one's own; they are read when it is encoded.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.read(|processors| {
            streams(&mut encoder, processors)?;
            handlers(&mut encoder, processors)?;
            faults(&mut encoder, processors)
        })
    }
}

fn streams(encoder: &mut DescriptorEncoder<'_>, processors: &Processors) -> fmt::Result {
    let all = || processors.values().filter_map(Processor::as_stream);
    let mut family = counter(encoder, "ext_proc_streams", "Streams that ended, by how.")?;
    for stream in all() {
        for (end, count) in stream.ended.each() {
            count_of(&mut family, &[name_of(stream), ("end", end.text())], count)?;
        }
    }
    let help = "Streams that are open.";
    let mut family = encoder.encode_descriptor("ext_proc_streams_active", help, None, MetricType::Gauge)?;
    for stream in all() {
        let labels: &[_] = &[name_of(stream)];
        family.encode_family(&labels)?.encode_gauge(&stream.active.load(Ordering::Relaxed))?;
    }
    let mut family = histogram(encoder, "ext_proc_stream_seconds", "How long streams were open, in seconds.")?;
    for stream in all() {
        durations(&mut family, &[name_of(stream)], &stream.seconds)?;
    }
    let mut family = counter(encoder, "ext_proc_events", "Messages that came, by phase.")?;
    for stream in all() {
        for (phase, count) in stream.events.each() {
            count_of(&mut family, &[name_of(stream), ("phase", phase.text())], count)?;
        }
    }
    let help = "Bytes of bodies that came from the data plane and went to it.";
    let mut family = counter(encoder, "ext_proc_body_bytes", help)?;
    for stream in all() {
        for (direction, way, count) in stream.body_bytes.each() {
            let labels = [name_of(stream), ("direction", direction.text()), ("way", way.text())];
            count_of(&mut family, &labels, count)?;
        }
    }
    let help = "Times that a message had to wait for the data plane's credit.";
    let mut family = counter(encoder, "ext_proc_credit_stalls", help)?;
    for stream in all() {
        count_of(&mut family, &[name_of(stream)], stream.credit_stalls.load(Ordering::Relaxed))?;
    }
    Ok(())
}

fn handlers(encoder: &mut DescriptorEncoder<'_>, processors: &Processors) -> fmt::Result {
    let all = || processors.values().filter_map(Processor::as_stage);
    let mut family = histogram(encoder, "ext_proc_handler_seconds", "How long handlers took, in seconds, by phase.")?;
    for stage in all() {
        for (phase, seconds) in Phase::ALL.iter().zip(&stage.handler_seconds) {
            durations(&mut family, &[name(stage), ("phase", phase.text())], seconds)?;
        }
    }
    let mut family = counter(encoder, "ext_proc_local_replies", "Answers to clients in place of the upstream's.")?;
    for stage in all() {
        let mut result = Ok(());
        stage.replies.each(|status, details, count| {
            let labels = [name(stage), ("status", &status.to_string()), ("details", details)];
            result = result.and_then(|()| count_of(&mut family, &labels, count));
        });
        result?;
    }
    let help = "Bodies that a processor wants and the body mode does not deliver.";
    let mut family = counter(encoder, "ext_proc_mismatch", help)?;
    for stage in all() {
        for (need, mode, count) in stage.mismatches.each().filter(|(_, _, count)| *count > 0) {
            count_of(&mut family, &[name(stage), ("need", need.text()), ("mode", mode.text())], count)?;
        }
    }
    let mut family = counter(encoder, "ext_proc_blocked_writes", "What handlers said and was not sent, by reason.")?;
    for stage in all() {
        for (reason, count) in stage.blocked.each() {
            count_of(&mut family, &[name(stage), ("reason", reason.text())], count)?;
        }
    }
    Ok(())
}

fn faults(encoder: &mut DescriptorEncoder<'_>, processors: &Processors) -> fmt::Result {
    let all = || processors.values().map(Processor::faults);
    let mut family = counter(encoder, "ext_proc_failures", "What went wrong, by kind.")?;
    for faults in all() {
        for (kind, count) in faults.failures.each() {
            count_of(&mut family, &[fault(faults), ("kind", kind.text())], count)?;
        }
    }
    let mut family = counter(encoder, "ext_proc_panics", "Panics of a processor.")?;
    for faults in all() {
        count_of(&mut family, &[fault(faults)], faults.panics.load(Ordering::Relaxed))?;
    }
    let mut family = counter(encoder, "ext_proc_limit", "What was longer or more than is allowed.")?;
    for faults in all() {
        for (limit, count) in faults.limits.each() {
            count_of(&mut family, &[fault(faults), ("limit", limit.text())], count)?;
        }
    }
    let help = "Streams whose data plane is configured otherwise than a processor needs, by what differs.";
    let mut family = counter(encoder, "ext_proc_config_differences", help)?;
    for faults in all() {
        for (what, count) in faults.differences.each().filter(|(_, count)| *count > 0) {
            count_of(&mut family, &[fault(faults), ("difference", what.text())], count)?;
        }
    }
    Ok(())
}

fn name_of(stream: &StreamCounts) -> (&str, &str) {
    fault(&stream.faults)
}

fn name(stage: &StageCounts) -> (&str, &str) {
    fault(&stage.faults)
}

fn fault(faults: &Faults) -> (&str, &str) {
    ("processor", &faults.processor)
}

/// The library adds `_total` to the name.
fn counter<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn histogram<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Histogram)
}

fn count_of(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], count: u64) -> fmt::Result {
    family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

/// Nothing for a histogram without durations: most processors have no handlers for most phases.
fn durations(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], durations: &Histogram) -> fmt::Result {
    let snapshot = durations.snapshot();
    if snapshot.count == 0 {
        return Ok(());
    }
    let mut one = family.encode_family(&labels)?;
    one.encode_histogram::<NoLabelSet>(snapshot.sum, snapshot.count, &snapshot.buckets, None)
}
