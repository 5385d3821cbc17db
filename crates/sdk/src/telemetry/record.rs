//! What happens in one exchange.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use extproc_core::headers::Value;
use extproc_core::session::Violation;
use extproc_core::{BodyMode, Direction, Headers};
use tokio::time::Instant;
use tracing::Span;

use super::counts::Counts;
use super::histogram::nanos;
use super::label::{Blocked, FailureKind, Label, Limit, Need, StreamEnd, Way};
use super::limiter::Verdict;
use super::progress::{Progress, Times};
use super::span;
use crate::exchange::Expects;
use crate::{DifferenceKind, Error, Fields, MessageError, Phase, Reason, Refused};

/// What happens in one exchange, told once where it happens. It counts and logs; nothing else does.
///
/// Stages are named by their position in the chain. Dropping it is the end of the stream.
pub(crate) struct Record {
    counts: Arc<Counts>,
    opened: Instant,
    /// What the handlers of each stage took, in nanoseconds, by phase. Filled when the stages are opened.
    times: Box<[Times]>,
    /// The handler that runs. It stays here if the exchange is dropped while it does.
    running: Option<Running>,
    end: Option<StreamEnd>,
    /// The last one that a handler ran in.
    phase: Phase,
    request_id: Option<Value>,
    span: Span,
}

struct Running {
    stage: usize,
    phase: Phase,
    started: Instant,
    span: Span,
}

impl Record {
    /// A stream begins.
    pub(crate) fn new(counts: Arc<Counts>) -> Self {
        counts.stream.active.fetch_add(1, Ordering::Relaxed);
        let times = counts.stages.iter().map(|_| Times::default()).collect();
        Self {
            counts,
            opened: Instant::now(),
            times,
            running: None,
            end: None,
            phase: Phase::RequestHeaders,
            request_id: None,
            span: Span::none(),
        }
    }

    /// A message came.
    pub(crate) fn event(&self, phase: Phase) {
        self.counts.stream.events.add(phase, 1);
    }

    /// A part of a body came or went.
    pub(crate) fn body(&self, direction: Direction, way: Way, bytes: usize) {
        self.counts.stream.body_bytes.add(direction, way, bytes as u64);
    }

    /// The first message came: the span that everything else of the stream happens in.
    pub(crate) fn open_span(&mut self, parent: impl FnOnce() -> Option<String>) -> Span {
        self.span = span::stream(self.stream_name(), parent);
        self.span.clone()
    }

    /// The request's headers came.
    pub(crate) fn identify(&mut self, headers: &Headers) {
        self.request_id = headers.get("x-request-id").cloned();
        if let (false, Some(id)) = (self.span.is_disabled(), self.request_id()) {
            self.span.record("request_id", id);
        }
    }

    /// A handler starts: the span that it runs in. What it edits tells it how far the exchange is.
    pub(crate) fn begin(&mut self, stage: usize, phase: Phase, fields: &mut Fields) -> Span {
        let request_id = self.request_id.clone();
        fields.set_progress(Progress { phase: Some(phase), request_id, times: self.times[stage] });
        let (processor, request_id) = (self.name(stage), self.request_id());
        tracing::debug!(processor, phase = phase.name(), request_id, "phase starts");
        let span = span::phase(processor, phase, request_id);
        self.phase = phase;
        self.running = Some(Running { stage, phase, started: Instant::now(), span: span.clone() });
        span
    }

    /// The handler that was started last is done.
    pub(crate) fn finish(&mut self) {
        let Some((stage, phase, duration_ns)) = self.settle_running() else { return };
        let (processor, request_id) = (self.name(stage), self.request_id());
        tracing::debug!(processor, phase = phase.name(), request_id, duration_ns, "phase is done");
    }

    /// The client is answered in place of the upstream.
    pub(crate) fn local_reply(&mut self, stage: usize, status: u16, details: &str) {
        tracing::debug!(processor = self.name(stage), status, details, "local reply");
        self.counts.stages[stage].replies.add(status, details);
        self.end.get_or_insert(StreamEnd::LocalReply);
    }

    /// The response is cut off.
    pub(crate) fn cut(&mut self) {
        tracing::debug!(processor = self.stream_name(), "response cut off");
        self.end.get_or_insert(StreamEnd::Cut);
    }

    /// A handler returned an error.
    pub(crate) fn handler_failed(&self, stage: usize, error: &Error) {
        let refused =
            error.downcast_ref::<Refused>().is_some() || matches!(error.downcast_ref(), Some(Reason::HeadGone(_)));
        if let Some(MessageError::TooLong(_)) = error.downcast_ref() {
            self.limit(stage, Limit::Message);
        }
        self.failed(stage, if refused { FailureKind::Refused } else { FailureKind::Error }, error);
    }

