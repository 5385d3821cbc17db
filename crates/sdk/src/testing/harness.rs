//! Processors between a client and an upstream, in memory.

mod check;
mod fault;
mod link;
mod property;
mod split;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use extproc_core::{Config, Direction, Options, ProcessingMode, Profile};
use extproc_proto::{ProcessingRequest, ProcessingResponse};

pub use self::fault::Fault;
pub(super) use self::link::grpc;
use self::link::{Far, Link, Raw};
use super::{Effective, Exchange, Play};
use crate::{BodyMode, Needs, Stages};

/// Runs processors between a client and an upstream with the filter engine of `extproc-core`, which behaves as Envoy's:
/// no port, no task, one thread. What comes of it is the [`Effective`] HTTP on both sides.
///
/// ```
/// use std::time::Duration;
///
/// use extproc::testing::{Exchange, Harness};
/// use extproc::{RequestHead, Start, Stop, processor};
///
/// let slow = processor::<(), ()>("Slow", ()).request_headers(
///     async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
///         tokio::time::sleep(Duration::from_secs(3600)).await;
///         req.set("x-late", "1");
///         Ok(())
///     },
/// );
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
/// # runtime.block_on(async {
/// // In a test: #[tokio::test(start_paused = true)]
/// let done = Harness::new(slow).run(&Exchange::get("/")).await;
/// done.client().has_status(504);
/// done.within(Duration::from_millis(200));
/// # });
/// ```
///
/// # Time
///
/// All waiting goes through tokio's clock: the data plane's timeouts, the pauses of client and upstream, and what
/// handlers wait for. Where that clock is paused, as by `#[tokio::test(start_paused = true)]` (tokio's feature
/// `test-util`), hours pass in no time and every run is the same; handlers may wait for timers, channels and other
/// futures. Where it is not, the same happens in real time.
///
/// # Configuration
///
/// Without more said, a filter has Envoy's defaults and sends what its processor [needs](Stages::needs): both heads, the
/// bodies that it wants, and trailers if there are any. Settings apply to the filters added so far:
/// `Harness::new(a).failure_mode_allow(true).and(b)` lets only `a` fail open.
#[derive(Clone)]
pub struct Harness {
    filters: Vec<Filter>,
    chunks: Option<Vec<usize>>,
}

/// One filter and what is behind its stream.
#[derive(Clone)]
struct Filter {
    far: Arc<dyn Far>,
    name: String,
    options: Options,
    modes: Modes,
    /// It wants a whole body.
    wants_whole: bool,
    faults: Vec<(usize, Fault)>,
}

/// What is sent to a processor.
#[derive(Clone, Copy)]
enum Modes {
    /// Heads, these bodies, and trailers if there are any.
    Bodies(BodyMode, BodyMode),
    Exact(ProcessingMode),
}

impl Harness {
    /// One filter with this processor or [`Chain`](crate::Chain).
    pub fn new(stages: impl Stages) -> Self {
        Self { filters: Vec::new(), chunks: None }.and(stages)
    }

    /// One filter with a function that answers messages, as processors without this SDK do. It sends the heads only,
    /// unless [`mode`](Self::mode) says more.
    pub fn raw(answer: impl Fn(&ProcessingRequest) -> Vec<ProcessingResponse> + Send + Sync + 'static) -> Self {
        let far = Arc::new(Raw(Arc::new(answer)));
        Self { filters: vec![Filter::new(far, "raw".to_owned(), &Needs::default())], chunks: None }
    }

    /// One more filter, behind those there are: requests come to it later, responses earlier.
    #[must_use]
    pub fn and(mut self, stages: impl Stages) -> Self {
        let (name, needs) = (stages.names(), stages.needs());
        self.filters.push(Filter::new(Arc::new(Arc::new(stages)), name, &needs));
        self
    }

    /// The body mode of both directions.
    #[must_use]
    pub fn mode(self, mode: BodyMode) -> Self {
        self.modes(mode, mode)
    }

    /// The body mode of each direction.
    #[must_use]
    pub fn modes(self, request: BodyMode, response: BodyMode) -> Self {
        self.each(|filter| filter.modes = Modes::Bodies(request, response))
    }

    /// Exactly what is sent, trailers and heads included.
    #[must_use]
    pub fn processing_mode(self, mode: ProcessingMode) -> Self {
        self.each(|filter| filter.modes = Modes::Exact(mode))
    }

