//! gRPC calls through the layers: tonic clients, servers and processors on real sockets.

#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(dead_code, unreachable_pub, reason = "a support module that others use too")]

#[path = "../support/processor.rs"]
mod processor;
mod world;

mod calls;
mod ends;
mod failures;
