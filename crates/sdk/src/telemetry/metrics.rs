//! The counters of every processor of a process, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::counts::{Counts, Faults, StageCounts, StreamCounts};
use crate::Stages;
use crate::exchange::Expects;

/// What processors count. A handle: clones are the same.
///
/// Several servers may count into one ([`Server::metrics`](crate::Server::metrics)); processors of the same name count
/// together.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Processors>>);

pub(super) type Processors = BTreeMap<String, Processor>;

/// What goes under one name: a processor, a chain as a whole, or both where a stream has one processor.
pub(super) struct Processor {
    faults: Arc<Faults>,
    stream: Option<Arc<StreamCounts>>,
    stage: Option<Arc<StageCounts>>,
}

impl Metrics {
    /// No processors yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters that a server with these stages moves.
    pub(crate) fn counts<S: Stages>(&self, stages: &S) -> Arc<Counts> {
        let mut processors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = Processor::named(&mut processors, &stages.names()).stream();
        let mut all = Vec::new();
        stages.each_name(&mut |name| all.push(Processor::named(&mut processors, name).stage()));
        let wishes = stages.needs().wishes;
        let expects =
            Expects { mode_override: wishes.mode_override, request_attributes: !wishes.request_attributes.is_empty() };
        Arc::new(Counts { expects, stream, stages: all.into() })
    }

    #[cfg(feature = "metrics")]
    pub(super) fn read<T>(&self, read: impl FnOnce(&Processors) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Processor {
    fn named<'a>(processors: &'a mut Processors, name: &str) -> &'a mut Self {
        let new = || Self { faults: Arc::new(Faults::new(name)), stream: None, stage: None };
        processors.entry(name.to_owned()).or_insert_with(new)
    }

    #[cfg(feature = "metrics")]
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    #[cfg(feature = "metrics")]
    pub(super) fn as_stream(&self) -> Option<&StreamCounts> {
        self.stream.as_deref()
    }

    #[cfg(feature = "metrics")]
    pub(super) fn as_stage(&self) -> Option<&StageCounts> {
        self.stage.as_deref()
    }

    fn stream(&mut self) -> Arc<StreamCounts> {
        let new = || Arc::new(StreamCounts::new(Arc::clone(&self.faults)));
        Arc::clone(self.stream.get_or_insert_with(new))
    }

    fn stage(&mut self) -> Arc<StageCounts> {
        let new = || Arc::new(StageCounts::new(Arc::clone(&self.faults)));
        Arc::clone(self.stage.get_or_insert_with(new))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(processors.keys()).finish()
    }
}
