//! The async shell around `extproc-core`.
//!
//! The core decides, this crate carries: it moves headers, bodies and messages between sockets and the state machines
//! of [`extproc_core`], and keeps their deadlines.
//!
//! ```text
//!   client -- Request<B> --> process() ------------------------------> upstream: Service<Request<RequestBody<B>>>
//!                               |  driver: one loop, no task until
//!                               |  something must go on without the client
//!                               v
//!                          FilterChain  <-- messages --> SideStream, one HTTP/2 stream for each filter
//!                               |
//!   client <-- Response<ResponseBody<UB>> ---------------------------- Response<UB>
//! ```
//!
//! * [`http::process`]: one exchange through a chain of filters; [`http::ExtProc`]: the same as a service around
//!   another one. The gateway uses it, and so can any hyper or tower application.
//! * `grpc` (feature `grpc`): layers for tonic clients and servers, as gRFC A93 has it.
//! * [`processor::Processor`]: where a processor is, and the connections to it.
//! * [`metrics::Counters`]: what a filter counted over all exchanges.
//! * [`Facts`]: what attributes tell of an exchange besides its headers.
//! * [`headers`]: between `http`'s header maps and the core's.
//!
//! Back-pressure goes end to end: a body is read only while the filters want it, and passed on only when it is asked
//! for.

mod body;
mod driver;
pub mod facts;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod headers;
pub mod http;
pub mod metrics;
pub mod processor;
mod request_body;
mod response_body;
mod shared;

pub use body::Cut;
pub use facts::{Facts, UpstreamAddress};
pub use http::{ExtProc, Filter, Refusal, process};
pub use metrics::Counters;
pub use processor::{Endpoint, HttpService, Processor};
pub use request_body::RequestBody;
pub use response_body::ResponseBody;
