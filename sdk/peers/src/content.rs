//! Values of all kinds, generated from a seed: what destinations are particular about is among them more often than in life.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// OpenSearch refuses a document with an attribute of more than 32766 bytes, of which a character has four at most.
pub(crate) const LONG_ATTRIBUTE_CHARS_MAX: usize = 8_000;
pub(crate) const LONG_BODY_CHARS_MAX: usize = 40_000;

/// Parts of texts. None is like a secret, as those are taken out.
const PARTS: &[&str] = &[
    "order",
    "paper",
    "grüße",
    "наряд",
    "紙",
    "🦀👩‍👩‍👧",
    "e\u{301}",
    "\u{202e}txet",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\"",
    "\\",
    "\\u0000",
    "'",
    ";--",
    "\0",
    "\u{7}",
    "\u{7f}",
    "\u{feff}",
    "\u{ffff}",
    "\u{10ffff}",
    "{}",
    "%s",
    "<b>",
    "$1",
    "2026-01-01",
    "null",
    "NaN",
    "-",
    ",",
];

/// What is said next.
#[derive(Debug)]
pub(crate) struct Content(StdRng);

impl Content {
    pub(crate) fn new(seed: u64) -> Content {
        Content(StdRng::seed_from_u64(seed))
    }

    /// Once in `n` times.
    pub(crate) fn once_in(&mut self, n: u32) -> bool {
        self.0.random_ratio(1, n)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.0).expect("there are some")
    }

    pub(crate) fn text(&mut self) -> String {
        let parts = self.below(8);
        (0..parts).map(|_| self.pick(PARTS)).collect()
    }

    pub(crate) fn long(&mut self, chars_max: usize) -> String {
        let chars = self.below(chars_max);
        let part = self.pick(PARTS);
        part.chars().cycle().take(chars).collect()
    }

    pub(crate) fn int(&mut self) -> i64 {
        match self.below(4) {
            0 => self.pick(&[0, 1, -1, i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1]),
            1 => self.0.random(),
            _ => self.0.random_range(-1000..1000),
        }
    }

    pub(crate) fn unsigned(&mut self) -> u64 {
        match self.below(3) {
            0 => self.pick(&[0, u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1]),
            _ => self.0.random(),
        }
    }

    pub(crate) fn double(&mut self) -> f64 {
        match self.below(4) {
            0 => self.pick(&[
                0.0,
                -0.0,
                0.1,
                5e-324,
                f64::MAX,
                f64::MIN_POSITIVE,
                f64::EPSILON,
                1e15,
                1e16,
                1e21,
            ]),
            1 => self.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
            2 => Some(f64::from_bits(self.0.random()))
                .filter(|double| double.is_finite())
                .unwrap_or(0.5),
            _ => self.0.random_range(-1e6..1e6),
        }
    }

    /// Not one that makes others vanish when they are added up.
    pub(crate) fn measured(&mut self) -> f64 {
        self.0.random_range(0..40_000) as f64 / 4.0
    }

    pub(crate) fn truth(&mut self) -> bool {
        self.0.random()
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let length = self.below(20);
        (0..length).map(|_| self.0.random()).collect()
    }
}
