//! Series in memory: inserts, deletes by partition, and the same winners in any order of arrival.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{
    Capability, ClaimId, Day, DeviceId, HomeId, HubStreamId, RetentionClass, Timestamp,
};
use hearth_ports::{
    ChunkKey, Latest, ManifestRow, SegmentKey, Series, StoreError, StoredChunk, StoredSegment,
};

use crate::guard::lock;

/// Series in memory.
#[derive(Debug, Default)]
pub struct MemorySeries {
    tables: Mutex<Tables>,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    segments: BTreeMap<SegmentKey, Bytes>,
    chunks: BTreeMap<ChunkKey, (Bytes, Timestamp)>,
    manifest: BTreeMap<(HomeId, Day), ManifestRow>,
    latest: BTreeMap<(HomeId, DeviceId, Capability), Latest>,
}

impl MemorySeries {
    /// An independent copy of everything stored.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            tables: Mutex::new(lock(&self.tables).clone()),
        }
    }
}

/// At most `limit` homes after one, in order.
fn page_of_homes(
    homes: impl Iterator<Item = HomeId>,
    after: Option<HomeId>,
    limit: usize,
) -> Vec<HomeId> {
    let homes: BTreeSet<HomeId> = homes.collect();
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let rest = homes.range((from, Bound::Unbounded));
    rest.take(limit).copied().collect()
}

#[async_trait]
impl Series for MemorySeries {
    async fn put_segments(&self, segments: &[StoredSegment]) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        for segment in segments {
            tables.segments.insert(segment.key, segment.sealed.clone());
        }
        Ok(())
    }

    async fn segments(
        &self,
        home: HomeId,
        day: Day,
        after: Option<SegmentKey>,
        limit: usize,
    ) -> Result<Vec<StoredSegment>, StoreError> {
        let first = first_segment(home, day);
        let from = match after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        Ok(lock(&self.tables)
            .segments
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.home == home && key.day == day)
            .take(limit)
            .map(|(key, sealed)| StoredSegment {
                key: *key,
                sealed: sealed.clone(),
            })
            .collect())
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
        let mut tables = lock(&self.tables);
        for key in keys {
            tables.segments.remove(key);
        }
        Ok(())
    }

    async fn put_chunks(
        &self,
        chunks: &[StoredChunk],
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        let rewrites = |chunk: &StoredChunk| {
            tables
                .chunks
                .get(&chunk.key)
                .is_some_and(|(sealed, _)| *sealed != chunk.sealed)
        };
        if chunks.iter().any(rewrites) {
            return Err(StoreError::terminal(
                "a chunk is never written with other bytes",
            ));
        }
        for chunk in chunks {
            tables
                .chunks
                .insert(chunk.key, (chunk.sealed.clone(), expires));
        }
        Ok(())
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
        let wanted = |key: &ChunkKey| {
            (key.home, key.device, key.capability) == (home, device, capability)
                && (key.class, key.window) == (class, window)
                && (days.0..=days.1).contains(&key.day)
        };
        // With all other columns equal, the key's own order is that of (day, generation).
        let first = ChunkKey {
            home,
            device,
            capability,
            class,
            day: days.0,
            window: 0,
            generation: 0,
        };
        // With all other columns equal, the key's own order is that of (day, generation).
        Ok(lock(&self.tables)
            .chunks
            .range(first..)
            .take_while(|(key, _)| key.home == home)
            .filter(|(key, (_, expires))| wanted(key) && *expires > now)
            .map(|(key, (sealed, _))| StoredChunk {
                key: *key,
                sealed: sealed.clone(),
            })
            .collect())
    }

    async fn delete_chunks(&self, keys: &[ChunkKey]) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        for key in keys {
            tables.chunks.remove(key);
        }
        Ok(())
    }

    async fn put_manifest(&self, row: ManifestRow) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        // The body decides between equals, as values do at equal write timestamps in CQL.
        match tables.manifest.entry((row.home, row.day)) {
            Entry::Vacant(entry) => {
                entry.insert(row);
            }
            Entry::Occupied(mut entry) => {
                let rank = |row: &ManifestRow| (row.fence, row.counter, row.body.clone());
                if rank(&row) > rank(entry.get()) {
                    entry.insert(row);
                }
            }
        }
        Ok(())
    }

    async fn manifest(
        &self,
        home: HomeId,
        days: (Day, Day),
    ) -> Result<Vec<ManifestRow>, StoreError> {
        Ok(lock(&self.tables)
            .manifest
            .values()
            .filter(|row| row.home == home && (days.0..=days.1).contains(&row.day))
            .cloned()
            .collect())
    }

    async fn put_latest(&self, rows: &[Latest]) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        for row in rows {
            let key = (row.home, row.device, row.capability);
            let newer = tables.latest.get(&key).is_none_or(|there| {
                (row.observed_at, &row.sealed) > (there.observed_at, &there.sealed)
            });
            if newer {
                tables.latest.insert(key, row.clone());
            }
        }
        Ok(())
    }

    async fn latest(&self, home: HomeId) -> Result<Vec<Latest>, StoreError> {
        Ok(lock(&self.tables)
            .latest
            .values()
            .filter(|row| row.home == home)
            .cloned()
            .collect())
    }

    async fn segment_days(&self, home: HomeId, limit: usize) -> Result<Vec<Day>, StoreError> {
        let tables = lock(&self.tables);
        let mut days: Vec<Day> = tables
            .segments
            .range(first_segment(home, Day::from_number(i32::MIN))..)
            .take_while(|(key, _)| key.home == home)
            .map(|(key, _)| key.day)
            .collect();
        days.dedup();
        days.truncate(limit);
        Ok(days)
    }

    async fn homes(&self, after: Option<HomeId>, limit: usize) -> Result<Vec<HomeId>, StoreError> {
        let tables = lock(&self.tables);
        let homes = tables.segments.keys().map(|key| key.home);
        Ok(page_of_homes(homes, after, limit))
    }

    async fn manifest_homes(
        &self,
        after: Option<HomeId>,
        limit: usize,
    ) -> Result<Vec<HomeId>, StoreError> {
        let tables = lock(&self.tables);
        let homes = tables.manifest.keys().map(|key| key.0);
        Ok(page_of_homes(homes, after, limit))
    }

    async fn delete_home(&self, home: HomeId) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        tables.segments.retain(|key, _| key.home != home);
        tables.chunks.retain(|key, _| key.home != home);
        tables.manifest.retain(|key, _| key.0 != home);
        tables.latest.retain(|key, _| key.0 != home);
        Ok(())
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = lock(&self.tables);
        let before = tables.chunks.len();
        tables.chunks.retain(|_, (_, expires)| *expires > now);
        Ok(u64::try_from(before - tables.chunks.len()).unwrap_or(u64::MAX))
    }
}

/// The least key that a segment of that home and day can have.
fn first_segment(home: HomeId, day: Day) -> SegmentKey {
    SegmentKey {
        home,
        day,
        class: RetentionClass::ALL[0],
        claim: ClaimId::default(),
        stream: HubStreamId::default(),
        sequence: 0,
    }
}
