//! What the same machine does without Hearth, in the same run: the measures that figures are ratios of.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::{Connection, params};

use crate::usage::cpu_time;

/// How long each reference runs.
const RUN: Duration = Duration::from_secs(2);

/// Appends of 4 KiB, each synced, a second: what one writer can promise one after the other.
pub(crate) fn fsyncs_per_second(folder: &Path) -> Result<f64> {
    let path = folder.join("fsync");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    let block = [7; 4096];
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < RUN {
        file.write_all_at(&block, u64::from(count) * 4096)?;
        file.sync_data()?;
        count += 1;
    }
    std::fs::remove_file(path)?;
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// A store with a row for each reading: rows a second, and CPU nanoseconds and bytes for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowStore {
    /// Rows a second.
    pub(crate) rows_per_second: f64,
    /// CPU time for each row, nanoseconds.
    pub(crate) cpu_nanos_per_row: f64,
    /// Bytes on disk for each row.
    pub(crate) bytes_per_row: f64,
}

/// SQLite, `synchronous=FULL`, a row per reading keyed by (series, time), `batch` rows a transaction.
pub(crate) fn row_store(folder: &Path, batch: u32) -> Result<RowStore> {
    let path = folder.join("rows.db");
    let mut connection = Connection::open(&path)?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE reading (series INTEGER, at INTEGER, value REAL, PRIMARY KEY (series, at)) WITHOUT ROWID;",
    )?;
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut rows = 0_u32;
    while start.elapsed() < RUN {
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO reading VALUES (?, ?, ?)")?;
            for _ in 0..batch {
                let at = i64::from(rows / 60) * 60_000_000;
                insert.execute(params![rows % 60, at, f64::from(rows % 977) / 10.0])?;
                rows += 1;
            }
        }
        transaction.commit()?;
    }
    let (wall, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    let bytes = std::fs::metadata(&path)?.len();
    let rows = f64::from(rows);
    let nanos = cpu.as_secs_f64() * 1e9;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a file of a bench is far smaller than 2^52 bytes"
    )]
    let bytes = bytes as f64;
    Ok(RowStore {
        rows_per_second: rows / wall.as_secs_f64(),
        cpu_nanos_per_row: nanos / rows,
        bytes_per_row: bytes / rows,
    })
}
