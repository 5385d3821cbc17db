//! `extproc call` with all of its switches.

use std::process::Output;

use serde_json::Value as Json;

use crate::process::{Server, run, run_with_input, text};

/// A call with patience: a busy machine is no finding.
async fn call(server: &Server, args: &[&str]) -> Output {
    let addr = server.addr.to_string();
    run(&[&["call", &addr, "--timeout", "20s"], args].concat()).await
}

async fn serve(args: &[&str]) -> Server {
    Server::start(&[&["serve"], args, &["--listen", "127.0.0.1:0"]].concat()).await
}

async fn json(server: &Server, args: &[&str]) -> Json {
    let output = call(server, &[args, &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const ABC: &str = "82141d90af407510c2d32dbbeeaf17a6d6e8a23d83f40a1f74446c5c9a6fe664";

#[tokio::test]
async fn every_mode_gives_the_same_digest() {
    let digest = serve(&["digest"]).await;
    for mode in ["buffered", "buffered-partial", "full-duplex-streamed"] {
        let args = ["-X", "POST", "-d", "abc", "--mode", mode, "--chunk", "1,1,rest", "/something"];
        let got = json(&digest, &args).await;
        let headers = got["upstream"]["headers"].as_array().unwrap();
        assert!(headers.contains(&serde_json::json!(["x-request-digest", ABC])), "{mode}: {got:#}");
        assert_eq!(got["upstream"]["body"], "abc", "{mode}");
        let added = got["upstream"]["changes"].as_array().unwrap();
        let added = added.iter().find(|it| it["name"] == "x-request-digest").unwrap();
        assert_eq!(added["change"], "added", "{mode}");
        assert_eq!(got["broken"], Json::Null, "{mode}");
    }
}

#[tokio::test]
async fn all_modes_one_after_the_other() {
    let noop = serve(&["noop"]).await;
    let output = call(&noop, &["-d", "hello", "--all-modes"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for mode in ["NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"] {
        assert!(shown.lines().any(|line| line == format!("== {mode}")), "{mode}: {shown}");
    }
    let all = json(&noop, &["-d", "hello", "--all-modes"]).await;
    let modes: Vec<_> = all.as_array().unwrap().iter().map(|it| it["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"]);
}

#[tokio::test]
async fn bodies_are_cut_and_trailers_sent_both_ways() {
    let noop = serve(&["noop"]).await;
    let args = ["-d", "abcde", "--trailer", "x-t: 1", "--response-trailer", "x-u: 2", "--mode", "streamed"];
    let got = json(&noop, &[&args[..], &["--chunk", "1,3,rest", "--response-chunk", "4"]].concat()).await;
    let of = |from: &str| -> Vec<String> {
        let all = got["messages"].as_array().unwrap().iter().filter(|it| it["from"] == from);
        all.map(|it| format!("{}: {}", it["phase"].as_str().unwrap(), it["says"][0].as_str().unwrap())).collect()
    };
    // How pieces are joined that wait for an answer is the engine's to decide; that nothing is lost is not.
    let sent = of("data plane");
    for part in ["request trailers: 1 trailer, end", "response trailers: 1 trailer, end"] {
        assert_eq!(sent.iter().filter(|it| *it == part).count(), 1, "{part}: {got:#}");
    }
    let bodies = |side: &str| -> u32 {
        let all = sent.iter().filter_map(|it| it.strip_prefix(side)?.split(' ').next()?.parse::<u32>().ok());
        all.sum()
    };
    assert_eq!((bodies("request body: "), bodies("response body: ")), (5, 5), "{got:#}");
    assert_eq!((&got["upstream"]["body"], &got["client"]["body"]), (&"abcde".into(), &"Hello".into()));
    assert_eq!(got["upstream"]["trailers"], serde_json::json!([["x-t", "1"]]));
    assert_eq!(of("processor").len(), sent.len());
    assert_eq!(got["client"]["trailers"], serde_json::json!([["x-u", "2"]]));
    assert!(got["messages"].as_array().unwrap().iter().any(|it| it["took"].is_f64()), "{got:#}");
}

#[tokio::test]
async fn steps_ask_before_each_message() {
    let digest = serve(&["digest"]).await;
    let addr = digest.addr.to_string();
    // The pause is longer than the timeout and does not count.
    let args = ["call", &addr, "--step", "--timeout", "20s", "-d", "abc", "--mode", "buffered", "/something"];
    let output = run_with_input(&args, "c\nwhat\nr\n").await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for part in
        ["-> request headers", ":path: /something", "r: send everything", "<- request body", "Response to the client"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(shown.matches("(q)uit?").count(), 3, "{shown}");
    for input in ["q\n", ""] {
        let output = run_with_input(&args, input).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{input:?}: {error}");
        assert!(error.contains("quit before"), "{input:?}: {error}");
    }
}

#[tokio::test]
async fn what_the_data_plane_tells_and_allows() {
    let noop = serve(&["noop"]).await;
    let args =
        ["--attribute", "source.address=192.0.2.1:4711", "--metadata", "ns:key={\"a\":1}", "--grpc-metadata", "x-a: b"];
    let more = ["--profile", "strict", "--allow-mode-override", "--max-timeout", "5s", "--early-response"];
    json(&noop, &[&args[..], &more].concat()).await;
    let sink = serve(&["sink"]).await;
    let args = ["-H", r#"instructions: {"addHeaders":{"x-a":"1"}}"#];
    assert_eq!(json(&sink, &args).await["upstream"]["changes"][0]["name"], "x-a");
}

#[tokio::test]
async fn observability_shows_all_and_changes_nothing() {
    let digest = serve(&["digest"]).await;
    for (mode, messages) in [("streamed", 4), ("buffered", 2)] {
        let got = json(&digest, &["--observability", "-d", "abc", "--mode", mode, "/something"]).await;
        assert_eq!(got["upstream"]["changes"], serde_json::json!([]), "{mode}: {got:#}");
        assert_eq!((&got["upstream"]["body"], &got["client"]["body"]), (&"abc".into(), &"Hello".into()), "{mode}");
        let from = |who: &str| got["messages"].as_array().unwrap().iter().filter(|it| it["from"] == who).count();
        assert_eq!((from("data plane"), from("processor")), (messages, 0), "{mode}: {got:#}");
    }
}

#[tokio::test]
async fn wrong_usage_is_2() {
    for (args, part) in [
        (&["--chunk", "0"][..], "1,3,rest"),
        (&["--attribute", "x"], "NAME=VALUE"),
        (&["--metadata", "x=y"], "NAMESPACE:KEY=VALUE"),
        (&["--grpc-metadata", "x"], "name: value"),
        (&["--all-modes", "--mode", "buffered"], "cannot be used"),
        (&["--tls-ca", "/nowhere"], "/nowhere"),
        (&["--tls-key", "/nowhere"], "--tls-cert"),
    ] {
        let output = run(&[&["call", "127.0.0.1:1"], args].concat()).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(part), "{args:?}: {error}");
    }
}
