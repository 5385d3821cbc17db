//! Any header mutation under any rules, compared with a naive reading of the rules. The driver is that of the core's
//! test `model`.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../crates/core/tests/model/main.rs"]
mod model;
use model::{drive, fuzz, generate, minimise, mutate, predict, reading, rng, script};

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::mutation(data));
