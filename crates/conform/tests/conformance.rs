//! Runs every scenario of `conformance/scenarios` on every target.
//!
//! `EXTPROC_CONFORM_FILTER` picks scenarios, `EXTPROC_CONFORM_RECORD=1` records Envoy's transcripts anew.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::fmt::Debug;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use extproc_conform::{Options, TargetKind, Verdict, run};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_on_every_target() {
    tracing::subscriber::set_global_default(Errors).unwrap();
    let mut options = Options::new();
    options.filter = std::env::var("EXTPROC_CONFORM_FILTER").ok();
    options.record = std::env::var_os("EXTPROC_CONFORM_RECORD").is_some();
    let report = run(&options).await.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{}", report.table());
    if options.filter.is_some() {
        println!("{}", report.explain(120));
    }
    let envoy_is_absent = report.count(TargetKind::Envoy, Verdict::Skipped) == report.rows.len();
    if envoy_is_absent {
        // Past the test harness, which keeps what passing tests print to itself.
        let reason = report.rows.first().and_then(|row| row.outcomes[&TargetKind::Envoy].notes.first());
        let warning = "WARNING: nothing was run on Envoy; our targets were compared with recorded transcripts only";
        writeln!(std::io::stderr(), "{warning}: {}", reason.map_or("", String::as_str)).unwrap();
    }
    assert!(!report.is_failure(), "{}", report.table());
    let errors = std::mem::take(&mut *ERRORS.lock().unwrap_or_else(PoisonError::into_inner));
    assert_eq!(errors, Vec::<String>::new(), "whatever a processor does is no ERROR of ours");
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

/// Keeps the events of level ERROR.
struct Errors;

static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("extproc")
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().target().to_owned());
        event.record(&mut text);
        ERRORS.lock().unwrap_or_else(PoisonError::into_inner).push(text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}
