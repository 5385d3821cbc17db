//! The rows of the Envoy catalogue, on the pure machine. The names of the tests are the rows'.
//!
//! An expected line reads `D downstream | U upstream | > messages | counters`, with the shorthand of the catalogue:
//! messages `qh qb qt sh sb st`, `!` for end of stream; counters `started/sent/received/closed`, then the others.
#![allow(clippy::unwrap_used, reason = "test code")]

mod answers;
mod attributes;
mod basics;
mod buffered;
mod chains;
mod closing;
mod duplex;
mod early;
mod exchange;
mod forward_rules;
mod grpc;
mod immediate;
mod logging;
mod metadata;
mod mode_override;
mod mutations;
mod observability;
mod partial;
mod profiles;
mod replace;
mod replay;
mod routes;
mod streamed;
mod streamed_reply;
mod timeouts;

use exchange::{Outcome, Processor, Scenario};
use extproc_core::{BodyMode, Options, ProcessingMode};

/// One test for each row: what happens, and what every party must have seen.
macro_rules! rows {
    ($($name:ident: $scenario:expr => $expected:expr;)*) => {$(
        #[test]
        fn $name() {
            let outcome = $scenario.run();
            assert_eq!(crate::line(&outcome), $expected, "details: {}", outcome.details);
        }
    )*};
}
pub(crate) use rows;

fn line(outcome: &Outcome) -> String {
    let hung = if outcome.hung { " hung" } else { "" };
    format!("D {}{hung} | U {} | > {} | {}", outcome.d(), outcome.u(), outcome.seen(), outcome.counters())
}

/// The base configuration with changes.
fn with(change: impl FnOnce(&mut Options)) -> Scenario {
    let mut options = Options::default();
    change(&mut options);
    Scenario { options: vec![options], ..Scenario::default() }
}

/// The base configuration with a mode in the shorthand of the catalogue, as `rb BU sb ST rt S sh K`, and `FMA`.
fn mode(text: &str) -> Scenario {
    with(|options| {
        let words: Vec<_> = text.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let value = words.get(at + 1).copied().unwrap_or_default();
            let body = || match value {
                "BU" => BodyMode::Buffered,
                "BP" => BodyMode::BufferedPartial,
                "FD" => BodyMode::FullDuplexStreamed,
                "GR" => BodyMode::Grpc,
                "ST" => BodyMode::Streamed,
                other => panic!("body mode {other:?}"),
            };
            let mode: &mut ProcessingMode = &mut options.processing_mode;
            match *word {
                "rh" => mode.request_headers = value == "S",
                "sh" => mode.response_headers = value == "S",
                "rb" => mode.request_body = body(),
                "sb" => mode.response_body = body(),
                "rt" => mode.request_trailers = value == "S",
                "st" => mode.response_trailers = value == "S",
                "AMO" => options.allow_mode_override = true,
                "SBW" => options.send_body_without_waiting_for_header_response = true,
                "FMA" => options.failure_mode_allow = true,
                "S" | "K" | "BU" | "BP" | "ST" | "FD" | "GR" => {}
                other => panic!("mode word {other:?}"),
            }
        }
    })
}

impl Scenario {
    fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options[0]);
        self
    }

    fn options_of(mut self, filter: usize, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options[filter]);
        self
    }

    fn sends(mut self, request: Vec<(u64, extproc_core::filter::HttpEvent)>) -> Self {
        self.request = request;
        self
    }

    fn gets(mut self, response: Vec<(u64, extproc_core::filter::HttpEvent)>) -> Self {
        self.response = response;
        self
    }

    fn upstream_takes(mut self, ms: u64) -> Self {
        self.upstream_ms = ms;
        self
    }

    fn upstream_is_early(mut self) -> Self {
        self.early = true;
        self
    }

    fn to(mut self, processor: Processor) -> Self {
        self.processors = vec![processor];
        self
    }
}
