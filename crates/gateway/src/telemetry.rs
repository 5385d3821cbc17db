//! What the gateway tells about itself: counters and the access log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use extproc_tower::Counters;
use extproc_tower::http::Details;
use http::{Method, Response};

use crate::Plan;

/// Counters of a gateway.
#[derive(Debug)]
pub struct Telemetry {
    filters: BTreeMap<String, Arc<Counters>>,
}

impl Telemetry {
    pub(crate) fn new(plan: &Plan) -> Self {
        let entries = plan.chains().flat_map(|it| it.iter());
        Self { filters: entries.map(|entry| (entry.name.clone(), Arc::default())).collect() }
    }

    /// The counters of all chain entries of this name, whatever rules they are in. `None` when there is no such entry.
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<&Arc<Counters>> {
        self.filters.get(name)
    }

    /// What every filter counted so far: by the name of the chain entry, Envoy's counters by their names.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<String, BTreeMap<&'static str, u64>> {
        self.filters.iter().map(|(name, counters)| (name.clone(), counters.iter().collect())).collect()
    }
}

/// What the access log says of a request.
pub(crate) struct Access {
    method: Method,
    path: String,
    host: String,
    started: tokio::time::Instant,
}

impl Access {
    /// `None` when nobody reads the log.
    pub(crate) fn begin(method: &Method, host: &str, path: &str) -> Option<Self> {
        tracing::enabled!(target: "extproc_gateway::access", tracing::Level::INFO).then(|| Self {
            method: method.clone(),
            path: path.to_owned(),
            host: host.to_owned(),
            started: tokio::time::Instant::now(),
        })
    }

    /// One line for each response, when its headers go out.
    pub(crate) fn responded<B>(self, response: &Response<B>, rule: &str) {
        let details = response.extensions().get::<Details>().map_or("", |it| it.0.as_str());
        self.line(response.status().as_u16(), details, rule);
    }

    /// The connection is closed without a response.
    pub(crate) fn cut(self, reason: &str, rule: &str) {
        self.line(0, reason, rule);
    }

    fn line(self, status: u16, details: &str, rule: &str) {
        let took: Duration = self.started.elapsed();
        tracing::info!(
            target: "extproc_gateway::access",
            method = %self.method,
            host = self.host,
            path = self.path,
            status,
            rule,
            details,
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
    }
}
