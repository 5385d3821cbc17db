//! The sample processors: the examples of the Python SDK, and the sink.

mod context;
mod decorated;
mod digest;
mod echo;
mod noop;
mod reveal;
pub(crate) mod sink;
mod stopwatch;
mod timer;
mod trivial;

pub(crate) use context::Context;
pub(crate) use decorated::decorated;
pub(crate) use digest::Digest;
pub(crate) use echo::Echo;
pub(crate) use noop::Noop;
pub(crate) use reveal::Reveal;
pub(crate) use timer::Timer;
pub(crate) use trivial::Trivial;

/// The longest body that a sample takes whole. Data planes hold 1 MiB by default.
const BODY_LIMIT: usize = 16 << 20;

/// The words that the Python SDK takes for yes.
fn is_on(word: &str) -> bool {
    matches!(word, "t" | "T" | "true" | "True" | "y" | "Y" | "yes" | "Yes")
}
