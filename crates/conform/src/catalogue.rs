//! How much of the catalogues of behaviour is proven: `conformance/catalogue.yaml`.
//!
//! A row is proven by the scenarios that bear its id (`ENV-171`, `ENV-171-sh`) and run on one of our targets, or by a
//! test that the file names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::divergence::Divergences;
use crate::scenario::{Scenario, load_dir};
use crate::target::TargetKind;

/// All catalogues by their letters: `ENV`, `AGW`, `A93`, `PY`.
#[derive(Clone, Debug)]
pub struct Catalogue {
    parts: BTreeMap<String, Part>,
}

#[derive(Clone, Debug)]
struct Part {
    what: String,
    rows: BTreeMap<String, Standing>,
}

/// How a row stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Proven by these scenarios and tests.
    Proven(Vec<String>),
    /// Proven, but `divergences.yaml` lists a difference from Envoy.
    Divergent(Vec<String>),
    /// It does not apply to us, for this reason.
    NotApplicable(String),
    /// Nothing proves it.
    Missing,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// What the catalogue describes.
    what: String,
    /// The numbers of all its rows: single ones and ranges, `001-004 006`.
    rows: String,
    /// The tests that prove a row, as `file::function`.
    #[serde(default)]
    tests: BTreeMap<String, Vec<String>>,
    /// Rows that do not apply, with the reason.
    #[serde(default)]
    not_applicable: BTreeMap<String, String>,
}

impl Catalogue {
    /// Reads the catalogue of a directory and compares it with the scenarios there. `sources`, if given, is the root of
    /// the repository, in which the named tests must exist.
    ///
    /// # Errors
    /// Names rows that are not in their catalogue, and tests that do not exist.
    pub fn load(dir: &Path, sources: Option<&Path>) -> anyhow::Result<Self> {
        let path = dir.join("catalogue.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let written: BTreeMap<String, Written> =
            serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        let scenarios = load_dir(&dir.join("scenarios"))?;
        let known: Vec<&str> = scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
        let divergences = Divergences::load(&dir.join("divergences.yaml"), &known)?;
        if let Some(root) = sources {
            for test in written.values().flat_map(|part| part.tests.values()).flatten() {
                exists(root, test).with_context(|| path.display().to_string())?;
            }
        }
        let mut parts = BTreeMap::new();
        for (letters, part) in written {
            let part = judge(&letters, part, &scenarios, &divergences).with_context(|| path.display().to_string())?;
            parts.insert(letters, part);
        }
        Ok(Self { parts })
    }

    /// How a row stands; `None` when no catalogue has it.
    #[must_use]
    pub fn standing(&self, row: &str) -> Option<&Standing> {
        self.parts.values().find_map(|part| part.rows.get(row))
    }

    /// The totals, and the rows that are missing.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        for (letters, part) in &self.parts {
            let [proven, divergent, absent, missing] = part.counts();
            let _ = writeln!(out, "{letters}: {}", part.what);
            let _ = writeln!(
                out,
                "  {} rows: {proven} proven, {divergent} divergent, {absent} not applicable, {missing} missing",
                part.rows.len()
            );
            let open = part.rows.iter().filter(|(_, it)| **it == Standing::Missing).map(|(row, _)| row.as_str());
            let open = contract(open);
            if !open.is_empty() {
                let _ = writeln!(out, "  missing: {open}");
            }
        }
        out
    }

    /// Totals and rows, in the form that scripts rely on.
    #[must_use]
    pub fn json(&self) -> Value {
        let part = |part: &Part| {
            let [proven, divergent, absent, missing] = part.counts();
            let rows: BTreeMap<&str, Value> = part.rows.iter().map(|(row, it)| (row.as_str(), it.json())).collect();
            json!({
                "proven": proven, "divergent": divergent, "not_applicable": absent, "missing": missing, "rows": rows
            })
        };
        let parts: BTreeMap<&str, Value> = self.parts.iter().map(|(name, it)| (name.as_str(), part(it))).collect();
        json!({ "catalogues": parts })
    }
}

impl Part {
    /// Proven, divergent, not applicable, missing.
    fn counts(&self) -> [usize; 4] {
        let count = |of: fn(&Standing) -> bool| self.rows.values().filter(|it| of(it)).count();
        [
            count(|it| matches!(it, Standing::Proven(_))),
            count(|it| matches!(it, Standing::Divergent(_))),
            count(|it| matches!(it, Standing::NotApplicable(_))),
            count(|it| matches!(it, Standing::Missing)),
        ]
    }
}

impl Standing {
    fn json(&self) -> Value {
        match self {
            Self::Proven(by) => json!({ "standing": "proven", "by": by }),
            Self::Divergent(by) => json!({ "standing": "divergent", "by": by }),
            Self::NotApplicable(reason) => json!({ "standing": "not_applicable", "reason": reason }),
            Self::Missing => json!({ "standing": "missing" }),
        }
    }
}

