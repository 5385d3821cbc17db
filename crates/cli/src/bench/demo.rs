//! `extproc bench demo`: the six processors of the demo, and the same requests without them.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::load::{self, Measured, Route};
use super::report::{self, Report, Row};
use crate::demo::stack::{self, Front, Stack};
use crate::failure::{Failure, Outcome};
use crate::sample::Reveal;

/// The six processors of the demo against the same requests without them
///
/// Starts what `extproc demo` starts, everything in this process, and sends GET requests on kept-alive connections: on
/// the route with six processors, each a gRPC server of its own, and on the route around them. The two alternate in
/// short turns, so that both see the same machine. First one request at a time, then several concurrency levels.
///
/// The load shares the machine with what it measures. An exchange counts as failed when its status is not 200, or when
/// the chain header does not name all six processors: a processor that was passed over costs nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  extproc bench demo\n  extproc bench demo --requests 200 --concurrency 1,8 --csv -\n  \
                  extproc bench demo --envoy /usr/bin/envoy"
)]
pub(crate) struct Args {
    /// Requests for each route and concurrency level
    #[arg(short = 'n', long, default_value = "1000", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    requests: u32,
    /// Concurrency levels after the sequential run; 0 for none
    #[arg(short, long, default_value = "2,8,32", value_name = "N[,N...]", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(..=1024))]
    concurrency: Vec<u16>,
    /// Use this Envoy in place of the gateway
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Write the table as CSV to a file, or instead of the report to stdout with "-"
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
}

/// What the demo's chain header lists when nothing was passed over.
const PROCESSORS: usize = 6;

pub(crate) async fn run(args: Args) -> Outcome {
    let front = args.envoy.as_ref().map_or(Front::Gateway, |binary| Front::Envoy(binary.clone()));
    let reveal = Reveal::from_env()?;
    let Some(chain) = reveal.header().cloned() else {
        let message = "REVEAL_EXTPROC_CHAIN says no, and the chain header is what tells that no processor was passed \
                       over; unset the variable";
        return Err(Failure::usage(message));
    };
    let stack = Stack::start(0, front, &reveal).await?;
    let (proxy, log) = (stack.proxy, stack.log.clone());
    let measure = async {
        stack::ready(proxy, Some(&*chain.as_str().to_owned().leak())).await?;
        log.stop();
        let report = measure(&args, proxy, chain.as_str()).await?;
        show(&args, &report)?;
        if report.failed() > 0 { Err(Failure::Differs) } else { Ok(()) }
    };
    stack.serve_while(measure).await
}

async fn measure(args: &Args, proxy: SocketAddr, chain: &str) -> anyhow::Result<Report> {
    let routes = [
        Route { name: "processed", path: "/something", chain: Some((chain.to_owned(), PROCESSORS)) },
        Route { name: "plain", path: "/no-ext-procs/something", chain: None },
    ];
    // Connections, allocators and branch predictors settle.
    load::run(proxy, &routes, args.requests.min(200), 1).await?;
    let mut rows = Vec::new();
    let levels = std::iter::once(1).chain(args.concurrency.iter().copied().filter(|level| *level > 1));
    for level in levels {
        let measured: Vec<Measured> = load::run(proxy, &routes, args.requests, level).await?;
        rows.extend(measured.into_iter().zip(&routes).map(|(measured, route)| Row::new(route.name, level, measured)));
    }
    Ok(Report { front: if args.envoy.is_some() { "envoy" } else { "gateway" }, processors: PROCESSORS, rows })
}

fn show(args: &Args, report: &Report) -> Outcome {
    if args.json {
        crate::text::println(serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    match &args.csv {
        Some(path) if path.as_os_str() == "-" => crate::text::print(report::csv(report)),
        Some(path) => {
            std::fs::write(path, report::csv(report))
                .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
            crate::text::print(report::human(report));
        }
        None => crate::text::print(report::human(report)),
    }
    Ok(())
}
