//! JSON written as YAML, and values within JSON.

use extproc_proto::ProcessingResponse;
use extproc_proto::prost_types::{self, value::Kind};
use serde_json::{Map, Number, Value as Json};

use super::yaml::{Node, Value};

/// The JSON that a node without tags stands for.
pub(super) fn plain(node: &Node) -> Result<Json, String> {
    match &node.value {
        Value::Scalar { text, plain } => Ok(scalar(text, *plain)),
        Value::List(items) => items.iter().map(inner).collect::<Result<_, _>>().map(Json::Array),
        Value::Map(entries) => {
            let pair = |(key, value): &(Node, Node)| Ok((key_text(key)?.to_owned(), inner(value)?));
            entries.iter().map(pair).collect::<Result<Map<_, _>, String>>().map(Json::Object)
        }
    }
}

/// The text of a key.
pub(super) fn key_text(key: &Node) -> Result<&str, String> {
    match &key.value {
        Value::Scalar { text, .. } => Ok(text),
        Value::List(_) | Value::Map(_) => Err("a key must be a single word".to_owned()),
    }
}

/// What stands at a path: `a.b.0`, or a JSON pointer `/a/b/0` for names with dots. The empty path is all of it.
pub(super) fn at<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    if path.is_empty() || path.starts_with('/') {
        return json.pointer(path);
    }
    path.split('.').try_fold(json, |json, name| match json {
        Json::Object(fields) => fields.get(name),
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A string's text, of anything else the JSON.
pub(super) fn readable(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The dynamic metadata of replies, later ones over earlier ones, namespace by namespace.
pub(super) fn of_metadata<'a>(replies: impl Iterator<Item = &'a ProcessingResponse>) -> Json {
    let mut all = Map::new();
    for (namespace, value) in replies.filter_map(|reply| reply.dynamic_metadata.as_ref()).flat_map(|it| &it.fields) {
        match (all.get_mut(namespace), of_proto(value)) {
            (Some(Json::Object(old)), Json::Object(new)) => old.extend(new),
            (_, value) => {
                all.insert(namespace.clone(), value);
            }
        }
    }
    Json::Object(all)
}

/// A value of `google.protobuf` as JSON.
pub(crate) fn of_proto(value: &prost_types::Value) -> Json {
    match &value.kind {
        Some(Kind::BoolValue(truth)) => Json::Bool(*truth),
        Some(Kind::NumberValue(number)) => of_number(*number),
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::ListValue(list)) => list.values.iter().map(of_proto).collect(),
        Some(Kind::StructValue(fields)) => {
            Json::Object(fields.fields.iter().map(|(name, value)| (name.clone(), of_proto(value))).collect())
        }
        Some(Kind::NullValue(_)) | None => Json::Null,
    }
}

/// The wire knows only floating point; whole numbers are written as such.
fn of_number(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and fits")]
        return Json::from(number as i64);
    }
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

fn inner(node: &Node) -> Result<Json, String> {
    match &node.tag {
        Some(tag) => Err(format!("`!{tag}` has no meaning within JSON")),
        None => plain(node),
    }
}

fn scalar(text: &str, plain: bool) -> Json {
    if plain {
        match text {
            "" | "~" | "null" => return Json::Null,
            "true" => return Json::Bool(true),
            "false" => return Json::Bool(false),
            _ => {}
        }
        // JSON's own numbers; what else YAML takes for one stays text.
        if let Ok(number) = serde_json::from_str::<Number>(text) {
            return Json::Number(number);
        }
    }
    Json::String(text.to_owned())
}
