//! Rotation: new epoch keys for buckets, so that no old copy of a ring opens anything; and expiry of slots.
//!
//! One scan over all rings serves any number of buckets. Any number of processes may rotate the same bucket
//! at once, and may stop anywhere: each step stands in the log, and the next one to come goes on.
//!
//! Why one scan is enough: it ends only when a leader read finds nothing newer than where it stands. Every
//! ring that existed then was passed, and left under the open epoch; a ring changed meanwhile lies further
//! on and is passed again. What lands under the old epoch after that is a first ring that was never used.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hearth_kernel::{Owner, Timestamp};
use hearth_ports::Position;

use crate::core::Touch;
use crate::epoch::{EpochState, Epochs};
use crate::error::VaultError;
use crate::record::{RingHead, RingRecord, bucket_of, owner_of};
use crate::upkeep::RECORDS;
use crate::vault::Vault;

/// An epoch older than this is rotated though nothing was destroyed.
const EPOCH_MOST: Duration = Duration::from_secs(7 * 86_400);
/// Expired keys wait this long for others to share a rotation with: with an hourly round, under 24 h.
const EXPIRED_WAIT: Duration = Duration::from_secs(20 * 3_600);
/// Rings read at once.
const PAGE: usize = 256;
/// Rounds of one rotation: one finishes what others began, one is its own.
const ROUNDS: u32 = 4;

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Rings looked at and, where needed, wrapped again.
    pub rings: u64,
    /// Buckets and the epoch through which all are destroyed.
    pub destroyed: BTreeMap<u8, u64>,
    /// Buckets that still have an older epoch, because a ring could not be moved or a store failed.
    pub unfinished: BTreeSet<u8>,
}

/// What an hourly round found to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Owners with keys whose period is over.
    pub expired: Vec<Owner>,
    /// Buckets whose epoch is to be replaced now.
    pub buckets: BTreeSet<u8>,
}

impl Vault {
    /// Replaces the epoch key of one bucket. See [`Self::rotate_buckets`].
    ///
    /// # Errors
    /// As [`Self::rotate_buckets`].
    pub async fn rotate(&self, bucket: u8) -> Result<Rotated, VaultError> {
        self.rotate_buckets(&BTreeSet::from([bucket])).await
    }

    /// Destroys every epoch key that these buckets have now, after wrapping their rings under new ones. A
    /// bucket that never had an epoch has nothing to rotate.
    ///
    /// # Errors
    /// `Store` and `Busy`: call again, it goes on where it stopped. A single ring that cannot be moved leaves
    /// its bucket in `unfinished` instead.
    pub async fn rotate_buckets(&self, buckets: &BTreeSet<u8>) -> Result<Rotated, VaultError> {
        let mut rotated = Rotated::default();
        let mut targets = BTreeMap::new();
        for bucket in buckets {
            let (epochs, _) = self.core().epochs(*bucket).await?;
            // One that is only announced has wrapped nothing.
            let open = epochs.open().map(|open| open.number);
            if let Some(target) = open.or_else(|| epochs.live.last().map(|live| live.number)) {
                targets.insert(*bucket, target);
            }
        }
        for _ in 0..ROUNDS {
            if targets.is_empty() {
                break;
            }
            let reached = self.round(&targets, &mut rotated).await?;
            targets.retain(|bucket, target| match reached.get(bucket) {
                Some(through) if through >= target => {
                    rotated.destroyed.insert(*bucket, *through);
                    false
                }
                _ => true,
            });
        }
        rotated.unfinished = targets.into_keys().collect();
        Ok(rotated)
    }

    /// One round: open, scan, destroy. Answers through which epoch each bucket is destroyed now.
    async fn round(
        &self,
        targets: &BTreeMap<u8, u64>,
        rotated: &mut Rotated,
    ) -> Result<BTreeMap<u8, u64>, VaultError> {
        let mut draining = BTreeMap::new();
        let mut reached = BTreeMap::new();
        for (bucket, target) in targets {
            let mut epochs = self.bury(*bucket).await?;
            if epochs.destroyed_through() < *target
                && epochs.in_state(EpochState::Draining).is_none()
            {
                epochs = self.core().open_epoch(*bucket).await?;
            }
            if let Some(old) = epochs.in_state(EpochState::Draining) {
                draining.insert(*bucket, old.number);
            }
            reached.insert(*bucket, epochs.destroyed_through());
        }
        let failed = self.scan(&draining, rotated).await?;
        for (bucket, old) in draining {
            if failed.contains(&bucket) {
                continue;
            }
            self.core()
                .change_epochs(bucket, |epochs, now| epochs.drained(old, now))
                .await?;
            let epochs = self.bury(bucket).await?;
            reached.insert(bucket, epochs.destroyed_through());
        }
        Ok(reached)
    }

    /// Destroys the key of an epoch that a scan found empty, and notes that it is gone.
    async fn bury(&self, bucket: u8) -> Result<Epochs, VaultError> {
        let (epochs, _) = self.core().epochs(bucket).await?;
        let Some(old) = epochs.in_state(EpochState::Destroying).copied() else {
            return Ok(epochs);
        };
        self.core().custody.destroy(bucket, old.number).await?;
        self.core()
            .change_epochs(bucket, |epochs, now| epochs.bury(old.number, now))
            .await
    }

