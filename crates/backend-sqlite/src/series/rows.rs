//! The statements of the series: plain functions on a connection.

use bytes::Bytes;
use hearth_kernel::{Day, HomeId, Timestamp};
use hearth_ports::{
    ChunkKey, Latest, ManifestRow, SegmentKey, StoreError, StoredChunk, StoredSegment,
};
use rusqlite::{Connection, OptionalExtension};

use super::keys;
use super::windows::Window;
use crate::failure::{failed, limit as sql_limit};

/// A stored key that no version of this code has written.
fn damaged() -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Blob,
        "a stored key is damaged".into(),
    )
}

pub(super) fn put_segments(conn: &Connection, segments: &[StoredSegment]) -> rusqlite::Result<()> {
    let mut put = conn.prepare_cached(
        "INSERT INTO segments(key, sealed) VALUES (?1, ?2) \
         ON CONFLICT(key) DO UPDATE SET sealed = excluded.sealed",
    )?;
    for segment in segments {
        put.execute((keys::segment(&segment.key), &segment.sealed[..]))?;
    }
    Ok(())
}

pub(super) fn segments(
    conn: &Connection,
    home: HomeId,
    day: Day,
    after: Option<SegmentKey>,
    limit: usize,
) -> rusqlite::Result<Vec<StoredSegment>> {
    let prefix = keys::home_day(home, day);
    let until = keys::after_prefix(&prefix);
    // The prefix alone is shorter than every key, so it sorts before the first of them.
    let after = after.map(|after| keys::segment(&after)).max(Some(prefix));
    conn.prepare_cached(
        "SELECT key, sealed FROM segments WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT ?3",
    )?
    .query_and_then((after, until, sql_limit(limit)), |row| {
        let key = keys::segment_from(row.get_ref(0)?.as_blob()?).ok_or_else(damaged)?;
        let sealed = Bytes::from(row.get::<_, Vec<u8>>(1)?);
        Ok(StoredSegment { key, sealed })
    })?
    .collect()
}

/// Deletes rows of any table by their keys.
pub(super) fn delete(conn: &Connection, table: &str, keys: &[Vec<u8>]) -> rusqlite::Result<()> {
    let mut delete = match conn.prepare_cached(&format!("DELETE FROM {table} WHERE key = ?1")) {
        Err(error) if is_gone(&error) => return Ok(()),
        other => other?,
    };
    for key in keys {
        delete.execute([key])?;
    }
    Ok(())
}

/// Whether a table of chunks was dropped since the list of them was read: then all of it had expired.
fn is_gone(error: &rusqlite::Error) -> bool {
    error.to_string().contains("no such table")
}

/// With row ids, because a row then stays on one page up to 8 KB; without them all beyond 2 KB gets a page of its own.
pub(super) fn create_chunks(conn: &Connection, window: Window) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {}(key BLOB PRIMARY KEY, expires INTEGER NOT NULL, \
         sealed BLOB NOT NULL) STRICT",
        window.table()
    ))
}

/// Inserts a chunk. The same again is harmless; the same key with other bytes is refused.
pub(super) fn put_chunk(
    conn: &Connection,
    window: Window,
    chunk: &StoredChunk,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let table = window.table();
    let key = keys::chunk(&chunk.key);
    let there: Option<bool> = conn
        .prepare_cached(&format!("SELECT sealed = ?2 FROM {table} WHERE key = ?1"))
        .and_then(|mut row| {
            row.query_row((&key, &chunk.sealed[..]), |row| row.get(0))
                .optional()
        })
        .map_err(failed)?;
    match there {
        Some(true) => return Ok(()),
        Some(false) => {
            return Err(StoreError::terminal(
                "a chunk is never written with other bytes",
            ));
        }
        None => {}
    }
    conn.prepare_cached(&format!(
        "INSERT INTO {table}(key, expires, sealed) VALUES (?1, ?2, ?3)"
    ))
    .and_then(|mut row| row.execute((&key, expires.micros(), &chunk.sealed[..])))
    .map(|_| ())
    .map_err(failed)
}

