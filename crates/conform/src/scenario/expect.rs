//! Expectations written by hand.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::text::{Fields, Payload};

/// What must come of a scenario. What is left out is not checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// What the client got.
    pub client: Option<ExpectClient>,
    /// What the upstream got.
    pub upstream: Option<ExpectUpstream>,
    /// The messages that the processor saw, each written as a transcript does: the kind, for a body its text in
    /// quotes, and `end` when it ends the direction: `request_body "hello" end`.
    pub processor: Option<Vec<String>>,
    /// The counters, by short name; those not named must be zero. The names: started, sent, received, closed,
    /// spurious, immediate, allowed, timeouts, rejected, failed, half_closed, override_received, override_ignored,
    /// route_ignored, route_disabled.
    pub counters: Option<BTreeMap<String, u64>>,
    /// Other fields of the transcript by name, as `--explain` prints them; `absent` for one that must not be there.
    pub fields: BTreeMap<String, String>,
    /// The response code details; a closing `*` stands for anything.
    pub details: Option<String>,
}

impl Expect {
    /// Whether nothing is checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { client, upstream, processor, counters, details, fields } = self;
        client.is_none()
            && upstream.is_none()
            && processor.is_none()
            && counters.is_none()
            && details.is_none()
            && fields.is_empty()
    }
}

/// What the client got.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectClient {
    /// The status.
    pub status: Option<u16>,
    /// The whole body as far as it came.
    pub body: Option<Payload>,
    /// These headers, with all their values.
    pub headers: Fields,
    /// None of these headers.
    pub absent: Vec<String>,
    /// These trailers, with all their values.
    pub trailers: Fields,
    /// `complete`, `cut` or `gave up`.
    pub end: Option<String>,
}

/// What the upstream got. Written as `not contacted`, or as a map of the fields.
#[derive(Clone, Debug, Default)]
pub struct ExpectUpstream {
    /// It was not contacted.
    pub not_contacted: bool,
    /// The method.
    pub method: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The whole body as far as it came.
    pub body: Option<Payload>,
    /// These headers, with all their values.
    pub headers: Fields,
    /// None of these headers.
    pub absent: Vec<String>,
    /// These trailers, with all their values.
    pub trailers: Fields,
    /// `complete` or `cut`.
    pub end: Option<String>,
}

impl<'de> Deserialize<'de> for ExpectUpstream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Map {
            method: Option<String>,
            path: Option<String>,
            body: Option<Payload>,
            headers: Fields,
            absent: Vec<String>,
            trailers: Fields,
            end: Option<String>,
        }
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = ExpectUpstream;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`not contacted`, or a map of method, path, headers, absent, body, trailers and end")
            }

            fn visit_str<E: de::Error>(self, words: &str) -> Result<ExpectUpstream, E> {
                if words != "not contacted" {
                    return Err(E::custom(format!("`{words}`: expected `not contacted` or a map")));
                }
                Ok(ExpectUpstream { not_contacted: true, ..ExpectUpstream::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ExpectUpstream, A::Error> {
                let Map { method, path, body, headers, absent, trailers, end } =
                    Map::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ExpectUpstream { not_contacted: false, method, path, body, headers, absent, trailers, end })
            }
        }
        deserializer.deserialize_any(Any)
    }
}
