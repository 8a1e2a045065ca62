//! Key custody: where the epoch keys live that wrap every ring, apart from all data (DESIGN section 4).
//!
//! Each of 256 buckets of owners has two fixed slots, so that destroying a key overwrites its bytes in
//! place. A second copy, the escrow, is written before the first is used, and also holds the current
//! wrapped ring of each owner, so that a lost log does not lose the keys.

use async_trait::async_trait;
use hearth_kernel::{InstallationId, Owner};
use zeroize::Zeroizing;

use crate::error::StoreError;

/// One epoch key of one bucket.
#[derive(Clone)]
pub struct EpochKey {
    /// The bucket of owners it wraps the rings of.
    pub bucket: u8,
    /// Its number: grows with each new key of the bucket, and is never used again.
    pub epoch: u64,
    /// 256 random bits.
    pub key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EpochKey({}/{})", self.bucket, self.epoch)
    }
}

/// Custody of epoch keys. Only the vault holds one.
#[async_trait]
pub trait KeyCustody: Send + Sync + 'static {
    /// The installation that these keys belong to.
    fn installation(&self) -> InstallationId;

    /// Whether destroying a key overwrites its bytes where they lie. A copy-on-write file system does not;
    /// doctor and receipts say so.
    fn overwrites_in_place(&self) -> bool;

    /// Every epoch key there is.
    ///
    /// # Errors
    /// `Terminal` when keys and escrow disagree or a slot is damaged in both.
    async fn epochs(&self) -> Result<Vec<EpochKey>, StoreError>;

    /// Stores an epoch key in a free slot of its bucket, in the escrow first; durable in both when it answers.
    ///
    /// # Errors
    /// `Conflict` when both slots hold other epochs or the epoch exists with another key.
    async fn store(&self, key: &EpochKey) -> Result<(), StoreError>;

    /// Overwrites an epoch key in both places. One that is not there is no error.
    ///
    /// # Errors
    /// `Retryable`; destroying again is harmless.
    async fn destroy(&self, bucket: u8, epoch: u64) -> Result<(), StoreError>;

    /// Puts the owner's current wrapped ring into the escrow, replacing an older one; `version` decides.
    ///
    /// # Errors
    /// `Retryable`; putting again is harmless.
    async fn escrow_ring(
        &self,
        owner: Owner,
        version: u64,
        wrapped: &[u8],
    ) -> Result<(), StoreError>;

    /// The owner's ring in the escrow, with its version.
    ///
    /// # Errors
    /// `Retryable`.
    async fn escrowed_ring(&self, owner: Owner) -> Result<Option<(u64, Vec<u8>)>, StoreError>;

    /// Overwrites and removes the owner's ring in the escrow.
    ///
    /// # Errors
    /// `Retryable`; removing again is harmless.
    async fn remove_escrowed_ring(&self, owner: Owner) -> Result<(), StoreError>;
}