/// The chunks of one series from a day to a day, out of every table they may be in.
pub(super) fn chunks(
    conn: &Connection,
    windows: &[Window],
    series: &ChunkKey,
    days: (Day, Day),
    now: Timestamp,
) -> rusqlite::Result<Vec<StoredChunk>> {
    let prefix = keys::chunk_series(series.home, series.device, series.capability, series.window);
    let bound = |day: Day, end: u8| {
        let mut key = prefix.clone();
        key.extend_from_slice(&keys::day_bytes(day));
        key.extend_from_slice(&[end; 8]);
        key
    };
    let (from, until) = (bound(days.0, 0), bound(days.1, u8::MAX));
    let mut found = Vec::new();
    for window in windows {
        let sql = format!(
            "SELECT key, sealed FROM {} WHERE key >= ?1 AND key <= ?2 AND expires > ?3",
            window.table()
        );
        let mut statement = match conn.prepare_cached(&sql) {
            Err(error) if is_gone(&error) => continue,
            other => other?,
        };
        let mut rows = statement.query((&from, &until, now.micros()))?;
        while let Some(row) = rows.next()? {
            let (day, generation) =
                keys::chunk_end(row.get_ref(0)?.as_blob()?).ok_or_else(damaged)?;
            let key = ChunkKey {
                day,
                generation,
                ..*series
            };
            let sealed = Bytes::from(row.get::<_, Vec<u8>>(1)?);
            found.push(StoredChunk { key, sealed });
        }
    }
    found.sort_by_key(|chunk| (chunk.key.day, chunk.key.generation));
    // One that was put again with another expiry lies in two tables.
    found.dedup_by_key(|chunk| chunk.key);
    Ok(found)
}

pub(super) fn put_manifest(conn: &Connection, row: &ManifestRow) -> rusqlite::Result<()> {
    let mut rank = [0; 16];
    rank[..8].copy_from_slice(&row.fence.to_be_bytes());
    rank[8..].copy_from_slice(&row.counter.to_be_bytes());
    // The body decides between equals, as values do at equal write timestamps in CQL.
    conn.prepare_cached(
        "INSERT INTO manifest(key, rank, body) VALUES (?1, ?2, ?3) ON CONFLICT(key) DO UPDATE \
         SET rank = excluded.rank, body = excluded.body \
         WHERE (excluded.rank, excluded.body) > (rank, body)",
    )?
    .execute((keys::home_day(row.home, row.day), rank, &row.body[..]))
    .map(|_| ())
}

pub(super) fn manifest(
    conn: &Connection,
    home: HomeId,
    days: (Day, Day),
) -> rusqlite::Result<Vec<ManifestRow>> {
    let bounds = (keys::home_day(home, days.0), keys::home_day(home, days.1));
    conn.prepare_cached(
        "SELECT key, rank, body FROM manifest WHERE key >= ?1 AND key <= ?2 ORDER BY key",
    )?
    .query_and_then(bounds, |row| {
        let (home, day) = keys::home_day_from(row.get_ref(0)?.as_blob()?).ok_or_else(damaged)?;
        let rank: [u8; 16] = row.get(1)?;
        let (fence, counter) = rank.split_first_chunk::<8>().ok_or_else(damaged)?;
        let counter: [u8; 8] = counter.try_into().map_err(|_| damaged())?;
        Ok(ManifestRow {
            home,
            day,
            fence: u64::from_be_bytes(*fence),
            counter: u64::from_be_bytes(counter),
            body: Bytes::from(row.get::<_, Vec<u8>>(2)?),
        })
    })?
    .collect()
}

pub(super) fn put_latest(conn: &Connection, rows: &[Latest]) -> rusqlite::Result<()> {
    let mut put = conn.prepare_cached(
        "INSERT INTO latest(key, observed_at, sealed) VALUES (?1, ?2, ?3) \
         ON CONFLICT(key) DO UPDATE SET observed_at = excluded.observed_at, \
         sealed = excluded.sealed \
         WHERE (excluded.observed_at, excluded.sealed) > (observed_at, sealed)",
    )?;
    for row in rows {
        let key = keys::device_key(row.home, row.device, row.capability);
        put.execute((key, row.observed_at.micros(), &row.sealed[..]))?;
    }
    Ok(())
}

