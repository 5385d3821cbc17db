//! `extproc test`: case files, played against a processor.

mod case;
mod check;
mod decode;
mod json;
mod load;
mod matcher;
mod payload;
mod read;
mod reply;
mod report;
mod run;
mod transcript;
mod yaml;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use extproc::BoxProcessor;
use regex::Regex;

use crate::dialogue::Processor;
use crate::failure::{Failure, Outcome};
use crate::peer;
use crate::sample::Reveal;
use crate::sample::registry::{self, Made, Sample};
use crate::sample::settings::Setting;
use case::Case;
use report::Counts;

/// Play test cases against a processor
///
/// Each case is an HTTP exchange and what must come of it; the data plane is played by the engine of the gateway.
/// docs/case-files.md explains the format. Exit code 1 when a case fails, 2 when a file cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  extproc test cases/ --target 127.0.0.1:50051\n  \
                  extproc test cases/digest.yaml --sample digest --filter '*put*'\n  \
                  extproc test cases/ --target unix:/run/extproc.sock --junit report.xml")]
pub(crate) struct Args {
    /// Case files, and directories of them
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    tls: peer::Tls,
    /// Only cases whose name matches, with * and ?; may be repeated
    #[arg(long, value_name = "GLOB")]
    filter: Vec<String>,
    /// Only cases with one of these tags, in any case of letters
    #[arg(long, value_name = "TAG[,TAG...]", value_delimiter = ',')]
    tags: Vec<String>,
    /// How many cases are played at a time
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Play every case so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// How long the processor may take for one answer, where the case says nothing
    #[arg(long, default_value = "10s", value_parser = peer::duration)]
    timeout: Duration,
    /// Write the transcripts that cases are compared with
    #[arg(long)]
    update: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// A setting of a sample in this process; extproc serve --list NAME tells them
    #[arg(long = "set", value_name = "SAMPLE.KEY=VALUE", requires = "sample")]
    settings: Vec<Setting>,
    /// Write the results as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print a line for every run
    #[arg(short, long)]
    verbose: bool,
}

/// One of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// The processor: HOST:PORT or unix:PATH
    #[arg(long, value_name = "ADDR")]
    target: Option<String>,
    /// Samples in this process, as a chain
    #[arg(long, value_parser = registry::parser(), hide_possible_values = true, value_name = "NAME[,NAME...]", value_delimiter = ',')]
    sample: Vec<&'static Sample>,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let filters = args.filter.iter().map(|glob| pattern(glob)).collect::<Result<Vec<_>, _>>()?;
    // All that can be wrong with the files comes before anything is played.
    let files = load::load(&args.files)?;
    let tags = args.tags;
    let chosen = move |case: &Case| {
        let named = filters.is_empty() || filters.iter().any(|filter| filter.is_match(&case.name));
        let is_tag = |tag: &String| case.tags.iter().any(|it| it.eq_ignore_ascii_case(tag));
        named && (tags.is_empty() || tags.iter().any(is_tag))
    };
    let processor = match &args.target.target {
        Some(address) => peer::connect(address, &args.tls).await?,
        None => Processor::in_process(samples(&args.target.sample, &args.settings)?),
    };
    let settings = run::Settings {
        timeout: args.timeout,
        update: args.update,
        parallel: args.parallel.into(),
        repeat: args.repeat,
    };
    let ran = run::run(files, chosen, Arc::new(processor), settings).await;
    if let Some(path) = &args.junit {
        std::fs::write(path, report::junit(&ran)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if ran.is_empty() {
        return Err(Failure::usage("no case matches --filter and --tags"));
    }
    match args.json {
        true => crate::text::print(report::json(&ran)?),
        false => crate::text::print(report::human(&ran, args.verbose)),
    }
    if Counts::of(&ran).failed > 0 { Err(Failure::Differs) } else { Ok(()) }
}

/// A chain of samples as the settings say.
fn samples(names: &[&'static Sample], given: &[Setting]) -> Outcome<Vec<BoxProcessor>> {
    registry::check(names, given)?;
    let reveal = Reveal::from_env()?;
    let made = names.iter().map(|sample| match sample.make(&[], given, &reveal)? {
        Made::Processor(processor) => Ok(processor),
        Made::Raw(_) => Err(Failure::usage(format!(
            "{0} speaks the protocol itself and cannot run in this process; serve it: extproc serve {0}",
            sample.name
        ))),
    });
    made.collect()
}

/// A pattern with `*` and `?` as an expression.
fn pattern(glob: &str) -> Outcome<Regex> {
    let any = regex::escape(glob).replace("\\*", ".*").replace("\\?", ".");
    Regex::new(&format!("(?is)^{any}$")).map_err(|error| Failure::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, name, matches) in [
            ("*put*", "digest of a PUT", true),
            ("put", "digest of a put", false),
            ("a?c", "abc", true),
            ("a.c", "abc", false),
            ("[x]*", "[x] y", true),
        ] {
            let pattern = pattern(glob).unwrap_or_else(|_| panic!("{glob} is a pattern"));
            assert_eq!(pattern.is_match(name), matches, "{glob} {name}");
        }
    }
}
