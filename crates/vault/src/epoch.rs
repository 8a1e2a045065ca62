//! The epochs of one bucket: pure state and its record. Which epoch key may wrap, unwrap, or is gone.
//!
//! At most one epoch is open, at most one is on its way out, and numbers are never used again:
//! `opening -> open -> draining -> destroying -> destroyed`. *Destroying* says that a full scan found no
//! ring left under the epoch, so that its key may be destroyed; it stands in the log before the key goes.

use hearth_kernel::Timestamp;
use prost::Message;

use crate::error::VaultError;

/// The format of these records; a reader refuses any other.
const FORMAT: u32 = 1;
/// Destroyed epochs whose times are kept: for receipts.
const HISTORY: usize = 16;

/// The state of one epoch that is not destroyed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochState {
    /// Announced; its key may not be in custody and escrow yet. Wraps nothing.
    Opening,
    /// Its key is in custody and escrow; new wrappings use it.
    Open,
    /// Unwraps only; a scan re-wraps what lies under it.
    Draining,
    /// Nothing that was ever used lies under it; its key is being destroyed.
    Destroying,
}

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    pub(crate) state: EpochState,
    /// When it got this state.
    pub(crate) since: Timestamp,
}

/// How far the destruction of epochs has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destroyed {
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
}

/// The epochs of one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// Oldest first: at most one on its way out, one open, one opening.
    pub(crate) live: Vec<Epoch>,
    /// The latest destroyed ones, oldest first.
    pub(crate) destroyed: Vec<Destroyed>,
}

impl Epochs {
    pub(crate) fn open(&self) -> Option<&Epoch> {
        self.in_state(EpochState::Open)
    }

    pub(crate) fn in_state(&self, state: EpochState) -> Option<&Epoch> {
        self.live.iter().find(|epoch| epoch.state == state)
    }

    pub(crate) fn state_of(&self, number: u64) -> Option<EpochState> {
        let epoch = self.live.iter().find(|epoch| epoch.number == number);
        epoch.map(|epoch| epoch.state)
    }

    /// Every epoch up to this number is destroyed.
    pub(crate) fn destroyed_through(&self) -> u64 {
        self.destroyed.last().map_or(0, |last| last.number)
    }

    /// When every epoch up to `number` was destroyed, if that is so.
    pub(crate) fn destroyed_at(&self, number: u64) -> Option<Destroyed> {
        self.destroyed
            .iter()
            .find(|destroyed| destroyed.number >= number)
            .copied()
    }

    /// The greatest number ever given.
    pub(crate) fn greatest(&self) -> u64 {
        let live = self.live.iter().map(|epoch| epoch.number);
        live.chain([self.destroyed_through()]).max().unwrap_or(0)
    }

    /// Announces the next epoch. Refused while another is opening or on its way out: custody has two slots.
    pub(crate) fn announce(&mut self, now: Timestamp) -> Option<u64> {
        let busy = |epoch: &Epoch| epoch.state != EpochState::Open;
        if self.live.iter().any(busy) {
            return None;
        }
        let number = self.greatest() + 1;
        self.live.push(Epoch {
            number,
            state: EpochState::Opening,
            since: now,
        });
        Some(number)
    }

    /// Opens the announced epoch, whose key is confirmed; the open one drains from now on.
    pub(crate) fn promote(&mut self, number: u64, now: Timestamp) -> bool {
        if self.state_of(number) != Some(EpochState::Opening) {
            return false;
        }
        self.turn(EpochState::Open, EpochState::Draining, now);
        self.turn(EpochState::Opening, EpochState::Open, now);
        true
    }

    /// Notes that a full scan left nothing under the draining epoch.
    pub(crate) fn drained(&mut self, number: u64, now: Timestamp) -> bool {
        if self.state_of(number) != Some(EpochState::Draining) {
            return false;
        }
        self.turn(EpochState::Draining, EpochState::Destroying, now);
        true
    }

