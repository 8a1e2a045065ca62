//! Documents in memory, with CQL's rule: the greatest stamp wins, and a delete is a write that stays.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_ports::{Document, Documents, Range, StoreError, Table};

use crate::guard::lock;

/// The greatest key or partition key. A greater one is `Terminal`.
pub const MAX_KEY_BYTES: usize = 1 << 10;
/// The greatest value. A greater one is `Terminal`.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most documents that one range gives. A greater limit, and none, is `Terminal`.
pub const MAX_RANGE_LIMIT: usize = 10_000;

/// Documents in memory.
#[derive(Debug, Default)]
pub struct MemoryDocuments {
    tables: Mutex<BTreeMap<Table, BTreeMap<Vec<u8>, Partition>>>,
}

/// One partition: what was written, and the stamp that all of it was dropped as of.
#[derive(Clone, Debug, Default)]
struct Partition {
    dropped: Option<i64>,
    cells: BTreeMap<Vec<u8>, Cell>,
}

/// What was last written under a key. `None` is a delete, which must not be forgotten.
#[derive(Clone, Debug)]
struct Cell {
    stamp: i64,
    value: Option<Bytes>,
}

impl Cell {
    /// Whether this write beats another: by stamp; at equal stamps a delete, then the greater value.
    fn beats(&self, other: &Self) -> bool {
        let rank = |cell: &Self| (cell.stamp, cell.value.is_none(), cell.value.clone());
        rank(self) > rank(other)
    }
}

impl Partition {
    fn write(&mut self, key: &[u8], cell: Cell) {
        if self.cells.get(key).is_none_or(|there| cell.beats(there)) {
            self.cells.insert(key.to_vec(), cell);
        }
    }

    fn document(&self, key: &[u8], cell: &Cell) -> Option<Document> {
        if self.dropped.is_some_and(|dropped| cell.stamp <= dropped) {
            return None;
        }
        Some(Document {
            key: key.to_vec(),
            stamp: cell.stamp,
            value: cell.value.clone()?,
        })
    }

    fn range(&self, range: Range) -> Vec<Document> {
        if let (Some(from), Some(until)) = (&range.from, &range.until)
            && from >= until
        {
            return Vec::new();
        }
        let from = range.from.map_or(Bound::Unbounded, Bound::Included);
        let until = range.until.map_or(Bound::Unbounded, Bound::Excluded);
        let living = self
            .cells
            .range((from, until))
            .filter_map(|(key, cell)| self.document(key, cell));
        if range.descending {
            living.rev().take(range.limit).collect()
        } else {
            living.take(range.limit).collect()
        }
    }

    fn is_empty(&self) -> bool {
        !self
            .cells
            .iter()
            .any(|(key, cell)| self.document(key, cell).is_some())
    }
}

impl MemoryDocuments {
    /// An independent copy of everything stored.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            tables: Mutex::new(lock(&self.tables).clone()),
        }
    }

    fn write(&self, table: Table, partition: &[u8], write: impl FnOnce(&mut Partition)) {
        let mut tables = lock(&self.tables);
        write(
            tables
                .entry(table)
                .or_default()
                .entry(partition.to_vec())
                .or_default(),
        );
    }

    fn read<T: Default>(
        &self,
        table: Table,
        partition: &[u8],
        read: impl FnOnce(&Partition) -> T,
    ) -> T {
        lock(&self.tables)
            .get(&table)
            .and_then(|partitions| partitions.get(partition))
            .map(read)
            .unwrap_or_default()
    }
}

#[async_trait]
impl Documents for MemoryDocuments {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        check_keys(&[partition, key])?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::terminal("a value is at most 1 MiB"));
        }
        let value = Some(value);
        self.write(table, partition, |partition| {
            partition.write(key, Cell { stamp, value });
        });
        Ok(())
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        check_keys(&[partition, key])?;
        let value = None;
        self.write(table, partition, |partition| {
            partition.write(key, Cell { stamp, value });
        });
        Ok(())
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        check_keys(&[partition, key])?;
        Ok(self.read(table, partition, |partition| {
            let cell = partition.cells.get(key)?;
            partition.document(key, cell)
        }))
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        check_keys(&[partition])?;
        if !(1..=MAX_RANGE_LIMIT).contains(&range.limit) {
            return Err(StoreError::terminal("a range gives 1 to 10,000 documents"));
        }
        Ok(self.read(table, partition, |partition| partition.range(range)))
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        check_keys(&[partition])?;
        self.write(table, partition, |partition| {
            partition.dropped = partition.dropped.max(Some(stamp));
            partition.cells.retain(|_, cell| cell.stamp > stamp);
        });
        Ok(())
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = lock(&self.tables);
        let Some(partitions) = tables.get(&table) else {
            return Ok(Vec::new());
        };
        Ok(partitions
            .range((from, Bound::Unbounded))
            .filter(|(_, partition)| !partition.is_empty())
            .map(|(key, _)| key.clone())
            .take(limit)
            .collect())
    }
}

fn check_keys(keys: &[&[u8]]) -> Result<(), StoreError> {
    if keys.iter().all(|key| key.len() <= MAX_KEY_BYTES) {
        Ok(())
    } else {
        Err(StoreError::terminal(
            "a key or partition key is at most 1 KiB",
        ))
    }
}
