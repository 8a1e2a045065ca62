//! Everything that is checked without running a test, cheapest first, each reported by name.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{deny, inventory, layers, proto, terminal, tidy};

/// Runs all checks, whatever the earlier ones say, and tells whether all passed.
///
/// # Errors
/// cargo cannot be started.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let outcomes = [
        (
            "fmt",
            cargo(workspace, "fmt", &["fmt", "--all", "--", "--check"])?,
        ),
        (
            "layers",
            terminal::report("layers", layers::problems(workspace)),
        ),
        ("deny", terminal::report("deny", deny::problems(workspace))),
        ("tidy", terminal::report("tidy", tidy::problems(workspace))),
        (
            "proto",
            terminal::report("proto", proto::problems(workspace)),
        ),
        (
            "generated",
            terminal::report("generated", inventory::stale(workspace)),
        ),
        (
            "clippy",
            cargo(
                workspace,
                "clippy",
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--locked",
                    "--quiet",
                    "--",
                    "-Dwarnings",
                ],
            )?,
        ),
    ];
    let failed: Vec<&str> = outcomes.iter().filter(|it| !it.1).map(|it| it.0).collect();
    terminal::say(&if failed.is_empty() {
        "check: all passed".to_owned()
    } else {
        format!("check: FAILED: {}", failed.join(", "))
    });
    Ok(failed.is_empty())
}

/// A check that is a cargo command; its own output says what is wrong.
fn cargo(workspace: &Workspace, name: &str, arguments: &[&str]) -> Result<bool> {
    let passed = workspace
        .command("cargo")
        .args(arguments)
        .status()?
        .success();
    let outcome = if passed { "ok" } else { "FAILED, see above" };
    terminal::say(&format!("{name}: {outcome}"));
    Ok(passed)
}
