//! What a processor is told of a call besides its headers (`request_attributes`, `response_attributes`).

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use super::metadata;
use crate::headers::Name;
use crate::{Attribute, Headers};

/// The attributes of a list, from the headers as the client sent them and from what the shell told. `None`: none of
/// them is known.
pub(super) fn of(list: &[String], headers: &Headers, told: &BTreeMap<String, Attribute>) -> Option<Struct> {
    let fields: BTreeMap<_, _> = list
        .iter()
        .filter_map(|name| {
            let kind = of_headers(headers, name).or_else(|| told.get(name).map(kind))?;
            Some((name.clone(), Value { kind: Some(kind) }))
        })
        .collect();
    (!fields.is_empty()).then_some(Struct { fields })
}

fn of_headers(headers: &Headers, name: &str) -> Option<Kind> {
    let text = |name: &str| headers.get_str(name).map(|text| Kind::StringValue(text.to_owned()));
    match name {
        "request.path" | "request.url_path" => text(":path"),
        "request.host" => text(":authority"),
        // gRPC has no other, and no query.
        "request.method" => Some(Kind::StringValue("POST".to_owned())),
        "request.query" => Some(Kind::StringValue(String::new())),
        "request.headers" => Some(Kind::StructValue(all(headers))),
        "request.referer" => text("referer"),
        "request.useragent" => text("user-agent"),
        "request.id" => text("x-request-id"),
        _ => None,
    }
}

fn all(headers: &Headers) -> Struct {
    let value = |name: &Name| Value { kind: Some(Kind::StringValue(metadata::joined(headers, name))) };
    let names = headers.iter().map(|(name, _)| name).filter(|name| !name.is_pseudo());
    Struct { fields: names.map(|name| (name.as_str().to_owned(), value(name))).collect() }
}

fn kind(attribute: &Attribute) -> Kind {
    match attribute {
        Attribute::Text(text) => Kind::StringValue(text.clone()),
        Attribute::Number(number) => Kind::NumberValue(*number),
        Attribute::Bool(bool) => Kind::BoolValue(*bool),
    }
}
