//! The hard limit on the length of a file, and the list of exceptions that may only shrink.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace::TextFile;

/// Lines that no source file may exceed, its tests and blank lines included.
const HARD_LIMIT_LINES: usize = 800;

/// The list of exceptions.
pub(crate) const EXCEPTIONS: &str = "crates/xtask/tidy-exceptions.toml";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(default)]
    size: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    path: String,
    lines: usize,
}

/// Files that are too long, and exceptions that are not needed or not kept.
///
/// # Errors
/// The list of exceptions cannot be read.
pub(crate) fn problems(files: &[TextFile], exceptions: &str) -> Result<Vec<String>> {
    let list: Exceptions = toml::from_str(exceptions)
        .with_context(|| format!("{EXCEPTIONS} is not what it should be"))?;
    let lengths: BTreeMap<&str, usize> = files
        .iter()
        .map(|file| (file.path.as_str(), file.text.lines().count()))
        .collect();
    let mut limits: BTreeMap<&str, usize> = BTreeMap::new();
    let mut problems = Vec::new();
    for Exception { path, lines } in &list.size {
        limits.insert(path, *lines);
        match lengths.get(path.as_str()) {
            Some(length) if *length > HARD_LIMIT_LINES => {}
            _ => problems.push(format!(
                "{EXCEPTIONS}: {path} is not needed any more, remove it"
            )),
        }
    }
    for (path, length) in lengths {
        let limit = limits
            .get(path)
            .copied()
            .unwrap_or(HARD_LIMIT_LINES)
            .max(HARD_LIMIT_LINES);
        if length > limit {
            problems.push(format!(
                "{path}: {length} lines, {limit} is the limit; split it"
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    //! Files at and above the limit, with and without an exception.

    use super::*;

    fn count(lines: usize, exceptions: &str) -> usize {
        let file = TextFile {
            path: "a.rs".to_owned(),
            text: "x\n".repeat(lines),
        };
        problems(&[file], exceptions).unwrap().len()
    }

    #[test]
    fn the_limit_is_inclusive() {
        assert_eq!(count(800, ""), 0);
        assert_eq!(count(801, ""), 1);
    }

    #[test]
    fn an_exception_has_a_limit_of_its_own_and_goes_when_not_needed() {
        let exception = "[[size]]\npath = \"a.rs\"\nlines = 900";
        assert_eq!(count(900, exception), 0);
        assert_eq!(count(901, exception), 1);
        assert_eq!(count(800, exception), 1);
        assert_eq!(count(10, "[[size]]\npath = \"gone.rs\"\nlines = 900"), 1);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(problems(&[], "[[size]]\npath = \"a\"\nlines = 1\nwhy = \"x\"").is_err());
    }
}
