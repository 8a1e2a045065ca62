//! The vault's tasks: reading fences, publishing them, and the hourly round of expiry and rotation.
//!
//! Each is supervised: it fails, is logged, and begins again. None of them holds anything another needs.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hearth_kernel::Service;
use hearth_ports::{Family, Message, Position, Stream, Tasks};

use crate::epoch::Epochs;
use crate::error::VaultError;
use crate::record::{RingRecord, bucket_of, epoch_subject, owner_of};
use crate::rotation::Rotated;
use crate::vault::Vault;

/// The stream of rings and epochs.
pub(crate) const RECORDS: Stream = Stream::new(Family::Rec, Service::Vault);

/// How often expired keys are looked for.
const ROUND: Duration = Duration::from_secs(3_600);

/// Starts the tasks of one vault.
pub(crate) fn start(vault: &Vault, tasks: &Tasks) {
    let reader = Arc::clone(&vault.inner().fences);
    tasks.supervise("vault-fence-reader", move || {
        let reader = Arc::clone(&reader);
        async move { reader.follow().await }
    });
    let relay = vault.clone();
    tasks.supervise("vault-fence-relay", move || {
        let relay = relay.clone();
        async move { relay_fences(&relay).await }
    });
    let upkeep = vault.clone();
    tasks.supervise("vault-upkeep", move || {
        let upkeep = upkeep.clone();
        async move { rounds(&upkeep).await }
    });
}

/// A round now, and then every hour of the clock.
async fn rounds(vault: &Vault) -> Result<(), VaultError> {
    loop {
        let now = vault.core().clock.now();
        let rotated = vault.rotate_due(now).await?;
        if rotated != Rotated::default() {
            tracing::info!(
                rings = rotated.rings,
                buckets = rotated.destroyed.len(),
                unfinished = rotated.unfinished.len(),
                "epoch keys rotated"
            );
        }
        vault.core().clock.sleep_until(now.plus(ROUND)).await;
    }
}

/// Follows the records from the first: publishes the fences of each ring that are not published yet, as
/// after a crash between the record and the fact; and forgets the keys of epochs that others destroyed.
async fn relay_fences(vault: &Vault) -> Result<(), VaultError> {
    let mut tail = vault.core().log.tail(RECORDS, Position::START);
    while let Some(message) = tail.next().await.transpose()? {
        relay(vault, &message).await?;
    }
    Ok(())
}

/// What one record asks for.
pub(crate) async fn relay(vault: &Vault, message: &Message) -> Result<(), VaultError> {
    if let Some(owner) = owner_of(&message.subject) {
        let Ok(record) = RingRecord::decode(&message.bytes) else {
            // One broken ring does not keep the fences of others from being published.
            tracing::error!(bucket = bucket_of(owner), "a ring's record does not decode");
            return Ok(());
        };
        let fences = record.head.fences;
        if !fences.is_empty() {
            let fences = fences.into_iter().map(|fence| fence.statement).collect();
            vault.publish(owner, fences).await?;
        }
    } else if let Some(bucket) = bucket_of_subject(message) {
        let epochs = Epochs::decode(bucket, &message.bytes)?;
        vault.core().forget_epoch_keys(bucket, &epochs);
    }
    Ok(())
}

/// The bucket that a record of epochs is about.
fn bucket_of_subject(message: &Message) -> Option<u8> {
    let bucket = *message.subject.id()?.as_bytes().last()?;
    (message.subject == epoch_subject(bucket)).then_some(bucket)
}
