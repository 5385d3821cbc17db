//! One entry of a file that stands for several scenarios: with other versions of HTTP, under other profiles.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::{Expect, Scenario};
use crate::target::TargetKind;

/// Whose reading of the protocol our engine follows.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Envoy 1.40.
    #[default]
    Envoy,
    /// agentgateway.
    Agentgateway,
    /// As Envoy; what may be lost in silence is an error.
    Strict,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Agentgateway => "agentgateway",
            Self::Strict => "strict",
        }
    }
}

impl From<Profile> for extproc_core::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Envoy => Self::Envoy,
            Profile::Agentgateway => Self::Agentgateway,
            Profile::Strict => Self::Strict,
        }
    }
}

/// What a scenario is under another profile. Envoy has none, so it is not run there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// What must come of it; at least one thing.
    pub expect: Expect,
    /// What it shows, where the entry's own title does not say it.
    pub title: Option<String>,
    /// As in the scenario.
    #[serde(default)]
    pub races: BTreeMap<String, String>,
}

/// Versions of HTTP as pairs of client and upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protocols(Vec<Protocol>);

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum Protocol {
    #[serde(rename = "h1")]
    H1,
    #[serde(rename = "h2")]
    H2,
    #[serde(rename = "h1-h2")]
    H1ToH2,
    #[serde(rename = "h2-h1")]
    H2ToH1,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::H1, Self::H2, Self::H1ToH2, Self::H2ToH1];

    /// Of the client and of the upstream.
    const fn versions(self) -> (u8, u8) {
        match self {
            Self::H1 => (1, 1),
            Self::H2 => (2, 2),
            Self::H1ToH2 => (1, 2),
            Self::H2ToH1 => (2, 1),
        }
    }

    /// The suffix of the id, and what the title says more.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::H1 => ("", ""),
            Self::H2 => ("-h2", ", over HTTP/2"),
            Self::H1ToH2 => ("-h1-h2", ", from HTTP/1 to HTTP/2"),
            Self::H2ToH1 => ("-h2-h1", ", from HTTP/2 to HTTP/1"),
        }
    }
}

impl Scenario {
    /// The scenarios that an entry stands for.
    pub(super) fn variants(mut self) -> Vec<Self> {
        let columns = std::mem::take(&mut self.profiles);
        let protocols = std::mem::take(&mut self.protocol).0;
        let profiles: Vec<Self> = columns.into_iter().map(|(profile, column)| self.under(profile, column)).collect();
        let mut all: Vec<Self> = protocols.iter().map(|protocol| self.over(*protocol)).collect();
        if all.is_empty() {
            all.push(self);
        }
        all.extend(profiles);
        all
    }

    fn over(&self, protocol: Protocol) -> Self {
        let (suffix, words) = protocol.words();
        let (client, upstream) = protocol.versions();
        let mut it = self.clone();
        it.id.push_str(suffix);
        it.title.push_str(words);
        it.request.http = client;
        it.upstream.http = upstream;
        it.routes.iter_mut().for_each(|route| route.upstream.http = upstream);
        it
    }

    fn under(&self, profile: Profile, column: Column) -> Self {
        let name = profile.name();
        let reason = format!("Envoy has no profile `{name}`");
        let title = column.title.as_ref().unwrap_or(&self.title);
        Self {
            id: format!("{}-{name}", self.id),
            title: format!("{title} (profile {name})"),
            profile,
            expect: column.expect,
            races: column.races,
            skip: self.skip.clone().into_iter().chain([(TargetKind::Envoy, reason)]).collect(),
            ..self.clone()
        }
    }
}

impl<'de> Deserialize<'de> for Protocols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Protocols;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, or a list of h1, h2, h1-h2 and h2-h1")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Protocols, E> {
                match word {
                    "all" => Ok(Protocols(Protocol::ALL.to_vec())),
                    _ => Err(E::custom(format!("`{word}`: expected `all`, or a list of h1, h2, h1-h2 and h2-h1"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Protocols, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Protocols)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
