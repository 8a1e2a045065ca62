//! Series on SQLite: segments, chunks, manifest and latest rows, in a file of their own.
//!
//! Primary storage: what it acks is durable, because the frames it came from are trimmed behind it. Chunks
//! are insert-only, keyed by class and stretch of expiry, their bytes in pieces that fill pages. Deleting goes in pieces, so that no delete
//! holds up the writers behind it. Must not know what is sealed.

mod chunks;
mod keys;
mod rows;
#[cfg(test)]
mod tests;
mod windows;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass, Timestamp};
use hearth_ports::{
    ChunkKey, Latest, ManifestRow, SegmentKey, Series, StoreError, StoredChunk, StoredSegment,
};
use rusqlite::Connection;

use crate::database::{Database, DatabaseError, Primary, Shape, atomically};
use crate::failure::failed;
use windows::{Known, Window, Windows};

/// Rows that one transaction deletes: bounds how long other writes wait behind it.
const SWEEP_ROWS: i64 = 2_000;

const SHAPE: Shape = Shape {
    name: "series-writer",
    // 1 had a table for each stretch of expiry.
    format: 2,
    // Each table's last page is partly empty: of larger pages a small home would leave more empty than it fills.
    page_bytes: 4 << 10,
    writer_kib: 4 << 10,
    reader_kib: 1 << 10,
    readers: 4,
    gives_back: true,
    schema:
        "CREATE TABLE segments(key BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE manifest(key BLOB PRIMARY KEY, rank BLOB NOT NULL, body BLOB NOT NULL) \
             STRICT, WITHOUT ROWID;
             CREATE TABLE latest(key BLOB PRIMARY KEY, observed_at INTEGER NOT NULL, \
             sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE chunks(key BLOB PRIMARY KEY, expires INTEGER NOT NULL, \
             first INTEGER NOT NULL, pieces INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE pieces(number INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;",
};

/// Series on SQLite. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct SqliteSeries {
    database: Arc<Database<Windows>>,
    known: Known,
}

impl std::fmt::Debug for SqliteSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteSeries")
    }
}

impl SqliteSeries {
    /// Opens `series.db` in a folder, and makes it if it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, or of another format.
    pub fn open(folder: &Path) -> Result<Self, DatabaseError> {
        let known = Known::default();
        let database = Database::open(&folder.join("series.db"), SHAPE, |conn| {
            Windows::read(conn, known.clone())
        })?;
        Ok(Self {
            database: Arc::new(database),
            known,
        })
    }

    /// Makes the bytes of deleted rows vanish from the file and its WAL.
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

    async fn write<T, F>(&self, weight: usize, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let work = move |primary: &mut Primary<Windows>| atomically(&primary.conn, work);
        self.database.writer.submit(weight, work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.database
            .readers
            .read(move |conn| work(conn).map_err(failed))
            .await
    }

    /// Deletes what a statement finds, piece by piece. Answers how many rows went.
    async fn sweep<F>(&self, piece: F) -> Result<u64, StoreError>
    where
        F: Fn(&Connection) -> rusqlite::Result<usize> + Clone + Send + 'static,
    {
        let mut gone = 0;
        loop {
            let piece = piece.clone();
            match self
                .write(0, move |conn| piece(conn).map_err(failed))
                .await?
            {
                0 => return Ok(gone),
                some => gone += u64::try_from(some).unwrap_or(u64::MAX),
            }
        }
    }
}

#[async_trait]
impl Series for SqliteSeries {
    async fn put_segments(&self, segments: &[StoredSegment]) -> Result<(), StoreError> {
        let segments = segments.to_vec();
        let weight = segments.iter().map(|one| one.sealed.len() + 64).sum();
        self.write(weight, move |conn| {
            rows::put_segments(conn, &segments).map_err(failed)
        })
        .await
    }

    async fn segments(
        &self,
        home: HomeId,
        day: Day,
        after: Option<SegmentKey>,
        limit: usize,
    ) -> Result<Vec<StoredSegment>, StoreError> {
        self.read(move |conn| rows::segments(conn, home, day, after, limit))
            .await
    }

    async fn delete_segments(&self, keys: &[SegmentKey]) -> Result<(), StoreError> {
        if let Some(first) = keys.first()
            && keys
                .iter()
                .any(|key| (key.home, key.day) != (first.home, first.day))
        {
            return Err(StoreError::terminal(
                "one call deletes in one partition only",
            ));
        }
        let keys: Vec<Vec<u8>> = keys.iter().map(keys::segment).collect();
        self.write(0, move |conn| {
            rows::delete_segments(conn, &keys).map_err(failed)
        })
        .await
    }

