//! `extproc bench demo`: PY-130 to PY-132.

use serde_json::Value;

use crate::alone;
use crate::process::{run, run_with, text};

#[tokio::test]
async fn py_130_py_132_the_demo_with_and_without_its_processors() {
    let _alone = alone().await;
    let output = run(&["bench", "demo", "--requests", "40", "--concurrency", "2", "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["processors"], 6);
    let rows = report["rows"].as_array().expect("rows");
    let table: Vec<_> = rows.iter().map(|row| (row["route"].as_str(), row["concurrency"].as_u64())).collect();
    let expected = [("processed", 1), ("plain", 1), ("processed", 2), ("plain", 2)];
    assert_eq!(table, expected.map(|(route, level)| (Some(route), Some(level))));
    for row in rows {
        assert_eq!(row["requests"], 40, "{row}");
        let median = row["median_ms"].as_f64().expect("a number");
        assert!(median > 0.0 && median <= row["p99_ms"].as_f64().expect("a number"), "{row}");
    }
    let median = |index: usize| rows[index]["median_ms"].as_f64();
    assert!(median(0) > median(1), "six processors cost something: {report}");
}

#[tokio::test]
async fn py_131_the_table_as_csv_names_its_columns() {
    let _alone = alone().await;
    let output = run(&["bench", "demo", "-n", "20", "-c", "0", "--csv", "-"]).await;
    let shown = text(&output.stdout);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], "concurrency,route,requests,failed,total_ms,requests_per_second,mean_ms,median_ms,p99_ms");
    assert_eq!(lines.len(), 3, "{shown}");
    for (line, route) in lines[1..].iter().zip(["1,processed,20,", "1,plain,20,"]) {
        assert!(line.starts_with(route), "{line}");
        assert_eq!(line.split(',').count(), 9, "{line}");
    }
}

#[tokio::test]
async fn without_the_chain_header_nothing_can_be_told() {
    let output = run_with(&["bench", "demo"], &[("REVEAL_EXTPROC_CHAIN", "no")]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("REVEAL_EXTPROC_CHAIN"), "{}", text(&output.stderr));
}
