//! The statements of chunks: a row of the index for each, and its bytes in pieces.
//!
//! Pieces are appended in the order of writing and are small beside a page, so pages fill up whatever the length of a
//! chunk: rows of 2 to 6 KB left a third of each page empty. What is written together is replaced or expires together,
//! so pages also empty together. Must not know what is sealed.

use bytes::Bytes;
use hearth_kernel::{Day, HomeId, Timestamp};
use hearth_ports::{ChunkKey, StoreError, StoredChunk};
use rusqlite::{Connection, OptionalExtension};

use super::keys;
use super::rows::damaged;
use super::windows::{PREFIX, Window};
use crate::failure::failed;

/// Bytes of a piece: eight of them, with their headers, fill a page of 4 KiB.
const PIECE: usize = 498;

/// Where the bytes of a chunk lie: pieces with consecutive numbers.
#[derive(Clone, Copy)]
struct Place {
    first: i64,
    pieces: i64,
}

impl Place {
    /// The number after its last.
    const fn end(self) -> i64 {
        self.first.saturating_add(self.pieces)
    }
}

fn key_in(window: Window, key: &[u8]) -> Vec<u8> {
    [&window.prefix()[..], key].concat()
}

fn place(conn: &Connection, key: &[u8]) -> rusqlite::Result<Option<Place>> {
    conn.prepare_cached("SELECT first, pieces FROM chunks WHERE key = ?1")?
        .query_row([key], |row| {
            let (first, pieces) = (row.get(0)?, row.get(1)?);
            Ok(Place { first, pieces })
        })
        .optional()
}

fn bytes_at(conn: &Connection, place: Place) -> rusqlite::Result<Vec<u8>> {
    let mut pieces = conn.prepare_cached(
        "SELECT bytes FROM pieces WHERE number >= ?1 AND number < ?2 ORDER BY number",
    )?;
    let mut rows = pieces.query((place.first, place.end()))?;
    let (mut bytes, mut found) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes.extend_from_slice(row.get_ref(0)?.as_blob()?);
        found += 1;
    }
    if found == place.pieces {
        Ok(bytes)
    } else {
        Err(damaged())
    }
}

/// Appends the pieces of a chunk. Numbers grow by one, because one connection writes.
fn append(conn: &Connection, sealed: &[u8]) -> rusqlite::Result<Place> {
    let mut put = conn.prepare_cached("INSERT INTO pieces(bytes) VALUES (?1)")?;
    let mut place = Place {
        first: 0,
        pieces: 0,
    };
    for piece in sealed.chunks(PIECE) {
        let number = put.insert([piece])?;
        if place.pieces == 0 {
            place.first = number;
        } else if number != place.end() {
            return Err(damaged());
        }
        place.pieces += 1;
    }
    Ok(place)
}

