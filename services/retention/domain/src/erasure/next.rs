//! Which step comes now.

use std::collections::BTreeSet;

use hearth_kernel::{Owner, Service, Timestamp};

use super::State;
use super::decide::missing;
use crate::limits;

/// What a search is for: which of what it finds is on the residual list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Search {
    /// The positive control: everything is still there.
    Control,
    /// After the purge: bare ids stay, frames and tombstones have not ended.
    Purge,
    /// After the last residual.
    Residuals,
}

/// What is to be done for an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: there is none, or its grace runs.
    Nothing,
    /// Look through every file.
    Search(Search),
    /// Fence this ring.
    Fence(Owner),
    /// Note that all leases have ended.
    EndLeases,
    /// Nothing before this time.
    Wait(Timestamp),
    /// These services have not answered.
    Await(BTreeSet<Service>),
    /// Ask the vault for its evidence, and sign the key receipt when there is some.
    SignKeys,
    /// It is over, and so is the time for which that is kept.
    Forget,
}

/// The next step at that time: the same for the same state, so that it can be taken again after a crash.
#[must_use]
pub fn next(state: &State, now: Timestamp) -> Next {
    let cancelled = state.cancelled_at.map(|at| at.plus(limits::CANCELLED));
    let proved = state
        .bytes_gone
        .as_ref()
        .map(|(_, at)| at.plus(limits::LEDGER));
    if let Some(end) = cancelled.or(proved) {
        return if now < end {
            Next::Wait(end)
        } else {
            Next::Forget
        };
    }
    if state.request.is_none() {
        return Next::Nothing;
    }
    if state.control.is_none() {
        return Next::Search(Search::Control);
    }
    let open = |owner: &Owner| !state.fenced.contains_key(owner);
    if let Some(owner) = state.owners().into_iter().find(open) {
        return Next::Fence(owner);
    }
    let leases_end = state.fenced_at.unwrap_or(now).plus(limits::LEASES_END);
    if state.leases_ended_at.is_none() {
        return if now < leases_end {
            Next::Wait(leases_end)
        } else {
            Next::EndLeases
        };
    }
    if state.purged_at.is_none() {
        return Next::Await(missing(state));
    }
    if state.verified.is_none() {
        return Next::Search(Search::Purge);
    }
    if state.keys_gone.is_none() {
        return Next::SignKeys;
    }
    match state.residuals_end_at() {
        Some(end) if now < end => Next::Wait(end),
        _ => Next::Search(Search::Residuals),
    }
}
