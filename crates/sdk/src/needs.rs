//! What a processor needs of its data plane.

mod agentgateway;
mod endpoint;
mod envoy;
mod gateway;
mod wished;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use extproc_core::session::BodyModes;
use extproc_core::{BodyMode, Direction};

pub(crate) use self::endpoint::Endpoint;
use crate::body::Want;

/// What a server needs of the data planes in front of it: from the body kinds of its processors, and from their
/// [`wishes`](crate::Processor::wishes).
///
/// [`Server::config_for`](crate::Server::config_for) says it in a data plane's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// The body modes: NONE where no processor wants the body, BUFFERED where one wants it
    /// [`Whole`](crate::Whole), FULL_DUPLEX_STREAMED where one takes it in pieces.
    pub bodies: BodyModes,
    /// The longest request body that a processor takes whole, in bytes, if one does.
    pub request_whole: Option<usize>,
    /// The longest response body that a processor takes whole, in bytes, if one does.
    pub response_whole: Option<usize>,
    /// What the types cannot tell.
    pub wishes: Wishes,
}

/// What a processor wants of its data plane and its types do not tell, declared by
/// [`Processor::wishes`](crate::Processor::wishes). It changes nothing but what is printed as configuration and checked
/// at the start.
///
/// ```
/// use extproc::Wishes;
///
/// let wishes = Wishes::new().response_trailers().writes_metadata("envoy.lb").request_attribute("source.address");
/// assert!(wishes.has_response_trailers());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub(crate) request_trailers: bool,
    pub(crate) response_trailers: bool,
    pub(crate) mode_override: bool,
    pub(crate) reads_metadata: BTreeSet<String>,
    pub(crate) writes_metadata: BTreeSet<String>,
    pub(crate) request_attributes: BTreeSet<String>,
    pub(crate) response_attributes: BTreeSet<String>,
}

impl Wishes {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Request trailers are to be sent.
    #[must_use]
    pub const fn request_trailers(mut self) -> Self {
        self.request_trailers = true;
        self
    }

    /// Response trailers are to be sent.
    #[must_use]
    pub const fn response_trailers(mut self) -> Self {
        self.response_trailers = true;
        self
    }

    /// The processor changes body modes of an exchange ([`Start::ask`](crate::Start::ask)), which has to be allowed.
    #[must_use]
    pub const fn mode_override(mut self) -> Self {
        self.mode_override = true;
        self
    }

    /// The processor reads dynamic metadata of this namespace, which has to be forwarded.
    #[must_use]
    pub fn reads_metadata(mut self, namespace: impl Into<String>) -> Self {
        self.reads_metadata.insert(namespace.into());
        self
    }

    /// The processor writes dynamic metadata of this namespace, which has to be received.
    #[must_use]
    pub fn writes_metadata(mut self, namespace: impl Into<String>) -> Self {
        self.writes_metadata.insert(namespace.into());
        self
    }

    /// The processor reads this attribute in request phases, as `request.path` or `source.address`.
    #[must_use]
    pub fn request_attribute(mut self, name: impl Into<String>) -> Self {
        self.request_attributes.insert(name.into());
        self
    }

    /// The processor reads this attribute in response phases.
    #[must_use]
    pub fn response_attribute(mut self, name: impl Into<String>) -> Self {
        self.response_attributes.insert(name.into());
        self
    }

    /// Whether request trailers are to be sent.
    #[must_use]
    pub const fn has_request_trailers(&self) -> bool {
        self.request_trailers
    }

    /// Whether response trailers are to be sent.
    #[must_use]
    pub const fn has_response_trailers(&self) -> bool {
        self.response_trailers
    }

    /// Those of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.request_trailers |= other.request_trailers;
        self.response_trailers |= other.response_trailers;
        self.mode_override |= other.mode_override;
        self.reads_metadata.extend(other.reads_metadata);
        self.writes_metadata.extend(other.writes_metadata);
        self.request_attributes.extend(other.request_attributes);
        self.response_attributes.extend(other.response_attributes);
        self
    }
}

/// A data plane whose configuration can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataPlane {
    /// Envoy: a whole bootstrap configuration, with the filter and the cluster marked.
    Envoy,
    /// agentgateway: a local configuration file.
    Agentgateway,
    /// agentgateway on Kubernetes: an `AgentgatewayPolicy`.
    AgentgatewayPolicy,
    /// The gateway of this project.
    Gateway,
}

/// A data plane of this name is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown data plane {0:?}; there are envoy, agentgateway, agentgateway-policy and gateway")]
pub struct UnknownDataPlane(String);

impl DataPlane {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Envoy, Self::Agentgateway, Self::AgentgatewayPolicy, Self::Gateway];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Agentgateway => "agentgateway",
            Self::AgentgatewayPolicy => "agentgateway-policy",
            Self::Gateway => "gateway",
        }
    }
}

impl DataPlane {
    /// What is printed for it, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Envoy => "A whole bootstrap configuration of Envoy, filter and cluster marked",
            Self::Agentgateway => "A local configuration file of agentgateway",
            Self::AgentgatewayPolicy => "An AgentgatewayPolicy for Kubernetes",
            Self::Gateway => "A configuration for `extproc gateway`",
        }
    }
}

impl FromStr for DataPlane {
    type Err = UnknownDataPlane;

    fn from_str(text: &str) -> Result<Self, UnknownDataPlane> {
        let known = Self::ALL.into_iter().find(|it| it.name() == text);
        known.ok_or_else(|| UnknownDataPlane(text.to_owned()))
    }
}

