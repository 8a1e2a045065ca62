//! The statements of each stream's table: built once, so that preparing finds them in the cache.
//!
//! A row per message, by sequence: appends go to the end of the b-tree, and a page of the stream is a range
//! of it. The index on the subject ends in the sequence, so that loading a subject is one range too.

use std::collections::HashMap;

use hearth_kernel::Service;
use hearth_ports::{Family, StoreError, Stream};
use rusqlite::Connection;

/// The families that have a table per service. Frames have files of their own.
const FAMILIES: [Family; 4] = [Family::Evt, Family::Rec, Family::Int, Family::State];

/// The table of one stream.
pub(super) struct Table {
    pub(super) stream: Stream,
    pub(super) create: String,
    pub(super) insert: String,
    pub(super) last_sequence: String,
    pub(super) load: String,
    pub(super) last: String,
    pub(super) page: String,
    pub(super) newest: String,
    pub(super) delete_at: String,
    pub(super) delete_subject: String,
    pub(super) purge_all: String,
    pub(super) purge_but_last: String,
    pub(super) trim_some: String,
}

impl Table {
    fn new(stream: Stream) -> Self {
        let t = stream.name().to_ascii_lowercase();
        Self {
            stream,
            create: format!(
                "CREATE TABLE IF NOT EXISTS {t}(seq INTEGER PRIMARY KEY, subject TEXT NOT NULL, \
                 at INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT; \
                 CREATE INDEX IF NOT EXISTS {t}_subject ON {t}(subject);"
            ),
            insert: format!("INSERT INTO {t}(seq, subject, at, bytes) VALUES (?1, ?2, ?3, ?4)"),
            last_sequence: format!(
                "SELECT seq FROM {t} WHERE subject = ?1 ORDER BY seq DESC LIMIT 1"
            ),
            load: format!(
                "SELECT seq, at, bytes FROM {t} WHERE subject = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
            ),
            last: format!(
                "SELECT seq, at, bytes FROM {t} WHERE subject = ?1 ORDER BY seq DESC LIMIT 1"
            ),
            page: format!(
                "SELECT seq, at, bytes, subject FROM {t} WHERE seq > ?1 ORDER BY seq LIMIT ?2"
            ),
            newest: format!("SELECT seq, at, bytes, subject FROM {t} ORDER BY seq DESC LIMIT 1"),
            delete_at: format!("DELETE FROM {t} WHERE seq = ?1"),
            delete_subject: format!("DELETE FROM {t} WHERE subject = ?1"),
            purge_all: format!("DELETE FROM {t} WHERE subject = ?1 AND seq <= ?2"),
            purge_but_last: format!(
                "DELETE FROM {t} WHERE subject = ?1 AND seq <= ?2 \
                 AND seq < (SELECT max(seq) FROM {t} WHERE subject = ?1)"
            ),
            trim_some: format!(
                "DELETE FROM {t} WHERE seq IN \
                 (SELECT seq FROM {t} WHERE seq < ?1 ORDER BY seq LIMIT ?2)"
            ),
        }
    }
}

/// The tables of all streams but the frames.
pub(super) struct Tables(HashMap<Stream, Table>);

impl Tables {
    pub(super) fn new() -> Self {
        Self(
            streams()
                .map(|stream| (stream, Table::new(stream)))
                .collect(),
        )
    }

    /// The stream's table.
    ///
    /// # Errors
    /// `Terminal` when there is no such stream.
    pub(super) fn of(&self, stream: Stream) -> Result<&Table, StoreError> {
        self.0
            .get(&stream)
            .ok_or_else(|| StoreError::terminal("there is no such stream"))
    }

    /// Makes those that are not there: all at first, later those of services that are new.
    pub(super) fn create(&self, conn: &Connection) -> rusqlite::Result<()> {
        let there: usize = conn.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'index'",
            [],
            |row| {
                row.get::<_, i64>(0)
                    .map(|n| usize::try_from(n).unwrap_or(0))
            },
        )?;
        if there >= self.0.len() {
            return Ok(());
        }
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for table in self.0.values() {
            conn.execute_batch(&table.create)?;
        }
        conn.execute_batch("COMMIT")
    }
}

/// Every stream that has a table.
pub(super) fn streams() -> impl Iterator<Item = Stream> {
    FAMILIES
        .into_iter()
        .flat_map(|family| Service::ALL.map(|service| Stream::new(family, service)))
}
