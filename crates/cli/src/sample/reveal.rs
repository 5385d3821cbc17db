//! How samples are wrapped: whether they show their names, by the environment variables of the Python SDK, and what
//! their errors mean.

use extproc::{Name, OnError, Policy, Processor, Settings};

use crate::failure::{Failure, Outcome};

/// The response header that lists the processors, and whether it is on.
#[derive(Clone, Debug)]
pub(crate) struct Reveal {
    header: Name,
    /// As the environment says it, if it does.
    wanted: Option<bool>,
    /// What errors mean, if not what the samples say themselves.
    on_error: Option<OnError>,
}

impl Reveal {
    /// Reads `REVEAL_EXTPROC_CHAIN` and `EXTPROCS_APPLIED_HEADER`.
    pub(crate) fn from_env() -> Outcome<Self> {
        let wanted = std::env::var("REVEAL_EXTPROC_CHAIN").ok().map(|word| is_yes(&word));
        let header = match std::env::var("EXTPROCS_APPLIED_HEADER") {
            Ok(name) => Name::parse(name.clone())
                .map_err(|error| Failure::usage(format!("EXTPROCS_APPLIED_HEADER {name:?}: {error}")))?,
            Err(_) => extproc::Reveal::<super::Noop>::HEADER,
        };
        Ok(Self { header, wanted, on_error: None })
    }

    /// As the settings say.
    pub(crate) fn of(settings: &Settings) -> Self {
        let values = settings.values();
        let header = values.applied_header.clone().unwrap_or(extproc::Reveal::<super::Noop>::HEADER);
        Self { header, wanted: values.reveal_chain, on_error: None }
    }

    /// Another meaning of errors than the samples' own.
    pub(crate) fn with_on_error(mut self, on_error: Option<OnError>) -> Self {
        self.on_error = on_error;
        self
    }

    /// The header's name, if it is on.
    pub(crate) fn header(&self) -> Option<&Name> {
        self.wanted.unwrap_or(true).then_some(&self.header)
    }

    /// On unless the environment says no.
    pub(crate) fn wrap<P: Processor>(&self, processor: P) -> extproc::Reveal<Policy<P>> {
        self.wrapped(processor, self.wanted.unwrap_or(true))
    }

    /// Off unless the environment says yes.
    pub(crate) fn wrap_if_asked<P: Processor>(&self, processor: P) -> extproc::Reveal<Policy<P>> {
        self.wrapped(processor, self.wanted.unwrap_or(false))
    }

    fn wrapped<P: Processor>(&self, processor: P, enabled: bool) -> extproc::Reveal<Policy<P>> {
        let on_error = self.on_error.clone().unwrap_or_else(|| processor.on_error());
        extproc::Reveal::new(Policy::new(processor, on_error)).header(self.header.clone()).enabled(enabled)
    }

    /// For tests: adds nothing.
    #[cfg(test)]
    pub(super) fn off() -> Self {
        Self { header: extproc::Reveal::<super::Noop>::HEADER, wanted: Some(false), on_error: None }
    }
}

/// The usual words, the eight that the Python SDK knows among them.
fn is_yes(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "t" | "true" | "y" | "yes" | "on" | "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for word in ["t", "T", "true", "True", "y", "Y", "yes", "Yes", "TRUE", "1", "on"] {
            assert!(is_yes(word), "{word}");
        }
        for word in ["", "f", "false", "False", "no", "0", "off", "maybe"] {
            assert!(!is_yes(word), "{word}");
        }
    }
}
