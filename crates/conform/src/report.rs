//! What came of a run: a table, JSON, or one scenario with its transcripts side by side.

mod explain;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::golden::{FieldMap, Golden};
use crate::scenario::Scenario;
use crate::target::TargetKind;

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One row for each scenario.
    pub rows: Vec<Row>,
    /// How many failures over sockets were run a second time.
    pub retried: usize,
    /// Envoy's transcripts, recorded or of this run.
    pub golden: Golden,
    targets: Vec<TargetKind>,
}

/// One scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its file.
    pub file: String,
    /// The filter's configuration.
    pub config: Value,
    /// What came of it.
    pub outcomes: BTreeMap<TargetKind, Outcome>,
}

/// What came of a scenario on a target.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In one word.
    pub verdict: Verdict,
    /// Why it is skipped, divergent or failed.
    pub notes: Vec<String>,
    /// The transcript, if it came so far.
    pub fields: Option<FieldMap>,
}

/// What came of a scenario, in one word.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As Envoy's, and as expected.
    Equal,
    /// It differs from Envoy's as `divergences.yaml` says.
    Divergent,
    /// It differs in another way, or could not be run to its end.
    Failed,
    /// The scenario says that the target cannot do it, or the target is not there; the note says why.
    Skipped,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Equal, Self::Divergent, Self::Failed, Self::Skipped];

    const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Divergent => "divergent",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Row {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            id: scenario.id.clone(),
            title: scenario.title.clone(),
            file: scenario.file.clone(),
            config: scenario.config.clone(),
            outcomes: BTreeMap::new(),
        }
    }
}

impl Outcome {
    pub(crate) fn skipped(reason: &str) -> Self {
        Self { verdict: Verdict::Skipped, notes: vec![reason.to_owned()], fields: None }
    }

    pub(crate) const fn failed(notes: Vec<String>) -> Self {
        Self { verdict: Verdict::Failed, notes, fields: None }
    }
}

impl Outcome {
    fn json(&self) -> Value {
        json!({ "verdict": self.verdict, "notes": self.notes, "transcript": self.fields })
    }
}

