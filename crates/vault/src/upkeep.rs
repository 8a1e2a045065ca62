//! The vault's tasks: reading fences, publishing them, and (with the rotation) the hourly round.
//!
//! Each is supervised: it fails, is logged, and begins again. None of them holds anything another needs.

use std::sync::Arc;

use futures::StreamExt;
use hearth_kernel::Service;
use hearth_ports::{Family, Message, Position, Stream, Tasks};

use crate::epoch::Epochs;
use crate::error::VaultError;
use crate::record::{RingRecord, epoch_subject, is_ring};
use crate::vault::Vault;

/// The stream of rings and epochs.
pub(crate) const RECORDS: Stream = Stream::new(Family::Rec, Service::Vault);

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
    if is_ring(&message.subject) {
        let record = RingRecord::decode(&message.bytes)?;
        let fences = record.head.fences;
        if !fences.is_empty() {
            let fences = fences.into_iter().map(|fence| fence.statement).collect();
            vault.publish(record.head.owner, fences).await?;
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
