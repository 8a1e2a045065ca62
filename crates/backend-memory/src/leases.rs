//! Leases in memory: one holder at a time by the clock's time, and a fence that only grows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::Timestamp;
use hearth_ports::{Clock, Lease, Leases, StoreError};

use crate::guard::lock;

/// Leases in memory.
#[derive(Debug)]
pub struct MemoryLeases {
    clock: Arc<dyn Clock>,
    /// Entries outlive their leases, because the fence must grow for ever. Names are constants and shards.
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    holder: String,
    fence: u64,
    expires: Timestamp,
}

impl MemoryLeases {
    /// No leases yet, on that clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            entries: Mutex::default(),
        }
    }

    /// An independent copy of everything stored.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            clock: Arc::clone(&self.clock),
            entries: Mutex::new(lock(&self.entries).clone()),
        }
    }
}

impl Entry {
    fn is_held_by(&self, lease: &Lease, holder: &str, now: Timestamp) -> bool {
        self.holder == holder && self.fence == lease.fence && self.expires > now
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        let now = self.clock.now();
        let mut entries = lock(&self.entries);
        let before = entries.get(name);
        if before.is_some_and(|entry| entry.expires > now && entry.holder != holder) {
            return Err(StoreError::Conflict);
        }
        let lease = Lease {
            name: name.to_owned(),
            fence: before.map_or(0, |entry| entry.fence) + 1,
            expires: now.plus(period),
        };
        let entry = Entry {
            holder: holder.to_owned(),
            fence: lease.fence,
            expires: lease.expires,
        };
        entries.insert(name.to_owned(), entry);
        Ok(lease)
    }

    async fn renew(
        &self,
        lease: &Lease,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        let now = self.clock.now();
        let mut entries = lock(&self.entries);
        let entry = entries
            .get_mut(&lease.name)
            .filter(|entry| entry.is_held_by(lease, holder, now))
            .ok_or(StoreError::Conflict)?;
        entry.expires = now.plus(period);
        Ok(Lease {
            expires: entry.expires,
            ..lease.clone()
        })
    }

    async fn release(&self, lease: &Lease, holder: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        if let Some(entry) = lock(&self.entries).get_mut(&lease.name)
            && entry.is_held_by(lease, holder, now)
        {
            entry.expires = now;
        }
        Ok(())
    }
}