impl Report {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self { rows, ..Self::default() }
    }

    pub(crate) fn add(&mut self, kind: TargetKind, mut outcomes: BTreeMap<String, Outcome>) {
        self.targets.push(kind);
        for row in &mut self.rows {
            if let Some(outcome) = outcomes.remove(&row.id) {
                row.outcomes.insert(kind, outcome);
            }
        }
    }

    /// Whether anything failed; the exit code is 1 then.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.rows.iter().flat_map(|row| row.outcomes.values()).any(|outcome| outcome.verdict == Verdict::Failed)
    }

    /// How many scenarios of a target have a verdict.
    #[must_use]
    pub fn count(&self, kind: TargetKind, verdict: Verdict) -> usize {
        let outcomes = self.rows.iter().filter_map(|row| row.outcomes.get(&kind));
        outcomes.filter(|outcome| outcome.verdict == verdict).count()
    }

    /// The table scenario by target, what failed and why, and the totals.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        let width = self.rows.iter().map(|row| row.id.len()).max().unwrap_or(0).max(8);
        let _ = write!(out, "{:width$}", "scenario");
        for kind in &self.targets {
            let _ = write!(out, "  {:9}", kind.name());
        }
        out.push_str("  what it shows\n");
        for row in &self.rows {
            let _ = write!(out, "{:width$}", row.id);
            for kind in &self.targets {
                let verdict = row.outcomes.get(kind).map_or("", |outcome| outcome.verdict.name());
                let _ = write!(out, "  {verdict:9}");
            }
            let _ = writeln!(out, "  {}", row.title);
        }
        for verdict in [Verdict::Divergent, Verdict::Failed] {
            self.notes(verdict, &mut out);
        }
        self.skips(&mut out);
        out.push('\n');
        for kind in &self.targets {
            let _ = write!(out, "{:8}", kind.name());
            for verdict in Verdict::ALL {
                let _ = write!(out, "  {} {}", self.count(*kind, verdict), verdict.name());
            }
            out.push('\n');
        }
        if self.retried > 0 {
            let _ = writeln!(out, "{} exchanges over sockets were run a second time", self.retried);
        }
        out
    }

    fn notes(&self, verdict: Verdict, out: &mut String) {
        for row in &self.rows {
            for (kind, outcome) in row.outcomes.iter().filter(|(_, outcome)| outcome.verdict == verdict) {
                let _ = writeln!(out, "\n{} {} on {kind} ({})", row.id, verdict.name(), row.file);
                for note in &outcome.notes {
                    let _ = writeln!(out, "  {note}");
                }
            }
        }
    }

    /// Reasons for skipping, each once with the scenarios that it concerns.
    fn skips(&self, out: &mut String) {
        let mut reasons: BTreeMap<(TargetKind, &str), Vec<&str>> = BTreeMap::new();
        for row in &self.rows {
            for (kind, outcome) in &row.outcomes {
                if outcome.verdict == Verdict::Skipped {
                    let reason = outcome.notes.first().map_or("", String::as_str);
                    reasons.entry((*kind, reason)).or_default().push(&row.id);
                }
            }
        }
        for ((kind, reason), ids) in reasons {
            let which = if ids.len() > 6 { format!("{} scenarios", ids.len()) } else { ids.join(", ") };
            let _ = writeln!(out, "\nskipped on {kind}: {which}\n  {reason}");
        }
    }

    /// Totals and rows, in the form that scripts rely on.
    #[must_use]
    pub fn json(&self) -> Value {
        let targets: BTreeMap<&str, BTreeMap<&str, usize>> = self
            .targets
            .iter()
            .map(|kind| {
                let counts = Verdict::ALL.map(|verdict| (verdict.name(), self.count(*kind, verdict)));
                (kind.name(), counts.into_iter().collect())
            })
            .collect();
        let scenarios: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let outcomes: BTreeMap<&str, Value> =
                    row.outcomes.iter().map(|(kind, outcome)| (kind.name(), outcome.json())).collect();
                json!({
                    "id": row.id,
                    "title": row.title,
                    "file": row.file,
                    "config": row.config,
                    "recorded": self.golden.get(&row.id),
                    "targets": outcomes
                })
            })
            .collect();
        json!({ "targets": targets, "retried": self.retried, "scenarios": scenarios })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict) -> Report {
        let outcome = |verdict, status: &str| Outcome {
            verdict,
            notes: vec!["why".to_owned()],
            fields: Some([("client.status".to_owned(), status.to_owned())].into()),
        };
        let row = Row {
            id: "ENV-1".to_owned(),
            title: "t".to_owned(),
            file: "f.yaml".to_owned(),
            config: json!({ "failure_mode_allow": true }),
            outcomes: [
                (TargetKind::Envoy, outcome(Verdict::Equal, "200")),
                (TargetKind::Core, outcome(verdict, "500")),
            ]
            .into(),
        };
        Report { targets: vec![TargetKind::Envoy, TargetKind::Core], ..Report::new(vec![row]) }
    }

    #[test]
    fn only_failed_is_a_failure() {
        for (verdict, expected) in
            [(Verdict::Equal, false), (Verdict::Divergent, false), (Verdict::Skipped, false), (Verdict::Failed, true)]
        {
            assert_eq!(report(verdict).is_failure(), expected, "{verdict:?}");
        }
    }

    #[test]
    fn the_written_forms() {
        let report = report(Verdict::Failed);
        assert_eq!(
            report.json()["targets"],
            json!({
                "envoy": { "equal": 1, "divergent": 0, "failed": 0, "skipped": 0 },
                "core": { "equal": 0, "divergent": 0, "failed": 1, "skipped": 0 },
            })
        );
        assert_eq!(report.json()["scenarios"][0]["targets"]["core"]["verdict"], "failed");
        insta::assert_snapshot!(report.table(), @r"
        scenario  envoy      core       what it shows
        ENV-1     equal      failed     t

        ENV-1 failed on core (f.yaml)
          why

        envoy     1 equal  0 divergent  0 failed  0 skipped
        core      0 equal  0 divergent  1 failed  0 skipped
        ");
    }
}
