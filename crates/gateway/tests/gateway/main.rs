//! The gateway over loopback sockets: real clients, upstreams and processors around it.

#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(dead_code, unreachable_pub, reason = "a support module that others use too")]

mod configured;
mod faults;
mod h2c;
mod hostile;
mod plain;
mod processing;
#[path = "../../../tower/tests/support/processor.rs"]
mod processor;
mod support;
