//! Writing and reading the tables of the log: plain functions on a connection.

use bytes::Bytes;
use hearth_kernel::Timestamp;
use hearth_ports::{Expected, Message, Position, Purge, Removed, StoreError, Stream, Subject};
use rusqlite::{Connection, OptionalExtension, Row};

use super::heads::Heads;
use super::tables::Table;
use crate::database::{Primary, atomically};
use crate::failure::{count, failed, int, limit};

/// Rows that one transaction of a trim deletes: bounds how long appends wait behind it.
const TRIM_ROWS: i64 = 2_000;

/// The greatest sequence that lies at or before a position, for a stream of this generation.
pub(super) fn sequence_at(generation: u32, position: Position) -> i64 {
    match position.generation.cmp(&generation) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => int(position.sequence),
        std::cmp::Ordering::Greater => i64::MAX,
    }
}

/// Appends one message, if what is expected is so.
pub(super) fn append(
    primary: &mut Primary<Heads>,
    table: &Table,
    subject: &Subject,
    expected: Expected,
    bytes: &[u8],
) -> Result<Position, StoreError> {
    let stream = table.stream;
    let heads = &primary.beside;
    let matches = |sequence: i64, position: Option<Position>| match position {
        None => sequence == 0,
        Some(position) => sequence > 0 && heads.position(stream, sequence) == position,
    };
    let holds = match expected {
        Expected::Any => true,
        Expected::Stream(position) => matches(heads.sequence(stream), position),
        Expected::Subject(position) => {
            let last = last_sequence(&primary.conn, table, subject)?;
            matches(last.unwrap_or(0), position)
        }
    };
    if !holds {
        return Err(StoreError::Conflict);
    }
    let (sequence, at) = heads.next(stream);
    let insert = |conn: &Connection| {
        conn.prepare_cached(&table.insert)
            .and_then(|mut row| row.execute((sequence, subject.tokens(), at.micros(), bytes)))
            .map_err(failed)
    };
    if stream.family.keeps_last_only() {
        atomically(&primary.conn, |conn| {
            conn.prepare_cached(&table.delete_subject)
                .and_then(|mut rows| rows.execute([subject.tokens()]))
                .map_err(failed)?;
            insert(conn)
        })?;
    } else {
        insert(&primary.conn)?;
    }
    primary.beside.grow(stream, sequence, at);
    Ok(primary.beside.position(stream, sequence))
}

fn last_sequence(
    conn: &Connection,
    table: &Table,
    subject: &Subject,
) -> Result<Option<i64>, StoreError> {
    conn.prepare_cached(&table.last_sequence)
        .and_then(|mut row| {
            row.query_row([subject.tokens()], |row| row.get(0))
                .optional()
        })
        .map_err(failed)
}

/// Deletes a subject's messages up to a sequence. Answers how many went.
pub(super) fn purge(
    conn: &Connection,
    table: &Table,
    subject: &Subject,
    through: i64,
    purge: Purge,
) -> Result<u64, StoreError> {
    let sql = match purge {
        Purge::All => &table.purge_all,
        Purge::KeepLast => &table.purge_but_last,
    };
    let gone = conn
        .prepare_cached(sql)
        .and_then(|mut rows| rows.execute((subject.tokens(), through)))
        .map_err(failed)?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

/// Deletes a subject's last message if it is at that position.
pub(super) fn remove(
    primary: &Primary<Heads>,
    table: &Table,
    subject: &Subject,
    position: Position,
) -> Result<Removed, StoreError> {
    let Some(last) = last_sequence(&primary.conn, table, subject)? else {
        return Ok(Removed::Done);
    };
    let there = primary.beside.position(table.stream, last);
    if there != position {
        // What was behind it decides; when nothing is, it has gone already.
        return Ok(if there > position {
            Removed::Conflict
        } else {
            Removed::Done
        });
    }
    primary
        .conn
        .prepare_cached(&table.delete_at)
        .and_then(|mut row| row.execute([last]))
        .map_err(failed)?;
    Ok(Removed::Done)
}

/// Deletes some of the messages before a sequence. Answers whether there may be more.
pub(super) fn trim_some(conn: &Connection, table: &Table, before: i64) -> Result<bool, StoreError> {
    let gone = conn
        .prepare_cached(&table.trim_some)
        .and_then(|mut rows| rows.execute((before, TRIM_ROWS)))
        .map_err(failed)?;
    Ok(int(u64::try_from(gone).unwrap_or(u64::MAX)) == TRIM_ROWS)
}

/// A row of (sequence, time, bytes) of a subject.
pub(super) fn message(
    row: &Row<'_>,
    generation: u32,
    subject: Subject,
) -> rusqlite::Result<Message> {
    Ok(Message {
        subject,
        position: Position {
            generation,
            sequence: count(row.get(0)?),
        },
        recorded_at: Timestamp::from_micros(row.get(1)?),
        bytes: Bytes::from(row.get::<_, Vec<u8>>(2)?),
    })
}

/// A row of (sequence, time, bytes, subject) of a stream.
pub(super) fn message_of_stream(
    row: &Row<'_>,
    generation: u32,
    stream: Stream,
) -> rusqlite::Result<Message> {
    let subject = Subject::from_tokens(stream, row.get::<_, String>(3)?);
    message(row, generation, subject)
}

/// The subject's messages after a sequence.
pub(super) fn load(
    conn: &Connection,
    table: &Table,
    generation: u32,
    subject: &Subject,
    after: i64,
    most: usize,
) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(&table.load)?
        .query_map((subject.tokens(), after, limit(most)), |row| {
            message(row, generation, subject.clone())
        })?
        .collect()
}

/// The stream's messages after a sequence, until there are enough of them or of their bytes.
pub(super) fn page(
    conn: &Connection,
    sql: &str,
    of: (Stream, u32),
    after: i64,
    most: usize,
    most_bytes: usize,
) -> rusqlite::Result<Vec<Message>> {
    let (stream, generation) = of;
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((after, limit(most)))?;
    let (mut page, mut bytes) = (Vec::new(), 0_usize);
    while bytes < most_bytes
        && let Some(row) = rows.next()?
    {
        let message = message_of_stream(row, generation, stream)?;
        bytes = bytes.saturating_add(message.bytes.len());
        page.push(message);
    }
    Ok(page)
}
