//! Pseudo-random numbers from a seed that is printed, so that a failure can be repeated with `HEARTH_SEED`.

/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014): small, and good enough to choose inputs.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From `HEARTH_SEED`, or a new seed; prints it.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's seed is not configuration"
    )]
    #[expect(clippy::print_stdout, reason = "the seed is what repeats a failure")]
    pub fn seeded(test: &str) -> Self {
        let fresh = || {
            let mut bytes = [0; 8];
            ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
            u64::from_be_bytes(bytes)
        };
        let given = std::env::var("HEARTH_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(fresh);
        println!("{test}: HEARTH_SEED={seed}");
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

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.bits() % bound).unwrap()
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// The same things in another order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }

    /// Some bytes.
    pub fn bytes(&mut self, at_most: usize) -> Vec<u8> {
        let length = self.below(at_most + 1);
        (0..length).map(|_| self.bits().to_le_bytes()[0]).collect()
    }
}