impl fmt::Display for DataPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Needs {
    /// What one processor needs.
    pub(crate) fn of(request: Want, response: Want, wishes: Wishes) -> Self {
        Self {
            bodies: BodyModes { request: mode(request), response: mode(response) },
            request_whole: whole(request),
            response_whole: whole(response),
            wishes,
        }
    }

    /// What serves both.
    pub(crate) fn and(self, other: Self) -> Self {
        let more = |a, b| match (a, b) {
            (BodyMode::None, other) | (other, BodyMode::None) => other,
            (a, b) if a == b => a,
            // Whole bodies and chunks: the mode that carries both.
            _ => BodyMode::FullDuplexStreamed,
        };
        Self {
            bodies: BodyModes {
                request: more(self.bodies.request, other.bodies.request),
                response: more(self.bodies.response, other.bodies.response),
            },
            request_whole: self.request_whole.max(other.request_whole),
            response_whole: self.response_whole.max(other.response_whole),
            wishes: self.wishes.and(other.wishes),
        }
    }

    /// The longest body that a processor takes whole, in bytes.
    #[must_use]
    pub fn largest_whole(&self) -> Option<usize> {
        self.request_whole.max(self.response_whole)
    }

    /// Whether trailers are to be sent: when they are wished for, and with a FULL_DUPLEX_STREAMED body, whose end they
    /// may be.
    #[must_use]
    pub fn trailers(&self, direction: Direction) -> bool {
        let (mode, wished) = match direction {
            Direction::Request => (self.bodies.request, self.wishes.request_trailers),
            Direction::Response => (self.bodies.response, self.wishes.response_trailers),
        };
        wished || mode == BodyMode::FullDuplexStreamed
    }

    /// What to write into the configuration of a data plane.
    pub(crate) fn config_for(&self, data_plane: DataPlane, endpoint: &Endpoint, max_message: usize) -> String {
        match data_plane {
            DataPlane::Envoy => envoy::config(self, endpoint, max_message),
            DataPlane::Agentgateway => agentgateway::local(self, endpoint),
            DataPlane::AgentgatewayPolicy => agentgateway::policy(self, endpoint),
            DataPlane::Gateway => gateway::config(self, endpoint),
        }
    }

    /// What is wrong with a limit on messages, if a body that a processor takes may not fit into one.
    pub(crate) fn exceed(&self, max_message: usize) -> Option<String> {
        // A message holds a little more than its body.
        const ENVELOPE: usize = 1024;
        let whole = self.largest_whole()?;
        // STREAMED and FULL_DUPLEX_STREAMED bodies come in pieces, whatever their length.
        let at_once = self.bodies.request == BodyMode::Buffered || self.bodies.response == BodyMode::Buffered;
        (at_once && whole > max_message).then(|| {
            format!(
                "a processor takes bodies of up to {whole} bytes whole, but messages are limited to {max_message}: \
                 longer bodies will fail with OUT_OF_RANGE; set max_message to {} or more, or lower the limit of Whole",
                whole.saturating_add(ENVELOPE)
            )
        })
    }
}

const fn mode(want: Want) -> BodyMode {
    match want {
        Want::Nothing => BodyMode::None,
        Want::Whole(_) => BodyMode::Buffered,
        Want::Chunks | Want::Messages => BodyMode::FullDuplexStreamed,
    }
}

const fn whole(want: Want) -> Option<usize> {
    match want {
        Want::Whole(max) => Some(max),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_hold_what_is_taken_are_named() {
        let needs = |want| Needs::of(want, Want::Nothing, Wishes::new());
        for (needs, max, exceeds) in [
            (needs(Want::Nothing), 1, false),
            (needs(Want::Chunks), 1, false),
            (needs(Want::Whole(1 << 20)), 16 << 20, false),
            (needs(Want::Whole(16 << 20)), 16 << 20, false),
            (needs(Want::Whole(64 << 20)), 16 << 20, true),
            (needs(Want::Whole(64 << 20)).and(needs(Want::Chunks)), 16 << 20, false),
            (needs(Want::Whole(usize::MAX)), usize::MAX, false),
        ] {
            assert_eq!(needs.exceed(max).is_some(), exceeds, "{needs:?} {max}");
        }
        let text = needs(Want::Whole(64 << 20)).exceed(16 << 20).unwrap_or_default();
        assert!(text.contains("67108864") && text.contains("16777216") && text.contains("67109888"), "{text}");
    }

    #[test]
    fn needs_of_several() {
        let a = Needs::of(Want::Whole(1), Want::Nothing, Wishes::new().mode_override().reads_metadata("a"));
        let b = Needs::of(Want::Whole(2), Want::Chunks, Wishes::new().response_trailers().reads_metadata("b"));
        let both = a.and(b);
        assert_eq!(both.bodies, BodyModes { request: BodyMode::Buffered, response: BodyMode::FullDuplexStreamed });
        assert_eq!((both.request_whole, both.response_whole, both.largest_whole()), (Some(2), None, Some(2)));
        let wishes = Wishes::new().mode_override().response_trailers().reads_metadata("b").reads_metadata("a");
        assert_eq!(both.wishes, wishes);
        assert!(!both.trailers(Direction::Request) && both.trailers(Direction::Response));
    }

    #[test]
    fn names_of_data_planes() {
        for data_plane in DataPlane::ALL {
            assert_eq!(data_plane.to_string().parse(), Ok(data_plane));
        }
        let error = "nginx".parse::<DataPlane>().unwrap_err().to_string();
        assert!(error.contains("nginx") && error.contains("agentgateway-policy"), "{error}");
    }
}
