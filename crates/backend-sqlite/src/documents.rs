//! Documents on SQLite: one table, ordered by (table, partition, key), where the greatest stamp wins.
//!
//! A delete leaves a tombstone with its stamp, so that an older put that arrives later stays deleted; a
//! dropped partition leaves one for all of it. Tombstones go 30 days after they were written, which is far
//! beyond the time any writer holds a put back. Leases live in the same file, see [`crate::SqliteLeases`].

mod rows;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::Timestamp;
use hearth_ports::{Clock, Document, Documents, Range, StoreError, Table};
use rusqlite::{Connection, OptionalExtension};

use crate::database::{Database, DatabaseError, Primary, Shape, atomically};
use crate::failure::failed;
use rows::{Write, known_table, next_partitions, select, sweep, table_id};

/// The greatest key or partition key. A greater one is `Terminal`.
pub const MAX_KEY_BYTES: usize = 1 << 10;
/// The greatest value. A greater one is `Terminal`.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most documents that one range gives. A greater limit, and none, is `Terminal`.
pub const MAX_RANGE_LIMIT: usize = 10_000;
/// How long a tombstone is kept.
pub const TOMBSTONES_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Rows that one transaction deletes: bounds how long other writes wait behind it.
const SWEEP_ROWS: i64 = 2_000;

const SHAPE: Shape = Shape {
    name: "doc-writer",
    format: 1,
    page_bytes: 4096,
    writer_kib: 2 << 10,
    reader_kib: 512,
    readers: 4,
    gives_back: true,
    // `gone_at` is set on tombstones, which have no value; the index holds nothing but them.
    schema: "CREATE TABLE names(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
             CREATE TABLE documents(tab INTEGER NOT NULL, part BLOB NOT NULL, key BLOB NOT NULL, \
             stamp INTEGER NOT NULL, gone_at INTEGER, value BLOB, \
             PRIMARY KEY(tab, part, key)) STRICT, WITHOUT ROWID;
             CREATE INDEX tombstones ON documents(gone_at) WHERE gone_at IS NOT NULL;
             CREATE TABLE drops(tab INTEGER NOT NULL, part BLOB NOT NULL, stamp INTEGER NOT NULL, \
             gone_at INTEGER NOT NULL, PRIMARY KEY(tab, part)) STRICT, WITHOUT ROWID;
             CREATE TABLE leases(name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence INTEGER NOT NULL, \
             expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
};

/// Documents on SQLite. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct SqliteDocuments {
    pub(crate) database: Arc<Database<()>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for SqliteDocuments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteDocuments")
    }
}

impl SqliteDocuments {
    /// Opens `documents.db` in a folder, and makes it if it is not there. The clock dates tombstones.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, or of another format.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, DatabaseError> {
        let database = Database::open(&folder.join("documents.db"), SHAPE, |_| Ok(()))?;
        Ok(Self {
            database: Arc::new(database),
            clock,
        })
    }

    /// Drops tombstones that were written more than 30 days before `now`. Answers how many went.
    ///
    /// # Errors
    /// `Retryable`; again is harmless.
    pub async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = now.minus(TOMBSTONES_KEPT).micros();
        let mut gone = 0;
        loop {
            let some = self
                .write(0, move |conn| sweep(conn, before).map_err(failed))
                .await?;
            if some == 0 {
                return Ok(gone);
            }
            gone += u64::try_from(some).unwrap_or(u64::MAX);
        }
    }

    /// Makes the bytes of deleted documents vanish from the file and its WAL.
    ///
    /// # Errors
    /// `Retryable` when a reader holds it up; scrubbing again is harmless.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.database.scrub().await
    }

    /// Commits what is queued and closes the file. Blocks until that is done.
    pub fn close(&self) {
        self.database.close();
    }

    pub(crate) async fn write<T, F>(&self, weight: usize, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let work = move |primary: &mut Primary<()>| atomically(&primary.conn, work);
        self.database.writer.submit(weight, work).await
    }

    async fn put_or_delete(&self, write: Write) -> Result<(), StoreError> {
        check_keys(&[&write.partition, &write.key])?;
        let value_bytes = write.value.as_ref().map_or(0, Bytes::len);
        if value_bytes > MAX_VALUE_BYTES {
            return Err(StoreError::terminal("a value is at most 1 MiB"));
        }
        let clock = Arc::clone(&self.clock);
        self.write(value_bytes + 256, move |conn| {
            write.apply(conn, clock.now()).map_err(failed)
        })
        .await
    }
}

