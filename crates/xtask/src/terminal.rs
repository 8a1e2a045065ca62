//! What the commands show. The only module that prints, so that the rest stays testable.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool prints"
)]

use anyhow::Result;

/// Prints one line on standard output.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Prints one line on standard error.
pub(crate) fn complain(line: &str) {
    eprintln!("{line}");
}

/// Prints the outcome of one check under its name, and says whether it passed.
pub(crate) fn report(name: &str, outcome: Result<Vec<String>>) -> bool {
    let problems = outcome.unwrap_or_else(|error| vec![format!("could not run: {error:#}")]);
    if problems.is_empty() {
        say(&format!("{name}: ok"));
        return true;
    }
    for problem in &problems {
        say(&format!("{name}: {problem}"));
    }
    say(&format!("{name}: FAILED, {} to fix", problems.len()));
    false
}
