//! All tests, streamed through and counted, with the suites that could not run named at the end.
//!
//! First what needs no other server; then the suites on real servers, which are fetched where they are missing. A suite
//! that needs something this machine lacks is left out by name, never by a test that returns early: what did not run
//! must not count as passed.

mod served;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::{Context, Result};

pub(crate) use self::served::problems;
use self::served::{Fetched, SERVED, Served};
use crate::terminal;
use crate::workspace::Workspace;

/// A suite that no machine runs by itself.
struct Suite {
    name: &'static str,
    /// What it needs.
    needs: &'static str,
    /// How to get that, and how to run the suite then.
    how: &'static str,
}

/// Suites that are run by hand. A row here is a promise: it names a suite that exists.
const BY_HAND: &[Suite] = &[Suite {
    name: "fuzz, guided by coverage",
    needs: "a nightly toolchain with cargo-fuzz",
    how: "`cargo install cargo-fuzz`, then `cargo +nightly fuzz run <target>`; \
          the targets themselves ran above, on mutations from a seed",
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
    let everything = ["--workspace", "--no-fail-fast"].map(str::to_owned);
    let mut passed = one(workspace, &everything, arguments, &mut count)?;
    // What chooses targets chooses among those above; what the test programs are told holds for these too.
    let told = arguments.iter().position(|it| it == "--");
    let told = told.map_or(&[][..], |at| &arguments[at..]);
    let mut fetched = Fetched::default();
    let mut skipped = Vec::new();
    for suite in SERVED {
        if let Some(why) = fetched.lacks(suite) {
            skipped.push((suite, why));
            continue;
        }
        terminal::say(&format!("suite: {}", suite.name()));
        let chosen = ["--package", suite.package, "--test", suite.target].map(str::to_owned);
        passed &= one(workspace, &chosen, told, &mut count)?;
    }
    passed &= name_skipped(&skipped, strict, &mut count);
    let Count {
        passed: good,
        failed,
        skipped,
    } = count;
    terminal::say(&format!(
        "{good} passed, {failed} failed, {skipped} skipped"
    ));
    Ok(passed)
}

/// Names the suites that did not run. Answers whether that may be.
fn name_skipped(skipped: &[(&Served, String)], strict: bool, count: &mut Count) -> bool {
    let mut may_be = true;
    for (suite, why) in skipped {
        terminal::say(&format!("skipped: {}: {why}", suite.name()));
        if strict && suite.required {
            let name = suite.name();
            terminal::say(&format!("test: FAILED, {name} must not be skipped in CI"));
            may_be = false;
        }
        count.skipped += 1;
    }
    for Suite { name, needs, how } in BY_HAND {
        terminal::say(&format!("skipped: {name}: needs {needs} ({how})"));
        count.skipped += 1;
    }
    may_be
}

/// One run of cargo test.
fn one(
    workspace: &Workspace,
    chosen: &[String],
    arguments: &[String],
    count: &mut Count,
) -> Result<bool> {
    let failed_before = count.failed;
    let ran = stream(workspace, chosen, arguments, count)?;
    if !ran && count.failed == failed_before {
        // It did not build, or a test program was killed before it could count.
        terminal::say("test: FAILED outside of a test, see above");
        count.failed += 1;
    }
    Ok(ran)
}

/// Runs cargo test, shows its output as it comes, and counts.
fn stream(
    workspace: &Workspace,
    chosen: &[String],
    arguments: &[String],
    count: &mut Count,
) -> Result<bool> {
    let mut child = workspace
        .command("cargo")
        .args(["test", "--locked"])
        .args(chosen)
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
    fn a_skipped_suite_counts_and_fails_where_it_is_required() {
        let mut count = Count::default();
        let skipped = [(&SERVED[0], "no network".to_owned())];
        assert!(name_skipped(&skipped, false, &mut count));
        assert!(!name_skipped(&skipped, true, &mut count));
        assert!(
            name_skipped(&[], true, &mut count),
            "what is run by hand may be"
        );
        assert_eq!(count.skipped, 5);
    }
}
