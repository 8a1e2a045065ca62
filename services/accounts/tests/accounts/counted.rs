//! Stores that write down what is read of them: what an answer cost, apart from how long it took.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_ports::{
    Announcement, Document, Documents, Expected, Log, Message, Position, Purge, Range, Read,
    Removed, StoreError, Stream, Subject, Table, Topic,
};

/// What was read, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads(Arc<Mutex<Vec<String>>>);

impl Reads {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    /// What was read since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A store behind it.
pub(crate) struct Counted<T: ?Sized> {
    pub(crate) inner: Arc<T>,
    pub(crate) reads: Reads,
}

#[async_trait]
impl Log for Counted<dyn Log> {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        self.inner.append(subject, expected, bytes).await
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        self.reads.note(format!("load {}", subject.kind()));
        self.inner.load(subject, after, limit, read).await
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        self.reads.note(format!("last {}", subject.kind()));
        self.inner.last(subject, read).await
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        self.inner.head(stream).await
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        self.inner.newest(stream).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.inner.page(stream, after, limit).await
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
        self.inner.purge(subject, through, purge).await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        self.inner.remove(subject, position).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        self.inner.trim(stream, before).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.announce(topic, bytes).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.inner.listen(topic)
    }
}

#[async_trait]
impl Documents for Counted<dyn Documents> {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        self.inner.put(table, partition, key, stamp, value).await
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        self.inner.delete(table, partition, key, stamp).await
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        self.reads.note(format!("get {}", table.0));
        self.inner.get(table, partition, key).await
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        self.inner.range(table, partition, range).await
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        self.inner.drop_partition(table, partition, stamp).await
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.inner.partitions(table, after, limit).await
    }
}
