//! The gateway over loopback sockets: real clients, upstreams and processors around it.

#![allow(clippy::unwrap_used, reason = "test code")]

mod plain;
mod support;
