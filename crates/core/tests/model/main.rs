//! The filter against a slow, obvious second implementation of it: random configurations and random exchanges, compared
//! after every step.
//!
//! A million exchanges, or as many as asked for, from a seed:
//!
//! ```sh
//! MODEL_SEED=1 MODEL_EXCHANGES=1000000 cargo test --release -p extproc-core --test model -- --ignored --nocapture
//! ```
//!
//! A failure prints the number with which `MODEL_SEED` runs it first, and the shortest script that still fails.

#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_methods, reason = "the environment chooses where to begin and how long to go on")]

pub(crate) mod drive;
mod found;
pub(crate) mod fuzz;
pub(crate) mod generate;
pub(crate) mod minimise;
pub(crate) mod mutate;
pub(crate) mod predict;
pub(crate) mod reading;
#[path = "../pair/rng.rs"]
#[allow(dead_code, reason = "the pair tests use more of it")]
pub(crate) mod rng;
pub(crate) mod script;

use std::panic::{AssertUnwindSafe, catch_unwind};

use drive::Play;
use rng::Rng;
use script::Script;

/// What became of a script: `Err` also when something panicked.
fn verdict(script: &Script) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| Play::run(script))).unwrap_or_else(|_| Err("a panic".to_owned()))
}

fn exchanges(count: u64) {
    let first = std::env::var("MODEL_SEED").ok().map_or(1, |text| text.parse().unwrap());
    for seed in first..first + count {
        let generated = catch_unwind(AssertUnwindSafe(|| generate::exchange(&mut Rng::new(seed))));
        let script = match generated {
            Ok((_, Ok(()))) => continue,
            Ok((script, Err(_))) => script,
            Err(_) => panic!("MODEL_SEED={seed}: a panic while the exchange was made up"),
        };
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let small = minimise::minimise(script, &|script| verdict(script).is_err());
        std::panic::set_hook(quiet);
        let error = verdict(&small).unwrap_err();
        panic!("MODEL_SEED={seed}: {error}\n{}", small.print());
    }
}

#[test]
fn the_filter_does_what_the_model_says() {
    exchanges(20_000);
}

#[test]
#[ignore = "takes long: MODEL_EXCHANGES says how long"]
fn the_filter_does_what_the_model_says_a_million_times() {
    let count = std::env::var("MODEL_EXCHANGES").map_or(1_000_000, |text| text.parse().unwrap());
    exchanges(count);
}
