//! The statements of the documents: plain functions on a connection.

use bytes::Bytes;
use hearth_kernel::Timestamp;
use hearth_ports::{Document, Range, Table};
use rusqlite::{Connection, OptionalExtension, params};

use super::SWEEP_ROWS;
use crate::failure::limit as sql_limit;

/// One write: a put, or a delete when there is no value.
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) partition: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) stamp: i64,
    pub(super) value: Option<Bytes>,
}

impl Write {
    /// At equal stamps a delete beats a put, and of two puts the greater value wins.
    pub(super) fn apply(&self, conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
        let table = table_id(conn, self.table)?;
        let dropped: Option<i64> = conn
            .prepare_cached("SELECT stamp FROM drops WHERE tab = ?1 AND part = ?2")?
            .query_row((table, &self.partition), |row| row.get(0))
            .optional()?;
        if dropped.is_some_and(|dropped| self.stamp <= dropped) {
            return Ok(());
        }
        let gone_at = self.value.is_none().then(|| now.micros());
        conn.prepare_cached(
            "INSERT INTO documents(tab, part, key, stamp, gone_at, value) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(tab, part, key) DO UPDATE \
             SET stamp = excluded.stamp, gone_at = excluded.gone_at, value = excluded.value \
             WHERE excluded.stamp > stamp OR (excluded.stamp = stamp AND value IS NOT NULL \
             AND (excluded.value IS NULL OR excluded.value > value))",
        )?
        .execute(params![
            table,
            &self.partition,
            &self.key,
            self.stamp,
            gone_at,
            self.value.as_deref()
        ])?;
        Ok(())
    }
}

/// Deletes some of the tombstones that were written before a time. Answers how many; 0 when there are no more.
pub(super) fn sweep(conn: &Connection, before: i64) -> rusqlite::Result<usize> {
    // Found first and deleted by key: as one statement, SQLite would look through the whole table.
    let found: Vec<(i64, Vec<u8>, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT tab, part, key FROM documents WHERE gone_at IS NOT NULL AND gone_at < ?1 LIMIT ?2",
        )?
        .query_map((before, SWEEP_ROWS), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut delete =
        conn.prepare_cached("DELETE FROM documents WHERE tab = ?1 AND part = ?2 AND key = ?3")?;
    for row in &found {
        delete.execute((row.0, &row.1, &row.2))?;
    }
    // Dropped partitions are few.
    let drops = conn.execute("DELETE FROM drops WHERE gone_at < ?1", [before])?;
    Ok(found.len() + drops)
}

/// The number that stands for a table in its rows; given when the table is first written.
pub(super) fn table_id(conn: &Connection, table: Table) -> rusqlite::Result<i64> {
    if let Some(id) = known_table(conn, table)? {
        return Ok(id);
    }
    conn.execute("INSERT INTO names(name) VALUES (?1)", [table.0])?;
    Ok(conn.last_insert_rowid())
}

pub(super) fn known_table(conn: &Connection, table: Table) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM names WHERE name = ?1")?
        .query_row([table.0], |row| row.get(0))
        .optional()
}

/// The documents of a range.
pub(super) fn select(
    conn: &Connection,
    table: i64,
    partition: &[u8],
    range: &Range,
) -> rusqlite::Result<Vec<Document>> {
    // Four texts, so that each is prepared once and every bound is a bound of the b-tree.
    let until = if range.until.is_some() {
        "AND key < ?4"
    } else {
        "AND ?4 IS NULL"
    };
    let order = if range.descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT key, stamp, value FROM documents WHERE tab = ?1 AND part = ?2 AND key >= ?3 {until} \
         AND value IS NOT NULL ORDER BY key {order} LIMIT ?5"
    );
    let from = range.from.as_deref().unwrap_or_default();
    conn.prepare_cached(&sql)?
        .query_map(
            params![table, partition, from, range.until, sql_limit(range.limit)],
            |row| {
                Ok(Document {
                    key: row.get(0)?,
                    stamp: row.get(1)?,
                    value: Bytes::from(row.get::<_, Vec<u8>>(2)?),
                })
            },
        )?
        .collect()
}

/// Leaps from partition to partition by the primary key, so that a great one costs no more than a small one.
pub(super) fn next_partitions(
    conn: &Connection,
    table: i64,
    after: Option<Vec<u8>>,
    limit: usize,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut first = conn.prepare_cached(
        "SELECT part FROM documents WHERE tab = ?1 AND value IS NOT NULL ORDER BY part, key LIMIT 1",
    )?;
    let mut next = conn.prepare_cached(
        "SELECT part FROM documents WHERE tab = ?1 AND part > ?2 AND value IS NOT NULL \
         ORDER BY part, key LIMIT 1",
    )?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut last = after;
    while found.len() < limit {
        let part: Option<Vec<u8>> = match &last {
            None => first.query_row([table], |row| row.get(0)).optional()?,
            Some(last) => next.query_row((table, last), |row| row.get(0)).optional()?,
        };
        let Some(part) = part else { break };
        last = Some(part.clone());
        found.push(part);
    }
    Ok(found)
}
