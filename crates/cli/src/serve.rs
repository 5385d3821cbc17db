//! `extproc serve`: sample processors as gRPC servers.

mod flags;

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use extproc::{BoxProcessor, DataPlane, OnError, Raw, Server, Settings, Stages};

use crate::failure::{Failure, Outcome};
use crate::listen::Listen;
use crate::sample::Reveal;
use crate::sample::registry::{self, Made, Sample};
use crate::sample::settings::{self, Setting};
use flags::Flags;

/// Run sample processors
///
/// Several names, separated by commas, run as a chain in one stream. --list tells what each does, and with a name what
/// its settings are. They add their names to the response header x-ext-procs-applied, unless REVEAL_EXTPROC_CHAIN says
/// no; EXTPROCS_APPLIED_HEADER gives it another name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  extproc serve --list\n  extproc serve digest,timer --listen 127.0.0.1:50051\n  \
                        extproc serve slow --set slow.delay=300ms --set slow.phase=response_headers\n  \
                        extproc serve sink --listen unix:/tmp/sink.sock")]
pub(crate) struct Args {
    /// Which samples, in request order
    #[arg(value_parser = registry::parser(), hide_possible_values = true, value_name = "NAME[,NAME...]", value_delimiter = ',', required_unless_present_any = ["list", "print_settings"])]
    names: Vec<&'static Sample>,
    /// Tell what the samples do; with names, what their settings are
    #[arg(long)]
    list: bool,
    /// A setting of a sample; several times for several, and for lists
    #[arg(long = "set", value_name = "SAMPLE.KEY=VALUE")]
    settings: Vec<Setting>,
    /// A YAML file of settings, for each sample a map of keys; --set wins over it, key by key
    #[arg(long, value_name = "PATH")]
    settings_file: Option<PathBuf>,
    /// What an error of a sample does, unless the sample says otherwise: fail the stream, as the data plane is
    /// configured for that, or skip the sample and let the rest of the chain go on
    #[arg(long, value_enum, value_name = "POLICY")]
    on_error: Option<ErrorPolicy>,
    /// Print a data plane's configuration that does what the named samples need, and do not serve
    #[arg(long, value_parser = data_plane(), value_name = "DATA_PLANE", conflicts_with = "list")]
    print_config: Option<DataPlane>,
    /// A YAML file of the server's settings, with the names of the flags below; flags and environment win over it
    #[arg(long = "settings", value_name = "FILE")]
    server_settings: Option<PathBuf>,
    /// Print the server's settings and where each came from, and do not serve
    #[arg(long, conflicts_with = "list")]
    print_settings: bool,
    #[command(flatten)]
    server: Flags,
    /// Where to serve metrics (/metrics) and readiness (/healthz, /readyz) over HTTP: HOST:PORT, or :PORT for all interfaces
    #[cfg(feature = "metrics")]
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<Listen>,
    /// Short for --set sink.add-header=NAME:VALUE
    #[arg(long, value_name = "NAME:VALUE")]
    add_header: Option<String>,
    /// Short for --set sink.always-stream=true
    #[arg(long)]
    always_stream: bool,
    /// Short for --set echo.bodiless=true
    #[arg(long)]
    echo_bodiless: bool,
    /// Short for --set context.always=true
    #[arg(long)]
    empty_context_id: bool,
}

/// What an error of a sample does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ErrorPolicy {
    /// End the stream; the data plane's failure mode decides
    Fail,
    /// Go on as if the sample were not there
    Skip,
}

pub(crate) async fn run(args: Args) -> Outcome {
    if args.list {
        match args.names.as_slice() {
            [] => crate::text::print(registry::list()),
            names => names.iter().for_each(|sample| crate::text::print(sample.usage())),
        }
        return Ok(());
    }
    let settings = args.server_settings()?;
    if args.print_settings {
        crate::text::print(settings);
        return Ok(());
    }
    let mut samples: Vec<BoxProcessor> = Vec::new();
    for (name, made) in args.make(&settings)? {
        match made {
            Made::Processor(processor) => samples.push(processor),
            Made::Raw(_) if args.print_config.is_some() => {
                return Err(Failure::usage(format!(
                    "{name} answers in any mode and has no needs that could be printed"
                )));
            }
            Made::Raw(_) if args.names.len() > 1 => {
                return Err(Failure::usage(format!(
                    "{name} speaks the protocol itself and cannot be part of a chain; run it alone"
                )));
            }
            Made::Raw(sample) => return args.serve(Raw::new(sample), &settings).await,
        }
    }
    args.serve(samples, &settings).await
}

