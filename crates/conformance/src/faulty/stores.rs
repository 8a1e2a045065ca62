//! Documents, series and blobs behind faults.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass, Timestamp};
use hearth_ports::{
    BlobKey, Blobs, ChunkKey, Document, Documents, Latest, ManifestRow, Range, SegmentKey, Series,
    StoreError, StoredChunk, StoredSegment, Table,
};

use super::Faulty;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Documents + ?Sized> Documents for Faulty<T> {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        self.write(self.inner.put(table, partition, key, stamp, value))
            .await
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        self.write(self.inner.delete(table, partition, key, stamp))
            .await
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        self.read(self.inner.get(table, partition, key)).await
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        self.read(self.inner.range(table, partition, range)).await
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        self.write(self.inner.drop_partition(table, partition, stamp))
            .await
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(self.inner.partitions(table, after, limit)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Series + ?Sized> Series for Faulty<T> {
    async fn put_segments(&self, segments: &[StoredSegment]) -> Result<(), StoreError> {
        self.write(self.inner.put_segments(segments)).await
    }

    async fn segments(
        &self,
        home: HomeId,
        day: Day,
        after: Option<SegmentKey>,
        limit: usize,
    ) -> Result<Vec<StoredSegment>, StoreError> {
        self.read(self.inner.segments(home, day, after, limit))
            .await
    }

    async fn delete_segments(&self, keys: &[SegmentKey]) -> Result<(), StoreError> {
        self.write(self.inner.delete_segments(keys)).await
    }

    async fn put_chunks(
        &self,
        chunks: &[StoredChunk],
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(self.inner.put_chunks(chunks, expires)).await
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
        self.read(
            self.inner
                .chunks(home, device, capability, class, window, days, now),
        )
        .await
    }

    async fn delete_chunks(&self, keys: &[ChunkKey]) -> Result<(), StoreError> {
        self.write(self.inner.delete_chunks(keys)).await
    }

    async fn put_manifest(&self, row: ManifestRow) -> Result<(), StoreError> {
        self.write(self.inner.put_manifest(row)).await
    }

    async fn manifest(
        &self,
        home: HomeId,
        days: (Day, Day),
    ) -> Result<Vec<ManifestRow>, StoreError> {
        self.read(self.inner.manifest(home, days)).await
    }

    async fn put_latest(&self, rows: &[Latest]) -> Result<(), StoreError> {
        self.write(self.inner.put_latest(rows)).await
    }

    async fn latest(&self, home: HomeId) -> Result<Vec<Latest>, StoreError> {
        self.read(self.inner.latest(home)).await
    }

    async fn segment_days(&self, home: HomeId, limit: usize) -> Result<Vec<Day>, StoreError> {
        self.read(self.inner.segment_days(home, limit)).await
    }

    async fn homes(&self, after: Option<HomeId>, limit: usize) -> Result<Vec<HomeId>, StoreError> {
        self.read(self.inner.homes(after, limit)).await
    }

    async fn manifest_homes(
        &self,
        after: Option<HomeId>,
        limit: usize,
    ) -> Result<Vec<HomeId>, StoreError> {
        self.read(self.inner.manifest_homes(after, limit)).await
    }

    async fn delete_home(&self, home: HomeId) -> Result<(), StoreError> {
        self.write(self.inner.delete_home(home)).await
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(self.inner.expire(now)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Blobs + ?Sized> Blobs for Faulty<T> {
    async fn create(&self, key: &BlobKey, bytes: Bytes) -> Result<(), StoreError> {
        self.write(self.inner.create(key, bytes)).await
    }

    async fn length(&self, key: &BlobKey) -> Result<u64, StoreError> {
        self.read(self.inner.length(key)).await
    }

    async fn read(&self, key: &BlobKey, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.read(self.inner.read(key, range)).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.write(self.inner.delete(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobKey>, StoreError> {
        self.read(self.inner.list(prefix, after, limit)).await
    }
}