fn judge(letters: &str, written: Written, scenarios: &[Scenario], divergences: &Divergences) -> anyhow::Result<Part> {
    let mut rows = expand(letters, &written.rows)?;
    // A row that the catalogue only alludes to ("as 230") counts once a scenario bears it.
    for scenario in scenarios {
        let Some(rest) = scenario.id.strip_prefix(&format!("{letters}-")) else { continue };
        let number = rest.split('-').next().unwrap_or_default();
        if number.len() != 3 || number.parse::<u16>().is_err() {
            bail!("the scenario {} ({}) bears no row of {letters}", scenario.id, scenario.file);
        }
        rows.insert(format!("{letters}-{number}"));
    }
    for row in written.tests.keys().chain(written.not_applicable.keys()) {
        if !rows.contains(row) {
            bail!("{row} is no row of {letters}");
        }
    }
    let standing = |row: &String| {
        let of_row: Vec<&Scenario> = scenarios.iter().filter(|scenario| bears(scenario, row)).collect();
        let ours = [TargetKind::Core, TargetKind::Gateway];
        let run = of_row.iter().filter(|scenario| ours.iter().any(|target| !scenario.skip.contains_key(target)));
        let mut by: Vec<String> = run.map(|scenario| scenario.id.clone()).collect();
        let differs = by.iter().any(|id| ours.iter().any(|target| divergences.of(id, *target).next().is_some()));
        by.extend(written.tests.get(row).into_iter().flatten().cloned());
        match (written.not_applicable.get(row), of_row.first().and_then(|scenario| scenario.skip.values().next())) {
            (Some(reason), _) => Standing::NotApplicable(reason.clone()),
            (None, _) if differs => Standing::Divergent(by),
            (None, _) if !by.is_empty() => Standing::Proven(by),
            (None, Some(reason)) => Standing::NotApplicable(reason.clone()),
            (None, None) => Standing::Missing,
        }
    };
    let rows = rows.iter().map(|row| (row.clone(), standing(row))).collect();
    Ok(Part { what: written.what, rows })
}

fn bears(scenario: &Scenario, row: &str) -> bool {
    scenario.id.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// `001-003 006` of `ENV` is ENV-001, ENV-002, ENV-003 and ENV-006.
fn expand(letters: &str, rows: &str) -> anyhow::Result<BTreeSet<String>> {
    let number = |text: &str| text.parse::<u32>().with_context(|| format!("`{text}` in {letters} is no row number"));
    let mut all = BTreeSet::new();
    for word in rows.split_whitespace() {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        all.extend((number(first)?..=number(last)?).map(|row| format!("{letters}-{row:03}")));
    }
    Ok(all)
}

/// The opposite of [`expand`].
fn contract<'a>(rows: impl Iterator<Item = &'a str>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in rows.filter_map(|row| row.rsplit_once('-')?.1.parse().ok()) {
        match ranges.last_mut() {
            Some((_, last)) if number == *last + 1 => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let words = ranges
        .into_iter()
        .map(|(first, last)| if first == last { format!("{first:03}") } else { format!("{first:03}-{last:03}") });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a test `file::function` exists below `root`.
fn exists(root: &Path, test: &str) -> anyhow::Result<()> {
    let (file, function) = test.rsplit_once("::").with_context(|| format!("`{test}` is not `file::function`"))?;
    let text = std::fs::read_to_string(root.join(file)).with_context(|| format!("{test}: cannot read the file"))?;
    // A function, or a row of a macro that makes one of it.
    if !text.contains(&format!("fn {function}(")) && !text.contains(&format!("\n    {function}: ")) {
        bail!("{test}: there is no such function");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::load_str;

    #[test]
    fn ranges() {
        let rows: Vec<String> = expand("A", "001-003 006").unwrap().into_iter().collect();
        assert_eq!(rows, ["A-001", "A-002", "A-003", "A-006"]);
        assert!(expand("A", "1-x").is_err());
        assert_eq!(contract(rows.iter().map(String::as_str)), "001-003 006");
    }

    #[test]
    fn standings() {
        let scenarios = load_str(
            "f",
            "- { id: A-001-x, title: t }\n- { id: A-002, title: t, skip: { core: r, gateway: r } }\n- { id: A-0011, title: t }\n",
        )
        .unwrap();
        let written = |rows: &str| Written {
            what: "w".to_owned(),
            rows: rows.to_owned(),
            tests: [("A-003".to_owned(), vec!["f::t".to_owned()])].into(),
            not_applicable: [("A-004".to_owned(), "why".to_owned())].into(),
        };
        let error = judge("A", written("001-005"), &scenarios, &Divergences::default()).unwrap_err();
        assert!(error.to_string().contains("A-0011"), "{error}");

        let part = judge("A", written("001-005"), &scenarios[..2], &Divergences::default()).unwrap();
        let standings: Vec<_> = part.rows.into_values().collect();
        assert_eq!(
            standings,
            [
                Standing::Proven(vec!["A-001-x".to_owned()]),
                Standing::NotApplicable("r".to_owned()),
                Standing::Proven(vec!["f::t".to_owned()]),
                Standing::NotApplicable("why".to_owned()),
                Standing::Missing,
            ]
        );
        assert!(judge("A", written("001-003"), &scenarios[..2], &Divergences::default()).is_err());
    }
}
