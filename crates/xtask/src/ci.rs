//! What CI runs, in CI's order: check, then test, with the time of each.

use std::time::Instant;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{check, suites, terminal};

/// Runs all steps, whatever the earlier ones say, and tells whether all passed.
///
/// # Errors
/// A step cannot be started.
pub(crate) fn run(workspace: &Workspace, strict: bool) -> Result<bool> {
    let steps = [
        timed("check", || check::run(workspace))?,
        timed("test", || suites::run(workspace, strict, &[]))?,
    ];
    for step in &steps {
        terminal::say(&step.line);
    }
    Ok(steps.iter().all(|it| it.passed))
}

struct Step {
    passed: bool,
    line: String,
}

fn timed(name: &str, step: impl FnOnce() -> Result<bool>) -> Result<Step> {
    let start = now();
    let passed = step()?;
    let outcome = if passed { "ok" } else { "FAILED" };
    Ok(Step {
        passed,
        line: format!("ci: {name}: {outcome} in {} s", start.elapsed().as_secs()),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a step took is shown, and nothing depends on it"
)]
fn now() -> Instant {
    Instant::now()
}
