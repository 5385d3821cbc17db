//! `extproc gateway`: the reverse proxy.

use std::net::SocketAddr;
use std::path::PathBuf;

use extproc_gateway::config::ext_proc::BodyMode;
use extproc_gateway::config::{parse_body_mode, parse_listen};
use extproc_gateway::plan::Address;
use extproc_gateway::{Config, Gateway};

use crate::failure::{Failure, Outcome};
use crate::shutdown;

/// Run the gateway: a reverse proxy with external processors
///
/// With --config, as the file says. Without, everything that comes in at --listen passes --processor and goes to
/// --backend. Speaks HTTP/1.1 and cleartext HTTP/2.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  extproc gateway --config gateway.yaml\n  extproc gateway --config gateway.yaml \
                        --check\n  extproc gateway --listen :8080 --backend 127.0.0.1:8000 --processor \
                        127.0.0.1:50051 --body buffered")]
pub(crate) struct Args {
    /// The configuration, YAML or JSON
    #[arg(long, value_name = "FILE", required_unless_present = "backend")]
    config: Option<PathBuf>,
    /// Only check the configuration: exit code 0 or 2
    #[arg(long)]
    check: bool,
    /// Print the configuration with every default written out, as JSON, and do not serve
    #[arg(long)]
    print_effective: bool,
    /// Where to listen: IP:PORT, or :PORT for all addresses; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_listen, default_value = ":8080", conflicts_with = "config")]
    listen: SocketAddr,
    /// The upstream, HOST:PORT
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    backend: Option<Address>,
    /// The processor, HOST:PORT or unix:PATH; none if left out
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    processor: Option<Address>,
    /// How the processor gets both bodies: none, streamed or buffered
    #[arg(long, value_name = "MODE", value_parser = parse_body_mode, default_value = "none", conflicts_with = "config")]
    body: BodyMode,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let config = args.config()?;
    let plan = config.plan().map_err(Failure::usage)?;
    if args.print_effective {
        crate::text::println(config.effective().map_err(Failure::usage)?);
        return Ok(());
    }
    if args.check {
        crate::text::println(format_args!("{}: ok", args.name()));
        return Ok(());
    }
    let stop = shutdown::requested()?;
    let gateway = Gateway::bind(plan).await?;
    for address in (0..).map_while(|listener| gateway.local_addr(listener)) {
        crate::text::println(format_args!("gateway at http://{address}"));
    }
    gateway.serve_with_shutdown(stop).await;
    Ok(())
}

impl Args {
    fn config(&self) -> Outcome<Config> {
        match (&self.config, &self.backend) {
            (Some(path), _) => Config::load(path).map_err(|error| Failure::Usage(error.into())),
            (None, Some(backend)) => {
                Ok(Config::from_flags(self.listen, backend.clone(), self.processor.clone(), self.body))
            }
            (None, None) => Err(Failure::usage("give --config FILE, or --backend ADDR")),
        }
    }

    fn name(&self) -> String {
        self.config.as_ref().map_or_else(|| "command line".to_owned(), |path| path.display().to_string())
    }
}
