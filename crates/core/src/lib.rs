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
//! * [`session::Session`]: the other end, one exchange seen from the processor.
//! * [`chain::FilterChain`]: filters in a row, the local replies between them, and the rule who may still answer.
//!   This is what a data plane drives, also with one filter or none.
//! * [`pair::Pair`]: both ends joined in memory under a virtual clock, for tests.

#![warn(clippy::wildcard_enum_match_arm)]

pub mod chain;
pub mod config;
pub mod filter;
pub mod headers;
pub mod local_reply;
pub mod mode;
mod mutation;
pub mod pair;
pub mod rules;
pub mod session;
pub mod stats;
pub mod violation;
mod wire;

pub use chain::FilterChain;
pub use config::{Config, ConfigError, Options};
pub use headers::Headers;
pub use local_reply::{LocalReply, RequestKind};
pub use mode::{BodyMode, Direction, ProcessingMode};
pub use session::Session;
pub use stats::Stats;
pub use violation::Violation;
