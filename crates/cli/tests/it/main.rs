//! The built command, run as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

#[allow(dead_code, reason = "shared with the other tests")]
mod http;
mod process;

mod call;
mod cases;
mod conform;
mod echo;
mod gateway;
mod grpc;
mod mistakes;
mod print_config;
mod serve;
mod settings;
mod sink;
mod tls;
mod usage;