    /// A stage failed, with what is for the log only.
    pub(crate) fn failed(&self, stage: usize, kind: FailureKind, error: &dyn fmt::Display) {
        let processor = self.name(stage);
        if kind == FailureKind::Panic {
            tracing::error!(processor, panic = %error, "processor panicked");
        } else {
            tracing::warn!(processor, kind = kind.text(), %error, "processor failed");
        }
        self.counts.stages[stage].faults.failed(kind);
    }

    /// Opening the stages panicked.
    pub(crate) fn open_panicked(&mut self, panic: &str) {
        tracing::error!(processor = self.stream_name(), panic, "open panicked");
        self.counts.stream.faults.failed(FailureKind::Panic);
        self.end.get_or_insert(StreamEnd::Failed);
    }

    /// The data plane broke the protocol.
    pub(crate) fn violation(&self, violation: &Violation) {
        let processor = self.stream_name();
        match self.counts.stream.violations.judge(Instant::now()) {
            Verdict::Log { held } => {
                if held > 0 {
                    tracing::warn!(processor, held, "the data plane broke the protocol, more often than was logged");
                }
                tracing::warn!(processor, %violation, "the data plane broke the protocol");
            }
            Verdict::Last => tracing::warn!(
                processor, %violation,
                "the data plane broke the protocol; for the rest of the minute this is only counted"
            ),
            Verdict::Hold => tracing::debug!(processor, %violation, "the data plane broke the protocol"),
        }
        self.counts.stream.faults.failed(FailureKind::Violation);
    }

    /// The stream broke.
    pub(crate) fn transport_failed(&mut self, error: &dyn fmt::Display) {
        tracing::debug!(processor = self.stream_name(), %error, "the data plane's stream failed");
        self.counts.stream.faults.failed(FailureKind::Transport);
        self.end.get_or_insert(StreamEnd::Failed);
    }

    /// An answer that we made did not fit.
    pub(crate) fn internal(&self, error: &dyn fmt::Display) {
        tracing::error!(processor = self.stream_name(), %error, "an answer did not fit the session");
        self.counts.stream.faults.failed(FailureKind::Internal);
    }

    /// The stage wants bodies that the mode does not deliver.
    pub(crate) fn mismatch(&self, stage: usize, need: Need, mode: BodyMode) {
        self.counts.stages[stage].mismatches.add(need, mode, 1);
    }

    /// The data plane's configuration is not what a stage, or all of them, need. True: for the first time.
    pub(crate) fn differs(&self, stage: Option<usize>, what: DifferenceKind) -> bool {
        let faults = stage.map_or(&self.counts.stream.faults, |stage| &self.counts.stages[stage].faults);
        faults.differences.first(what.label())
    }

    pub(crate) fn expects(&self) -> Expects {
        self.counts.expects
    }

    /// The processor of a stage, or all of them.
    pub(crate) fn names(&self, stage: Option<usize>) -> &str {
        stage.map_or_else(|| self.stream_name(), |stage| self.name(stage))
    }

    /// Something that a handler said was not sent.
    pub(crate) fn blocked(&self, stage: usize, reason: &Reason) {
        self.counts.stages[stage].blocked.add(Blocked::of(reason), 1);
    }

    /// Something was longer or more than is allowed.
    pub(crate) fn limit(&self, stage: usize, limit: Limit) {
        self.counts.stages[stage].faults.limits.add(limit, 1);
    }

    /// The data plane has no credit left for what is to be sent (GRPC).
    pub(crate) fn credit_stalls(&self, times: u64) {
        self.counts.stream.credit_stalls.fetch_add(times, Ordering::Relaxed);
    }

    /// The stream ends with an error of ours. What was said first about how it ends stands.
    pub(crate) fn stream_failed(&mut self) {
        self.end.get_or_insert(StreamEnd::Failed);
    }

    /// The phase of the handler that ran last.
    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// The handler that runs, if any, is done or gone.
    fn settle_running(&mut self) -> Option<(usize, Phase, u64)> {
        let Running { stage, phase, started, span } = self.running.take()?;
        let took = started.elapsed();
        let duration_ns = nanos(took);
        self.times[stage][phase as usize] += duration_ns;
        self.counts.stages[stage].handler_seconds[phase as usize].observe(took);
        if !span.is_disabled() {
            span.record("duration_ns", duration_ns);
        }
        Some((stage, phase, duration_ns))
    }

    fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref()?.to_str()
    }

    fn name(&self, stage: usize) -> &str {
        &self.counts.stages[stage].faults.processor
    }

    fn stream_name(&self) -> &str {
        &self.counts.stream.faults.processor
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let default = if self.running.is_some() { StreamEnd::Cancelled } else { StreamEnd::Ok };
        // A handler that was cut off counts with the time it had: that is what is too slow for the data plane.
        self.settle_running();
        let stream = &self.counts.stream;
        let (end, took) = (self.end.unwrap_or(default), self.opened.elapsed());
        stream.ended.add(end, 1);
        stream.seconds.observe(took);
        span::end(&self.span, end, nanos(took));
        stream.active.fetch_sub(1, Ordering::Relaxed);
    }
}
