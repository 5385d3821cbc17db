//! What can be wrong with the file of a chain.

use std::fmt;

use serde_saphyr::{DefaultMessageFormatter, Location, MessageFormatter as _};

/// Everything that is wrong with the file of a chain, printed as `file:line:column: message`, one in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainErrors {
    file: String,
    problems: Vec<ChainProblem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainProblem {
    /// Line and column, from 1; none when it is not about a place.
    pub place: Option<(u64, u64)>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl ChainErrors {
    /// The problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[ChainProblem] {
        &self.problems
    }

    pub(super) fn new(file: &str, problems: Vec<(Option<(u64, u64)>, String)>) -> Self {
        let problems = problems.into_iter().map(|(place, message)| ChainProblem { place, message }).collect();
        Self { file: file.to_owned(), problems }
    }
}

impl fmt::Display for ChainErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ChainProblem { place, message }) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            match place {
                Some((line, column)) => write!(f, "{end}{}:{line}:{column}: {message}", self.file)?,
                None => write!(f, "{end}{}: {message}", self.file)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ChainErrors {}

pub(super) fn place(location: Location) -> Option<(u64, u64)> {
    (location != Location::UNKNOWN).then(|| (location.line(), location.column()))
}

/// The problem behind an error of the YAML reader.
pub(super) fn problem(error: &serde_saphyr::Error) -> (Option<(u64, u64)>, String) {
    let error = error.without_snippet();
    let message = match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            match nearest(field, expected.iter().copied()) {
                Some(near) => format!("unknown key `{field}`; did you mean `{near}`?"),
                None => format!("unknown key `{field}`; known here: {}", expected.join(", ")),
            }
        }
        serde_saphyr::Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        serde_saphyr::Error::Unexpected { expected: "sequence start", .. } => "expected a list".to_owned(),
        serde_saphyr::Error::Unexpected { expected: "mapping start", .. } => "expected keys and values".to_owned(),
        other => DefaultMessageFormatter.format_message(other).into_owned(),
    };
    (error.location().and_then(place), message)
}

/// The candidate that a misspelt word most likely means.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |it: &str| it.to_lowercase().replace(['_', '-'], "");
    let word = plain(word);
    let scored = candidates.into_iter().map(|it| (strsim::jaro_winkler(&word, &plain(it)), it));
    // 0.8 finds slips of a letter or two in words of usual length, and not what merely sounds alike.
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, it)| it)
}
