//! What can be wrong with a configuration, and how it is told.

use std::fmt;

use serde_saphyr::{DefaultMessageFormatter, MessageFormatter as _};

use super::at::Position;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong and what to do.
    pub message: String,
    /// Where; none for values made by a program.
    pub position: Option<Position>,
}

/// Everything that is wrong with a part of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, position: Option<Position>, message: impl Into<String>) {
        let problem = Problem { message: message.into(), position };
        // What is inherited by many rules is wrong once.
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        for Problem { message, position } in other.0 {
            self.push(position, message);
        }
    }

    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { message, position }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            f.write_str(separator)?;
            if let Some(Position { line, column }) = position {
                write!(f, "{line}:{column}: ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{file}: cannot be read")]
    Read {
        /// Its path.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file can be read but not used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
}

/// Everything that is wrong with a configuration, with the lines concerned. Printed as `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    problems: Vec<(Problem, Option<String>)>,
}

impl ConfigErrors {
    /// Sorted as in the file; `text` is its content.
    pub(super) fn new(file: &str, text: &str, problems: Problems) -> Self {
        let mut problems = problems.0;
        problems.sort_by_key(|it| it.position);
        let line = |problem: &Problem| {
            let number = usize::try_from(problem.position?.line).ok()?.checked_sub(1)?;
            text.lines().nth(number).map(|it| it.trim_end().to_owned())
        };
        let problems = problems.into_iter().map(|it| (it.clone(), line(&it))).collect();
        Self { file: file.to_owned(), problems }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().map(|(problem, _)| problem)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (problem, text)) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let Some(Position { line, column }) = problem.position else {
                write!(f, "{}: {}", self.file, problem.message)?;
                continue;
            };
            write!(f, "{}:{line}:{column}: {}", self.file, problem.message)?;
            if let Some(text) = text {
                let number = line.to_string();
                let margin = " ".repeat(number.len());
                // Tabs stay, so that the mark stands below what it marks.
                let before = text.chars().take(usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1));
                let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                write!(f, "\n{number} | {text}\n{margin} | {indent}^")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The problem behind an error of the YAML reader.
pub(super) fn problem(error: &serde_saphyr::Error) -> Problem {
    let error = error.without_snippet();
    let message = match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected),
        serde_saphyr::Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        serde_saphyr::Error::Unexpected { expected: "sequence start", .. } => "expected a list".to_owned(),
        serde_saphyr::Error::Unexpected { expected: "mapping start", .. } => "expected keys and values".to_owned(),
        other => DefaultMessageFormatter.format_message(other).into_owned(),
    };
    Problem { message, position: error.location().and_then(Position::of) }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    // Every key is known in snake_case; its camelCase form is an alias that needs no mention.
    let known: Vec<&str> = known.iter().copied().filter(|it| !it.contains(char::is_uppercase)).collect();
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
        None => format!("unknown key `{key}`; known here: {}", known.join(", ")),
    }
}

/// The candidate that a misspelt word most likely means.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |it: &str| it.to_lowercase().replace(['_', '-'], "");
    let word = plain(word);
    let scored = candidates.into_iter().map(|it| (strsim::jaro_winkler(&word, &plain(it)), it));
    // 0.8 finds slips of a letter or two in words of usual length, and not what merely sounds alike.
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, it)| it)
}
