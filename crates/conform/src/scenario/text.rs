//! Small values of the scenario format that have a written form of their own.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

/// Names and values in order. Written as a map; a list as value repeats the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names to values, or to lists of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, values)) = map.next_entry::<String, Values>()? {
                    fields.extend(values.0.into_iter().map(|value| (name.clone(), value)));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// One scalar or a list of them, as text.
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Values, E> {
                Ok(Values(vec![text.to_owned()]))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Values, E> {
                Ok(Values(vec![number.to_string()]))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Values, E> {
                Ok(Values(vec![number.to_string()]))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Values, E> {
                Err(E::custom("put numbers with a fraction in quotes: their text matters"))
            }

            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<Values, E> {
                Ok(Values(vec![yes.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(Self::Value { 0: one }) = seq.next_element()? {
                    values.extend(one);
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A time, written `150ms` or `2s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// As the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(number) = text.strip_suffix("ms") {
            return number.parse().ok().map(Self);
        }
        let seconds: u64 = text.strip_suffix('s')?.parse().ok()?;
        Some(Self(seconds * 1000))
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is no time: write `150ms` or `2s`")))
    }
}

/// Bytes: written as text, as `{ hex: fffe }`, or as `{ size: 20000 }` for so many letters `x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The text's bytes.
    Text(String),
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many letters `x`.
    Size(usize),
}

impl Payload {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Size(size) => vec![b'x'; *size],
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, { hex: … } or { size: … }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Payload, E> {
                Ok(Payload::Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Payload, E> {
                Ok(Payload::Text(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Payload, E> {
                Ok(Payload::Text(number.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
                let payload = match map.next_key::<String>()?.as_deref() {
                    Some("size") => Payload::Size(map.next_value()?),
                    Some("hex") => Payload::Bytes(parse_hex(&map.next_value::<String>()?).map_err(de::Error::custom)?),
                    Some(other) => return Err(de::Error::unknown_field(other, &["hex", "size"])),
                    None => return Err(de::Error::missing_field("size")),
                };
                match map.next_key::<String>()? {
                    None => Ok(payload),
                    Some(_) => Err(de::Error::custom("a payload is either `hex` or `size`")),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(format!("`{text}` is not pairs of hexadecimal digits"));
    }
    let nibble = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
    Ok(digits.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect())
}
