//! A service's own secrets as an operator's offline command reads them: where a ring is, never made and never moved.
//!
//! For checking what a service signed. It runs no vault, because one that starts may change keys.

use std::sync::Arc;

use hearth_kernel::{Owner, Purpose, Secret, Service};
use hearth_ports::{KeyCustody, Log, Read};

use crate::error::VaultError;
use crate::record::{RingRecord, bucket_of, ring_subject};
use crate::seal::DataKey;
use crate::vault::derive_secret;

/// The secret that [`hearth_ports::Sealing::service_secret`] derives for that service, from the ring as the log has it.
/// `None`: there is no such ring, custody does not open it, or it has no key of that purpose.
///
/// # Errors
/// `Store`, `Corrupt`.
pub async fn derived(
    log: &dyn Log,
    custody: &dyn KeyCustody,
    service: Service,
    (purpose, name): (Purpose, &str),
) -> Result<Option<Secret>, VaultError> {
    let owner = Owner::Service(service);
    let Some(message) = log.last(&ring_subject(owner), Read::Leader).await? else {
        return Ok(None);
    };
    let record = RingRecord::decode(&message.bytes)?;
    let epochs = custody.epochs().await?;
    let bucket = bucket_of(owner);
    let mut epochs = epochs.iter().filter(|epoch| epoch.bucket == bucket);
    let ring = epochs.find_map(|epoch| record.open(&epoch.key));
    Ok(ring.and_then(|ring| {
        let first = ring.first(purpose)?;
        let key = DataKey::new(first.id, Arc::clone(&first.key));
        derive_secret(&key, purpose, name)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::trial;

    #[tokio::test]
    async fn it_is_the_secret_of_the_handle_and_none_is_made() {
        let trial = trial().await;
        let (log, custody) = (&*trial.memory.log, &*trial.memory.custody);
        let wanted = (Purpose::Signing, "checkpoints.1");
        let ring = ring_subject(Owner::Service(Service::Ingest));
        let none = derived(log, custody, Service::Ingest, wanted).await;
        assert_eq!(none.unwrap(), None);
        let made = log.last(&ring, Read::Leader).await.unwrap();
        assert!(made.is_none());
        let handle = trial.vault.handle(Service::Ingest);
        let secret = handle.service_secret(wanted.0, wanted.1).await.unwrap();
        let read = derived(log, custody, Service::Ingest, wanted).await;
        assert_eq!(read.unwrap(), Some(secret));
    }
}
