//! A server in front of real clients: limits, health, shutdown.
#![allow(clippy::unwrap_used, reason = "test code")]

mod health;
mod limits;
mod reflection;
mod rig;

mod shutdown;
#[cfg(feature = "tls")]
mod tls;
