//! The two data planes that the same processors are put behind: our gateway, and the real Envoy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::http::{get, json as body, send};
use crate::process::{PATIENCE, Server};

/// A place where requests come in, with its filters in request order.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    /// Also the first segment of its paths, at the gateway.
    pub(crate) name: String,
    pub(crate) filters: Vec<Filter>,
    pub(crate) upstream: SocketAddr,
}

/// One `ext_proc` filter.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) processor: SocketAddr,
    /// `processing_mode`, for both directions.
    pub(crate) bodies: &'static str,
    pub(crate) allow_mode_override: bool,
    pub(crate) failure_mode_allow: bool,
}

impl Filter {
    /// The keys that both data planes know.
    fn options(&self) -> Value {
        let trailers = if self.bodies == "FULL_DUPLEX_STREAMED" { "SEND" } else { "SKIP" };
        json!({
            "processing_mode": {
                "request_header_mode": "SEND", "response_header_mode": "SEND",
                "request_body_mode": self.bodies, "response_body_mode": self.bodies,
                "request_trailer_mode": trailers, "response_trailer_mode": trailers
            },
            "allow_mode_override": self.allow_mode_override,
            "failure_mode_allow": self.failure_mode_allow,
            // Nothing here is about time: a busy machine is no finding.
            "message_timeout": "20s"
        })
    }
}

/// The Envoy to compare with; `None` where there is none, which CI must not have.
#[expect(clippy::print_stderr, reason = "a skip is loud")]
pub(crate) fn envoy_binary() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match extproc_conform::target::envoy::binary(&root.join("target/envoy")) {
        Ok(path) => Some(path),
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: there is no Envoy to compare with: {error:#}");
            None
        }
        Err(error) => panic!("CI must compare with Envoy: {error:#}"),
    }
}

/// Our gateway with a rule for each entrance.
pub(crate) async fn gateway(dir: &TempDir, entrances: &[Entrance]) -> Server {
    let name = |index: usize, kind: &str| format!("{kind}-{index}");
    let (mut backends, mut rules, mut policies) = (Vec::new(), Vec::new(), Vec::new());
    for (index, entrance) in entrances.iter().enumerate() {
        backends.push(json!({
            "name": name(index, "backend"), "endpoints": [{ "address": entrance.upstream.to_string() }]
        }));
        rules.push(json!({
            "name": name(index, "rule"),
            "matches": [{ "path": { "type": "PathPrefix", "value": format!("/{}", entrance.name) } }],
            "backend_refs": [{ "name": name(index, "backend") }]
        }));
        let mut filters = Vec::new();
        for (place, filter) in entrance.filters.iter().enumerate() {
            let mut options = filter.options();
            options["name"] = format!("filter-{index}-{place}").into();
            options["processor"] = json!({ "address": filter.processor.to_string() });
            filters.push(options);
        }
        policies.push(json!({
            "name": name(index, "policy"),
            "target_refs": [{ "kind": "HTTPRoute", "name": "all", "section_name": name(index, "rule") }],
            "ext_proc": filters
        }));
    }
    let config = json!({
        "version": 1,
        "gateways": [{ "name": "test", "listeners": [{ "name": "http", "address": "127.0.0.1", "port": 0 }] }],
        "backends": backends,
        "routes": [{ "name": "all", "rules": rules }],
        "policies": policies
    });
    let file = dir.path().join("gateway.json");
    std::fs::write(&file, config.to_string()).unwrap();
    Server::start(&["gateway", "--config", file.to_str().unwrap()]).await
}

/// A running Envoy with a listener for each entrance.
pub(crate) struct Envoy {
    _process: Child,
    listeners: Vec<(String, SocketAddr)>,
}

impl Envoy {
    pub(crate) async fn start(binary: &Path, dir: &TempDir, entrances: &[Entrance]) -> Self {
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("bootstrap.json"), bootstrap(entrances).to_string()).unwrap();
        let process = Command::new(binary)
            .args(["--log-level", "warn", "--concurrency", "1", "--disable-hot-restart", "--config-path"])
            .arg(path("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(path("admin"))
            .arg("--log-path")
            .arg(path("envoy.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listeners = listeners(&path("admin")).await;
            if listeners.len() == entrances.len() {
                return Self { _process: process, listeners };
            }
            let log = || std::fs::read_to_string(path("envoy.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "Envoy does not listen: {}", log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where the entrance of this name listens.
    pub(crate) fn at(&self, name: &str) -> SocketAddr {
        self.listeners.iter().find(|(listener, _)| listener == name).expect("a listener of that name").1
    }
}

/// Names and addresses, once Envoy is ready.
async fn listeners(admin: &Path) -> Vec<(String, SocketAddr)> {
    let Some(admin) = std::fs::read_to_string(admin).ok().and_then(|text| text.trim().parse().ok()) else {
        return Vec::new();
    };
    if send(admin, get("/ready", &[])).await.status() != 200 {
        return Vec::new();
    }
    let told = body(&send(admin, get("/listeners?format=json", &[])).await);
    let statuses = told["listener_statuses"].as_array().cloned().unwrap_or_default();
    let listener = |status: Value| {
        let at = &status["local_address"]["socket_address"];
        let address = format!("{}:{}", at["address"].as_str()?, at["port_value"]).parse().ok()?;
        Some((status["name"].as_str()?.to_owned(), address))
    };
    statuses.into_iter().filter_map(listener).collect()
}

fn bootstrap(entrances: &[Entrance]) -> Value {
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for entrance in entrances {
        let mut filters = Vec::new();
        for (place, filter) in entrance.filters.iter().enumerate() {
            let cluster_name = format!("processor-{}-{place}", entrance.name);
            clusters.push(cluster(&cluster_name, filter.processor, &json!({ "http2_protocol_options": {} })));
            let mut options = filter.options();
            options["@type"] = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor".into();
            options["grpc_service"] = json!({ "envoy_grpc": { "cluster_name": cluster_name } });
            filters.push(json!({ "name": format!("ext_proc.{place}"), "typed_config": options }));
        }
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
        }));
        let upstream = format!("upstream-{}", entrance.name);
        clusters.push(cluster(&upstream, entrance.upstream, &json!({ "http_protocol_options": {} })));
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": entrance.name,
            "http_filters": filters,
            "route_config": { "virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": upstream } }]
            }] }
        });
        listeners.push(json!({
            "name": entrance.name,
            "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
            "filter_chains": [{
                "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }]
            }]
        }));
    }
    json!({
        "admin": { "address": address(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "static_resources": { "listeners": listeners, "clusters": clusters }
    })
}

fn cluster(name: &str, endpoint: SocketAddr, protocol: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
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
