//! The suite of series: resends, late and repeated rows, days and windows, expiry, and the end of one home.

mod chunks;
mod given;
mod rows;
mod segments;

use std::future::Future;

use hearth_ports::Series;

pub use chunks::*;
pub use rows::*;
pub use segments::*;

/// What backends may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether a chunk that is rewritten with other bytes is refused. A store that never reads before it
    /// writes cannot tell; then either may be there, and no third thing.
    pub refuses_rewrites: bool,
    /// Whether `expire` tells how many rows went. A store that drops them by itself, and one behind a caller
    /// that repeats calls, cannot.
    pub counts_expired: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            refuses_rewrites: true,
            counts_expired: true,
        }
    }
}

impl Capabilities {
    /// The same, behind a caller that repeats calls.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.counts_expired = false;
        self
    }

    /// The same, of a store that never reads before it writes.
    #[must_use]
    pub const fn write_only(mut self) -> Self {
        self.refuses_rewrites = false;
        self.counts_expired = false;
        self
    }
}

suite! { $
    /// Every case of series that needs no reopening.
    suite, series_conformance, series, dyn Series:
    a_new_series_has_nothing,
    a_resent_segment_overwrites_itself,
    segments_come_by_key_and_by_pages,
    segments_of_other_homes_and_days_are_apart,
    every_column_of_a_segment_key_counts,
    deleted_segments_are_gone,
    days_and_homes_are_listed,
    segments_of_a_megabyte,
    chunks_come_by_day_and_generation,
    every_column_of_a_chunk_key_counts,
    a_chunk_is_written_once,
    deleted_chunks_are_gone,
    expired_chunks_are_absent,
    expiry_takes_only_what_is_over,
    a_manifest_is_the_greatest_in_any_order,
    manifests_come_by_day,
    homes_of_manifests_are_listed,
    the_latest_is_the_newest_in_any_order,
    latest_rows_are_apart,
    concurrent_writers_lose_nothing,
    a_home_is_deleted_alone,
}

suite! { $
    /// The cases of series that outlive the store: instances must know how to be reopened.
    persistence, series_persistence, series, dyn Series:
    reopening_keeps_every_table,
}
