//! Transcripts recorded from the real Envoy, for runs without it: `conformance/golden/`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

use crate::scenario::Scenario;

/// A transcript's fields by name.
pub type FieldMap = BTreeMap<String, String>;

/// Recorded transcripts by scenario id.
#[derive(Clone, Debug, Default)]
pub struct Golden(BTreeMap<String, FieldMap>);

impl Golden {
    /// Reads what was recorded for these scenarios; a file that does not exist holds nothing.
    ///
    /// # Errors
    /// When a file is not what [`save`](Self::save) writes.
    pub fn load(dir: &Path, scenarios: &[Scenario]) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        for path in files(dir, scenarios) {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let part: BTreeMap<String, FieldMap> = serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged; record it again", path.display()))?;
            all.extend(part);
        }
        Ok(Self(all))
    }

    /// What was recorded for a scenario.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&FieldMap> {
        self.0.get(id)
    }

    /// Replaces what was recorded for a scenario.
    pub fn put(&mut self, id: &str, fields: FieldMap) {
        self.0.insert(id.to_owned(), fields);
    }

    /// Writes one file for each scenario file; what belongs to no scenario is dropped.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path, scenarios: &[Scenario]) -> anyhow::Result<()> {
        for path in files(dir, scenarios) {
            let part: BTreeMap<&str, &FieldMap> = scenarios
                .iter()
                .filter(|scenario| file(dir, scenario) == path)
                .filter_map(|scenario| Some((scenario.id.as_str(), self.get(&scenario.id)?)))
                .collect();
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let text = serde_json::to_string_pretty(&part)? + "\n";
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn file(dir: &Path, scenario: &Scenario) -> std::path::PathBuf {
    dir.join(&scenario.file).with_extension("json")
}

fn files(dir: &Path, scenarios: &[Scenario]) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = scenarios.iter().map(|scenario| file(dir, scenario)).collect();
    files.sort();
    files.dedup();
    files
}
