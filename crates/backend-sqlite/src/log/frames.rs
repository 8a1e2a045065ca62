//! The telemetry stream: a file per UTC day, so that what is old goes by unlinking, not by deleting rows.
//!
//! Sequences are dense over all files. A frame's file is chosen by the time it is recorded at, and never goes
//! back, also when the clock does. Each file knows the sequence before its first frame and how far the stream
//! was trimmed, so the newest file alone keeps the head from going back. There is no index on the shard: 64
//! more pages in each commit would cost more than the few reads by shard gain.

mod days;
mod reading;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_kernel::Day;
use hearth_ports::{Clock, Expected, Position, Purge, Removed, StoreError, Stream, Subject};
use rusqlite::Connection;

use super::heads::{FIRST_GENERATION, Followers};
use super::rows::sequence_at;
use crate::database::{DatabaseError, checkpoint, connect};
use crate::failure::{count, failed};
use crate::writer::{Unit, Writer};
use days::{DayFile, meta, open_day, set_meta, unlink};
pub(super) use reading::FrameFiles;

/// How long dropping old files may take.
const TRIM_DEADLINE: Duration = Duration::from_secs(60);

/// The writer's side: the file of the current day.
pub(super) struct Frames {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    followers: Arc<Followers>,
    files: Arc<FrameFiles>,
    conn: Connection,
    day: Day,
    head: i64,
    at: i64,
    /// What is before this sequence counts as gone.
    low: i64,
}

/// Opens the folder and starts the writer.
pub(super) fn open(
    folder: &Path,
    clock: Arc<dyn Clock>,
    followers: Arc<Followers>,
) -> Result<(Writer<Frames>, Arc<FrameFiles>), DatabaseError> {
    let found = days::found(folder)?;
    let (mut files, mut head, mut at, mut low) = (Vec::new(), 0, 0, 1);
    let mut conn = None;
    for day in &found {
        // Whichever is newest at the end stays open; the others are closed, which empties their WALs.
        let opened = open_day(folder, *day, head, low)?;
        head = head.max(opened.last);
        at = at.max(opened.at);
        low = low.max(opened.low);
        files.push(DayFile {
            day: *day,
            path: opened.path,
            last: opened.last,
        });
        conn = Some((opened.conn, *day));
    }
    let today = clock.now().day();
    let (conn, day) = match conn {
        Some(found) => found,
        None => {
            let opened = open_day(folder, today, 0, 1)?;
            files.push(DayFile {
                day: today,
                path: opened.path,
                last: 0,
            });
            (opened.conn, today)
        }
    };
    followers.advance(Stream::TELEMETRY, count(head));
    let files = Arc::new(FrameFiles::new(files, low));
    let unit = Frames {
        folder: folder.to_owned(),
        clock,
        followers,
        files: Arc::clone(&files),
        conn,
        day,
        head,
        at,
        low,
    };
    let writer = Writer::start("frame-writer", unit).map_err(DatabaseError::file(folder))?;
    Ok((writer, files))
}

/// The deadline of [`Frames::trim`], [`Frames::purge`] and [`Frames::remove`], which touch old files.
pub(super) const fn slow() -> Duration {
    TRIM_DEADLINE
}

const fn position(sequence: i64) -> Position {
    Position {
        generation: FIRST_GENERATION,
        // Sequences count from 1, so the sign bit is never set.
        sequence: sequence.unsigned_abs(),
    }
}

