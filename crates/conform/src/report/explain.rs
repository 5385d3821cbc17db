//! Scenarios with their transcripts side by side.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Report, Row};
use crate::golden::FieldMap;
use crate::target::TargetKind;

/// What is narrower has the transcripts below each other.
const NARROW: usize = 100;

/// The width of the names of fields.
const NAMES: usize = 34;

/// The order of the columns.
const ORDER: [TargetKind; 3] = [TargetKind::Core, TargetKind::Gateway, TargetKind::Envoy];

struct Column<'a> {
    name: &'static str,
    fields: &'a FieldMap,
    tells_details: bool,
}

impl Column<'_> {
    fn value(&self, field: &str) -> &str {
        match self.fields.get(field) {
            Some(value) => value,
            None if field == "details" && !self.tells_details => "not told",
            None => "absent",
        }
    }
}

impl Report {
    /// Every scenario: its configuration, what came of it on each target and why, and the transcripts, in columns or, where
    /// these do not fit the width, below each other. A star marks fields that are not the same everywhere.
    #[must_use]
    pub fn explain(&self, width: usize) -> String {
        self.rows.iter().map(|row| self.explain_row(row, width)).collect::<Vec<_>>().join("\n")
    }

    fn explain_row(&self, row: &Row, width: usize) -> String {
        let mut out = format!("{}: {} ({})\n", row.id, row.title, row.file);
        let config = wrap(&row.config.to_string(), width.saturating_sub(10));
        let _ = writeln!(out, "  config  {}", config.join("\n          "));
        let mut columns = Vec::new();
        for (kind, outcome) in ORDER.iter().filter_map(|kind| Some((*kind, row.outcomes.get(kind)?))) {
            let _ = writeln!(out, "  {:7} {}", kind.name(), outcome.verdict.name());
            for note in &outcome.notes {
                let _ = writeln!(out, "          {}", wrap(note, width.saturating_sub(10)).join("\n          "));
            }
            let tells_details = kind != TargetKind::Gateway;
            columns.extend(outcome.fields.as_ref().map(|fields| Column { name: kind.name(), fields, tells_details }));
        }
        if row.outcomes.get(&TargetKind::Envoy).is_none_or(|outcome| outcome.fields.is_none()) {
            let recorded = self.golden.get(&row.id);
            columns.extend(recorded.map(|fields| Column { name: "recorded", fields, tells_details: true }));
        }
        out.push('\n');
        if width < NARROW {
            stacked(&columns, width, &mut out);
        } else {
            side_by_side(&columns, width, &mut out);
        }
        out
    }
}

fn names<'a>(columns: &[Column<'a>]) -> BTreeSet<&'a str> {
    columns.iter().flat_map(|column| column.fields.keys().map(String::as_str)).collect()
}

