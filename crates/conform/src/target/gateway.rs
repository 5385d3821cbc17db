//! Our gateway, in this process, over loopback: a fresh one for every scenario.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use extproc_core::{Config, Options};
use extproc_gateway::plan::{
    Backend, ChainEntry, Endpoint, Listener, Plan, ProcessorSpec, Protocol, Rule, Timeouts, WeightedBackend,
};
use extproc_gateway::route::{HostMatch, PathMatch};
use extproc_gateway::{Gateway as Proxy, Telemetry};
use serde_json::json;
use tokio::sync::oneshot;

use super::options::Filter;
use super::{Failure, Target, TargetKind, options};
use crate::peer::processor::ProcessorPeer;
use crate::peer::{Peers, values};
use crate::scenario::{Scenario, Script, Step};
use crate::transcript::Transcript;

/// The name of the chain entry, which its counters go by.
const ENTRY: &str = "scenario";

/// How long an exchange that its client has left may take to be over.
const PATIENCE: Duration = Duration::from_secs(2);

/// The target `gateway`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gateway;

impl Target for Gateway {
    fn kind(&self) -> TargetKind {
        TargetKind::Gateway
    }

    /// The gateway's access log is written when the response headers go out: it cannot tell why one was cut later, nor
    /// what metadata came later.
    fn tells_details(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        scenario: &'a Scenario,
    ) -> Pin<Box<dyn Future<Output = Result<Transcript, Failure>> + Send + 'a>> {
        Box::pin(exchange(scenario))
    }
}

async fn exchange(scenario: &Scenario) -> Result<Transcript, Failure> {
    if scenario.load_only {
        return Ok(Transcript { load: Some(loads(scenario)?), ..Transcript::default() });
    }
    let filter = options::filter(scenario, ENTRY)?;
    let peers = Peers::start(scenario).await.context("cannot start the scripted peers")?;
    let earlier = earlier(scenario).await.context("cannot start the earlier filter")?;
    let gateway = Proxy::bind(plan(scenario, &peers, earlier.as_ref(), filter)?).await?.with_drain_timeout(PATIENCE);
    let address = gateway.local_addr(0).context("the gateway has no listener")?;
    let telemetry = gateway.telemetry();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(gateway.serve_with_shutdown(async {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    }));
    let client = Peers::request(scenario, address).await;
    let stream = peers.watch(scenario).await;
    // Stopping closes the streams that are open behind their exchange, and counts it.
    let observing = scenario.config["observability_mode"] == true;
    let before = observing.then(|| counters(&telemetry));
    drop(stop);
    serving.await.context("the gateway panicked")?;
    let (processor, call, upstream) = peers.finish().await;
    let counters = before.unwrap_or_else(|| counters(&telemetry));
    Ok(Transcript { processor, call, upstream, client: client?, counters, stream, ..Transcript::default() })
}

fn counters(telemetry: &Telemetry) -> std::collections::BTreeMap<String, u64> {
    let counters = telemetry.stats().remove(ENTRY).unwrap_or_default();
    counters.into_iter().filter(|(_, value)| *value > 0).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn timeouts(scenario: &Scenario) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if let Some(timeout) = scenario.upstream.timeout {
        timeouts.backend_request = Some(timeout.duration());
    }
    timeouts
}

/// Whether the gateway loads a file with this configuration.
fn loads(scenario: &Scenario) -> anyhow::Result<bool> {
    let mut entry = scenario.config.clone();
    if entry.get("grpc_service").is_none() && entry.get("http_service").is_none() {
        entry["processor"] = options::PROCESSOR.into();
    }
    entry["name"] = ENTRY.into();
    let policy =
        |target: serde_json::Value, entry| json!({ "name": "of", "target_refs": [target], "ext_proc": [entry] });
    let mut policies = vec![policy(json!({ "kind": "Gateway", "name": "main" }), entry)];
    let level = |level: &Option<serde_json::Value>| level.as_ref().map(|it| json!({ "name": ENTRY, "per_route": it }));
    let host = level(&scenario.per_route.virtual_host);
    policies.extend(host.map(|it| policy(json!({ "kind": "Gateway", "name": "main", "section_name": "http" }), it)));
    policies
        .extend(level(&scenario.per_route.route).map(|it| policy(json!({ "kind": "HTTPRoute", "name": "all" }), it)));
    for (index, policy) in policies.iter_mut().enumerate() {
        policy["name"] = format!("level-{index}").into();
    }
    let file = json!({
        "gateways": [{ "name": "main", "listeners": [{ "name": "http", "port": 0 }] }],
        "backends": [{ "name": "app", "endpoints": [{ "address": "127.0.0.1:1" }] }],
        "processors": [{ "name": options::PROCESSOR, "endpoints": [{ "address": "127.0.0.1:2" }] }],
        "routes": [{ "name": "all", "rules": [{ "backend_refs": [{ "name": "app" }] }] }],
        "policies": policies,
    });
    let text = serde_json::to_string(&file)?;
    Ok(extproc_gateway::config::Config::parse(text, &scenario.id).and_then(|it| it.plan()).is_ok())
}

