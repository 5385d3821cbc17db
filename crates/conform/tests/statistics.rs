//! Every counter of Envoy's filter has a scenario that moves it and one that does not: `docs/statistics.md` names them, and
//! what was recorded of Envoy says so. `UPDATE_GENERATED=1` writes the page.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use extproc_conform::golden::Golden;
use extproc_conform::scenario::{Scenario, load_dir};
use extproc_core::Stats;

/// Envoy's counters that no filter of ours has, with the reason.
const ABSENT: [(&str, &str); 1] = [(
    "clear_route_cache_upstream_ignored",
    "not here: it counts filters in an upstream's own chain, and there are none",
)];

/// What each counter counts: the first paragraph of its documentation in `extproc_core::Stats`.
fn meanings(root: &Path) -> BTreeMap<String, String> {
    let source = std::fs::read_to_string(root.join("crates/core/src/stats.rs")).unwrap();
    let (_, list) = source.split_once("\nstats! {\n").unwrap();
    let mut meaning = String::new();
    let mut all = BTreeMap::new();
    for line in list.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            meaning = [meaning.trim(), text.trim()].join(" ").trim().to_owned();
        } else if let Some(name) = line.strip_suffix(',') {
            all.insert(name.to_owned(), std::mem::take(&mut meaning));
        }
    }
    all
}

/// The table's rows, each by its counter.
fn rows(page: &str) -> BTreeMap<String, Vec<String>> {
    let lines = page.lines().filter(|line| line.starts_with("| `"));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].trim_matches('`').to_owned(), cells)).collect()
}

#[test]
fn every_counter_is_moved_by_a_scenario_and_left_alone_by_another() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let scenarios = load_dir(&root.join("conformance/scenarios")).unwrap();
    let golden = Golden::load(&root.join("conformance/golden"), &scenarios).unwrap();
    let meanings = meanings(&root);
    let path = root.join("docs/statistics.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, page(&scenarios, &golden, &meanings)).unwrap();
    }
    let rows = rows(&std::fs::read_to_string(&path).unwrap());
    let ours = Stats::NAMES.into_iter().map(|name| (name, None));
    let all: BTreeMap<&str, Option<&str>> =
        ABSENT.map(|(name, why)| (name, Some(why))).into_iter().chain(ours).collect();
    assert!(
        rows.keys().eq(all.keys()),
        "{:?}\nare in docs/statistics.md; the counters are\n{:?}",
        rows.keys(),
        all.keys()
    );
    assert_eq!(all.len(), 17, "the counters of Envoy 1.40");
    for (name, absent) in all {
        let cells = &rows[name];
        if let Some(why) = absent {
            assert_eq!(cells[1], why, "{name}");
            continue;
        }
        assert_eq!(Some(&cells[1]), meanings.get(name), "{name}: what it counts");
        let moves = |id: &str| golden.get(id).map(|fields| fields.contains_key(&format!("counters.{name}")));
        assert_eq!(
            (moves(&cells[2]), moves(&cells[3])),
            (Some(true), Some(false)),
            "{name}: {} {}",
            cells[2],
            cells[3]
        );
    }
}

/// The page, with the plainest scenarios there are.
fn page(scenarios: &[Scenario], golden: &Golden, meanings: &BTreeMap<String, String>) -> String {
    let mut text = "# Statistics\n\n\
        The counters of a filter, under the names of Envoy 1.40 (`http.<prefix>.ext_proc.<stat_prefix><name>`). The gateway\n\
        tells them for each entry of a chain. For each, a scenario in which the real Envoy moves it, and one in which it does\n\
        not; our data planes do the same, or `conformance/divergences.yaml` says why not. A test compares this page with the\n\
        recordings.\n\n\
        | counter | counts | moved by | not moved by |\n|---|---|---|---|\n"
        .to_owned();
    let names: BTreeSet<&str> = Stats::NAMES.into_iter().chain(ABSENT.map(|(name, _)| name)).collect();
    for name in names {
        if let Some((_, reason)) = ABSENT.iter().find(|(absent, _)| *absent == name) {
            writeln!(text, "| `{name}` | {reason} | | |").unwrap();
            continue;
        }
        let moves = |it: &&Scenario| golden.get(&it.id).map(|fields| fields.contains_key(&format!("counters.{name}")));
        // Plain ids are short.
        let plainness = |it: &&Scenario| (!it.id.starts_with("ENV"), it.id.len(), it.id.clone());
        let mover = scenarios.iter().filter(|it| moves(it) == Some(true)).min_by_key(plainness).unwrap();
        let others = scenarios.iter().filter(|it| moves(it) == Some(false));
        let other = others.min_by_key(|it| (it.file != mover.file, plainness(it))).unwrap();
        writeln!(text, "| `{name}` | {} | {} | {} |", meanings[name], mover.id, other.id).unwrap();
    }
    text
}
