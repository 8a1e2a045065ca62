//! The vault: who owns which keys, who may use them, and how they are destroyed for good (DESIGN section 4).
//!
//! Each account, home and service has one ring of data keys, a record in the log, wrapped under an epoch key
//! in custody. Services seal and open through a [`hearth_ports::Sealing`] handle that leases keys. Erasing
//! somebody destroys her keys in the ring (a *fence*, for ever) and then, by rotation, the epoch keys that
//! could still unwrap an older copy.
//!
//! **Invariant:** erased is concluded only from the vault's signature, never from something missing; and
//! nothing here reads or stores personal content.

mod core;
mod derived;
mod doctor;
mod drill;
mod epoch;
mod error;
mod fences;
mod handle;
mod keyring;
mod lease;
mod record;
mod rotation;
mod seal;
mod shredding;
#[cfg(test)]
mod simulation;
mod statement;
pub mod table;
#[cfg(test)]
mod trial;
mod upkeep;
mod vault;

pub use derived::derived;
pub use doctor::{BucketFacts, VaultFacts, examine};
pub use drill::{Drill, Guess};
pub use error::VaultError;
pub use fences::LEASE;
pub use keyring::{BLOCK_SEALS, MAX_BLOCKS};
pub use lease::{Answer, Lease, Leasing, Want};
pub use record::{FenceFact, bucket_of, epoch_subject, fence_subject, ring_subject};
pub use rotation::{Due, Rotated};
pub use statement::{ExpiredStatement, FenceStatement, Verifier};
pub use table::{Permission, Use};
pub use vault::{Evidence, Fencing, Standing, Vault};
