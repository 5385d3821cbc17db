//! `extproc demo`: everything at work on loopback, in one process.

mod client;
mod config;
mod envoy;
mod golden;
mod print;
mod report;
pub(crate) mod stack;
mod tap;

use std::path::PathBuf;

use crate::failure::{Failure, Outcome};
use crate::sample::Reveal;
use crate::shutdown;
use stack::{Front, Stack};

/// Show everything at work: client, gateway, six processors and an upstream, on loopback
///
/// Starts the echo upstream, the six sample processors of the Python SDK's demo, each a gRPC server of its own, and
/// the gateway in front of them; sends requests through and prints what each processor changed; compares with golden
/// values. Then it stays up for requests of your own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  extproc demo\n  extproc demo --once; echo $?")]
pub(crate) struct Args {
    /// Do not stay up: exit code 0 when every value is as expected, else 1
    #[arg(long)]
    once: bool,
    /// The gateway's port; with --once any free one unless this is given [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Use this Envoy in place of the gateway
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Print requests, responses and differences as JSON
    #[arg(long, requires = "once")]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let stop = shutdown::requested()?;
    let port = args.port.unwrap_or(if args.once { 0 } else { 8080 });
    let front = args.envoy.as_ref().map_or(Front::Gateway, |binary| Front::Envoy(binary.clone()));
    let reveal = Reveal::from_env()?;
    let chain = reveal.header().map(|name| &*name.as_str().to_owned().leak());
    let stack = Stack::start(port, front, &reveal).await?;
    let proxy = stack.proxy;
    let log = stack.log.clone();
    let show = async {
        let mut stop = std::pin::pin!(stop);
        let differing = tokio::select! {
            differing = walk_all(&args, proxy, &log, chain) => differing?,
            () = &mut stop => return Err(Failure::Ran(anyhow::anyhow!("stopped before all requests were sent"))),
        };
        log.stop();
        if args.once {
            return if differing { Err(Failure::Differs) } else { Ok(()) };
        }
        crate::text::print(print::invitation(proxy));
        stop.await;
        Ok(())
    };
    stack.serve_while(show).await
}

impl Args {
    const fn front(&self) -> &'static str {
        if self.envoy.is_some() { "envoy" } else { "gateway" }
    }
}

/// Sends all requests; whether any value differs.
async fn walk_all(
    args: &Args,
    proxy: std::net::SocketAddr,
    log: &tap::Log,
    chain: Option<&'static str>,
) -> anyhow::Result<bool> {
    stack::ready(proxy, chain).await?;
    log.take();
    if !args.json {
        let front = args.front();
        let line = format_args!("six processors in front of an echo upstream, behind the {front} at http://{proxy}");
        crate::text::println(line);
    }
    let walks = golden::walks(chain);
    let mut report = report::Report::default();
    for (index, walk) in walks.iter().enumerate() {
        let answer = walk.ask.send(proxy).await?;
        let differences = walk.differences(&answer);
        report.add(walk, &answer, &differences);
        if !args.json {
            let edits = log.take();
            let text = match index {
                // The first two at length, the others in a line each.
                0 | 1 => print::detailed(args.front(), walk, &answer, &edits, &differences),
                2 => format!("{}{}", print::more(), print::short(walk, &differences)),
                _ => print::short(walk, &differences),
            };
            crate::text::print(&text);
        }
    }
    if args.json {
        crate::text::println(serde_json::to_string_pretty(&report)?);
    } else {
        crate::text::print(print::summary(&report));
    }
    Ok(report.differs())
}
