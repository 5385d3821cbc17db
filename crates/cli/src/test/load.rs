//! Case files: found, read, and every problem told with its line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::case::Case;
use super::decode::Problems;
use super::read;
use super::yaml::{self, Node, Position, Problem, Value};
use crate::failure::{Failure, Outcome};

/// A file that was read.
#[derive(Debug)]
pub(super) struct File {
    /// As it was named, or as it was found in a directory that was.
    pub(super) path: PathBuf,
    pub(super) cases: Vec<Loaded>,
}

/// A case, and the tree it was read from.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) case: Case,
    node: Node,
    dir: PathBuf,
}

/// Reads files and, recursively, every `*.yaml` and `*.yml` of directories.
///
/// # Errors
/// Everything that is wrong in all of them; and that there is no case at all.
pub(super) fn load(paths: &[PathBuf]) -> Outcome<Vec<File>> {
    let mut found = Vec::new();
    for path in paths {
        find(path, &mut found).map_err(Failure::Usage)?;
    }
    let (mut files, mut wrong) = (Vec::new(), String::new());
    for path in found {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(Failure::Usage)?;
        let dir = path.parent().unwrap_or_else(|| Path::new(""));
        match read(&text, dir) {
            Ok(cases) => files.push(File { path, cases }),
            Err(problems) => problems.iter().for_each(|problem| tell(&mut wrong, &path, &text, problem)),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::usage(wrong.trim_end().to_owned()));
    }
    if files.iter().all(|file| file.cases.is_empty()) {
        return Err(Failure::usage("there is no case in what was named; docs/case-files.md shows how to write one"));
    }
    Ok(files)
}

/// The cases of a text: each document is a case or a list of cases.
pub(super) fn read(text: &str, dir: &Path) -> Result<Vec<Loaded>, Vec<Problem>> {
    let documents = yaml::documents(text).map_err(|problem| vec![problem])?;
    let mut problems = Problems::default();
    let mut cases = Vec::new();
    let mut names: BTreeMap<String, Position> = BTreeMap::new();
    for document in documents {
        let nodes = match document {
            Node { value: Value::List(items), tag: None, .. } => items,
            one => vec![one],
        };
        for node in nodes {
            // The number of the first run stands for all.
            let tree = read::numbered(&node, 1).unwrap_or_else(|| node.clone());
            let Some(case) = read::case(tree, dir, &mut problems) else { continue };
            if let Some(first) = names.insert(case.name.clone(), case.at) {
                let message = format!("the name {:?} is taken, at {}:{}", case.name, first.line, first.column);
                problems.push(case.at, message);
            }
            cases.push(Loaded { case, node, dir: dir.to_owned() });
        }
    }
    problems.0.sort_by_key(|problem| problem.at);
    if problems.0.is_empty() { Ok(cases) } else { Err(problems.0) }
}

impl Loaded {
    /// The case as its run of this number plays it.
    pub(super) fn numbered(&self, run: u32) -> Result<Case, String> {
        let Some(tree) = read::numbered(&self.node, run) else { return Ok(self.case.clone()) };
        let mut problems = Problems::default();
        match (read::case(tree, &self.dir, &mut problems), problems.0.first()) {
            (Some(case), None) => Ok(case),
            (_, problem) => {
                let message = problem.map_or("it cannot be read", |problem| &problem.message);
                Err(format!("with {} as {run}: {message}", read::NUMBER))
            }
        }
    }
}

fn find(path: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let about = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !about.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("cannot list {}", path.display()))?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let is_case_file = path.extension().is_some_and(|it| it == "yaml" || it == "yml");
        if path.is_dir() || is_case_file {
            find(&path, found)?;
        }
    }
    Ok(())
}

