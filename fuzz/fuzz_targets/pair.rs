//! A filter joined with processors of every kind, sessions among them, and what holds for all of them; the exchanges are
//! those of the core's test `pair`.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../crates/core/tests/pair/main.rs"]
mod pair;
use pair::{PLAIN, WILD, case, conserved, exchanges, faulty, mutator, properties, rng, same, transparent};

libfuzzer_sys::fuzz_target!(|data: &[u8]| pair::play(data));
