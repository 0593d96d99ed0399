//! Bytes that the records of this process take. The child of a fork begins at nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fork;

/// Bits for the bytes; the others tell the generation that they are of.
const BYTES_BITS: u32 = 40;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;

/// A count of bytes with a ceiling, without a lock.
#[derive(Debug)]
pub(super) struct Held {
    count: AtomicU64,
    max: u64,
}

impl Held {
    pub(super) fn new(max: usize) -> Held {
        Held {
            count: AtomicU64::new(0),
            max: (max as u64).min(BYTES_MASK),
        }
    }

    /// Whether there is room for so many more, which are then counted.
    pub(super) fn try_add(&self, bytes: usize) -> bool {
        self.change(|held| held.checked_add(bytes as u64).filter(|sum| *sum <= self.max))
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.change(|held| Some(held.saturating_sub(bytes as u64)));
    }

    pub(super) fn bytes(&self) -> usize {
        of_now(self.count.load(Ordering::Relaxed)) as usize
    }

    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        let next = |count| Some(change(of_now(count))? | generation_bits());
        self.count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

fn generation_bits() -> u64 {
    fork::generation() << BYTES_BITS
}

/// The bytes in a count, if it is of this process.
fn of_now(count: u64) -> u64 {
    match count & !BYTES_MASK == generation_bits() {
        true => count & BYTES_MASK,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_given_back_fits_again() {
        let held = Held::new(100);
        assert!(held.try_add(60) && !held.try_add(41) && held.try_add(40));
        assert_eq!(held.bytes(), 100);
        held.give_back(60);
        assert!(held.try_add(60) && !held.try_add(1));
        held.give_back(1000);
        assert_eq!(held.bytes(), 0);
    }
}
