//! Leases: one holder at a time for a named piece of work, and a fence that tells its writes from a former holder's.

use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::Timestamp;

use crate::error::StoreError;

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is for: `<service>.<work>.<shard>`.
    pub name: String,
    /// Greater than that of every lease of this name before: writes carry it, and the greater wins.
    pub fence: u64,
    /// When it ends unless it is renewed, by the store's clock.
    pub expires: Timestamp,
}

/// Leases by compare-and-set.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the lease, unless another holder's has not ended. `holder` is a random name of the process.
    ///
    /// # Errors
    /// `Conflict` when another holds it, `Unknown` when it cannot be told (then take it again).
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError>;

    /// Extends a lease that is still held; the fence stays.
    ///
    /// # Errors
    /// `Conflict` when it has ended or somebody else holds it.
    async fn renew(
        &self,
        lease: &Lease,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError>;

    /// Gives it up. One that has ended is no error.
    ///
    /// # Errors
    /// `Retryable`.
    async fn release(&self, lease: &Lease, holder: &str) -> Result<(), StoreError>;
}
