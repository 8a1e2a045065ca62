//! What one stream of batches has under way, and what the next ack of it says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hearth_api::ingest::v1::{Ack, RefusedReading};
use hearth_ingest_domain::window::{CREDIT, Verdict, Window};
use hearth_kernel::HubStreamId;

use super::refusal;
use crate::batch::Refused;

/// Refusals that one ack lists.
const LISTED: usize = 1_024;

/// One stream of batches.
#[derive(Debug, Default)]
pub(super) struct Lane {
    window: Window,
    under_way: BTreeSet<u64>,
    /// Of batches that no ack has covered yet.
    refused: BTreeMap<u64, Vec<Refused>>,
    /// Of batches that will never be covered: beyond the window.
    beyond: Vec<(u64, Refused)>,
    /// Whether the hub is to hear something.
    due: bool,
    /// When it was last used, in batches of the session.
    pub(super) used: u64,
}

impl Lane {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    /// What to do with a batch; notes it as under way when it is new.
    pub(super) fn judge(&mut self, sequence: u64) -> Verdict {
        if self.under_way.contains(&sequence) {
            return Verdict::Stored;
        }
        let verdict = self.window.judge(sequence);
        match verdict {
            Verdict::Take => {
                self.under_way.insert(sequence);
            }
            Verdict::Stored => self.due = true,
            Verdict::Refuse => {
                self.due = true;
                if self.beyond.len() < LISTED {
                    let (index, reason) = (
                        crate::batch::WHOLE_BATCH,
                        hearth_kernel::Reason::SEQUENCE_BEYOND_WINDOW,
                    );
                    self.beyond.push((sequence, Refused { index, reason }));
                }
            }
        }
        verdict
    }

    pub(super) fn refuse(&mut self, sequence: u64, refused: Vec<Refused>) {
        if !refused.is_empty() {
            self.refused.insert(sequence, refused);
        }
    }

    pub(super) fn stored(&mut self, sequence: u64) {
        self.under_way.remove(&sequence);
        self.window.store(sequence);
        self.due = true;
    }

    /// Forgets what is under way: it is to be sent again.
    pub(super) fn drop_unsettled(&mut self) {
        for sequence in std::mem::take(&mut self.under_way) {
            self.refused.remove(&sequence);
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next ack, if there is something to say.
    pub(super) fn ack(&mut self, stream: HubStreamId) -> Option<Ack> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        let through = self.window.through();
        let later = self.refused.split_off(&(through + 1));
        let covered = std::mem::replace(&mut self.refused, later);
        let covered = covered
            .into_iter()
            .flat_map(|(sequence, all)| all.into_iter().map(move |it| (sequence, it)));
        let all: Vec<_> = self.beyond.drain(..).chain(covered).collect();
        let listed = all.len().min(LISTED);
        let to_wire = |(sequence, refused): &(u64, Refused)| RefusedReading {
            sequence: *sequence,
            index: refused.index,
            refusal: Some(refusal(refused.reason)),
        };
        Some(Ack {
            stream_id: Bytes::copy_from_slice(stream.as_bytes()),
            durable_through: through,
            credit: CREDIT,
            refused: all[..listed].iter().map(to_wire).collect(),
            refused_more: u32::try_from(all.len() - listed).unwrap_or(u32::MAX),
        })
    }
}
