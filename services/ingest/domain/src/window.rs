//! How far a stream of batches is stored: every sequence up to `through`, and some beyond it inside the credit window.

use std::collections::BTreeSet;
use std::time::Duration;

/// How many batches beyond `durable_through` a hub may have under way on one stream.
pub const CREDIT: u32 = 256;
/// While the oldest unwritten batch is younger than this, the writer keeps up: hubs have all their credit.
pub const KEEPS_UP: Duration = Duration::from_secs(10);
/// The most streams of one hub at a time.
pub const MAX_STREAMS: usize = 16;

/// How many batches beyond `durable_through` are granted while the oldest unwritten batch is that old: half for each
/// time that the age has doubled since [`KEEPS_UP`], and never none, because only an ack tells of more. A hub that sends
/// what it has just measured does not notice; one that sends days at once waits for its acks.
#[must_use]
pub const fn credit(behind: Duration) -> u32 {
    let doubled = behind.as_secs() / KEEPS_UP.as_secs();
    let halved = match doubled.checked_ilog2() {
        Some(times) if times < u32::BITS => CREDIT >> times,
        Some(_) => 0,
        None => CREDIT,
    };
    if halved == 0 { 1 } else { halved }
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new: store it.
    Take,
    /// It is stored already: answer with what is known.
    Stored,
    /// It is beyond the credit window, or no sequence at all.
    Refuse,
}

/// How far one stream is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    through: u64,
    beyond: BTreeSet<u64>,
}

impl Window {
    /// A stream that is stored up to there, and these beyond it.
    #[must_use]
    pub fn new(through: u64, beyond: impl IntoIterator<Item = u64>) -> Self {
        let mut window = Self {
            through,
            beyond: BTreeSet::new(),
        };
        for sequence in beyond {
            window.store(sequence);
        }
        window
    }

    /// Every sequence up to and with this one is stored.
    #[must_use]
    pub const fn through(&self) -> u64 {
        self.through
    }

    /// What is stored beyond [`Self::through`], ascending; at most [`CREDIT`].
    pub fn beyond(&self) -> impl Iterator<Item = u64> {
        self.beyond.iter().copied()
    }

    /// What to do with a batch of that sequence.
    #[must_use]
    pub fn judge(&self, sequence: u64) -> Verdict {
        if sequence == 0 {
            Verdict::Refuse
        } else if sequence <= self.through || self.beyond.contains(&sequence) {
            Verdict::Stored
        } else if sequence - self.through > u64::from(CREDIT) {
            Verdict::Refuse
        } else {
            Verdict::Take
        }
    }

    /// Notes that a sequence is stored. Answers whether `through` moved. What is outside the window changes nothing.
    pub fn store(&mut self, sequence: u64) -> bool {
        if self.judge(sequence) != Verdict::Take {
            return false;
        }
        let before = self.through;
        if sequence == self.through + 1 {
            self.through = sequence;
            while self.beyond.first() == Some(&(self.through + 1)) {
                self.beyond.pop_first();
                self.through += 1;
            }
        } else {
            self.beyond.insert(sequence);
        }
        self.through > before
    }

    /// Joins what another look at the same stream found.
    pub fn join(&mut self, other: &Self) {
        if other.through > self.through {
            self.through = other.through;
            self.beyond.retain(|sequence| *sequence > other.through);
        }
        for sequence in other.beyond() {
            self.store(sequence);
        }
        while self.beyond.first() == Some(&(self.through + 1)) {
            self.beyond.pop_first();
            self.through += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_and_repetition_comes_to_the_same(
            order in Just((1u64..=60).collect::<Vec<_>>()).prop_shuffle(),
            again in prop::collection::vec(1u64..=60, 0..60),
            cut in 0usize..60,
        ) {
            let mut window = Window::default();
            let mut other = Window::default();
            for (place, sequence) in order.iter().chain(&again).enumerate() {
                let into = if place < cut { &mut other } else { &mut window };
                into.store(*sequence);
            }
            window.join(&other);
            prop_assert_eq!(window, Window::new(60, []));
        }

        #[test]
        fn through_covers_only_what_was_stored(stored in prop::collection::btree_set(1u64..400, 0..300)) {
            let mut window = Window::default();
            let mut order: Vec<_> = stored.iter().copied().collect();
            order.reverse();
            for sequence in order.iter().chain(&stored) {
                window.store(*sequence);
            }
            prop_assert!((1..=window.through()).all(|it| stored.contains(&it)));
            prop_assert!(window.beyond().count() <= 256);
        }
    }

    #[test]
    fn credit_shrinks_with_the_age_of_the_backlog_and_never_ends() {
        let of = |seconds| credit(Duration::from_secs(seconds));
        assert_eq!([0, 9, 10, 19].map(of), [CREDIT; 4]);
        assert_eq!(
            [20, 39, 40, 160, 640, 2_560].map(of),
            [128, 128, 64, 16, 4, 1]
        );
        assert_eq!([2_561, 3 * 86_400, u64::MAX].map(of), [1; 3]);
    }

    #[test]
    fn what_is_beyond_the_window_is_refused() {
        let window = Window::new(10, []);
        let credit = u64::from(CREDIT);
        assert_eq!(window.judge(0), Verdict::Refuse);
        assert_eq!(window.judge(10), Verdict::Stored);
        assert_eq!(window.judge(11), Verdict::Take);
        assert_eq!(window.judge(10 + credit), Verdict::Take);
        assert_eq!(window.judge(11 + credit), Verdict::Refuse);
    }
}