pub(super) fn latest(conn: &Connection, home: HomeId) -> rusqlite::Result<Vec<Latest>> {
    let until = keys::after_prefix(home.as_bytes());
    conn.prepare_cached(
        "SELECT key, observed_at, sealed FROM latest WHERE key >= ?1 AND key < ?2 ORDER BY key",
    )?
    .query_and_then((&home.as_bytes()[..], until), |row| {
        let (device, capability) =
            keys::device_key_from(row.get_ref(0)?.as_blob()?).ok_or_else(damaged)?;
        Ok(Latest {
            home,
            device,
            capability,
            observed_at: Timestamp::from_micros(row.get(1)?),
            sealed: Bytes::from(row.get::<_, Vec<u8>>(2)?),
        })
    })?
    .collect()
}

/// The first key of the segments in a range: one look at the b-tree.
fn first_segment(
    conn: &Connection,
    from: &[u8],
    until: &[u8],
) -> rusqlite::Result<Option<(HomeId, Day)>> {
    let key: Option<Vec<u8>> = conn
        .prepare_cached(
            "SELECT key FROM segments WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1",
        )?
        .query_row((from, until), |row| row.get(0))
        .optional()?;
    key.map(|key| keys::home_day_from(&key).ok_or_else(damaged))
        .transpose()
}

pub(super) fn segment_days(
    conn: &Connection,
    home: HomeId,
    limit: usize,
) -> rusqlite::Result<Vec<Day>> {
    let until = keys::after_prefix(home.as_bytes());
    let mut from = home.as_bytes().to_vec();
    let mut days = Vec::new();
    while days.len() < limit
        && let Some((_, day)) = first_segment(conn, &from, &until)?
    {
        days.push(day);
        from = keys::after_prefix(&keys::home_day(home, day));
    }
    Ok(days)
}

pub(super) fn homes(
    conn: &Connection,
    after: Option<HomeId>,
    limit: usize,
) -> rusqlite::Result<Vec<HomeId>> {
    let until = keys::after_prefix(&[]);
    let mut from = after.map_or_else(Vec::new, |after| keys::after_prefix(after.as_bytes()));
    let mut homes = Vec::new();
    while homes.len() < limit
        && let Some((home, _)) = first_segment(conn, &from, &until)?
    {
        homes.push(home);
        from = keys::after_prefix(home.as_bytes());
    }
    Ok(homes)
}

/// Deletes some rows of a home from any table. Answers how many; 0 when there are no more.
pub(super) fn delete_some_of_home(
    conn: &Connection,
    table: &str,
    home: HomeId,
    most: i64,
) -> rusqlite::Result<usize> {
    let until = keys::after_prefix(home.as_bytes());
    let sql = format!(
        "DELETE FROM {table} WHERE key IN \
         (SELECT key FROM {table} WHERE key >= ?1 AND key < ?2 LIMIT ?3)"
    );
    let deleted = conn
        .prepare_cached(&sql)
        .and_then(|mut rows| rows.execute((&home.as_bytes()[..], until, most)));
    match deleted {
        Err(error) if is_gone(&error) => Ok(0),
        other => other,
    }
}

/// Deletes some expired rows of a table of chunks. Answers how many; 0 when there are no more.
pub(super) fn delete_some_expired(
    conn: &Connection,
    table: &str,
    now: Timestamp,
    most: i64,
) -> rusqlite::Result<usize> {
    let sql = format!(
        "DELETE FROM {table} WHERE key IN (SELECT key FROM {table} WHERE expires <= ?1 LIMIT ?2)"
    );
    let deleted = conn
        .prepare_cached(&sql)
        .and_then(|mut rows| rows.execute((now.micros(), most)));
    match deleted {
        Err(error) if is_gone(&error) => Ok(0),
        other => other,
    }
}

/// Drops a table of chunks, unless somebody put something into it meanwhile.
pub(super) fn drop_if_empty(conn: &Connection, window: Window) -> rusqlite::Result<bool> {
    let table = window.table();
    let empty: bool = match conn.query_row(
        &format!("SELECT NOT EXISTS (SELECT 1 FROM {table})"),
        [],
        |row| row.get(0),
    ) {
        Err(error) if is_gone(&error) => return Ok(true),
        other => other?,
    };
    if empty {
        // A statement that is still prepared would keep the table locked.
        conn.flush_prepared_statement_cache();
        conn.execute_batch(&format!("DROP TABLE {table}"))?;
    }
    Ok(empty)
}
