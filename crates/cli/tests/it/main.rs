//! The built command, run as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod http;
mod process;

mod conform;
mod demo;
mod echo;
mod gateway;
mod serve;
mod sink;
mod usage;