fn check_keys(keys: &[&[u8]]) -> Result<(), StoreError> {
    if keys.iter().all(|key| key.len() <= MAX_KEY_BYTES) {
        Ok(())
    } else {
        Err(StoreError::terminal(
            "a key or partition key is at most 1 KiB",
        ))
    }
}

#[async_trait]
impl Documents for SqliteDocuments {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        self.put_or_delete(Write {
            table,
            partition: partition.to_vec(),
            key: key.to_vec(),
            stamp,
            value: Some(value),
        })
        .await
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        self.put_or_delete(Write {
            table,
            partition: partition.to_vec(),
            key: key.to_vec(),
            stamp,
            value: None,
        })
        .await
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        check_keys(&[partition, key])?;
        let (partition, key) = (partition.to_vec(), key.to_vec());
        self.database
            .readers
            .read(move |conn| {
                let Some(table) = known_table(conn, table).map_err(failed)? else {
                    return Ok(None);
                };
                let sql = "SELECT stamp, value FROM documents \
                           WHERE tab = ?1 AND part = ?2 AND key = ?3 AND value IS NOT NULL";
                let found: Option<(i64, Vec<u8>)> = conn
                    .prepare_cached(sql)
                    .and_then(|mut statement| {
                        statement
                            .query_row((table, &partition, &key), |row| {
                                Ok((row.get(0)?, row.get(1)?))
                            })
                            .optional()
                    })
                    .map_err(failed)?;
                Ok(found.map(|(stamp, value)| Document {
                    key,
                    stamp,
                    value: Bytes::from(value),
                }))
            })
            .await
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        check_keys(&[partition])?;
        if !(1..=MAX_RANGE_LIMIT).contains(&range.limit) {
            return Err(StoreError::terminal("a range gives 1 to 10,000 documents"));
        }
        let partition = partition.to_vec();
        self.database
            .readers
            .read(
                move |conn| match known_table(conn, table).map_err(failed)? {
                    Some(table) => select(conn, table, &partition, &range).map_err(failed),
                    None => Ok(Vec::new()),
                },
            )
            .await
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        check_keys(&[partition])?;
        let first = partition.to_vec();
        let clock = Arc::clone(&self.clock);
        // From here on older puts are refused, so the rows may go piece by piece.
        let table = self
            .write(0, move |conn| {
                let table = table_id(conn, table).map_err(failed)?;
                conn.execute(
                    "INSERT INTO drops(tab, part, stamp, gone_at) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT(tab, part) DO UPDATE SET gone_at = excluded.gone_at, \
                     stamp = max(stamp, excluded.stamp)",
                    (table, &first, stamp, clock.now().micros()),
                )
                .map_err(failed)?;
                Ok(table)
            })
            .await?;
        loop {
            let partition = partition.to_vec();
            let gone = self
                .write(0, move |conn| {
                    conn.execute(
                        "DELETE FROM documents WHERE tab = ?1 AND part = ?2 AND key IN \
                         (SELECT key FROM documents WHERE tab = ?1 AND part = ?2 AND stamp <= ?3 \
                         LIMIT ?4)",
                        (table, &partition, stamp, SWEEP_ROWS),
                    )
                    .map_err(failed)
                })
                .await?;
            if gone == 0 {
                return Ok(());
            }
        }
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.database
            .readers
            .read(move |conn| {
                let Some(table) = known_table(conn, table).map_err(failed)? else {
                    return Ok(Vec::new());
                };
                next_partitions(conn, table, after, limit).map_err(failed)
            })
            .await
    }
}
