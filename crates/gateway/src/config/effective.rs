//! The file with every default written out.

use std::net::SocketAddr;
use std::time::Duration;

use super::at::{At, Unsupported};
use super::error::Problems;
use super::ext_proc::{ExtProc, RouteCacheAction};
use super::file::{
    Backend, BackendProtocol, BackendRef, Endpoint, File, Gateway, Listener, ListenerProtocol, Match, ParentRef,
    PathMatch, PathMatchType, Phase, Policy, Route, Rule, TargetKind, TargetRef, Timeouts,
};
use super::processor::ProcessorRef;
use super::scalar::{Size, Time};
use crate::plan;

impl File {
    /// One listener, one backend, and a chain with at most one entry.
    pub(super) fn simple(listen: SocketAddr, backend: plan::Address, entry: Option<ExtProc>) -> Self {
        let name = |it: &str| At::from(it.to_owned());
        let off = Unsupported::default;
        let listener = Listener {
            name: name("http"),
            address: Some(listen.ip().into()),
            port: listen.port().into(),
            protocol: None,
            hostname: off(),
            tls: off(),
        };
        let policy = |entry| Policy {
            name: name("main"),
            target_refs: vec![TargetRef { kind: TargetKind::Gateway.into(), name: name("main"), section_name: None }]
                .into(),
            phase: None,
            replace: None,
            ext_proc: vec![entry],
        };
        let backend_ref = BackendRef { name: name("backend"), weight: None, filters: off() };
        Self {
            gateways: vec![Gateway { name: name("main"), listeners: vec![listener].into() }].into(),
            backends: vec![Backend {
                name: name("backend"),
                endpoints: vec![Endpoint { address: backend.into(), weight: None }].into(),
                protocol: None,
                metadata: None,
                load_balancing: off(),
                health_check: off(),
                outlier: off(),
                tls: off(),
            }],
            routes: vec![Route {
                name: name("all"),
                parent_refs: Vec::new(),
                hostnames: Vec::new(),
                rules: vec![Rule {
                    name: None,
                    matches: Vec::new(),
                    backend_refs: vec![backend_ref].into(),
                    timeouts: None,
                    filters: off(),
                }]
                .into(),
            }],
            policies: entry.map(policy).into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Writes out the defaults of a file that has no errors.
pub(super) fn filled(file: &File) -> File {
    let mut file = file.clone();
    fill(&mut file.version, 1);
    let limits = file.limits.get_or_insert_default();
    fill(&mut limits.max_buffered_bytes, Size(extproc_core::Options::default().buffer_limit));
    let mut parents = Vec::new();
    for gateway in &mut file.gateways.value {
        parents.push(ParentRef { name: gateway.name.clone(), section_name: None });
        for listener in &mut gateway.listeners.value {
            fill(&mut listener.address, super::resolve::ANY_ADDRESS);
            fill(&mut listener.protocol, ListenerProtocol::Http);
        }
    }
    for backend in &mut file.backends {
        fill(&mut backend.protocol, BackendProtocol::Http1);
        for endpoint in &mut backend.endpoints.value {
            fill(&mut endpoint.weight, 1);
        }
    }
    for processor in &mut file.processors {
        fill(&mut processor.connect_timeout, Time(plan::ProcessorSpec::DEFAULT_CONNECT_TIMEOUT));
    }
    for route in &mut file.routes {
        fill_route(route, &parents);
    }
    let names = levels_by_name(&file.policies);
    for policy in &mut file.policies {
        fill(&mut policy.phase, Phase::PostRouting);
        fill(&mut policy.replace, false);
        let innermost = policy.target_refs.iter().map(level).max();
        for entry in &mut policy.ext_proc {
            let name = entry.effective_name();
            let outer = |(other, level): &(String, u8)| {
                name.as_ref().is_some_and(|it| it.as_str() == other) && Some(*level) < innermost
            };
            if !names.iter().any(outer) {
                *entry = filled_entry(entry.clone());
            }
        }
    }
    file
}

fn fill<T>(field: &mut Option<At<T>>, default: T) {
    field.get_or_insert_with(|| default.into());
}

fn fill_route(route: &mut Route, gateways: &[ParentRef]) {
    if route.parent_refs.is_empty() {
        route.parent_refs = gateways.to_vec();
    }
    for rule in &mut route.rules.value {
        if rule.matches.is_empty() {
            rule.matches.push(Match::default());
        }
        for it in &mut rule.matches {
            let path = it.path.get_or_insert_with(PathMatch::default);
            fill(&mut path.kind, PathMatchType::PathPrefix);
            fill(&mut path.value, "/".to_owned());
        }
        for backend in &mut rule.backend_refs.value {
            fill(&mut backend.weight, 1);
        }
        let timeouts = rule.timeouts.get_or_insert_with(Timeouts::default);
        let default = plan::Timeouts::default();
        fill(&mut timeouts.request, Time(default.request.unwrap_or(Duration::ZERO)));
        fill(&mut timeouts.backend_request, Time(default.backend_request.unwrap_or(Duration::ZERO)));
    }
}

/// How deep a target is: gateway, listener, route, rule.
fn level(target: &TargetRef) -> u8 {
    let kind = match target.kind.value {
        TargetKind::Gateway => 0,
        TargetKind::HttpRoute => 2,
    };
    kind + u8::from(target.section_name.is_some())
}

/// The names of all entries, and the levels where they are used.
fn levels_by_name(policies: &[Policy]) -> Vec<(String, u8)> {
    let of = |policy: &Policy| {
        let names = policy.ext_proc.iter().filter_map(|it| it.effective_name());
        let targets = &policy.target_refs;
        names.flat_map(|name| targets.iter().map(move |it| (name.value.clone(), level(it)))).collect::<Vec<_>>()
    };
    policies.iter().flat_map(of).collect()
}

/// Writes out the defaults of an entry that overrides no other.
fn filled_entry(entry: ExtProc) -> ExtProc {
    let (Some(mut processor), Ok(options)) = (entry.processor_ref(&mut Problems::default()), entry.to_options()) else {
        return entry;
    };
    if let ProcessorRef::Inline(inline) = &mut processor.value {
        fill(&mut inline.connect_timeout, Time(plan::ProcessorSpec::DEFAULT_CONNECT_TIMEOUT));
    }
    let mut filled = ExtProc::from_options(&options);
    filled.name = entry.effective_name();
    if entry.http_service.is_some() {
        filled.http_service = entry.http_service;
    } else {
        filled.processor = Some(processor);
    }
    let of_service = entry.grpc_service.into_iter().flat_map(|it| it.value.initial_metadata);
    filled.grpc_initial_metadata = Some(of_service.chain(entry.grpc_initial_metadata.into_iter().flatten()).collect());
    if entry.per_route.is_none() {
        filled.disabled = Some(entry.disabled.unwrap_or_default());
    }
    filled.per_route = entry.per_route;
    // As written: a deeper entry may override the one and not the other.
    filled.route_cache_action = Some(entry.route_cache_action.unwrap_or_else(|| RouteCacheAction::Default.into()));
    filled.disable_clear_route_cache = Some(entry.disable_clear_route_cache.unwrap_or_default());
    filled
}
