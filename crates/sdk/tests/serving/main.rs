//! A server in front of real clients: limits, health, shutdown.
#![allow(clippy::unwrap_used, reason = "test code")]

mod health;
mod limits;
mod rig;
mod shutdown;
