//! What came of all cases: for people, as JSON, and as JUnit's XML.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::check::Difference;
use super::run::{Ran, Verdict};
use super::yaml::Position;
use crate::text::{BOLD, DIM, GREEN, RED, YELLOW};

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl Counts {
    pub(super) fn of(all: &[Ran]) -> Self {
        let mut counts = Self::default();
        for ran in all {
            match ran.verdict {
                Verdict::Passed | Verdict::Updated(_) => counts.passed += 1,
                Verdict::Skipped(_) => counts.skipped += 1,
                Verdict::Failed { .. } | Verdict::Broken(_) => counts.failed += 1,
            }
        }
        counts
    }
}

impl Ran {
    /// `name [mode] #2`.
    fn title(&self) -> String {
        let run = self.run.map(|run| format!(" #{run}")).unwrap_or_default();
        format!("{} [{}]{run}", self.case, self.mode)
    }

    fn place(&self, at: Position) -> String {
        let Position { line, column } =
            if at == Position::default() { Position { line: self.line, column: 1 } } else { at };
        format!("{}:{line}:{column}", self.file.display())
    }
}

/// A line for each run, with everything about those that failed, and the counts. Runs of one case that passed share a line.
pub(super) fn human(all: &[Ran], verbose: bool) -> String {
    let mut out = String::new();
    let mut file: Option<&Path> = None;
    for group in all.chunk_by(same_case) {
        let Some(first) = group.first() else { continue };
        if file.replace(&first.file) != Some(&first.file) {
            let _ = writeln!(out, "{BOLD}{}{BOLD:#}", first.file.display());
        }
        let passed = group.iter().filter(|ran| matches!(ran.verdict, Verdict::Passed)).count();
        if passed == group.len() && passed > 1 && !verbose {
            let longest = group.iter().map(|ran| ran.took).max().unwrap_or_default();
            let title = format!("{} [{}] x{passed}", first.case, first.mode);
            line(&mut out, (GREEN, "ok"), &title, &format!("at most {}", millis(longest)));
            continue;
        }
        group.iter().filter(|ran| verbose || group.len() == 1 || !is_passed(ran)).for_each(|ran| one(&mut out, ran));
        if !verbose && group.len() > 1 && passed > 0 {
            let _ = writeln!(out, "  {DIM}{passed} of {} runs passed{DIM:#}", group.len());
        }
    }
    let Counts { passed, failed, skipped } = Counts::of(all);
    let style = if failed == 0 { GREEN } else { RED };
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    let _ = writeln!(out, "\n{style}{passed} passed, {failed} failed{skipped}{style:#}");
    out
}

const fn is_passed(ran: &Ran) -> bool {
    matches!(ran.verdict, Verdict::Passed)
}

fn same_case(a: &Ran, b: &Ran) -> bool {
    (&a.file, &a.case, &a.mode) == (&b.file, &b.case, &b.mode)
}

fn one(out: &mut String, ran: &Ran) {
    match &ran.verdict {
        Verdict::Passed => line(out, (GREEN, "ok"), &ran.title(), &millis(ran.took)),
        Verdict::Updated(path) => line(out, (YELLOW, "updated"), &ran.title(), &path.display().to_string()),
        Verdict::Skipped(reason) => line(out, (YELLOW, "skipped"), &ran.case, reason),
        Verdict::Broken(message) => line(out, (RED, "FAILED"), &ran.title(), message),
        Verdict::Failed { differences, story } => {
            line(out, (RED, "FAILED"), &ran.title(), &millis(ran.took));
            for difference in differences {
                told(out, ran, difference);
            }
            let _ = writeln!(out);
            for text in story.lines() {
                let _ = writeln!(out, "      {text}");
            }
            let _ = writeln!(out);
        }
    }
}

fn told(out: &mut String, ran: &Ran, Difference { what, expected, actual, at }: &Difference) {
    let _ = writeln!(out, "    {what}  {DIM}{}{DIM:#}", ran.place(*at));
    let _ = writeln!(out, "      expected: {GREEN}{expected}{GREEN:#}");
    let mut lines = actual.lines();
    let _ = writeln!(out, "      actual:   {RED}{}{RED:#}", lines.next().unwrap_or_default());
    for text in lines {
        let _ = writeln!(out, "        {text}");
    }
}

