//! The benches: a package of their own, run in release mode. Never a timed test.

use anyhow::Result;

use crate::terminal;
use crate::workspace::Workspace;

const PACKAGE: &str = "hearth-bench";

/// Runs the benches with the arguments given, and tells whether they ran to their end.
///
/// # Errors
/// cargo cannot be started.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<bool> {
    let exists = workspace
        .metadata()?
        .workspace_packages()
        .iter()
        .any(|it| it.name.as_str() == PACKAGE);
    if !exists {
        terminal::complain(&format!(
            "bench: there is no package {PACKAGE} in this workspace"
        ));
        return Ok(false);
    }
    let mut command = workspace.command("cargo");
    command
        .args(["run", "--release", "--locked", "--package", PACKAGE, "--"])
        .args(arguments);
    Ok(command.status()?.success())
}