/// An address with a host.
#[cfg(feature = "metrics")]
fn place(listen: &Listen) -> String {
    match listen {
        // IPv6 sockets take IPv4 too; hosts without IPv6 have only the latter.
        Listen::Tcp { host, port } if host.is_empty() => match std::net::TcpListener::bind(("::", 0)) {
            Ok(_) => format!("[::]:{port}"),
            Err(_) => format!("0.0.0.0:{port}"),
        },
        other => other.to_string(),
    }
}

impl Args {
    /// Serves, or prints the configuration of a data plane.
    async fn serve(&self, samples: impl Stages, settings: &Settings) -> Outcome {
        let server = Server::from_settings(samples, settings).map_err(Failure::usage)?;
        if let Some(data_plane) = self.print_config {
            crate::text::print(server.config_for(data_plane));
            return Ok(());
        }
        #[cfg(feature = "metrics")]
        let server = match &self.metrics_listen {
            Some(Listen::Unix(_)) => {
                return Err(Failure::usage("--metrics-listen takes HOST:PORT, or :PORT for all interfaces"));
            }
            Some(tcp) => server.metrics_listen(place(tcp)),
            None => server,
        };
        let bound = server.bind().await?;
        let place = bound.local_addr().map_or_else(|| bound.address().to_string(), |addr| addr.port().to_string());
        crate::text::println(format_args!("Starting Envoy ExternalProcessor \"{}\" at {place}", bound.name()));
        #[cfg(feature = "metrics")]
        if let Some(address) = bound.metrics_addr() {
            crate::text::println(format_args!("Metrics at http://{address}/metrics"));
        }
        bound.serve().await?;
        Ok(())
    }

    /// What the file of settings says of logs, which begin before anything else; what is wrong with it is told later.
    pub(crate) fn log_level(&self) -> Option<String> {
        self.server_settings().ok()?.values().log_level.clone()
    }

    /// Those of the server: flags, environment and file.
    fn server_settings(&self) -> Outcome<Settings> {
        self.server.settings(self.server_settings.as_deref())
    }

    /// The samples as the settings say, in request order.
    fn make(&self, settings: &Settings) -> Outcome<Vec<(&'static str, Made)>> {
        let file = self.settings_file.as_deref().map(settings::read).transpose()?.unwrap_or_default();
        let given = self.given()?;
        registry::check(&self.names, &given)?;
        let on_error = self.on_error.map(|policy| match policy {
            ErrorPolicy::Fail => OnError::Fail,
            ErrorPolicy::Skip => OnError::Skip,
        });
        let reveal = Reveal::of(settings).with_on_error(on_error);
        self.names.iter().map(|sample| Ok((sample.name, sample.make(&file, &given, &reveal)?))).collect()
    }

    /// What `--set` says, and the older flags.
    fn given(&self) -> Outcome<Vec<Setting>> {
        let add_header = self.add_header.as_ref().map(|header| format!("sink.add-header={header}"));
        let always_stream = self.always_stream.then(|| "sink.always-stream=true".to_owned());
        let bodiless = self.echo_bodiless.then(|| "echo.bodiless=true".to_owned());
        let always = self.empty_context_id.then(|| "context.always=true".to_owned());
        let short = [add_header, always_stream, bodiless, always].into_iter().flatten();
        let short = short.map(|text| text.parse().map_err(Failure::usage)).collect::<Outcome<Vec<Setting>>>()?;
        Ok(self.settings.iter().cloned().chain(short).collect())
    }
}

/// By name.
fn data_plane() -> impl TypedValueParser<Value = DataPlane> {
    let names = DataPlane::ALL.map(|it| PossibleValue::new(it.name()).help(it.about()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<DataPlane>())
}
