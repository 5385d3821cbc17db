//! External processing (ext_proc) as pure state machines.
//!
//! Nothing here waits, spawns, locks, reads a clock or touches a socket. The caller feeds events together with the
//! current time and drains *outlets*:
//!
//! ```text
//!             HttpEvent, StreamEvent, handle_timeout            (in, all take `now`)
//!                               |
//!                        +------v------+
//!  poll_effect  <--------|             |--------> poll_send           to the processor
//!  poll_timeout <--------| FilterChain |--------> poll_forward(Request)   to the upstream
//!                        |             |--------> poll_forward(Response)  to the client
//!                        +-------------+          wants(direction): may more body be read?
//! ```
//!
//! * [`filter::Filter`]: one ext_proc filter on one HTTP exchange, with the behaviour of Envoy 1.40.
//! * [`call::Call`]: the same for a gRPC call, as gRFC A93 has it.
//! * [`session::Session`]: the other end, one exchange seen from the processor.
//! * [`chain::FilterChain`]: filters in a row, the local replies between them, and the rule who may still answer.
//!   This is what a data plane drives, also with one filter or none.
//! * [`pair::Pair`]: both ends joined in memory under a virtual clock, for tests.
//!
//! One filter with the default configuration asks its processor about the request headers, and lets them go when the
//! answer is there:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use extproc_core::chain::Effect;
//! use extproc_core::filter::{Forward, HttpEvent, Outgoing, StreamEvent};
//! use extproc_core::headers::{Headers, Name, Value};
//! use extproc_core::{Config, Direction, FilterChain, Options};
//! use extproc_proto::processing_response::Response;
//! use extproc_proto::{HeadersResponse, ProcessingResponse};
//!
//! let config = Arc::new(Config::new(Options::default())?);
//! let mut chain = FilterChain::new([config]);
//! let now = Instant::now();
//!
//! let mut headers = Headers::new();
//! headers.append(Name::from_static(":method"), Value::from_static("GET"));
//! headers.append(Name::from_static(":path"), Value::from_static("/"));
//! chain.handle_http(now, Direction::Request, HttpEvent::Headers(headers.clone(), true))?;
//!
//! assert_eq!(chain.poll_effect(), Some(Effect::OpenStream(0)));
//! assert!(matches!(chain.poll_send(0), Some(Outgoing::Message(_))));
//! assert_eq!(chain.poll_forward(Direction::Request), None, "held until the processor answers");
//! let (deadline, ..) = chain.poll_timeout().expect("an answer is owed");
//! assert_eq!(deadline, now + Options::default().message_timeout);
//!
//! let answer = ProcessingResponse {
//!     response: Some(Response::RequestHeaders(HeadersResponse::default())),
//!     ..ProcessingResponse::default()
//! };
//! chain.handle_stream(now, 0, StreamEvent::Reply(Box::new(answer)));
//! assert_eq!(chain.poll_forward(Direction::Request), Some(Forward::Headers(headers, true)));
//! assert_eq!(chain.poll_timeout(), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(clippy::wildcard_enum_match_arm)]

mod attributes;
pub mod call;
pub mod chain;
pub mod config;
pub mod filter;
pub mod headers;
pub mod local_reply;
pub mod logging;
pub mod metadata;
pub mod mode;
mod mutation;
pub mod overrides;
pub mod pair;
mod profile;
pub mod rules;
pub mod session;
pub mod stats;
pub mod violation;
mod wire;

pub use attributes::{Attribute, InvalidExpression, NamedAttribute};
pub use chain::FilterChain;
pub use config::{Config, ConfigError, Options};
pub use headers::Headers;
pub use local_reply::{LocalReply, RequestKind};
pub use logging::LoggingInfo;
pub use metadata::{DynamicMetadata, MetadataOptions};
pub use mode::{BodyMode, Direction, ProcessingMode};
pub use profile::Profile;
pub use session::Session;
pub use stats::Stats;
pub use violation::Violation;
