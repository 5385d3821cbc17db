//! What a layer knows besides the rules of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use extproc_core::call::{Config, Measure};
use extproc_core::headers::Value;

use crate::processor::Processor;

/// What the calls of a layer share.
#[derive(Clone)]
pub struct Settings {
    /// The rules.
    pub config: Arc<Config>,
    /// Whom they ask. Its connections carry nothing else, so that no call waits for itself.
    pub processor: Processor,
    /// The authority of calls that have none yet, as those of a tonic client: what processors see as `:authority` and
    /// `request.host`. Default: none.
    pub default_authority: Option<Value>,
    /// The longest message, in bytes, also once decompressed. Longer ones end the call with RESOURCE_EXHAUSTED. Default
    /// 4 MiB, as in tonic.
    pub max_message_bytes: usize,
    /// Whether a call is processed, by its path `/package.Service/Method`. Default: all are.
    pub processes: Option<fn(&str) -> bool>,
    /// Who is told the measures of A93. Default: nobody.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Takes the measures of calls: histograms, as a rule.
pub trait Observer: Send + Sync {
    /// An event of a call was let go on, this long after it came.
    fn proceeded(&self, measure: Measure, after: Duration);
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub const fn new(config: Arc<Config>, processor: Processor) -> Self {
        Self { config, processor, default_authority: None, max_message_bytes: 4 << 20, processes: None, observer: None }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("processor", &self.processor)
            .field("default_authority", &self.default_authority)
            .field("max_message_bytes", &self.max_message_bytes)
            .finish_non_exhaustive()
    }
}
