//! Parts of a reply that the scripted processor streams.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::scenario::{Fields, Payload};

/// One part of a `StreamedImmediateResponse`. Written as a map of exactly one of `headers` (with `:status` among them),
/// `body` and `trailers`, the first two with `end_of_stream`; `empty` is a message without any.
#[derive(Clone, Debug)]
pub enum StreamedPart {
    /// `headers_response`, values in `raw_value`.
    Headers(Fields, bool),
    /// `body_response`.
    Body(Payload, bool),
    /// `trailers_response`.
    Trailers(Fields),
    /// No part at all.
    Empty,
}

impl<'de> Deserialize<'de> for StreamedPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Map {
            headers: Option<Fields>,
            body: Option<Payload>,
            trailers: Option<Fields>,
            end_of_stream: bool,
        }
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = StreamedPart;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of `headers`, `body` or `trailers`, or the word `empty`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<StreamedPart, E> {
                match word {
                    "empty" => Ok(StreamedPart::Empty),
                    _ => Err(E::custom(format!("`{word}`: expected `empty` or a map"))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StreamedPart, A::Error> {
                let map = Map::deserialize(MapAccessDeserializer::new(map))?;
                match (map.headers, map.body, map.trailers, map.end_of_stream) {
                    (Some(headers), None, None, end) => Ok(StreamedPart::Headers(headers, end)),
                    (None, Some(body), None, end) => Ok(StreamedPart::Body(body, end)),
                    (None, None, Some(trailers), false) => Ok(StreamedPart::Trailers(trailers)),
                    (None, None, Some(_), true) => {
                        Err(de::Error::custom("trailers are the end; leave out end_of_stream"))
                    }
                    _ => Err(de::Error::custom("a part is exactly one of `headers`, `body` and `trailers`")),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}
