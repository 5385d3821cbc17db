//! What is told of a measurement.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::load::Measured;
use crate::text::{BOLD, RED, Table};

/// A whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) front: &'static str,
    pub(super) processors: usize,
    pub(super) rows: Vec<Row>,
}

/// One route at one concurrency. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) route: &'static str,
    pub(super) concurrency: u16,
    pub(super) requests: usize,
    pub(super) failed: u32,
    pub(super) total_ms: f64,
    pub(super) requests_per_second: f64,
    pub(super) mean_ms: f64,
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
}

impl Row {
    pub(super) fn new(route: &'static str, concurrency: u16, mut measured: Measured) -> Self {
        measured.latencies.sort_unstable();
        let (latencies, requests) = (&measured.latencies, measured.latencies.len());
        let sum: Duration = latencies.iter().sum();
        Self {
            route,
            concurrency,
            requests,
            failed: measured.failed,
            total_ms: millis(measured.wall),
            requests_per_second: requests as f64 / measured.wall.as_secs_f64(),
            mean_ms: millis(sum) / requests as f64,
            median_ms: millis(quantile(latencies, 0.5)),
            p99_ms: millis(quantile(latencies, 0.99)),
        }
    }
}

impl Report {
    pub(super) fn failed(&self) -> u32 {
        self.rows.iter().map(|row| row.failed).sum()
    }

    /// Processed and plain, at each concurrency.
    fn pairs(&self) -> impl Iterator<Item = (&Row, &Row)> {
        self.rows.chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }
}

/// A table, and what the processors add to one request.
pub(super) fn human(report: &Report) -> String {
    let mut table =
        Table::new(&["concurrency", "route", "requests", "total", "requests/s", "mean", "median", "p99", "failed"]);
    for row in &report.rows {
        let cells = [
            row.concurrency.to_string(),
            row.route.to_owned(),
            row.requests.to_string(),
            format!("{:.0} ms", row.total_ms),
            format!("{:.0}", row.requests_per_second),
            format!("{:.2} ms", row.mean_ms),
            format!("{:.2} ms", row.median_ms),
            format!("{:.2} ms", row.p99_ms),
            row.failed.to_string(),
        ];
        table.row(cells.into_iter().map(|cell| vec![cell]).collect());
    }
    let (front, processors) = (report.front, report.processors);
    let mut out = format!(
        "{processors} processors behind the {front}, everything on this machine in one process\n\n{}",
        table.render("  ")
    );
    if let Some((processed, plain)) = report.pairs().next() {
        let added = processed.median_ms - plain.median_ms;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\n{BOLD}one request at a time: {processors} processors add {added:.2} ms to the median, {:.2} ms each{BOLD:#}",
            added / processors as f64
        );
    }
    if report.failed() > 0 {
        let _ = writeln!(
            out,
            "{RED}{} exchanges failed or passed a processor over: the figures do not count{RED:#}",
            report.failed()
        );
    }
    out
}

/// One line for each route and concurrency, with a heading.
pub(super) fn csv(report: &Report) -> String {
    let mut out =
        "concurrency,route,requests,failed,total_ms,requests_per_second,mean_ms,median_ms,p99_ms\n".to_owned();
    for row in &report.rows {
        let _ = writeln!(
            out,
            "{},{},{},{},{:.3},{:.1},{:.4},{:.4},{:.4}",
            row.concurrency,
            row.route,
            row.requests,
            row.failed,
            row.total_ms,
            row.requests_per_second,
            row.mean_ms,
            row.median_ms,
            row.p99_ms
        );
    }
    out
}

/// The smallest value that at least this share of the sorted values does not exceed.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(millis: impl IntoIterator<Item = u64>) -> Measured {
        let latencies = millis.into_iter().map(Duration::from_millis).collect();
        Measured { latencies, wall: Duration::from_millis(500), failed: 0 }
    }

    #[test]
    fn quantiles() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        for (count, share, expected) in [(100, 0.5, 50), (100, 0.99, 99), (100, 1.0, 100), (1, 0.99, 1), (3, 0.5, 2)] {
            assert_eq!(quantile(&sorted[..count], share), Duration::from_millis(expected), "{count} {share}");
        }
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn rows_and_what_is_added() {
        let rows = vec![Row::new("processed", 1, measured([9, 7, 8])), Row::new("plain", 1, measured([2, 2, 2]))];
        let report = Report { front: "gateway", processors: 6, rows };
        assert_eq!(
            csv(&report),
            "concurrency,route,requests,failed,total_ms,requests_per_second,mean_ms,median_ms,p99_ms\n\
             1,processed,3,0,500.000,6.0,8.0000,8.0000,9.0000\n\
             1,plain,3,0,500.000,6.0,2.0000,2.0000,2.0000\n"
        );
        assert!(human(&report).contains("6 processors add 6.00 ms to the median, 1.00 ms each"), "{}", human(&report));
    }
}
