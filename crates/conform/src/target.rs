//! What scenarios are run on.

use serde::{Deserialize, Serialize};

/// The targets.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// `extproc_core::FilterChain`, driven in memory under virtual time.
    Core,
    /// `extproc_gateway`, in this process, over loopback.
    Gateway,
    /// A real Envoy process.
    Envoy,
}
