//! How one message fares on one channel: tried, tried again with growing waits, taken or given up.

use hearth_kernel::Timestamp;

use crate::limits::LADDER;

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// The channel has no part in it.
    #[default]
    Off,
    /// It waits for a try.
    Queued {
        /// Which try comes next, from 0.
        attempt: u8,
        /// Not before this.
        due: Timestamp,
    },
    /// Nothing more happens.
    Done(Outcome),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The channel took it.
    Accepted,
    /// Given up: refused, or not taken after the last try. It is a dead letter, and stays as that.
    GivenUp,
    /// Not sent: it was turned off, its reader is gone, or its time was over.
    Dropped,
}

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The channel took it.
    Accepted,
    /// The channel never takes it.
    Refused,
    /// The channel may take it later.
    Failed,
    /// It was not tried: nobody wants it any more.
    Unwanted,
}

impl Delivery {
    /// A message that is to be sent now.
    #[must_use]
    pub const fn begin(now: Timestamp) -> Self {
        Self::Queued {
            attempt: 0,
            due: now,
        }
    }

    /// What becomes of it after a try. `None` when that try is not the one that is waited for.
    #[must_use]
    pub fn after(
        self,
        attempt: u8,
        tried: Tried,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Option<Self> {
        match self {
            Self::Queued { attempt: next, .. } if next == attempt => {}
            _ => return None,
        }
        Some(match tried {
            Tried::Accepted => Self::Done(Outcome::Accepted),
            Tried::Refused => Self::Done(Outcome::GivenUp),
            Tried::Unwanted => Self::Done(Outcome::Dropped),
            Tried::Failed => {
                let next = attempt.saturating_add(1);
                let due = LADDER
                    .get(usize::from(next))
                    .map(|wait| now.plus(*wait))
                    .filter(|due| *due < expires_at);
                due.map_or(Self::Done(Outcome::GivenUp), |due| Self::Queued {
                    attempt: next,
                    due,
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn the_ladder_is_climbed_once_and_ends() {
        let mut delivery = Delivery::begin(START);
        let mut now = START;
        let mut waits = Vec::new();
        while let Delivery::Queued { attempt, due } = delivery {
            waits.push(due.since(now));
            now = due;
            delivery = delivery
                .after(attempt, Tried::Failed, now, Timestamp::MAX)
                .expect("the try that is waited for");
        }
        assert_eq!(waits, LADDER);
        assert_eq!(delivery, Delivery::Done(Outcome::GivenUp));
    }

    #[test]
    fn a_try_that_is_not_waited_for_changes_nothing() {
        let delivery = Delivery::begin(START);
        assert_eq!(
            delivery.after(1, Tried::Accepted, START, Timestamp::MAX),
            None
        );
        let done = Delivery::Done(Outcome::Accepted);
        assert_eq!(done.after(0, Tried::Failed, START, Timestamp::MAX), None);
    }

    #[test]
    fn nothing_is_tried_after_its_time() {
        let delivery = Delivery::begin(START);
        let soon = START.plus(Duration::from_secs(1));
        assert_eq!(
            delivery.after(0, Tried::Failed, START, soon),
            Some(Delivery::Done(Outcome::GivenUp))
        );
    }
}
