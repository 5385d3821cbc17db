//! What must hold for every processor, whatever it does.

use std::future::Future;
use std::panic::Location;

use extproc_core::{ProcessingMode, Profile};
use tonic::Code;

use super::check::{differences, misframed};
use super::split::{Random, Split};
use super::{Fault, Harness, Modes};
use crate::BodyMode;
use crate::testing::{Effective, Ending, Exchange};

/// The modes that carry bodies.
const BODIES: [BodyMode; 5] =
    [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::Streamed, BodyMode::FullDuplexStreamed, BodyMode::Grpc];

/// How many random splits are tried, and where they begin.
const SPLITS: u32 = 64;

impl Harness {
    /// Runs the exchange in BUFFERED, BUFFERED_PARTIAL, STREAMED and FULL_DUPLEX_STREAMED, and if it is a gRPC call in
    /// GRPC, and gives the effect, which must be the same in all: processors whose bodies are
    /// [`Whole`](crate::Whole) or [`Messages`](crate::Messages) do not depend on the mode. A gRPC call has the content
    /// type `application/grpc` both ways, and bodies of whole messages ([`Plan::messages`](crate::testing::Plan::messages)).
    ///
    /// STREAMED cannot carry a whole body that ends with trailers, and is left out for processors that want one, if the
    /// exchange has trailers. Nor can it, or GRPC, carry what a handler of a whole body does to the head, which fails
    /// there: use [`same_in`](Self::same_in) without them.
    ///
    /// # Panics
    /// If the effect is not the same, with what differs; or as [`run`](Self::run).
    #[track_caller]
    pub fn all_modes(&self, exchange: &Exchange) -> impl Future<Output = Effective> + Send + use<> {
        let trailers = exchange.request.has_trailers() || exchange.response.has_trailers();
        let whole = self.filters.iter().any(|filter| filter.wants_whole);
        let carries = |mode: &BodyMode| match mode {
            BodyMode::Streamed => !(whole && trailers),
            BodyMode::Grpc => exchange.is_grpc_call(),
            BodyMode::None | BodyMode::Buffered | BodyMode::BufferedPartial | BodyMode::FullDuplexStreamed => true,
        };
        let modes: Vec<_> = BODIES.into_iter().filter(carries).collect();
        self.same_in(&modes, exchange)
    }

    /// As [`all_modes`](Self::all_modes), in these modes. The effect given is that of the first.
    ///
    /// Envoy has no mode GRPC: there filters of that profile follow gRPC's ([`Profile::Grpc`]), and the route, which gRPC
    /// chooses only once, is not compared.
    ///
    /// # Panics
    /// As [`all_modes`](Self::all_modes), and without a mode.
    #[track_caller]
    pub fn same_in(&self, modes: &[BodyMode], exchange: &Exchange) -> impl Future<Output = Effective> + Send + use<> {
        let routes = !modes.contains(&BodyMode::Grpc);
        let run = |mode: &BodyMode| (format!("in {mode}"), self.clone().in_mode(*mode).run(exchange));
        same(Location::caller(), "the body mode", routes, modes.iter().map(run).collect())
    }

    /// Runs the exchange as these data planes would, and gives the effect in the first, which must be the same in all: a
    /// difference is something that a processor cannot rely on.
    ///
    /// # Panics
    /// If the effect is not the same, with what differs; without a profile; or as [`run`](Self::run).
    #[track_caller]
    pub fn same_for(
        &self,
        profiles: &[Profile],
        exchange: &Exchange,
    ) -> impl Future<Output = Effective> + Send + use<> {
        let run = |profile: &Profile| (format!("for {profile:?}"), self.clone().profile(*profile).run(exchange));
        same(Location::caller(), "the data plane", true, profiles.iter().map(run).collect())
    }

    /// Cuts both bodies at random places, with the end on the last piece or after it, and gives the effect, which must
    /// be the same however they are cut. A failure shows the cuts that matter: none can be left out. The splits are the
    /// same in every run.
    ///
    /// # Panics
    /// If the effect is not the same, with the smallest split that shows it; or as [`run`](Self::run).
    #[track_caller]
    pub fn any_chunks(&self, exchange: &Exchange) -> impl Future<Output = Effective> + Send + use<> {
        let caller = Location::caller();
        let (harness, exchange) = (self.clone(), exchange.clone());
        let first = harness.run(&exchange);
        async move {
            let expected = first.await;
            let mut random = Random(0x2545_f491_4f6c_dd1d);
            for _ in 0..SPLITS {
                let split = Split::random(&mut random, &exchange);
                if let Some(found) = split.breaks(&harness, &exchange, &expected).await {
                    let (split, (differences, done)) = split.shrunk(&harness, &exchange, &expected, found).await;
                    panic!(
                        "{caller}: the effect depends on where bodies are cut: {split}\n{differences}\n{}",
                        done.report()
                    );
                }
            }
            expected
        }
    }

