//! Write an Envoy external processor (ext_proc) in ten lines.
//!
//! A data plane (Envoy, agentgateway, gRPC, a load balancer) opens a gRPC stream for each HTTP exchange, sends headers,
//! body and trailers as configured, and does what comes back. A *processor* is the other end:
//!
//! ```
//! use extproc::{Open, Processor, RequestHead, Server, Skip, Start, Stop};
//!
//! struct Stamp;
//!
//! impl Processor for Stamp {
//!     type Ctx = ();              // state of one exchange
//!     type RequestBody = Skip;    // wants no bodies
//!     type ResponseBody = Skip;
//!     fn open(&self, _: &Open) {}
//!     async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
//!         req.set("x-hello", "world");
//!         Ok(())
//!     }
//! }
//!
//! # async fn serve() -> Result<(), extproc::ServeError> {
//! Server::new(Stamp).listen("127.0.0.1:50051").serve().await
//! # }
//! ```
//!
//! # The model
//!
//! ```text
//! handler        your Processor, or functions (processor())
//! chain          several of them as if they were filters of their own (Chain)
//! body kind      Skip, Whole, Stream, Messages: what you want of a body, by type
//! session        what may be answered here, in this mode        (extproc-core)
//! shell          gRPC server (Server), or a script in memory (testing)
//! ```
//!
//! * **Context.** [`Processor::open`] makes the state of one exchange, every phase gets it by `&mut`,
//!   [`Processor::close`] gets it back on every end: done, cut off, failed, panicked.
//! * **Edits, not replies.** A phase edits its view ([`Start`], [`RequestHead`], [`ResponseHead`], [`Trailers`],
//!   [`Body`]); the reply follows from that, so none can be forgotten, doubled or of the wrong kind. What a phase
//!   cannot carry has no method.
//! * **Early ends.** `?` on a [`LocalReply`] answers the client; `?` on any error fails by [`OnError`], and its text
//!   goes to the log only.
//! * **Bodies.** The type says what is wanted; the adapter serves it in whatever mode the data plane uses:
//!
//! | | NONE | BUFFERED | BUFFERED_PARTIAL | STREAMED | FULL_DUPLEX_STREAMED | GRPC |
//! |---|---|---|---|---|---|---|
//! | [`Skip`] | – | passes | passes | passes | echoed | echoed |
//! | [`Whole`] | asks for BUFFERED, else mismatch | direct | direct, may be [`truncated`](Body::truncated) | collected; head read-only; without `content-length` mismatch | collected, head answered last | mismatch: all frames at the end; head read-only |
//! | [`Stream`] | asks for STREAMED, else mismatch | one chunk | one chunk, may be [`truncated`](ChunkIo::truncated) | one answer for each chunk | free | mismatch: whole frames |
//! | [`Messages`] | asks for STREAMED, else mismatch | all at once | all at once; what is cut off passes | one answer for each chunk | free | native, with credit, half-close, drain |
//!
//!   A [`Mismatch`] is logged and counted, and [`OnMismatch`] says what becomes of it.
//! * **What a phase may say.** What a phase can never say has no method. What depends on the body mode is carried, or
//!   recorded as [`Blocked`] with its [`Reason`]; nothing is lost in silence.
//!
//! | phase | may say | NONE | BUFFERED, BUFFERED_PARTIAL | STREAMED | FULL_DUPLEX_STREAMED | GRPC |
//! |---|---|---|---|---|---|---|
//! | headers | edits, metadata, local reply, [`detach`](Start::detach) | yes | yes | yes | yes | yes; `detach` asks for a drain |
//! | headers | [`replace_body`](Start::replace_body) | yes | yes | yes | yes, as chunks | [`Whole`], [`Messages`]: yes, if it is frames |
//! | headers | [`extend`](Start::extend) | yes | yes | yes | no timer | no timer |
//! | headers | [`ask`](Start::ask) | yes | yes | yes | no | no |
//! | body, [`Whole`] | edits of the head | – | yes | no: it has left | yes | no: it has left |
//! | body | output | – | one, in its place | one for each chunk | any number | any number of messages |
//! | request body | local reply | – | yes | until the response has begun | until the response has begun | until the response has begun |
//! | response body | local reply | – | yes, in place of the response | no: [`Abort`] | [`Whole`]: yes; else no: [`Abort`] | no: [`Abort`] |
//! | trailers | edits of the trailers, metadata | yes | yes | yes | yes | yes, response only |
//! | request trailers | local reply | yes | yes | until the response has begun | until the response has begun | – |
//! | response trailers | local reply | no: [`Abort`] | no: [`Abort`] | no: [`Abort`] | no: [`Abort`] | no: [`Abort`] |
//!
//! * **Framing.** `content-length` follows the body by itself. Header writes are lowered so that Envoy, agentgateway
//!   and gRPC do the same with them.
//! * **Order.** The phases of one exchange run one at a time, in the order of the wire; exchanges run side by side.
//!
//! # An early answer
//!
//! ```
//! use extproc::{LocalReply, RequestHead, Start, Stop, processor};
//!
//! let auth = processor::<Vec<String>, ()>("Auth", vec!["secret".to_owned()]).request_headers(
//!     async |keys: &Vec<String>, _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
//!         let key = req.header("x-api-key").ok_or_else(LocalReply::unauthorized)?;
//!         if !keys.iter().any(|k| k == key) {
//!             return Err(LocalReply::forbidden().details("bad_key").into());
//!         }
//!         Ok(())
//!     },
//! );
//! # let _ = extproc::Server::new(auth);
//! ```
//!
//! # The whole body
//!
//! ```
//! use extproc::{Open, Processor, Request, Skip, Stop, Whole, WholeIo};
//!
//! struct Count;
//!
//! impl Processor for Count {
//!     type Ctx = ();
//!     type RequestBody = Whole<{ 1 << 20 }>; // at most 1 MiB; longer bodies are answered with 413
//!     type ResponseBody = Skip;
//!     fn open(&self, _: &Open) {}
//!     async fn request_body(&self, _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
//!         let size = io.body.len();
//!         io.head.set("x-size", size);
//!         Ok(())
//!     }
//! }
//! ```
//!
//! # Bodies in formats
//!
//! | | whole body | chunks |
//! |---|---|---|
//! | text, form, message | [`Body::text`], [`form`](Body::form), [`prost`](Body::prost) | [`MsgIo::decode`] for gRPC |
//! | JSON (feature `json`) | `Body::json`, `set_json` | – |
//! | gzip, deflate, br, zstd (feature `codecs`) | `WholeIo::decoded`, `replace_encoded`, `decode` | `Decoder`, `Encoder` |
//! | lines | – | [`ChunkIo::lines`] |
//! | server-sent events | – | [`ChunkIo::events`] |
//!
//! # What an error means
//!
//! | the handler | the client gets |
//! |---|---|
//! | returns a [`LocalReply`] | that reply, if the response has not begun; else a cut response |
//! | fails or panics, [`OnError::Fail`] (default) | what the data plane is configured for: an error, or the exchange untouched (`failure_mode_allow`) |
//! | fails or panics, [`OnError::Skip`] | the exchange as if the processor were not there |
//! | takes too long | the data plane's timeout: 504 in Envoy, after 200 ms by default |
//!
//! Deny with a [`LocalReply`], never with an error: an error may be configured to mean "let it pass".

