//! The scenario format: one exchange, what every party does in it, and what must come of it.
//!
//! A file holds a list of scenarios. Every part but `id` and `title` may be left out:
//!
//! ```yaml
//! - id: ENV-153
//!   title: A buffered request body is replaced by one of the same length
//!   config:                                   # fields of ExternalProcessor, without grpc_service
//!     processing_mode: { request_body_mode: BUFFERED, response_body_mode: BUFFERED }
//!   request: { method: POST, body: hello }    # default: GET /x
//!   upstream: { headers: { x-up: 1 }, body: hello }   # this is the default: 200, one header, one body
//!   processor:                                # default: an empty answer to every message
//!     request_body: { body: HELLO }
//!   expect:
//!     client: { status: 200, body: hello }
//!     upstream: { body: HELLO, headers: { content-length: 5 } }
//!     processor: [request_headers, request_body "hello" end, response_headers, response_body "hello" end]
//!     counters: { started: 1, sent: 4, received: 4, closed: 1 }
//! ```
//!
//! The types below document every key; an unknown key is an error that names file and line.

mod expect;
mod load;
mod script;
mod text;
mod variant;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use expect::{Expect, ExpectClient, ExpectUpstream};
pub use load::{Sources, load_dir, load_str};
pub use script::{
    Failure, HttpAnswer, Immediate, Kind, Mutation, Processor, Script, ServerWindowUpdate, SetHeader, Step,
    StreamedPart,
};
pub use text::{Fields, Millis, Payload};
pub use variant::{Column, Profile, Protocols};

use crate::target::TargetKind;

/// One exchange through the filter, told from all four sides.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The row of the catalogue that it proves, such as `ENV-003`; a suffix (`ENV-171-sh`) when a row needs several.
    pub id: String,
    /// What it shows, as a sentence.
    pub title: String,
    /// Where the file holds it; filled by the loader.
    #[serde(skip)]
    pub file: String,
    /// Envoy's `ExternalProcessor` without `grpc_service`, under Envoy's own names.
    #[serde(default = "empty_object")]
    pub config: serde_json::Value,
    /// Envoy's `GrpcService` but for where the processor is: `timeout`, `retry_policy`.
    #[serde(default = "empty_object")]
    pub grpc_service: serde_json::Value,
    /// There is no exchange: all that counts is whether the configuration loads. The transcript's field is `load`.
    #[serde(default)]
    pub load_only: bool,
    /// What more specific levels say: `ExtProcPerRoute` each. The processor is the cluster `processor`.
    #[serde(default)]
    pub per_route: PerRoute,
    /// How many bytes of a body the data plane may hold; default as the target has it, 1 MiB.
    pub buffer_limit: Option<u32>,
    /// Dynamic metadata that an earlier filter has set: a map for each namespace.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The versions of HTTP that it is run with, as pairs of client and upstream: a list of `h1`, `h2` (both), `h1-h2` and
    /// `h2-h1`, or `all`. It is one scenario for each; the id gets the pair as suffix, but for `h1`. Without it the keys
    /// `http` of request and upstream hold.
    #[serde(default)]
    pub protocol: Protocols,
    /// What comes of it under other profiles of our own engine than `envoy`: for each one more scenario, whose id gets the
    /// profile as suffix.
    #[serde(default)]
    pub profiles: BTreeMap<Profile, Column>,
    /// The profile that it runs under; filled by the loader.
    #[serde(skip)]
    pub profile: Profile,
    /// The client's part.
    #[serde(default)]
    pub request: Request,
    /// The upstream's part.
    #[serde(default)]
    pub upstream: Upstream,
    /// Routes tried before the one to `upstream`, which takes what is left.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The processor's part.
    #[serde(default)]
    pub processor: Processor,
    /// How the messages that the processor sees are compared.
    #[serde(default)]
    pub messages: Messages,
    /// Fields of the transcript (with everything below them) that are a race in Envoy itself, each with the reason. They
    /// are neither compared nor recorded.
    #[serde(default)]
    pub races: BTreeMap<String, String>,
    /// Targets that cannot run it, each with the reason.
    #[serde(default)]
    pub skip: BTreeMap<TargetKind, String>,
    /// Watch the side stream for so long after the client's response has ended, and tell when it was closed against
    /// that moment (`stream.closed`) and whether it was reset (`stream.reset`). Counters are read after it.
    pub watch: Option<Millis>,
    /// Close side streams gracefully: half-close, wait for the processor's end, reset after a second. On Envoy its
    /// runtime flag `ext_proc_graceful_grpc_close`.
    #[serde(default)]
    pub graceful_close: bool,
    /// Tell the filter's logging object (`logging`), as Envoy's access log prints it: measured times and counts of bytes
    /// as `n` unless they are zero, and the name of the processor as `scenario`.
    #[serde(default)]
    pub logging: bool,
    /// What must come of it on every target, by hand. Targets are compared with Envoy's transcript besides.
    #[serde(default)]
    pub expect: Expect,
}

