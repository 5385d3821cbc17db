//! Conditions in files.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Facts, RequestHead};

/// Holds when all that it names hold.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Condition {
    method: Option<OneOf>,
    host: Option<OneOf>,
    path: Option<PathIs>,
    headers: BTreeMap<String, HeaderIs>,
    attributes: BTreeMap<String, Scalar>,
    metadata: BTreeMap<String, BTreeMap<String, Scalar>>,
    any: Option<Vec<Self>>,
    not: Option<Box<Self>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOf {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PathIs {
    exact: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderIs {
    Present(bool),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Truth(bool),
    Number(f64),
    Text(String),
}

impl Condition {
    pub(super) fn holds(&self, req: &RequestHead) -> bool {
        let facts = req.facts();
        self.method.as_ref().is_none_or(|method| method.has(|it| it == req.method()))
            && self.host.as_ref().is_none_or(|host| host.has(|it| it.eq_ignore_ascii_case(req.host())))
            && self.path.as_ref().is_none_or(|path| path.holds(req.path_without_query()))
            && self.headers.iter().all(|(name, is)| is.holds(req, name))
            && self.attributes.iter().all(|(name, is)| is.is_attribute(facts, name))
            && self.metadata.iter().all(|(space, keys)| keys.iter().all(|(key, is)| is.is_metadata(facts, space, key)))
            && self.any.as_ref().is_none_or(|any| any.iter().any(|condition| condition.holds(req)))
            && self.not.as_ref().is_none_or(|condition| !condition.holds(req))
    }
}

impl OneOf {
    fn has(&self, is: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(text) => is(text),
            Self::Many(texts) => texts.iter().any(|text| is(text)),
        }
    }
}

impl PathIs {
    fn holds(&self, path: &str) -> bool {
        self.exact.as_ref().is_none_or(|exact| path == exact)
            && self.prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix))
            && self.suffix.as_ref().is_none_or(|suffix| path.ends_with(suffix))
    }
}

impl HeaderIs {
    fn holds(&self, req: &RequestHead, name: &str) -> bool {
        match self {
            Self::Present(present) => req.header_bytes(name).is_some() == *present,
            Self::Text(text) => req.header_all_bytes(name).any(|value| value == text.as_bytes()),
        }
    }
}

impl Scalar {
    fn is_attribute(&self, facts: &Facts, name: &str) -> bool {
        match self {
            Self::Truth(truth) => facts.attribute_bool(name) == Some(*truth),
            Self::Number(number) => facts.attribute_number(name) == Some(*number),
            Self::Text(text) => facts.attribute(name) == Some(text),
        }
    }

    fn is_metadata(&self, facts: &Facts, namespace: &str, key: &str) -> bool {
        match self {
            Self::Truth(truth) => facts.metadata_bool(namespace, key) == Some(*truth),
            Self::Number(number) => facts.metadata_number(namespace, key) == Some(*number),
            Self::Text(text) => facts.metadata_text(namespace, key) == Some(text),
        }
    }
}