    /// Notes that the key is gone.
    pub(crate) fn bury(&mut self, number: u64, now: Timestamp) -> bool {
        if self.state_of(number) != Some(EpochState::Destroying) {
            return false;
        }
        self.live.retain(|epoch| epoch.number != number);
        self.destroyed.push(Destroyed { number, at: now });
        if self.destroyed.len() > HISTORY {
            self.destroyed.remove(0);
        }
        true
    }

    fn turn(&mut self, from: EpochState, to: EpochState, now: Timestamp) {
        for epoch in &mut self.live {
            if epoch.state == from {
                epoch.state = to;
                epoch.since = now;
            }
        }
    }

    pub(crate) fn encode(&self, bucket: u8) -> Vec<u8> {
        let live = self.live.iter().map(|epoch| LiveMessage {
            number: epoch.number,
            state: match epoch.state {
                EpochState::Opening => 1,
                EpochState::Open => 2,
                EpochState::Draining => 3,
                EpochState::Destroying => 4,
            },
            since: epoch.since.micros(),
        });
        let destroyed = self.destroyed.iter().map(|destroyed| DestroyedMessage {
            number: destroyed.number,
            at: destroyed.at.micros(),
        });
        let message = EpochsMessage {
            format: FORMAT,
            bucket: u32::from(bucket),
            live: live.collect(),
            destroyed: destroyed.collect(),
        };
        message.encode_to_vec()
    }

    pub(crate) fn decode(bucket: u8, bytes: &[u8]) -> Result<Self, VaultError> {
        let broken = || VaultError::Corrupt("a record of epochs does not decode");
        let message = EpochsMessage::decode(bytes).map_err(|_| broken())?;
        if message.format != FORMAT || message.bucket != u32::from(bucket) {
            return Err(broken());
        }
        let live = message.live.iter().map(|live| {
            Some(Epoch {
                number: live.number,
                state: match live.state {
                    1 => EpochState::Opening,
                    2 => EpochState::Open,
                    3 => EpochState::Draining,
                    4 => EpochState::Destroying,
                    _ => return None,
                },
                since: Timestamp::from_micros(live.since),
            })
        });
        let destroyed = message.destroyed.iter().map(|destroyed| Destroyed {
            number: destroyed.number,
            at: Timestamp::from_micros(destroyed.at),
        });
        Ok(Self {
            live: live.collect::<Option<Vec<_>>>().ok_or_else(broken)?,
            destroyed: destroyed.collect(),
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct EpochsMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint32, tag = "2")]
    bucket: u32,
    #[prost(message, repeated, tag = "3")]
    live: Vec<LiveMessage>,
    #[prost(message, repeated, tag = "4")]
    destroyed: Vec<DestroyedMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct LiveMessage {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint32, tag = "2")]
    state: u32,
    #[prost(int64, tag = "3")]
    since: i64,
}

#[derive(Clone, PartialEq, Message)]
struct DestroyedMessage {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(int64, tag = "2")]
    at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_goes_one_way_and_numbers_are_not_used_again() {
        let now = Timestamp::from_seconds(1);
        let mut epochs = Epochs::default();
        assert_eq!(epochs.announce(now), Some(1));
        assert_eq!(epochs.announce(now), None);
        assert!(epochs.open().is_none());
        assert!(epochs.promote(1, now));
        assert!(!epochs.promote(1, now));
        assert_eq!(epochs.announce(now), Some(2));
        assert_eq!(epochs.state_of(1), Some(EpochState::Open));
        assert!(epochs.promote(2, now));
        assert_eq!(epochs.state_of(1), Some(EpochState::Draining));
        assert_eq!(epochs.announce(now), None, "two slots are taken");
        assert!(!epochs.bury(1, now));
        assert!(epochs.drained(1, now));
        assert!(epochs.bury(1, now));
        assert_eq!(epochs.destroyed_through(), 1);
        assert!(epochs.destroyed_at(1).is_some());
        assert!(epochs.destroyed_at(2).is_none());
        assert_eq!(epochs.announce(now), Some(3));
        let bytes = epochs.encode(7);
        assert_eq!(Epochs::decode(7, &bytes).unwrap(), epochs);
        assert!(Epochs::decode(8, &bytes).is_err());
    }
}