impl Frames {
    /// Appends one frame, if what is expected is so.
    pub(super) fn append(
        &mut self,
        subject: &Subject,
        expected: Expected,
        bytes: &[u8],
    ) -> Result<Position, StoreError> {
        let holds = match expected {
            Expected::Any => true,
            Expected::Stream(None) => self.head == 0,
            Expected::Stream(Some(at)) => self.head > 0 && position(self.head) == at,
            Expected::Subject(at) => {
                let last = self.last_of(subject)?;
                last.map(|(_, sequence)| position(sequence)) == at
            }
        };
        if !holds {
            return Err(StoreError::Conflict);
        }
        let sequence = self.head + 1;
        let last_of_day = self.day.end().micros().saturating_sub(1);
        let at = self.clock.now().micros().max(self.at).min(last_of_day);
        self.conn
            .prepare_cached("INSERT INTO frames(seq, shard, at, bytes) VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut row| row.execute((sequence, subject.tokens(), at, bytes)))
            .map_err(failed)?;
        (self.head, self.at) = (sequence, at);
        Ok(position(sequence))
    }

    /// The file and sequence of a shard's last frame. A scan backwards: nobody needs it often.
    fn last_of(&self, subject: &Subject) -> Result<Option<(PathBuf, i64)>, StoreError> {
        for file in self.files.snapshot().iter().rev() {
            let last = self
                .with_file(file, |conn| reading::last_sequence(conn, subject.tokens()))
                .map_err(failed)?;
            if let Some(last) = last.filter(|last| *last >= self.low) {
                return Ok(Some((file.path.clone(), last)));
            }
        }
        Ok(None)
    }

    /// Runs something on a file: on the writer's own connection when it is the current one.
    fn with_file<T>(
        &self,
        file: &DayFile,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        if file.day == self.day {
            return work(&self.conn);
        }
        let conn = connect(&file.path, 256)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        work(&conn)
    }

    /// Deletes a shard's frames up to a position. Runs alone.
    pub(super) fn purge(
        &mut self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        let mut through = sequence_at(FIRST_GENERATION, through);
        if purge == Purge::KeepLast
            && let Some((_, last)) = self.last_of(subject)?
        {
            through = through.min(last - 1);
        }
        self.keep_head()?;
        let mut gone = 0;
        for file in self.files.snapshot() {
            gone += self
                .with_file(&file, |conn| {
                    let sql = "DELETE FROM frames WHERE seq >= ?1 AND seq <= ?2 AND shard = ?3";
                    conn.execute(sql, (self.low, through, subject.tokens()))
                })
                .map_err(failed)?;
        }
        Ok(u64::try_from(gone).unwrap_or(u64::MAX))
    }

    /// Deletes a shard's last frame if it is at that position. Runs alone.
    pub(super) fn remove(
        &mut self,
        subject: &Subject,
        at: Position,
    ) -> Result<Removed, StoreError> {
        let Some((path, last)) = self.last_of(subject)? else {
            return Ok(Removed::Done);
        };
        if position(last) != at {
            return Ok(if position(last) > at {
                Removed::Conflict
            } else {
                Removed::Done
            });
        }
        self.keep_head()?;
        let files = self.files.snapshot();
        if let Some(file) = files.iter().find(|file| file.path == path) {
            self.with_file(file, |conn| {
                conn.execute("DELETE FROM frames WHERE seq = ?1", [last])
            })
            .map_err(failed)?;
        }
        Ok(Removed::Done)
    }

    /// Hides what is before a position and unlinks the files that hold nothing else. Runs alone.
    pub(super) fn trim(&mut self, before: Position) -> Result<(), StoreError> {
        let low = sequence_at(FIRST_GENERATION, before).min(self.head + 1);
        if low > self.low {
            set_meta(&self.conn, "low", low).map_err(failed)?;
            self.low = low;
            self.files.trim(low);
        }
        if self.low > self.head {
            if self.clock.now().day() > self.day {
                self.turn_over()
                    .map_err(|error| StoreError::Retryable(Arc::new(error)))?;
            } else {
                // Everything of today counts as gone already: only a clock that was moved does that.
                self.keep_head()?;
                self.conn
                    .execute("DELETE FROM frames WHERE seq < ?1", [self.low])
                    .map_err(failed)?;
            }
        }
        for path in self.files.drop_before(self.low, self.day) {
            unlink(&path).map_err(|error| StoreError::Retryable(Arc::new(error)))?;
        }
        Ok(())
    }

    /// Remembers the head apart from the frames, before frames are deleted.
    fn keep_head(&self) -> Result<(), StoreError> {
        set_meta(&self.conn, "base", self.head).map_err(failed)
    }

    /// Begins the file of today, and closes the one before.
    fn turn_over(&mut self) -> Result<(), DatabaseError> {
        let today = self.clock.now().day();
        let opened = open_day(&self.folder, today, self.head, self.low)?;
        self.files.begin(
            DayFile {
                day: today,
                path: opened.path,
                last: self.head,
            },
            self.head,
        );
        if let Err(error) = checkpoint(&self.conn) {
            tracing::debug!(error = %error, "yesterday's frames stay in their write-ahead log for now");
        }
        self.conn = opened.conn;
        self.day = today;
        Ok(())
    }

    /// Empties the WAL of every file: an older one has something in it when frames of it were purged.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        for file in self.files.snapshot() {
            self.with_file(&file, checkpoint).map_err(failed)?;
        }
        Ok(())
    }

    fn reload(&mut self) -> rusqlite::Result<()> {
        let base = meta(&self.conn, "base")?.unwrap_or(0);
        let last: Option<i64> = self
            .conn
            .query_row("SELECT max(seq) FROM frames", [], |row| row.get(0))?;
        self.head = last.unwrap_or(base).max(base);
        Ok(())
    }
}

impl Unit for Frames {
    fn begin(&mut self) -> rusqlite::Result<()> {
        if self.clock.now().day() > self.day
            && let Err(error) = self.turn_over()
        {
            return Err(match error {
                DatabaseError::Sqlite { source, .. } => source,
                DatabaseError::File { .. }
                | DatabaseError::Newer { .. }
                | DatabaseError::Older { .. } => {
                    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
                    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
                }
            });
        }
        self.conn.execute_batch("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        self.conn.execute_batch("COMMIT")?;
        self.followers.advance(Stream::TELEMETRY, count(self.head));
        Ok(())
    }

    fn rollback(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %error, "a transaction of frames cannot be rolled back");
        }
        if let Err(error) = self.reload() {
            tracing::error!(error = %error, "the head of the frames cannot be read again");
        }
    }

    fn in_transaction(&self) -> bool {
        !self.conn.is_autocommit()
    }

    fn end(&mut self) {
        if let Err(error) = checkpoint(&self.conn) {
            tracing::debug!(error = %error, "the last checkpoint of the frames was not complete");
        }
    }
}
