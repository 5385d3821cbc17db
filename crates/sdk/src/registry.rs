//! Chains that a file decides.

mod condition;
mod error;
mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

pub use self::error::{ChainErrors, ChainProblem};
use self::error::{nearest, problem};
use self::file::{Entry, File, Limits};
use crate::{
    BodyLimit, BoxProcessor, ConcurrencyLimit, LocalReplyScope, OnError, Policy, Processor, RateLimit, RequestHead,
    When,
};

/// Processors by name, and chains of them that a file decides, in YAML or JSON.
///
/// ```
/// use extproc::{LocalReply, Registry, RequestHead, Server, Start, Stop, processor};
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Options { value: String }
///
/// let registry = Registry::new().add("stamp", |options: Options| {
///     Ok::<_, String>(processor::<_, ()>("Stamp", options.value).request_headers(
///         async |value: &String, _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
///             req.set("x-stamp", value);
///             Ok(())
///         },
///     ))
/// });
///
/// let file = "
/// chain:
///   - processor: stamp
///     options: {value: one}
///   - processor: stamp
///     options: {value: two}
///     when: {path: {prefix: /api/}, not: {method: OPTIONS}}
///     on_error: skip
///     limits: {concurrency: 100, request_body: 1048576}
/// ";
/// let chain = registry.parse(file, "chain.yaml")?;
/// let server = Server::new(chain.processors).local_reply_scope(chain.local_reply_scope);
/// assert_eq!(server.name(), "Stamp,Stamp");
///
/// let wrong = registry.parse("chain: [{processor: stmp}]", "chain.yaml").unwrap_err();
/// assert_eq!(wrong.to_string(), "chain.yaml:1:21: unknown processor `stmp`; did you mean `stamp`?");
/// # Ok::<(), extproc::ChainErrors>(())
/// ```
///
/// # The file
///
/// | key | what |
/// |---|---|
/// | `chain` | the processors, in the order of the request |
/// | `chain[].processor` | the name it is registered by |
/// | `chain[].options` | what its constructor takes; none if left out |
/// | `chain[].when` | a condition, see below; without it the processor takes part in every exchange ([`When`]) |
/// | `chain[].on_error` | `fail`, `skip` or `{reply: STATUS}` ([`OnError`]); without it the processor's own |
/// | `chain[].limits.concurrency` | exchanges at once; others get 503 ([`ConcurrencyLimit`]) |
/// | `chain[].limits.rate` | `{requests: N, seconds: S}`, S is 1 by default; others get 429 ([`RateLimit`]) |
/// | `chain[].limits.request_body`, `response_body` | bytes ([`BodyLimit`]) |
/// | `local_reply_scope` | `all` (default) or `earlier` ([`LocalReplyScope`]) |
///
/// A condition holds when all that it names hold:
///
/// | key | holds when |
/// |---|---|
/// | `method`, `host` | it is this one, or one of a list |
/// | `path` | without its query it is `exact`, begins with `prefix`, ends with `suffix`; all that are given |
/// | `headers` | each has this text as one of its values; `true` for any value, `false` for none |
/// | `attributes` | each is this text, number or truth value |
/// | `metadata` | in each namespace, each key is this text, number or truth value |
/// | `any` | at least one of these conditions holds |
/// | `not` | this condition does not |
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<String, Arc<Make>>);

type Make = dyn Fn(Made) -> Result<BoxProcessor, String> + Send + Sync;

/// What a file says of one processor.
struct Made {
    options: Option<serde_json::Value>,
    on_error: Option<OnError>,
    limits: Limits,
    condition: Arc<dyn Fn(&RequestHead) -> bool + Send + Sync>,
}

/// What a file decided.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfiguredChain {
    /// The processors, for [`Server::new`](crate::Server::new).
    pub processors: Vec<BoxProcessor>,
    /// For [`Server::local_reply_scope`](crate::Server::local_reply_scope).
    pub local_reply_scope: LocalReplyScope,
}

