//! `extproc test`.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::process::{Server, run, text};

const CHAIN: &str = "trivial,timer,echo,digest,decorated,context";

/// The shipped cases.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/cases");

/// Writes a case file and plays it against samples in the process.
async fn play(cases: &str, args: &[&str]) -> Output {
    let dir = TempDir::new().unwrap();
    let file = file(&dir, cases);
    run(&[&["test", &file, "--sample", "digest"], args].concat()).await
}

fn file(dir: &TempDir, cases: &str) -> String {
    let path = dir.path().join("cases.yaml");
    std::fs::write(&path, cases).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn py_140_to_153_the_walk_through_in_process() {
    let output = run(&["test", CASES, "--sample", CHAIN, "--parallel", "16"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    assert!(shown.contains(" 0 failed"), "{shown}");
}

#[tokio::test]
async fn py_140_to_153_the_walk_through_against_a_server() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(&["serve", CHAIN, "--listen", "127.0.0.1:0"]).await;
    let socket = format!("unix:{}", dir.path().join("s").display());
    let mut local = Server::spawn(&["serve", CHAIN, "--listen", &socket], &[]);
    local.line().await.unwrap();
    for target in [server.addr.to_string(), socket] {
        let output = run(&["test", CASES, "--target", &target, "--parallel", "16"]).await;
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{target}: {shown}{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn a_processor_that_only_looks_on_changes_nothing() {
    let cases = |observing: bool, digest: &str| {
        format!(
            "- name: looks on
  request: {{ method: POST, path: /something, body: abc }}
  modes: streamed
  data_plane: {{ observability_mode: {observing} }}
  expect:
    upstream: {{ body: abc, headers: {{ x-request-digest: {digest} }} }}
"
        )
    };
    for (observing, digest, code) in [(true, "!absent", 0), (true, "!present", 1)] {
        let output = play(&cases(observing, digest), &[]).await;
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{observing} {digest}: {shown}{}", text(&output.stderr));
    }
}

const TWO: &str = r"
- name: good
  tags: [A]
  request: {path: /something}
  expect: {client: {headers: {x-request-digest: !present}}}
- name: bad
  tags: [b]
  request: {path: /something}
  expect:
    client: {status: 201, headers: {x-request-digest: !absent}}
- {name: not now, skip: later}
";

#[tokio::test]
async fn failures_show_expected_actual_and_the_exchange() {
    let output = play(TWO, &[]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}{}", text(&output.stderr));
    for part in [
        "ok good [none]",
        "FAILED bad [none]",
        "cases.yaml:10:22",
        "expected: \"201\"",
        "actual:   \"200\"",
        "client header x-request-digest",
        "actual:   \"860d64d6465b",
        "set x-request-digest: 860d64d6465b",
        "+ x-request-digest",
        "skipped not now  later",
        "1 passed, 1 failed, 1 skipped",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours without a terminal: {shown}");
}

#[tokio::test]
async fn cases_are_chosen_by_name_and_tag() {
    for (args, code, part) in [
        (&["--filter", "g*"][..], 0, "1 passed, 0 failed\n"),
        (&["--filter", "G??D"], 0, "1 passed, 0 failed\n"),
        (&["--tags", "a"], 0, "1 passed, 0 failed\n"),
        (&["--tags", "x,B"], 1, "0 passed, 1 failed\n"),
        (&["--repeat", "5", "--tags", "a", "--parallel", "3"], 0, "ok good [none] x5"),
        (&["--filter", "none*"], 2, ""),
    ] {
        let output = play(TWO, args).await;
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {shown}{}", text(&output.stderr));
        assert!(shown.contains(part), "{args:?}: {shown}");
    }
}

#[tokio::test]
async fn results_as_json_and_junit() {
    let dir = TempDir::new().unwrap();
    let report = dir.path().join("report.xml");
    let output = play(TWO, &["--json", "--junit", &report.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["passed"], &json["failed"], &json["skipped"]), (&1.into(), &1.into(), &1.into()), "{json}");
    let bad = &json["cases"][1];
    assert_eq!((&bad["name"], &bad["result"], &bad["mode"]), (&"bad".into(), &"failed".into(), &"none".into()));
    assert_eq!(bad["differences"][0]["expected"], "\"201\"", "{bad}");
    assert!(bad["transcript"].as_str().unwrap().contains("Response to the client"), "{bad}");
    let xml = std::fs::read_to_string(report).unwrap();
    for part in [
        "<testsuites tests=\"3\" failures=\"1\" skipped=\"1\">",
        "name=\"good [none]\"",
        "<skipped message=\"later\"/>",
        "<failure message=\"client status: expected &quot;201&quot;, got &quot;200&quot;\">",
    ] {
        assert!(xml.contains(part), "{part} is not in\n{xml}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_2_with_its_place() {
    for (cases, part) in [
        (
            "- name: a\n  expct: {}\n",
            "cases.yaml:2:3: unknown key `expct`; did you mean `expect`?\n2 |   expct: {}\n  |   ^",
        ),
        ("- name: a\n  modes: [\n", "cases.yaml:"),
        ("[]\n", "no case"),
    ] {
        let output = play(cases, &[]).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{cases}: {error}");
        assert!(error.contains(part), "{cases}: {error}");
    }
    for (args, part) in [
        (&["test", "/nowhere", "--sample", "noop"][..], "/nowhere"),
        (&["test", CASES], "--target"),
        (&["test", CASES, "--sample", "noop", "--target", "h:1"], "cannot be used"),
        (&["test", CASES, "--sample", "sink"], "serve it"),
        (&["test", CASES, "--sample", "jwt"], "jwt.jwks-file"),
        (&["test", CASES, "--sample", "slow", "--set", "slow.delay=now"], "write 300ms"),
        (&["test", CASES, "--sample", "slow", "--set", "waf.rule=a=b"], "not among those"),
        (&["test", CASES, "--sample", "noop", "--parallel", "0"], "0"),
    ] {
        let output = run(args).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(part), "{args:?}: {error}");
    }
    let output = run(&["test", CASES, "--target", "127.0.0.1:1"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no processor answers"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn transcripts_are_written_and_compared() {
    let dir = TempDir::new().unwrap();
    let cases = |body: &str| {
        format!(
            "- name: t\n  request: {{path: /x, body: {body}}}\n  modes: [none, buffered]\n  expect:\n    \
             transcript: {{file: golden/t.txt, mask: [x-request-digest]}}\n"
        )
    };
    let place = file(&dir, &cases("a"));
    let test = |more: &'static [&'static str]| {
        let place = place.clone();
        async move { run(&[&["test", &place, "--sample", "digest"], more].concat()).await }
    };
    let missing = test(&[]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stdout).contains("--update writes it"), "{}", text(&missing.stdout));
    assert_eq!(test(&["--update"]).await.status.code(), Some(0));
    let again = test(&[]).await;
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
    let golden = std::fs::read_to_string(dir.path().join("golden/t.buffered.txt")).unwrap();
    for line in ["to the processor", "    set x-request-digest: *", "upstream", "  body (1 bytes): a", "end OK"] {
        assert!(golden.lines().any(|it| it == line), "{line} is not in\n{golden}");
    }
    assert!(Path::new(&dir.path().join("golden/t.none.txt")).exists());
    file(&dir, &cases("b"));
    let changed = test(&[]).await;
    let shown = text(&changed.stdout);
    assert_eq!(changed.status.code(), Some(1), "{shown}");
    assert!(shown.contains("-   body (1 bytes): a") && shown.contains("+   body (1 bytes): b"), "{shown}");
}
