//! The scripted parties of an exchange over real sockets.

pub mod answer;
pub mod client;
mod fields;
pub mod http1;
pub mod processor;
pub mod upstream;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::scenario::{Processor, Scenario};
use crate::transcript::{Message, Received, Reply, StreamEnd};

use client::Client;
use processor::ProcessorPeer;
use upstream::UpstreamPeer;

/// The upstreams and the processor of one scenario, listening.
#[derive(Debug)]
pub struct Peers {
    /// The last resort first, then one for each of the scenario's routes.
    pub upstreams: Vec<UpstreamPeer>,
    /// `None` when the scenario says that it is not defined.
    pub processor: Option<ProcessorPeer>,
}

impl Peers {
    /// Starts to listen on free ports of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(scenario: &Scenario) -> std::io::Result<Self> {
        let mut upstreams = vec![UpstreamPeer::start(0, &scenario.upstream).await?];
        for (index, route) in scenario.routes.iter().enumerate() {
            upstreams.push(UpstreamPeer::start(index + 1, &route.upstream).await?);
        }
        let processor = match &scenario.processor {
            Processor::Script(script) if scenario.has_http_service() => {
                Some(ProcessorPeer::start_http(script.clone()).await?)
            }
            Processor::Script(script) => Some(ProcessorPeer::start(script.clone()).await?),
            Processor::Unreachable => Some(ProcessorPeer::unreachable()?),
            Processor::Unknown => None,
        };
        Ok(Self { upstreams, processor })
    }

    /// Plays the client against a data plane that listens at `address`.
    ///
    /// # Errors
    /// When the data plane cannot be reached, or gives no end within the time a scenario may take.
    pub async fn request(scenario: &Scenario, address: std::net::SocketAddr) -> anyhow::Result<Reply> {
        Client::new(&scenario.request).run(address).await
    }

    /// Lets the time pass that the scenario watches the side stream for, unless that ends before. Call when the client
    /// has its response.
    pub async fn watch(&self, scenario: &Scenario) -> Option<StreamEnd> {
        let patience = scenario.watch?.duration();
        let end = tokio::time::Instant::now();
        match &self.processor {
            Some(processor) => processor.watch(end, patience).await,
            None => None,
        }
    }

    /// What the processor saw, the metadata of its call, and what the upstream saw. Call when the data plane has finished the exchange: what it sent last
    /// may still be under way here.
    pub async fn finish(self) -> (Vec<Message>, BTreeMap<String, String>, Option<Received>) {
        let mut received = None;
        for upstream in self.upstreams {
            received = received.or(upstream.finish(Duration::from_secs(2)).await.into_iter().next());
        }
        let (messages, call) = match self.processor {
            Some(processor) => processor.finish(Duration::from_secs(2)).await,
            None => Default::default(),
        };
        (messages, call, received)
    }
}
