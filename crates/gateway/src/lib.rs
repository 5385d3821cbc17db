//! A reverse proxy with routes, policies and chains of external processors.
//!
//! Configuration is resolved once: a file ([`Config`], what people write) becomes a [`Plan`] (immutable, indices in
//! place of names), and only the plan is used while serving. Programs and tests may build a plan without a file.

mod coding;
pub mod config;
mod drain;
mod gateway;
mod listener;
pub mod plan;
mod policy;
mod proxy;
pub mod route;
mod telemetry;
mod upstream;

pub use config::Config;
pub use gateway::{BindError, Gateway};
pub use plan::Plan;
pub use telemetry::Telemetry;
