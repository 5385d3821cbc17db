//! Reading the tree: every problem of a file is found, each with its place.

use std::time::Duration;

use super::yaml::{Node, Position, Problem, Value};

/// What was wrong so far. Readers go on after a problem, with something in place of what they could not read.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, at: Position, message: impl Into<String>) {
        self.0.push(Problem { at, message: message.into() });
    }

    /// The value, or a problem at this place.
    pub(super) fn note<T>(&mut self, at: Position, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.push(at, message)).ok()
    }
}

/// The keys of one map, each taken once; what is left is unknown.
pub(super) struct Keys {
    at: Position,
    entries: Vec<(Node, Node)>,
    known: Vec<&'static str>,
}

impl Keys {
    /// The map behind a node; a problem and no keys when it is none.
    pub(super) fn of(node: Node, what: &str, problems: &mut Problems) -> Self {
        let at = node.at;
        untagged(&node, problems);
        let entries = match node.value {
            Value::Map(entries) => entries,
            _ if node.is_null() => Vec::new(),
            _ => {
                problems.push(at, format!("{what} is {}; it must be keys and values", node.kind()));
                Vec::new()
            }
        };
        Self { at, entries, known: Vec::new() }
    }

    /// Where the map begins.
    pub(super) const fn at(&self) -> Position {
        self.at
    }

    /// The value of a key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, _)| is_key(name, key))?;
        Some(self.entries.remove(index).1)
    }

    /// The value of a key, read by a function that says what is wrong with it.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(key)?;
        problems.note(node.at, read(&node).map_err(|message| format!("`{key}`: {message}")))
    }

    /// Every key that nobody took is a problem.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries {
            match &key.value {
                Value::Scalar { text, .. } => {
                    problems.push(key.at, unknown("key", text, self.known.iter().copied()));
                }
                Value::List(_) | Value::Map(_) => problems.push(key.at, "a key must be a single word"),
            }
        }
    }
}

fn is_key(node: &Node, key: &str) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if text == key)
}

/// `unknown key "x"; did you mean "y"?`
pub(super) fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("unknown {what} `{word}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{word}`; known here: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |it: &str| it.to_lowercase().replace(['_', '-', '!'], "");
    let word = plain(word);
    let scored = candidates.map(|it| (strsim::jaro_winkler(&word, &plain(it)), it));
    // 0.8 finds slips of a letter or two in words of usual length, and not what merely sounds alike.
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, it)| it)
}

/// A tag where none has a meaning is a problem.
pub(super) fn untagged(node: &Node, problems: &mut Problems) {
    if let Some(tag) = &node.tag {
        problems.push(node.at, format!("`!{tag}` has no meaning here"));
    }
}

/// The items of a list; one value alone is a list of one.
pub(super) fn items(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) if node.tag.is_none() => items,
        _ => vec![node],
    }
}

/// A single value without a tag.
pub(super) fn text(node: &Node) -> Result<&str, String> {
    match (&node.value, &node.tag) {
        (_, Some(tag)) => Err(format!("`!{tag}` has no meaning here")),
        (Value::Scalar { text, .. }, None) => Ok(text),
        _ => Err(format!("it is {}; it must be a single value", node.kind())),
    }
}

pub(super) fn truth(node: &Node) -> Result<bool, String> {
    match text(node)? {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

/// A whole number of at least zero; `16k` and `1M` are powers of two.
pub(super) fn number<T: TryFrom<u64>>(node: &Node) -> Result<T, String> {
    let text = text(node)?;
    let (digits, unit) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1 << 10),
        Some(digits) => (digits, 1 << 20),
        None => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let number = number.ok_or_else(|| format!("{text:?} is no whole number"))?;
    T::try_from(number).map_err(|_| format!("{text} is too large"))
}

pub(super) fn duration(node: &Node) -> Result<Duration, String> {
    let text = text(node)?;
    crate::peer::duration(text).map_err(|hint| format!("{text:?} is no time; {hint}"))
}

/// One of these words.
pub(super) fn word<T: Copy>(node: &Node, what: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    let text = text(node)?;
    let lower = text.to_ascii_lowercase();
    match words.iter().find(|(word, _)| *word == lower) {
        Some((_, value)) => Ok(*value),
        None => Err(unknown(what, text, words.iter().map(|(word, _)| *word))),
    }
}
