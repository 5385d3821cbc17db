//! Six samples as a chain in one stream, and as six filters of the real Envoy: byte for byte the same for the client.

use std::net::SocketAddr;

use regex::{Captures, Regex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::alone;
use crate::fronts::{Entrance, Envoy, Filter, envoy_binary};
use crate::process::{PATIENCE, Server};

const SAMPLES: [&str; 6] = ["trivial", "timer", "echo", "digest", "decorated", "context"];

/// As the demo has it.
const ALWAYS: [&str; 2] = ["--set", "context.always=true"];

type Row = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

/// The walk-through of the acceptance table, but for what is of its routes only (PY-147).
const ROWS: [Row; 14] = [
    ("PY-140", "GET", "/something", &[], None),
    ("PY-141", "PUT", "/something", &[("content-type", "application/json")], Some(r#"{"hello":"hi"}"#)),
    ("PY-142", "POST", "/something", &[("content-type", "text/plain")], Some("abc")),
    ("PY-143", "GET", "/something", &[("x-tenant-id", "acme")], None),
    ("PY-144", "POST", "/something", &[], Some("")),
    ("PY-145", "GET", "/redirect?location=/a", &[], None),
    ("PY-146", "PATCH", "/something", &[], Some("zz")),
    ("PY-148", "POST", "/something", &[("x-context-id", "abc")], Some("abc")),
    ("PY-149", "POST", "/something", &[("x-context-id", "RIGHT")], Some("WRONG")),
    ("PY-151", "POST", "/something", &[("x-echo-only", "true"), ("content-type", "text/plain")], Some("hi")),
    ("PY-152", "POST", "/something", &[("x-echo-only", "no")], Some("hi")),
    ("PY-153", "HEAD", "/something", &[], None),
    ("PY-154", "GET", "/something", &[("x-ext-procs-applied", "mine")], None),
    ("a body in chunks", "POST", "/something", &[("transfer-encoding", "chunked")], Some("3\r\nabc\r\n0\r\n\r\n")),
];

#[tokio::test]
async fn py_140_to_py_154_a_chain_does_what_six_filters_do_byte_for_byte() {
    let _alone = alone().await;
    let Some(binary) = envoy_binary() else { return };
    let echo = Server::start(&["echo", "--listen", "127.0.0.1:0"]).await;
    let filter =
        |processor| Filter { processor, bodies: "BUFFERED", allow_mode_override: false, failure_mode_allow: true };
    let mut six = Vec::new();
    for name in SAMPLES {
        let settings = if name == "context" { &ALWAYS[..] } else { &[] };
        six.push(Server::start(&[&["serve", name, "--listen", "127.0.0.1:0"], settings].concat()).await);
    }
    // A filter that fails is passed over: so must a stage be.
    let names = SAMPLES.join(",");
    let chain = ["serve", &names, "--listen", "127.0.0.1:0", "--on-error", "skip"];
    let chain = Server::start(&[&chain[..], &ALWAYS].concat()).await;
    let entrance = |name: &str, filters| Entrance { name: name.to_owned(), filters, upstream: echo.addr };
    let entrances = [
        entrance("six", six.iter().map(|server| filter(server.addr)).collect()),
        entrance("chain", vec![filter(chain.addr)]),
    ];
    let dir = TempDir::new().unwrap();
    let envoy = Envoy::start(&binary, &dir, &entrances).await;
    for (row, method, path, headers, body) in ROWS {
        let ask = |front| exchange(front, method, path, headers, body);
        let (one, other) = (ask(envoy.at("chain")).await, ask(envoy.at("six")).await);
        assert!(one.contains("x-ext-procs-applied"), "{row}: the chain took part: {one}");
        let (mut one, mut other) = (normal(&one), normal(&other));
        if row == "PY-151" {
            // A local reply leaves a chain with all its edits made: Envoy puts content-length behind them, and between
            // them where each filter makes its own. The order of fields of different names has no meaning (RFC 9110, 5.3).
            (one, other) = (sorted(&one), sorted(&other));
        }
        assert_eq!(one, other, "{row}");
    }
    for front in [envoy.at("chain"), envoy.at("six")] {
        concurrent_exchanges_keep_their_own_state(front).await;
    }
}

/// PY-150.
async fn concurrent_exchanges_keep_their_own_state(front: SocketAddr) {
    let mut exchanges = JoinSet::new();
    for id in 0..200 {
        exchanges.spawn(async move {
            let id: &'static str = format!("id-{id}").leak();
            let headers: &'static [(&str, &str)] = vec![("x-context-id", id)].leak();
            let answer = exchange(front, "POST", "/something", headers, Some(id)).await;
            assert!(answer.contains(&format!("x-context-id: {id}\r\n")), "{id}: {answer}");
        });
    }
    while let Some(done) = exchanges.join_next().await {
        done.unwrap();
    }
}

/// The whole response as it came over the wire.
async fn exchange(front: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    text.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    if let Some(body) = body.filter(|_| !headers.iter().any(|(name, _)| *name == "transfer-encoding")) {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    let answer = async {
        let mut stream = TcpStream::connect(front).await?;
        stream.set_nodelay(true)?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time").unwrap();
    String::from_utf8(answer).unwrap()
}

/// With the values that follow from the time, and from ids that Envoy draws, out of the way: in the headers of the
/// response, and in those of the request that the upstream tells in the body. Everything else stays, the order too.
fn normal(answer: &str) -> String {
    let volatile = "date|x-request-id|x-extra-request-id|x-request-started|x-duration-ns|x-envoy-upstream-service-time";
    let headers = Regex::new(&format!(r"(?m)^({volatile}): .*\r$")).unwrap();
    let told = Regex::new(&format!(r#"(?i)"({volatile})": "[^"]*""#)).unwrap();
    let length = Regex::new(r"(?m)^content-length: (\d+)\r$").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let head = length.replace(head, |length: &Captures<'_>| {
        // That of HEAD tells the length of another answer.
        assert!(body.is_empty() || length[1] == *body.len().to_string(), "{answer}");
        "content-length: (any)\r"
    });
    format!("{}\r\n\r\n{}", headers.replace_all(&head, "$1: (any)\r"), told.replace_all(body, r#""$1": "(any)""#))
}

/// With the lines of the head in the order of the alphabet.
fn sorted(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    lines[1..].sort_unstable();
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}
