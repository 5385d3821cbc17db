//! Why a command did not succeed, and its exit code.

use std::fmt;
use std::process::ExitCode;

/// What a subcommand returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong; exit code 2.
    Usage(anyhow::Error),
    /// It ran and failed; exit code 1.
    Ran(anyhow::Error),
    /// It ran, what came out is not what should, and it has printed so; exit code 1.
    Differs,
}

impl Failure {
    pub(crate) fn usage(message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::Usage(anyhow::Error::msg(message))
    }

    /// Prints the error with its causes and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (error, code) = match self {
            Self::Usage(error) => (error, 2),
            Self::Ran(error) => (error, 1),
            Self::Differs => return ExitCode::from(1),
        };
        anstream::eprintln!("{RED}error:{RED:#} {}", with_causes(&error));
        ExitCode::from(code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Ran(error.into())
    }
}

/// The error and its causes, without those that it tells itself.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.contains(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

const RED: clap::builder::styling::Style =
    clap::builder::styling::AnsiColor::Red.on_default().effects(clap::builder::styling::Effects::BOLD);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("refused").context("cannot connect: refused").context("no processor");
        assert_eq!(with_causes(&error), "no processor: cannot connect: refused");
    }
}
