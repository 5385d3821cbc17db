//! A real Envoy in place of the gateway.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::client::Ask;

/// How long Envoy may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// An Envoy process with its files; both go when it is dropped.
pub(super) struct Envoy {
    _process: Child,
    _dir: TempDir,
    addr: SocketAddr,
}

impl Envoy {
    /// Starts `binary` with the demo's processors in front of `upstream`.
    pub(super) async fn start(
        binary: &Path,
        port: u16,
        upstream: SocketAddr,
        processors: &[(&str, SocketAddr)],
    ) -> anyhow::Result<Self> {
        let dir = TempDir::new().context("cannot create a directory for Envoy")?;
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("bootstrap.json"), bootstrap(port, upstream, processors).to_string())?;
        let mut process = Command::new(binary)
            .arg("--config-path")
            .arg(file("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(file("admin"))
            .arg("--log-path")
            .arg(file("log"))
            .args(["--log-level", "warn", "--concurrency", "1", "--disable-hot-restart"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(addr) = listening(&file("admin")).await {
                return Ok(Self { _process: process, _dir: dir, addr });
            }
            let over = process.try_wait()?.is_some() || Instant::now() > deadline;
            if over {
                let log = std::fs::read_to_string(file("log")).unwrap_or_default();
                bail!("Envoy did not start: {}", log.lines().last().unwrap_or("it says nothing"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) const fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Where it listens, once it does.
async fn listening(admin: &Path) -> Option<SocketAddr> {
    let admin = std::fs::read_to_string(admin).ok()?.trim().parse().ok()?;
    let ask = |path| Ask { method: "GET", path, headers: &[], body: None };
    let ready = ask("/ready").send(admin).await.ok()?;
    let listeners = ask("/listeners?format=json").send(admin).await.ok().filter(|_| ready.status == 200)?;
    let listeners: Value = serde_json::from_slice(&listeners.body).ok()?;
    let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
    format!("{}:{}", address["address"].as_str()?, address["port_value"]).parse().ok()
}

fn bootstrap(port: u16, upstream: SocketAddr, processors: &[(&str, SocketAddr)]) -> Value {
    let filter = |name: &str| format!("ext_proc.{name}");
    let mut filters: Vec<Value> =
        processors.iter().map(|(name, _)| json!({ "name": filter(name), "typed_config": ext_proc(name) })).collect();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
    }));
    let off = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute", "disabled": true
    });
    let disabled: serde_json::Map<String, Value> =
        processors.iter().map(|(name, _)| (filter(name), off.clone())).collect();
    let routes = json!([
        {
            "match": { "prefix": "/no-ext-procs" },
            "route": { "cluster": "upstream" },
            "typed_per_filter_config": disabled
        },
        { "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }
    ]);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "demo",
        "http_filters": filters,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] }
    });
    let listener = json!({
        "name": "demo",
        "address": address(SocketAddr::from(([127, 0, 0, 1], port))),
        "filter_chains": [{
            "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }]
        }]
    });
    let mut clusters = vec![cluster("upstream", upstream, &json!({ "http_protocol_options": {} }))];
    let h2 = json!({ "http2_protocol_options": {} });
    clusters.extend(processors.iter().map(|(name, endpoint)| cluster(name, *endpoint, &h2)));
    json!({
        "admin": { "address": address(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "static_resources": { "listeners": [listener], "clusters": clusters }
    })
}

/// As the Python SDK's demo configures each filter.
fn ext_proc(name: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": { "envoy_grpc": { "cluster_name": name }, "timeout": "30s" },
        "failure_mode_allow": true,
        "message_timeout": "0.2s",
        "processing_mode": {
            "request_header_mode": "SEND",
            "response_header_mode": "SEND",
            "request_body_mode": "BUFFERED",
            "response_body_mode": "BUFFERED",
            "request_trailer_mode": "SKIP",
            "response_trailer_mode": "SKIP"
        }
    })
}

fn cluster(name: &str, endpoint: SocketAddr, protocol: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": protocol
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(endpoint) } }] }]
        }
    })
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
