//! The walk-through of the agentgateway documents, ACC-003-1: sink, echo upstream and gateway as processes.

use std::net::SocketAddr;
use std::path::Path;

use ::http::{Request, Response};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::http::{get, json, request, send};
use crate::process::{PATIENCE, Server};

struct World {
    sink: Server,
    _echo: Server,
    gateway: Server,
    _dir: TempDir,
}

impl World {
    async fn start(settings: &str) -> Self {
        let sink = Server::start(&["serve", "sink", "--listen", "127.0.0.1:0"]).await;
        let echo = Server::start(&["echo", "--listen", "127.0.0.1:0"]).await;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("acc-003.yaml");
        std::fs::write(&path, config(echo.addr, sink.addr, settings)).unwrap();
        let gateway = Server::start(&["gateway", "--config", path.to_str().unwrap()]).await;
        Self { sink, _echo: echo, gateway, _dir: dir }
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Response<Bytes> {
        self.send(get("/headers", headers)).await
    }

    async fn send(&self, mut request: Request<Bytes>) -> Response<Bytes> {
        request.headers_mut().insert("host", "www.example.com".parse().unwrap());
        send(self.gateway.addr, request).await
    }
}

fn config(backend: SocketAddr, processor: SocketAddr, settings: &str) -> String {
    format!(
        r#"
version: 1
gateways:
  - {{ name: main, listeners: [{{ name: http, address: 127.0.0.1, port: 0 }}] }}
backends:
  - {{ name: httpbin, endpoints: [{{ address: "{backend}" }}] }}
processors:
  - {{ name: sink, endpoints: [{{ address: "{processor}" }}] }}
routes:
  - name: web
    parent_refs: [{{ name: main }}]
    hostnames: [www.example.com]
    rules: [{{ matches: [{{ path: {{ type: PathPrefix, value: / }} }}], backend_refs: [{{ name: httpbin }}] }}]
policies:
  - name: edge
    target_refs: [{{ kind: Gateway, name: main }}]
    ext_proc: [{{ name: sink, processor: sink, message_timeout: 5s, {settings} }}]
"#
    )
}

/// The default: headers only, fail closed.
const DEFAULT: &str = "failure_mode_allow: false";
const FAIL_OPEN: &str = "failure_mode_allow: true";

const ADD: &str = r#"{"addHeaders":{"extproc":"true"}}"#;

#[tokio::test]
async fn rows_1_to_3_everything_comes_up() {
    let world = World::start(DEFAULT).await;
    let channel = Endpoint::from_shared(format!("http://{}", world.sink.addr)).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    for service in ["", "envoy.service.ext_proc.v3.ExternalProcessor"] {
        let check = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(check).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let other = send(world.gateway.addr, get("/headers", &[("host", "other.example.com")])).await;
    assert_eq!(other.status(), 404);
}

#[tokio::test]
async fn rows_4_and_5_a_header_is_added_when_asked() {
    let world = World::start(DEFAULT).await;
    let response = world.get(&[("instructions", ADD)]).await;
    assert_eq!(response.status(), 200);
    let headers = &json(&response)["headers"];
    assert_eq!(headers["Extproc"], serde_json::json!(["true"]));
    assert_eq!(headers["Host"], serde_json::json!(["www.example.com"]));
    assert_eq!(headers["Instructions"], serde_json::json!([ADD]));

    let response = world.get(&[]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(json(&response)["headers"].get("Extproc"), None);
}

#[tokio::test]
async fn row_6_headers_are_added_and_removed() {
    let world = World::start(DEFAULT).await;
    let instructions = r#"{"addHeaders":{"header3":"v3","header4":"v4"},"removeHeaders":["instructions","header2"]}"#;
    let response = world.get(&[("instructions", instructions), ("header1", "v1"), ("header2", "v2")]).await;
    assert_eq!(response.status(), 200);
    let headers = &json(&response)["headers"];
    for (name, value) in [("Header1", Some("v1")), ("Header2", None), ("Header3", Some("v3")), ("Header4", Some("v4"))]
    {
        assert_eq!(headers.get(name), value.map(|value| serde_json::json!([value])).as_ref(), "{name}");
    }
    assert_eq!(headers.get("Instructions"), None);
}

#[tokio::test]
async fn row_7_unreadable_instructions_fail_closed() {
    let world = World::start(DEFAULT).await;
    assert_eq!(world.get(&[("instructions", "not-json")]).await.status(), 500);
    // The stream failed, not the server.
    assert_eq!(world.get(&[("instructions", ADD)]).await.status(), 200);
}

#[tokio::test]
async fn row_8_without_the_processor() {
    for (settings, status) in [(DEFAULT, 500), (FAIL_OPEN, 200)] {
        let World { sink, _echo, gateway, _dir } = World::start(settings).await;
        let addr = sink.addr.to_string();
        sink.kill().await;
        let world = World { sink: Server::start(&["echo", "--listen", "127.0.0.1:0"]).await, _echo, gateway, _dir };
        let response = world.get(&[("instructions", ADD)]).await;
        assert_eq!(response.status(), status, "{settings}");
        if status == 200 {
            assert_eq!(json(&response)["headers"].get("Extproc"), None, "nothing was changed");
        }

        let _sink = Server::start(&["serve", "sink", "--listen", &addr]).await;
        let deadline = Instant::now() + PATIENCE;
        // The gateway may have to wait before it connects again.
        while json_of(&world.get(&[("instructions", ADD)]).await)["headers"].get("Extproc").is_none() {
            assert!(Instant::now() < deadline, "{settings}: the gateway does not find the restarted processor");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn json_of(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

/// The last is agentgateway's default, row 10 (a).
const BODY_MODES: [&str; 5] = ["NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"];

fn both_bodies(mode: &str) -> String {
    format!(
        "processing_mode: {{ request_body_mode: {mode}, response_body_mode: {mode}, request_trailer_mode: SEND, \
         response_trailer_mode: SEND }}"
    )
}

#[tokio::test]
async fn row_9_a_large_body_comes_back_unchanged() {
    let body: Bytes = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for mode in BODY_MODES {
        let world = World::start(&both_bodies(mode)).await;
        let response = world.send(request("POST", "/raw", &[], body.clone())).await;
        assert_eq!(response.status(), 200, "{mode}");
        assert!(response.body() == &body, "{mode}: {} bytes came back", response.body().len());
    }
}

/// Rows 4 to 6 for requests with bodies too, in each mode.
#[tokio::test]
async fn row_10_the_body_mode_makes_no_difference() {
    for mode in BODY_MODES {
        let world = World::start(&both_bodies(mode)).await;
        let response = world.send(request("POST", "/", &[("instructions", ADD)], "hello")).await;
        let view = json(&response);
        assert_eq!(
            (view["body"].as_str(), view["headers"]["extproc"].as_str()),
            (Some("hello"), Some("true")),
            "{mode}"
        );
        assert_eq!(world.get(&[("instructions", "not-json")]).await.status(), 500, "{mode}");
    }
}

#[tokio::test]
async fn the_configuration_is_checked() {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let dir = TempDir::new().unwrap();
    let check =
        async |path: &Path, flag| crate::process::run(&["gateway", "--config", path.to_str().unwrap(), flag]).await;
    let good = dir.path().join("good.yaml");
    std::fs::write(&good, config(at(1), at(2), DEFAULT)).unwrap();
    assert_eq!(check(&good, "--check").await.status.code(), Some(0));
    let effective = check(&good, "--print-effective").await;
    assert_eq!(effective.status.code(), Some(0));
    let filled = serde_json::from_slice::<serde_json::Value>(&effective.stdout).unwrap();
    assert_eq!(filled["policies"][0]["ext_proc"][0]["status_on_error"], 500);

    let bad = dir.path().join("bad.yaml");
    std::fs::write(&bad, config(at(1), at(2), "failure_mode_alow: true")).unwrap();
    for flag in ["--check", "--print-effective"] {
        let output = check(&bad, flag).await;
        let text = crate::process::text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        for part in ["bad.yaml:", "failure_mode_alow", "failure_mode_allow"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
