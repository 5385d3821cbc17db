//! `extproc bench`: what processing costs.

mod demo;
mod load;
mod report;

use crate::failure::Outcome;

/// Measure what processing costs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Demo(demo::Args),
}

pub(crate) async fn run(args: Args) -> Outcome {
    match args.what {
        What::Demo(args) => demo::run(args).await,
    }
}
