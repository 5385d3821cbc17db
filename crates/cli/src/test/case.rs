//! A case: an exchange, and what must come of it.

use std::path::PathBuf;
use std::time::Duration;

use extproc::testing::Exchange;
use extproc_core::{BodyMode, Options, Profile};
use tonic::metadata::MetadataMap;

use super::matcher::Matcher;
use super::yaml::Position;

/// One case of a file, ready to be played.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Unique in its file.
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) tags: Vec<String>,
    /// Why it is not run.
    pub(super) skip: Option<String>,
    /// How often it is played.
    pub(super) repeat: u32,
    pub(super) exchange: Exchange,
    /// It is played once in each.
    pub(super) modes: Vec<Modes>,
    pub(super) data_plane: DataPlane,
    /// Metadata of the gRPC stream.
    pub(super) grpc_metadata: MetadataMap,
    pub(super) expect: Expect,
}

/// The body modes of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) request: BodyMode,
    pub(super) response: BodyMode,
}

/// How the data plane is configured; the body modes come from [`Modes`].
#[derive(Clone, Debug, Default)]
pub(super) struct DataPlane {
    pub(super) options: Options,
    /// Unless the case says so, it follows from the body modes.
    pub(super) profile: Option<Profile>,
    /// Unless the case says so, the command line decides.
    pub(super) message_timeout: Option<Duration>,
    /// Unless the case says so, trailers are sent when there are any, or the mode needs them.
    pub(super) request_trailers: Option<bool>,
    pub(super) response_trailers: Option<bool>,
}

/// What must come of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    /// Values, in the order in which they capture.
    pub(super) values: Vec<(Place, Matcher)>,
    pub(super) flags: Vec<(Flag, bool, Position)>,
    /// What the processor says, message by message.
    pub(super) messages: Option<(Vec<Kind>, Position)>,
    /// What it must not say.
    pub(super) never: Vec<(Kind, Position)>,
    pub(super) within: Option<(Duration, Position)>,
    pub(super) answer_within: Option<(Duration, Position)>,
    pub(super) transcript: Option<Golden>,
}

/// A transcript to compare with.
#[derive(Clone, Debug)]
pub(super) struct Golden {
    pub(super) at: Position,
    pub(super) path: PathBuf,
    /// Headers whose values are not compared.
    pub(super) mask: Vec<String>,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Upstream(Part),
    Client(Part),
    /// A reply of the processor, counted from 0.
    Reply(usize, Say),
    /// Dynamic metadata of all replies together, as JSON.
    Metadata,
    /// How the stream ended: the name of a gRPC code.
    End,
    EndMessage,
    /// Why the response is not the upstream's.
    Details,
    Counter(&'static str),
}

/// A part of a request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Pseudo headers too.
    Header(String),
    Trailer(String),
    Body,
}

/// A part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Say {
    Set(String),
    Append(String),
    Remove,
    Body,
    Status,
    Details,
    GrpcStatus,
}

/// What is or is not the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// The upstream was asked.
    Contacted,
    /// The processor answered the client.
    Immediate,
    /// The processor said what has no place.
    Spurious,
    /// It did not answer in time.
    TimedOut,
    RouteCleared,
    /// The client's response was cut.
    Cut,
    /// Of one reply.
    Reply(usize, Mark),
}

/// What a reply has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    ClearBody,
    ContinueAndReplace,
    ClearRouteCache,
    ModeOverride,
}

/// The kinds of reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Immediate,
    StreamedImmediate,
    /// It asks for more time.
    Timeout,
    /// It says nothing.
    Empty,
}

/// By the names of the protocol.
pub(super) const KINDS: [(&str, Kind); 10] = [
    ("request_headers", Kind::RequestHeaders),
    ("request_body", Kind::RequestBody),
    ("request_trailers", Kind::RequestTrailers),
    ("response_headers", Kind::ResponseHeaders),
    ("response_body", Kind::ResponseBody),
    ("response_trailers", Kind::ResponseTrailers),
    ("immediate_response", Kind::Immediate),
    ("streamed_immediate_response", Kind::StreamedImmediate),
    ("override_message_timeout", Kind::Timeout),
    ("empty", Kind::Empty),
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// The body modes, by Envoy's names and their common short forms.
pub(super) const MODES: [(&str, BodyMode); 7] = [
    ("none", BodyMode::None),
    ("streamed", BodyMode::Streamed),
    ("buffered", BodyMode::Buffered),
    ("buffered_partial", BodyMode::BufferedPartial),
    ("full_duplex_streamed", BodyMode::FullDuplexStreamed),
    ("full_duplex", BodyMode::FullDuplexStreamed),
    ("grpc", BodyMode::Grpc),
];

impl std::fmt::Display for Modes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |mode| MODES.iter().find(|(_, it)| *it == mode).map_or("", |(name, _)| *name);
        f.write_str(name(self.request))?;
        if self.response != self.request { write!(f, "/{}", name(self.response)) } else { Ok(()) }
    }
}
