//! A scenario's configuration as our own filter takes it.

use std::sync::Arc;

use anyhow::Context;
use extproc_core::Config;
use extproc_gateway::config::ext_proc::ExtProc;

use super::Failure;
use crate::scenario::Scenario;

/// The filter's configuration.
///
/// # Errors
/// [`Failure::Unsupported`] when it asks for something that the core does not implement.
pub(super) fn config(scenario: &Scenario, name: &str) -> Result<Arc<Config>, Failure> {
    // The gateway's reader takes places from the YAML reader, so the JSON is read as the YAML that it is, too.
    let text = serde_json::to_string(&scenario.config)?;
    let block: ExtProc = serde_saphyr::from_str(&text).with_context(|| format!("the config of {}", scenario.id))?;
    let mut options = block.to_options().map_err(|problems| {
        let messages: Vec<String> = problems.0.iter().map(|problem| problem.message.clone()).collect();
        Failure::Unsupported(messages.join("; "))
    })?;
    name.clone_into(&mut options.name);
    options.profile = scenario.profile.into();
    if block.processing_mode.is_none() {
        options.processing_mode = options.profile.default_mode();
    }
    if let Some(limit) = scenario.buffer_limit {
        options.buffer_limit = limit as usize;
    }
    Ok(Arc::new(Config::new(options)?))
}
