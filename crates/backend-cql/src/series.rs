//! Series on CQL: sealed segments and chunks in partitions that a question names, and where they lie.
//!
//! What lies in a partition that no key alone names is found through two tables, `segment_days` and `chunk_months`:
//! their row is durable before what it points at is written, and carries the same timestamp. Deleting a home takes
//! one timestamp, deletes the partitions that it finds and then exactly the rows that it found them by. So a crash or
//! a writer in between leaves at worst a row that points at nothing, never a partition that no row points at.
//!
//! **Differences that a caller can see.** A chunk that is rewritten with other bytes is not refused, the later one
//! replaces it. Expiry counts no rows: TTLs do it. Writers of one segment in several processes are ordered by their
//! clocks; only a delete and a resend within the clocks' difference could be mixed up, and deletes follow an hour
//! after what they delete was replaced.

mod chunks;
mod home;
mod keys;
mod rows;
mod segments;
mod statements;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass, Timestamp};
use hearth_ports::{
    ChunkKey, Latest, ManifestRow, SegmentKey, Series, StoreError, StoredChunk, StoredSegment,
};

use crate::connection::Connection;
use crate::error::CqlError;
use statements::Statements;

/// Largest sealed value, in bytes: below what ScyllaDB fails as a cell, and a quarter of a commit-log segment.
const SEALED_BYTES: usize = 1_900_000;

/// Series on CQL. Cheap to clone.
#[derive(Clone)]
pub struct CqlSeries {
    connection: Arc<Connection>,
    statements: Arc<Statements>,
}

impl fmt::Debug for CqlSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CqlSeries")
    }
}

impl CqlSeries {
    pub(crate) async fn open(connection: Arc<Connection>) -> Result<Self, CqlError> {
        let statements = Arc::new(Statements::prepare(&connection).await?);
        Ok(Self {
            connection,
            statements,
        })
    }

    /// A home as it stands in rows: its id behind the installation's space.
    fn stored(&self, home: HomeId) -> Vec<u8> {
        let mut bytes = self.connection.space.clone().into_bytes();
        bytes.extend_from_slice(home.as_bytes());
        bytes
    }

    /// The home of a row, if it is of this space.
    fn home(&self, stored: &[u8]) -> Option<HomeId> {
        let id = stored.strip_prefix(self.connection.space.as_bytes())?;
        HomeId::from_slice(id)
    }
}

fn check_sealed(sealed: &[u8]) -> Result<(), StoreError> {
    if sealed.len() > SEALED_BYTES {
        return Err(StoreError::terminal("a sealed value is larger than 1.9 MB"));
    }
    Ok(())
}

#[async_trait]
impl Series for CqlSeries {
    async fn put_segments(&self, segments: &[StoredSegment]) -> Result<(), StoreError> {
        segments::put(self, segments).await
    }

    async fn segments(
        &self,
        home: HomeId,
        day: Day,
        after: Option<SegmentKey>,
        limit: usize,
    ) -> Result<Vec<StoredSegment>, StoreError> {
        segments::read(self, home, day, after, limit).await
    }

    async fn delete_segments(&self, keys: &[SegmentKey]) -> Result<(), StoreError> {
        segments::delete(self, keys).await
    }

    async fn put_chunks(
        &self,
        chunks: &[StoredChunk],
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        chunks::put(self, chunks, expires).await
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
        let like = ChunkKey {
            home,
            device,
            capability,
            class,
            day: days.0,
            window,
            generation: 0,
        };
        chunks::read(self, &like, days, now).await
    }

    async fn delete_chunks(&self, keys: &[ChunkKey]) -> Result<(), StoreError> {
        chunks::delete(self, keys).await
    }

    async fn put_manifest(&self, row: ManifestRow) -> Result<(), StoreError> {
        rows::put_manifest(self, &row).await
    }

    async fn manifest(
        &self,
        home: HomeId,
        days: (Day, Day),
    ) -> Result<Vec<ManifestRow>, StoreError> {
        rows::manifest(self, home, days).await
    }

    async fn put_latest(&self, rows: &[Latest]) -> Result<(), StoreError> {
        rows::put_latest(self, rows).await
    }

    async fn latest(&self, home: HomeId) -> Result<Vec<Latest>, StoreError> {
        rows::latest(self, home).await
    }

    async fn segment_days(&self, home: HomeId, limit: usize) -> Result<Vec<Day>, StoreError> {
        home::segment_days(self, home, limit).await
    }

    async fn homes(&self, after: Option<HomeId>, limit: usize) -> Result<Vec<HomeId>, StoreError> {
        home::homes(self, after, limit).await
    }

    async fn manifest_homes(
        &self,
        after: Option<HomeId>,
        limit: usize,
    ) -> Result<Vec<HomeId>, StoreError> {
        home::manifest_homes(self, after, limit).await
    }

    async fn delete_home(&self, home: HomeId) -> Result<(), StoreError> {
        home::delete(self, home).await
    }

    /// The store drops what expired by itself: tables of chunks have TTLs.
    async fn expire(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}
