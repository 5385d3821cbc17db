//! Both ends of the protocol against each other: random exchanges, what holds for all of them, and the slow obvious
//! account of what must come out.
//!
//! Every exchange has a number of its own. `PAIR_SEED=7 cargo test -p extproc-core --test pair` begins elsewhere,
//! `PAIR_EXCHANGES=1000000` runs more; a failure prints the number with which `PAIR_SEED` runs it first.

#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_methods, reason = "the environment chooses where to begin and how long to go on")]

pub(crate) mod anything;
pub(crate) mod case;
pub(crate) mod faulty;
pub(crate) mod found;
pub(crate) mod grpc;
pub(crate) mod mutator;
pub(crate) mod properties;
#[allow(dead_code, reason = "the model uses more of it")]
pub(crate) mod rng;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use case::{Case, Shape};
use extproc_core::config::FlowControl;
use extproc_core::pair::{Ending, Entry, Outcome, Processor, Seen, WithSession};
use extproc_core::rules::MutationRules;
use extproc_core::{BodyMode, Direction, Headers, Profile, Stats};
use faulty::{Faulty, Kind};
use mutator::Mutator;
pub(crate) use properties::conserved;
use properties::{check, explain, run};
use rng::Rng;

pub(crate) const PLAIN: Shape = Shape { resets: false, small_limits: false, duplex: false, fail_open: None };
pub(crate) const WILD: Shape = Shape { resets: true, small_limits: true, duplex: false, fail_open: None };

/// Runs `exchanges` random exchanges; the share of all that `PAIR_EXCHANGES` asks for when it is set.
pub(crate) fn exchanges(exchanges: u64, one: impl Fn(&mut Rng) -> Result<(), String>) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("PAIR_SEED").unwrap_or(1);
    let count = number("PAIR_EXCHANGES").map_or(exchanges, |all| (all * exchanges).div_ceil(100_000));
    for seed in first..first + count {
        let result = catch_unwind(AssertUnwindSafe(|| one(&mut Rng::new(seed))));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("PAIR_SEED={seed}: {error}"),
            Err(_) => panic!("PAIR_SEED={seed}: panic, see above"),
        }
    }
}

fn faulty(rng: &mut Rng, case: &Case, kind: Kind) -> Vec<Box<dyn Processor>> {
    case.filters.iter().map(|_| Box::new(Faulty::new(rng.split(), kind)) as Box<dyn Processor>).collect()
}

#[test]
fn processors_that_change_nothing_are_not_noticed() {
    exchanges(20_000, slow);
}

fn slow(rng: &mut Rng) -> Result<(), String> {
    let case = Case::random(rng, PLAIN);
    let outcome = run(&case, case.pair(faulty(rng, &case, Kind::Slow)), true)?;
    transparent(&case, &outcome).map_err(|error| explain(&case, &outcome, &error))
}

#[test]
fn failing_open_is_not_noticed() {
    exchanges(20_000, failing_open);
}

fn failing_open(rng: &mut Rng) -> Result<(), String> {
    let case = Case::random(rng, Shape { fail_open: Some(true), ..PLAIN });
    let outcome = run(&case, case.pair(faulty(rng, &case, Kind::Failing)), true)?;
    transparent(&case, &outcome).map_err(|error| explain(&case, &outcome, &error))
}

/// Client and upstream see each other as if there was no filter, but for the framing.
pub(crate) fn transparent(case: &Case, outcome: &Outcome) -> Result<(), String> {
    check(outcome.ending == Ending::Complete, || "not complete".to_owned())?;
    let directions = [
        (Direction::Request, &case.request, &outcome.request),
        (Direction::Response, &case.response, &outcome.response),
    ];
    for (direction, message, seen) in directions {
        let sent = Seen {
            headers: Some(message.headers.clone()),
            body: message.body.to_vec(),
            trailers: message.trailers.clone(),
            ended: true,
        };
        same(direction, seen, &sent)?;
    }
    Ok(())
}