/// Inserts a chunk. The same again is harmless; the same key with other bytes is refused.
pub(super) fn put(
    conn: &Connection,
    window: Window,
    chunk: &StoredChunk,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let key = key_in(window, &keys::chunk(&chunk.key));
    if let Some(there) = place(conn, &key).map_err(failed)? {
        return if bytes_at(conn, there).map_err(failed)? == chunk.sealed {
            Ok(())
        } else {
            Err(StoreError::terminal(
                "a chunk is never written with other bytes",
            ))
        };
    }
    append(conn, &chunk.sealed)
        .and_then(|place| {
            conn.prepare_cached(
                "INSERT INTO chunks(key, expires, first, pieces) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((&key, expires.micros(), place.first, place.pieces))
        })
        .map(|_| ())
        .map_err(failed)
}

/// The chunks of one series from a day to a day, out of every window they may be in.
pub(super) fn read(
    conn: &Connection,
    windows: &[Window],
    series: &ChunkKey,
    days: (Day, Day),
    now: Timestamp,
) -> rusqlite::Result<Vec<StoredChunk>> {
    let prefix = keys::chunk_series(series.home, series.device, series.capability, series.window);
    let bound = |window: &Window, day: Day, end: u8| {
        let mut key = key_in(*window, &prefix);
        key.extend_from_slice(&keys::day_bytes(day));
        key.extend_from_slice(&[end; 8]);
        key
    };
    // Index and pieces as of one moment.
    let transaction = conn.unchecked_transaction()?;
    let mut statement = conn.prepare_cached(
        "SELECT key, first, pieces FROM chunks WHERE key >= ?1 AND key <= ?2 AND expires > ?3",
    )?;
    let mut found = Vec::new();
    for window in windows {
        let (from, until) = (bound(window, days.0, 0), bound(window, days.1, u8::MAX));
        let mut rows = statement.query((from, until, now.micros()))?;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob()?;
            let (day, generation) = keys::chunk_end(key).ok_or_else(damaged)?;
            let place = Place {
                first: row.get(1)?,
                pieces: row.get(2)?,
            };
            found.push(StoredChunk {
                key: ChunkKey {
                    day,
                    generation,
                    ..*series
                },
                sealed: Bytes::from(bytes_at(conn, place)?),
            });
        }
    }
    drop(statement);
    transaction.finish()?;
    found.sort_by_key(|chunk| (chunk.key.day, chunk.key.generation));
    // One that was put again with another expiry lies in two windows.
    found.dedup_by_key(|chunk| chunk.key);
    Ok(found)
}

fn delete_at(conn: &Connection, key: &[u8], place: Place) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM pieces WHERE number >= ?1 AND number < ?2")?
        .execute((place.first, place.end()))?;
    conn.prepare_cached("DELETE FROM chunks WHERE key = ?1")?
        .execute([key])?;
    Ok(())
}

/// Deletes chunks by their keys, wherever they are.
pub(super) fn delete(
    conn: &Connection,
    windows: &[Window],
    keys: &[Vec<u8>],
) -> rusqlite::Result<()> {
    for window in windows {
        for key in keys {
            let key = key_in(*window, key);
            if let Some(place) = place(conn, &key)? {
                delete_at(conn, &key, place)?;
            }
        }
    }
    Ok(())
}

fn delete_some(
    conn: &Connection,
    range: (Vec<u8>, Vec<u8>),
    until: i64,
    most: i64,
) -> rusqlite::Result<usize> {
    let doomed = conn
        .prepare_cached(
            "SELECT key, first, pieces FROM chunks \
             WHERE key >= ?1 AND key < ?2 AND expires <= ?3 LIMIT ?4",
        )?
        .query_map((range.0, range.1, until, most), |row| {
            let (first, pieces) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<_, Vec<u8>>(0)?, Place { first, pieces }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (key, place) in &doomed {
        delete_at(conn, key, *place)?;
    }
    Ok(doomed.len())
}

/// Deletes some chunks of a home from a window. Answers how many; 0 when there are no more.
pub(super) fn delete_some_of_home(
    conn: &Connection,
    window: Window,
    home: HomeId,
    most: i64,
) -> rusqlite::Result<usize> {
    let from = key_in(window, home.as_bytes());
    let until = keys::after_prefix(&from);
    delete_some(conn, (from, until), i64::MAX, most)
}

/// Deletes some expired chunks of a window. Answers how many; 0 when there are no more.
pub(super) fn delete_some_expired(
    conn: &Connection,
    window: Window,
    now: Timestamp,
    most: i64,
) -> rusqlite::Result<usize> {
    let from = window.prefix().to_vec();
    let until = keys::after_prefix(&from);
    delete_some(conn, (from, until), now.micros(), most)
}

/// Whether a window holds nothing.
pub(super) fn is_empty(conn: &Connection, window: Window) -> rusqlite::Result<bool> {
    let from: [u8; PREFIX] = window.prefix();
    let until = keys::after_prefix(&from);
    conn.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM chunks WHERE key >= ?1 AND key < ?2)")?
        .query_row((&from[..], until), |row| row.get(0))
}
