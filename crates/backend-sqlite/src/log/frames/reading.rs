//! Reading frames: a list of the day files, and a few connections to them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use hearth_kernel::Day;
use hearth_ports::{Message, StoreError, Stream, Subject};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use super::super::heads::FIRST_GENERATION;
use super::super::rows::{message_of_stream, page};
use super::days::{DayFile, SHAPE};
use crate::database::connect;
use crate::failure::{failed, limit, lock, read_lock, write_lock};
use crate::readers::blocking;

/// Connections that wait for the next read.
const IDLE: usize = 4;

/// The day files as readers see them.
pub(in crate::log) struct FrameFiles {
    days: RwLock<Vec<DayFile>>,
    low: AtomicI64,
    idle: Mutex<Vec<(Day, Connection)>>,
    permits: Arc<Semaphore>,
}

impl FrameFiles {
    pub(super) fn new(days: Vec<DayFile>, low: i64) -> Self {
        Self {
            days: RwLock::new(days),
            low: AtomicI64::new(low),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(SHAPE.readers)),
        }
    }

    /// The files, oldest first.
    pub(super) fn snapshot(&self) -> Vec<DayFile> {
        read_lock(&self.days).clone()
    }

    /// A new file begins after that sequence: now it is known where the one before it ends.
    pub(super) fn begin(&self, file: DayFile, head: i64) {
        let mut days = write_lock(&self.days);
        if let Some(before) = days.last_mut() {
            before.last = head;
        }
        days.push(file);
    }

    pub(super) fn trim(&self, low: i64) {
        self.low.fetch_max(low, Ordering::SeqCst);
    }

    /// Takes the files out of the list whose frames are all before that sequence, except the current one.
    pub(super) fn drop_before(&self, low: i64, current: Day) -> Vec<std::path::PathBuf> {
        let mut gone = Vec::new();
        write_lock(&self.days).retain(|file| {
            let stays = file.day >= current || file.last >= low;
            if !stays {
                gone.push((file.day, file.path.clone()));
            }
            stays
        });
        lock(&self.idle).retain(|(day, _)| gone.iter().all(|(gone, _)| gone != day));
        gone.into_iter().map(|(_, path)| path).collect()
    }

    /// Later reads fail, and the connections that wait are closed, so that nothing holds up a checkpoint.
    pub(in crate::log) fn close(&self) {
        self.permits.close();
        lock(&self.idle).clear();
    }

    /// Whether the log was closed.
    pub(in crate::log) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// A page of the stream after a sequence, by count and bytes.
    pub(in crate::log) async fn page(
        self: &Arc<Self>,
        after: i64,
        most: usize,
        most_bytes: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.gather(after, false, move |conn, after, had| {
            let bytes: usize = had.iter().map(|message| message.bytes.len()).sum();
            if had.len() >= most || bytes >= most_bytes {
                return Ok(Vec::new());
            }
            let sql =
                "SELECT seq, at, bytes, shard FROM frames WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let of = (Stream::TELEMETRY, FIRST_GENERATION);
            page(conn, sql, of, after, most - had.len(), most_bytes - bytes)
        })
        .await
    }

    /// A shard's frames after a sequence. A scan.
    pub(in crate::log) async fn load(
        self: &Arc<Self>,
        subject: &Subject,
        after: i64,
        most: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let shard = subject.tokens().to_owned();
        self.gather(after, false, move |conn, after, had| {
            conn.prepare_cached(
                "SELECT seq, at, bytes, shard FROM frames WHERE seq > ?1 AND shard = ?2 \
                 ORDER BY seq LIMIT ?3",
            )?
            .query_map(
                (after, &shard, limit(most.saturating_sub(had.len()))),
                |row| message_of_stream(row, FIRST_GENERATION, Stream::TELEMETRY),
            )?
            .collect()
        })
        .await
    }

    /// The newest frame, of a shard or of all.
    pub(in crate::log) async fn last(
        self: &Arc<Self>,
        subject: Option<&Subject>,
    ) -> Result<Option<Message>, StoreError> {
        let shard = subject.map(|subject| subject.tokens().to_owned());
        let mut found = self
            .gather(0, true, move |conn, after, had| {
                if !had.is_empty() {
                    return Ok(Vec::new());
                }
                let newest = conn
                    .prepare_cached(
                        "SELECT seq, at, bytes, shard FROM frames \
                         WHERE seq > ?1 AND (?2 IS NULL OR shard = ?2) ORDER BY seq DESC LIMIT 1",
                    )?
                    .query_row((after, &shard), |row| {
                        message_of_stream(row, FIRST_GENERATION, Stream::TELEMETRY)
                    })
                    .optional()?;
                Ok(newest.into_iter().collect())
            })
            .await?;
        Ok(found.pop())
    }

    /// Asks one file after the other, forwards or backwards, and puts the answers together.
    async fn gather<F>(
        self: &Arc<Self>,
        after: i64,
        backwards: bool,
        ask: F,
    ) -> Result<Vec<Message>, StoreError>
    where
        F: Fn(&Connection, i64, &[Message]) -> rusqlite::Result<Vec<Message>> + Send + 'static,
    {
        let files = Arc::clone(self);
        blocking(&self.permits, move || {
            let mut days = files.snapshot();
            let after = after.max(files.low.load(Ordering::SeqCst) - 1);
            let newest = days.last().map(|file| file.day);
            days.retain(|file| file.last > after || Some(file.day) == newest);
            if backwards {
                days.reverse();
            }
            let mut found = Vec::new();
            for file in days {
                let more = files.with(&file, |conn| ask(conn, after, &found));
                match more {
                    Ok(more) => found.extend(more),
                    // It was unlinked since the list was read: its frames count as gone.
                    Err(_) if !files.has(file.day) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(found)
        })
        .await
    }

    fn has(&self, day: Day) -> bool {
        read_lock(&self.days).iter().any(|file| file.day == day)
    }

    fn with<T>(
        &self,
        file: &DayFile,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = {
            let mut idle = lock(&self.idle);
            let at = idle.iter().position(|(day, _)| *day == file.day);
            at.map(|at| idle.swap_remove(at).1)
        };
        let conn = match idle {
            Some(conn) => conn,
            None => {
                let conn = connect(&file.path, SHAPE.reader_kib)?;
                conn.pragma_update(None, "query_only", "ON")?;
                conn
            }
        };
        let answer = work(&conn)?;
        let mut idle = lock(&self.idle);
        if self.has(file.day) && !self.is_closed() {
            if idle.len() >= IDLE {
                idle.remove(0);
            }
            idle.push((file.day, conn));
        }
        Ok(answer)
    }
}

/// A shard's last sequence in one file.
pub(super) fn last_sequence(conn: &Connection, shard: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT seq FROM frames WHERE shard = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([shard], |row| row.get(0))
        .optional()
}
