//! One exchange through real filters and a processor on a real socket, with an upstream in memory.

#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(dead_code, unreachable_pub, reason = "a support module that others use too")]

#[path = "../support/processor.rs"]
mod processor;
mod world;

mod bodies;
mod connections;
mod faults;
mod headers;
mod logging;
mod observing;
mod streamed_reply;
