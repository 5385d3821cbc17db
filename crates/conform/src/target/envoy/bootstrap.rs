//! Envoy's configuration for a batch of scenarios: one listener and one statistics prefix for each.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::peer::Peers;
use crate::scenario::{Processor, Route, Scenario};
use crate::target::options::PROCESSOR;

/// A name that may stand in statistics: `ENV-003` becomes `env_003`.
#[must_use]
pub(super) fn slug(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// The bootstrap; access logs go to `access.log` and `metadata.log` in a directory. `graceful`: side streams are closed
/// gracefully.
pub(super) fn bootstrap(batch: &[(&Scenario, &Peers)], logs: &Path, graceful: bool) -> Value {
    let mut listeners = Vec::new();
    let mut clusters = Vec::new();
    for (scenario, peers) in batch {
        let slug = slug(&scenario.id);
        listeners.push(listener(scenario, &slug, logs));
        for (index, upstream) in peers.upstreams.iter().enumerate() {
            let mut cluster = cluster(&upstream_name(&slug, index), upstream.address());
            let script = scenario.upstream(index);
            if script.http == 2 {
                cluster["typed_extension_protocol_options"] = http2();
            }
            limit(&mut cluster, scenario);
            if !script.metadata.is_empty() {
                cluster["metadata"] = json!({ "filter_metadata": script.metadata });
            }
            clusters.push(cluster);
        }
        if let Some(processor) = &peers.processor {
            let mut cluster = cluster(&format!("processor_{slug}"), processor.address());
            if !scenario.has_http_service() {
                cluster["typed_extension_protocol_options"] = http2();
            }
            clusters.push(cluster);
        }
    }
    json!({
        "admin": { "address": address(SocketAddr::from(([127, 0, 0, 1], 0))) },
        // Every question for statistics walks all of them: keep those that are asked for.
        "stats_config": { "stats_matcher": { "inclusion_list": { "patterns": [
            { "contains": ".ext_proc." }, { "suffix": ".downstream_rq_active" }
        ] } } },
        "layered_runtime": { "layers": [{ "name": "flags", "static_layer": {
            "envoy.reloadable_features.ext_proc_graceful_grpc_close": graceful
        } }] },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// What the configuration of our filter has besides: Envoy does what it does without.
const OURS: [&str; 1] = ["replay_buffer"];

fn listener(scenario: &Scenario, slug: &str, logs: &Path) -> Value {
    let mut ext_proc = scenario.config.clone();
    if let Some(fields) = ext_proc.as_object_mut() {
        OURS.iter().for_each(|field| drop(fields.remove(*field)));
    }
    ext_proc["@type"] = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor".into();
    if ext_proc.get("grpc_service").is_none() && ext_proc.get("http_service").is_none() {
        ext_proc["grpc_service"] = grpc_service(scenario, slug);
    }
    name_cluster(&mut ext_proc, slug);
    let mut routes: Vec<Value> =
        scenario.routes.iter().enumerate().map(|(index, it)| route(it, &upstream_name(slug, index + 1))).collect();
    if !scenario.upstream.unrouted {
        let mut last = json!({ "match": { "prefix": "/" }, "route": { "cluster": upstream_name(slug, 0) } });
        if let Some(timeout) = scenario.upstream.timeout {
            last["route"]["timeout"] = format!("{}s", timeout.duration().as_secs_f64()).into();
        }
        if let Some(level) = &scenario.per_route.route {
            last["typed_per_filter_config"] = per_route(level, slug);
        }
        routes.push(last);
    }
    let mut virtual_host = json!({ "name": "all", "domains": ["*"], "routes": routes });
    if let Some(level) = &scenario.per_route.virtual_host {
        virtual_host["typed_per_filter_config"] = per_route(level, slug);
    }
    let mut listener = json!({
        "name": slug,
        "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": slug,
                "codec_type": "AUTO",
                "http_protocol_options": { "enable_trailers": true },
                "access_log": [{
                    "name": "envoy.access_loggers.file",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                        "path": logs.join("access.log"),
                        "log_format": { "text_format_source": { "inline_string": format!("{slug} %RESPONSE_CODE_DETAILS% %FILTER_STATE(envoy.filters.http.ext_proc:PLAIN)% %FILTER_STATE(envoy.filters.http.ext_proc:TYPED)%\n") } }
                    }
                }, metadata_log(scenario, slug, logs)],
                "http_filters": [
                    { "name": "envoy.filters.http.ext_proc", "typed_config": ext_proc },
                    { "name": "envoy.filters.http.router", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }
                ],
                "route_config": { "virtual_hosts": [virtual_host] }
            }
        }]}]
    });
    if !scenario.metadata.is_empty() {
        let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        filters.as_array_mut().into_iter().for_each(|it| it.insert(0, set_metadata(scenario)));
    }
    limit(&mut listener, scenario);
    listener
}

/// What a level says of the filter.
fn per_route(level: &Value, slug: &str) -> Value {
    let mut level = level.clone();
    level["@type"] = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute".into();
    name_cluster(&mut level, slug);
    json!({ "envoy.filters.http.ext_proc": level })
}

/// Every scenario has a processor of its own.
fn name_cluster(config: &mut Value, slug: &str) {
    match config {
        Value::Object(map) => {
            for (key, value) in map {
                if (key == "cluster_name" || key == "cluster") && value == PROCESSOR {
                    *value = format!("processor_{slug}").into();
                }
                name_cluster(value, slug);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| name_cluster(it, slug)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The namespaces that a scenario names, at the end of the exchange.
fn metadata_log(scenario: &Scenario, slug: &str, logs: &Path) -> Value {
    let answered = match &scenario.processor {
        Processor::Script(script) => script.namespaces(),
        Processor::Unreachable | Processor::Unknown => BTreeSet::new(),
    };
    let namespaces = scenario.metadata.keys().map(String::as_str).chain(answered);
    let namespaces: serde_json::Map<String, Value> =
        namespaces.map(|name| (name.to_owned(), format!("%DYNAMIC_METADATA({name})%").into())).collect();
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": logs.join("metadata.log"),
            "log_format": { "json_format": { "scenario": slug, "metadata": namespaces } }
        }
    })
}

/// The earlier filter.
fn set_metadata(scenario: &Scenario) -> Value {
    let metadata: Vec<Value> = scenario
        .metadata
        .iter()
        .map(|(namespace, values)| json!({ "metadata_namespace": namespace, "value": values, "allow_overwrite": true }))
        .collect();
    json!({
        "name": "envoy.filters.http.set_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": metadata
        }
    })
}

fn grpc_service(scenario: &Scenario, slug: &str) -> Value {
    let mut service = scenario.grpc_service.clone();
    service["envoy_grpc"] = json!({ "cluster_name": format!("processor_{slug}") });
    service
}

fn route(route: &Route, cluster: &str) -> Value {
    let headers: Vec<Value> =
        route.headers.iter().map(|(name, value)| json!({ "name": name, "string_match": { "exact": value } })).collect();
    json!({
        "match": { "prefix": route.path_prefix.as_deref().unwrap_or("/"), "headers": headers },
        "route": { "cluster": cluster }
    })
}

fn cluster(name: &str, endpoint: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http_protocol_options": { "enable_trailers": true } }
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(endpoint) } }] }]
        }
    })
}

fn http2() -> Value {
    json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} }
        }
    })
}

fn limit(of: &mut Value, scenario: &Scenario) {
    if let Some(limit) = scenario.buffer_limit {
        of["per_connection_buffer_limit_bytes"] = limit.into();
    }
}

fn upstream_name(slug: &str, index: usize) -> String {
    format!("upstream_{slug}_{index}")
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
