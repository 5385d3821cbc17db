//! The command line of `extproc call`.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::ValueEnum;
use extproc::testing::{Exchange, Plan};
use extproc_core::{BodyMode, Config, Options, ProcessingMode, Profile};
use extproc_proto::prost_types;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use super::exchange;
use crate::{peer, value};

/// Play the data plane against a processor and print the conversation
///
/// Sends one request to the processor as Envoy would, then the response of an upstream that the options describe.
/// Prints every message and its answer, then the request as the upstream and the response as the client would get it.
/// Exit code 1 when the processor cannot be reached or broke the protocol.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  extproc call 127.0.0.1:50051 -X PUT -H 'x-tenant-id: acme' -d '{\"hello\":\"hi\"}' \
                  --mode buffered /something\n  extproc call 127.0.0.1:50051 -d hello --all-modes --chunk 1,3,rest /\n  \
                  extproc call unix:/run/extproc.sock -d hello --mode streamed --step\n  extproc call 127.0.0.1:50051 \
                  --mode grpc --message hello --response-message hi /pkg.Greeter/Hello"
)]
pub(crate) struct Args {
    /// The processor: HOST:PORT or unix:PATH
    #[arg(value_name = "ADDR")]
    pub(super) address: String,
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
    /// gRPC message of the request's body, @FILE reads it from a file; may be repeated. Puts it in a frame, and sets
    /// POST and the content type application/grpc unless they are given
    #[arg(long = "message", value_name = "MESSAGE", conflicts_with = "data")]
    messages: Vec<String>,
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
    /// gRPC message of the response's body, as --message
    #[arg(long = "response-message", value_name = "MESSAGE", conflicts_with = "response_data")]
    response_messages: Vec<String>,
    /// Trailer of the upstream's response; may be repeated. Sends trailers to the processor
    #[arg(long = "response-trailer", value_name = "NAME: VALUE")]
    response_trailers: Vec<String>,
    /// Body mode of both directions [default: none; of the profile agentgateway, full-duplex-streamed]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Body mode of the request
    #[arg(long, value_enum)]
    request_mode: Option<Mode>,
    /// Body mode of the response
    #[arg(long, value_enum)]
    response_mode: Option<Mode>,
    /// Play the exchange once in each body mode of HTTP
    #[arg(long, conflicts_with_all = ["mode", "request_mode", "response_mode"])]
    pub(super) all_modes: bool,
    /// Do not send the request headers
    #[arg(long)]
    skip_request_headers: bool,
    /// Do not send the response headers
    #[arg(long)]
    skip_response_headers: bool,
    /// Cut bodies into pieces: of this many bytes, or of several sizes, as 1,3,rest
    #[arg(long, value_name = "BYTES[,BYTES...]", default_value = "16384", value_parser = Chunks::parse)]
    chunk: Chunks,
    /// Cut the response's body otherwise
    #[arg(long, value_name = "BYTES[,BYTES...]", value_parser = Chunks::parse)]
    response_chunk: Option<Chunks>,
    /// The upstream begins to answer when it has the request's headers
    #[arg(long)]
    early_response: bool,
    /// Attribute for the first message; the value is JSON, or text; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair)]
    attributes: Vec<(String, prost_types::Value)>,
    /// Dynamic metadata of the data plane; the value is JSON, or text; may be repeated
    #[arg(long = "metadata", value_name = "NAMESPACE:KEY=VALUE", value_parser = namespaced)]
    metadata: Vec<(String, String, prost_types::Value)>,
    /// Metadata of the gRPC stream; may be repeated
    #[arg(long = "grpc-metadata", value_name = "NAME: VALUE")]
    grpc_metadata: Vec<String>,
    /// Whose reading of the protocol is followed [default: envoy; grpc with a body mode grpc, which Envoy does not have]
    #[arg(long, value_enum)]
    profile: Option<ProfileName>,
    /// How long the processor may take for one answer, as 200ms or 1.5s
    #[arg(long, default_value = "200ms", value_parser = peer::duration)]
    timeout: Duration,
    /// The longest timeout that the processor may ask for
    #[arg(long, default_value = "0s", value_parser = peer::duration)]
    max_timeout: Duration,
    /// Go on without the processor when it fails (failure_mode_allow)
    #[arg(long)]
    fail_open: bool,
    /// Send copies, wait for no answer and ignore those that come (observability_mode); of bodies only streamed ones go
    #[arg(long)]
    observability: bool,
    /// Let the processor change the mode
    #[arg(long)]
    allow_mode_override: bool,
    /// Treat an immediate response as an error
    #[arg(long)]
    disable_immediate_response: bool,
    /// Send streamed bodies while the headers wait for their answer
    #[arg(long)]
    send_body_without_waiting: bool,
    /// Let the processor set content-length in every body mode
    #[arg(long)]
    allow_content_length_header: bool,
    /// Show each message before it is sent, and ask whether to go on; time stands still meanwhile
    #[arg(long)]
    pub(super) step: bool,
    /// Print the exchange as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) tls: peer::Tls,
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

/// The body modes of HTTP.
pub(super) const ALL: [BodyMode; 5] =
    [BodyMode::None, BodyMode::Streamed, BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::FullDuplexStreamed];

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    Envoy,
    Agentgateway,
    Grpc,
    Strict,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Envoy => Self::Envoy,
            ProfileName::Agentgateway => Self::Agentgateway,
            ProfileName::Grpc => Self::Grpc,
            ProfileName::Strict => Self::Strict,
        }
    }
}

