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
