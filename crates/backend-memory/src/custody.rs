//! Key custody in memory: two slots for each bucket, kept twice, and the escrow of wrapped rings.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use hearth_kernel::{InstallationId, Owner};
use hearth_ports::{EpochKey, KeyCustody, StoreError};

use crate::guard::lock;

/// Epoch keys that one bucket can hold: the one in use, and the one being drained or opened.
const SLOTS: usize = 2;

/// Custody in memory.
#[derive(Debug)]
pub struct MemoryCustody {
    installation: InstallationId,
    held: Mutex<Held>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    slots: BTreeMap<u8, Vec<EpochKey>>,
    rings: BTreeMap<Owner, (u64, Vec<u8>)>,
}

impl MemoryCustody {
    /// Empty custody of that installation.
    #[must_use]
    pub fn new(installation: InstallationId) -> Self {
        Self {
            installation,
            held: Mutex::default(),
        }
    }

    /// An independent copy: the custody "of that day".
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            installation: self.installation,
            held: Mutex::new(lock(&self.held).clone()),
        }
    }
}

#[async_trait]
impl KeyCustody for MemoryCustody {
    fn installation(&self) -> InstallationId {
        self.installation
    }

    fn overwrites_in_place(&self) -> bool {
        true
    }

    async fn epochs(&self) -> Result<Vec<EpochKey>, StoreError> {
        Ok(lock(&self.held).slots.values().flatten().cloned().collect())
    }

    async fn store(&self, key: &EpochKey) -> Result<(), StoreError> {
        let mut held = lock(&self.held);
        let slots = held.slots.entry(key.bucket).or_default();
        if let Some(there) = slots.iter().find(|there| there.epoch == key.epoch) {
            return if there.key == key.key {
                Ok(())
            } else {
                Err(StoreError::Conflict)
            };
        }
        if slots.len() >= SLOTS {
            return Err(StoreError::Conflict);
        }
        slots.push(key.clone());
        Ok(())
    }

    async fn destroy(&self, bucket: u8, epoch: u64) -> Result<(), StoreError> {
        // Dropping a key overwrites it: `Zeroizing` sees to that.
        if let Some(slots) = lock(&self.held).slots.get_mut(&bucket) {
            slots.retain(|key| key.epoch != epoch);
        }
        Ok(())
    }

    async fn escrow_ring(
        &self,
        owner: Owner,
        version: u64,
        wrapped: &[u8],
    ) -> Result<(), StoreError> {
        let mut held = lock(&self.held);
        if held
            .rings
            .get(&owner)
            .is_none_or(|(there, _)| *there < version)
        {
            held.rings.insert(owner, (version, wrapped.to_vec()));
        }
        Ok(())
    }

    async fn escrowed_ring(&self, owner: Owner) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        Ok(lock(&self.held).rings.get(&owner).cloned())
    }

    async fn remove_escrowed_ring(&self, owner: Owner) -> Result<(), StoreError> {
        lock(&self.held).rings.remove(&owner);
        Ok(())
    }
}
