//! The keys of a configuration file, as they are written. What they mean together is decided in `resolve`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::at::{At, Unsupported};
use super::error::Problems;
use super::ext_proc::ExtProc;
use super::metadata::BackendMetadata;
use super::processor::Processor;
use super::scalar::{Size, Time, words};
use crate::plan::Address;

/// A whole file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The format; this is version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<At<u64>>,
    /// Bounds for the whole gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Where requests come in.
    #[serde(default)]
    pub gateways: At<Vec<Gateway>>,
    /// Upstreams.
    #[serde(default)]
    pub backends: Vec<Backend>,
    /// External processors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processors: Vec<Processor>,
    /// Which request goes to which backend.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Which request passes which processors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,

    #[serde(default, skip_serializing)]
    pub(super) admin: Unsupported,
}

/// Bounds for the whole gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How much of a body one filter may hold in one direction.
    #[serde(default, alias = "maxBufferedBytes", skip_serializing_if = "Option::is_none")]
    pub max_buffered_bytes: Option<At<Size>>,

    #[serde(default, alias = "maxBodyMessageBytes", skip_serializing)]
    pub(super) max_body_message_bytes: Unsupported,
    #[serde(default, alias = "maxHeaderBytes", skip_serializing)]
    pub(super) max_header_bytes: Unsupported,
}

/// A Gateway API `Gateway`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// What routes and policies call it.
    pub name: At<String>,
    /// Where it listens.
    pub listeners: At<Vec<Listener>>,
}

/// One address of a gateway.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// What routes and policies call it.
    pub name: At<String>,
    /// The IP address to listen on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<At<IpAddr>>,
    /// The port to listen on; 0 takes any free one.
    pub port: At<u16>,
    /// HTTP/1.1 and cleartext HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<At<ListenerProtocol>>,

    #[serde(default, skip_serializing)]
    pub(super) hostname: Unsupported,
    #[serde(default, skip_serializing)]
    pub(super) tls: Unsupported,
}

words! {
    /// Gateway API `Listener.protocol`.
    pub enum ListenerProtocol: "listener protocol" {
        /// Cleartext.
        Http = "HTTP",
        /// TLS.
        Https = "HTTPS",
    }
}

/// A group of equal upstream servers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// What routes call it.
    pub name: At<String>,
    /// The servers.
    pub endpoints: At<Vec<Endpoint>>,
    /// What they speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<At<BackendProtocol>>,
    /// What processors may be told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BackendMetadata>,

    #[serde(default, alias = "loadBalancing", skip_serializing)]
    pub(super) load_balancing: Unsupported,
    #[serde(default, alias = "healthCheck", skip_serializing)]
    pub(super) health_check: Unsupported,
    #[serde(default, skip_serializing)]
    pub(super) outlier: Unsupported,
    #[serde(default, skip_serializing)]
    pub(super) tls: Unsupported,
}

words! {
    /// What an upstream speaks.
    pub enum BackendProtocol: "backend protocol" {
        /// HTTP/1.1, cleartext.
        Http1 = "HTTP1",
        /// HTTP/2, cleartext.
        H2c = "H2C",
        /// HTTP/2 over TLS.
        Http2 = "HTTP2",
        /// What the request came in with.
        Auto = "AUTO",
    }
}

/// One upstream server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `host:port`.
    pub address: At<Address>,
    /// Its share, relative to the other endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<At<u32>>,
}

/// A Gateway API `HTTPRoute`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// What policies call it.
    pub name: At<String>,
    /// Where its requests come in.
    #[serde(default, alias = "parentRefs", skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentRef>,
    /// Which hosts it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<At<String>>,
    /// What to do with its requests.
    pub rules: At<Vec<Rule>>,
}

/// Names a gateway, or one listener of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ParentRef {
    /// The gateway.
    pub name: At<String>,
    /// The listener.
    #[serde(default, alias = "sectionName", skip_serializing_if = "Option::is_none")]
    pub section_name: Option<At<String>>,
}

/// A Gateway API `HTTPRouteRule`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What policies call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<At<String>>,
    /// Which requests it is for: any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// Where they go.
    #[serde(default, alias = "backendRefs")]
    pub backend_refs: At<Vec<BackendRef>>,
    /// How long they may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    #[serde(default, skip_serializing)]
    pub(super) filters: Unsupported,
}

/// A Gateway API `HTTPRouteMatch`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,

    #[serde(default, skip_serializing)]
    pub(super) method: Unsupported,
    #[serde(default, skip_serializing)]
    pub(super) headers: Unsupported,
    #[serde(default, alias = "queryParams", skip_serializing)]
    pub(super) query_params: Unsupported,
}

