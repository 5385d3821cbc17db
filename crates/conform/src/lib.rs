//! One set of ext_proc scenarios, run on the core, the gateway and a real Envoy, and compared.

pub mod peer;
pub mod scenario;
pub mod target;
pub mod transcript;
