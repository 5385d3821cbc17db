//! Processors around a processor.

#[macro_use]
mod delegate;

mod body_limit;
mod catch_panic;
mod concurrency;
mod policy;
mod rate;
mod reveal;
mod timing;
mod when;

pub use body_limit::BodyLimit;
pub use catch_panic::CatchPanic;
pub use concurrency::ConcurrencyLimit;
pub use policy::Policy;
pub use rate::RateLimit;
pub use reveal::Reveal;
pub use timing::Timing;
pub use when::{When, sampled};