    /// Runs the exchange once for every subset of the six phases, and gives the effects with the modes: whatever the
    /// data plane leaves out, no stream may fail, and the client gets a complete response.
    ///
    /// A subset that Envoy refuses (FULL_DUPLEX_STREAMED without trailers) is left out.
    ///
    /// # Panics
    /// If a processor fails in one of them.
    #[track_caller]
    pub fn phase_subsets(
        &self,
        exchange: &Exchange,
    ) -> impl Future<Output = Vec<(ProcessingMode, Effective)>> + Send + use<> {
        let caller = Location::caller();
        drop(self.run(exchange));
        let full: Vec<_> = self.filters.iter().map(|filter| filter.processing_mode(exchange)).collect();
        let (harness, exchange) = (self.clone(), exchange.clone());
        async move {
            let mut all = Vec::new();
            for subset in 0..64 {
                let mut harness = harness.clone();
                for (filter, full) in harness.filters.iter_mut().zip(&full) {
                    filter.modes = Modes::Exact(reduced(full, subset));
                }
                let mode = full.first().map(|full| reduced(full, subset)).unwrap_or(ProcessingMode::OFF);
                let Ok(run) = harness.prepare(&exchange) else { continue };
                let done = run.drive().await;
                if let Err(wrong) = well(&done) {
                    panic!("{caller}: with only {} sent, {wrong}\n\n{}", phases(&mode), done.report());
                }
                all.push((mode, done));
            }
            all
        }
    }

    /// Runs the exchange with every [`Fault`] at every message that it has without them, failing open and failing
    /// closed, and gives the effects. Whatever happens, the exchange ends, framing is right, and:
    ///
    /// | | fault | the client gets |
    /// |---|---|---|
    /// | fail closed | the stream fails | `status_on_error`, or a cut response |
    /// | fail closed | no answer in time | 504, or a cut response |
    /// | fail open | any | what it would get without processor from there on, or a cut response |
    /// | both | the processor ends the stream | the same |
    ///
    /// As in Envoy, a FULL_DUPLEX_STREAMED or GRPC body is not kept and has no deadline: there, failing open may have to answer
    /// as failing closed does, and silence may leave the exchange [`Stuck`](Ending::Stuck).
    ///
    /// # Panics
    /// If one of these does not hold.
    #[track_caller]
    pub fn failures(&self, exchange: &Exchange) -> impl Future<Output = Vec<(Fault, usize, Effective)>> + Send + use<> {
        let caller = Location::caller();
        let (harness, exchange) = (self.clone(), exchange.clone());
        let first = harness.run(&exchange);
        async move {
            let plain = first.await;
            let mut all = Vec::new();
            for message in 0..plain.sent().count() {
                for (fault, open) in harness.faults().into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
                    let faulty = harness.clone().failure_mode_allow(open).fault(message, fault);
                    let done = faulty.run(&exchange).await;
                    if let Err(wrong) = faulty.obeys(fault, open, &plain, &done) {
                        let policy = if open { "open" } else { "closed" };
                        panic!(
                            "{caller}: {fault:?} at message {message}, failing {policy}: {wrong}\n\n{}",
                            done.report()
                        );
                    }
                    all.push((fault, message, done));
                }
            }
            all
        }
    }

    /// The body mode of both directions, under a profile that has it.
    fn in_mode(self, mode: BodyMode) -> Self {
        let harness = self.mode(mode);
        if mode != BodyMode::Grpc {
            return harness;
        }
        harness.options(|options| {
            if options.profile == Profile::Envoy {
                options.profile = Profile::Grpc;
            }
        })
    }

    fn faults(&self) -> [Fault; 5] {
        let timeout = self.filters.iter().map(|filter| filter.options.message_timeout).max().unwrap_or_default();
        [Fault::Unreachable, Fault::Silent, Fault::Slow(timeout * 2), Fault::Fails(Code::Internal), Fault::Ends]
    }

    /// Whether the outcome is what the policy says.
    fn obeys(&self, fault: Fault, open: bool, plain: &Effective, done: &Effective) -> Result<(), String> {
        if let Some(wrong) = misframed(done) {
            return Err(wrong);
        }
        let chunked = |mode| matches!(mode, BodyMode::FullDuplexStreamed | BodyMode::Grpc);
        let duplex = |filter: &super::Filter| match filter.modes {
            Modes::Bodies(request, response) => chunked(request) || chunked(response),
            Modes::Exact(mode) => chunked(mode.request_body) || chunked(mode.response_body),
        };
        let late = matches!(fault, Fault::Silent | Fault::Slow(_));
        match done.ending {
            Ending::Stuck if late && self.filters.iter().any(|filter| duplex(filter) || filter.has_no_timer()) => {
                return Ok(());
            }
            Ending::Stuck => return Err("the exchange does not end".to_owned()),
            Ending::Cut => return Ok(()),
            Ending::Complete | Ending::ClientGaveUp => {}
        }
        let mut on_error = self.filters.iter().map(|filter| filter.options.status_on_error);
        let status = done.response.status();
        let answer = |all: &Effective| (all.response.status(), all.response.header("grpc-status").map(str::to_owned));
        let passes = answer(done) == answer(plain) || plain.sent_immediate().is_some();
        // A gRPC client gets an error as a status of gRPC.
        let refused = done.response.header("grpc-status").is_some_and(|status| status != "0");
        let fails = match fault {
            // What comes late may be of no matter.
            Fault::Silent | Fault::Slow(_) => status == Some(504) || refused || passes && done.had_no_timeout(),
            Fault::Unreachable | Fault::Fails(_) | Fault::Ends => refused || on_error.any(|code| status == Some(code)),
        };
        let lost = self.filters.iter().any(duplex);
        let right = if open || fault == Fault::Ends { passes || lost && fails } else { fails };
        if right { Ok(()) } else { Err(format!("the client got {}", done.response)) }
    }
}

