//! What one stream of batches has under way, and what the next ack of it says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hearth_api::ingest::v1::{Ack, RefusedReading};
use hearth_ingest_domain::window::{Verdict, Window};
use hearth_kernel::HubStreamId;

use super::refusal;
use crate::batch::Refused;

/// Refusals that one ack lists.
const LISTED: usize = 1_024;

/// What was refused of one batch.
#[derive(Debug, Default)]
struct Refusals {
    listed: Vec<Refused>,
    /// How many more there are.
    more: usize,
}

impl Refusals {
    fn keep(&mut self, most: usize) {
        if self.listed.len() > most {
            self.more += self.listed.len() - most;
            self.listed.truncate(most);
            self.listed.shrink_to_fit();
        }
    }
}

/// One stream of batches.
#[derive(Debug, Default)]
pub(super) struct Lane {
    window: Window,
    under_way: BTreeSet<u64>,
    /// Of batches that no ack has covered yet. Together at most [`LISTED`]; the rest are counted.
    refused: BTreeMap<u64, Refusals>,
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

    /// Notes what was refused of a batch, in place of what was when it came before. A hub that leaves a gap could hoard
    /// millions of refusals behind it: what an ack would not list is counted only, the latest batches first.
    pub(super) fn refuse(&mut self, sequence: u64, listed: Vec<Refused>) {
        if listed.is_empty() {
            self.refused.remove(&sequence);
            return;
        }
        self.refused.insert(sequence, Refusals { listed, more: 0 });
        let mut left = LISTED;
        for refusals in self.refused.values_mut() {
            refusals.keep(left);
            left -= refusals.listed.len();
        }
    }

    pub(super) fn stored(&mut self, sequence: u64) {
        self.under_way.remove(&sequence);
        self.window.store(sequence);
        self.due = true;
    }

    /// Forgets what is under way: it is to be sent again. What was refused of it stays, because an append that is under
    /// way may succeed after all.
    pub(super) fn drop_unsettled(&mut self) {
        self.under_way.clear();
    }

    /// Whether it waits to tell of refusals.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Refusals that are kept.
    #[cfg(test)]
    fn listed(&self) -> usize {
        self.refused.values().map(|it| it.listed.len()).sum()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next ack, if there is something to say, with the credit that is granted now.
    pub(super) fn ack(&mut self, stream: HubStreamId, credit: u32) -> Option<Ack> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        let through = self.window.through();
        let later = self.refused.split_off(&(through + 1));
        let covered = std::mem::replace(&mut self.refused, later);
        let mut more: usize = covered.values().map(|it| it.more).sum();
        let covered = covered
            .into_iter()
            .flat_map(|(sequence, all)| all.listed.into_iter().map(move |it| (sequence, it)));
        let all: Vec<_> = self.beyond.drain(..).chain(covered).collect();
        let listed = all.len().min(LISTED);
        more += all.len() - listed;
        let to_wire = |(sequence, refused): &(u64, Refused)| RefusedReading {
            sequence: *sequence,
            index: refused.index,
            refusal: Some(refusal(refused.reason)),
        };
        Some(Ack {
            stream_id: Bytes::copy_from_slice(stream.as_bytes()),
            durable_through: through,
            credit,
            refused: all[..listed].iter().map(to_wire).collect(),
            refused_more: u32::try_from(more).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use hearth_kernel::Reason;

    use super::*;

    const STREAM: HubStreamId = HubStreamId::from_bytes([1; 16]);

    fn refused(count: u32) -> Vec<Refused> {
        let reason = Reason::VALUE_OUT_OF_RANGE;
        (0..count).map(|index| Refused { index, reason }).collect()
    }

    #[test]
    fn a_refusal_is_told_though_a_pause_came_between() {
        let mut lane = Lane::default();
        assert_eq!(lane.judge(1), Verdict::Take);
        lane.refuse(1, refused(2));
        lane.drop_unsettled();
        // The append that was under way succeeds after all, before the hub sends the batch again.
        lane.stored(1);
        let ack = lane.ack(STREAM, 1).unwrap();
        assert_eq!((ack.durable_through, ack.refused.len()), (1, 2));
    }

    #[test]
    fn a_batch_sent_again_is_refused_for_its_own_readings() {
        let mut lane = Lane::default();
        lane.judge(1);
        lane.refuse(1, refused(2));
        lane.drop_unsettled();
        lane.judge(1);
        lane.refuse(1, Vec::new());
        lane.stored(1);
        assert_eq!(lane.ack(STREAM, 1).unwrap().refused, []);
    }

    #[test]
    fn refusals_behind_a_gap_are_counted_and_not_hoarded() {
        let mut lane = Lane::default();
        for sequence in 2..=256 {
            lane.judge(sequence);
            lane.refuse(sequence, refused(16_384));
            lane.stored(sequence);
            lane.ack(STREAM, 1);
        }
        assert!(lane.listed() <= LISTED, "{} are kept", lane.listed());
        lane.judge(1);
        lane.stored(1);
        let ack = lane.ack(STREAM, 1).unwrap();
        assert_eq!((ack.durable_through, ack.refused.len()), (256, LISTED));
        assert_eq!(ack.refused[0].sequence, 2, "the oldest are listed");
        assert_eq!(ack.refused_more as usize, 255 * 16_384 - LISTED);
    }
}
