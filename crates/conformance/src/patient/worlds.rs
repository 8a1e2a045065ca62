//! Key custody, leases and outbound, asked again until they answer.

use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::{InstallationId, Owner};
use hearth_ports::{
    EpochKey, KeyCustody, Lease, Leases, Mail, Outbound, OutboundError, StoreError,
};

use super::{Patient, TRIES, again};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: KeyCustody + ?Sized> KeyCustody for Patient<T> {
    fn installation(&self) -> InstallationId {
        self.inner.installation()
    }

    fn overwrites_in_place(&self) -> bool {
        self.inner.overwrites_in_place()
    }

    async fn epochs(&self) -> Result<Vec<EpochKey>, StoreError> {
        again(|| self.inner.epochs()).await
    }

    async fn store(&self, key: &EpochKey) -> Result<(), StoreError> {
        again(|| self.inner.store(key)).await
    }

    async fn destroy(&self, bucket: u8, epoch: u64) -> Result<(), StoreError> {
        again(|| self.inner.destroy(bucket, epoch)).await
    }

    async fn escrow_ring(
        &self,
        owner: Owner,
        version: u64,
        wrapped: &[u8],
    ) -> Result<(), StoreError> {
        again(|| self.inner.escrow_ring(owner, version, wrapped)).await
    }

    async fn escrowed_ring(&self, owner: Owner) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        again(|| self.inner.escrowed_ring(owner)).await
    }

    async fn remove_escrowed_ring(&self, owner: Owner) -> Result<(), StoreError> {
        again(|| self.inner.remove_escrowed_ring(owner)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Leases + ?Sized> Leases for Patient<T> {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        again(|| self.inner.acquire(name, holder, period)).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        again(|| self.inner.renew(lease, holder, period)).await
    }

    async fn release(&self, lease: &Lease, holder: &str) -> Result<(), StoreError> {
        again(|| self.inner.release(lease, holder)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Outbound + ?Sized> Outbound for Patient<T> {
    async fn mail(&self, mail: &Mail) -> Result<(), OutboundError> {
        let mut answer = self.inner.mail(mail).await;
        for _ in 1..TRIES {
            let Err(OutboundError::Retryable(_)) = answer else {
                break;
            };
            tokio::task::yield_now().await;
            answer = self.inner.mail(mail).await;
        }
        answer
    }
}
