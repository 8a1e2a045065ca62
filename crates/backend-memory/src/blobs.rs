//! Blobs in memory: created once, read by range.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_ports::{BlobKey, Blobs, StoreError};

use crate::guard::lock;

/// The greatest object. A greater one is `Terminal`.
pub const MAX_BLOB_BYTES: usize = 64 << 20;

/// Blobs in memory.
#[derive(Debug, Default)]
pub struct MemoryBlobs {
    objects: Mutex<BTreeMap<BlobKey, Bytes>>,
}

impl MemoryBlobs {
    /// An independent copy of everything stored.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            objects: Mutex::new(lock(&self.objects).clone()),
        }
    }

    fn object(&self, key: &BlobKey) -> Result<Bytes, StoreError> {
        let objects = lock(&self.objects);
        objects.get(key).cloned().ok_or(StoreError::NotFound)
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn create(&self, key: &BlobKey, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() > MAX_BLOB_BYTES {
            return Err(StoreError::terminal("an object is at most 64 MiB"));
        }
        let mut objects = lock(&self.objects);
        if objects.contains_key(key) {
            return Err(StoreError::Conflict);
        }
        objects.insert(key.clone(), bytes);
        Ok(())
    }

    async fn length(&self, key: &BlobKey) -> Result<u64, StoreError> {
        let length = self.object(key)?.len();
        Ok(u64::try_from(length).unwrap_or(u64::MAX))
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let object = self.object(key)?;
        let clamp = |at: u64| usize::try_from(at).map_or(object.len(), |at| at.min(object.len()));
        let (start, end) = (clamp(range.start), clamp(range.end));
        Ok(object.slice(start..end.max(start)))
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        lock(&self.objects).remove(key);
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobKey>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(lock(&self.objects)
            .range((from, Bound::Unbounded))
            .map(|(key, _)| key)
            .filter(|key| key.as_str().starts_with(prefix))
            .take(limit)
            .cloned()
            .collect())
    }
}
