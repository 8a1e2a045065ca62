//! Measurements of a whole installation, each beside a reference of the same run: `cargo xtask bench`.
//!
//! `cargo xtask bench` measures everything, `cargo xtask bench storage` bytes on disk and queries alone, and
//! `cargo xtask bench sustained` minutes of ingest at full speed.
//!
//! Client and server share this process, its two cores and its CPU figures; the CPU of a reading is that of both.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

mod breakdown;
mod commands;
mod idle;
mod ingest;
mod reference;
mod report;
mod storage;
mod sustained;
mod usage;

use anyhow::Result;
use report::Report;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(idle::ARGUMENT) {
        return idle::serve();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut report = Report::default();
    match std::env::args().nth(1).as_deref() {
        Some("storage") => runtime.block_on(Box::pin(storage::measure(&mut report)))?,
        Some("sustained") => sustained(&runtime, &mut report)?,
        Some(other) => {
            anyhow::bail!("no bench of its own for {other}: there are storage and sustained")
        }
        None => everything(&runtime, &mut report)?,
    }
    println!("{report}");
    Ok(())
}

fn everything(runtime: &tokio::runtime::Runtime, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fsyncs = reference::fsyncs_per_second(folder.path())?;
    report.line(
        "fsync of 4 KiB, one after the other",
        format!("{fsyncs:.0} /s"),
        "reference",
    );
    for batch in [1, 16, 128] {
        let rows = reference::row_store(folder.path(), batch)?;
        report.line(
            &format!("row-per-reading SQLite, {batch} a transaction"),
            format!("{:.0} rows/s", rows.rows_per_second),
            &format!(
                "{:.0} ns CPU and {:.1} B a row",
                rows.cpu_nanos_per_row, rows.bytes_per_row
            ),
        );
        runtime.block_on(Box::pin(ingest::measure(batch, rows, report)))?;
        std::fs::remove_file(folder.path().join("rows.db"))?;
    }
    sustained(runtime, report)?;
    runtime.block_on(Box::pin(storage::measure(report)))?;
    runtime.block_on(Box::pin(commands::measure(fsyncs, report)))?;
    idle::measure(report)?;
    Ok(())
}

fn sustained(runtime: &tokio::runtime::Runtime, report: &mut Report) -> Result<()> {
    for batch in [1, 16, 128] {
        runtime.block_on(Box::pin(sustained::measure(batch, report)))?;
    }
    Ok(())
}