#![deny(missing_docs)]

mod blocked;
mod blocking;
mod body;
mod chain;
mod difference;
mod exchange;
mod facts;
mod function;
mod head;
mod local_reply;
mod needs;
mod open;
mod pairs;
mod processor;
mod raw;
#[cfg(feature = "config")]
mod registry;
mod server;
mod service;
mod settings;
mod stages;
mod stop;
mod telemetry;
pub mod testing;
mod wrap;

pub use blocked::{Blocked, Mismatch, MismatchKind, OnMismatch, Phase, Reason, Write};
pub use blocking::blocking;
pub use body::{
    Body, BodyError, BodyKind, ChunkIo, Dir, Event, Events, Halt, Io, Line, Lines, MessageError, Messages, MsgIo,
    MsgOut, NoBody, Out, Request, Response, Skip, Stream, TooLong, Whole, WholeIo,
};
#[cfg(feature = "codecs")]
pub use body::{CodecError, Coding, Decoder, Encoder};
pub use chain::{BoxProcessor, Chain, Link};
pub use difference::{Difference, DifferenceKind};
pub use extproc_core::headers::{InvalidName, InvalidValue, Name, Value};
pub use extproc_core::session::{BodyModes, MetadataMessage, MetadataValue, Protocol};
pub use extproc_core::{BodyMode, Headers};
pub use extproc_proto as proto;
pub use facts::Facts;
pub use function::{Functions, PhaseFn, processor};
pub use head::{
    Basic, Fields, IntoName, IntoValue, MediaType, Refused, RequestHead, ResponseHead, SameSite, SetCookie, Start,
    Trailers,
};
pub use local_reply::{LocalReply, ReplyGone, ReplyWriter};
pub use needs::{DataPlane, Needs, UnknownDataPlane, Wishes};
pub use open::Open;
pub use pairs::{NotText, Pairs};
pub use processor::{Noop, Processor};
pub use raw::{Raw, RawProcessor, RawReplies, RawRequests};
#[cfg(feature = "config")]
pub use registry::{ChainErrors, ChainProblem, ConfiguredChain, Registry};
pub use server::{Address, Bound, HealthHandle, Limits, ServeError, Server, UnknownProcessor};
#[cfg(feature = "tls")]
pub use server::{Tls, TlsError};
pub use service::{Replies, Service};
pub use settings::{Key, Origin, SettingError, Settings, Values};
pub use stages::Stages;
pub use stop::{Abort, End, Error, OnError, Stop};
pub use telemetry::{Metrics, Progress, Secret, redact};
pub use wrap::{BodyLimit, CatchPanic, ConcurrencyLimit, Policy, RateLimit, Reveal, Timing, When, sampled};

/// Whose response phases a local reply passes in a chain, before it goes to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalReplyScope {
    /// Those of all other processors, last to first, as in Envoy: also of those that never saw the request.
    #[default]
    All,
    /// Those of the processors in front of the one that replied, last to first.
    Earlier,
}

/// The code in the README and in the guides compiles.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/first-processor.md")]
    struct FirstProcessor;
    #[doc = include_str!("../../../docs/migrating.md")]
    struct Migrating;
    #[doc = include_str!("../../../docs/testing.md")]
    struct Testing;
}
