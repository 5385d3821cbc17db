//! Files that say what is expected.

use std::fmt;
use std::fs;
use std::path::Path;

use super::{Effective, Transcript};

/// The variable that writes golden files in place of comparing them.
const UPDATE: &str = "UPDATE_GOLDEN";

/// Compares a text with a file of the test's package.
///
/// With `UPDATE_GOLDEN=1` in the environment the file is written instead; look at the difference before it is kept.
///
/// # Panics
/// If they differ, or the file cannot be read: with the first line that differs, and how to update.
#[track_caller]
pub fn golden(path: impl AsRef<Path>, text: impl fmt::Display) {
    let update = std::env::var_os(UPDATE).is_some_and(|value| value == "1");
    if let Err(wrong) = compare(path.as_ref(), &text.to_string(), update) {
        panic!("{wrong}");
    }
}

impl Effective {
    /// Compares the exchange, printed without times, with a file. See [`golden`].
    ///
    /// # Panics
    /// As [`golden`].
    #[track_caller]
    pub fn golden(&self, path: impl AsRef<Path>) -> &Self {
        golden(path, self);
        self
    }
}

impl Transcript {
    /// Compares the [`lines`](Self::lines) with a file. See [`golden`].
    ///
    /// # Panics
    /// As [`golden`].
    #[track_caller]
    pub fn golden(&self, path: impl AsRef<Path>) {
        golden(path, self.lines().join("\n") + "\n");
    }
}

fn compare(path: &Path, text: &str, update: bool) -> Result<(), String> {
    let shown = path.display();
    if update {
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        return folder.and_then(|()| fs::write(path, text)).map_err(|error| format!("cannot write {shown}: {error}"));
    }
    let how = format!("run the test with {UPDATE}=1 to write it, and look at what changed");
    let expected = fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}; {how}"))?;
    if expected == text {
        return Ok(());
    }
    let same = expected.lines().zip(text.lines()).take_while(|(one, other)| one == other).count();
    let line = |text: &str| text.lines().nth(same).map_or_else(|| "(no line)".to_owned(), str::to_owned);
    let number = same + 1;
    Err(format!(
        "{shown} differs from line {number} on\nexpected: {}\nfound:    {}\nIf the new one is right, {how}.\n\n{text}",
        line(&expected),
        line(text)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_compared_and_differences_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/golden.txt");
        let missing = compare(&path, "a\nb\n", false).unwrap_err();
        assert!(missing.contains("cannot read") && missing.contains("UPDATE_GOLDEN=1"), "{missing}");
        compare(&path, "a\nb\n", true).unwrap();
        assert_eq!(compare(&path, "a\nb\n", false), Ok(()));
        for (text, expected) in [
            ("a\nc\n", "differs from line 2 on\nexpected: b\nfound:    c\n"),
            ("a\n", "differs from line 2 on\nexpected: b\nfound:    (no line)\n"),
            ("a\nb\nc\n", "differs from line 3 on\nexpected: (no line)\nfound:    c\n"),
        ] {
            let wrong = compare(&path, text, false).unwrap_err();
            assert!(wrong.contains(expected) && wrong.contains("UPDATE_GOLDEN=1"), "{wrong}");
        }
        let folder = compare(folder.path(), "x", true).unwrap_err();
        assert!(folder.contains("cannot write"), "{folder}");
    }
}
