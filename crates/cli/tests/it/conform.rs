//! `extproc conform`; what the scenarios show is the business of their own tests.

use serde_json::Value;

use crate::process::{run, text};

#[tokio::test]
async fn one_scenario_on_one_target() {
    let output = run(&["conform", "--target", "core", "ENV-001", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenarios = report["scenarios"].as_array().unwrap();
    assert!(scenarios.iter().any(|scenario| scenario["id"] == "ENV-001"));
    let counts = &report["targets"]["core"];
    let total: u64 =
        ["equal", "divergent", "failed", "skipped"].iter().map(|word| counts[word].as_u64().unwrap()).sum();
    assert_eq!(total, scenarios.len() as u64);
    assert_eq!((&counts["failed"], &counts["skipped"]), (&0.into(), &0.into()));

    let table = text(&run(&["conform", "--target", "core", "ENV-001"]).await.stdout);
    assert!(table.lines().any(|line| line.starts_with("ENV-001 ")), "{table}");
    let explained = text(&run(&["conform", "--target", "core", "--explain", "ENV-001"]).await.stdout);
    let says = |name: &str, value: &str| {
        explained.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name) && words.next() == Some(value)
        })
    };
    assert!(says("client.status", "200") && says("processor", "request_headers"), "{explained}");
}

#[tokio::test]
async fn the_catalogues_are_counted() {
    let output = run(&["conform", "--catalogue", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["A93", "AGW", "ENV", "PY"] {
        let part = &report["catalogues"][name];
        let count = |word: &str| part[word].as_u64().unwrap();
        let counted = ["proven", "divergent", "not_applicable", "missing"].map(count).iter().sum::<u64>();
        assert_eq!(counted, part["rows"].as_object().unwrap().len() as u64, "{name}");
    }
    assert_eq!(report["catalogues"]["PY"]["rows"]["PY-140"]["standing"], "proven");
    let table = text(&run(&["conform", "--catalogue"]).await.stdout);
    assert!(table.contains("\nPY: "), "{table}");
}
