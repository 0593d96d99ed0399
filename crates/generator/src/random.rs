//! Seeded randomness: one stream generator with a documented algorithm, and stateless mixing for values that several
//! signals must agree on (the trace id that a log, an exemplar and a span share).
//!
//! Draws are derived here from raw 64-bit words and never through `rand`'s distributions, because those may change
//! between releases of `rand` while a seed must give the same bytes for ever.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of pseudo-random draws: ChaCha with 8 rounds, seeded by 64 bits.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        scale(self.word(), bound)
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.word())
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Skewed in `0..bound`: rank r comes with a weight of about 1/(r+1).
    pub(crate) fn skewed(&mut self, bound: usize) -> usize {
        skewed(self.word(), bound)
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Mixes a seed and a number into 64 well-distributed bits (the finalizer of SplitMix64).
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut word = seed ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Uniform in `0..bound` from one random word.
pub(crate) fn scale(word: u64, bound: usize) -> usize {
    ((u128::from(word) * bound as u128) >> 64) as usize
}

/// Uniform in `0.0..1.0` from one random word.
pub(crate) fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// Skewed in `0..bound` from one random word: the continuous form of Zipf's law with exponent 1.
pub(crate) fn skewed(word: u64, bound: usize) -> usize {
    if bound <= 1 {
        return 0;
    }
    let rank = (bound as f64 + 1.0).powf(unit(word)) as usize;
    rank.clamp(1, bound) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skewed_draws_favour_low_ranks_and_reach_high_ones() {
        let mut random = Random::new(7);
        let mut counts = [0_usize; 100];
        for _ in 0..100_000 {
            counts[random.skewed(100)] += 1;
        }
        assert!(counts[0] > 10 * counts[50], "{counts:?}");
        assert!(counts[99] > 0);
    }

    #[test]
    fn the_algorithm_is_fixed_for_ever() {
        let mut random = Random::new(42);
        assert_eq!([random.word(), random.word()], KNOWN_WORDS);
        assert_eq!(mix(1, 2), KNOWN_MIX);
    }

    const KNOWN_WORDS: [u64; 2] = [12_578_764_544_318_200_737, 17_529_487_244_874_322_312];
    const KNOWN_MIX: u64 = 4_048_727_598_324_417_001;
}
