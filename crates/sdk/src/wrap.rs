//! Processors around a processor.

mod policy;
mod reveal;

pub use policy::Policy;
pub use reveal::Reveal;
