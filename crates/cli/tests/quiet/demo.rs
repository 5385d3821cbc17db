//! `extproc demo`: PY-140 to PY-155 through our gateway, and the same through the real Envoy.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::alone;
use crate::http::{get, header, send};
use crate::process::{Server, run, run_with, text};

#[tokio::test]
async fn once_shows_that_all_is_as_expected() {
    let _alone = alone().await;
    // Whether or not somebody else has the port that the demo takes when it stays up.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8080");
    let output = run(&["demo", "--once"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}\n{}", text(&output.stderr));
    for part in [
        "GET /something",
        "PUT /something",
        "860d64d6465b9e9886050295087e8a547b3e7a3c40e79d26147b50a97b9ac2c6",
        "a794dbc467285567e4c2604c991938386366f6ab94b0b0e4fab5e27e0a932e60",
        "digest     + x-request-digest",
        "gateway    + x-request-id",
        "all as expected",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours without a terminal");
    assert_eq!(text(&output.stderr), "", "nothing is logged at ERROR");
}

/// The chain header under a name that the upstream uses too: its list then has one entry more than expected.
#[tokio::test]
async fn once_fails_and_tells_what_differs() {
    let _alone = alone().await;
    let output = run_with(&["demo", "--once"], &[("EXTPROCS_APPLIED_HEADER", "content-type")]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for part in [
        "response header content-type",
        "expected \"Trivial",
        ",application/json\"",
        "differ from what is expected: PY-140",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn the_chain_header_can_be_off_or_renamed() {
    let _alone = alone().await;
    for (env, name) in
        [(("REVEAL_EXTPROC_CHAIN", "False"), None), (("EXTPROCS_APPLIED_HEADER", "x-chain"), Some("x-chain"))]
    {
        let output = run_with(&["demo", "--once", "--json"], &[env]).await;
        assert_eq!(output.status.code(), Some(0), "{env:?}: {}", text(&output.stdout));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let first = headers(&report["exchanges"][0]);
        assert!(!first.contains_key("x-ext-procs-applied"), "{env:?}");
        assert!(name.is_none_or(|name| first.contains_key(name)), "{env:?}");
    }
}

#[tokio::test]
async fn logs_are_on_stderr_and_can_be_json() {
    let _alone = alone().await;
    let output = run_with(&["demo", "--once", "--json", "--log-format", "json"], &[("LOG_LEVEL", "INFO")]).await;
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
    let log = text(&output.stderr);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let started = lines.iter().filter(|line| {
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        message.starts_with("Starting Envoy ExternalProcessor")
    });
    assert_eq!(started.count(), 6, "{log}");
}

#[tokio::test]
async fn it_stays_up_until_it_is_told_to_stop() {
    let _alone = alone().await;
    let mut demo = Server::start(&["demo", "--port", "0"]).await;
    let mut commands = Vec::new();
    while let Some(line) = demo.line().await {
        commands.extend(line.trim().strip_prefix("curl ").map(|command| format!("curl -sS {command}")));
        if line.contains("Ctrl-C") {
            break;
        }
    }
    assert!(commands.len() >= 5, "{commands:?}");
    let curl = std::process::Command::new("curl").arg("--version").output().is_ok();
    for command in commands.iter().filter(|_| curl) {
        let output = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        let answer = text(&output.stdout);
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 308"), "{command}: {answer}");
    }
    let response = send(demo.addr, get("/something", &[])).await;
    assert!(header(&response, "x-duration-ns").is_some());
    demo.terminate().await;
    assert_eq!(demo.end().await.code(), Some(0));
}

/// The same six processors behind both data planes: the same status, the same response headers, the same request at
/// the upstream.
#[tokio::test]
async fn the_gateway_does_what_envoy_does() {
    let _alone = alone().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let envoy = match extproc_conform::target::envoy::binary(&root.join("target/envoy")) {
        Ok(path) => path,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: there is no Envoy to compare with: {error:#}");
            return;
        }
        Err(error) => panic!("CI must compare with Envoy: {error:#}"),
    };
    let ours = report(&["demo", "--once", "--json"]).await;
    let theirs = report(&["demo", "--once", "--json", "--envoy", envoy.to_str().unwrap()]).await;
    let (ours, theirs) = (ours["exchanges"].as_array().unwrap(), theirs["exchanges"].as_array().unwrap());
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        let row = format!("{} {} {}", ours["id"], ours["method"], ours["path"]);
        assert_eq!(ours["status"], theirs["status"], "{row}");
        assert_eq!(headers(ours), headers(theirs), "{row}: response headers");
        assert_eq!(view(ours), view(theirs), "{row}: at the upstream");
    }
}

async fn report(args: &[&str]) -> Value {
    let output = run(args).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{args:?}: {out}\n{err}");
    serde_json::from_str(&out).unwrap()
}

/// Headers whose values differ from run to run: they must only be there.
const VOLATILE: &[&str] = &["date", "host", "x-duration-ns", "x-extra-request-id", "x-request-id", "x-request-started"];
/// The data planes' own, which are not the filters' doing.
const OWN: &[&str] = &["server", "x-envoy-expected-rq-timeout-ms", "x-envoy-upstream-service-time", "x-forwarded-for"];

fn headers(exchange: &Value) -> BTreeMap<String, Vec<String>> {
    let pairs = exchange["headers"].as_array().unwrap();
    let mut map = comparable(pairs.iter().map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())));
    // The upstream tells of the data planes' own headers, so its answers differ in length.
    if let Some(length) = map.get_mut("content-length") {
        let body = exchange["body"].as_str().unwrap().len().to_string();
        assert!(exchange["method"] == "HEAD" || *length == [body]);
        *length = vec!["(that of the body)".to_owned()];
    }
    map
}

/// What the echo upstream got, or the body when it was not asked.
fn view(exchange: &Value) -> (Value, BTreeMap<String, Vec<String>>) {
    let body = exchange["body"].as_str().unwrap();
    let Ok(mut view) = serde_json::from_str::<Value>(body) else { return (body.into(), BTreeMap::new()) };
    let headers = view["headers"].take();
    let pairs = headers.as_object().into_iter().flatten();
    let headers = comparable(pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
    (view, headers)
}

fn comparable<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs.filter(|(name, _)| !OWN.contains(&name.to_ascii_lowercase().as_str())) {
        let name = name.to_ascii_lowercase();
        let value = if VOLATILE.contains(&name.as_str()) { "(any)" } else { value };
        map.entry(name).or_default().push(value.to_owned());
    }
    map
}
