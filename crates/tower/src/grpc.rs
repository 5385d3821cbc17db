//! External processing inside gRPC (gRFC A93): layers around tonic clients and servers.
//!
//! ```text
//! client code -> ExtProcClientLayer -> Channel             ExtProcServerLayer -> router of services
//!                        |                                         |
//!                        +---- one stream for each call -----------+---> processor
//! ```
//!
//! [`Call`](extproc_core::call::Call) decides, a task for each call carries: messages, not bytes, so that a processor sees
//! whole messages, however the transport cuts them. Calls that are not gRPC pass untouched.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use extproc_core::call::{Config, Options};
//! use extproc_core::{BodyMode, ProcessingMode};
//! use extproc_tower::grpc::ExtProcServerLayer;
//! use extproc_tower::{Endpoint, Processor};
//!
//! let mode = ProcessingMode { request_body: BodyMode::Grpc, ..ProcessingMode::default() };
//! let config = Config::new(Options { processing_mode: mode, ..Options::default() })?;
//! let processor = Processor::new([Endpoint::Tcp("127.0.0.1".to_owned(), 50051)], Duration::from_secs(1));
//! let layer = ExtProcServerLayer::new(Arc::new(config), processor);
//! # Ok::<(), extproc_core::call::ConfigError>(())
//! ```

mod coding;
mod driver;
mod layer;
mod settings;
mod slot;
mod source;
mod status;

pub use layer::{ExtProcClientLayer, ExtProcServerLayer, ExtProcService};
pub use settings::{Observer, Settings};
