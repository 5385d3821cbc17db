//! What the data plane tells about an exchange.

use extproc::testing::Exchange;
use extproc_proto::prost_types::Value as Proto;
use serde_json::Value as Json;

use super::super::decode::{Problems, untagged};
use super::super::json;
use super::super::yaml::{Node, Position, Value};
use crate::value;

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
        Some(Json::Object(fields)) => fields.into_iter().map(|(name, value)| (name, value::to_proto(value))).collect(),
        Some(_) => {
            problems.push(at, shape);
            Vec::new()
        }
        None => Vec::new(),
    }
}
