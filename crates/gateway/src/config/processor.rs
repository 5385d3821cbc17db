//! Where external processors are.

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::at::{At, Unsupported};
use super::scalar::Time;
use crate::plan::Address;

/// A processor that entries refer to by name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// What entries call it.
    pub name: At<String>,
    /// Where it listens; connections go to them in turn.
    pub endpoints: At<Vec<ProcessorEndpoint>>,
    /// How long a connection may take to establish.
    #[serde(default, alias = "connectTimeout", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<At<Time>>,

    #[serde(default, alias = "healthCheck", skip_serializing)]
    pub(super) health_check: Unsupported,
    #[serde(default, skip_serializing)]
    pub(super) connections: Unsupported,
    #[serde(default, skip_serializing)]
    pub(super) tls: Unsupported,
    #[serde(default, alias = "openRetries", skip_serializing)]
    pub(super) open_retries: Unsupported,
}

/// One address of a processor.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessorEndpoint {
    /// `host:port` or `unix:PATH`.
    pub address: At<Address>,
}

/// How an entry says where its processor is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ProcessorRef {
    /// By the name of one of the `processors`.
    Name(String),
    /// In place.
    Inline(InlineProcessor),
}

/// A processor that only one entry uses.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InlineProcessor {
    /// `host:port` or `unix:PATH`.
    pub address: At<Address>,
    /// How long a connection may take to establish.
    #[serde(default, alias = "connectTimeout", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<At<Time>>,
}

impl<'de> Deserialize<'de> for ProcessorRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RefVisitor;
        impl<'de> Visitor<'de> for RefVisitor {
            type Value = ProcessorRef;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a processor, or `{ address: ... }`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ProcessorRef, E> {
                Ok(ProcessorRef::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ProcessorRef, A::Error> {
                let inline = InlineProcessor::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ProcessorRef::Inline(inline))
            }
        }
        deserializer.deserialize_any(RefVisitor)
    }
}
