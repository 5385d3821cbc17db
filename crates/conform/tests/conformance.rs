//! Runs the scenarios of `conformance/scenarios`.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

#[test]
fn every_scenario_file_is_well_formed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/scenarios");
    let scenarios = extproc_conform::scenario::load_dir(&dir).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(!scenarios.is_empty());
}