/// `file:line:column: message`, and the line with a mark below.
fn tell(out: &mut String, path: &Path, text: &str, Problem { at, message }: &Problem) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}:{}:{}: {message}", path.display(), at.line, at.column);
    let Some(line) = at.line.checked_sub(1).and_then(|index| text.lines().nth(index)) else { return };
    let number = at.line.to_string();
    let margin = " ".repeat(number.len());
    // Tabs stay, so that the mark stands below what it marks.
    let before = line.chars().take(at.column.saturating_sub(1));
    let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let _ = writeln!(out, "{number} | {}\n{margin} | {indent}^", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        let problems = read(text, Path::new("/nowhere")).expect_err(text);
        problems.iter().map(|it| format!("{}:{}: {}", it.at.line, it.at.column, it.message)).collect()
    }

    #[test]
    fn documents_and_lists() {
        let cases = read("name: a\n---\n- name: b\n- {name: c, skip: why}\n---\n", Path::new(".")).expect("valid");
        let names: Vec<&str> = cases.iter().map(|it| it.case.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn every_problem_of_a_file_is_told_with_its_place() {
        let text =
            "- name: a\n  requst: {}\n  expect:\n    cleint: {status: 200}\n    client: {status: !regx x}\n- nme: b\n";
        let wrong = wrong(text);
        for part in [
            "2:3: unknown key `requst`; did you mean `request`?",
            "4:5: unknown key `cleint`; did you mean `client`?",
            "5:22: unknown matcher `!regx`; did you mean `regex`?",
            "6:3: the case has no `name`",
            "6:3: unknown key `nme`; did you mean `name`?",
        ] {
            assert!(wrong.iter().any(|it| it == part), "{part} is not in {wrong:#?}");
        }
        assert_eq!(wrong.len(), 5, "{wrong:#?}");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("name: a\n---\nname: a\n", "3:1: the name \"a\" is taken, at 1:1"),
            ("5\n", "must be keys and values"),
            ("name: ''\n", "empty"),
            ("name: a\nrepeat: 0\n", "never plays"),
            ("name: a\nmodes: [buffred]\n", "2:9: unknown mode `buffred`; did you mean `buffered`?"),
            ("name: a\nmodes: {request: buffered, respons: none}\n", "did you mean `response`"),
            ("name: a\nchunks: [1, rest, 2]\n", "2:13: `rest`"),
            ("name: a\nchunks: 0\n", "at least one byte"),
            ("name: a\nrequest: {path: a}\n", "2:17: `path`: \"a\" is not a path"),
            ("name: a\nrequest: {method: 'a b'}\n", "not a method"),
            ("name: a\nrequest: {headers: {host: x}}\n", "`authority`"),
            ("name: a\nrequest: {headers: {'a b': x}}\n", "not a header name"),
            ("name: a\nrequest: {headers: {':path': x}}\n", "keys of their own"),
            ("name: a\nrequest: {body: !hex 0}\n", "pairs"),
            ("name: a\nrequest: {body: !file x}\n", "/nowhere/x"),
            ("name: a\nresponse: {status: 99}\n", "200 to 599"),
            ("name: a\nresponse: {silent: true}\n", "gives_up"),
            ("name: a\nrequest: {method: HEAD}\nresponse: {body: x}\n", "3:18: `body`: a response to HEAD"),
            ("name: a\ndata_plane: {message_timeout: 5}\n", "`message_timeout`: \"5\" is no time"),
            ("name: a\ndata_plane: {status_on_error: 777}\n", "status_on_error is 777"),
            ("name: a\nattributes: [x]\n", "names and values"),
            ("name: a\nexpect: {immediate: maybe}\n", "neither true nor false"),
            ("name: a\nexpect: {end: INTRNAL}\n", "did you mean `INTERNAL`"),
            ("name: a\nexpect: {never: [imediate_response]}\n", "did you mean `immediate_response`"),
            ("name: a\nexpect: {messages: [{a: {}, b: {}}]}\n", "one key"),
            ("name: a\nexpect: {messages: [request_headers: {sett: {}}]}\n", "did you mean `set`"),
            ("name: a\nexpect: {counters: {streams_strted: 1}}\n", "did you mean `streams_started`"),
            ("name: a\nexpect: {metadata: {ns: 5}}\n", "namespaces"),
            ("name: a\nexpect: {client: {body: !same x}}\n", "nothing is captured"),
            ("name: a\ngrpc_metadata: {'a b': c}\n", "gRPC metadata"),
            ("name: !tag a\n", "`!tag` has no meaning here"),
        ] {
            let wrong = wrong(text).join("; ");
            assert!(wrong.contains(part), "{text}: {wrong}");
        }
    }

    #[test]
    fn numbers_stand_in_their_place() {
        let text = "name: n\nrepeat: 3\nrequest: {headers: {x-id: 'id-${n}'}}\n";
        let loaded = &read(text, Path::new(".")).expect("valid")[0];
        for run in 1..=3 {
            let headers = loaded.numbered(run).expect("valid").exchange.request.headers();
            assert_eq!(headers.get_str("x-id"), Some(format!("id-{run}").as_str()));
        }
    }

    const DOCUMENT: &str = include_str!("../../../../docs/case-files.md");

    #[test]
    fn every_example_of_the_document_is_valid() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("body.bin"), b"bytes").expect("a file");
        let blocks: Vec<&str> = DOCUMENT.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next()).collect();
        assert!(blocks.len() > 15, "{}", blocks.len());
        for block in blocks {
            let cases = read(block, dir.path()).unwrap_or_else(|problems| panic!("{problems:#?}\nin\n{block}"));
            assert!(!cases.is_empty(), "{block}");
        }
    }

    #[test]
    fn every_name_is_in_the_document_with_an_example() {
        let matchers = super::super::matcher::TAGS.into_iter().chain(super::super::payload::TAGS);
        for tag in matchers {
            assert!(DOCUMENT.matches(&format!("!{tag}")).count() > 1, "!{tag}");
        }
        let words = super::super::case::KINDS.iter().map(|(name, _)| *name);
        for word in words.chain(super::super::case::MODES.iter().map(|(name, _)| *name)) {
            assert!(DOCUMENT.contains(&format!("`{word}`")), "{word}");
        }
    }
}
