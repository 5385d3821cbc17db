//! Runs every scenario of `conformance/scenarios` on every target.
//!
//! `EXTPROC_CONFORM_FILTER` picks scenarios, `EXTPROC_CONFORM_RECORD=1` records Envoy's transcripts anew.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::io::Write as _;

use extproc_conform::{Options, TargetKind, Verdict, run};

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_on_every_target() {
    let mut options = Options::new();
    options.filter = std::env::var("EXTPROC_CONFORM_FILTER").ok();
    options.record = std::env::var_os("EXTPROC_CONFORM_RECORD").is_some();
    let report = run(&options).await.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{}", report.table());
    if options.filter.is_some() {
        println!("{}", report.explain());
    }
    let envoy_is_absent = report.count(TargetKind::Envoy, Verdict::Skipped) == report.rows.len();
    if envoy_is_absent {
        // Past the test harness, which keeps what passing tests print to itself.
        let reason = report.rows.first().and_then(|row| row.outcomes[&TargetKind::Envoy].notes.first());
        let warning = "WARNING: nothing was run on Envoy; our targets were compared with recorded transcripts only";
        writeln!(std::io::stderr(), "{warning}: {}", reason.map_or("", String::as_str)).unwrap();
    }
    assert!(!report.is_failure(), "{}", report.table());
}

#[test]
fn the_catalogue_names_what_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let catalogue = extproc_conform::catalogue::Catalogue::load(&root.join("conformance"), Some(&root));
    let catalogue = catalogue.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{}", catalogue.table());
    assert!(matches!(
        catalogue.standing("ENV-001"),
        Some(extproc_conform::catalogue::Standing::Proven(by)) if by[0] == "ENV-001"
    ));
}