    /// Whose reading of the protocol the filters follow. Default: Envoy's. The modes stay as they are.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        self.options(|options| options.profile = profile)
    }

    /// Whether the exchange goes on without a processor that fails. Default false.
    #[must_use]
    pub fn failure_mode_allow(self, allow: bool) -> Self {
        self.options(|options| options.failure_mode_allow = allow)
    }

    /// How long a processor may take for one answer. Default 200 ms.
    #[must_use]
    pub fn message_timeout(self, timeout: Duration) -> Self {
        self.options(|options| options.message_timeout = timeout)
    }

    /// Whether processors may change the mode of the exchange. Default false.
    #[must_use]
    pub fn allow_mode_override(self, allow: bool) -> Self {
        self.options(|options| options.allow_mode_override = allow)
    }

    /// Changes any of the filters' options. Their `processing_mode` is not used: see [`mode`](Self::mode) and
    /// [`processing_mode`](Self::processing_mode).
    #[must_use]
    pub fn options(self, change: impl Fn(&mut Options)) -> Self {
        self.each(|filter| change(&mut filter.options))
    }

    /// Something goes wrong on the streams, at the message with this number, from 0.
    #[must_use]
    pub fn fault(self, message: usize, fault: Fault) -> Self {
        self.each(|filter| filter.faults.push((message, fault)))
    }

    /// Cuts the bodies of both directions, whatever the exchange says: pieces of these sizes, then the rest.
    #[must_use]
    pub fn chunks(mut self, sizes: impl IntoIterator<Item = usize>) -> Self {
        self.chunks = Some(sizes.into_iter().collect());
        self
    }

    /// Runs an exchange to its end. Every run has streams of its own; the processors stay.
    ///
    /// # Panics
    /// If the options are not valid, or outside a tokio runtime with timers.
    #[track_caller]
    pub fn run(&self, exchange: &Exchange) -> impl Future<Output = Effective> + Send + use<> {
        let run = self.prepare(exchange).unwrap_or_else(|error| panic!("the harness cannot run: {error}"));
        run.drive()
    }

    fn prepare(&self, exchange: &Exchange) -> Result<Run, extproc_core::ConfigError> {
        let mut exchange = exchange.clone();
        if let Some(sizes) = &self.chunks {
            exchange.request = exchange.request.chunks(sizes.iter().copied());
            exchange.response = exchange.response.chunks(sizes.iter().copied());
        }
        let configs = self.filters.iter().map(|filter| filter.config(&exchange).map(Arc::new));
        let configs = configs.collect::<Result<_, _>>()?;
        let links = self.filters.iter().map(|filter| Link::new(Arc::clone(&filter.far), filter.faults.clone()));
        Ok(Run { configs, links: links.collect(), exchange })
    }

    fn each(mut self, change: impl Fn(&mut Filter)) -> Self {
        self.filters.iter_mut().for_each(change);
        self
    }
}

impl Filter {
    fn new(far: Arc<dyn Far>, name: String, needs: &Needs) -> Self {
        Self {
            far,
            name,
            options: Options::default(),
            modes: Modes::Bodies(needs.bodies.request, needs.bodies.response),
            wants_whole: needs.largest_whole().is_some(),
            faults: Vec::new(),
        }
    }

    fn config(&self, exchange: &Exchange) -> Result<Config, extproc_core::ConfigError> {
        Config::new(Options { processing_mode: self.processing_mode(exchange), ..self.options.clone() })
    }

    fn processing_mode(&self, exchange: &Exchange) -> ProcessingMode {
        match self.modes {
            Modes::Exact(mode) => mode,
            Modes::Bodies(request, response) => ProcessingMode {
                request_body: request,
                response_body: response,
                // Data planes demand them where they may be the end of the body.
                request_trailers: exchange.request.has_trailers() || request == BodyMode::FullDuplexStreamed,
                response_trailers: exchange.response.has_trailers()
                    || matches!(response, BodyMode::FullDuplexStreamed | BodyMode::Grpc),
                ..ProcessingMode::default()
            },
        }
    }
}

/// One exchange about to run.
struct Run {
    configs: Vec<Arc<Config>>,
    links: Vec<Link>,
    exchange: Exchange,
}

impl Run {
    async fn drive(mut self) -> Effective {
        let mut play = Play::new(now(), self.configs, &self.exchange);
        loop {
            while let Some(todo) = play.poll() {
                link::obey(&mut self.links, todo);
            }
            let Some(deadline) = play.deadline() else { break };
            tokio::select! {
                biased;
                (filter, event) = link::next(&mut self.links) => play.handle_stream(now(), filter, event),
                () = tokio::time::sleep_until(deadline.into()) => play.handle_time(now()),
            }
        }
        let mut effective = play.finish(now());
        link::close(&mut self.links).await;
        effective.blocked = self.links.iter().flat_map(|link| link.recorder.blocked()).collect();
        effective.differences = self.links.iter().flat_map(|link| link.recorder.differences()).collect();
        effective.mismatches = self.links.iter().flat_map(|link| link.recorder.mismatches()).collect();
        effective
    }
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.filters.iter().map(|filter| &filter.name).collect();
        f.debug_struct("Harness").field("filters", &names).finish_non_exhaustive()
    }
}

/// The plan of a direction.
const fn plan(exchange: &mut Exchange, direction: Direction) -> &mut super::Plan {
    match direction {
        Direction::Request => &mut exchange.request,
        Direction::Response => &mut exchange.response,
    }
}
