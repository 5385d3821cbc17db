//! `extproc call`: one exchange with a processor, played by the same engine as the gateway's.

mod exchange;
mod report;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::ValueEnum;
use extproc::testing::{Exchange, Plan};
use extproc_core::{BodyMode, Config, Options, ProcessingMode};
use tonic::metadata::MetadataMap;

use crate::dialogue::{self, story};
use crate::failure::{Failure, Outcome};
use crate::peer;
use crate::text::YELLOW;

/// Play the data plane against a processor and print the conversation
///
/// Sends one request to the processor as Envoy would, then the response of an upstream that the options describe.
/// Prints every message and its answer, then the request as the upstream and the response as the client would get it.
/// Exit code 1 when the processor cannot be reached or broke the protocol.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  extproc call 127.0.0.1:50051 -X PUT -H 'x-tenant-id: acme' -d '{\"hello\":\"hi\"}' \
                        --mode buffered /something"
)]
pub(crate) struct Args {
    /// The processor: HOST:PORT or unix:PATH
    #[arg(value_name = "ADDR")]
    address: String,
    /// Path with query, or a whole http URL
    #[arg(default_value = "/")]
    url: String,
    /// Method [default: GET, or POST with --data]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// Request header; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Request body; @FILE reads it from a file
    #[arg(short = 'd', long = "data", value_name = "BODY")]
    data: Option<String>,
    /// Request trailer; may be repeated. Sends trailers to the processor
    #[arg(long = "trailer", value_name = "NAME: VALUE")]
    trailers: Vec<String>,
    /// Status of the upstream's response
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// Header of the upstream's response; may be repeated
    #[arg(long = "response-header", value_name = "NAME: VALUE")]
    response_headers: Vec<String>,
    /// Body of the upstream's response; @FILE reads it from a file, "" means none
    #[arg(long, value_name = "BODY", default_value = "Hello")]
    response_data: String,
    /// Trailer of the upstream's response; may be repeated. Sends trailers to the processor
    #[arg(long = "response-trailer", value_name = "NAME: VALUE")]
    response_trailers: Vec<String>,
    /// Body mode of both directions
    #[arg(long, value_enum, default_value = "none")]
    mode: Mode,
    /// Body mode of the request
    #[arg(long, value_enum)]
    request_mode: Option<Mode>,
    /// Body mode of the response
    #[arg(long, value_enum)]
    response_mode: Option<Mode>,
    /// Do not send the request headers
    #[arg(long)]
    skip_request_headers: bool,
    /// Do not send the response headers
    #[arg(long)]
    skip_response_headers: bool,
    /// Cut bodies into pieces of this many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16384)]
    chunk: usize,
    /// How long the processor may take for one answer, as 200ms or 1.5s
    #[arg(long, default_value = "200ms", value_parser = peer::duration)]
    timeout: Duration,
    /// Go on without the processor when it fails (failure_mode_allow)
    #[arg(long)]
    fail_open: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    None,
    Streamed,
    Buffered,
    BufferedPartial,
    FullDuplexStreamed,
    Grpc,
}

impl From<Mode> for BodyMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::None => Self::None,
            Mode::Streamed => Self::Streamed,
            Mode::Buffered => Self::Buffered,
            Mode::BufferedPartial => Self::BufferedPartial,
            Mode::FullDuplexStreamed => Self::FullDuplexStreamed,
            Mode::Grpc => Self::Grpc,
        }
    }
}

pub(crate) async fn run(args: Args) -> Outcome {
    let config = args.config().map_err(Failure::usage)?;
    let request = args.request().map_err(Failure::Usage)?;
    let response = args.response().map_err(Failure::Usage)?;
    let processor = peer::connect(&args.address).await?;
    let exchange = Exchange::new(request).answered(response);
    let log = dialogue::play(&Arc::new(config), &exchange, &processor, &MetadataMap::new(), None).await?;
    crate::text::print(story::render(&log));
    for warning in report::warnings(&log) {
        crate::text::println(format_args!("{YELLOW}warning:{YELLOW:#} {warning}"));
    }
    match report::verdict(&log) {
        Some(broken) => Err(Failure::Ran(anyhow::Error::msg(broken))),
        None => Ok(()),
    }
}

impl Args {
    fn config(&self) -> Result<Config, extproc_core::ConfigError> {
        let processing_mode = ProcessingMode {
            request_headers: !self.skip_request_headers,
            response_headers: !self.skip_response_headers,
            request_body: self.request_mode.unwrap_or(self.mode).into(),
            response_body: self.response_mode.unwrap_or(self.mode).into(),
            request_trailers: !self.trailers.is_empty(),
            response_trailers: !self.response_trailers.is_empty(),
        };
        Config::new(Options {
            processing_mode,
            message_timeout: self.timeout,
            failure_mode_allow: self.fail_open,
            ..Options::default()
        })
    }

    fn request(&self) -> anyhow::Result<Plan> {
        let body = self.data.as_deref().map(body).transpose()?.unwrap_or_default();
        let usual = if self.data.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(usual);
        exchange::request(method, &self.url, &self.headers, body, &self.trailers)
    }

    fn response(&self) -> anyhow::Result<Plan> {
        exchange::response(self.status, &self.response_headers, body(&self.response_data)?, &self.response_trailers)
    }
}

fn body(text: &str) -> anyhow::Result<Bytes> {
    match text.strip_prefix('@') {
        Some(path) => Ok(std::fs::read(path).with_context(|| format!("cannot read the body from {path}"))?.into()),
        None => Ok(text.to_owned().into()),
    }
}
