//! Answers by a hash of what was asked: a table of fixed size in which a new answer takes the place of an old one.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::Ids;

/// The answer. The bit above it is set in every slot that has one.
const ANSWER: u64 = 1;
const TAKEN: u64 = 2;

/// What has been asked, and the answer to it. Two that have the same 62 bits are taken for the same: with a seed that nobody
/// knows, this does not happen.
#[derive(Debug)]
pub(super) struct Remembered {
    slots: Box<[AtomicU64]>,
    seed: u64,
}

/// Something that was asked.
#[derive(Clone, Copy)]
pub(super) struct Asked(u64);

impl Remembered {
    /// For so many answers, a power of two.
    pub(super) fn new(count: usize) -> Remembered {
        Remembered {
            slots: (0..count.next_power_of_two())
                .map(|_| AtomicU64::new(0))
                .collect(),
            seed: u64::from_le_bytes(Ids::Random.span_id().0),
        }
    }

    /// About bytes; `question` is which one, if there are several about the same.
    #[inline]
    pub(super) fn ask(&self, question: u64, bytes: &[u8]) -> Asked {
        Asked(xxh3_64_with_seed(bytes, self.seed ^ question) & !ANSWER | TAKEN)
    }

    #[inline]
    pub(super) fn answer(&self, asked: Asked) -> Option<bool> {
        let slot = self.slot(asked).load(Ordering::Relaxed);
        (slot & !ANSWER == asked.0).then_some(slot & ANSWER == ANSWER)
    }

    #[inline]
    pub(super) fn remember(&self, asked: Asked, answer: bool) {
        self.slot(asked)
            .store(asked.0 | u64::from(answer), Ordering::Relaxed);
    }

    fn slot(&self, asked: Asked) -> &AtomicU64 {
        // The length is a power of two.
        &self.slots[(asked.0 >> 32) as usize & (self.slots.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_known_until_something_else_takes_its_place() {
        let remembered = Remembered::new(2);
        let (one, two) = (remembered.ask(1, b"yes"), remembered.ask(2, b"yes"));
        assert_ne!(one.0, two.0);
        let (yes, no) = (remembered.ask(0, b"yes"), remembered.ask(0, b"no"));
        assert_eq!(remembered.answer(yes), None);
        remembered.remember(yes, true);
        assert_eq!(remembered.answer(yes), Some(true));
        remembered.remember(no, false);
        assert_eq!(remembered.answer(no), Some(false));
        for other in 0..100 {
            let other = remembered.ask(0, format!("{other}").as_bytes());
            assert_eq!(remembered.answer(other), None);
            remembered.remember(other, true);
        }
        assert_eq!(remembered.answer(yes), None);
    }
}
