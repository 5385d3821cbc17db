//! What is known when an exchange opens.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use extproc_core::session::Protocol;
use tonic::metadata::MetadataMap;

use crate::Facts;

/// What is known when an exchange opens: before its first phase, whichever that is. Attributes and metadata are read by
/// the methods of [`Facts`].
#[derive(Clone, Default)]
pub struct Open {
    pub(crate) id: u64,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) observing: bool,
    pub(crate) facts: Arc<Facts>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) grpc_metadata: Arc<MetadataMap>,
}

impl Open {
    /// A number that no other exchange of this process has. Unlike `x-request-id` no client can choose it.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// How the data plane will send the bodies; `None` if it does not say.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// Whether the data plane only lets us watch: edits and replies have no effect.
    #[must_use]
    pub const fn observing(&self) -> bool {
        self.observing
    }

    /// Attributes and metadata that came with the first message.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The data plane's address; `None` on unix sockets and in memory.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The headers of the gRPC call itself.
    #[must_use]
    pub fn grpc_metadata(&self) -> &MetadataMap {
        &self.grpc_metadata
    }

    /// The number of the next exchange.
    pub(crate) fn next_id() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

impl Deref for Open {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

/// Of attributes, metadata and the call's headers only the names are shown: they may hold secrets.
impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<_> = self.grpc_metadata.keys().collect();
        let mut open = f.debug_struct("Open");
        open.field("id", &self.id).field("protocol", &self.protocol).field("observing", &self.observing);
        open.field("peer", &self.peer).field("grpc_metadata", &calls).finish_non_exhaustive()
    }
}
