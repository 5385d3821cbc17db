//! JSON written as YAML, and values within JSON.

use extproc_proto::ProcessingResponse;
use serde_json::{Map, Number, Value as Json};

use super::yaml::{Node, Value};
use crate::value;

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
        match (all.get_mut(namespace), value::of_proto(value)) {
            (Some(Json::Object(old)), Json::Object(new)) => old.extend(new),
            (_, value) => {
                all.insert(namespace.clone(), value);
            }
        }
    }
    Json::Object(all)
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