/// A star when the columns that tell of the field do not agree.
fn mark(columns: &[Column<'_>], field: &str) -> char {
    let tell = columns.iter().filter(|column| field != "details" || column.tells_details);
    let values: BTreeSet<&str> = tell.map(|column| column.value(field)).collect();
    if values.len() > 1 { '*' } else { ' ' }
}

fn side_by_side(columns: &[Column<'_>], width: usize, out: &mut String) {
    let each = (width - NAMES - 2) / columns.len().max(1);
    let mut line = |mark: char, cells: Vec<Vec<String>>| {
        for nth in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut text = String::from(if nth == 0 { mark } else { ' ' });
            text.push(' ');
            for (index, cell) in cells.iter().enumerate() {
                let part = cell.get(nth).map_or("", String::as_str);
                let space = if index == 0 { NAMES } else { each };
                let _ = write!(text, "{part:space$}");
            }
            let _ = writeln!(out, "{}", text.trim_end());
        }
    };
    let head = columns.iter().map(|column| vec![column.name.to_uppercase()]);
    line(' ', std::iter::once(Vec::new()).chain(head).collect());
    for field in names(columns) {
        let cells = columns.iter().map(|column| lines(field, column.value(field), each - 2));
        let name = wrap(field, NAMES - 2);
        line(mark(columns, field), std::iter::once(name).chain(cells).collect());
    }
}

fn stacked(columns: &[Column<'_>], width: usize, out: &mut String) {
    let names = names(columns);
    for column in columns {
        let _ = writeln!(out, "  {}", column.name.to_uppercase());
        for field in &names {
            let text = lines(field, column.value(field), width.saturating_sub(6)).join("\n      ");
            let _ = writeln!(out, "{} {field}\n      {text}", mark(columns, field));
        }
    }
}

/// A value in lines; of the messages that the processor saw one in each.
fn lines(field: &str, value: &str, width: usize) -> Vec<String> {
    if field != "processor" {
        return wrap(value, width);
    }
    let mut quoted = false;
    let messages = value.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    messages.flat_map(|message| wrap(message.trim(), width)).collect()
}

/// Breaks at spaces, and words that are longer than a line wherever they must.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut all = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + rest.len() > width {
            all.push(String::new());
            used = 0;
        }
        while let Some(line) = all.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            let part: Vec<char> = rest.drain(..rest.len().min(width - used)).collect();
            used += part.len();
            line.extend(part);
            if rest.is_empty() {
                break;
            }
            all.push(String::new());
            used = 0;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, Verdict};

    fn report() -> Report {
        let fields = |status: &str, details: Option<&str>| {
            let mut fields = FieldMap::new();
            fields.insert("client.status".to_owned(), status.to_owned());
            fields.insert("processor".to_owned(), r#"request_headers, request_body "a, b" end"#.to_owned());
            fields.extend(details.map(|details| ("details".to_owned(), details.to_owned())));
            Some(fields)
        };
        let outcome = |verdict, fields| Outcome { verdict, notes: Vec::new(), fields };
        let divergent = Outcome { notes: vec!["Envoy loses a byte.".to_owned()], ..outcome(Verdict::Divergent, None) };
        let row = Row {
            id: "ENV-1".to_owned(),
            title: "t".to_owned(),
            file: "f.yaml".to_owned(),
            config: serde_json::json!({ "failure_mode_allow": true }),
            outcomes: [
                (TargetKind::Envoy, outcome(Verdict::Equal, fields("200", Some("d")))),
                (TargetKind::Core, Outcome { fields: fields("500", Some("d")), ..divergent }),
                (TargetKind::Gateway, outcome(Verdict::Equal, fields("200", None))),
            ]
            .into(),
        };
        Report::new(vec![row])
    }

    #[test]
    fn in_columns() {
        let text = report().explain(120);
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        insta::assert_snapshot!(text, @r#"
        ENV-1: t (f.yaml)
          config  {"failure_mode_allow":true}
          core    divergent
                  Envoy loses a byte.
          gateway equal
          envoy   equal

                                            CORE                        GATEWAY                     ENVOY
        * client.status                     500                         200                         200
          details                           d                           not told                    d
          processor                         request_headers             request_headers             request_headers
                                            request_body "a, b" end     request_body "a, b" end     request_body "a, b" end
        "#);
    }

    #[test]
    fn below_each_other() {
        let text = report().explain(60);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        insta::assert_snapshot!(text, @r#"
        ENV-1: t (f.yaml)
          config  {"failure_mode_allow":true}
          core    divergent
                  Envoy loses a byte.
          gateway equal
          envoy   equal

          CORE
        * client.status
              500
          details
              d
          processor
              request_headers
              request_body "a, b" end
          GATEWAY
        * client.status
              200
          details
              not told
          processor
              request_headers
              request_body "a, b" end
          ENVOY
        * client.status
              200
          details
              d
          processor
              request_headers
              request_body "a, b" end
        "#);
    }

    #[test]
    fn words_longer_than_a_line_are_broken() {
        assert_eq!(wrap("a bcdefghijkl mn", 8), ["a", "bcdefghi", "jkl mn"]);
        assert_eq!(wrap("", 8), [""]);
    }
}