impl Registry {
    /// No processors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a processor by a name, in place of an earlier one. `make` gets the options: any type that serde can
    /// read, `()` for none. What it refuses becomes an error at the place of the options.
    #[must_use]
    pub fn add<T, P, E>(mut self, name: &str, make: impl Fn(T) -> Result<P, E> + Send + Sync + 'static) -> Self
    where
        T: DeserializeOwned,
        P: Processor,
        E: fmt::Display,
    {
        let make = move |made: Made| {
            let processor = make(options(made.options)?).map_err(|error| error.to_string())?;
            Ok(wrapped(processor, made.on_error, made.limits, made.condition))
        };
        self.0.insert(name.to_owned(), Arc::new(make));
        self
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Makes the chain of a file.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`parse`](Self::parse).
    pub fn load(&self, path: impl AsRef<Path>) -> Result<ConfiguredChain, ChainErrors> {
        let file = path.as_ref().display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.parse(&text, &file),
            Err(error) => Err(ChainErrors::new(&file, vec![(None, format!("cannot be read: {error}"))])),
        }
    }

    /// Makes the chain of a text, YAML or JSON. `file` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong, each as `file:line:column: message`; of what cannot be read at all, the first.
    pub fn parse(&self, text: &str, file: &str) -> Result<ConfiguredChain, ChainErrors> {
        let read: File = serde_saphyr::from_str(text).map_err(|error| ChainErrors::new(file, vec![problem(&error)]))?;
        let mut processors = Vec::with_capacity(read.chain.len());
        let mut problems = Vec::new();
        for entry in read.chain {
            match self.make(entry) {
                Ok(processor) => processors.push(processor),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(ChainErrors::new(file, problems));
        }
        Ok(ConfiguredChain { processors, local_reply_scope: read.local_reply_scope.into() })
    }

    fn make(&self, entry: Entry) -> Result<BoxProcessor, (Option<(u64, u64)>, String)> {
        let name = &entry.processor;
        let Some(make) = self.0.get(&name.value) else {
            let hint = match nearest(&name.value, self.names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", self.names().collect::<Vec<_>>().join(", ")),
            };
            return Err((error::place(name.referenced), format!("unknown processor `{}`; {hint}", name.value)));
        };
        let place = entry.options.as_ref().map_or(name.referenced, |options| options.referenced);
        let condition = entry.when;
        let made = Made {
            options: entry.options.map(|options| options.value),
            on_error: entry.on_error.map(OnError::from),
            limits: entry.limits,
            condition: Arc::new(move |req| condition.as_ref().is_none_or(|condition| condition.holds(req))),
        };
        make(made).map_err(|message| (error::place(place), format!("options of `{}`: {message}", name.value)))
    }
}

/// Options that are left out are empty ones.
fn options<T: DeserializeOwned>(options: Option<serde_json::Value>) -> Result<T, String> {
    let read = |value| serde_json::from_value(value).map_err(|error| error.to_string());
    match options {
        Some(options) => read(options),
        None => read(serde_json::Value::Null).or_else(|_| read(serde_json::Value::Object(serde_json::Map::new()))),
    }
}

fn wrapped(
    processor: impl Processor,
    on_error: Option<OnError>,
    limits: Limits,
    condition: Arc<dyn Fn(&RequestHead) -> bool + Send + Sync>,
) -> BoxProcessor {
    let on_error = on_error.unwrap_or_else(|| processor.on_error());
    let processor = BodyLimit::new(Policy::new(processor, on_error))
        .request(limits.request_body.unwrap_or(u64::MAX))
        .response(limits.response_body.unwrap_or(u64::MAX));
    let processor = ConcurrencyLimit::new(processor, limits.concurrency.unwrap_or(usize::MAX));
    // Outside the limits: what does not take part does not count.
    let holds = move |req: &RequestHead| condition(req);
    match limits.rate {
        Some(rate) => BoxProcessor::new(When::new(RateLimit::new(processor, rate.requests, rate.time()), holds)),
        None => BoxProcessor::new(When::new(processor, holds)),
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.names().collect::<Vec<_>>()).finish()
    }
}