fn line(out: &mut String, (style, word): (crate::text::Style, &str), title: &str, more: &str) {
    let _ = writeln!(out, "  {style}{word}{style:#} {title}  {DIM}{more}{DIM:#}");
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// The JSON form: counts, and every run.
#[derive(Debug, Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    counts: Counts,
    cases: Vec<JsonCase<'a>>,
}

#[derive(Debug, Serialize)]
struct JsonCase<'a> {
    file: String,
    line: usize,
    name: &'a str,
    mode: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u32>,
    result: &'static str,
    milliseconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<JsonDifference<'a>>,
    /// The exchange as people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<String>,
}

#[derive(Debug, Serialize)]
struct JsonDifference<'a> {
    #[serde(flatten)]
    difference: &'a Difference,
    /// `file:line:column` of the expectation.
    place: String,
}

/// As one JSON object.
pub(super) fn json(all: &[Ran]) -> anyhow::Result<String> {
    let cases = all.iter().map(json_case).collect();
    Ok(serde_json::to_string_pretty(&Json { counts: Counts::of(all), cases })? + "\n")
}

fn json_case(ran: &Ran) -> JsonCase<'_> {
    let mut case = JsonCase {
        file: ran.file.display().to_string(),
        line: ran.line,
        name: &ran.case,
        mode: &ran.mode,
        run: ran.run,
        result: "passed",
        milliseconds: (ran.took.as_secs_f64() * 1e6).round() / 1e3,
        reason: None,
        differences: Vec::new(),
        transcript: None,
    };
    match &ran.verdict {
        Verdict::Passed => {}
        Verdict::Updated(_) => case.result = "updated",
        Verdict::Skipped(reason) => (case.result, case.reason) = ("skipped", Some(reason.as_str())),
        Verdict::Broken(message) => (case.result, case.reason) = ("failed", Some(message.as_str())),
        Verdict::Failed { differences, story } => {
            case.result = "failed";
            let told = |difference| JsonDifference { difference, place: ran.place(difference.at) };
            case.differences = differences.iter().map(told).collect();
            case.transcript = Some(plain(story));
        }
    }
    case
}

/// The XML that JUnit writes, as CI systems read it: a suite for each file.
pub(super) fn junit(all: &[Ran]) -> String {
    let Counts { passed, failed, skipped } = Counts::of(all);
    let total = passed + failed + skipped;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites tests=\"{total}\" failures=\"{failed}\" skipped=\"{skipped}\">");
    for suite in all.chunk_by(|a, b| a.file == b.file) {
        let Counts { failed, skipped, .. } = Counts::of(suite);
        let name = suite.first().map(|ran| ran.file.display().to_string()).unwrap_or_default();
        let (name, total) = (escaped(&name), suite.len());
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{total}\" failures=\"{failed}\" skipped=\"{skipped}\">"
        );
        suite.iter().for_each(|ran| junit_case(&mut out, &name, ran));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn junit_case(out: &mut String, suite: &str, ran: &Ran) {
    let (title, time) = (escaped(&ran.title()), ran.took.as_secs_f64());
    let _ = write!(out, "    <testcase classname=\"{suite}\" name=\"{title}\" time=\"{time:.6}\"");
    match &ran.verdict {
        Verdict::Passed | Verdict::Updated(_) => out.push_str("/>\n"),
        Verdict::Skipped(reason) => {
            let _ = writeln!(out, "><skipped message=\"{}\"/></testcase>", escaped(reason));
        }
        Verdict::Broken(message) => {
            let _ = writeln!(out, "><failure message=\"{}\"/></testcase>", escaped(message));
        }
        Verdict::Failed { differences, story } => {
            let first = differences.first();
            let message = first.map(|it| format!("{}: expected {}, got {}", it.what, it.expected, it.actual));
            let mut body = String::new();
            for it in differences {
                let _ =
                    writeln!(body, "{}: {}: expected {}, got {}", ran.place(it.at), it.what, it.expected, it.actual);
            }
            body.push('\n');
            body.push_str(&plain(story));
            let message = escaped(&message.unwrap_or_default());
            let _ = writeln!(out, "><failure message=\"{message}\">{}</failure></testcase>", escaped(&body));
        }
    }
}

/// Without colours.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// For XML text and attributes. What XML 1.0 cannot hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push('\t'),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
