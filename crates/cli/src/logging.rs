//! Logs, to stderr.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::failure::{Failure, Outcome};

/// How to log, for every subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How logs on stderr look
    #[arg(long, global = true, help_heading = "Logging", value_enum, default_value = "text", env = "LOG_FORMAT")]
    log_format: Format,
    /// What to log: a level, or targets with levels as in RUST_LOG, which wins [default: info for servers, else error]
    #[arg(long, global = true, help_heading = "Logging", env = "LOG_LEVEL")]
    log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Args {
    /// Starts logging; `default` is the level when none is asked for.
    pub(crate) fn install(&self, default: &str) -> Outcome {
        let wanted = || level(self.log_level.as_deref().unwrap_or(default));
        let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| wanted());
        let filter = EnvFilter::try_new(&directives).map_err(|error| {
            Failure::usage(format!(
                "log filter {directives:?}: {error}; give a level (error, warn, info, debug, trace) or target=level,..."
            ))
        })?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            Format::Text => {
                let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
                builder.with_ansi(colours).with_target(false).init();
            }
            Format::Json => builder.json().init(),
        }
        Ok(())
    }
}

/// Accepts the level names of the Python SDK too.
fn level(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" | "fatal" => "error".to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_level_names() {
        for (given, expected) in
            [("INFO", "INFO"), ("WARNING", "warn"), ("CRITICAL", "error"), ("extproc=debug", "extproc=debug")]
        {
            assert_eq!(level(given), expected);
            assert!(EnvFilter::try_new(level(given)).is_ok(), "{given}");
        }
    }
}
