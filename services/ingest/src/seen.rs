//! When something last came from a hub: in memory, and at most once a minute in a row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hearth_kernel::{ClaimId, HomeId, Timestamp};
use hearth_ports::{Documents, Range, StoreError, Table};

/// Partition by home, key by claim; the value is a time in microseconds, and so is the stamp.
pub(crate) const TABLE: Table = Table("ingest_seen");
/// How old a row may be.
const EVERY: Duration = Duration::from_secs(60);
/// Claims that are kept in memory.
const MOST: usize = 100_000;

/// Notes when hubs were seen.
#[derive(Clone)]
pub(crate) struct Seen {
    documents: Arc<dyn Documents>,
    put: Arc<Mutex<HashMap<ClaimId, Timestamp>>>,
}

impl Seen {
    pub(crate) fn new(documents: Arc<dyn Documents>) -> Self {
        Self {
            documents,
            put: Arc::default(),
        }
    }

    /// Notes it, if the row is old.
    pub(crate) async fn note(
        &self,
        home: HomeId,
        claim: ClaimId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        {
            let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
            if put.get(&claim).is_some_and(|at| now.since(*at) < EVERY) {
                return Ok(());
            }
            if put.len() >= MOST {
                put.clear();
            }
            put.insert(claim, now);
        }
        let value = Bytes::copy_from_slice(&now.micros().to_be_bytes());
        self.documents
            .put(
                TABLE,
                home.as_bytes(),
                claim.as_bytes(),
                now.micros(),
                value,
            )
            .await
    }

    /// When the hubs of a home were seen.
    pub(crate) async fn of_home(
        &self,
        home: HomeId,
    ) -> Result<HashMap<ClaimId, Timestamp>, StoreError> {
        let rows = self
            .documents
            .range(TABLE, home.as_bytes(), Range::all(1_000))
            .await?;
        let read = |row: hearth_ports::Document| {
            let at = <[u8; 8]>::try_from(row.value.as_ref())
                .ok()
                .map(i64::from_be_bytes)?;
            Some((ClaimId::from_slice(&row.key)?, Timestamp::from_micros(at)))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Deletes the rows of a home.
    pub(crate) async fn erase(&self, home: HomeId) -> Result<u64, StoreError> {
        let rows = self
            .documents
            .range(TABLE, home.as_bytes(), Range::all(1_000))
            .await?;
        self.documents
            .drop_partition(TABLE, home.as_bytes(), i64::MAX)
            .await?;
        Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    }
}
