//! `extproc call`: exchanges with a processor, played by the same engine as the gateway's.

mod args;
mod exchange;
mod json;
mod report;
mod step;

use std::sync::Arc;

use extproc::testing::Exchange;
use extproc_core::BodyMode;

pub(crate) use self::args::Args;
use crate::dialogue::{self, Log, Watch, story};
use crate::failure::{Failure, Outcome};
use crate::peer;
use crate::text::{BOLD, RED, YELLOW};

/// One exchange that was played.
#[derive(Debug)]
struct Played {
    /// The body mode of both directions, when there are several exchanges.
    mode: Option<BodyMode>,
    log: Log,
    /// The rule that the processor broke.
    broken: Option<String>,
    warnings: Vec<String>,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let modes: Vec<Option<BodyMode>> = match args.all_modes {
        true => args::ALL.map(Some).to_vec(),
        false => vec![None],
    };
    // All that can be wrong with the command line comes before anything is played.
    let configs = modes.iter().map(|mode| args.config(*mode)).collect::<Result<Vec<_>, _>>().map_err(Failure::usage)?;
    let exchange: Exchange = args.exchange().map_err(Failure::Usage)?;
    let metadata = args.grpc_metadata().map_err(Failure::Usage)?;
    let processor = peer::connect(&args.address, &args.tls).await?;
    let mut all = Vec::new();
    for (mode, config) in modes.into_iter().zip(configs) {
        let watch = args.step.then(|| Box::new(step::Stdin::new()) as Box<dyn Watch>);
        let log = dialogue::play(&Arc::new(config), &exchange, &processor, &metadata, watch).await?;
        if log.quit {
            return Err(Failure::Ran(anyhow::anyhow!("quit before the exchange was over")));
        }
        let (broken, warnings) = (report::verdict(&log), report::warnings(&log));
        all.push(Played { mode, log, broken, warnings });
    }
    if args.json {
        crate::text::print(json::render(&all)?);
    } else {
        all.iter().for_each(show);
    }
    finish(all)
}

fn show(Played { mode, log, broken, warnings }: &Played) {
    if let Some(mode) = mode {
        crate::text::println(format_args!("{BOLD}== {mode}{BOLD:#}"));
    }
    crate::text::print(story::render(log));
    for warning in warnings {
        crate::text::println(format_args!("{YELLOW}warning:{YELLOW:#} {warning}"));
    }
    if let (Some(_), Some(broken)) = (mode, broken) {
        crate::text::println(format_args!("{RED}broken:{RED:#} {broken}"));
    }
    if mode.is_some() {
        crate::text::println("");
    }
}

/// The verdict on one exchange, or on all of them.
fn finish(all: Vec<Played>) -> Outcome {
    let broken: Vec<String> = match &all[..] {
        [Played { mode: None, broken, .. }] => broken.iter().cloned().collect(),
        all => all.iter().filter_map(|it| Some(format!("{}: {}", it.mode?, it.broken.as_ref()?))).collect(),
    };
    if broken.is_empty() { Ok(()) } else { Err(Failure::Ran(anyhow::Error::msg(broken.join("; ")))) }
}
