//! What an erasure needs of the world besides the log: the vault, which destroys keys, and the files that hold what
//! the stores wrote, which are searched for what is left.
//!
//! Only the retention service is given these.

use std::io;

use async_trait::async_trait;
use hearth_kernel::{InstallationId, KeyId, Owner, Purpose, Timestamp};

use crate::error::StoreError;

/// No old copy of an owner's ring opens anything any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedOff {
    /// When the last key that could unwrap one was destroyed.
    pub destroyed_at: Timestamp,
    /// Whether its bytes were overwritten where they lay.
    pub overwritten_in_place: bool,
}

/// Destroys the keys of owners.
#[async_trait]
pub trait Shredding: Send + Sync + 'static {
    /// The installation that the keys belong to.
    fn installation(&self) -> InstallationId;

    /// The ids of the owner's keys now. To be asked before they are shredded.
    ///
    /// # Errors
    /// `Retryable` when the vault does not answer; `Terminal` when the ring is broken.
    async fn key_ids(&self, owner: Owner) -> Result<Vec<(Purpose, KeyId)>, StoreError>;

    /// Fences every purpose of an owner but `records`, for ever. Answers since when the fence stands in STATE:
    /// leases have ended 90 s after. Again is harmless, and answers the same.
    ///
    /// # Errors
    /// As [`Shredding::key_ids`].
    async fn shred(&self, owner: Owner) -> Result<Timestamp, StoreError>;

    /// Whether every key that could unwrap an older copy of the owner's ring is destroyed. `None`: not yet.
    ///
    /// # Errors
    /// As [`Shredding::key_ids`].
    async fn sealed_off(&self, owner: Owner) -> Result<Option<SealedOff>, StoreError>;
}

/// What a file holds, as far as the residual list tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holding {
    /// History, records, events and facts.
    Log,
    /// Frames of sealed segments.
    Frames,
    /// Documents.
    Documents,
    /// Series.
    Series,
    /// Recordings.
    Blobs,
    /// Epoch keys and escrowed rings.
    Keys,
    /// Anything else: locks, names.
    Other,
}

/// One file of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name, unique, without the place of the installation: `log.db`.
    pub name: String,
    /// What it holds.
    pub holds: Holding,
}

/// Every file that the stores write. Names are never personal.
#[async_trait]
pub trait StoredFiles: Send + Sync + 'static {
    /// Makes the bytes of what was deleted vanish where the stores can, and drops tombstones whose time is over at
    /// `now`. Harmless again.
    ///
    /// # Errors
    /// `Retryable`.
    async fn scrub(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Every file there is now. Blocks.
    ///
    /// # Errors
    /// When a folder cannot be read.
    fn files(&self) -> io::Result<Vec<StoredFile>>;

    /// Opens one to be read from its first byte. Blocks, as reading does.
    ///
    /// # Errors
    /// `NotFound` when it went meanwhile; others when it cannot be read.
    fn open(&self, file: &StoredFile) -> io::Result<Box<dyn io::Read + Send>>;
}
