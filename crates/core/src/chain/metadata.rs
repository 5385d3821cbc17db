//! The dynamic metadata of an exchange, which all its filters share.

use std::sync::Arc;

use super::FilterChain;
use crate::metadata::DynamicMetadata;

/// How much metadata an exchange may have, in bytes. Beyond it the processor that sends more has failed.
const LIMIT: usize = 1 << 20;

/// What is known of an exchange.
#[derive(Debug, Default)]
pub(super) struct Known {
    of_exchange: DynamicMetadata,
    of_cluster: Option<Arc<DynamicMetadata>>,
    /// At least the size of the exchange's.
    size: usize,
}

impl FilterChain {
    /// Tells the filters what the data plane knows of the exchange, as an earlier filter would. Processors get the
    /// namespaces that their `metadata_options` forward, with every message from now on.
    pub fn merge_metadata(&mut self, metadata: DynamicMetadata) {
        self.metadata.size += metadata.size();
        self.metadata.of_exchange.merge(metadata);
        self.show_metadata();
    }

    /// Tells the filters the metadata of the upstream that the route leads to, in place of what was told before.
    pub fn set_cluster_metadata(&mut self, metadata: Arc<DynamicMetadata>) {
        self.metadata.of_cluster = Some(metadata);
        self.show_metadata();
    }

    /// The exchange's metadata: what the data plane has told, and what it has received from processors.
    #[must_use]
    pub const fn metadata(&self) -> &DynamicMetadata {
        &self.metadata.of_exchange
    }

    /// What a processor has sent. False: there is no room for it.
    pub(super) fn receive_metadata(&mut self, metadata: DynamicMetadata) -> bool {
        let (known, more) = (&mut self.metadata, metadata.size());
        if known.size + more > LIMIT {
            known.size = known.of_exchange.size();
        }
        if known.size + more > LIMIT {
            return false;
        }
        self.merge_metadata(metadata);
        true
    }

    fn show_metadata(&mut self) {
        let Known { of_exchange, of_cluster, .. } = &self.metadata;
        self.filters.iter_mut().for_each(|filter| filter.show_metadata(of_exchange, of_cluster.as_deref()));
    }
}
