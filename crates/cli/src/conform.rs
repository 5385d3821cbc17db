//! `extproc conform`: the scenarios, on every target, compared.

use std::path::PathBuf;

use extproc_conform::catalogue::Catalogue;
use extproc_conform::run::Options;
use extproc_conform::target::TargetKind;

use crate::failure::{Failure, Outcome};

/// Run the conformance scenarios and compare the targets with Envoy
///
/// Each scenario scripts a client, an upstream and a processor; what all three saw is compared with what a real Envoy
/// 1.40 does. Envoy is the one at ENVOY_BIN, else it is installed into target/envoy. Exit code 1 when anything
/// differs that conformance/divergences.yaml does not list.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  extproc conform\n  extproc conform --target core,gateway immediate\n  extproc \
                        conform --explain ENV-003")]
pub(crate) struct Args {
    /// Only scenarios whose id, title or file contains this
    filter: Option<String>,
    /// Which targets [default: all: core,gateway,envoy]
    #[arg(long, value_name = "NAME[,NAME...]", value_delimiter = ',')]
    target: Vec<TargetKind>,
    /// Print one scenario with what every target did, side by side
    #[arg(long, value_name = "ID", conflicts_with_all = ["filter", "json"])]
    explain: Option<String>,
    /// How wide --explain may print; below 100 the transcripts stand below each other
    #[arg(long, value_name = "COLUMNS", default_value_t = 120)]
    width: usize,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Count the rows of the catalogues of behaviour that scenarios and tests prove; nothing is run
    #[arg(long, conflicts_with_all = ["filter", "target", "explain", "record"])]
    catalogue: bool,
    /// Write what Envoy does to DIR/golden instead of comparing with it
    #[arg(long)]
    record: bool,
    /// The directory with scenarios, golden and divergences.yaml [default: that of this repository]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut options = Options::new();
    if !args.target.is_empty() {
        options.targets.clone_from(&args.target);
    }
    if let Some(dir) = args.dir {
        options.dir = dir;
    }
    if !options.dir.join("scenarios").is_dir() {
        let dir = options.dir.display();
        return Err(Failure::usage(format!("there are no scenarios in {dir}; name their directory with --dir")));
    }
    if args.catalogue {
        let catalogue = Catalogue::load(&options.dir, None).map_err(Failure::Ran)?;
        if args.json {
            crate::text::println(serde_json::to_string_pretty(&catalogue.json())?);
        } else {
            crate::text::print(catalogue.table());
        }
        return Ok(());
    }
    options.filter = args.explain.clone().or(args.filter);
    options.record = args.record;
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        let targets: Vec<&str> = options.targets.iter().map(|target| target.name()).collect();
        anstream::eprintln!("running the scenarios on {}; all of them take about half a minute", targets.join(", "));
    }
    let mut report = extproc_conform::run(&options).await.map_err(Failure::Ran)?;
    if let Some(id) = &args.explain {
        report.rows.retain(|row| row.id == *id);
    }
    if report.rows.is_empty() {
        let wanted = options.filter.unwrap_or_default();
        return Err(Failure::usage(format!("no scenario matches {wanted:?}; without a filter all are listed")));
    }
    if args.explain.is_some() {
        crate::text::print(report.explain(args.width));
    } else if args.json {
        crate::text::println(serde_json::to_string_pretty(&report.json())?);
    } else {
        crate::text::print(report.table());
    }
    if report.is_failure() { Err(Failure::Differs) } else { Ok(()) }
}
