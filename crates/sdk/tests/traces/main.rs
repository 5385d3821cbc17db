//! What spans and log events tell, and what they keep to themselves.
#![allow(clippy::unwrap_used, reason = "test code")]

mod capture;
mod redaction;
mod spans;
