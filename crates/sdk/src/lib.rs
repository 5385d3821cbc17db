//! Write an Envoy external processor (ext_proc) in ten lines.

mod body;
mod chain;
mod exchange;
mod function;
mod head;
mod local_reply;
mod open;
mod processor;
mod server;
mod service;
mod stages;
mod stop;
pub mod testing;
mod wrap;

pub use body::{Body, BodyKind, Dir, Halt, Io, NoBody, Request, Response, Skip, Whole, WholeIo};
pub use chain::{BoxProcessor, Chain, Link};
pub use extproc_core::headers::{Name, Value};
pub use extproc_core::{BodyMode, Headers};
pub use extproc_proto as proto;
pub use function::{Functions, PhaseFn, processor};
pub use head::{Fields, IntoName, IntoValue, Refused, RequestHead, ResponseHead, Start, Trailers};
pub use local_reply::LocalReply;
pub use open::Open;
pub use processor::{Noop, Processor};
pub use server::{Address, Bound, ServeError, Server};
pub use service::{Replies, Service};
pub use stages::Stages;
pub use stop::{Abort, End, Error, OnError, Stop};
pub use wrap::{Policy, Reveal};

/// Whose response phases a local reply passes in a chain, before it goes to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalReplyScope {
    /// Those of all other processors, last to first, as in Envoy: also of those that never saw the request.
    #[default]
    All,
    /// Those of the processors in front of the one that replied, last to first.
    Earlier,
}
