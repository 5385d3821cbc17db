//! The `extproc` command: one module per subcommand, one module per sample processor.
//!
//! Results go to stdout, logs and errors to stderr. Exit codes: 0 done, 1 it ran and failed, 2 bad usage or
//! configuration.

mod bench;
mod call;
mod conform;
mod demo;
mod dialogue;
mod echo;
mod failure;
mod gateway;
mod health;
mod listen;
mod logging;
mod peer;
mod sample;
mod serve;
mod shutdown;
mod test;
mod text;
mod value;

use std::borrow::Cow;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::Outcome;

/// External processing (ext_proc) for HTTP: processors, gateway, and tools for both.
#[derive(Debug, Parser)]
#[command(name = "extproc", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Example:\n  extproc demo --once\n\nExit codes: 0 done, 1 it ran and failed, 2 bad usage or configuration."
)]
struct Cli {
    #[command(flatten)]
    log: logging::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::Args),
    Call(Box<call::Args>),
    Conform(conform::Args),
    Demo(demo::Args),
    Echo(echo::Args),
    Gateway(gateway::Args),
    Health(health::Args),
    Serve(serve::Args),
    Test(test::Args),
}

impl Command {
    /// What is logged when nobody asks: servers tell what they do, the others only what they cannot print.
    fn log_level(&self) -> Cow<'static, str> {
        if let Self::Serve(args) = self
            && let Some(level) = args.log_level()
        {
            return level.into();
        }
        let level = match self {
            Self::Echo(_) | Self::Gateway(_) | Self::Serve(_) => "info",
            Self::Bench(_) | Self::Call(_) | Self::Conform(_) | Self::Demo(_) | Self::Health(_) | Self::Test(_) => {
                "error"
            }
        };
        level.into()
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // `get_matches` prints help, version and usage errors itself; usage errors exit with 2.
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if let Err(failure) = cli.log.install(&cli.command.log_level()).and_then(|()| run(cli.command)) {
        return failure.report();
    }
    ExitCode::SUCCESS
}

fn run(command: Command) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Bench(args) => bench::run(args).await,
            Command::Call(args) => call::run(*args).await,
            Command::Conform(args) => conform::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Echo(args) => echo::run(args).await,
            Command::Gateway(args) => gateway::run(args).await,
            Command::Health(args) => health::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Test(args) => test::run(args).await,
        }
    })
}
