//! Documents: rows of views and snapshots under (table, partition, key). CQL's promises and no more.
//!
//! No transactions across documents. Each write carries a stamp (a log position as a number) and the
//! greatest stamp wins, whatever the order of arrival; so a write that is repeated or late is harmless. A
//! delete is a write too. At equal stamps a delete wins over a put, and of two puts the greater value.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;

/// A table, by a name that is a constant of the source: lower case, `<service>_<plural>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table(pub &'static str);

/// One document of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its key within the partition.
    pub key: Vec<u8>,
    /// The stamp it was put with.
    pub stamp: i64,
    /// Its value.
    pub value: Bytes,
}

/// A range of keys inside one partition: lexicographic by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// From this key on, itself included; `None`: from the first.
    pub from: Option<Vec<u8>>,
    /// Up to this key, itself excluded; `None`: to the last.
    pub until: Option<Vec<u8>>,
    /// Greatest key first.
    pub descending: bool,
    /// At most this many documents; 1 to 10,000.
    pub limit: usize,
}

impl Range {
    /// The whole partition, ascending, up to a limit.
    #[must_use]
    pub const fn all(limit: usize) -> Self {
        Self {
            from: None,
            until: None,
            descending: false,
            limit,
        }
    }
}

/// The documents of all services; who may touch which table is the wiring's and the store's business.
///
/// Bounds: a partition key or key is at most 1 KiB, a value at most 1 MiB; more is `Terminal`.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// Puts a document, unless one with a greater stamp was put or deleted before.
    ///
    /// # Errors
    /// `Unknown` or `Retryable`: put it again, it is idempotent.
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError>;

    /// Deletes a document as of a stamp: older puts that arrive later stay deleted.
    ///
    /// # Errors
    /// As [`Documents::put`].
    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError>;

    /// The document, if there is one.
    ///
    /// # Errors
    /// `Retryable` when the store does not answer.
    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError>;

    /// The documents of a range of one partition, in order.
    ///
    /// # Errors
    /// As [`Documents::get`].
    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError>;

    /// Deletes a whole partition as of a stamp. For erasure and for views that were replaced.
    ///
    /// # Errors
    /// As [`Documents::put`].
    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError>;

    /// The partition keys of a table, in an order of the store's, after one, at most `limit`. Slow: for
    /// rebuilds, comparisons and sweeps.
    ///
    /// # Errors
    /// As [`Documents::get`].
    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError>;
}
