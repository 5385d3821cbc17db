//! What every party saw of one exchange, in a form that can be compared.

mod compare;
mod logging;
mod normalise;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

pub use compare::{Difference, check, differences};
pub use logging::Logging;
pub use normalise::{DROPPED, fields};

use crate::scenario::Kind;

/// Header or trailer fields in wire order; bytes that are no text are escaped.
pub type HeaderList = Vec<(String, String)>;

/// The four columns of an exchange, and why the response was what it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// What the processor saw.
    pub processor: Vec<Message>,
    /// What the upstream saw; `None` when it was not contacted.
    pub upstream: Option<Received>,
    /// What the client saw.
    pub client: Reply,
    /// The filter's counters that are not zero, by Envoy's names.
    pub counters: BTreeMap<String, u64>,
    /// Envoy's RESPONSE_CODE_DETAILS.
    pub details: Option<String>,
    /// Whether the configuration loads, where nothing else was asked.
    pub load: Option<bool>,
    /// The metadata of the gRPC call, as far as it was configured.
    pub call: BTreeMap<String, String>,
    /// The dynamic metadata at the end, by namespace, as JSON.
    pub metadata: BTreeMap<String, String>,
    /// When and how the data plane closed the side stream, of scenarios that watch it.
    pub stream: Option<StreamEnd>,
    /// The filter's logging object, of scenarios that ask for it.
    pub logging: Option<Logging>,
}

/// What the processor saw of the end of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamEnd {
    /// The data plane sends nothing more.
    pub half_closed: Option<Moment>,
    /// It was given up, before the processor ended it.
    pub reset: Option<Moment>,
}

/// A time against the end of the client's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Clearly before.
    Before,
    /// As near as can be told.
    With,
    /// So many hundred milliseconds later.
    Later(u64),
}

impl Moment {
    /// What is nearer than this to the end cannot be told from it.
    const NEAR_BEFORE: Duration = Duration::from_millis(20);

    /// How `at` lies against `end`, both since a common beginning.
    #[must_use]
    pub fn of(at: Duration, end: Duration) -> Self {
        if at + Self::NEAR_BEFORE < end {
            return Self::Before;
        }
        match (at.saturating_sub(end).as_millis() + 50) / 100 {
            0 => Self::With,
            hundreds => Self::Later(u64::try_from(hundreds).unwrap_or(u64::MAX)),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => f.write_str("before the response ended"),
            Self::With => f.write_str("with the end of the response"),
            Self::Later(hundreds) => write!(f, "{hundreds}00 ms after the response"),
        }
    }
}

/// A message that the processor saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: Kind,
    /// Headers or trailers.
    pub headers: HeaderList,
    /// The body.
    pub body: Bytes,
    /// `end_of_stream`.
    pub end: bool,
    /// `protocol_config`, as `request mode, response mode`.
    pub protocol_config: Option<String>,
    /// What the data plane tells besides: metadata and attributes, as JSON by name.
    pub context: BTreeMap<String, String>,
    /// What is unusual about it: observability mode, no metadata context.
    pub remarks: Vec<&'static str>,
}

/// A request that an upstream got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which of the scenario's routes led there, from 1; 0 for the last resort.
    pub route: usize,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderList,
    /// The body as far as it came.
    pub body: Bytes,
    /// The trailers.
    pub trailers: HeaderList,
    /// How it ended.
    pub end: End,
}

/// What the client got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status; `None` when no response came.
    pub status: Option<u16>,
    /// The headers.
    pub headers: HeaderList,
    /// The body as far as it came.
    pub body: Bytes,
    /// The trailers.
    pub trailers: HeaderList,
    /// How it ended.
    pub end: End,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Whole, as its framing says.
    Complete,
    /// Before its framing says it may.
    #[default]
    Cut,
    /// The client had enough.
    GaveUp,
}

impl End {
    /// As scenarios and transcripts write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cut => "cut",
            Self::GaveUp => "gave up",
        }
    }
}

/// Text of bytes that are usually text.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control()) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}
