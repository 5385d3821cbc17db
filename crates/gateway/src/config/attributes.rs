//! Lists of attributes: Envoy's, or with names of their own.

use std::collections::BTreeMap;
use std::fmt;

use extproc_core::NamedAttribute;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::at::{At, Position};
use super::error::Problems;

/// Expressions, or a map of names to expressions. Overridden as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(pub Vec<(String, At<String>)>);

impl Attributes {
    /// What the core reads; expressions that are none are told with their places.
    pub(super) fn meant(&self, key: &'static str, problems: &mut Problems) -> Vec<NamedAttribute> {
        let named = |(name, expression): &(String, At<String>)| NamedAttribute {
            name: name.clone(),
            expression: expression.value.clone(),
        };
        for entry in &self.0 {
            let options = match key {
                "request_attributes" => {
                    extproc_core::Options { request_attributes: vec![named(entry)], ..extproc_core::Options::default() }
                }
                _ => extproc_core::Options {
                    response_attributes: vec![named(entry)],
                    ..extproc_core::Options::default()
                },
            };
            if let Err(error) = extproc_core::Config::new(options) {
                problems.push(entry.1.position, error.to_string());
            }
        }
        self.0.iter().map(named).collect()
    }
}

impl From<&[NamedAttribute]> for Attributes {
    fn from(attributes: &[NamedAttribute]) -> Self {
        Self(attributes.iter().map(|it| (it.name.clone(), it.expression.clone().into())).collect())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of attributes such as `request.path`, or a map of names to attributes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Attributes, A::Error> {
                let list = Vec::<At<String>>::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(Attributes(list.into_iter().map(|it| (it.value.clone(), it)).collect()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Attributes, A::Error> {
                let map = BTreeMap::<String, At<String>>::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Attributes(map.into_iter().collect()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.iter().all(|(name, expression)| *name == expression.value) {
            serializer.collect_seq(self.0.iter().map(|(name, _)| name))
        } else {
            serializer.collect_map(self.0.iter().map(|(name, expression)| (name, &expression.value)))
        }
    }
}

/// Envoy's `processing_request_modifier`, of which it has one: the builder of attributes with names of their own.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct RequestModifier {
    /// Its name, which has no meaning.
    #[serde(default)]
    pub name: String,
    /// What it does.
    #[serde(alias = "typedConfig")]
    pub typed_config: MappedAttributeBuilder,
}

/// Envoy's `MappedAttributeBuilder`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct MappedAttributeBuilder {
    /// Its type.
    #[serde(rename = "@type")]
    pub type_url: At<String>,
    /// Names and expressions, as `request_attributes`.
    #[serde(default, alias = "mappedRequestAttributes")]
    pub mapped_request_attributes: BTreeMap<String, At<String>>,
    /// Names and expressions, as `response_attributes`.
    #[serde(default, alias = "mappedResponseAttributes")]
    pub mapped_response_attributes: BTreeMap<String, At<String>>,
}

/// The type of the one modifier that there is.
const MAPPED: &str =
    "envoy.extensions.http.ext_proc.processing_request_modifiers.mapped_attribute_builder.v3.MappedAttributeBuilder";

impl RequestModifier {
    /// The lists that it makes, for the request and the response.
    pub(super) fn lists(&self, problems: &mut Problems) -> [Attributes; 2] {
        let MappedAttributeBuilder { type_url, mapped_request_attributes, mapped_response_attributes } =
            &self.typed_config;
        let known = type_url.rsplit_once('/').map_or(type_url.as_str(), |(_, name)| name) == MAPPED;
        if !known {
            let position: Option<Position> = type_url.position;
            let message = format!("`{}` is no modifier that is known here; the only one is `{MAPPED}`", **type_url);
            problems.push(position, message);
        }
        [mapped_request_attributes, mapped_response_attributes]
            .map(|it| Attributes(it.iter().map(|(name, at)| (name.clone(), at.clone())).collect()))
    }
}
