//! Text for people: styles, aligned tables, header lists with what changed.

use std::fmt::{self, Write as _};
use std::io::Write as _;

pub(crate) use clap::builder::styling::{AnsiColor, Style};

/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Added, or as expected.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Changed.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Removed, or wrong.
pub(crate) const RED: Style = AnsiColor::Red.on_default();

/// Writes to stdout, without colours when it is no terminal. That nobody reads any more is no failure of the command.
pub(crate) fn print(text: impl fmt::Display) {
    let mut out = anstream::stdout().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// As [`print()`], with a line end.
pub(crate) fn println(text: impl fmt::Display) {
    print(format_args!("{text}\n"));
}

/// Rows of cells; a cell has lines. Columns are as wide as their widest line, the last one is not padded.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Vec<String>>>,
}

impl Table {
    pub(crate) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// One vector of lines for each column.
    pub(crate) fn row(&mut self, cells: Vec<Vec<String>>) {
        self.rows.push(cells);
    }

    pub(crate) fn render(&self, indent: &str) -> String {
        let widths: Vec<usize> = (0..self.heading.len()).map(|column| self.width(column)).collect();
        let mut out = String::new();
        let heading: Vec<&str> = self.heading.clone();
        push_line(&mut out, indent, &heading, &widths, DIM);
        for row in &self.rows {
            for line in 0..row.iter().map(Vec::len).max().unwrap_or_default() {
                let cells: Vec<&str> = row.iter().map(|cell| cell.get(line).map_or("", String::as_str)).collect();
                push_line(&mut out, indent, &cells, &widths, Style::new());
            }
        }
        out
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).flatten();
        let widest = cells.map(|line| line.chars().count()).max().unwrap_or_default();
        widest.max(self.heading[column].len())
    }
}

fn push_line(out: &mut String, indent: &str, cells: &[&str], widths: &[usize], style: Style) {
    let mut line = indent.to_owned();
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a String cannot fail.
        let _ = write!(line, "{cell:width$}  ");
    }
    let _ = writeln!(out, "{style}{}{style:#}", line.trim_end());
}

/// Names and values in order.
pub(crate) type Fields = Vec<(String, String)>;

/// What happened to one header between two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Same,
    Added,
    Changed,
    Removed,
}

/// A header of the later list, or one that it no longer has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) change: Change,
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Line {
    pub(crate) const fn mark(&self) -> char {
        match self.change {
            Change::Same => ' ',
            Change::Added => '+',
            Change::Changed => '~',
            Change::Removed => '-',
        }
    }

    pub(crate) const fn style(&self) -> Style {
        match self.change {
            Change::Same => Style::new(),
            Change::Added => GREEN,
            Change::Changed => YELLOW,
            Change::Removed => RED,
        }
    }
}

/// The later list in its order, then what is gone.
pub(crate) fn changes(before: &Fields, after: &Fields) -> Vec<Line> {
    let mut rest: Vec<&(String, String)> = before.iter().collect();
    let mut lines: Vec<Line> = Vec::with_capacity(after.len());
    for field in after {
        let same = rest.iter().position(|other| *other == field);
        if let Some(index) = same {
            rest.remove(index);
        }
        let change = if same.is_some() { Change::Same } else { Change::Added };
        lines.push(Line { change, name: field.0.clone(), value: field.1.clone() });
    }
    for line in lines.iter_mut().filter(|line| line.change == Change::Added) {
        if let Some(index) = rest.iter().position(|(name, _)| *name == line.name) {
            rest.remove(index);
            line.change = Change::Changed;
        }
    }
    let gone = rest.into_iter().cloned().map(|(name, value)| Line { change: Change::Removed, name, value });
    lines.extend(gone);
    lines
}

/// Bytes as a line of text: what is not printable is escaped, what is long is cut.
pub(crate) fn preview(bytes: &[u8]) -> String {
    cut(bytes, 300)
}

/// As [`preview`], cut at a length.
pub(crate) fn cut(bytes: &[u8], limit: usize) -> String {
    let mut text: String = match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().take(limit).flat_map(printable).collect(),
        Err(_) => bytes.iter().take(limit).copied().flat_map(std::ascii::escape_default).map(char::from).collect(),
    };
    if bytes.len() > limit {
        let _ = write!(text, "... ({} bytes)", bytes.len());
    }
    text
}

fn printable(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(entries: &[(&str, &str)]) -> Fields {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn changes_between_two_lists() {
        let before = fields(&[("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")]);
        let after = fields(&[("d", "1"), ("b", "2"), ("a", "9"), ("b", "3")]);
        let lines: Vec<String> = changes(&before, &after)
            .iter()
            .map(|line| format!("{}{}={}", line.mark(), line.name, line.value))
            .collect();
        assert_eq!(lines, ["+d=1", " b=2", "~a=9", "~b=3", "-c=1"]);
        assert!(changes(&before, &before).iter().all(|line| line.change == Change::Same));
    }

    #[test]
    fn tables_align() {
        let mut table = Table::new(&["a", "long", "z"]);
        table.row(vec![vec!["x1".into()], vec!["y".into(), "more lines".into()], vec!["end".into()]]);
        let text = anstream::adapter::strip_str(&table.render("  ")).to_string();
        assert_eq!(text, "  a   long        z\n  x1  y           end\n      more lines\n");
    }

    #[test]
    fn previews() {
        assert_eq!(preview("h\u{e9}\n\u{1b}[".as_bytes()), "h\u{e9}\\n\\u{1b}[");
        assert_eq!(preview(b"\xff\x00a"), "\\xff\\x00a");
        assert_eq!(preview(&[b'a'; 400]).len(), 300 + "... (400 bytes)".len());
    }
}