/// What is attached to the levels of a route, under Envoy's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerRoute {
    /// The less specific one.
    pub virtual_host: Option<serde_json::Value>,
    /// The more specific one: the route to `upstream`.
    pub route: Option<serde_json::Value>,
}

/// What the client sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Default GET.
    pub method: String,
    /// Default `/x`.
    pub path: String,
    /// The Host header. Default `ex.com`.
    pub host: String,
    /// The version of HTTP, 1 or 2. Default 1.
    pub http: u8,
    /// Further headers.
    pub headers: Fields,
    /// A body of known length, sent in one write with the headers.
    pub body: Option<Payload>,
    /// A chunked body: one chunk after each `pause`, the terminator after another.
    pub chunks: Option<Vec<Payload>>,
    /// Default 50 ms.
    pub pause: Millis,
    /// Trailers; they need `chunks`.
    pub trailers: Fields,
    /// Never send the end of the body.
    pub unfinished: bool,
    /// Close the connection after this time, whatever came.
    pub give_up: Option<Millis>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/x".to_owned(),
            host: "ex.com".to_owned(),
            http: 1,
            headers: Fields::default(),
            body: None,
            chunks: None,
            pause: Millis(50),
            trailers: Fields::default(),
            unfinished: false,
            give_up: None,
        }
    }
}

/// What the upstream answers once it has the whole request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// Default 200.
    pub status: u16,
    /// Default `x-up: 1`. A content length is added for `body`.
    pub headers: Fields,
    /// A body of known length. Default `hello`, unless there are `chunks`.
    pub body: Option<Payload>,
    /// A chunked body: one chunk after each `pause`, the terminator after another; the first comes with the headers.
    pub chunks: Option<Vec<Payload>>,
    /// Default 50 ms.
    pub pause: Millis,
    /// Trailers; they need `chunks`.
    pub trailers: Fields,
    /// Wait so long before answering. Default 0.
    pub delay: Millis,
    /// Answer as soon as the request headers are there; the request body is read none the less.
    pub early: bool,
    /// Send a `103` first.
    pub hints: bool,
    /// Nothing listens there.
    pub unreachable: bool,
    /// No route leads there.
    pub unrouted: bool,
    /// The data plane waits so long for the response. Default 15 s, which no scenario reaches.
    pub timeout: Option<Millis>,
    /// The cluster's own metadata: a map for each namespace.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The version of HTTP, 1 or 2. Default 1.
    pub http: u8,
    /// Break off after the last chunk: close the connection, or with HTTP/2 reset the stream.
    pub cut: bool,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Fields(vec![("x-up".to_owned(), "1".to_owned())]),
            body: None,
            chunks: None,
            pause: Millis(50),
            trailers: Fields::default(),
            delay: Millis(0),
            early: false,
            hints: false,
            unreachable: false,
            unrouted: false,
            timeout: None,
            metadata: serde_json::Map::new(),
            http: 1,
            cut: false,
        }
    }
}

/// A route with conditions; all of them must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The path begins so.
    pub path_prefix: Option<String>,
    /// These headers have exactly these values.
    #[serde(default)]
    pub headers: Fields,
    /// Who answers there. The transcript's `upstream.route` tells which was contacted.
    pub upstream: Upstream,
}

/// How much the division of a body into messages matters.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Messages {
    /// Adjacent body messages of one direction count as one; the counters are compared.
    #[default]
    Merged,
    /// Message by message.
    Exact,
    /// Division depends on timing: merged, and the counters of messages are not compared.
    Free,
}

impl Scenario {
    /// Whether its processor is an HTTP service.
    #[must_use]
    pub fn has_http_service(&self) -> bool {
        self.config.get("http_service").is_some()
    }

    /// The upstream of a route, counted from 1; 0 is the last resort.
    #[must_use]
    pub fn upstream(&self, route: usize) -> &Upstream {
        route.checked_sub(1).map_or(&self.upstream, |index| &self.routes[index].upstream)
    }
}

impl Request {
    /// Whether it has no body and no trailers.
    #[must_use]
    pub const fn is_headers_only(&self) -> bool {
        self.body.is_none() && self.chunks.is_none()
    }
}

impl Upstream {
    /// The body of known length: the default `hello` when neither `body` nor `chunks` is given.
    #[must_use]
    pub fn whole_body(&self) -> Option<Vec<u8>> {
        match (&self.body, &self.chunks) {
            (Some(body), _) => Some(body.bytes()),
            (None, None) => Some(b"hello".to_vec()),
            (None, Some(_)) => None,
        }
    }
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}
