//! A scenario's configuration as our own filter takes it.

use std::sync::Arc;

use anyhow::Context;
use extproc_core::Config;
use extproc_core::overrides::{Overrides, Service};
use extproc_gateway::config::ext_proc::{ExtProc, Level, PerRoute};
use extproc_gateway::config::{Problems, ProcessorRef};
use extproc_gateway::plan::HttpService;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Failure;
use crate::scenario::Scenario;

/// The cluster that scenarios call their processor.
pub(super) const PROCESSOR: &str = "processor";

/// A filter that is on.
pub(super) struct Filter {
    pub(super) config: Arc<Config>,
    /// Whether its processor is the scripted one; else nothing is there.
    pub(super) reachable: bool,
    pub(super) initial_metadata: Vec<(String, String)>,
    /// What the processor is asked if it is an HTTP service.
    pub(super) http_service: Option<HttpService>,
}

/// The filter with what more specific levels say; `None` when it is off.
///
/// # Errors
/// [`Failure::Unsupported`] when it asks for something that the core does not implement.
pub(super) fn filter(scenario: &Scenario, name: &str) -> Result<Option<Filter>, Failure> {
    let mut written = scenario.config.clone();
    if written.get("grpc_service").is_none() && written.get("http_service").is_none() {
        written["grpc_service"] = json!({ "envoy_grpc": { "cluster_name": PROCESSOR } });
    }
    let block: ExtProc = read(&written).with_context(|| format!("the config of {}", scenario.id))?;
    let mut options = block.to_options().map_err(unsupported)?;
    name.clone_into(&mut options.name);
    options.profile = scenario.profile.into();
    if block.processing_mode.is_none() {
        options.processing_mode = options.profile.default_mode();
    }
    if let Some(limit) = scenario.buffer_limit {
        options.buffer_limit = limit as usize;
    }
    let mut problems = Problems::default();
    let mut levels = Vec::new();
    for level in [&scenario.per_route.virtual_host, &scenario.per_route.route].into_iter().flatten() {
        let level: PerRoute = read(level).with_context(|| format!("per_route of {}", scenario.id))?;
        levels.extend(level.level(None, &mut problems));
    }
    let overrides = match Level::merged(levels) {
        Some(Level::Disabled) => return Ok(None),
        Some(Level::Overrides(overrides)) => overrides,
        None => Overrides::default(),
    };
    let service = block.service(&overrides, &mut problems);
    if !problems.0.is_empty() {
        return Err(unsupported(problems));
    }
    let Service { target, initial_metadata } = service.context("no processor")?;
    let reachable = target.value == ProcessorRef::Name(PROCESSOR.to_owned());
    let config = Arc::new(Config::overridden(options, &overrides)?);
    Ok(Some(Filter { config, reachable, initial_metadata, http_service: block.http_service() }))
}

/// The gateway's reader takes places from the YAML reader, so the JSON is read as the YAML that it is, too.
fn read<T: DeserializeOwned>(json: &Value) -> anyhow::Result<T> {
    Ok(serde_saphyr::from_str(&serde_json::to_string(json)?)?)
}

fn unsupported(problems: Problems) -> Failure {
    let messages: Vec<String> = problems.0.iter().map(|problem| problem.message.clone()).collect();
    Failure::Unsupported(messages.join("; "))
}
