//! What an operator may know of keys: counts, states and places, never a key.

use std::sync::Arc;

use hearth_kernel::{InstallationId, Timestamp};
use hearth_ports::{Clock, KeyCustody, Log};

use crate::core::{Core, pause};
use crate::epoch::EpochState;
use crate::error::VaultError;
use crate::vault::Vault;

/// The keys of one bucket of owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketFacts {
    /// The bucket.
    pub bucket: u8,
    /// The epoch that wraps now, and since when.
    pub open: Option<(u64, Timestamp)>,
    /// The epoch that is on its way out, and since when.
    pub leaving: Option<(u64, Timestamp)>,
    /// Every epoch up to this one is destroyed.
    pub destroyed_through: u64,
    /// Whether custody has the key of every epoch that rings may lie under.
    pub keys_present: bool,
    /// Keys in custody that no ring may lie under: left over by a process that stopped at the wrong moment.
    /// The next rotation destroys them.
    pub stray_keys: usize,
}

/// What there is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultFacts {
    /// The installation that custody belongs to.
    pub installation: InstallationId,
    /// Whether a destroyed key's bytes are overwritten where they lie.
    pub overwrites_in_place: bool,
    /// Buckets that ever had an epoch.
    pub buckets: Vec<BucketFacts>,
}

/// The facts of keys that no vault needs to run for: makes no key, writes nothing, and starts no task.
///
/// # Errors
/// `Store`, `Corrupt`.
pub async fn examine(
    log: Arc<dyn Log>,
    custody: Arc<dyn KeyCustody>,
    clock: Arc<dyn Clock>,
) -> Result<VaultFacts, VaultError> {
    facts(&Core::new(log, custody, clock, pause)).await
}

impl Vault {
    /// The facts, by leader reads.
    ///
    /// # Errors
    /// `Store`, `Corrupt`.
    pub async fn doctor(&self) -> Result<VaultFacts, VaultError> {
        facts(self.core()).await
    }
}

async fn facts(core: &Core) -> Result<VaultFacts, VaultError> {
    let held = core.custody.epochs().await?;
    let mut buckets = Vec::new();
    for bucket in 0..=u8::MAX {
        let (epochs, _) = core.epochs(bucket).await?;
        if epochs.greatest() == 0 {
            continue;
        }
        let here = |number| {
            let mut keys = held.iter();
            keys.any(|key| key.bucket == bucket && key.epoch == number)
        };
        let needed = |state| matches!(state, EpochState::Open | EpochState::Draining);
        let mut live = epochs.live.iter();
        let keys_present = live.all(|epoch| !needed(epoch.state) || here(epoch.number));
        let stray = held
            .iter()
            .filter(|key| key.bucket == bucket && epochs.state_of(key.epoch).is_none());
        let leaving = epochs
            .in_state(EpochState::Draining)
            .or_else(|| epochs.in_state(EpochState::Destroying));
        buckets.push(BucketFacts {
            bucket,
            open: epochs.open().map(|open| (open.number, open.since)),
            leaving: leaving.map(|leaving| (leaving.number, leaving.since)),
            destroyed_through: epochs.destroyed_through(),
            keys_present,
            stray_keys: stray.count(),
        });
    }
    Ok(VaultFacts {
        installation: core.custody.installation(),
        overwrites_in_place: core.custody.overwrites_in_place(),
        buckets,
    })
}
