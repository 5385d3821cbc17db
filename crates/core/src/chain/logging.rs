//! What access logs are told of the filters, and what only the data plane knows of it.

use std::sync::Arc;

use crate::{FilterChain, LoggingInfo};

impl FilterChain {
    /// What an access log tells of a filter so far.
    ///
    /// # Panics
    /// If there is no filter with this index.
    #[must_use]
    pub fn logging(&self, filter: usize) -> &LoggingInfo {
        self.filters[filter].logging()
    }

    /// Counts bytes that the side stream of a filter has sent and received, for [`logging`](Self::logging).
    pub fn count_bytes(&mut self, filter: usize, sent: u64, received: u64) {
        if let Some(filter) = self.filters.get_mut(filter) {
            filter.count_bytes(sent, received);
        }
    }

    /// Names the processor of a filter, for [`logging`](Self::logging). Call it before the exchange begins.
    pub fn set_destination(&mut self, filter: usize, name: Arc<str>) {
        if let Some(filter) = self.filters.get_mut(filter) {
            filter.set_destination(name);
        }
    }
}