/// Lets all happen, and gives the first effect, if it is that of all.
async fn same<F: Future<Output = Effective>>(
    caller: &'static Location<'static>,
    depends_on: &str,
    routes: bool,
    runs: Vec<(String, F)>,
) -> Effective {
    let mut first: Option<(String, Effective)> = None;
    for (how, run) in runs {
        let done = run.await;
        if let Some(wrong) = misframed(&done) {
            panic!("{caller}: {how}, {wrong}\n\n{}", done.report());
        }
        let Some((reference, expected)) = &first else {
            first = Some((how, done));
            continue;
        };
        let differences = differences((reference, expected), (&how, &done), routes);
        assert!(
            differences.is_empty(),
            "{caller}: the effect depends on {depends_on}\n{differences}\n{reference}:\n{}\n{how}:\n{}",
            expected.report(),
            done.report()
        );
    }
    first.map(|(_, effective)| effective).unwrap_or_else(|| panic!("{caller}: there is nothing to compare"))
}

impl super::Filter {
    /// agentgateway and gRPC wait for answers for ever.
    const fn has_no_timer(&self) -> bool {
        matches!(self.options.profile, Profile::Agentgateway | Profile::Grpc)
    }
}

impl Effective {
    fn had_no_timeout(&self) -> bool {
        self.stats.iter().all(|stats| stats.message_timeouts == 0)
    }
}

fn well(done: &Effective) -> Result<(), String> {
    if done.ending != Ending::Complete {
        return Err(format!("the exchange ends with {:?}", done.ending));
    }
    if let Some(wrong) = misframed(done) {
        return Err(wrong);
    }
    for (filter, stats) in done.stats.iter().enumerate() {
        if stats.streams_failed + stats.message_timeouts + stats.spurious_msgs_received > 0 {
            return Err(format!("the processor of filter {filter} fails"));
        }
    }
    Ok(())
}

/// A mode without the phases whose bits are not set.
fn reduced(full: &ProcessingMode, subset: u8) -> ProcessingMode {
    let body = |mode, bit: u8| if subset & bit == 0 { BodyMode::None } else { mode };
    ProcessingMode {
        request_headers: full.request_headers && subset & 1 != 0,
        request_body: body(full.request_body, 2),
        request_trailers: full.request_trailers && subset & 4 != 0,
        response_headers: full.response_headers && subset & 8 != 0,
        response_body: body(full.response_body, 16),
        response_trailers: full.response_trailers && subset & 32 != 0,
    }
}

fn phases(mode: &ProcessingMode) -> String {
    let sent = [
        (mode.request_headers, "request headers"),
        (mode.request_body != BodyMode::None, "request body"),
        (mode.request_trailers, "request trailers"),
        (mode.response_headers, "response headers"),
        (mode.response_body != BodyMode::None, "response body"),
        (mode.response_trailers, "response trailers"),
    ];
    sent.into_iter().filter(|(sent, _)| *sent).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}
