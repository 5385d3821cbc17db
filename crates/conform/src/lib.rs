//! One set of ext_proc scenarios, run on the core, the gateway and a real Envoy, and compared.
//!
//! A [`scenario`] tells one exchange from all four sides. A [`target`] runs it and gives a [`transcript`]: what the
//! processor, the upstream and the client saw, the counters, and why. [`run`](run()) compares transcripts with those
//! of Envoy and with what the scenario expects; where we differ on purpose, [`divergence`] lists it with the reason.

pub mod catalogue;
pub mod divergence;
pub mod golden;
pub mod peer;
pub mod report;
pub mod run;
pub mod scenario;
pub mod target;
pub mod transcript;

pub use report::{Outcome, Report, Row, Verdict};
pub use run::{Options, run};
pub use target::TargetKind;
