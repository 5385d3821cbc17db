//! Any input for `extproc_core::Session`; the driver and its oracle are those of the core's test `session_input`.
#![no_main]

#[path = "../../crates/core/tests/session_input/driver.rs"]
mod driver;
#[path = "../../crates/core/tests/session_input/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| driver::play(data));
