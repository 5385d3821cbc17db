//! The sample processors: the examples of the Python SDK, what processors are usually written for, and the sink.
//!
//! One file each, to copy from. What the command line says to them: [`settings`]; their names: [`registry`].

mod api_key;
mod compress;
mod context;
mod cookie;
mod countdown;
mod decorated;
mod dedup;
mod digest;
mod dynamic_forwarding;
mod echo;
mod endpoint_picker;
mod event_filter;
mod expiring;
mod grpc;
mod headers;
mod idempotency;
mod json_mask;
mod jwt;
mod logger;
mod noop;
mod normalise;
mod redirect;
pub(crate) mod registry;
mod reveal;
mod rewrite;
pub(crate) mod settings;
pub(crate) mod sink;
mod slow;
mod stopwatch;
mod timer;
mod trivial;
mod upper;
mod waf;

use api_key::ApiKey;
use compress::Compress;
pub(crate) use context::Context;
use cookie::Cookie;
use countdown::Countdown;
pub(crate) use decorated::decorated;
use dedup::Dedup;
pub(crate) use digest::Digest;
use dynamic_forwarding::DynamicForwarding;
pub(crate) use echo::Echo;
use endpoint_picker::EndpointPicker;
use event_filter::EventFilter;
use grpc::GrpcRewrite;
use headers::Headers;
use idempotency::Idempotency;
use json_mask::JsonMask;
use jwt::Jwt;
use logger::Logger;
pub(crate) use noop::Noop;
use normalise::Normalise;
use redirect::Redirect;
pub(crate) use reveal::Reveal;
use rewrite::Rewrite;
pub(crate) use timer::Timer;
pub(crate) use trivial::Trivial;
use upper::Upper;
use waf::Waf;

/// The longest body that a sample takes whole. Data planes hold 1 MiB by default.
const BODY_LIMIT: usize = 16 << 20;

/// The words that the Python SDK takes for yes.
fn is_on(word: &str) -> bool {
    matches!(word, "t" | "T" | "true" | "True" | "y" | "Y" | "yes" | "Yes")
}
