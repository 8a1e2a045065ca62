//! Key custody, leases and outbound behind faults.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::{InstallationId, Owner};
use hearth_ports::{
    EpochKey, KeyCustody, Lease, Leases, Mail, Outbound, OutboundError, StoreError,
};

use super::{Fault, Faulty, failed_after, failed_before};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: KeyCustody + ?Sized> KeyCustody for Faulty<T> {
    fn installation(&self) -> InstallationId {
        self.inner.installation()
    }

    fn overwrites_in_place(&self) -> bool {
        self.inner.overwrites_in_place()
    }

    async fn epochs(&self) -> Result<Vec<EpochKey>, StoreError> {
        self.read(self.inner.epochs()).await
    }

    async fn store(&self, key: &EpochKey) -> Result<(), StoreError> {
        self.write(self.inner.store(key)).await
    }

    async fn destroy(&self, bucket: u8, epoch: u64) -> Result<(), StoreError> {
        self.write(self.inner.destroy(bucket, epoch)).await
    }

    async fn escrow_ring(
        &self,
        owner: Owner,
        version: u64,
        wrapped: &[u8],
    ) -> Result<(), StoreError> {
        self.write(self.inner.escrow_ring(owner, version, wrapped))
            .await
    }

    async fn escrowed_ring(&self, owner: Owner) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.read(self.inner.escrowed_ring(owner)).await
    }

    async fn remove_escrowed_ring(&self, owner: Owner) -> Result<(), StoreError> {
        self.write(self.inner.remove_escrowed_ring(owner)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Leases + ?Sized> Leases for Faulty<T> {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        self.write(self.inner.acquire(name, holder, period)).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        self.write(self.inner.renew(lease, holder, period)).await
    }

    async fn release(&self, lease: &Lease, holder: &str) -> Result<(), StoreError> {
        self.write(self.inner.release(lease, holder)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Outbound + ?Sized> Outbound for Faulty<T> {
    async fn mail(&self, mail: &Mail) -> Result<(), OutboundError> {
        let unavailable = |error| OutboundError::Retryable(Arc::new(error));
        match self.faults.next() {
            Fault::None => self.inner.mail(mail).await,
            Fault::Delay(period) => {
                self.faults.clock.sleep(period).await;
                self.inner.mail(mail).await
            }
            Fault::Before => Err(unavailable(failed_before())),
            // The relay has the mail, and nobody knows: it will go out again.
            Fault::After | Fault::Late => {
                self.inner.mail(mail).await?;
                Err(unavailable(failed_after()))
            }
        }
    }
}
