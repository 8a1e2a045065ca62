//! Documents, series and blobs, asked again until they answer: every write of theirs may be repeated.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass, Timestamp};
use hearth_ports::{
    BlobKey, Blobs, ChunkKey, Document, Documents, Latest, ManifestRow, Range, SegmentKey, Series,
    StoreError, StoredChunk, StoredSegment, Table,
};

use super::{Patient, TRIES, again, exhausted};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Documents + ?Sized> Documents for Patient<T> {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        again(|| self.inner.put(table, partition, key, stamp, value.clone())).await
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        again(|| self.inner.delete(table, partition, key, stamp)).await
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        again(|| self.inner.get(table, partition, key)).await
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        again(|| self.inner.range(table, partition, range.clone())).await
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        again(|| self.inner.drop_partition(table, partition, stamp)).await
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        again(|| self.inner.partitions(table, after.clone(), limit)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Series + ?Sized> Series for Patient<T> {
    async fn put_segments(&self, segments: &[StoredSegment]) -> Result<(), StoreError> {
        again(|| self.inner.put_segments(segments)).await
    }

    async fn segments(
        &self,
        home: HomeId,
        day: Day,
        after: Option<SegmentKey>,
        limit: usize,
    ) -> Result<Vec<StoredSegment>, StoreError> {
        again(|| self.inner.segments(home, day, after, limit)).await
    }

    async fn delete_segments(&self, keys: &[SegmentKey]) -> Result<(), StoreError> {
        again(|| self.inner.delete_segments(keys)).await
    }

    async fn put_chunks(
        &self,
        chunks: &[StoredChunk],
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        again(|| self.inner.put_chunks(chunks, expires)).await
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
        again(|| {
            self.inner
                .chunks(home, device, capability, class, window, days, now)
        })
        .await
    }

    async fn delete_chunks(&self, keys: &[ChunkKey]) -> Result<(), StoreError> {
        again(|| self.inner.delete_chunks(keys)).await
    }

    async fn put_manifest(&self, row: ManifestRow) -> Result<(), StoreError> {
        again(|| self.inner.put_manifest(row.clone())).await
    }

    async fn manifest(
        &self,
        home: HomeId,
        days: (Day, Day),
    ) -> Result<Vec<ManifestRow>, StoreError> {
        again(|| self.inner.manifest(home, days)).await
    }

    async fn put_latest(&self, rows: &[Latest]) -> Result<(), StoreError> {
        again(|| self.inner.put_latest(rows)).await
    }

    async fn latest(&self, home: HomeId) -> Result<Vec<Latest>, StoreError> {
        again(|| self.inner.latest(home)).await
    }

    async fn segment_days(&self, home: HomeId, limit: usize) -> Result<Vec<Day>, StoreError> {
        again(|| self.inner.segment_days(home, limit)).await
    }

    async fn homes(&self, after: Option<HomeId>, limit: usize) -> Result<Vec<HomeId>, StoreError> {
        again(|| self.inner.homes(after, limit)).await
    }

    async fn manifest_homes(
        &self,
        after: Option<HomeId>,
        limit: usize,
    ) -> Result<Vec<HomeId>, StoreError> {
        again(|| self.inner.manifest_homes(after, limit)).await
    }

    async fn delete_home(&self, home: HomeId) -> Result<(), StoreError> {
        again(|| self.inner.delete_home(home)).await
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        again(|| self.inner.expire(now)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Blobs + ?Sized> Blobs for Patient<T> {
    async fn create(&self, key: &BlobKey, bytes: Bytes) -> Result<(), StoreError> {
        let mut unsure = false;
        for _ in 0..TRIES {
            match self.inner.create(key, bytes.clone()).await {
                Err(StoreError::Unknown(_)) => unsure = true,
                Err(StoreError::Retryable(_)) => {}
                // What is there may be what a call before this one wrote.
                Err(StoreError::Conflict) if unsure => {
                    let there = self.read(key, 0..u64::MAX).await?;
                    return if there == bytes {
                        Ok(())
                    } else {
                        Err(StoreError::Conflict)
                    };
                }
                other => return other,
            }
            tokio::task::yield_now().await;
        }
        Err(exhausted())
    }

    async fn length(&self, key: &BlobKey) -> Result<u64, StoreError> {
        again(|| self.inner.length(key)).await
    }

    async fn read(&self, key: &BlobKey, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        again(|| self.inner.read(key, range.clone())).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        again(|| self.inner.delete(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobKey>, StoreError> {
        again(|| self.inner.list(prefix, after, limit)).await
    }
}
