//! From the file to the plan: names become indices, defaults are filled in, and all that is wrong is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::at::At;
use super::error::{Problems, nearest};
use super::file::{self, BackendProtocol, File, PathMatchType, TargetKind};
use super::processor::ProcessorRef;
use crate::plan::{
    Address, Backend, ChainEntry, Endpoint, Listener, Plan, ProcessorSpec, Protocol, Rule, Timeouts, WeightedBackend,
};
use crate::policy::{self, Merged};
use crate::route::{HostMatch, PathMatch};

/// The address of a listener that names none.
pub(super) const ANY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Resolves a file.
pub(super) fn plan(file: &File) -> Result<Plan, Problems> {
    let mut resolver = Resolver { file, plan: Plan::default(), listeners: Vec::new(), problems: Problems::default() };
    resolver.globals();
    resolver.listeners();
    resolver.backends();
    resolver.processors();
    resolver.policies();
    resolver.routes();
    resolver.problems.into_result(resolver.plan)
}

struct Resolver<'a> {
    file: &'a File,
    plan: Plan,
    /// Gateway and listener of each listener of the plan.
    listeners: Vec<(&'a str, &'a str)>,
    problems: Problems,
}

impl<'a> Resolver<'a> {
    fn globals(&mut self) {
        let file = self.file;
        file.unsupported(&mut self.problems);
        if let Some(version) = file.version.filter(|it| it.value != 1) {
            self.problems.push(version.position, format!("version {} is not known; write `version: 1`", *version));
        }
        let buffered = file.limits.as_ref().and_then(|it| it.max_buffered_bytes);
        if let Some(size) = buffered.filter(|it| it.0 == 0) {
            self.problems.push(size.position, "`max_buffered_bytes` must not be zero");
        }
        self.unique("gateway", file.gateways.iter().map(|it| &it.name));
        self.unique("backend", file.backends.iter().map(|it| &it.name));
        self.unique("processor", file.processors.iter().map(|it| &it.name));
        self.unique("route", file.routes.iter().map(|it| &it.name));
        self.unique("policy", file.policies.iter().map(|it| &it.name));
    }

    fn unique(&mut self, what: &str, names: impl Iterator<Item = &'a At<String>>) {
        let mut seen: Vec<&str> = Vec::new();
        for name in names {
            if name.is_empty() {
                self.problems.push(name.position, format!("a {what} needs a name that is not empty"));
            } else if seen.contains(&name.as_str()) {
                self.problems.push(name.position, format!("a second {what} `{}`; names must differ", **name));
            }
            seen.push(name);
        }
    }

    fn listeners(&mut self) {
        let file = self.file;
        if file.gateways.is_empty() {
            self.problems.push(file.gateways.position, "there are no `gateways`, so nothing can come in");
        }
        for gateway in file.gateways.iter() {
            if gateway.listeners.is_empty() {
                self.problems.push(gateway.listeners.position, format!("gateway `{}` has no listener", *gateway.name));
            }
            self.unique("listener", gateway.listeners.iter().map(|it| &it.name));
            for listener in gateway.listeners.iter() {
                let ip = listener.address.map_or(ANY_ADDRESS, |it| it.value);
                let address = SocketAddr::new(ip, *listener.port);
                if let Some(other) = self.plan.listeners.iter().find(|it| overlap(it.address, address)) {
                    let message = format!("listener `{}` already listens on port {}", other.name, address.port());
                    self.problems.push(listener.port.position, message);
                }
                self.listeners.push((&gateway.name, &listener.name));
                let name = format!("{}/{}", *gateway.name, *listener.name);
                self.plan.listeners.push(Listener { name, address });
            }
        }
    }

