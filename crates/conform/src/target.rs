//! What scenarios are run on.

pub mod core;
pub mod envoy;
pub mod gateway;
mod options;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;
use crate::transcript::Transcript;

/// The targets.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// A real Envoy process.
    Envoy,
    /// `extproc_core::FilterChain`, driven in memory under virtual time.
    Core,
    /// `extproc_gateway`, in this process, over loopback.
    Gateway,
}

impl TargetKind {
    /// All of them, the judge first.
    pub const ALL: [Self; 3] = [Self::Envoy, Self::Core, Self::Gateway];

    /// As scenarios and the command line write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Gateway => "gateway",
            Self::Envoy => "envoy",
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for TargetKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("`{name}` is no target: use core, gateway or envoy"))
    }
}

/// Why a target gave no transcript.
#[derive(Debug)]
pub enum Failure {
    /// The target cannot do this. Scenarios say so themselves, under `skip`; one that does not fails.
    Unsupported(String),
    /// It could, and something went wrong.
    Error(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Runs a scenario and tells what everybody saw.
pub trait Target: Send + Sync {
    /// Which one it is.
    fn kind(&self) -> TargetKind;

    /// Whether its transcripts tell why a response was what it was, and the metadata at the end.
    fn tells_details(&self) -> bool {
        true
    }

    /// Runs one scenario, once.
    fn run<'a>(
        &'a self,
        scenario: &'a Scenario,
    ) -> Pin<Box<dyn Future<Output = Result<Transcript, Failure>> + Send + 'a>>;
}
