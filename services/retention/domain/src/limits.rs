//! The numbers that the rules use, in one place, each with its reason.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The version of the policy that these numbers and [`crate::periods`] are. An erasure keeps to the one it began with.
pub const POLICY: u32 = 1;

/// From when the fence stands in STATE until no lease lives: a lease lives while its process has read the fences
/// within 60 s, and clocks of machines differ.
pub const LEASES_END: Duration = Duration::from_secs(90);

/// Homes that end with one account.
pub const HOMES: usize = 32;
/// Memberships of one account.
pub const MEMBERSHIPS: usize = 32;
/// Erasers of one service.
pub const STORES: usize = 256;

/// What each end of a residual waits longer: stores drop what is over once an hour, and clocks differ.
pub const SLACK: Duration = HOUR.saturating_mul(2);
/// How long published events stay.
pub const EVENTS: Duration = DAY.saturating_mul(30);
/// How long a deleted document's key stays as a tombstone.
pub const DOCUMENT_TOMBSTONES: Duration = DAY.saturating_mul(30);
/// How long frames stay: 7 days, and a store drops whole days.
pub const FRAMES: Duration = DAY.saturating_mul(8);
/// How long receipts and the ledger are kept: three years (privacy notice).
pub const LEDGER: Duration = DAY.saturating_mul(1_096);
/// How long a closing that was taken back is remembered.
pub const CANCELLED: Duration = DAY.saturating_mul(30);

/// Keys that receipts are signed with, former ones included.
pub const KEYS: usize = 16;
