//! A log and documents that stop answering after so many calls, before or after the effect of the last one: what a
//! killed process has left behind, at every place where it can be killed.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_ports::{
    Announcement, Document, Documents, Expected, Log, Message, Position, Purge, Range, Read,
    Removed, StoreError, Stream, Subject, Table, Topic,
};

/// How many calls are left.
#[derive(Clone)]
pub(super) struct Fuse(Arc<AtomicI64>);

impl Fuse {
    /// One that lets everything pass until it is set.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }

    pub(super) fn set(&self, calls: i64) {
        self.0.store(calls, Ordering::SeqCst);
    }

    pub(super) fn is_blown(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }

    /// Makes one call, unless none is left. The last one has its effect, and its answer never comes.
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let left = self.0.fetch_sub(1, Ordering::SeqCst);
        if left > 1 {
            return call.await;
        }
        if left == 1 {
            call.await;
        }
        pending().await
    }
}

pub(super) struct Fused<T: ?Sized> {
    pub(super) fuse: Fuse,
    pub(super) inner: Arc<T>,
}

#[async_trait]
impl Log for Fused<dyn Log> {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        let call = self.inner.append(subject, expected, bytes);
        self.fuse.call(call).await
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        let call = self.inner.load(subject, after, limit, read);
        self.fuse.call(call).await
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        self.fuse.call(self.inner.last(subject, read)).await
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        self.fuse.call(self.inner.head(stream)).await
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        self.fuse.call(self.inner.newest(stream)).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.fuse.call(self.inner.page(stream, after, limit)).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        self.inner.tail(stream, after)
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        self.fuse
            .call(self.inner.purge(subject, through, purge))
            .await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        self.fuse.call(self.inner.remove(subject, position)).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        self.fuse.call(self.inner.trim(stream, before)).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.announce(topic, bytes).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.inner.listen(topic)
    }
}

#[async_trait]
impl Documents for Fused<dyn Documents> {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        let call = self.inner.put(table, partition, key, stamp, value);
        self.fuse.call(call).await
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        let call = self.inner.delete(table, partition, key, stamp);
        self.fuse.call(call).await
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        self.fuse.call(self.inner.get(table, partition, key)).await
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        self.fuse
            .call(self.inner.range(table, partition, range))
            .await
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        let call = self.inner.drop_partition(table, partition, stamp);
        self.fuse.call(call).await
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.fuse
            .call(self.inner.partitions(table, after, limit))
            .await
    }
}