/// A Gateway API `HTTPPathMatch`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PathMatch {
    /// How `value` is compared.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<At<PathMatchType>>,
    /// A path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<At<String>>,
}

words! {
    /// Gateway API `PathMatchType`.
    pub enum PathMatchType: "path match type" {
        /// The whole path.
        Exact = "Exact",
        /// By whole elements.
        PathPrefix = "PathPrefix",
        /// By a regular expression.
        RegularExpression = "RegularExpression",
    }
}

/// Names a backend.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BackendRef {
    /// The backend.
    pub name: At<String>,
    /// Its share, relative to the rule's other backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<At<u32>>,

    #[serde(default, skip_serializing)]
    pub(super) filters: Unsupported,
}

/// A Gateway API `HTTPRouteTimeouts`. Zero: no limit.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// The whole exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<At<Time>>,
    /// The backend's part of it.
    #[serde(default, alias = "backendRequest", skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<At<Time>>,
}

/// Attaches processors to gateways and routes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// For messages.
    pub name: At<String>,
    /// What it is attached to.
    #[serde(alias = "targetRefs")]
    pub target_refs: At<Vec<TargetRef>>,
    /// When it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<At<Phase>>,
    /// Drop what outer levels say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<At<bool>>,
    /// The processors, in request order.
    #[serde(default, alias = "extProc")]
    pub ext_proc: Vec<ExtProc>,
}

words! {
    /// When a policy runs.
    pub enum Phase: "phase" {
        /// Before the route is chosen.
        PreRouting = "PRE_ROUTING",
        /// After the route is chosen.
        PostRouting = "POST_ROUTING",
    }
}

/// Names what a policy is attached to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetRef {
    /// What it is.
    pub kind: At<TargetKind>,
    /// Its name.
    pub name: At<String>,
    /// A part of it: the listener of a gateway, the rule of a route.
    #[serde(default, alias = "sectionName", skip_serializing_if = "Option::is_none")]
    pub section_name: Option<At<String>>,
}

words! {
    /// What a policy can be attached to.
    pub enum TargetKind: "target kind" {
        /// A gateway or a listener.
        Gateway = "Gateway",
        /// A route or a rule.
        HttpRoute = "HTTPRoute",
    }
}

/// Reports the keys among these that ask for something that is not implemented.
macro_rules! report {
    ($problems:ident, $owner:expr, $($key:ident),+) => {
        $(if let Some(position) = $owner.$key.used() {
            $problems.push(position, concat!("`", stringify!($key), "` is not supported yet"));
        })+
    };
}

impl File {
    /// Every key and value that this version knows but does not implement. Those of `ext_proc` entries are told with
    /// the rest of the entry.
    pub(super) fn unsupported(&self, problems: &mut Problems) {
        report!(problems, self, admin);
        if let Some(limits) = &self.limits {
            report!(problems, limits, max_body_message_bytes, max_header_bytes);
        }
        for listener in self.gateways.iter().flat_map(|it| it.listeners.iter()) {
            report!(problems, listener, hostname, tls);
            if let Some(At { value: ListenerProtocol::Https, position }) = listener.protocol {
                problems.push(position, "`protocol: HTTPS` is not supported yet; use HTTP");
            }
        }
        for backend in &self.backends {
            report!(problems, backend, load_balancing, health_check, outlier, tls);
            match backend.protocol {
                None | Some(At { value: BackendProtocol::Http1 | BackendProtocol::H2c, .. }) => {}
                Some(At { value, position }) => {
                    let message = format!("`protocol: {}` is not supported yet; use HTTP1 or H2C", value.word());
                    problems.push(position, message);
                }
            }
        }
        for processor in &self.processors {
            report!(problems, processor, health_check, connections, tls, open_retries);
        }
        for rule in self.routes.iter().flat_map(|it| it.rules.iter()) {
            rule.unsupported(problems);
        }
        for policy in &self.policies {
            if let Some(At { value: Phase::PreRouting, position }) = policy.phase {
                problems.push(position, "`phase: PRE_ROUTING` is not supported yet; use POST_ROUTING");
            }
        }
    }
}

impl Rule {
    fn unsupported(&self, problems: &mut Problems) {
        report!(problems, self, filters);
        for it in &self.matches {
            report!(problems, it, method, headers, query_params);
            let kind = it.path.as_ref().and_then(|it| it.kind);
            if let Some(At { value: PathMatchType::RegularExpression, position }) = kind {
                let message = "`type: RegularExpression` is not supported yet; use Exact or PathPrefix";
                problems.push(position, message);
            }
        }
        for backend in self.backend_refs.iter() {
            report!(problems, backend, filters);
        }
    }
}
