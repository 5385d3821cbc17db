//! Between JSON and the values of the protocol.

use std::collections::BTreeMap;

use extproc_core::metadata::{DynamicMetadata, MetadataValue};
use prost_types::value::Kind as ValueKind;
use prost_types::{Any, ListValue, Struct, Value};
use serde_json::Value as Json;

/// A map for each namespace as dynamic metadata. What is no map is left out.
pub(crate) fn metadata(namespaces: &serde_json::Map<String, Json>) -> DynamicMetadata {
    let mut metadata = DynamicMetadata::default();
    for (namespace, values) in namespaces {
        for (key, it) in values.as_object().into_iter().flatten() {
            metadata.set(namespace.as_str(), key.as_str(), value(it));
        }
    }
    metadata
}

/// Values by key as JSON text.
pub(crate) fn values_text(values: &BTreeMap<String, MetadataValue>) -> String {
    struct_text(&Struct { fields: values.clone() })
}

/// JSON in the form in which transcripts have it.
pub(crate) fn canonical(map: &serde_json::Map<String, Json>) -> String {
    struct_text(&structure(map))
}

/// A JSON object as the protocol has it.
pub(crate) fn structure(map: &serde_json::Map<String, Json>) -> Struct {
    Struct { fields: map.iter().map(|(key, it)| (key.clone(), value(it))).collect() }
}

fn value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => ValueKind::NullValue(0),
        Json::Bool(truth) => ValueKind::BoolValue(*truth),
        Json::Number(number) => ValueKind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => ValueKind::StringValue(text.clone()),
        Json::Array(items) => ValueKind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(map) => ValueKind::StructValue(structure(map)),
    };
    Value { kind: Some(kind) }
}

/// A struct as JSON text, keys sorted.
pub(crate) fn struct_text(fields: &Struct) -> String {
    json(&Value { kind: Some(ValueKind::StructValue(fields.clone())) }).to_string()
}

/// A value as JSON text, keys sorted.
pub(super) fn value_text(value: &Value) -> String {
    json(value).to_string()
}

fn json(value: &Value) -> Json {
    match &value.kind {
        None | Some(ValueKind::NullValue(_)) => Json::Null,
        Some(ValueKind::BoolValue(truth)) => Json::Bool(*truth),
        Some(ValueKind::NumberValue(number)) => Json::from(*number),
        Some(ValueKind::StringValue(text)) => Json::String(text.clone()),
        Some(ValueKind::ListValue(list)) => Json::Array(list.values.iter().map(json).collect()),
        Some(ValueKind::StructValue(map)) => {
            let sorted: BTreeMap<_, _> = map.fields.iter().collect();
            Json::Object(sorted.into_iter().map(|(key, it)| (key.clone(), json(it))).collect())
        }
    }
}

/// A `google.protobuf.StringValue`.
pub(super) fn typed(text: &str) -> Any {
    let value = extproc_proto::prost::Message::encode_to_vec(&text.to_owned());
    Any { type_url: "type.googleapis.com/google.protobuf.StringValue".to_owned(), value }
}
