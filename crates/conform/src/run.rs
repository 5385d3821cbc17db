//! Running scenarios on targets and judging what comes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::divergence::Divergences;
use crate::golden::{FieldMap, Golden};
use crate::report::{Outcome, Report, Row, Verdict};
use crate::scenario::{Profile, Scenario, load_dir};
use crate::target::core::Core;
use crate::target::envoy::{self, Envoy};
use crate::target::gateway::Gateway;
use crate::target::{Failure, Target, TargetKind};
use crate::transcript::{Difference, check, differences, fields};

/// How many exchanges over sockets run at a time: enough to overlap their pauses, few enough not to disturb their
/// timeouts on a small machine.
const AT_ONCE: usize = 6;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The targets; Envoy is run first.
    pub targets: Vec<TargetKind>,
    /// Only scenarios whose id, title or file contains this.
    pub filter: Option<String>,
    /// The directory with `scenarios`, `golden` and `divergences.yaml`.
    pub dir: PathBuf,
    /// Where Envoy is installed when `ENVOY_BIN` is not set.
    pub envoy_dir: PathBuf,
    /// Write what Envoy does to `golden` in place of comparing with it.
    pub record: bool,
}

impl Options {
    /// Everything, with the paths of this repository.
    #[must_use]
    pub fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().unwrap_or(root);
        Self {
            targets: TargetKind::ALL.to_vec(),
            filter: None,
            dir: root.join("conformance"),
            envoy_dir: root.join("target/envoy"),
            record: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs the scenarios and compares.
///
/// A target is compared with Envoy's recorded transcript, or with the one of this run where none is recorded, and
/// with the scenario's own expectations. Envoy is compared with what was recorded of it. What fails over real sockets
/// is run once more, alone, before it counts: short timeouts on a loaded machine are no finding.
///
/// # Errors
/// When scenarios, recordings or divergences cannot be read, or a target cannot be started at all.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let all = load_dir(&options.dir.join("scenarios"))?;
    let known: Vec<&str> = all.iter().map(|scenario| scenario.id.as_str()).collect();
    let divergences = Divergences::load(&options.dir.join("divergences.yaml"), &known)?;
    let golden_dir = options.dir.join("golden");
    let mut golden = Golden::load(&golden_dir, &all)?;

    let selected = |scenario: &&Scenario| {
        options.filter.as_ref().is_none_or(|filter| {
            [&scenario.id, &scenario.title, &scenario.file].iter().any(|text| text.contains(filter.as_str()))
        })
    };
    let scenarios: Vec<Arc<Scenario>> = all.iter().filter(selected).cloned().map(Arc::new).collect();
    let mut report = Report::new(scenarios.iter().map(|scenario| Row::new(scenario)).collect());
    // What the gateway is compared with: Envoy, and under profiles that Envoy has not, the core.
    let mut reference = golden.clone();

    for kind in TargetKind::ALL.into_iter().filter(|kind| options.targets.contains(kind)) {
        let judge = Judge { divergences: &divergences, record: options.record };
        let mut outcomes = batch(kind, &scenarios, AT_ONCE, options, &reference, &judge).await?;
        let again: Vec<Arc<Scenario>> = scenarios
            .iter()
            .filter(|scenario| kind != TargetKind::Core && outcomes[&scenario.id].verdict == Verdict::Failed)
            .cloned()
            .collect();
        report.retried += again.len();
        outcomes.extend(batch(kind, &again, 1, options, &reference, &judge).await?);
        if kind == TargetKind::Envoy {
            for (id, outcome) in &outcomes {
                if let (Some(fields), true) = (&outcome.fields, options.record || golden.get(id).is_none()) {
                    golden.put(id, fields.clone());
                    reference.put(id, fields.clone());
                }
            }
        }
        if kind == TargetKind::Core {
            for scenario in scenarios.iter().filter(|scenario| scenario.profile != Profile::Envoy) {
                if let Some(fields) = &outcomes[&scenario.id].fields {
                    reference.put(&scenario.id, fields.clone());
                }
            }
        }
        report.add(kind, outcomes);
    }
    if options.record {
        golden.save(&golden_dir, &all)?;
    }
    report.golden = golden;
    Ok(report)
}

/// Runs scenarios on one target, some at a time.
async fn batch(
    kind: TargetKind,
    scenarios: &[Arc<Scenario>],
    at_once: usize,
    options: &Options,
    golden: &Golden,
    judge: &Judge<'_>,
) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let mut outcomes = BTreeMap::new();
    let mut able = Vec::new();
    for scenario in scenarios {
        match scenario.skip.get(&kind) {
            Some(reason) => drop(outcomes.insert(scenario.id.clone(), Outcome::skipped(reason))),
            None => able.push(Arc::clone(scenario)),
        }
    }
    if able.is_empty() {
        return Ok(outcomes);
    }
    let target = match start(kind, &able, options).await? {
        Ok(target) => target,
        Err(absent) => {
            outcomes.extend(able.iter().map(|scenario| (scenario.id.clone(), absent.clone())));
            return Ok(outcomes);
        }
    };
    let slots = Arc::new(Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for scenario in able {
        let (target, slots) = (Arc::clone(&target), Arc::clone(&slots));
        running.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let one = Arc::clone(&scenario);
            // In a task of its own, so that a panic is the failure of one scenario.
            let result = tokio::spawn(async move { target.run(&one).await }).await;
            (scenario, result.unwrap_or_else(|panic| Err(Failure::Error(panic.into()))))
        });
    }
    let tells_details = target.tells_details();
    while let Some(done) = running.join_next().await {
        let (scenario, result) = done.context("a scenario was not judged")?;
        let outcome = match result {
            Ok(transcript) => {
                let fields = fields(&transcript, &scenario);
                judge.outcome(&scenario, kind, tells_details, fields, golden.get(&scenario.id))
            }
            Err(Failure::Unsupported(reason)) => {
                Outcome::failed(vec![format!("it cannot be run here: {reason}; the scenario must say so under `skip`")])
            }
            Err(Failure::Error(error)) => Outcome::failed(vec![format!("{error:#}")]),
        };
        outcomes.insert(scenario.id.clone(), outcome);
    }
    Ok(outcomes)
}

