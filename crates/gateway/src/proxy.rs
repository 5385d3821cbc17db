//! One request: prepare it, choose its rule, send it through the rule's processors to an upstream.

mod forwarded;
mod host;
mod request_id;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use extproc_core::DynamicMetadata;
use extproc_tower::http::{ClusterMetadata, RecomputeRoute};
use extproc_tower::{Cut, Facts, Filter, Processor, Refusal, RequestBody, ResponseBody, process};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use tower_service::Service;

use crate::Plan;
use crate::coding;
use crate::plan::{Address, ChainEntry, ProcessorSpec, Rule};
use crate::telemetry::{Access, Telemetry};
use crate::upstream::{Answer, Upstream, UpstreamBody};

/// Everything that exchanges share.
pub(crate) struct Proxy {
    plan: Plan,
    upstream: Upstream,
    telemetry: Arc<Telemetry>,
    /// The filters of every chain of the plan, by the chain's address. The plan keeps the chains alive.
    filters: HashMap<usize, Arc<[Filter]>>,
    unfiltered: Arc<[Filter]>,
    connections: AtomicU64,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Index in the plan.
    pub(crate) listener: usize,
    pub(crate) peer: SocketAddr,
    /// Where the client has connected to.
    pub(crate) local: Option<SocketAddr>,
    /// Counts connections, from 1.
    pub(crate) connection: u64,
}

impl Proxy {
    pub(crate) fn new(plan: Plan) -> Self {
        let telemetry = Arc::new(Telemetry::new(&plan));
        let processors: Vec<Processor> = plan.processors.iter().map(processor).collect();
        let mut filters = HashMap::new();
        for entries in plan.chains() {
            filters.entry(address_of(entries)).or_insert_with(|| chain(entries, &processors, &telemetry));
        }
        let upstream = Upstream::new(&plan.backends);
        Self { plan, upstream, telemetry, filters, unfiltered: Arc::from([]), connections: AtomicU64::new(0) }
    }

    /// The number of a connection that is new.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) const fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Answers a request. An error means that the connection is to be closed (HTTP/2: the stream reset).
    pub(crate) async fn handle(
        self: Arc<Self>,
        origin: Origin,
        mut request: Request<Incoming>,
    ) -> Result<Response<ResponseBody<UpstreamBody>>, Cut> {
        let coding = coding::check(request.headers());
        forwarded::prepare(&mut request, origin.peer);
        let refusal = coding.and_then(|()| host::check(&request)).err();
        let rule = if refusal.is_none() { self.select(origin.listener, &request) } else { None };
        let access = Access::begin(request.method(), host::host(&request), request.uri().path());
        // Nobody is asked about a request of which it is not clear whom it is for.
        let unmatched = || self.plan.routes.unmatched(origin.listener).filter(|_| refusal.is_none());
        let chain = rule.as_ref().map(|it| &it.chain).or_else(unmatched);
        let filters = chain.and_then(|it| self.filters.get(&address_of(it))).unwrap_or(&self.unfiltered);
        let backend = rule.as_ref().and_then(|it| self.upstream.choose(it));
        if let Some(metadata) = self.metadata(backend).filter(|_| !filters.is_empty()) {
            request.extensions_mut().insert(ClusterMetadata(Arc::clone(metadata)));
        }
        if filters.iter().any(|it| it.config.wants_attributes()) {
            request.extensions_mut().insert(self.facts(origin, rule.as_deref(), backend));
        }
        let route = Route { proxy: Arc::clone(&self), listener: origin.listener, rule: rule.clone(), backend, refusal };
        let mut result = process(Arc::clone(filters), request, route).await;
        let name = rule.as_ref().map_or("", |it| it.name.as_str());
        match (&mut result, access) {
            (Ok(response), access) => {
                let status = response.status();
                forwarded::strip_response(status, response.headers_mut());
                access.into_iter().for_each(|it| it.responded(response, name));
            }
            (Err(error), access) => access.into_iter().for_each(|it| it.cut(&error.to_string(), name)),
        }
        result
    }

