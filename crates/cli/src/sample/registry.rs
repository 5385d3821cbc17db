//! Every sample by its name.

use std::fmt::Write as _;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use extproc::BoxProcessor;

use super::settings::{Key, Setting, Settings};
use super::slow::{Slow, Throwing};
use super::{
    ApiKey, Compress, Context, Cookie, Countdown, Dedup, Digest, DynamicForwarding, Echo, EndpointPicker, EventFilter,
    GrpcRewrite, Headers, Idempotency, JsonMask, Jwt, Logger, Noop, Normalise, Redirect, Reveal, Rewrite, Timer,
    Trivial, Upper, Waf, decorated, sink,
};
use crate::failure::{Failure, Outcome};

/// A sample that `extproc serve` runs by its name.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) about: &'static str,
    /// What `--set` may say to it.
    pub(crate) keys: &'static [Key],
    make: Make,
}

/// What a sample is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    FirstSteps,
    Headers,
    Guards,
    Routing,
    Bodies,
    Tests,
}

type Make = fn(&Settings, &Reveal) -> Outcome<Made>;

/// What a sample is made as.
pub(crate) enum Made {
    /// As everybody writes processors.
    Processor(BoxProcessor),
    /// Speaks the protocol itself, and cannot be part of a chain.
    Raw(sink::Sink),
}

macro_rules! processor {
    (|$settings:pat_param, $reveal:ident| $made:expr) => {
        |$settings, $reveal| Ok(Made::Processor(BoxProcessor::new($reveal.wrap($made))))
    };
}

const fn sample(name: &'static str, group: Group, about: &'static str, keys: &'static [Key], make: Make) -> Sample {
    Sample { name, group, about, keys, make }
}

use Group::{Bodies, FirstSteps, Guards, Routing, Tests};

