//! Where we do not do as Envoy does: listed, with reasons, in `conformance/divergences.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::target::TargetKind;
use crate::transcript::Difference;

/// The listed divergences.
#[derive(Clone, Debug, Default)]
pub struct Divergences(Vec<Divergence>);

/// One scenario in which some of our targets differ from Envoy on purpose, or for the time being.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// The scenario's id.
    pub scenario: String,
    /// Who differs.
    pub targets: Vec<TargetKind>,
    /// What is to become of it.
    pub decision: Decision,
    /// Why, so that a stranger would accept it.
    pub reason: String,
    /// Every field that differs, with both values.
    pub fields: BTreeMap<String, Values>,
    /// Fields that, with everything below them, differ only because those above do: that they differ is checked, their
    /// values are not.
    #[serde(default)]
    pub consequences: Vec<String>,
}

/// Both sides of a differing field; `absent` for a field that is not there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// What our target has.
    pub ours: String,
    /// What Envoy has.
    pub envoy: String,
}

/// What is to become of a divergence.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It stays.
    Intended,
    /// It stays: Envoy breaks HTTP there.
    EnvoyBug,
    /// It goes, as soon as somebody mends it.
    Bug,
}

/// What the list says of the differences that a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Not listed: each fails the scenario.
    pub unlisted: Vec<Difference>,
    /// Listed, and found just so.
    pub listed: Vec<Difference>,
    /// Listed, but not found: the entry is stale and fails the scenario.
    pub stale: Vec<String>,
}

impl Divergences {
    /// Reads the list; `known` are the ids that exist.
    ///
    /// # Errors
    /// Names the place of what cannot be read, and entries for scenarios that do not exist.
    pub fn load(path: &Path, known: &[&str]) -> anyhow::Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let list = Self::parse(&text).with_context(|| format!("{name}"))?;
        for entry in &list.0 {
            if !known.contains(&entry.scenario.as_str()) {
                bail!("{name}: there is no scenario {}; remove the entry", entry.scenario);
            }
        }
        Ok(list)
    }

    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let list: Vec<Divergence> = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map(|at| format!("{}:{}: ", at.line(), at.column())).unwrap_or_default();
            anyhow::anyhow!("{place}{}", error.without_snippet())
        })?;
        Ok(Self(list))
    }

    /// The entries that concern a target in a scenario.
    pub fn of(&self, scenario: &str, target: TargetKind) -> impl Iterator<Item = &Divergence> {
        self.0.iter().filter(move |entry| entry.scenario == scenario && entry.targets.contains(&target))
    }

    /// Whether a field of a scenario is listed for a target; what an expectation says of it does not count then.
    #[must_use]
    pub fn covers(&self, scenario: &str, target: TargetKind, field: &str) -> bool {
        self.of(scenario, target).any(|entry| {
            entry.fields.contains_key(field) || entry.consequences.iter().any(|above| is_below(field, above))
        })
    }

    /// Sorts differences into listed and unlisted, and finds entries that no longer hold.
    #[must_use]
    pub fn judge(&self, scenario: &str, target: TargetKind, found: Vec<Difference>) -> Judgement {
        let mut judgement = Judgement::default();
        for difference in found {
            let is_listed = self.of(scenario, target).any(|entry| match entry.fields.get(&difference.field) {
                Some(values) => values.ours == difference.ours && values.envoy == difference.theirs,
                None => entry.consequences.iter().any(|above| is_below(&difference.field, above)),
            });
            if is_listed {
                judgement.listed.push(difference);
            } else {
                judgement.unlisted.push(difference);
            }
        }
        for entry in self.of(scenario, target) {
            let is_stale = |holds: &dyn Fn(&str) -> bool| !judgement.listed.iter().any(|it| holds(&it.field));
            let fields = entry.fields.keys().filter(|field| is_stale(&|found| found == field.as_str()));
            let consequences = entry.consequences.iter().filter(|above| is_stale(&|found| is_below(found, above)));
            judgement.stale.extend(fields.chain(consequences).cloned());
        }
        judgement
    }
}

fn is_below(field: &str, above: &str) -> bool {
    field.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(field: &str, ours: &str, theirs: &str) -> Difference {
        Difference { field: field.to_owned(), ours: ours.to_owned(), theirs: theirs.to_owned() }
    }

    fn list() -> Divergences {
        Divergences::parse(
            "- scenario: ENV-1
  targets: [core]
  decision: envoy_bug
  reason: r
  fields: { client.end: { ours: cut, envoy: complete } }
- scenario: ENV-2
  targets: [core]
  decision: bug
  reason: r
  fields: {}
  consequences: [upstream, counters]
",
        )
        .unwrap()
    }

    #[test]
    fn only_what_is_listed_with_both_values_is_accepted() {
        let list = list();
        let listed = difference("client.end", "cut", "complete");
        let judged = list.judge("ENV-1", TargetKind::Core, vec![listed.clone()]);
        assert_eq!(judged, Judgement { listed: vec![listed.clone()], ..Judgement::default() });

        let other_value = difference("client.end", "gave up", "complete");
        let judged = list.judge("ENV-1", TargetKind::Core, vec![other_value.clone()]);
        assert_eq!(judged.unlisted, [other_value]);
        assert_eq!(judged.stale, ["client.end"]);

        let judged = list.judge("ENV-1", TargetKind::Gateway, vec![listed.clone()]);
        assert_eq!(judged.unlisted, [listed]);
        assert_eq!(judged.stale, Vec::<String>::new());
    }

    #[test]
    fn an_entry_that_no_longer_differs_is_stale() {
        let judged = list().judge("ENV-1", TargetKind::Core, Vec::new());
        assert_eq!(judged.stale, ["client.end"]);
    }

    #[test]
    fn consequences_must_differ_somehow() {
        let found = vec![difference("upstream.body", "a", "b"), difference("upstream", "c", "d")];
        let judged = list().judge("ENV-2", TargetKind::Core, found);
        assert_eq!((judged.unlisted, judged.listed.len(), judged.stale), (Vec::new(), 2, vec!["counters".to_owned()]));

        let other = difference("upstreams", "a", "b");
        assert_eq!(list().judge("ENV-2", TargetKind::Core, vec![other.clone()]).unlisted, [other]);
    }

    #[test]
    fn an_entry_needs_a_reason() {
        let error = Divergences::parse("- scenario: A\n  targets: []\n  decision: bug\n  fields: {}\n").unwrap_err();
        assert!(error.to_string().contains("reason"), "{error}");
    }
}