    /// What attributes tell.
    fn facts(&self, origin: Origin, rule: Option<&Rule>, backend: Option<usize>) -> Facts {
        let backend = backend.and_then(|it| self.plan.backends.get(it));
        Facts {
            source: Some(origin.peer),
            destination: origin.local,
            connection_id: Some(origin.connection),
            cluster_name: backend.map(|it| it.name.as_str().into()),
            route_name: rule.map(|it| it.name.as_str().into()),
        }
    }

    /// What processors may be told of a backend.
    fn metadata(&self, backend: Option<usize>) -> Option<&Arc<DynamicMetadata>> {
        self.plan.backends.get(backend?)?.metadata.as_ref()
    }

    fn select<B>(&self, listener: usize, request: &Request<B>) -> Option<Arc<Rule>> {
        // A tunnel is not an exchange that could be routed by path.
        if request.method() == Method::CONNECT {
            return None;
        }
        self.plan.routes.select(listener, host::host(request), request.uri().path()).map(Arc::clone)
    }
}

/// The last stop of a request: the upstream of its rule.
#[derive(Clone)]
struct Route {
    proxy: Arc<Proxy>,
    listener: usize,
    rule: Option<Arc<Rule>>,
    /// The rule's backend for this request; `None` when there is none to choose.
    backend: Option<usize>,
    /// Why the request goes nowhere.
    refusal: Option<Refusal>,
}

impl Service<Request<RequestBody<Incoming>>> for Route {
    type Response = Response<UpstreamBody>;
    type Error = Refusal;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody<Incoming>>) -> Answer {
        if let Some(refusal) = self.refusal.take() {
            return Answer::refused(refusal);
        }
        let reroute = request.extensions_mut().remove::<RecomputeRoute>().is_some();
        if reroute {
            self.rule = self.proxy.select(self.listener, &request);
            self.backend = self.rule.as_ref().and_then(|it| self.proxy.upstream.choose(it));
        }
        let Some(rule) = &self.rule else {
            return Answer::refused(Refusal::new(404, "", "route_not_found"));
        };
        forwarded::strip_request(request.headers_mut());
        let answer = self.proxy.upstream.send(rule, self.backend, request);
        match self.proxy.metadata(self.backend).filter(|_| reroute) {
            Some(metadata) => answer.with_metadata(Arc::clone(metadata)),
            None => answer,
        }
    }
}

fn processor(spec: &ProcessorSpec) -> Processor {
    let endpoints = spec.endpoints.iter().map(|it| match it {
        Address::Tcp(host, port) => extproc_tower::Endpoint::Tcp(host.clone(), *port),
        Address::Unix(path) => extproc_tower::Endpoint::Unix(path.clone()),
    });
    Processor::new(endpoints, spec.connect_timeout).named(&spec.name)
}

fn chain(entries: &[ChainEntry], processors: &[Processor], telemetry: &Telemetry) -> Arc<[Filter]> {
    let filter = |entry: &ChainEntry| {
        let processor = processors[entry.processor].clone().with_metadata(metadata(&entry.initial_metadata));
        Filter {
            config: Arc::clone(&entry.config),
            processor: match &entry.http_service {
                Some(service) => processor.with_http_service(service.clone()),
                None => processor,
            },
            counters: telemetry.filter(&entry.name).map(Arc::clone).unwrap_or_default(),
        }
    };
    entries.iter().map(filter).collect()
}

/// What gRPC cannot send is left out; configurations with such do not load.
fn metadata(entries: &[(String, String)]) -> HeaderMap {
    let entry = |(name, value): &(String, String)| Some((name.parse().ok()?, value.parse().ok()?));
    entries.iter().filter_map(entry).collect::<Vec<(HeaderName, HeaderValue)>>().into_iter().collect()
}

fn address_of(chain: &Arc<[ChainEntry]>) -> usize {
    Arc::as_ptr(chain).cast::<()>() as usize
}