/// A request that was not ended because the response came first needs only have begun right.
pub(crate) fn same(direction: Direction, seen: &Seen, expected: &Seen) -> Result<(), String> {
    let what = format!("{direction:?}");
    let unfinished = direction == Direction::Request && !seen.ended;
    check(seen.ended || unfinished, || format!("the {what} did not end"))?;
    if seen.headers.is_some() || !unfinished {
        let headers = |seen: &Seen| seen.headers.as_ref().map(|headers| sorted(headers, "content-length"));
        check(headers(seen) == headers(expected), || {
            format!("the {what} headers are {:?} instead of {:?}", seen.headers, expected.headers)
        })?;
    }
    conserved(seen, &expected.body, &what)?;
    check(
        unfinished
            || seen.trailers.as_ref().map(|t| sorted(t, "")) == expected.trailers.as_ref().map(|t| sorted(t, "")),
        || format!("the {what} trailers are {:?} instead of {:?}", seen.trailers, expected.trailers),
    )
}

/// The entries by name; of one name they keep their order.
fn sorted(headers: &Headers, without: &str) -> Vec<(String, Vec<u8>)> {
    let entries = headers.iter().filter(|(name, _)| name.as_str() != without);
    let mut entries: Vec<_> = entries.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

#[test]
fn no_byte_is_lost_or_doubled_by_failures() {
    exchanges(20_000, failing);
}

fn failing(rng: &mut Rng) -> Result<(), String> {
    let case = Case::random(rng, WILD);
    let outcome = run(&case, case.pair(faulty(rng, &case, Kind::Failing)), true)?;
    let check = || {
        conserved(&outcome.request, &case.request.body, "request")?;
        let local = outcome.log.iter().any(|(_, entry)| {
            matches!(entry, Entry::Effect(extproc_core::chain::Effect::CancelUpstream) | Entry::Respond(_))
        });
        if local { Ok(()) } else { conserved(&outcome.response, &case.response.body, "response") }
    };
    check().map_err(|error| explain(&case, &outcome, &error))
}

#[test]
fn garbage_harms_nobody() {
    exchanges(25_000, garbage);
}

fn garbage(rng: &mut Rng) -> Result<(), String> {
    let case = Case::random(rng, WILD);
    run(&case, case.pair(faulty(rng, &case, Kind::Garbage)), false).map(drop)
}

#[test]
fn garbage_harms_nobody_under_any_profile_and_mode() {
    exchanges(15_000, garbage_everywhere);
}

fn garbage_everywhere(rng: &mut Rng) -> Result<(), String> {
    let mut case = Case::random(rng, WILD);
    for options in &mut case.filters {
        options.profile = rng.pick(&Profile::ALL);
        let modes = [BodyMode::FullDuplexStreamed, BodyMode::Grpc, options.processing_mode.request_body];
        options.processing_mode.request_body = rng.pick(&modes);
        options.processing_mode.response_body = rng.pick(&modes);
        options.processing_mode.request_trailers = true;
        options.processing_mode.response_trailers = true;
        options.allow_mode_override = rng.percent(50);
        options.grpc_flow_control = rng.pick(&[FlowControl::Auto, FlowControl::Required, FlowControl::Off]);
    }
    run(&case, case.pair(faulty(rng, &case, Kind::Garbage)), false).map(drop)
}

#[test]
fn the_exchanges_reach_everything() {
    let seen = RefCell::new(BTreeMap::<String, u64>::new());
    exchanges(5_000, |rng| {
        let case = Case::random(rng, WILD);
        let outcome = run(&case, case.pair(faulty(rng, &case, Kind::Garbage)), false)?;
        let mut seen = seen.borrow_mut();
        let mut count = |what: &str, times: u64| *seen.entry(what.to_owned()).or_default() += times;
        count(&format!("{:?}", outcome.ending), 1);
        for stats in &outcome.stats {
            Stats::NAMES.iter().zip(stats.values()).for_each(|(name, value)| count(name, value));
        }
        for (_, entry) in &outcome.log {
            let text = format!("{entry:?}");
            count(text.split(['{', ' ']).next().unwrap(), 1);
        }
        Ok(())
    });
    let seen = seen.into_inner();
    if std::env::var_os("PAIR_EXCHANGES").is_none() {
        let endings = ["Complete", "Cut", "ClientGaveUp"];
        let effects = ["OpenStream", "ResetStream", "RecomputeRoute", "CancelUpstream", "ResetDownstream"];
        let effects = effects.map(|name| {
            let filter = if name.ends_with("Stream") && name != "CancelUpstream" { "(0)" } else { "" };
            format!("Effect({name}{filter})")
        });
        // There is no HTTP service in a pair.
        let counters = Stats::NAMES.iter().filter(|name| **name != "http_not_ok_resp_received");
        for name in endings.iter().chain(counters).map(|name| (*name).to_owned()).chain(effects) {
            assert!(seen.get(&name).is_some_and(|times| *times >= 5), "{name} hardly ever happens: {seen:#?}");
        }
    }
}

fn mutators(plans: &[Mutator]) -> Vec<Box<dyn Processor>> {
    plans.iter().map(|plan| Box::new(WithSession::new(plan.clone())) as Box<dyn Processor>).collect()
}

#[test]
fn changes_come_out_as_the_obvious_account_says() {
    exchanges(20_000, changing);
}

fn changing(rng: &mut Rng) -> Result<(), String> {
    let case = Case::random(rng, Shape { duplex: true, ..PLAIN });
    let plans: Vec<_> = case.filters.iter().map(|_| Mutator::random(rng)).collect();
    let outcome = run(&case, case.pair(mutators(&plans)), false)?;
    let check = || {
        check(outcome.ending == Ending::Complete, || "not complete".to_owned())?;
        let refused = outcome.log.iter().find(|(_, entry)| matches!(entry, Entry::Closed(_, Err(_))));
        check(refused.is_none(), || format!("a session gave up: {refused:?}"))?;
        let modes: Vec<_> = case.filters.iter().map(|options| options.processing_mode).collect();
        let there = mutator::expected(Direction::Request, &case.request, modes.iter().zip(&plans));
        let back = mutator::expected(Direction::Response, &case.response, modes.iter().zip(&plans).rev());
        same(Direction::Request, &outcome.request, &there)?;
        same(Direction::Response, &outcome.response, &back)
    };
    check().map_err(|error| explain(&case, &outcome, &format!("{error}\n{plans:?}")))
}

#[test]
fn where_a_body_is_cut_does_not_change_a_buffered_result() {
    exchanges(10_000, |rng| {
        let mut case = Case::random(rng, Shape { small_limits: true, ..PLAIN });
        for options in &mut case.filters {
            options.processing_mode.request_body = BodyMode::Buffered;
            options.processing_mode.response_body = BodyMode::Buffered;
            // With other errors it would matter which one comes first.
            options.mutation_rules = MutationRules::default();
            options.max_headers = 100;
            options.allow_content_length_header = false;
            options.message_timeout = Duration::from_millis(200);
        }
        case.begin = extproc_core::pair::Begin::AtEnd;
        let plans: Vec<_> = case.filters.iter().map(|_| Mutator::random(rng).prompt()).collect();
        let whole = run(&case, case.pair(mutators(&plans)), false)?;
        let mut other = case.clone();
        other.request.cut(rng);
        other.response.cut(rng);
        let cut = run(&other, other.pair(mutators(&plans)), false)?;
        // A body that is too large may be so before or after the headers are answered.
        let too_large = whole.details.as_ref().is_some_and(|details| details.ends_with("payload_too_large"));
        for (holds, what) in [
            (whole.ending == cut.ending, "ending"),
            (whole.details == cut.details, "details"),
            (whole.response == cut.response, "response"),
            (whole.request == cut.request, "request"),
            (whole.stats == cut.stats || too_large, "counters"),
        ] {
            check(holds, || {
                let cut = explain(&other, &cut, "the other is");
                explain(&case, &whole, &format!("the {what} differ: {cut}\nthis is"))
            })?;
        }
        Ok(())
    });
}

/// What a fuzzer (`fuzz/`) plays: a filter with processors of one kind, the choices are the bytes.
pub(crate) fn play(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    let kinds = [slow, failing_open, failing, garbage, garbage_everywhere, changing];
    if let Err(error) = kinds[usize::from(*kind) % kinds.len()](&mut Rng::of(data)) {
        panic!("{error}");
    }
}

/// Inputs that the fuzzer found worth keeping.
#[test]
fn the_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pair");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 50, "{} holds {} inputs", folder.display(), files.len());
    for file in files {
        play(&std::fs::read(&file).unwrap());
    }
}
