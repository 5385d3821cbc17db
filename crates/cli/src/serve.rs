//! `extproc serve`: sample processors as gRPC servers.

mod raw;

use std::time::Duration;

use clap::ValueEnum;
use extproc::{BoxProcessor, Server};

use crate::failure::{Failure, Outcome};
use crate::listen::Listen;
use crate::sample::sink::{Options, Sink};
use crate::sample::{Context, Digest, Echo, Noop, Reveal, Timer, Trivial, decorated};
use crate::shutdown;

/// Run sample processors
///
/// Several names, separated by commas, run as a chain in one stream. The samples are those of the Python SDK, and the
/// sink of the agentgateway documents; --list tells what each does. They add their names to the response header
/// x-ext-procs-applied, unless REVEAL_EXTPROC_CHAIN says no; EXTPROCS_APPLIED_HEADER gives it another name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  extproc serve --list\n  extproc serve digest,timer --listen 127.0.0.1:50051\n  \
                        extproc serve sink --listen unix:/tmp/sink.sock")]
pub(crate) struct Args {
    /// Which samples, in request order
    #[arg(value_enum, value_name = "NAME[,NAME...]", value_delimiter = ',', required_unless_present = "list")]
    names: Vec<Name>,
    /// Tell the names of the samples
    #[arg(long)]
    list: bool,
    /// Print what the named samples need of a data plane's configuration, and do not serve
    #[arg(long, value_enum, value_name = "DATA_PLANE", conflicts_with = "list")]
    print_config: Option<DataPlane>,
    /// HOST:PORT, :PORT for all interfaces, or unix:PATH; port 0 takes a free one [default: all interfaces at --port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<Listen>,
    /// All interfaces at this port, unless --listen is given
    #[arg(short, long, env = "GRPC_PORT", default_value = "50051", value_parser = port)]
    port: u16,
    /// How long running exchanges may go on after SIGTERM or SIGINT, in seconds
    #[arg(short, long, env = "SHUTDOWN_GRACE_PERIOD", default_value = "5", value_parser = seconds)]
    grace_period: Duration,
    /// sink: a header to set on every request
    #[arg(long, value_name = "NAME:VALUE", value_parser = pair)]
    add_header: Option<(String, String)>,
    /// sink: answer bodies with streamed_response in every body mode, as the original does
    #[arg(long)]
    always_stream: bool,
    /// echo: answer requests without a body too
    #[arg(long)]
    echo_bodiless: bool,
    /// context: send x-context-id on also when the client did not, empty, as the Python SDK's example does
    #[arg(long)]
    empty_context_id: bool,
}

/// Whose configuration is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DataPlane {
    /// The HTTP filter ext_proc and its cluster, as YAML
    Envoy,
}

/// A sample by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Passes everything; adds its name only when REVEAL_EXTPROC_CHAIN says yes
    Noop,
    /// Copies x-request-id to x-extra-request-id, on the request and on its response
    Trivial,
    /// Sets x-request-started, and on the response x-duration-ns too
    Timer,
    /// Answers requests with a body and 'x-echo-only: true' with their own headers and body
    Echo,
    /// Sets x-request-digest: SHA-256 of x-tenant-id, method, path and body
    Digest,
    /// As digest, on the request only; written as functions
    Decorated,
    /// Checks that the request's body is its x-context-id, and sets that on the response
    Context,
    /// Does what the JSON in the header 'instructions' says; runs alone
    Sink,
}

pub(crate) async fn run(args: Args) -> Outcome {
    if args.list {
        for value in Name::value_variants().iter().filter_map(ValueEnum::to_possible_value) {
            let about = value.get_help().map(ToString::to_string).unwrap_or_default();
            crate::text::println(format_args!("{:<10} {about}", value.get_name()));
        }
        return Ok(());
    }
    let listen = args.listen.clone().unwrap_or_else(|| Listen::all(args.port));
    if args.names.contains(&Name::Sink) {
        if args.print_config.is_some() {
            return Err(Failure::usage("sink answers in any mode and has no needs that could be printed"));
        }
        if args.names.len() > 1 {
            return Err(Failure::usage("sink speaks the protocol itself and cannot be part of a chain; run it alone"));
        }
        let stop = shutdown::requested()?;
        let sink = Sink(Options { add_header: args.add_header, always_stream: args.always_stream });
        return Ok(raw::serve(sink, "sink", &listen, args.grace_period, stop).await?);
    }
    let reveal = Reveal::from_env()?;
    let samples: Vec<BoxProcessor> = args.names.iter().filter_map(|name| args.sample(*name, &reveal)).collect();
    let place = match &listen {
        // IPv6 sockets take IPv4 too; hosts without IPv6 have only the latter.
        Listen::Tcp { host, port } if host.is_empty() => match std::net::TcpListener::bind(("::", 0)) {
            Ok(_) => format!("[::]:{port}"),
            Err(_) => format!("0.0.0.0:{port}"),
        },
        other => other.to_string(),
    };
    let server = Server::new(samples).grace(args.grace_period).listen(place);
    if let Some(DataPlane::Envoy) = args.print_config {
        crate::text::print(format_args!("{}", server.envoy_config()));
        return Ok(());
    }
    let bound = server.bind().await?;
    let place = bound.local_addr().map_or_else(|| bound.address().to_string(), |addr| addr.port().to_string());
    raw::announce(&bound.name(), &place);
    bound.serve().await?;
    Ok(())
}

impl Args {
    /// A sample that is a [`Processor`](extproc::Processor).
    fn sample(&self, name: Name, reveal: &Reveal) -> Option<BoxProcessor> {
        Some(match name {
            Name::Noop => BoxProcessor::new(reveal.wrap_if_asked(Noop)),
            Name::Trivial => BoxProcessor::new(reveal.wrap(Trivial)),
            Name::Timer => BoxProcessor::new(reveal.wrap(Timer::new())),
            Name::Echo => BoxProcessor::new(reveal.wrap(Echo { bodiless: self.echo_bodiless })),
            Name::Digest => BoxProcessor::new(reveal.wrap(Digest)),
            Name::Decorated => BoxProcessor::new(reveal.wrap(decorated())),
            Name::Context => BoxProcessor::new(reveal.wrap(Context { always: self.empty_context_id })),
            Name::Sink => return None,
        })
    }
}

/// A chain of samples with their usual settings.
pub(crate) fn usual(names: &[Name]) -> Outcome<Vec<BoxProcessor>> {
    #[derive(Debug, clap::Parser)]
    struct Parser {
        #[command(flatten)]
        args: Args,
    }
    if names.contains(&Name::Sink) {
        return Err(Failure::usage("sink speaks the protocol itself and cannot run in this process; serve it"));
    }
    let Parser { args } = clap::Parser::try_parse_from(["serve", "noop"])?;
    let reveal = Reveal::from_env()?;
    Ok(names.iter().filter_map(|name| args.sample(*name, &reveal)).collect())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "write a number up to 65535 (in --port, or in the variable GRPC_PORT)".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| {
        "write seconds, as 5 or 0.5 (in --grace-period, or in the variable SHUTDOWN_GRACE_PERIOD)".to_owned()
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "write NAME:VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
