//! How much of one limit is left: records as a moment, bytes as a sum of a day. Two atomic numbers.
//!
//! Records by the generic cell rate algorithm, a bucket of tokens that is one number:
//! <https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm>

use std::sync::atomic::{AtomicU64, Ordering};

const SECOND_NANOS: f64 = 1e9;
const DAY_NANOS: u64 = 86_400_000_000_000;
/// Bits for the bytes of a day, up to a million million; the others are the day.
const BYTES_BITS: u32 = 40;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;

/// What a limit allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    records: Option<Records>,
    bytes_per_day: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Records {
    /// Between two records, in the long run.
    interval_nanos: u64,
    /// How far ahead of the time records may be.
    burst_nanos: u64,
}

impl Rate {
    pub(crate) fn new(per_second: Option<f64>, burst: Option<u32>, bytes_per_day: Option<u64>) -> Rate {
        let records = per_second.map(|per_second| {
            // None at all: one, and the next after centuries. What is no number is none.
            let per_second = per_second.max(1e-9);
            let interval = (SECOND_NANOS / per_second).max(1.0);
            let burst = burst.map_or(per_second.ceil(), f64::from).max(1.0);
            // As numbers of floating point they end at the largest integer.
            let longest = (u64::MAX / 4) as f64;
            Records {
                interval_nanos: interval.min(longest) as u64,
                burst_nanos: (interval * burst).min(longest) as u64,
            }
        });
        Rate {
            records,
            bytes_per_day: bytes_per_day.map(|bytes| bytes.min(BYTES_MASK)),
        }
    }
}

/// What has been used.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// When all that was admitted would have come, had it come at the rate of the long run; nanoseconds since 1970.
    until: AtomicU64,
    /// The day since 1970, and bytes on it.
    used: AtomicU64,
}

impl Bucket {
    /// Whether one more record of so many bytes is allowed, which is then counted.
    pub(crate) fn admits(&self, rate: &Rate, bytes: u64, now: u64) -> bool {
        if let Some(records) = &rate.records
            && !self.admits_record(records, now)
        {
            return false;
        }
        rate.bytes_per_day
            .is_none_or(|most| self.admits_bytes(most, bytes, now))
    }

    fn admits_record(&self, rate: &Records, now: u64) -> bool {
        let latest = now.saturating_add(rate.burst_nanos);
        let next = |until: u64| {
            // Later than it can be only if the clock was set back: as if all had been used now.
            let until = until.clamp(now, latest);
            let next = until.saturating_add(rate.interval_nanos);
            (next <= latest).then_some(next)
        };
        let admitted = self
            .until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok();
        if !admitted && self.until.load(Ordering::Relaxed) > latest {
            self.until.fetch_min(latest, Ordering::Relaxed);
        }
        admitted
    }

    fn admits_bytes(&self, most: u64, bytes: u64, now: u64) -> bool {
        let day = day(now);
        let next = |used: u64| {
            let before = match used >> BYTES_BITS == day {
                true => used & BYTES_MASK,
                false => 0,
            };
            let sum = before.saturating_add(bytes);
            (sum <= most).then_some(day << BYTES_BITS | sum)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    /// Whether forgetting it changes nothing: it is as one that was never used.
    pub(super) fn is_full(&self, now: u64) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        self.until.load(Ordering::Relaxed) <= now && (used == 0 || used >> BYTES_BITS != day(now))
    }

    /// As one that was never used.
    pub(super) fn reset(&self) {
        self.until.store(0, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
    }
}

/// Since 1970, in as many bits as there are for it.
fn day(now: u64) -> u64 {
    (now / DAY_NANOS) & (u64::MAX >> BYTES_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn admitted(bucket: &Bucket, rate: &Rate, tries: u32, now: u64) -> usize {
        (0..tries).filter(|_| bucket.admits(rate, 1, now)).count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), Rate::new(Some(10.0), Some(5), None));
        let begin = 1_000 * SECOND;
        assert_eq!(admitted(&bucket, &rate, 20, begin), 5);
        assert_eq!(admitted(&bucket, &rate, 20, begin + SECOND / 10), 1);
        assert_eq!(admitted(&bucket, &rate, 20, begin + SECOND / 2), 4);
        assert_eq!(admitted(&bucket, &rate, 20, begin + 100 * SECOND), 5);
        assert!(!bucket.is_full(begin + 100 * SECOND) && bucket.is_full(begin + 101 * SECOND));
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing_for_long() {
        let (bucket, rate) = (Bucket::default(), Rate::new(Some(10.0), None, None));
        assert_eq!(admitted(&bucket, &rate, 20, 1_000 * SECOND), 10);
        assert_eq!(admitted(&bucket, &rate, 20, 10 * SECOND), 0);
        assert_eq!(admitted(&bucket, &rate, 20, 11 * SECOND), 10);
    }

    #[test]
    fn bytes_are_counted_by_day() {
        let (bucket, rate) = (Bucket::default(), Rate::new(None, None, Some(100)));
        let now = 20_000 * DAY_NANOS;
        assert!(bucket.admits(&rate, 60, now) && !bucket.admits(&rate, 41, now));
        assert!(bucket.admits(&rate, 40, now + DAY_NANOS - 1));
        assert!(!bucket.admits(&rate, 1, now + DAY_NANOS - 1));
        assert!(bucket.admits(&rate, 100, now + DAY_NANOS));
        assert!(!bucket.admits(&rate, u64::MAX, now + 2 * DAY_NANOS));
    }

    #[test]
    fn any_rate_is_one() {
        for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 1e300] {
            for burst in [None, Some(0), Some(u32::MAX)] {
                let (bucket, rate) = (
                    Bucket::default(),
                    Rate::new(Some(per_second), burst, Some(u64::MAX)),
                );
                assert!(bucket.admits(&rate, 1, SECOND), "{per_second}");
            }
        }
        let (bucket, rate) = (Bucket::default(), Rate::new(Some(0.0), None, None));
        assert_eq!(admitted(&bucket, &rate, 10, SECOND), 1);
        assert_eq!(admitted(&bucket, &rate, 10, 3600 * SECOND), 0);
    }
}
