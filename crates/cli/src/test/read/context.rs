//! What the data plane tells about an exchange.

use extproc::testing::Exchange;
use extproc_proto::prost_types::{ListValue, NullValue, Struct, Value as Proto, value::Kind};
use serde_json::Value as Json;

use super::super::decode::{Problems, untagged};
use super::super::json;
use super::super::yaml::{Node, Position, Value};

/// Names and values, sent with the first message.
pub(super) fn attributes(mut exchange: Exchange, node: Node, problems: &mut Problems) -> Exchange {
    for (name, value) in entries(node, "`attributes` must be names and values", problems) {
        exchange = exchange.attribute(name, value);
    }
    exchange
}

/// Namespaces, each with names and values, sent with every message.
pub(super) fn metadata(mut exchange: Exchange, node: Node, problems: &mut Problems) -> Exchange {
    const SHAPE: &str = "`metadata_context` must be namespaces, each with names and values";
    untagged(&node, problems);
    let Value::Map(namespaces) = node.value else {
        problems.push(node.at, SHAPE);
        return exchange;
    };
    for (key, fields) in namespaces {
        let Some(namespace) = problems.note(key.at, json::key_text(&key).map(str::to_owned)) else { continue };
        for (name, value) in entries(fields, SHAPE, problems) {
            exchange = exchange.metadata(namespace.clone(), name, value);
        }
    }
    exchange
}

fn entries(node: Node, shape: &str, problems: &mut Problems) -> Vec<(String, Proto)> {
    let at: Position = node.at;
    untagged(&node, problems);
    match problems.note(at, json::plain(&node)) {
        Some(Json::Object(fields)) => fields.into_iter().map(|(name, value)| (name, proto(value))).collect(),
        Some(_) => {
            problems.push(at, shape);
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// As `google.protobuf.Value`, which knows one kind of number.
pub(crate) fn proto(json: Json) -> Proto {
    let kind = match json {
        Json::Null => Kind::NullValue(NullValue::NullValue.into()),
        Json::Bool(truth) => Kind::BoolValue(truth),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(proto).collect() }),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, proto(value))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Proto { kind: Some(kind) }
}
