//! Series: sealed segments, chunks and rollups of device readings, and the manifest that says which count.
//!
//! Primary storage, not a view. Laid out for CQL: segments in a partition (home, day), chunks in a
//! partition (home, device, capability, month) of a table per retention class; inserts only, deletes by
//! partition or range, no read before a write (DESIGN section 5).

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{
    Capability, ClaimId, Day, DeviceId, HomeId, HubStreamId, RetentionClass, Timestamp,
};

use crate::error::StoreError;

/// The key of a segment. A resend has the same key and overwrites itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentKey {
    /// The home.
    pub home: HomeId,
    /// The UTC day its readings were observed on.
    pub day: Day,
    /// Their retention class.
    pub class: RetentionClass,
    /// The hub's claim.
    pub claim: ClaimId,
    /// The hub's stream.
    pub stream: HubStreamId,
    /// The batch's sequence in that stream.
    pub sequence: u64,
}

/// A segment as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// Its key.
    pub key: SegmentKey,
    /// Sealed by the hub's home's key; begins with the key id.
    pub sealed: Bytes,
}

/// The key of a chunk or a rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkKey {
    /// The home.
    pub home: HomeId,
    /// The device.
    pub device: DeviceId,
    /// The capability.
    pub capability: Capability,
    /// The class: of the readings, or `Rollups`.
    pub class: RetentionClass,
    /// The UTC day.
    pub day: Day,
    /// Seconds of a rollup's window (60, 3,600, 86,400); 0 for readings themselves.
    pub window: u32,
    /// The chunk generation of that day that it belongs to: what the manifest names.
    pub generation: u64,
}

/// A chunk as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its key.
    pub key: ChunkKey,
    /// Sealed; begins with the key id.
    pub sealed: Bytes,
}

/// The manifest of one (home, day): which chunk generation is alive and which batches it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// The home.
    pub home: HomeId,
    /// The day.
    pub day: Day,
    /// The fence of the compactor's lease: a greater one wins.
    pub fence: u64,
    /// Grows with each generation under one fence.
    pub counter: u64,
    /// The body, which the compactor encodes: generation, covered batches.
    pub body: Bytes,
}

/// The newest reading of one capability of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// The home.
    pub home: HomeId,
    /// The device.
    pub device: DeviceId,
    /// The capability.
    pub capability: Capability,
    /// When the device observed it: the greatest wins, in any order of arrival.
    pub observed_at: Timestamp,
    /// The sealed value; begins with the key id.
    pub sealed: Bytes,
}

/// The store of device time series.
#[async_trait]
pub trait Series: Send + Sync + 'static {
    /// Puts segments; durable when it answers. A segment with a stored key replaces it.
    ///
    /// # Errors
    /// `Unknown` or `Retryable`: put them again, it is idempotent.
    async fn put_segments(&self, segments: &[StoredSegment]) -> Result<(), StoreError>;

    /// The segments of a home and day, ordered by key, at most `limit` after a key.
    ///
    /// # Errors
    /// `Retryable` when the store does not answer.
    async fn segments(
        &self,
        home: HomeId,
        day: Day,
        after: Option<SegmentKey>,
        limit: usize,
    ) -> Result<Vec<StoredSegment>, StoreError>;

    /// Deletes segments of one home and day.
    ///
    /// # Errors
    /// `Retryable`; deleting again is harmless.
    async fn delete_segments(&self, keys: &[SegmentKey]) -> Result<(), StoreError>;

    /// Puts chunks: insert-only, a key is never written twice with other bytes. `expires` is when the
    /// store may drop them.
    ///
    /// # Errors
    /// As [`Series::put_segments`].
    async fn put_chunks(
        &self,
        chunks: &[StoredChunk],
        expires: Timestamp,
    ) -> Result<(), StoreError>;

    /// The chunks of one capability from a day to a day (both included) with that window and class, every
    /// generation, ordered by (day, generation). What has expired by `now` is absent.
    ///
    /// # Errors
    /// As [`Series::segments`].
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the columns of one clustering key"
    )]
    async fn chunks(
        &self,
        home: HomeId,
        device: DeviceId,
        capability: Capability,
        class: RetentionClass,
        window: u32,
        days: (Day, Day),
        now: Timestamp,
    ) -> Result<Vec<StoredChunk>, StoreError>;

    /// Deletes chunks that a newer generation has replaced.
    ///
    /// # Errors
    /// As [`Series::delete_segments`].
    async fn delete_chunks(&self, keys: &[ChunkKey]) -> Result<(), StoreError>;

    /// Writes a manifest row; the greatest (fence, counter) wins, in any order of arrival.
    ///
    /// # Errors
    /// As [`Series::put_segments`].
    async fn put_manifest(&self, row: ManifestRow) -> Result<(), StoreError>;

    /// The manifest rows of a home from a day to a day, both included, in order.
    ///
    /// # Errors
    /// As [`Series::segments`].
    async fn manifest(
        &self,
        home: HomeId,
        days: (Day, Day),
    ) -> Result<Vec<ManifestRow>, StoreError>;

    /// Puts latest rows; each only if it was observed after what is there.
    ///
    /// # Errors
    /// As [`Series::put_segments`].
    async fn put_latest(&self, rows: &[Latest]) -> Result<(), StoreError>;

    /// Every latest row of a home.
    ///
    /// # Errors
    /// As [`Series::segments`].
    async fn latest(&self, home: HomeId) -> Result<Vec<Latest>, StoreError>;

    /// The days a home has segments of, in order, at most `limit`.
    ///
    /// # Errors
    /// As [`Series::segments`].
    async fn segment_days(&self, home: HomeId, limit: usize) -> Result<Vec<Day>, StoreError>;

    /// The homes that have segments, after one, in an order of the store's. Slow: for sweeps.
    ///
    /// # Errors
    /// As [`Series::segments`].
    async fn homes(&self, after: Option<HomeId>, limit: usize) -> Result<Vec<HomeId>, StoreError>;

    /// The homes that have manifest rows, after one, in an order of the store's. Slow: for sweeps.
    ///
    /// # Errors
    /// As [`Series::segments`].
    async fn manifest_homes(
        &self,
        after: Option<HomeId>,
        limit: usize,
    ) -> Result<Vec<HomeId>, StoreError>;

    /// Deletes everything of a home: segments, chunks, manifest, latest.
    ///
    /// # Errors
    /// As [`Series::delete_segments`].
    async fn delete_home(&self, home: HomeId) -> Result<(), StoreError>;

    /// Drops what expired before `now`, where the store does not do it by itself. Answers how many rows went.
    ///
    /// # Errors
    /// As [`Series::delete_segments`].
    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError>;
}
