//! Blobs: create-only objects of recordings. A folder or S3.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;

/// The key of an object: `/`-separated tokens of `[a-z0-9-]`, at most 512 bytes, nothing personal in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobKey(String);

impl BlobKey {
    /// A key, if its text has that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let token = |token: &str| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        (text.len() <= 512 && text.split('/').all(token)).then(|| Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Objects that are written once and read by range.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Creates an object, at most 64 MiB; durable when it answers.
    ///
    /// # Errors
    /// `Conflict` when the key exists, `Unknown` when it cannot be told.
    async fn create(&self, key: &BlobKey, bytes: Bytes) -> Result<(), StoreError>;

    /// The object's length in bytes.
    ///
    /// # Errors
    /// `NotFound`, `Retryable`.
    async fn length(&self, key: &BlobKey) -> Result<u64, StoreError>;

    /// A range of the object's bytes; shorter when it ends before.
    ///
    /// # Errors
    /// `NotFound`, `Retryable`.
    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Deletes the object and its bytes; one that is not there is no error.
    ///
    /// # Errors
    /// `Retryable`.
    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError>;

    /// The keys that begin with a prefix, in order, after one, at most `limit`.
    ///
    /// # Errors
    /// `Retryable`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobKey>, StoreError>;
}
