//! Measurements of a whole installation, each beside a reference of the same run.

mod reference;
mod usage;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let _ = reference::fsyncs_per_second(folder.path())?;
    let _ = reference::row_store(folder.path(), 128)?;
    let _ = usage::resident_bytes(std::process::id());
    Ok(())
}
