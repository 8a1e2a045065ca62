//! What the vault's own operations can fail with. Services see [`hearth_ports::SealError`] instead.

use hearth_ports::{SealError, StoreError};

/// Why the vault did not do something. Nothing here ever means "erased".
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The log or the custody did not answer as needed; the same call may work later.
    #[error("the vault's store failed")]
    Store(#[from] StoreError),
    /// Others kept changing the same record; the same call may work later.
    #[error("others kept changing the same record")]
    Busy,
    /// The owner's purpose is fenced: no key of it is ever made again.
    #[error("the purpose is fenced")]
    Fenced,
    /// This owner has no keys of that purpose, or may not be fenced.
    #[error("the owner has no such purpose")]
    Denied,
    /// A record, key or signature is not what the vault wrote. A human must look.
    #[error("{0}")]
    Corrupt(&'static str),
    /// An epoch key that rings depend on is not in custody: wrong or missing keys folder.
    #[error("the key of epoch {epoch} of bucket {bucket} is not in custody")]
    KeyMissing {
        /// The bucket.
        bucket: u8,
        /// The epoch.
        epoch: u64,
    },
    /// The machine gives no random bytes.
    #[error("the machine gives no random bytes")]
    Random,
}

impl From<&VaultError> for SealError {
    fn from(error: &VaultError) -> Self {
        match error {
            VaultError::Fenced => Self::Fenced,
            VaultError::Denied => Self::Denied,
            // A broken ring is an alarm for people, and no answer about the thing that was to be opened.
            VaultError::Store(_)
            | VaultError::Busy
            | VaultError::Corrupt(_)
            | VaultError::KeyMissing { .. }
            | VaultError::Random => Self::Unavailable,
        }
    }
}
