//! Matchers as a case file writes them.

use std::collections::BTreeMap;
use std::path::Path;

use regex::bytes::Regex;

use super::super::decode::{Problems, number, text, unknown};
use super::super::yaml::{Node, Position, Value};
use super::super::{json, payload};
use super::{Form, Matcher};

/// The names of `!capture` and `!same` in one case.
#[derive(Debug, Default)]
pub(in super::super) struct Names {
    captured: BTreeMap<String, Position>,
    used: Vec<(String, Position)>,
}

impl Names {
    /// Names that are used and captured nowhere are problems.
    pub(in super::super) fn finish(self, problems: &mut Problems) {
        for (name, at) in self.used {
            if !self.captured.contains_key(&name) {
                let known = self.captured.keys().map(String::as_str);
                let message = match self.captured.is_empty() {
                    true => format!("`!same {name}`: nothing is captured in this case; write `!capture {name}` first"),
                    false => unknown("capture", &name, known),
                };
                problems.push(at, message);
            }
        }
    }
}

/// Every tag, in the order of the document.
pub(in super::super) const TAGS: [&str; 20] = [
    "absent", "present", "regex", "contains", "json", "count", "size", "first", "any", "all", "not", "and", "iso8601",
    "int", "capture", "same", "hex", "base64", "file", "messages",
];

/// A matcher of bytes. Problems are noted, and give nothing.
pub(in super::super) fn read(node: &Node, dir: &Path, names: &mut Names, problems: &mut Problems) -> Option<Matcher> {
    Reader { dir, names, problems, json: false, once: true }.matcher(node)
}

struct Reader<'a> {
    dir: &'a Path,
    names: &'a mut Names,
    problems: &'a mut Problems,
    json: bool,
    /// It is looked at for one value only, so that it may capture.
    once: bool,
}

impl Reader<'_> {
    fn matcher(&mut self, node: &Node) -> Option<Matcher> {
        let form = match node.tag.as_deref() {
            None => self.plain(node),
            Some(tag) => self.tagged(tag, node),
        };
        let form = form.map_err(|message| self.problems.push(node.at, message)).ok()??;
        Some(Matcher { at: node.at, form })
    }

    fn plain(&mut self, node: &Node) -> Result<Option<Form>, String> {
        if self.json {
            return Ok(Some(Form::ExactJson(json::plain(node)?)));
        }
        match &node.value {
            Value::List(items) => {
                let all: Vec<_> = items.iter().filter_map(|item| self.matcher(item)).collect();
                Ok((all.len() == items.len()).then_some(Form::Values(all)))
            }
            Value::Map(_) => Err("it is keys and values; write !json to look into JSON".to_owned()),
            Value::Scalar { text, .. } => Ok(Some(Form::Exact(text.clone().into()))),
        }
    }

    fn tagged(&mut self, tag: &str, node: &Node) -> Result<Option<Form>, String> {
        let bare = Node { tag: None, ..node.clone() };
        let form = match tag {
            "absent" => nothing(&bare, Form::Absent)?,
            "present" => nothing(&bare, Form::Present)?,
            "iso8601" => nothing(&bare, Form::Iso8601)?,
            "int" => nothing(&bare, Form::Int)?,
            "regex" => {
                let text = text(&bare)?;
                Form::Regex(Regex::new(text).map_err(|error| format!("{text:?} is no regular expression: {error}"))?)
            }
            "contains" => Form::Contains(text(&bare)?.to_owned()),
            "count" => Form::Count(number(&bare)?),
            "size" => Form::Size(number(&bare)?),
            "capture" => Form::Capture(self.capture(&bare)?),
            "same" => {
                let name = text(&bare)?.to_owned();
                self.names.used.push((name.clone(), node.at));
                Form::Same(name)
            }
            "hex" | "base64" | "file" | "messages" => Form::Exact(payload::read(node, self.dir)?),
            "json" => return self.fields(&bare),
            "first" => return Ok(self.inner(&bare, self.once).map(|inner| Form::First(Box::new(inner)))),
            "any" => return Ok(self.inner(&bare, false).map(|inner| Form::Any(Box::new(inner)))),
            "all" => return Ok(self.inner(&bare, false).map(|inner| Form::All(Box::new(inner)))),
            "not" => return Ok(self.inner(&bare, false).map(|inner| Form::Not(Box::new(inner)))),
            "and" => {
                let Value::List(items) = &bare.value else {
                    return Err(format!("`!and` takes a list of matchers, not {}", bare.kind()));
                };
                let all: Vec<_> = items.iter().filter_map(|item| self.matcher(item)).collect();
                return Ok((all.len() == items.len()).then_some(Form::And(all)));
            }
            other => return Err(unknown("matcher", &format!("!{other}"), TAGS.into_iter())),
        };
        Ok(Some(form))
    }

    /// What a tag is applied to: `!any !int`, which YAML cannot say, is written `!any [!int]`; `!any x` is exact.
    fn inner(&mut self, bare: &Node, once: bool) -> Option<Matcher> {
        let inside = once && self.once;
        let once = std::mem::replace(&mut self.once, inside);
        let inner = match &bare.value {
            Value::List(items) => match &items[..] {
                [one] => self.matcher(one),
                _ => {
                    self.problems.push(bare.at, "it takes one matcher, in brackets when that has a tag: [!int]");
                    None
                }
            },
            _ => self.matcher(bare),
        };
        self.once = once;
        inner
    }

    fn capture(&mut self, bare: &Node) -> Result<String, String> {
        let name = text(bare)?.to_owned();
        if name.is_empty() {
            return Err("`!capture` needs a name".to_owned());
        }
        if !self.once {
            return Err("`!capture` has no meaning within !any, !all and !not: which value would it be?".to_owned());
        }
        if let Some(first) = self.names.captured.insert(name.clone(), bare.at) {
            return Err(format!("{name} is captured already, at {}:{}", first.line, first.column));
        }
        Ok(name)
    }

    fn fields(&mut self, bare: &Node) -> Result<Option<Form>, String> {
        let Value::Map(entries) = &bare.value else {
            return Err(format!("`!json` takes paths and what stands there, {{path: value}}; this is {}", bare.kind()));
        };
        let outer = std::mem::replace(&mut self.json, true);
        let mut fields = Vec::new();
        for (key, value) in entries {
            let path = json::key_text(key).map(str::to_owned).map_err(|message| self.problems.push(key.at, message));
            if let (Ok(path), Some(matcher)) = (path, self.matcher(value)) {
                fields.push((path, matcher));
            }
        }
        self.json = outer;
        Ok((fields.len() == entries.len()).then_some(Form::Json(fields)))
    }
}

fn nothing(bare: &Node, form: Form) -> Result<Form, String> {
    if bare.is_null() { Ok(form) } else { Err("this matcher takes nothing behind it".to_owned()) }
}
