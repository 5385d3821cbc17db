//! The core cannot do IO, no arrow between the members points back, and generated types stay at the doors.

#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the test reads the workspace and runs cargo")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every crate that may be linked into the core (proc macros are not). None of them knows sockets, threads or async; `regex` is the largest.
const LINKED: [&str; 11] = [
    "aho-corasick",
    "bytes",
    "extproc-core",
    "extproc-proto",
    "memchr",
    "prost",
    "prost-types",
    "regex",
    "regex-automata",
    "regex-syntax",
    "thiserror",
];

/// A member and the members it may depend on, dev- and build-dependencies included.
const ARROWS: [(&str, &[&str]); 7] = [
    ("proto", &[]),
    ("core", &["extproc-proto"]),
    ("sdk", &["extproc-core", "extproc-proto"]),
    ("tower", &["extproc-core", "extproc-proto"]),
    ("gateway", &["extproc-core", "extproc-proto", "extproc-tower"]),
    ("conform", &["extproc-core", "extproc-gateway", "extproc-proto", "extproc-tower"]),
    ("cli", &["extproc", "extproc-conform", "extproc-core", "extproc-gateway", "extproc-proto", "extproc-tower"]),
];

/// What no line of `core/src` may name, besides what `clippy.toml` bans.
const BANNED: [&str; 20] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::thread",
    "use std::{",
    "Condvar",
    "HashMap",
    "HashSet",
    "Instant::now",
    "Mutex",
    "RwLock",
    "SystemTime",
    "async fn",
    "async move",
    ".await",
];

/// The only source files that may name the generated types, and why. A folder stands for all files below it.
const DOORS: [(&str, &str); 21] = [
    ("core/src/filter/event.rs", "the words of the filter"),
    ("core/src/metadata.rs", "values of any shape, which have no other form"),
    ("core/src/call", "one gRPC call: what it sends and hears, member by member"),
    ("core/src/wire", "translation to and from the core's own types"),
    ("core/src/session", "the processor's side of the translation"),
    ("core/src/pair", "plays a processor that may say anything"),
    ("sdk/src/body/error.rs", "tells why an author's own message cannot be decoded"),
    ("sdk/src/body/formats.rs", "decodes the authors' own messages"),
    ("sdk/src/body/messages.rs", "decodes the authors' own messages"),
    ("sdk/src/exchange", "one stream driven through its session"),
    ("sdk/src/lib.rs", "re-exports them as `proto`"),
    ("sdk/src/facts.rs", "attributes and metadata, which have no other form"),
    ("sdk/src/raw", "processors that speak the protocol themselves"),
    ("sdk/src/server", "the gRPC server and its health service"),
    ("sdk/src/service.rs", "the gRPC service"),
    ("sdk/src/testing", "plays the data plane"),
    ("tower/src/processor/stream.rs", "the gRPC client"),
    ("tower/src/processor/http_service.rs", "the HTTP client, which sends them as JSON"),
    ("conform/src/peer", "the scripted processor"),
    ("conform/src/target/core/processor.rs", "the scripted HTTP service, whose answers are JSON"),
    ("cli/src", "call, and samples that speak the protocol without the SDK"),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn the_core_links_nothing_that_does_io() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--frozen", "-p", "extproc-core", "-e", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--format", "{p}"])
        .current_dir(crates())
        .output()
        .unwrap();
    let (tree, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "cargo tree: {errors}");
    let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(linked, BTreeSet::from(LINKED), "what the core links has changed; is the new crate pure?");
}

#[test]
fn no_arrow_points_back() {
    let members: BTreeSet<String> = fs::read_dir(crates())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(members, ARROWS.iter().map(|(member, _)| (*member).to_owned()).collect(), "a member without arrows");
    for (member, allowed) in ARROWS {
        let manifest = fs::read_to_string(crates().join(member).join("Cargo.toml")).unwrap();
        for name in members_named(&manifest) {
            assert!(allowed.contains(&name.as_str()), "{member} must not depend on {name}");
        }
    }
}

/// The members of this workspace that a manifest depends on in any way.
fn members_named(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut in_dependencies = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            in_dependencies = section.contains("dependencies");
            if in_dependencies {
                names.insert(section.rsplit('.').next().unwrap().to_owned());
            }
        } else if in_dependencies {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            names.insert(key.split('.').next().unwrap().trim().to_owned());
            if let Some((_, package)) = value.split_once("package") {
                names.insert(package.split('"').nth(1).unwrap_or_default().to_owned());
            }
        }
    }
    names.retain(|name| name == "extproc" || name.starts_with("extproc-"));
    names
}

#[test]
fn members_are_found_in_every_form_of_a_dependency() {
    let manifest = r#"
        [package]
        name = "extproc-x"
        [dependencies]
        extproc-core.workspace = true
        bytes = "1"
        renamed = { package = "extproc-tower", path = "../tower" }
        [dependencies.extproc-gateway]
        path = "../gateway"
        [target.'cfg(unix)'.dev-dependencies]
        extproc = { path = "../sdk" }
        [features]
        extproc-proto = []
    "#;
    assert_eq!(
        members_named(manifest).into_iter().collect::<Vec<_>>(),
        ["extproc", "extproc-core", "extproc-gateway", "extproc-tower"]
    );
}

/// Whether the line has the word as it is, not as the beginning of a longer one: `.awaits()` is not `.await`.
fn names(line: &str, word: &str) -> bool {
    let whole = |rest: &str| word != ".await" || !rest.starts_with(|it: char| it.is_alphanumeric() || it == '_');
    line.match_indices(word).any(|(at, _)| whole(&line[at + word.len()..]))
}

#[test]
fn a_longer_word_is_another_word() {
    assert!(names("x.await?;", ".await") && names("x.awaits().await", ".await"));
    assert!(!names("x.awaits_headers()", ".await"));
    assert!(names("std::time::Instant", "std::time"));
}

#[test]
fn the_core_names_no_clock_thread_file_socket_or_lock() {
    let files = sources(&crates().join("core/src"));
    assert!(files.len() > 8, "only {} files", files.len());
    for file in files {
        for (number, line) in code_lines(&file) {
            for banned in BANNED {
                assert!(!names(&line, banned), "{}:{number}: `{banned}` has no place in the core", file.display());
            }
        }
    }
}

#[test]
fn generated_types_stay_at_the_doors() {
    for member in ["core", "sdk", "tower", "gateway", "conform", "cli"] {
        for file in sources(&crates().join(member).join("src")) {
            let path = file.strip_prefix(crates()).unwrap().to_str().unwrap().replace('\\', "/");
            let named = code_lines(&file)
                .into_iter()
                .find(|(_, line)| line.contains("extproc_proto") || line.contains("prost"));
            let Some((number, _)) = named else { continue };
            let at_a_door = DOORS.iter().any(|(door, _)| path.starts_with(door));
            assert!(at_a_door, "{path}:{number}: generated types are named outside the doors (see DOORS in this test)");
        }
    }
}

/// Every `.rs` file below a folder, but for unit tests in files of their own.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The lines of a file up to its inline unit tests, numbered, without comments.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().enumerate().peekable();
    let mut code = Vec::new();
    while let Some((index, line)) = lines.next() {
        let tests = line == "#[cfg(test)]" && lines.peek().is_some_and(|(_, next)| next.ends_with('{'));
        if tests {
            break;
        }
        code.push((index + 1, line.split("//").next().unwrap().to_owned()));
    }
    code
}
