//! The files of the telemetry stream: their names, how they begin, how they go.

use std::path::{Path, PathBuf};

use hearth_kernel::Day;
use rusqlite::{Connection, OptionalExtension};

use crate::database::{DatabaseError, Shape, open_writer, sync_folder};

/// Pages of 16 KiB: a frame of the usual size is two of them, and a small one does not cost 64 KiB of WAL.
pub(super) const SHAPE: Shape = Shape {
    name: "frame-writer",
    format: 1,
    page_bytes: 16 << 10,
    writer_kib: 2 << 10,
    reader_kib: 512,
    readers: 3,
    gives_back: false,
    schema: "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
             CREATE TABLE frames(seq INTEGER PRIMARY KEY, shard TEXT NOT NULL, \
             at INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;",
};

/// A file that holds the frames of one day.
#[derive(Clone, Debug)]
pub(super) struct DayFile {
    pub(super) day: Day,
    pub(super) path: PathBuf,
    /// Its last sequence, or the one before it when it is empty. Of the newest: as of when it was opened.
    pub(super) last: i64,
}

/// A file that was opened for writing.
pub(super) struct OpenedDay {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    pub(super) last: i64,
    pub(super) at: i64,
    pub(super) low: i64,
}

fn path_of(folder: &Path, day: Day) -> PathBuf {
    folder.join(format!("tel-{}.db", day.number()))
}

/// The days there are files of, in order. What a crash left beside them is cleared away.
pub(super) fn found(folder: &Path) -> Result<Vec<Day>, DatabaseError> {
    let mut days = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(DatabaseError::file(folder))?;
    for entry in entries {
        let path = entry.map_err(DatabaseError::file(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(rest) = name.and_then(|name| name.strip_prefix("tel-")) else {
            continue;
        };
        if let Some(day) = rest.strip_suffix(".db").and_then(|day| day.parse().ok()) {
            days.push(Day::from_number(day));
        } else if let Some(day) = rest
            .strip_suffix(".db-wal")
            .or_else(|| rest.strip_suffix(".db-shm"))
            && !folder.join(format!("tel-{day}.db")).exists()
        {
            // Its file was unlinked before it: there is nothing it could belong to.
            std::fs::remove_file(&path).map_err(DatabaseError::file(&path))?;
        }
    }
    days.sort();
    Ok(days)
}

/// Opens or makes the file of a day. `head` and `low` are what the files before it say.
pub(super) fn open_day(
    folder: &Path,
    day: Day,
    head: i64,
    low: i64,
) -> Result<OpenedDay, DatabaseError> {
    let path = path_of(folder, day);
    let conn = open_writer(&path, &SHAPE)?;
    let sqlite = |error| DatabaseError::sqlite(&path)(error);
    if meta(&conn, "base").map_err(sqlite)?.is_none() {
        // New, or made just before a crash: the base is written before any frame.
        set_meta(&conn, "low", low).map_err(sqlite)?;
        set_meta(&conn, "base", head).map_err(sqlite)?;
    }
    let base = meta(&conn, "base").map_err(sqlite)?.unwrap_or(head);
    let low = meta(&conn, "low").map_err(sqlite)?.unwrap_or(low);
    let newest: Option<(i64, i64)> = conn
        .query_row(
            "SELECT seq, at FROM frames ORDER BY seq DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(sqlite)?;
    let empty = (base, day.start().micros());
    let (last, at) = newest.unwrap_or(empty);
    Ok(OpenedDay {
        conn,
        path,
        last: last.max(base),
        at,
        low,
    })
}

/// Removes a file and what SQLite keeps beside it; the file first, since the others mean nothing without it.
pub(super) fn unlink(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    path.parent().map_or(Ok(()), sync_folder)
}

pub(super) fn meta(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    conn.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
        row.get(0)
    })
    .optional()
}

pub(super) fn set_meta(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta(name, value) VALUES (?1, ?2) \
               ON CONFLICT(name) DO UPDATE SET value = excluded.value";
    conn.execute(sql, (name, value)).map(|_| ())
}