    fn backends(&mut self) {
        for backend in &self.file.backends {
            if backend.endpoints.is_empty() {
                self.problems.push(backend.endpoints.position, format!("backend `{}` has no endpoint", *backend.name));
            }
            for endpoint in backend.endpoints.iter() {
                if let Address::Unix(_) = *endpoint.address {
                    let message = "unix sockets are not supported yet for backends; write `host:port`";
                    self.problems.push(endpoint.address.position, message);
                }
            }
            let endpoints = backend
                .endpoints
                .iter()
                .map(|it| Endpoint { address: it.address.value.clone(), weight: it.weight.map_or(1, |it| it.value) });
            let protocol = match backend.protocol.map(|it| it.value) {
                Some(BackendProtocol::H2c) => Protocol::H2c,
                // What is not supported yet has been told.
                None | Some(BackendProtocol::Http1 | BackendProtocol::Http2 | BackendProtocol::Auto) => Protocol::Http1,
            };
            let metadata = backend.metadata.as_ref().map(|it| Arc::new(it.meant()));
            self.plan.backends.push(Backend {
                name: backend.name.value.clone(),
                endpoints: endpoints.collect(),
                metadata,
                protocol,
            });
        }
    }

    fn processors(&mut self) {
        for processor in &self.file.processors {
            let endpoints: Vec<Address> = processor.endpoints.iter().map(|it| it.address.value.clone()).collect();
            if endpoints.is_empty() {
                let message = format!("processor `{}` has no endpoint", *processor.name);
                self.problems.push(processor.endpoints.position, message);
            }
            self.plan.processors.push(ProcessorSpec {
                name: processor.name.value.clone(),
                endpoints,
                connect_timeout: processor.connect_timeout.map_or(ProcessorSpec::DEFAULT_CONNECT_TIMEOUT, |it| it.0),
            });
        }
    }

    /// Checks what policies are attached to, and that what they disable exists.
    fn policies(&mut self) {
        let file = self.file;
        for policy in &file.policies {
            if policy.target_refs.is_empty() {
                let message = format!("policy `{}` is attached to nothing", *policy.name);
                self.problems.push(policy.target_refs.position, message);
            }
            for target in policy.target_refs.iter() {
                self.target(target);
            }
            for entry in policy.ext_proc.iter().filter(|it| !it.names_processor()) {
                let known = self.introduced();
                if let Some(name) = entry.name.as_ref().filter(|it| !known.contains(it)) {
                    let message =
                        format!("entry `{}` has no `processor`, and no other policy has an entry of this name", **name);
                    self.problems.push(name.position, with_hint(message, name, known.iter().map(String::as_str)));
                }
            }
        }
    }

    /// The names of all entries that say where their processor is.
    fn introduced(&self) -> Vec<String> {
        let entries = self.file.policies.iter().flat_map(|it| &it.ext_proc).filter(|it| it.names_processor());
        entries.filter_map(|it| it.effective_name()).map(|it| it.value).collect()
    }

    fn target(&mut self, target: &'a file::TargetRef) {
        let file = self.file;
        match target.kind.value {
            TargetKind::Gateway => self.gateway_section(&target.name, target.section_name.as_ref()),
            TargetKind::HttpRoute => {
                let Some(route) = file.routes.iter().find(|it| it.name == target.name) else {
                    return self.unknown(
                        "there is no route",
                        &target.name,
                        file.routes.iter().map(|it| it.name.as_str()),
                    );
                };
                let names = route.rules.iter().filter_map(|it| it.name.as_ref());
                if let Some(section) = &target.section_name
                    && !names.clone().any(|it| it == section)
                {
                    self.unknown(&format!("route `{}` has no rule", *route.name), section, names.map(|it| it.as_str()));
                }
            }
        }
    }

    fn gateway_section(&mut self, name: &At<String>, section: Option<&At<String>>) {
        let file = self.file;
        let Some(gateway) = file.gateways.iter().find(|it| it.name == *name) else {
            return self.unknown("there is no gateway", name, file.gateways.iter().map(|it| it.name.as_str()));
        };
        let names = gateway.listeners.iter().map(|it| it.name.as_str());
        if let Some(section) = section
            && !names.clone().any(|it| it == section.as_str())
        {
            self.unknown(&format!("gateway `{}` has no listener", *gateway.name), section, names);
        }
    }