/// All of them, in the order of the list.
pub(crate) static SAMPLES: &[Sample] = &[
    sample(
        "noop",
        FirstSteps,
        "Passes everything; adds its name only when REVEAL_EXTPROC_CHAIN says yes",
        &[],
        |_, reveal| Ok(Made::Processor(BoxProcessor::new(reveal.wrap_if_asked(Noop)))),
    ),
    sample(
        "trivial",
        FirstSteps,
        "Copies x-request-id to x-extra-request-id, on the request and on its response",
        &[],
        processor!(|_, reveal| Trivial),
    ),
    sample(
        "timer",
        FirstSteps,
        "Sets x-request-started, and on the response x-duration-ns too",
        &[],
        processor!(|_, reveal| Timer::new()),
    ),
    sample(
        "echo",
        FirstSteps,
        "Answers requests with a body and 'x-echo-only: true' with their own headers and body",
        Echo::KEYS,
        processor!(|settings, reveal| Echo::new(settings)?),
    ),
    sample(
        "digest",
        FirstSteps,
        "Sets x-request-digest: SHA-256 of x-tenant-id, method, path and body",
        &[],
        processor!(|_, reveal| Digest),
    ),
    sample(
        "decorated",
        FirstSteps,
        "As digest, on the request only; written as functions",
        &[],
        processor!(|_, reveal| decorated()),
    ),
    sample(
        "context",
        FirstSteps,
        "Checks that the request's body is its x-context-id, and sets that on the response",
        Context::KEYS,
        processor!(|settings, reveal| Context::new(settings)?),
    ),
    sample(
        "logger",
        FirstSteps,
        "Logs a line for each exchange when it is over, without secrets",
        Logger::KEYS,
        processor!(|settings, reveal| Logger::new(settings)?),
    ),
    sample(
        "headers",
        Group::Headers,
        "Sets, appends and removes headers of requests and responses",
        Headers::KEYS,
        processor!(|settings, reveal| Headers::new(settings)?),
    ),
    sample(
        "cookie",
        Group::Headers,
        "Gives each browser an id, in a cookie of its own",
        Cookie::KEYS,
        processor!(|settings, reveal| Cookie::new(settings)?),
    ),
    sample(
        "redirect",
        Group::Headers,
        "Sends clients to where a path has moved",
        Redirect::KEYS,
        processor!(|settings, reveal| Redirect::new(settings)?),
    ),
    sample(
        "normalise",
        Group::Headers,
        "One spelling for each path, and x-client-device-type from the user agent",
        &[],
        processor!(|_, reveal| Normalise),
    ),
    sample(
        "jwt",
        Guards,
        "Lets in who has a valid bearer token (HS256, RS256, ES256); claims become headers",
        Jwt::KEYS,
        processor!(|settings, reveal| Jwt::new(settings)?),
    ),
    sample(
        "api-key",
        Guards,
        "Lets in who has a key, and tells the upstream whose it is in x-user",
        ApiKey::KEYS,
        processor!(|settings, reveal| ApiKey::new(settings)?),
    ),
    sample(
        "waf",
        Guards,
        "Refuses requests that look like attacks; a stub with few rules",
        Waf::KEYS,
        processor!(|settings, reveal| Waf::new(settings)?),
    ),
    sample(
        "dedup",
        Guards,
        "Answers 409 to a request while an identical one is under way",
        Dedup::KEYS,
        processor!(|settings, reveal| Dedup::new(settings)?),
    ),
    sample(
        "idempotency",
        Guards,
        "A request that comes again under its idempotency-key gets the first's response",
        Idempotency::KEYS,
        processor!(|settings, reveal| Idempotency::new(settings)?),
    ),
    sample(
        "dynamic-forwarding",
        Routing,
        "Tells the load balancer in metadata which endpoint a request goes to",
        DynamicForwarding::KEYS,
        processor!(|settings, reveal| DynamicForwarding::new(settings)?),
    ),
    sample(
        "endpoint-picker",
        Routing,
        "Picks the endpoint with the fewest requests, in x-gateway-destination-endpoint",
        EndpointPicker::KEYS,
        processor!(|settings, reveal| EndpointPicker::new(settings)?),
    ),
    sample(
        "upper",
        Bodies,
        "Plain text in capital letters, in both directions, as it flows",
        &[],
        processor!(|_, reveal| Upper),
    ),
    sample(
        "rewrite",
        Bodies,
        "Replaces text in bodies, also in compressed ones (gzip, deflate, br, zstd)",
        Rewrite::KEYS,
        processor!(|settings, reveal| Rewrite::new(settings)?),
    ),
    sample(
        "json-mask",
        Bodies,
        "Hides values in JSON bodies, by path or by name",
        JsonMask::KEYS,
        processor!(|settings, reveal| JsonMask::new(settings)?),
    ),
    sample(
        "compress",
        Bodies,
        "Compresses responses as the client takes it, as they flow",
        Compress::KEYS,
        processor!(|settings, reveal| Compress::new(settings)?),
    ),
    sample(
        "event-filter",
        Bodies,
        "Drops server-sent events, and replaces words in the others",
        EventFilter::KEYS,
        processor!(|settings, reveal| EventFilter::new(settings)?),
    ),
    sample(
        "countdown",
        Bodies,
        "Answers a path with server-sent events, one at a time, in place of the upstream",
        Countdown::KEYS,
        processor!(|settings, reveal| Countdown::new(settings)?),
    ),
    sample(
        "grpc-rewrite",
        Bodies,
        "Puts a word in front of a text field of gRPC messages",
        GrpcRewrite::KEYS,
        processor!(|settings, reveal| GrpcRewrite::new(settings)?),
    ),
    sample("slow", Tests, "Waits in a phase, to try timeouts with", Slow::KEYS, |settings, reveal| {
        Slow::boxed(settings, reveal).map(Made::Processor)
    }),
    sample(
        "throwing",
        Tests,
        "Fails or panics in a phase, to try failure modes with",
        Throwing::KEYS,
        |settings, reveal| Throwing::boxed(settings, reveal).map(Made::Processor),
    ),
    sample(
        "sink",
        Tests,
        "Does what the JSON in the header 'instructions' says; runs alone",
        sink::Sink::KEYS,
        |settings, _| sink::Sink::new(settings).map(Made::Raw),
    ),
];

