//! Seeded randomness for orders and faults: the seed is printed, and `HEARTH_SEED` replays it.

use std::hash::{BuildHasher, RandomState};

/// A small generator (SplitMix64, Steele et al. 2014): for orders of arrival, never for keys.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with a fresh seed, or with that of `HEARTH_SEED`. Prints it, with the name of the user.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        clippy::print_stdout,
        reason = "a test's seed is given and shown outside of any configuration"
    )]
    pub fn fresh(user: &str) -> Self {
        let given = std::env::var("HEARTH_SEED").ok();
        let seed = given
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(user));
        println!("{user}: HEARTH_SEED={seed}");
        Self(seed)
    }

    /// A generator with a known seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 when `bound` is 0. The bias is that of a remainder: none that matters.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits().checked_rem(bound).unwrap_or(0)
    }

    /// Whether one of `in_thousand` of 1,000 chances came true.
    pub fn chance(&mut self, in_thousand: u16) -> bool {
        self.below(1000) < u64::from(in_thousand)
    }

    /// Puts things into a random order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
            let other = usize::try_from(self.below(bound)).unwrap_or(last);
            things.swap(last, other);
        }
    }
}