/// How a body is cut into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Chunks {
    Even(usize),
    /// What is left is one more piece.
    Sizes(Vec<usize>),
}

impl Chunks {
    fn parse(text: &str) -> Result<Self, String> {
        let hint = || "write a number of bytes, or several with commas, as 1,3,rest".to_owned();
        let size = |text: &str| text.parse().ok().filter(|size| *size > 0).ok_or_else(hint);
        if let Ok(size) = size(text) {
            return Ok(Self::Even(size));
        }
        let list = text.strip_suffix(",rest").unwrap_or(text);
        list.split(',').map(size).collect::<Result<_, _>>().map(Self::Sizes)
    }

    fn cut(&self, plan: Plan) -> Plan {
        match self {
            Self::Even(size) => {
                let whole = plan.whole_body().len() / size;
                plan.chunks(std::iter::repeat_n(*size, whole))
            }
            Self::Sizes(sizes) => plan.chunks(sizes.iter().copied()),
        }
    }
}

impl Args {
    /// The filter; `mode` takes the place of what the flags say.
    pub(super) fn config(&self, mode: Option<BodyMode>) -> Result<Config, extproc_core::ConfigError> {
        let grpc = [self.mode, self.request_mode, self.response_mode].iter().any(|it| matches!(it, Some(Mode::Grpc)));
        let profile = self.profile.unwrap_or(if grpc { ProfileName::Grpc } else { ProfileName::Envoy });
        let usual = Options::of(profile.into());
        let body = |own: Option<Mode>, usual| mode.or_else(|| own.or(self.mode).map(BodyMode::from)).unwrap_or(usual);
        let request_body = body(self.request_mode, usual.processing_mode.request_body);
        let response_body = body(self.response_mode, usual.processing_mode.response_body);
        // A processor of such a body must see the trailers, or it cannot know where the body ends.
        let ends = |mode| mode == BodyMode::FullDuplexStreamed;
        let processing_mode = ProcessingMode {
            request_headers: !self.skip_request_headers,
            response_headers: !self.skip_response_headers,
            request_body,
            response_body,
            request_trailers: !self.trailers.is_empty() || ends(request_body),
            response_trailers: !self.response_trailers.is_empty()
                || ends(response_body)
                || response_body == BodyMode::Grpc,
        };
        Config::new(Options {
            processing_mode,
            message_timeout: self.timeout,
            max_message_timeout: self.max_timeout,
            failure_mode_allow: self.fail_open,
            observability_mode: self.observability,
            allow_mode_override: self.allow_mode_override,
            disable_immediate_response: self.disable_immediate_response,
            send_body_without_waiting_for_header_response: self.send_body_without_waiting,
            allow_content_length_header: self.allow_content_length_header,
            ..usual
        })
    }

