//! Body mode GRPC between `call` or `test` and served samples, over sockets.

use std::process::Output;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::process::{Server, run, text};

async fn serve(sample: &str) -> Server {
    Server::start(&["serve", sample, "--listen", "127.0.0.1:0"]).await
}

async fn call(server: &Server, args: &[&str]) -> (Output, Json) {
    let addr = server.addr.to_string();
    let output = run(&[&["call", &addr, "--timeout", "20s", "--json"], args].concat()).await;
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Json::Null);
    (output, json)
}

/// The field 1 of a message, as text.
fn message(text: &str) -> String {
    format!("\n{}{text}", char::from(u8::try_from(text.len()).unwrap()))
}

/// A message in its frame.
fn frame(text: &str) -> String {
    let message = message(text);
    format!("\0\0\0\0{}{message}", char::from(u8::try_from(message.len()).unwrap()))
}

#[tokio::test]
async fn messages_are_rewritten_one_by_one() {
    let server = serve("grpc-rewrite").await;
    let (bob, eve, ok) = (message("bob"), message("eve"), message("ok"));
    let args = ["--mode", "grpc", "--message", &bob, "--message", &eve, "--response-message", &ok];
    let more = ["--response-trailer", "grpc-status: 0", "/pkg.Greeter/Hello"];
    for chunk in ["1", "3,5,rest", "16384"] {
        let (output, got) = call(&server, &[&args[..], &more, &["--chunk", chunk]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{chunk}: {}", text(&output.stderr));
        assert_eq!(got["upstream"]["body"], frame("dear bob") + &frame("dear eve"), "{got:#}");
        assert_eq!(got["client"]["body"], frame("dear ok"), "{got:#}");
        assert_eq!(got["client"]["trailers"], serde_json::json!([["grpc-status", "0"]]));
        // The length that `call` announces does not go with the longer messages.
        let headers = got["upstream"]["headers"].as_array().unwrap();
        assert!(headers.iter().all(|header| header[0] != "content-length"), "{headers:?}");
        let bodies = got["messages"].as_array().unwrap().iter().filter(|it| {
            it["from"] == "data plane"
                && it["phase"] == "request body"
                && !it["says"][0].as_str().unwrap().contains("0 bytes")
        });
        assert!((1..=3).contains(&bodies.count()), "one for each message: {got:#}");
    }
}

#[tokio::test]
async fn whole_bodies_are_all_messages() {
    let server = serve("waf").await;
    let plain = message("plain");
    let attack = message("<script>");
    let args = ["--mode", "grpc", "--message", &plain, "/pkg.Greeter/Hello"];
    let answered = ["--response-message", "", "--response-trailer", "grpc-status: 0"];
    let (output, got) = call(&server, &[&args[..], &answered].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(got["upstream"]["body"], frame("plain"));
    let (_, got) = call(&server, &[&args[..], &["--message", &attack], &answered].concat()).await;
    let headers = got["client"]["headers"].as_array().unwrap();
    assert!(headers.contains(&serde_json::json!(["grpc-status", "7"])), "PERMISSION_DENIED: {got:#}");
    assert_ne!(got["upstream"]["body"], frame("plain") + &frame("<script>"), "nothing of it went on");
}

#[tokio::test]
async fn a_body_without_frames_is_refused_by_the_data_plane() {
    let server = serve("noop").await;
    let (_, got) = call(&server, &["--mode", "grpc", "-d", "hello", "--response-data", "", "/"]).await;
    assert_eq!(got["details"], "grpc_message_with_an_unknown_flag", "{got:#}");
}

const CASES: &str = r#"
- name: each message
  request: {path: /pkg.Greeter/Hello, headers: {content-type: application/grpc, te: trailers}, body: !messages [!hex 0a 03 62 6f 62, ""]}
  response: {headers: {content-type: application/grpc}, body: !messages [!hex 0a 01 78], trailers: {grpc-status: 0}}
  modes: [grpc, full_duplex, buffered]
  chunks: [1, 5, rest]
  expect:
    upstream: {body: !messages [!hex 0a 08 64 65 61 72 20 62 6f 62, ""]}
    client: {body: !messages [!hex 0a 06 64 65 61 72 20 78], trailers: {grpc-status: 0}}
"#;

#[tokio::test]
async fn cases_in_grpc_mode() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("grpc.yaml");
    std::fs::write(&file, CASES).unwrap();
    let file = file.display().to_string();
    for sample in ["grpc-rewrite", "noop,grpc-rewrite,waf"] {
        let server = serve(sample).await;
        let target = server.addr.to_string();
        for place in [["--target", &target], ["--sample", sample]] {
            let output = run(&[&["test", &file, "--timeout", "20s"], &place[..]].concat()).await;
            let shown = text(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{place:?}: {shown}{}", text(&output.stderr));
            assert!(shown.contains("ok each message [grpc]") && shown.contains("3 passed, 0 failed"), "{shown}");
        }
    }
}