    /// Moves every ring of these buckets, and escrows it. Answers the buckets where one could not be moved.
    async fn scan(
        &self,
        buckets: &BTreeMap<u8, u64>,
        rotated: &mut Rotated,
    ) -> Result<BTreeSet<u8>, VaultError> {
        let mut failed = BTreeSet::new();
        if buckets.is_empty() {
            return Ok(failed);
        }
        let mut scan = Scan::new();
        while let Some(heads) = scan.next(self).await? {
            for (owner, _) in heads {
                let bucket = bucket_of(owner);
                if !buckets.contains_key(&bucket) {
                    continue;
                }
                rotated.rings += 1;
                // Moved, or found moved already, and escrowed: what a change of nothing does.
                let moved = self
                    .core()
                    .change(owner, |_| Ok((Touch::Nothing, ())))
                    .await;
                if let Err(error) = moved {
                    tracing::error!(bucket, %error, "a ring cannot be moved to a new epoch");
                    failed.insert(bucket);
                }
            }
        }
        Ok(failed)
    }

    /// What is to be done now, by one scan.
    ///
    /// # Errors
    /// `Store`, `Corrupt`.
    pub async fn due(&self, now: Timestamp) -> Result<Due, VaultError> {
        let mut due = Due::default();
        let mut shreds: Vec<(u8, u64, bool, Timestamp)> = Vec::new();
        let mut scan = Scan::new();
        while let Some(heads) = scan.next(self).await? {
            for (owner, head) in heads {
                let Some(head) = head else {
                    tracing::error!(bucket = bucket_of(owner), "a ring's record does not decode");
                    continue;
                };
                if head.next_expiry <= now {
                    due.expired.push(head.owner);
                }
                if head.shred_epoch > 0 {
                    let fenced = head.fences.iter().any(|fence| fence.epoch > 0);
                    let bucket = bucket_of(head.owner);
                    shreds.push((bucket, head.shred_epoch, fenced, head.shredded_at));
                }
            }
        }
        for bucket in 0..=u8::MAX {
            let (epochs, _) = self.core().epochs(bucket).await?;
            let through = epochs.destroyed_through();
            let pending = shreds.iter().any(|(of, epoch, fenced, at)| {
                let waited = *fenced || now.since(*at) >= EXPIRED_WAIT;
                *of == bucket && *epoch > through && waited
            });
            let old = |epoch: &crate::epoch::Epoch| now.since(epoch.since) >= EPOCH_MOST;
            let begun = epochs
                .live
                .iter()
                .any(|epoch| epoch.state != EpochState::Open);
            if pending || begun || epochs.open().is_some_and(old) {
                due.buckets.insert(bucket);
            }
        }
        Ok(due)
    }

    /// Destroys the keys whose period is over. Answers of how many owners.
    ///
    /// # Errors
    /// `Store`, `Busy`; what was destroyed stays so.
    pub async fn expire_slots(&self, now: Timestamp) -> Result<u64, VaultError> {
        let due = self.due(now).await?;
        self.expire(&due.expired).await
    }

    async fn expire(&self, owners: &[Owner]) -> Result<u64, VaultError> {
        let mut count = 0;
        for owner in owners {
            // Every change destroys what has expired.
            self.core()
                .change(*owner, |_| Ok((Touch::Nothing, ())))
                .await?;
            count += 1;
        }
        Ok(count)
    }

    /// One round: destroys expired keys, then rotates the buckets that are due: those with a fence at once,
    /// with an expired key within 24 h, else weekly.
    ///
    /// # Errors
    /// `Store`, `Busy`; the next round goes on.
    pub async fn rotate_due(&self, now: Timestamp) -> Result<Rotated, VaultError> {
        let due = self.due(now).await?;
        self.expire(&due.expired).await?;
        if due.buckets.is_empty() {
            return Ok(Rotated::default());
        }
        self.rotate_buckets(&due.buckets).await
    }
}

/// A ring that a scan passed: whose it is, and its head if the record is whole.
type Seen = (Owner, Option<RingHead>);

/// Reads the rings of the whole stream, until there is nothing newer.
struct Scan {
    after: Position,
}

impl Scan {
    const fn new() -> Self {
        Self {
            after: Position::START,
        }
    }

    /// The next rings; `None` when the scan stands at the head.
    async fn next(&mut self, vault: &Vault) -> Result<Option<Vec<Seen>>, VaultError> {
        let log = &vault.core().log;
        let page = log.page(RECORDS, self.after, PAGE).await?;
        let Some(last) = page.last() else {
            // An empty page may come from a replica that lags; the leader tells whether this is the end.
            let newest = log.newest(RECORDS).await?;
            let more = newest.is_some_and(|newest| newest.position > self.after);
            return Ok(more.then(Vec::new));
        };
        self.after = last.position;
        let rings = page.iter().filter_map(|message| {
            let owner = owner_of(&message.subject)?;
            let record = RingRecord::decode(&message.bytes).ok();
            Some((owner, record.map(|record| record.head)))
        });
        Ok(Some(rings.collect()))
    }
}

#[cfg(test)]
mod tests;
