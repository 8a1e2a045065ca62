//! The statements of the series: plain functions on a connection.

use bytes::Bytes;
use hearth_kernel::{Day, HomeId, Timestamp};
use hearth_ports::{Latest, ManifestRow, SegmentKey, StoredSegment};
use rusqlite::{Connection, OptionalExtension};

use super::keys;
use crate::failure::limit as sql_limit;

/// A stored key that no version of this code has written.
pub(super) fn damaged() -> rusqlite::Error {
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

/// Deletes segments by their keys.
pub(super) fn delete_segments(conn: &Connection, keys: &[Vec<u8>]) -> rusqlite::Result<()> {
    let mut delete = conn.prepare_cached("DELETE FROM segments WHERE key = ?1")?;
    for key in keys {
        delete.execute([key])?;
    }
    Ok(())
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

/// The homes of the manifest: one look at the b-tree for each.
pub(super) fn manifest_homes(
    conn: &Connection,
    after: Option<HomeId>,
    limit: usize,
) -> rusqlite::Result<Vec<HomeId>> {
    let mut first =
        conn.prepare_cached("SELECT key FROM manifest WHERE key >= ?1 ORDER BY key LIMIT 1")?;
    let mut from = after.map_or_else(Vec::new, |after| keys::after_prefix(after.as_bytes()));
    let mut homes = Vec::new();
    while homes.len() < limit {
        let key: Option<Vec<u8>> = first.query_row([&from], |row| row.get(0)).optional()?;
        let Some(key) = key else { break };
        let (home, _) = keys::home_day_from(&key).ok_or_else(damaged)?;
        homes.push(home);
        from = keys::after_prefix(home.as_bytes());
    }
    Ok(homes)
}

/// Deletes some rows of a home from a table whose keys begin with it. Answers how many; 0 when there are no more.
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
    conn.prepare_cached(&sql)?
        .execute((&home.as_bytes()[..], until, most))
}
