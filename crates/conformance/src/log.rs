//! The suite of the log: what DESIGN section 3 asks of every backend.

mod append;
mod given;
mod kept;
mod persistence;
mod reading;
mod tail;

use std::future::Future;

use hearth_ports::Log;

pub use append::*;
pub use kept::*;
pub use persistence::*;
pub use reading::*;
pub use tail::*;

/// What backends may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether a purge tells how many messages went. Behind a caller that repeats calls it cannot.
    pub counts_purged: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            counts_purged: true,
        }
    }
}

impl Capabilities {
    /// The same, behind a caller that repeats calls.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.counts_purged = false;
        self
    }
}

suite! { $
    /// Every case of the log that needs no reopening.
    suite, log_conformance, log, dyn Log:
    nothing_has_no_head,
    positions_grow_within_a_stream,
    an_expectation_must_be_exact,
    a_conflict_writes_nothing,
    expectations_look_at_one_subject_only,
    of_two_writers_one_wins,
    contending_writers_form_a_chain,
    contending_writers_of_a_record_lose_no_update,
    a_rival_of_the_relay_loses,
    an_append_without_expectation_never_conflicts,
    sizes_from_nothing_to_a_mebibyte,
    a_greater_message_is_refused,
    recorded_times_never_fall,
    a_subject_is_literal,
    loads_are_paged,
    pages_walk_the_stream,
    streams_are_isolated,
    subjects_are_isolated,
    a_leader_sees_what_was_acked,
    a_tail_gives_what_is_stored_and_then_what_arrives,
    a_tail_resumes_after_a_position,
    a_tail_of_an_empty_stream_waits,
    a_tail_beside_writers_skips_nothing,
    a_slow_tail_skips_nothing,
    a_tail_sees_its_own_stream_only,
    a_tail_of_last_values_ends_with_the_last,
    a_tail_passes_over_what_is_gone,
    last_value_families_keep_one,
    history_keeps_all,
    a_tombstone_forbids_return,
    a_purge_spares_what_is_newer,
    a_purge_touches_one_subject,
    an_aggregate_is_never_purged_whole,
    a_purge_of_all_lets_a_fact_begin_anew,
    a_removed_record_may_begin_anew,
    a_removal_spares_a_newer_message,
    a_removal_takes_one_message_of_a_history,
    a_removal_of_nothing_is_done,
    the_head_never_falls_back,
    a_trim_takes_what_is_before,
    only_events_and_frames_are_trimmed,
    what_is_announced_is_heard,
    topics_are_isolated,
    nobody_hears_what_was_said_before,
}

suite! { $
    /// The cases of logs whose data outlives the store: instances must know how to be reopened.
    persistence, log_persistence, log, dyn Log:
    reopening_keeps_every_family,
    reopening_keeps_expectations,
    reopening_keeps_the_head_of_what_was_removed,
    reopening_keeps_tombstones,
    a_tail_resumes_after_reopening,
}
