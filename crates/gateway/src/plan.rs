//! What the data path runs on: a configuration with every name resolved and every default filled in.
//!
//! A [`Plan`] never changes; a new configuration is a new plan. Exchanges hold the [`Rule`] that was chosen for them by
//! `Arc`, so they finish under the configuration they began with.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use extproc_core::DynamicMetadata;
pub use extproc_tower::HttpService;

use crate::route::RouteTable;

/// Everything a gateway needs to serve.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where requests come in. Routes name listeners by their index here.
    pub listeners: Vec<Listener>,
    /// Which rule a request follows.
    pub routes: RouteTable,
    /// Upstreams. Rules name backends by their index here.
    pub backends: Vec<Backend>,
    /// External processors. Chain entries name processors by their index here.
    pub processors: Vec<ProcessorSpec>,
}

/// An address that accepts requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// For logs: `gateway/listener`.
    pub name: String,
    /// Where to listen. Port 0 takes any free port.
    pub address: SocketAddr,
}

/// A group of equal upstream servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// For logs and statistics.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// What processors may be told of it (Envoy `metadata_options.cluster_metadata_forwarding_namespaces`).
    pub metadata: Option<Arc<DynamicMetadata>>,
    /// What they speak.
    pub protocol: Protocol,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, a connection for each request under way.
    #[default]
    Http1,
    /// HTTP/2 without TLS and without negotiation, one connection for all requests.
    H2c,
}

/// One upstream server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its share of the requests, relative to the other endpoints.
    pub weight: u32,
}

/// An external processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorSpec {
    /// For logs.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Address>,
    /// How long a connection may take to establish.
    pub connect_timeout: Duration,
}

impl ProcessorSpec {
    /// The connect timeout where none is configured.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
}

/// What to do with the requests that match a rule.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// For logs: `route/rule`.
    pub name: String,
    /// The upstreams to choose from. When the weights sum up to zero there is none to choose, and the answer is 500
    /// (Gateway API `HTTPBackendRef.weight`).
    pub backends: Vec<WeightedBackend>,
    /// The processors in request order.
    pub chain: Arc<[ChainEntry]>,
    /// Limits on the duration of an exchange.
    pub timeouts: Timeouts,
}

/// A backend and its share of a rule's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedBackend {
    /// Index in [`Plan::backends`].
    pub backend: usize,
    /// Its share, relative to the rule's other backends.
    pub weight: u32,
}

/// One external processor in a chain.
#[derive(Clone, Debug)]
pub struct ChainEntry {
    /// Labels statistics and logs; unique in the chain.
    pub name: String,
    /// How the filter behaves.
    pub config: Arc<extproc_core::Config>,
    /// Index in [`Plan::processors`].
    pub processor: usize,
    /// What every call is given as gRPC metadata; names in lower case.
    pub initial_metadata: Vec<(String, String)>,
    /// The processor is an HTTP service, which is asked so.
    pub http_service: Option<HttpService>,
}

/// Limits on the duration of an exchange. `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request headers going to the backend to the last byte of the response. Default: none, so that long
    /// transfers work.
    pub request: Option<Duration>,
    /// From the end of the request to the upstream to the headers of its response. Default: 15 s, as Envoy's route
    /// timeout.
    pub backend_request: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { request: None, backend_request: Some(Duration::from_secs(15)) }
    }
}

impl Plan {
    /// The chains of all listeners. One that several rules share comes several times.
    pub(crate) fn chains(&self) -> impl Iterator<Item = &Arc<[ChainEntry]>> {
        let chains = |it| self.routes.rules(it).map(|rule| &rule.chain).chain(self.routes.unmatched(it));
        (0..self.listeners.len()).flat_map(chains)
    }
}

impl Rule {
    /// Chooses a backend by weight. Tickets that count up give every backend its exact share.
    ///
    /// `None` when all weights are zero.
    #[must_use]
    pub fn backend(&self, ticket: u64) -> Option<usize> {
        pick(&self.backends, |it| it.weight, ticket).map(|it| it.backend)
    }
}

impl Backend {
    /// Chooses an endpoint by weight. Tickets that count up give every endpoint its exact share.
    ///
    /// `None` when all weights are zero.
    #[must_use]
    pub fn endpoint(&self, ticket: u64) -> Option<&Endpoint> {
        pick(&self.endpoints, |it| it.weight, ticket)
    }
}

fn pick<T>(items: &[T], weight: impl Fn(&T) -> u32, ticket: u64) -> Option<&T> {
    let total: u64 = items.iter().map(|it| u64::from(weight(it))).sum();
    let mut rest = ticket.checked_rem(total)?;
    items.iter().find(|it| match rest.checked_sub(u64::from(weight(it))) {
        Some(less) => {
            rest = less;
            false
        }
        None => true,
    })
}

/// Where a server can be reached: `host:port`, `[v6]:port` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or IP address (IPv6 without brackets), and a port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// A text that is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address; write `host:port`, `[v6]:port` or `unix:PATH`")]
pub struct InvalidAddress(String);

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(invalid()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
        if let Some(v6) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            let v6: Ipv6Addr = v6.parse().map_err(|_| invalid())?;
            return Ok(Self::Tcp(v6.to_string(), port));
        }
        let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(plausible) {
            return Err(invalid());
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port| Some(Address::Tcp(host.to_owned(), port));
        let table = [
            ("127.0.0.1:80", tcp("127.0.0.1", 80)),
            ("localhost:4444", tcp("localhost", 4444)),
            ("my_host-1.example.com:1", tcp("my_host-1.example.com", 1)),
            ("[::1]:8080", tcp("::1", 8080)),
            ("unix:/run/sink.sock", Some(Address::Unix("/run/sink.sock".into()))),
            ("unix:", None),
            ("", None),
            ("80", None),
            (":80", None),
            ("localhost", None),
            ("localhost:", None),
            ("localhost:0", None),
            ("localhost:65536", None),
            ("::1:8080", None),
            ("[localhost]:80", None),
            ("http://localhost:80", None),
            ("a b:80", None),
        ];
        for (text, expected) in table {
            let parsed: Option<Address> = text.parse().ok();
            assert_eq!(parsed, expected, "{text}");
            if let Some(address) = parsed {
                assert_eq!(address.to_string(), text, "what is printed can be read");
            }
        }
    }

    #[test]
    fn shares_follow_weights() {
        let table: [(&[u32], &[usize]); 5] =
            [(&[1], &[6]), (&[1, 1], &[3, 3]), (&[2, 1], &[4, 2]), (&[0, 1], &[0, 6]), (&[1, 0, 2], &[2, 0, 4])];
        for (weights, shares) in table {
            let backends = weights.iter().enumerate().map(|(backend, &weight)| WeightedBackend { backend, weight });
            let rule = Rule { backends: backends.collect(), ..Rule::default() };
            let mut seen = vec![0; weights.len()];
            for ticket in 0..6 {
                seen[rule.backend(ticket).unwrap()] += 1;
            }
            assert_eq!(seen, shares, "{weights:?}");
        }
        assert_eq!(Rule::default().backend(0), None);
        let none = vec![WeightedBackend { backend: 0, weight: 0 }];
        assert_eq!(Rule { backends: none, ..Rule::default() }.backend(7), None);
    }
}
