//! The long storage of readings: chunks and rollups instead of segments, and how both are read.
//!
//! Days are grouped into periods of 28, aligned to 1970-01-01; one manifest row per home and period names the chunks
//! that count. Within it, a capability that had many readings in a day has a chunk of that day ([`DENSE`]); all others
//! of a device share chunks of a span of days, because a chunk per day and capability would be mostly its own key and
//! seal (measured on hourly meters: 2.0 to 3.8 bytes a reading by the day, 1.5 to 3.6 by 28 days, before the 100 to 150
//! bytes of key, nonce and row of each). They are cut to parts that fit a page. A span is at most an eighth of the retention period, as a slot of keys is, so that sharing delays
//! deletion no more than keys do; what is older than its period is not answered in any case.
//!
//! **Invariant:** readers believe the manifest only, and merge what it does not cover. Merging is idempotent, so a
//! segment that is covered and still there, or comes again, changes no answer. What a generation replaces is deleted an
//! hour later; no query lives that long.

mod bundle;
mod compact;
mod manifest;
mod period;
mod read;
mod samples;
mod store;
mod sweep;
mod windows;

use hearth_ports::{SealError, StoreError};

pub(crate) use period::MOST_DAYS_RAW;
pub(crate) use read::{Query, Reader};
pub(crate) use samples::Samples;
pub(crate) use store::Store;
pub(crate) use sweep::Sweeper;
pub(crate) use windows::WindowRow;

/// Readings of a capability in a day from which it has a chunk of its own.
pub(crate) const DENSE: usize = 200;

/// Why history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Keys are away, or something does not authenticate.
    #[error("sealing failed")]
    Seal(#[from] SealError),
    /// Stored bytes are not what was written.
    #[error("stored bytes cannot be read: {0}")]
    Corrupt(&'static str),
    /// Somebody else has compacted meanwhile.
    #[error("another generation came between")]
    Overtaken,
}
