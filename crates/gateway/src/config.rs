//! The gateway's configuration as people write it.
//!
//! ```
//! # use extproc_gateway::config::Config;
//! let config = Config::parse(
//!     r#"
//! gateways: [{ name: main, listeners: [{ name: http, port: 8080 }] }]
//! backends: [{ name: app, endpoints: [{ address: 127.0.0.1:8000 }] }]
//! routes: [{ name: all, rules: [{ backend_refs: [{ name: app }] }] }]
//! policies:
//!   - name: edge
//!     target_refs: [{ kind: Gateway, name: main }]
//!     ext_proc: [{ name: sink, processor: { address: 127.0.0.1:18080 }, message_timeout: 0.5s }]
//! "#,
//!     "gateway.yaml",
//! )?;
//! let plan = config.plan()?;
//! assert_eq!(plan.routes.select(0, "www.example.com", "/").map(|it| it.chain.len()), Some(1));
//! # Ok::<_, extproc_gateway::config::ConfigErrors>(())
//! ```
//!
//! `docs/configuration.md` tells every key.

mod at;
mod attributes;
mod effective;
mod error;
pub mod ext_proc;
pub mod file;
pub mod forward_rules;
mod grpc_service;
mod http_service;
pub mod metadata;
mod mutation_rules;
mod per_route;
mod processing_mode;
mod processor;
mod resolve;
mod scalar;

pub use at::{At, Position};
pub use error::{ConfigErrors, LoadError, Problem, Problems};
pub use file::File;
pub use processor::{InlineProcessor, Processor, ProcessorEndpoint, ProcessorRef};
pub use scalar::{Pattern, Size, Status, Time};

use std::net::SocketAddr;
use std::path::Path;

use crate::plan::{Address, Plan};
use ext_proc::{BodyMode, ExtProc, ProcessingMode, SendMode};

/// A configuration that was read, but not yet resolved.
#[derive(Clone, Debug)]
pub struct Config {
    file: File,
    /// For messages.
    name: String,
    text: String,
}

impl Config {
    /// Reads a file, YAML or JSON.
    ///
    /// # Errors
    /// The file cannot be read, or as [`parse`](Self::parse).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let file = path.as_ref().display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { file: file.clone(), source })?;
        Ok(Self::parse(text, &file)?)
    }

    /// Reads a text, YAML or JSON. `name` is what messages call it.
    ///
    /// # Errors
    /// The first thing that cannot be read: not YAML, an unknown key, a value of another type.
    pub fn parse(text: impl Into<String>, name: &str) -> Result<Self, ConfigErrors> {
        let text = text.into();
        match serde_saphyr::from_str(&text) {
            Ok(file) => Ok(Self { file, name: name.to_owned(), text }),
            Err(error) => Err(ConfigErrors::new(name, &text, Problems(vec![error::problem(&error)]))),
        }
    }

    /// The zero-config form: everything that comes in passes the processor, if there is one, and goes to the backend.
    ///
    /// Both bodies are sent to the processor in the same mode.
    #[must_use]
    pub fn from_flags(listen: SocketAddr, backend: Address, processor: Option<Address>, body: BodyMode) -> Self {
        let trailers = (body == BodyMode::FullDuplexStreamed).then(|| SendMode::Send.into());
        let entry = |address: Address| {
            let inline = InlineProcessor { address: address.into(), connect_timeout: None };
            let mut entry = ExtProc::default();
            entry.name = Some("processor".to_owned().into());
            entry.processor = Some(ProcessorRef::Inline(inline).into());
            entry.processing_mode = Some(ProcessingMode {
                request_body_mode: Some(body.into()),
                response_body_mode: Some(body.into()),
                request_trailer_mode: trailers,
                response_trailer_mode: trailers,
                ..ProcessingMode::default()
            });
            entry
        };
        let file = File::simple(listen, backend, processor.map(entry));
        Self { file, name: "command line".to_owned(), text: String::new() }
    }

    /// What was read.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Resolves names and fills in defaults.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn plan(&self) -> Result<Plan, ConfigErrors> {
        resolve::plan(&self.file).map_err(|problems| ConfigErrors::new(&self.name, &self.text, problems))
    }

    /// The configuration with every default written out, as JSON (which is YAML too). Reading it again gives the same
    /// plan. Entries that override others keep saying only what they override.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn effective(&self) -> Result<String, ConfigErrors> {
        self.plan()?;
        let file = effective::filled(&self.file);
        serde_json::to_string_pretty(&file).map_err(|error| {
            let problem = Problem { message: error.to_string(), position: None };
            ConfigErrors::new(&self.name, &self.text, Problems(vec![problem]))
        })
    }
}

/// Reads the address of a listener: `127.0.0.1:8080`, or `:8080` for all addresses of the machine.
///
/// # Errors
/// Says what it should look like.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let all: Option<u16> = text.strip_prefix(':').and_then(|port| port.parse().ok());
    let address = all.map(|port| SocketAddr::new(resolve::ANY_ADDRESS, port)).or_else(|| text.parse().ok());
    address.ok_or_else(|| format!("`{text}` is no address to listen on; write `127.0.0.1:8080` or `:8080`"))
}

/// Reads a body mode as people say it: as in the file, or `full-duplex` for short.
///
/// # Errors
/// Names the modes.
pub fn parse_body_mode(text: &str) -> Result<BodyMode, String> {
    if text.eq_ignore_ascii_case("full-duplex") { Ok(BodyMode::FullDuplexStreamed) } else { text.parse() }
}