/// Starts a target; the inner error is the outcome of every scenario when it cannot be had here.
async fn start(
    kind: TargetKind,
    scenarios: &[Arc<Scenario>],
    options: &Options,
) -> anyhow::Result<Result<Arc<dyn Target>, Outcome>> {
    match kind {
        TargetKind::Envoy => {
            let dir = options.envoy_dir.clone();
            let binary = match tokio::task::spawn_blocking(move || envoy::binary(&dir)).await? {
                Ok(binary) => binary,
                Err(error) if std::env::var_os("CI").is_some() => {
                    return Ok(Err(Outcome::failed(vec![format!("under CI Envoy must be there: {error:#}")])));
                }
                Err(error) => return Ok(Err(Outcome::skipped(&format!("no Envoy: {error:#}")))),
            };
            let scenarios: Vec<&Scenario> = scenarios.iter().map(AsRef::as_ref).collect();
            Ok(Ok(Arc::new(Envoy::start(&binary, &scenarios).await?)))
        }
        TargetKind::Core => Ok(Ok(Arc::new(Core))),
        TargetKind::Gateway => Ok(Ok(Arc::new(Gateway))),
    }
}

struct Judge<'a> {
    divergences: &'a Divergences,
    record: bool,
}

impl Judge<'_> {
    fn outcome(
        &self,
        scenario: &Scenario,
        kind: TargetKind,
        tells_details: bool,
        fields: FieldMap,
        golden: Option<&FieldMap>,
    ) -> Outcome {
        let tells = |field: &str| tells_details || field != "details" && !field.starts_with("metadata.");
        let counts = |difference: &Difference| tells(&difference.field);
        let mut notes = Vec::new();
        let mut verdict = Verdict::Equal;
        let compare = golden.filter(|_| !(self.record && kind == TargetKind::Envoy));
        let mut found = compare.map(|golden| differences(&fields, golden)).unwrap_or_default();
        found.retain(counts);
        let mut judgement = self.divergences.judge(&scenario.id, kind, found);
        judgement.stale.retain(|field| tells(field));
        if !judgement.listed.is_empty() {
            verdict = Verdict::Divergent;
            notes.extend(self.divergences.of(&scenario.id, kind).map(|entry| entry.reason.clone()));
        }
        let wrong = check(&scenario.expect, &fields);
        let wrong: Vec<&Difference> = wrong
            .iter()
            .filter(|wrong| counts(wrong))
            .filter(|wrong| !self.divergences.covers(&scenario.id, kind, &wrong.field))
            .collect();
        if !judgement.unlisted.is_empty() || !judgement.stale.is_empty() || !wrong.is_empty() {
            verdict = Verdict::Failed;
        }
        let line =
            |base: &str, Difference { field, ours, theirs }: &Difference| format!("{field}: {ours}; {base} {theirs}");
        let base = match kind {
            TargetKind::Envoy => "recorded",
            _ if scenario.profile != Profile::Envoy => "the core has",
            TargetKind::Core | TargetKind::Gateway => "Envoy has",
        };
        notes.extend(judgement.unlisted.iter().map(|difference| line(base, difference)));
        notes.extend(wrong.into_iter().map(|difference| line("expected", difference)));
        notes.extend(judgement.stale.iter().map(|field| {
            format!("{field}: divergences.yaml lists a divergence that is not there any more; remove or mend the entry")
        }));
        Outcome { verdict, notes, fields: Some(fields) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::load_str;

    fn fields(pairs: &[(&str, &str)]) -> FieldMap {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// The verdict on a scenario that expects `client.status: 200`, of which `client.end` is listed as divergent on the
    /// core.
    fn verdict(kind: TargetKind, ours: &[(&str, &str)], golden: &[(&str, &str)]) -> Verdict {
        let text = "- scenario: A
  targets: [core]
  decision: intended
  reason: r
  fields: { client.end: { ours: cut, envoy: complete } }
";
        let divergences = Divergences::parse(text).unwrap();
        let scenario =
            load_str("f", "- { id: A, title: t, expect: { client: { status: 200, end: complete } } }").unwrap();
        let judge = Judge { divergences: &divergences, record: false };
        judge.outcome(&scenario[0], kind, kind != TargetKind::Gateway, fields(ours), Some(&fields(golden))).verdict
    }

    #[test]
    fn verdicts() {
        let envoy = [("client.status", "200"), ("client.end", "complete"), ("details", "d")];
        let cut = [("client.status", "200"), ("client.end", "cut"), ("details", "d")];
        let wrong = [("client.status", "500"), ("client.end", "complete"), ("details", "d")];
        let silent = [("client.status", "200"), ("client.end", "complete")];
        for (what, kind, ours, golden, expected) in [
            ("the same", TargetKind::Gateway, &envoy[..], &envoy[..], Verdict::Equal),
            ("as listed", TargetKind::Core, &cut, &envoy, Verdict::Divergent),
            ("listed, but not there any more", TargetKind::Core, &envoy, &envoy, Verdict::Failed),
            ("listed for another target", TargetKind::Gateway, &cut, &envoy, Verdict::Failed),
            ("not listed", TargetKind::Gateway, &wrong, &envoy, Verdict::Failed),
            ("as recorded, but not as expected", TargetKind::Envoy, &wrong, &wrong, Verdict::Failed),
            ("as expected, but not as recorded", TargetKind::Envoy, &silent, &envoy, Verdict::Failed),
            ("details that the gateway cannot tell", TargetKind::Gateway, &silent, &envoy, Verdict::Equal),
        ] {
            assert_eq!(verdict(kind, ours, golden), expected, "{what}");
        }
    }
}
