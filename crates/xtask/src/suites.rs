//! All tests, streamed through and counted, with the suites that could not run named at the end.
//!
//! A suite that needs something this machine lacks is left out by name, never by a test that returns early:
//! what did not run must not count as passed.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::terminal;
use crate::workspace::Workspace;

/// A suite that `cargo test` alone cannot run.
struct Suite {
    name: &'static str,
    /// The manifest of its package; a suite without one does not exist yet.
    manifest: &'static str,
    /// What it needs.
    needs: &'static str,
    /// How to get that, and how to run the suite then.
    how: &'static str,
    /// CI has what it needs, so that skipping it there is a failure.
    required: bool,
}

/// Suites outside of `cargo test --workspace`. A row here is a promise: it names a suite that exists.
const SUITES: &[Suite] = &[Suite {
    name: "fuzz",
    manifest: "fuzz/Cargo.toml",
    needs: "a nightly toolchain with cargo-fuzz",
    how: "`cargo install cargo-fuzz`, then `cargo +nightly fuzz run <target>`",
    required: false,
}];

/// How many tests did what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...` says.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        let numbers = rest.split_once(". ").map_or("", |it| it.1);
        for part in numbers.split(';') {
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Runs all tests and tells whether all passed, and none was skipped that must run.
///
/// # Errors
/// cargo cannot be started, or its output cannot be read.
pub(crate) fn run(workspace: &Workspace, strict: bool, arguments: &[String]) -> Result<bool> {
    let mut count = Count::default();
    let ran = stream(workspace, arguments, &mut count)?;
    if !ran && count.failed == 0 {
        // It did not build, or a test program was killed before it could count.
        terminal::say("test: FAILED outside of a test, see above");
        count.failed = 1;
    }
    let skipped: Vec<&Suite> = SUITES
        .iter()
        .filter(|it| workspace.path(it.manifest).exists())
        .collect();
    let mut refused = false;
    for suite in &skipped {
        let Suite {
            name,
            needs,
            how,
            required,
            ..
        } = suite;
        terminal::say(&format!("skipped: {name}: needs {needs} ({how})"));
        if strict && *required {
            terminal::say(&format!("test: FAILED, {name} must not be skipped in CI"));
            refused = true;
        }
        count.skipped += 1;
    }
    let Count {
        passed,
        failed,
        skipped,
    } = count;
    terminal::say(&format!(
        "{passed} passed, {failed} failed, {skipped} skipped"
    ));
    Ok(ran && !refused)
}

/// Runs cargo test, shows its output as it comes, and counts.
fn stream(workspace: &Workspace, arguments: &[String], count: &mut Count) -> Result<bool> {
    let mut child = workspace
        .command("cargo")
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut lines = BufReader::new(output);
    let mut shown = std::io::stdout();
    let mut line = Vec::new();
    loop {
        line.clear();
        // Bytes and not text: a test may print anything.
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        count.add(&String::from_utf8_lossy(&line));
        shown.write_all(&line)?;
        shown.flush()?;
    }
    Ok(child.wait()?.success())
}

#[cfg(test)]
mod tests {
    //! Lines as the test programs print them.

    use super::*;

    #[test]
    fn results_are_summed_and_other_lines_are_not() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s\n",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
            "test tests::prints ... ok",
            "said: test result: ok. 9 passed; 9 failed",
        ] {
            count.add(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 5,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn every_suite_says_what_it_needs() {
        for suite in SUITES {
            assert!(!suite.name.is_empty() && !suite.needs.is_empty() && !suite.how.is_empty());
        }
    }
}
