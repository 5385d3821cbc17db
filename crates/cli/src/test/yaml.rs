//! YAML as a tree whose nodes know their tag and their place.
//!
//! A reader of typed values would not do: matchers are tags (`!regex`), and every problem names its line and column.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

/// A place in a file, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it begins, with its tag.
    pub(super) at: Position,
    /// Its tag without the exclamation mark.
    pub(super) tag: Option<String>,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Scalar {
        text: String,
        /// Written without quotes: may be a number, a truth value or nothing.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) at: Position,
    pub(super) message: String,
}

/// The documents of a text; empty ones are left out.
///
/// # Errors
/// What is no YAML, or too much of it.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Problem> {
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| problem(&error))?;
        builder.take(event, &span)?;
    }
    Ok(builder.documents)
}

impl Node {
    /// The text of a plain scalar that means nothing: empty, `null` or `~`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "keys and values",
        }
    }

    /// How many nodes it is made of.
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|(key, value)| key.size() + value.size()).sum(),
        }
    }
}

/// Aliases are copied; this many nodes are more than any honest file has.
const MOST_COPIED: usize = 100_000;

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    copied: usize,
}

/// A list or map that is not complete.
struct Open {
    node: Node,
    anchor: usize,
    /// A key that waits for its value.
    key: Option<Node>,
    /// Keys that came by `<<`; the map's own replace them.
    merged: Vec<Value>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let at = position(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.complete(Node { at, tag: name(tag.as_deref()), value }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(at, tag.as_deref(), Value::List(Vec::new()), anchor);
                Ok(())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.begin(at, tag.as_deref(), Value::Map(Vec::new()), anchor);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.complete(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(Problem { at, message: "an alias cannot stand inside of what it names".to_owned() });
                };
                self.copied += node.size();
                if self.copied > MOST_COPIED {
                    return Err(Problem { at, message: "aliases make the file too large".to_owned() });
                }
                self.complete(Node { at, ..node }, 0)
            }
            // Documents, comments.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: Position, tag: Option<&Tag>, value: Value, anchor: usize) {
        self.open.push(Open { node: Node { at, tag: name(tag), value }, anchor, key: None, merged: Vec::new() });
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            if node.tag.is_some() || !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), None) => open.key = Some(node),
            (Value::Map(entries), Some(key)) => insert(entries, &mut open.merged, key, node)?,
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

/// Adds an entry; `<<` adds those of another map that are not there.
fn insert(entries: &mut Vec<(Node, Node)>, merged: &mut Vec<Value>, key: Node, value: Node) -> Result<(), Problem> {
    let is_merge = matches!(&key.value, Value::Scalar { text, plain: true } if text == "<<");
    if !is_merge {
        let Some(old) = entries.iter_mut().find(|(old, _)| old.value == key.value) else {
            entries.push((key, value));
            return Ok(());
        };
        let Some(index) = merged.iter().position(|it| *it == key.value) else {
            let Position { line, column } = old.0.at;
            return Err(Problem { at: key.at, message: format!("this key is there already, at {line}:{column}") });
        };
        merged.swap_remove(index);
        *old = (key, value);
        return Ok(());
    }
    let Value::Map(others) = value.value else {
        return Err(Problem { at: value.at, message: "`<<` takes keys and values, usually an alias".to_owned() });
    };
    for (key, value) in others {
        if entries.iter().all(|(old, _)| old.value != key.value) {
            merged.push(key.value.clone());
            entries.push((key, value));
        }
    }
    Ok(())
}

fn name(tag: Option<&Tag>) -> Option<String> {
    tag.map(|tag| tag.original().trim_start_matches('!').to_owned())
}

fn position(span: &Span) -> Position {
    let start = span.tag_start().unwrap_or(span.start);
    Position { line: start.line(), column: start.col() + 1 }
}

fn problem(error: &ScanError) -> Problem {
    let mark = error.marker();
    Problem { at: Position { line: mark.line(), column: mark.col() + 1 }, message: error.info() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Node {
        let mut documents = documents(text).expect(text);
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0)
    }

    #[test]
    fn tags_and_places_are_kept() {
        let Value::Map(entries) = only("a: 1\nb: !regex \"^x\"\nc:\n  - !absent\n  - !json {p: q}\n").value else {
            panic!("a map")
        };
        let (_, b) = &entries[1];
        assert_eq!((b.tag.as_deref(), b.at), (Some("regex"), Position { line: 2, column: 4 }));
        let Value::List(items) = &entries[2].1.value else { panic!("a list") };
        assert_eq!((items[0].tag.as_deref(), items[0].is_null()), (Some("absent"), true));
        assert_eq!((items[1].tag.as_deref(), items[1].at.line), (Some("json"), 5));
    }

    #[test]
    fn documents_aliases_and_merges() {
        assert_eq!(documents("---\na: 1\n---\n# nothing\n---\n- b\n").expect("valid").len(), 2);
        let Value::List(items) = only("- &x {a: 1, b: 2}\n- {<<: *x, b: 3}\n- {b: 3, <<: *x}\n").value else {
            panic!("a list")
        };
        for item in &items[1..] {
            let Value::Map(entries) = &item.value else { panic!("a map") };
            let mut pairs: Vec<_> = entries.iter().map(|(k, v)| format!("{:?}{:?}", k.value, v.value)).collect();
            pairs.sort();
            assert_eq!(pairs.len(), 2, "{pairs:?}");
            assert!(pairs[1].contains("\"b\"") && pairs[1].contains("\"3\""), "{pairs:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        for (text, line, part) in [
            ("a: [1\nb: 2\n", 2, ""),
            ("a: 1\na: 2\n", 2, "1:1"),
            ("a: *b\n", 1, ""),
            ("a: &a [*a]\n", 1, "inside"),
            ("<<: 1\n", 1, "<<"),
        ] {
            let problem = documents(text).expect_err(text);
            assert_eq!(problem.at.line, line, "{text}: {problem:?}");
            assert!(problem.message.contains(part) && !problem.message.is_empty(), "{text}: {problem:?}");
        }
        let bomb = (0..30).fold("- &a0 [x, x]\n".to_owned(), |text, n| format!("{text}- &a{} [*a{n}, *a{n}]\n", n + 1));
        assert!(documents(&bomb).expect_err("too large").message.contains("too large"));
    }
}
