//! The deciders of the domain as aggregates of this service.

use hearth_retention_domain as domain;
use uuid::Uuid;

hearth_engine::aggregates! {
    /// One closing, and what came of it.
    Erasure = domain::Erasure;
    /// The keys of receipts.
    Signing = domain::Signing;
}

/// The id of the one list of keys.
pub(crate) const SIGNING: Uuid = Uuid::from_u128(1);
