//! The settings of a server, as flags.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use extproc::{Key, Origin, Settings};

use crate::failure::{Failure, Outcome};

/// What flags say, unchecked.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    given: Vec<(&'static Key, String)>,
}

/// On here, off in the SDK: samples are there to be looked at.
const REFLECTION: &str = "true";

impl Flags {
    /// Flags, environment and file, by the one rule.
    pub(super) fn settings(&self, file: Option<&Path>) -> Outcome<Settings> {
        let mut settings = Settings::default();
        for key in Settings::keys().iter().filter(|key| key.name == "reflection") {
            settings.set(key, REFLECTION, Origin::Default).map_err(Failure::usage)?;
        }
        for (key, value) in &self.given {
            settings.set(key, value, Origin::Flag(key.flag())).map_err(Failure::usage)?;
        }
        settings.read_env(|name| std::env::var(name).ok()).map_err(Failure::usage)?;
        if let Some(file) = file {
            settings.read_file(file).map_err(Failure::usage)?;
        }
        Ok(settings)
    }
}

/// The level has a flag for all commands.
fn is_global(key: &Key) -> bool {
    key.name == "log_level"
}

fn flag(key: &'static Key) -> Arg {
    let default = match key.name {
        "reflection" => Some(REFLECTION.to_owned()),
        _ => key.default_value(),
    };
    let default = default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
    let help = format!("{} [env: {}]{default}", key.about, key.variable());
    let flag = Arg::new(key.name).long(key.flag()).value_name(key.value).help(help).help_heading("Server");
    let flag = flag.action(ArgAction::Set);
    let flag = if key.value == "BOOL" {
        flag.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag
    };
    match key.short {
        Some(short) => flag.short(short),
        None => flag,
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(Settings::keys().iter().filter(|key| !is_global(key)).map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Settings::keys().iter().filter_map(|key| {
            let value = matches.try_get_one::<String>(key.name).ok()??;
            let is_flag = matches.value_source(key.name) == Some(ValueSource::CommandLine);
            is_flag.then(|| (key, value.clone()))
        });
        Ok(Self { given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