    async fn put_chunks(
        &self,
        chunks: &[StoredChunk],
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let chunks = chunks.to_vec();
        let weight = chunks.iter().map(|one| one.sealed.len() + 64).sum();
        self.database
            .writer
            .submit(weight, move |primary: &mut Primary<Windows>| {
                let windows: Vec<Window> = chunks
                    .iter()
                    .map(|chunk| Window::of(chunk.key.class, expires))
                    .collect();
                atomically(&primary.conn, |conn| {
                    for (chunk, window) in chunks.iter().zip(&windows) {
                        chunks::put(conn, *window, chunk, expires)?;
                    }
                    Ok(())
                })?;
                for window in windows {
                    primary.beside.add(window);
                }
                Ok(())
            })
            .await
    }

    async fn chunks(
        &self,
        home: HomeId,
        device: DeviceId,
        capability: Capability,
        class: RetentionClass,
        window: u32,
        days: (Day, Day),
        now: Timestamp,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        let known = self.known.clone();
        let series = ChunkKey {
            home,
            device,
            capability,
            class,
            day: days.0,
            window,
            generation: 0,
        };
        self.read(move |conn| {
            let windows = known.alive(class, now);
            chunks::read(conn, &windows, &series, days, now)
        })
        .await
    }

    async fn delete_chunks(&self, keys: &[ChunkKey]) -> Result<(), StoreError> {
        for class in RetentionClass::ALL {
            let doomed: Vec<Vec<u8>> = keys
                .iter()
                .filter(|key| key.class == class)
                .map(keys::chunk)
                .collect();
            if doomed.is_empty() {
                continue;
            }
            // Which window a chunk is in depends on its expiry, which its key does not tell.
            let mut windows = self.known.all();
            windows.retain(|window| window.class == class);
            self.write(0, move |conn| {
                chunks::delete(conn, &windows, &doomed).map_err(failed)
            })
            .await?;
        }
        Ok(())
    }

    async fn put_manifest(&self, row: ManifestRow) -> Result<(), StoreError> {
        self.write(row.body.len(), move |conn| {
            rows::put_manifest(conn, &row).map_err(failed)
        })
        .await
    }

    async fn manifest(
        &self,
        home: HomeId,
        days: (Day, Day),
    ) -> Result<Vec<ManifestRow>, StoreError> {
        self.read(move |conn| rows::manifest(conn, home, days))
            .await
    }

    async fn put_latest(&self, rows: &[Latest]) -> Result<(), StoreError> {
        let latest = rows.to_vec();
        let weight = latest.iter().map(|one| one.sealed.len() + 64).sum();
        self.write(weight, move |conn| {
            rows::put_latest(conn, &latest).map_err(failed)
        })
        .await
    }

    async fn latest(&self, home: HomeId) -> Result<Vec<Latest>, StoreError> {
        self.read(move |conn| rows::latest(conn, home)).await
    }

    async fn segment_days(&self, home: HomeId, limit: usize) -> Result<Vec<Day>, StoreError> {
        self.read(move |conn| rows::segment_days(conn, home, limit))
            .await
    }

    async fn homes(&self, after: Option<HomeId>, limit: usize) -> Result<Vec<HomeId>, StoreError> {
        self.read(move |conn| rows::homes(conn, after, limit)).await
    }

    async fn manifest_homes(
        &self,
        after: Option<HomeId>,
        limit: usize,
    ) -> Result<Vec<HomeId>, StoreError> {
        self.read(move |conn| rows::manifest_homes(conn, after, limit))
            .await
    }

    async fn delete_home(&self, home: HomeId) -> Result<(), StoreError> {
        for window in self.known.all() {
            self.sweep(move |conn| chunks::delete_some_of_home(conn, window, home, SWEEP_ROWS))
                .await?;
        }
        for table in ["segments", "manifest", "latest"] {
            self.sweep(move |conn| rows::delete_some_of_home(conn, table, home, SWEEP_ROWS))
                .await?;
        }
        Ok(())
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        for window in self.known.all() {
            if !window.has_begun(now) {
                continue;
            }
            gone += self
                .sweep(move |conn| chunks::delete_some_expired(conn, window, now, SWEEP_ROWS))
                .await?;
            if window.is_over(now) {
                self.database
                    .writer
                    .submit(0, move |primary: &mut Primary<Windows>| {
                        if chunks::is_empty(&primary.conn, window).map_err(failed)? {
                            primary.beside.drop(window);
                        }
                        Ok(())
                    })
                    .await?;
            }
        }
        Ok(gone)
    }
}