    fn unknown<'n>(&mut self, what: &str, name: &At<String>, known: impl Iterator<Item = &'n str>) {
        self.problems.push(name.position, with_hint(format!("{what} `{}`", **name), name, known));
    }

    fn routes(&mut self) {
        // What is attached to gateways also sees requests that match no rule.
        for (index, (gateway, listener)) in self.listeners.clone().into_iter().enumerate() {
            let chain = self.chain(&self.levels(gateway, listener, None));
            self.plan.routes.set_unmatched(index, chain.into());
        }
        for route in &self.file.routes {
            if route.rules.is_empty() {
                self.problems.push(route.rules.position, format!("route `{}` has no rule", *route.name));
            }
            self.unique("rule", route.rules.iter().filter_map(|it| it.name.as_ref()));
            for parent in &route.parent_refs {
                self.gateway_section(&parent.name, parent.section_name.as_ref());
            }
            let hosts = self.hosts(route);
            for (index, rule) in route.rules.iter().enumerate() {
                self.rule(route, &hosts, index, rule);
            }
        }
    }

    fn hosts(&mut self, route: &file::Route) -> Vec<HostMatch> {
        if route.hostnames.is_empty() {
            return vec![HostMatch::Any];
        }
        let mut hosts = Vec::new();
        for name in &route.hostnames {
            match name.parse() {
                Ok(host) => hosts.push(host),
                Err(error) => self.problems.push(name.position, format!("{error}")),
            }
        }
        hosts
    }

    fn rule(&mut self, route: &'a file::Route, hosts: &[HostMatch], index: usize, rule: &'a file::Rule) {
        let paths = self.paths(rule);
        let backends = self.backend_refs(&route.name, rule);
        let timeouts = timeouts(rule.timeouts.as_ref());
        let name = match &rule.name {
            Some(name) => format!("{}/{}", *route.name, **name),
            None => format!("{}/{index}", *route.name),
        };
        for (listener, (gateway, section)) in self.listeners.clone().into_iter().enumerate() {
            if !attached(route, gateway, section) {
                continue;
            }
            let levels = self.levels(gateway, section, Some((route, rule)));
            let chain = self.chain(&levels);
            let rule = Arc::new(Rule { name: name.clone(), backends: backends.clone(), chain: chain.into(), timeouts });
            for host in hosts {
                for path in &paths {
                    self.plan.routes.add(listener, host.clone(), path.clone(), Arc::clone(&rule));
                }
            }
        }
    }

    fn paths(&mut self, rule: &file::Rule) -> Vec<PathMatch> {
        if rule.matches.is_empty() {
            return vec![PathMatch::all()];
        }
        let mut paths = Vec::new();
        for it in &rule.matches {
            let Some(file::PathMatch { kind, value }) = &it.path else {
                paths.push(PathMatch::all());
                continue;
            };
            let root = At::from("/".to_owned());
            let value = value.as_ref().unwrap_or(&root);
            let path = match kind.map_or(PathMatchType::PathPrefix, |it| it.value) {
                PathMatchType::Exact => PathMatch::exact(value),
                // Regular expressions have been refused before.
                PathMatchType::PathPrefix | PathMatchType::RegularExpression => PathMatch::prefix(value),
            };
            match path {
                Ok(path) => paths.push(path),
                Err(error) => self.problems.push(value.position, error.to_string()),
            }
        }
        paths
    }

    fn backend_refs(&mut self, route: &At<String>, rule: &file::Rule) -> Vec<WeightedBackend> {
        if rule.backend_refs.is_empty() {
            let position = rule.backend_refs.position.or_else(|| rule.name.as_ref()?.position).or(route.position);
            self.problems.push(position, format!("a rule of route `{}` has no `backend_refs`", **route));
        }
        let mut backends = Vec::new();
        for reference in rule.backend_refs.iter() {
            match self.file.backends.iter().position(|it| it.name == reference.name) {
                Some(backend) => {
                    let weight = reference.weight.map_or(1, |it| it.value);
                    backends.push(WeightedBackend { backend, weight });
                }
                None => {
                    let known = self.file.backends.iter().map(|it| it.name.as_str());
                    self.unknown("there is no backend", &reference.name, known);
                }
            }
        }
        backends
    }

    /// The policies of each level, the outermost first.
    fn levels(
        &self,
        gateway: &str,
        listener: &str,
        rule: Option<(&file::Route, &file::Rule)>,
    ) -> [Vec<&'a file::Policy>; 4] {
        let attached = |kind: TargetKind, name: &str, section: Option<&str>| {
            let wanted = move |it: &file::TargetRef| {
                it.kind.value == kind && *it.name == name && it.section_name.as_ref().map(|it| it.as_str()) == section
            };
            self.file.policies.iter().filter(|it| it.target_refs.iter().any(wanted)).collect()
        };
        let mut levels = [
            attached(TargetKind::Gateway, gateway, None),
            attached(TargetKind::Gateway, gateway, Some(listener)),
            Vec::new(),
            Vec::new(),
        ];
        if let Some((route, rule)) = rule {
            levels[2] = attached(TargetKind::HttpRoute, &route.name, None);
            if let Some(name) = &rule.name {
                levels[3] = attached(TargetKind::HttpRoute, &route.name, Some(name));
            }
        }
        levels
    }

    fn chain(&mut self, levels: &[Vec<&'a file::Policy>]) -> Vec<ChainEntry> {
        let mut chain = Vec::new();
        for Merged { entry, overrides } in policy::merge(levels, &mut self.problems) {
            let name = entry.name.clone().unwrap_or_default();
            if !entry.names_processor() {
                if self.introduced().contains(&name.value) {
                    let message = format!("entry `{}` has no `processor`, and no outer level gives it one", *name);
                    self.problems.push(name.position, message);
                }
                continue;
            }
            let Some(service) = entry.service(&overrides, &mut self.problems) else { continue };
            let processor = self.processor(&service.target);
            entry.check_observed_bodies(&mut self.problems);
            match entry.to_options() {
                Ok(mut options) => {
                    let limit = self.file.limits.as_ref().and_then(|it| it.max_buffered_bytes);
                    if let Some(limit) = limit {
                        options.buffer_limit = limit.0;
                    }
                    match (extproc_core::Config::overridden(options, &overrides), processor) {
                        (Ok(config), Some(processor)) => {
                            let initial_metadata = service.initial_metadata;
                            let config = Arc::new(config);
                            let http_service = entry.http_service();
                            chain.push(ChainEntry {
                                name: name.value,
                                config,
                                processor,
                                initial_metadata,
                                http_service,
                            });
                        }
                        (Ok(_), None) => {}
                        (Err(error), _) => self.problems.push(name.position, error.to_string()),
                    }
                }
                Err(problems) => self.problems.append(problems),
            }
        }
        chain
    }

    fn processor(&mut self, reference: &At<ProcessorRef>) -> Option<usize> {
        match &reference.value {
            ProcessorRef::Name(name) => {
                let index = self.file.processors.iter().position(|it| *it.name == *name);
                if index.is_none() {
                    let name = At { value: name.clone(), position: reference.position };
                    let known = self.file.processors.iter().map(|it| it.name.as_str());
                    self.unknown("there is no processor", &name, known);
                }
                index
            }
            ProcessorRef::Inline(inline) => {
                let spec = ProcessorSpec {
                    name: inline.address.to_string(),
                    endpoints: vec![inline.address.value.clone()],
                    connect_timeout: inline.connect_timeout.map_or(ProcessorSpec::DEFAULT_CONNECT_TIMEOUT, |it| it.0),
                };
                let known = self.plan.processors.iter().position(|it| *it == spec);
                Some(known.unwrap_or_else(|| {
                    self.plan.processors.push(spec);
                    self.plan.processors.len() - 1
                }))
            }
        }
    }
}

fn with_hint<'n>(message: String, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("{message}; did you mean `{near}`?"),
        None => message,
    }
}

/// Whether two listeners would be in each other's way. Port 0 is never the same.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Whether a route takes requests of a listener. A route that names no parent takes those of all.
fn attached(route: &file::Route, gateway: &str, listener: &str) -> bool {
    route.parent_refs.is_empty()
        || route
            .parent_refs
            .iter()
            .any(|it| *it.name == gateway && it.section_name.as_ref().is_none_or(|it| it.as_str() == listener))
}

fn timeouts(timeouts: Option<&file::Timeouts>) -> Timeouts {
    let given = |it: Option<At<super::Time>>, default| match it {
        Some(time) => Some(time.0).filter(|it| !it.is_zero()),
        None => default,
    };
    let default = Timeouts::default();
    timeouts.map_or(default, |it| Timeouts {
        request: given(it.request, default.request),
        backend_request: given(it.backend_request, default.backend_request),
    })
}