    /// Both sides, and what the data plane tells about them.
    pub(super) fn exchange(&self) -> anyhow::Result<Exchange> {
        let response = self.response_chunk.as_ref().unwrap_or(&self.chunk).cut(self.response()?);
        let response = if self.early_response { response.early() } else { response };
        let mut exchange = Exchange::new(self.chunk.cut(self.request()?)).answered(response);
        for (name, value) in &self.attributes {
            exchange = exchange.attribute(name.clone(), value.clone());
        }
        for (namespace, key, value) in &self.metadata {
            exchange = exchange.metadata(namespace.clone(), key.clone(), value.clone());
        }
        Ok(exchange)
    }

    pub(super) fn grpc_metadata(&self) -> anyhow::Result<MetadataMap> {
        let mut map = MetadataMap::new();
        for line in &self.grpc_metadata {
            let (name, value) =
                line.split_once(':').with_context(|| format!("{line:?} is no gRPC metadata; write 'name: value'"))?;
            let name: AsciiMetadataKey =
                name.trim().to_ascii_lowercase().parse().with_context(|| format!("{line:?}: not a name"))?;
            let value: AsciiMetadataValue = value.trim().parse().with_context(|| format!("{line:?}: not a value"))?;
            map.append(name, value);
        }
        Ok(map)
    }

    fn request(&self) -> anyhow::Result<Plan> {
        let data = self.data.as_deref().map(body).transpose()?.unwrap_or_default();
        let usual = if self.data.is_some() || !self.messages.is_empty() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(usual);
        let plan = exchange::request(method, &self.url, &self.headers, data, &self.trailers)?;
        framed(plan, &self.messages)
    }

    fn response(&self) -> anyhow::Result<Plan> {
        let data = if self.response_messages.is_empty() { body(&self.response_data)? } else { Bytes::new() };
        let plan = exchange::response(self.status, &self.response_headers, data, &self.response_trailers)?;
        framed(plan, &self.response_messages)
    }
}

/// The plan with gRPC messages for a body, if there are any.
fn framed(plan: Plan, messages: &[String]) -> anyhow::Result<Plan> {
    if messages.is_empty() {
        return Ok(plan);
    }
    let messages = messages.iter().map(|message| body(message)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(plan.messages(messages))
}

fn body(text: &str) -> anyhow::Result<Bytes> {
    match text.strip_prefix('@') {
        Some(path) => Ok(std::fs::read(path).with_context(|| format!("cannot read the body from {path}"))?.into()),
        None => Ok(text.to_owned().into()),
    }
}

fn pair(text: &str) -> Result<(String, prost_types::Value), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value::to_proto(value::json_or_text(value))))
}

fn namespaced(text: &str) -> Result<(String, String, prost_types::Value), String> {
    let hint = || "write NAMESPACE:KEY=VALUE".to_owned();
    let (namespace, rest) = text.split_once(':').ok_or_else(hint)?;
    let (key, value) = pair(rest).map_err(|_| hint())?;
    Ok((namespace.to_owned(), key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        for (text, expected) in [
            ("5", Some(Chunks::Even(5))),
            ("1,3,rest", Some(Chunks::Sizes(vec![1, 3]))),
            ("1,3", Some(Chunks::Sizes(vec![1, 3]))),
            ("0", None),
            ("rest", None),
            ("1,x", None),
            ("", None),
        ] {
            assert_eq!(Chunks::parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn metadata() {
        let (namespace, key, value) = namespaced("ns:k={\"a\": [1]}").expect("valid");
        assert_eq!((namespace.as_str(), key.as_str()), ("ns", "k"));
        assert_eq!(value::of_proto(&value), serde_json::json!({"a": [1]}));
        assert_eq!(pair("k=plain text").map(|(_, value)| value::of_proto(&value)), Ok("plain text".into()));
        assert!(namespaced("k=v").is_err() && namespaced("ns:k").is_err() && pair("k").is_err());
    }
}
