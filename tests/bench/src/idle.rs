//! Memory of an installation that has just started and does nothing: in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use hearth_testkit::Sandbox;

use crate::report::Report;
use crate::usage::resident_bytes;

/// What this program is told to be the idle process.
pub(crate) const ARGUMENT: &str = "idle";

/// Starts an installation, says so, and waits until stdin ends.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let sandbox = runtime.block_on(Box::pin(Sandbox::start()));
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().read_line(&mut String::new())?;
    drop(sandbox);
    Ok(())
}

/// Measures one.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    BufReader::new(stdout).read_line(&mut String::new())?;
    let resident = resident_bytes(child.id()).context("no /proc")?;
    child.kill()?;
    child.wait()?;
    let own = resident_bytes(std::process::id()).context("no /proc")?;
    report.line(
        "memory of an idle installation",
        format!(
            "{:.1} MB",
            f64::from(u32::try_from(resident / 1024)?) / 1024.0
        ),
        &format!(
            "{:.1} MB this bench",
            f64::from(u32::try_from(own / 1024)?) / 1024.0
        ),
    );
    Ok(())
}
