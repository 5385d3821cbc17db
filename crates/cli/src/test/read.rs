//! From the tree to cases.

mod context;
mod data_plane;
mod expect;
mod http;

pub(super) use self::expect::code_name;

use std::path::Path;

use extproc_core::BodyMode;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use super::case::{Case, MODES, Modes};
use super::decode::{Keys, Problems, items, number, text, word};
use super::matcher::Names;
use super::yaml::{Node, Value};

/// What stands in the place of the number of the run.
pub(super) const NUMBER: &str = "${n}";

/// The body modes of HTTP, for `modes: all`.
const ALL: [BodyMode; 4] =
    [BodyMode::Streamed, BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::FullDuplexStreamed];

/// Reads a case; files that it names stand relative to `dir`. `None` when it has no name.
pub(super) fn case(node: Node, dir: &Path, problems: &mut Problems) -> Option<Case> {
    let mut keys = Keys::of(node, "a case", problems);
    let at = keys.at();
    let name = keys.read("name", problems, |node| match text(node)? {
        "" => Err("it is empty".to_owned()),
        name => Ok(name.to_owned()),
    });
    keys.read("description", problems, |node| text(node).map(drop));
    let tags = keys.take("tags").map(|node| words(node, problems)).unwrap_or_default();
    let skip = keys.read("skip", problems, |node| text(node).map(str::to_owned));
    let repeat = keys.read("repeat", problems, number).unwrap_or(1);
    let chunks = keys.take("chunks").map(|node| both_chunks(node, problems)).unwrap_or_default();
    let mut exchange = http::exchange(keys.take("request"), keys.take("response"), &chunks, dir, problems);
    if let Some(node) = keys.take("attributes") {
        exchange = context::attributes(exchange, node, problems);
    }
    if let Some(node) = keys.take("metadata_context") {
        exchange = context::metadata(exchange, node, problems);
    }
    let modes = keys.take("modes").map(|node| modes(node, problems));
    let data_plane = data_plane::read(keys.take("data_plane"), problems);
    // Those of the profile: for Envoy, headers only.
    let usual = &data_plane.options.processing_mode;
    let usual = Modes { request: usual.request_body, response: usual.response_body };
    let modes = modes.unwrap_or_else(|| vec![usual]);
    let grpc_metadata = keys.take("grpc_metadata").map(|node| metadata(node, problems)).unwrap_or_default();
    let mut names = Names::default();
    let expect = expect::read(keys.take("expect"), at, dir, &mut names, problems);
    names.finish(problems);
    keys.finish(problems);
    let Some(name) = name else {
        problems.push(at, "the case has no `name`");
        return None;
    };
    if repeat == 0 {
        problems.push(at, "`repeat: 0` never plays the case; to leave it out give the reason: `skip: …`");
    }
    Some(Case { name, at, tags, skip, repeat, exchange, modes, data_plane, grpc_metadata, expect })
}

/// The tree with the number of a run in its place; `None` when it has no place for one.
pub(super) fn numbered(node: &Node, run: u32) -> Option<Node> {
    let mut copy = node.clone();
    replace(&mut copy, &run.to_string()).then_some(copy)
}

fn replace(node: &mut Node, run: &str) -> bool {
    match &mut node.value {
        Value::Scalar { text, .. } => {
            let there = text.contains(NUMBER);
            if there {
                *text = text.replace(NUMBER, run);
            }
            there
        }
        Value::List(items) => items.iter_mut().fold(false, |there, item| replace(item, run) | there),
        Value::Map(entries) => entries.iter_mut().fold(false, |there, (_, value)| replace(value, run) | there),
    }
}

fn words(node: Node, problems: &mut Problems) -> Vec<String> {
    let read = |item: Node| problems.note(item.at, text(&item).map(str::to_owned));
    items(node).into_iter().filter_map(read).collect()
}

fn modes(node: Node, problems: &mut Problems) -> Vec<Modes> {
    let at = node.at;
    let mut all = Vec::new();
    for item in items(node) {
        if matches!(&item.value, Value::Map(_)) {
            let mut keys = Keys::of(item, "a mode", problems);
            let mut one = |key| keys.read(key, problems, mode).unwrap_or_default();
            let (request, response) = (one("request"), one("response"));
            keys.finish(problems);
            all.push(Modes { request, response });
        } else if matches!(&item.value, Value::Scalar { text, .. } if text == "all") {
            all.extend(ALL.map(|mode| Modes { request: mode, response: mode }));
        } else if let Some(mode) = problems.note(item.at, mode(&item)) {
            all.push(Modes { request: mode, response: mode });
        }
    }
    if all.is_empty() && problems.0.is_empty() {
        problems.push(at, "`modes` is empty; leave it out for headers only");
    }
    all
}

fn mode(node: &Node) -> Result<BodyMode, String> {
    word(node, "mode", &MODES)
}

/// How a body is cut into pieces; what is left is one more piece.
#[derive(Clone, Debug)]
enum Chunks {
    /// Pieces of this many bytes.
    Even(usize),
    /// Pieces of these sizes.
    Sizes(Vec<usize>),
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Even(crate::dialogue::CHUNK)
    }
}

impl Chunks {
    /// The sizes for a body of this length.
    fn sizes(&self, length: usize) -> Vec<usize> {
        match self {
            Self::Even(size) => vec![*size; length / size],
            Self::Sizes(sizes) => sizes.clone(),
        }
    }
}

fn both_chunks(node: Node, problems: &mut Problems) -> [Chunks; 2] {
    if !matches!(&node.value, Value::Map(_)) {
        let chunks = chunks(&node, problems);
        return [chunks.clone(), chunks];
    }
    let mut keys = Keys::of(node, "`chunks`", problems);
    let both =
        ["request", "response"].map(|key| keys.take(key).map(|node| chunks(&node, problems)).unwrap_or_default());
    keys.finish(problems);
    both
}

fn chunks(node: &Node, problems: &mut Problems) -> Chunks {
    let positive = |node: &Node| match number(node)? {
        0 => Err("a piece has at least one byte".to_owned()),
        size => Ok(size),
    };
    let Value::List(list) = &node.value else {
        return problems.note(node.at, positive(node)).map_or_else(Chunks::default, Chunks::Even);
    };
    let mut sizes = Vec::new();
    for (index, item) in list.iter().enumerate() {
        if matches!(&item.value, Value::Scalar { text, .. } if text == "rest") {
            if index + 1 < list.len() {
                problems.push(item.at, "`rest` is all that is left; nothing can follow");
            }
        } else if let Some(size) = problems.note(item.at, positive(item)) {
            sizes.push(size);
        }
    }
    Chunks::Sizes(sizes)
}

fn metadata(node: Node, problems: &mut Problems) -> MetadataMap {
    let mut map = MetadataMap::new();
    for (name, value, at) in http::pairs(node, "`grpc_metadata`", problems) {
        let parsed = name.parse::<AsciiMetadataKey>().map_err(|_| format!("{name:?} is no name of gRPC metadata"));
        let value = value.parse::<AsciiMetadataValue>().map_err(|_| format!("{value:?} is no value of gRPC metadata"));
        if let (Some(name), Some(value)) = (problems.note(at, parsed), problems.note(at, value)) {
            map.append(name, value);
        }
    }
    map
}