/// The earlier filter that sets the scenario's metadata: one more processor.
async fn earlier(scenario: &Scenario) -> anyhow::Result<Option<ProcessorPeer>> {
    if scenario.metadata.is_empty() {
        return Ok(None);
    }
    let step = Step { dynamic_metadata: scenario.metadata.clone(), ..Step::default() };
    Ok(Some(ProcessorPeer::start(Script::default().with_request_headers(step)).await?))
}

fn earlier_config(scenario: &Scenario) -> Result<Arc<Config>, Failure> {
    let mut options = Options::default();
    options.processing_mode.response_headers = false;
    options.metadata_options.receiving_namespaces.untyped = scenario.metadata.keys().cloned().collect();
    Ok(Arc::new(Config::new(options)?))
}

fn processor(address: SocketAddr) -> ProcessorSpec {
    ProcessorSpec {
        name: address.to_string(),
        endpoints: vec![address.into()],
        connect_timeout: ProcessorSpec::DEFAULT_CONNECT_TIMEOUT,
    }
}

fn plan(
    scenario: &Scenario,
    peers: &Peers,
    earlier: Option<&ProcessorPeer>,
    filter: Option<Filter>,
) -> Result<Plan, Failure> {
    let unsupported = |what: &str| Err(Failure::Unsupported(what.to_owned()));
    let Some(scripted) = &peers.processor else {
        return unsupported("a processor that is not defined is refused when the configuration is loaded");
    };
    if scenario.routes.iter().any(|route| !route.headers.is_empty()) {
        return unsupported("routes are chosen by host and path only");
    }
    if scenario.upstream.unrouted {
        return unsupported("a request without a route has no rule, and so no processors");
    }
    let mut plan = Plan {
        listeners: vec![Listener { name: "scenario".to_owned(), address: ([127, 0, 0, 1], 0).into() }],
        processors: vec![processor(scripted.address())],
        ..Plan::default()
    };
    // Where nothing listens.
    plan.processors.push(processor(SocketAddr::from(([127, 0, 0, 1], 1))));
    let entry = |Filter { config, reachable, initial_metadata, http_service }| ChainEntry {
        name: ENTRY.to_owned(),
        config,
        processor: usize::from(!reachable),
        initial_metadata,
        http_service,
    };
    let mut chain: Vec<_> = filter.map(entry).into_iter().collect();
    if let Some(earlier) = earlier {
        plan.processors.push(processor(earlier.address()));
        chain.insert(
            0,
            ChainEntry {
                name: "earlier".to_owned(),
                config: earlier_config(scenario)?,
                processor: 2,
                initial_metadata: Vec::new(),
                http_service: None,
            },
        );
    }
    let chain: Arc<[ChainEntry]> = chain.into();
    for (index, upstream) in peers.upstreams.iter().enumerate() {
        let script = index.checked_sub(1).map_or(&scenario.upstream, |route| &scenario.routes[route].upstream);
        plan.backends.push(Backend {
            name: format!("upstream-{index}"),
            endpoints: vec![Endpoint { address: upstream.address().into(), weight: 1 }],
            metadata: (!script.metadata.is_empty()).then(|| Arc::new(values::metadata(&script.metadata))),
            protocol: if scenario.upstream(index).http == 2 { Protocol::H2c } else { Protocol::Http1 },
        });
        let prefix = index.checked_sub(1).and_then(|route| scenario.routes[route].path_prefix.as_deref());
        let path = PathMatch::prefix(prefix.unwrap_or("/"))?;
        let rule = Rule {
            name: format!("route-{index}"),
            backends: vec![WeightedBackend { backend: index, weight: 1 }],
            chain: Arc::clone(&chain),
            timeouts: timeouts(scenario),
        };
        plan.routes.add(0, HostMatch::Any, path, Arc::new(rule));
    }
    Ok(plan)
}