impl Sample {
    /// Makes it as the settings say.
    pub(crate) fn make(&self, file: &[Setting], given: &[Setting], reveal: &Reveal) -> Outcome<Made> {
        (self.make)(&Settings::of(self.name, self.keys, file, given)?, reveal)
    }

    /// Its keys, a line each.
    pub(crate) fn usage(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.about);
        for key in self.keys {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  --set {}.{}={}\n        {}", self.name, key.name, key.value, key.about);
        }
        if self.keys.is_empty() {
            text.push_str("  It has no settings.\n");
        }
        text
    }
}

impl Group {
    const fn title(self) -> &'static str {
        match self {
            Self::FirstSteps => "First steps",
            Self::Headers => "Headers",
            Self::Guards => "Guards",
            Self::Routing => "Routing",
            Self::Bodies => "Bodies",
            Self::Tests => "For tests of data planes",
        }
    }
}

/// All samples in their groups, a line each.
pub(crate) fn list() -> String {
    let mut text = String::new();
    let mut group = None;
    for sample in SAMPLES {
        if group.replace(sample.group) != Some(sample.group) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}:", sample.group.title());
        }
        let _ = writeln!(text, "{:<18} {}", sample.name, sample.about);
    }
    text.push_str("\nSettings of a sample: extproc serve --list NAME\n");
    text
}

/// That a setting is for a sample that is not run is a mistake.
pub(crate) fn check(names: &[&'static Sample], given: &[Setting]) -> Outcome {
    match given.iter().find(|setting| !names.iter().any(|sample| sample.name == setting.sample)) {
        Some(setting) => {
            Err(Failure::usage(format!("--set {}...: that sample is not among those that are run", setting.sample)))
        }
        None => Ok(()),
    }
}

/// How clap reads a name.
pub(crate) fn parser() -> impl TypedValueParser<Value = &'static Sample> {
    PossibleValuesParser::new(SAMPLES.iter().map(|sample| PossibleValue::new(sample.name).help(sample.about)))
        .map(|name| SAMPLES.iter().find(|sample| sample.name == name).unwrap_or(&SAMPLES[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_unique_and_groups_stay_together() {
        let mut names: Vec<_> = SAMPLES.iter().map(|sample| sample.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SAMPLES.len());
        for sample in SAMPLES {
            let mut keys: Vec<_> = sample.keys.iter().map(|key| key.name).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), sample.keys.len(), "{}", sample.name);
        }
        let titles: Vec<_> = list().lines().filter(|line| line.ends_with(':')).map(str::to_owned).collect();
        assert_eq!(titles.len(), 6, "{titles:?}");
    }

    /// `docs/samples.md` has a heading for each sample, and each key in it.
    #[test]
    fn the_document_explains_every_sample_and_no_other() {
        let document = include_str!("../../../../docs/samples.md");
        let headings: Vec<&str> =
            document.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
        assert_eq!(headings, SAMPLES.iter().map(|sample| sample.name).collect::<Vec<_>>());
        for (index, sample) in SAMPLES.iter().enumerate() {
            let from = document.find(&format!("### `{}`", sample.name)).expect("a heading");
            let next = SAMPLES.get(index + 1).and_then(|next| document.find(&format!("### `{}`", next.name)));
            let section = &document[from..next.unwrap_or(document.len())];
            for key in sample.keys {
                assert!(section.contains(&format!("| `{}` |", key.name)), "{}.{}", sample.name, key.name);
            }
        }
    }

    /// The code in the document is the samples' own.
    #[test]
    fn the_document_shows_the_code_as_it_is() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(root.join("src/sample")).expect("the samples");
        let paths = files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "rs"));
        let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let sources: Vec<String> =
            paths.map(|path| trimmed(&std::fs::read_to_string(path).expect("a sample"))).collect();
        let document = include_str!("../../../../docs/samples.md");
        let blocks: Vec<&str> =
            document.split("```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
        assert!(blocks.len() >= 20, "{}", blocks.len());
        for block in blocks {
            assert!(sources.iter().any(|source| source.contains(&trimmed(block))), "not in any sample:\n{block}");
        }
    }
}
