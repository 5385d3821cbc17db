//! `extproc gateway` with sample processors.

use std::net::SocketAddr;

use ::http::Response;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::http::{get, header, json, request, send};
use crate::process::Server;

const CHAIN: &str = "trivial,timer,echo,digest,decorated,context";

/// A chain of all samples in one stream behind a gateway with patience: a busy machine is no finding.
async fn world(names: &str, mode: &str) -> (Server, Server, Server, TempDir) {
    let chain = Server::start(&["serve", names, "--listen", "127.0.0.1:0"]).await;
    let echo = Server::start(&["echo", "--listen", "127.0.0.1:0"]).await;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("gateway.yaml");
    std::fs::write(&path, config(echo.addr, chain.addr, mode)).unwrap();
    let gateway = Server::start(&["gateway", "--config", path.to_str().unwrap()]).await;
    (gateway, chain, echo, dir)
}

fn config(backend: SocketAddr, processor: SocketAddr, mode: &str) -> String {
    format!(
        r#"
gateways: [{{ name: main, listeners: [{{ name: http, address: 127.0.0.1, port: 0 }}] }}]
backends: [{{ name: echo, endpoints: [{{ address: "{backend}" }}] }}]
routes: [{{ name: all, rules: [{{ backend_refs: [{{ name: echo }}] }}] }}]
policies:
  - name: samples
    target_refs: [{{ kind: Gateway, name: main }}]
    ext_proc:
      - name: samples
        processor: {{ address: "{processor}" }}
        message_timeout: 20s
        processing_mode: {{ request_body_mode: {mode}, response_body_mode: {mode} }}
"#
    )
}

/// PY-150: every exchange has a context of its own.
#[tokio::test]
async fn concurrent_exchanges_keep_their_own_state() {
    let (gateway, ..) = &world(CHAIN, "BUFFERED").await;
    let addr = gateway.addr;
    let mut exchanges = JoinSet::new();
    for number in 0..200 {
        exchanges.spawn(async move {
            let id = format!("id-{number}");
            let response = send(addr, request("POST", "/something", &[("x-context-id", &id)], id.clone())).await;
            (id, response)
        });
    }
    let mut answers = 0;
    while let Some(exchange) = exchanges.join_next().await {
        let (id, response) = exchange.unwrap();
        assert_eq!((response.status().as_u16(), header(&response, "x-context-id")), (200, Some(id.as_str())));
        answers += 1;
    }
    assert_eq!(answers, 200);
}

/// Six filters, or six processors in one: the same for the client and the upstream.
#[tokio::test]
async fn a_chain_in_one_stream_does_what_six_filters_do() {
    let (gateway, ..) = &world(CHAIN, "BUFFERED").await;
    let json_body = &[("content-type", "application/json")];
    let get = send(gateway.addr, get("/something", &[])).await;
    let put = send(gateway.addr, request("PUT", "/something", json_body, r#"{"hello":"hi"}"#)).await;
    for (response, digest) in [
        (get, "860d64d6465b9e9886050295087e8a547b3e7a3c40e79d26147b50a97b9ac2c6"),
        (put, "a794dbc467285567e4c2604c991938386366f6ab94b0b0e4fab5e27e0a932e60"),
    ] {
        let upstream = &json(&response)["headers"];
        assert_eq!(upstream["x-request-digest"], digest);
        assert_eq!(header(&response, "x-request-digest"), Some(digest));
        assert_eq!(header(&response, "x-request-started"), upstream["x-request-started"].as_str());
        assert_eq!(header(&response, "x-extra-request-id"), upstream["x-request-id"].as_str());
        assert!(header(&response, "x-duration-ns").is_some_and(|number| number.parse::<u64>().is_ok()));
        assert_eq!(
            header(&response, "x-ext-procs-applied"),
            Some(
                "TrivialExtProcService,TimerExtProcService,EchoExtProcService,DigestExtProcService,\
                 DecoratedExtProcService,CtxExtProcService"
            )
        );
    }
}

#[tokio::test]
async fn noop_changes_nothing() {
    for mode in ["NONE", "STREAMED", "BUFFERED"] {
        let (gateway, _noop, echo, _dir) = &world("noop", mode).await;
        let ask = || request("POST", "/a?b", &[("host", "h"), ("x-a", "1"), ("x-a", "2")], "body");
        let (direct, processed) = (send(echo.addr, ask()).await, send(gateway.addr, ask()).await);
        assert_eq!(names(&direct), names(&processed), "{mode}");
        let (mut direct, mut processed) = (json(&direct), json(&processed));
        let headers = |view: &mut serde_json::Value| -> Vec<String> {
            let taken = view["headers"].take();
            let keys = taken.as_object().unwrap().keys().map(|name| name.to_ascii_lowercase());
            // The gateway's own; and in STREAMED the length is not known.
            keys.filter(|name| {
                !name.starts_with("x-forwarded-")
                    && name != "x-request-id"
                    && name != "content-length"
                    && name != "transfer-encoding"
            })
            .collect()
        };
        assert_eq!(headers(&mut direct), headers(&mut processed), "{mode}");
        assert_eq!(direct, processed, "{mode}");
    }
}

fn names(response: &Response<Bytes>) -> Vec<&str> {
    let framing = ["content-length", "transfer-encoding"];
    let mut names: Vec<&str> =
        response.headers().keys().map(::http::HeaderName::as_str).filter(|name| !framing.contains(name)).collect();
    names.sort_unstable();
    names
}

/// PY-156 and PY-157: one processor is gone, one says nothing; the others go on, and the chain header tells.
#[tokio::test]
async fn processors_that_fail_are_passed_over() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let trivial = Server::start(&["serve", "trivial", "--listen", "127.0.0.1:0"]).await;
    let digest = Server::start(&["serve", "digest", "--listen", "127.0.0.1:0"]).await;
    let echo = Server::start(&["echo", "--listen", "127.0.0.1:0"]).await;
    let entry = |name: &str, addr: SocketAddr, timeout: &str| {
        format!(
            "{{ name: {name}, processor: {{ address: \"{addr}\" }}, failure_mode_allow: true, message_timeout: {timeout} }}"
        )
    };
    let entries = [
        entry("trivial", trivial.addr, "20s"),
        entry("gone", gone, "20s"),
        entry("silent", silent.local_addr().unwrap(), "200ms"),
        entry("digest", digest.addr, "20s"),
    ];
    let text = format!(
        r#"
gateways: [{{ name: main, listeners: [{{ name: http, address: 127.0.0.1, port: 0 }}] }}]
backends: [{{ name: echo, endpoints: [{{ address: "{}" }}] }}]
routes: [{{ name: all, rules: [{{ backend_refs: [{{ name: echo }}] }}] }}]
policies: [{{ name: samples, target_refs: [{{ kind: Gateway, name: main }}], ext_proc: [{}] }}]
"#,
        echo.addr,
        entries.join(", ")
    );
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("gateway.yaml");
    std::fs::write(&path, text).unwrap();
    let gateway = Server::start(&["gateway", "--config", path.to_str().unwrap()]).await;
    for _ in 0..3 {
        let response = send(gateway.addr, get("/something", &[])).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "x-ext-procs-applied"), Some("TrivialExtProcService,DigestExtProcService"));
    }
}
