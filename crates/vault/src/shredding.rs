//! The vault as an erasure sees it.

use async_trait::async_trait;
use hearth_kernel::{InstallationId, KeyId, Owner, Purpose, Timestamp};
use hearth_ports::StoreError;
use hearth_ports::erasing::{SealedOff, Shredding};

use crate::error::VaultError;
use crate::vault::Vault;

#[async_trait]
impl Shredding for Vault {
    fn installation(&self) -> InstallationId {
        self.core().custody.installation()
    }

    async fn key_ids(&self, owner: Owner) -> Result<Vec<(Purpose, KeyId)>, StoreError> {
        Self::key_ids(self, owner).await.map_err(store)
    }

    async fn shred(&self, owner: Owner) -> Result<Timestamp, StoreError> {
        let standing = Self::shred(self, owner).await.map_err(store)?;
        Ok(standing.stands_since)
    }

    async fn sealed_off(&self, owner: Owner) -> Result<Option<SealedOff>, StoreError> {
        let evidence = Self::sealed_off(self, owner).await.map_err(store)?;
        Ok(evidence.map(|evidence| SealedOff {
            destroyed_at: evidence.destroyed_at,
            overwritten_in_place: evidence.overwritten_in_place,
        }))
    }
}

/// What may work later, and what a human must look at.
fn store(error: VaultError) -> StoreError {
    match error {
        VaultError::Store(error) => error,
        VaultError::Busy | VaultError::Random => StoreError::retryable(error.to_string()),
        _ => StoreError::terminal(error.to_string()),
    }
}
