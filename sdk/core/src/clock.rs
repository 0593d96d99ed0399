//! The time of day in nanoseconds, at the cost of the monotonic clock; or a time that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// So often the system's time of day is asked again; between, the monotonic clock is added to it. When it has been set, times
/// follow it within so long.
const ANCHOR_NANOS: u64 = 1_000_000_000;
/// A reading of the time of day in which so much went by is not believed.
const READING_NANOS_MAX: u64 = 100_000;

/// What says how late it is.
#[derive(Clone, Debug)]
pub enum Clock {
    System(Arc<Anchor>),
    /// Stands still until it is moved on.
    Manual(Arc<AtomicU64>),
}

/// The beginning of something whose end is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub unix_nano: u64,
    /// Of a clock that nobody sets.
    monotonic_nano: u64,
}

/// A reading of both clocks.
#[derive(Debug)]
pub struct Anchor {
    /// On the monotonic clock, in nanoseconds.
    begun: u64,
    /// Time of day minus the monotonic clock, in nanoseconds since the epoch.
    offset: AtomicU64,
    /// On the monotonic clock.
    read_at: AtomicU64,
}

impl Default for Clock {
    fn default() -> Clock {
        let anchor = Anchor {
            begun: monotonic_nano(),
            offset: AtomicU64::new(unix_nano()),
            read_at: AtomicU64::new(0),
        };
        Clock::System(Arc::new(anchor))
    }
}

impl Clock {
    /// One that stands at this time.
    pub fn at(unix_nano: u64) -> (Clock, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(unix_nano));
        (Clock::Manual(time.clone()), time)
    }

    /// Nanoseconds since 1970.
    #[inline]
    pub fn now(&self) -> u64 {
        self.moment().unix_nano
    }

    /// Now, of which [`after`](Self::after) tells how long ago it was, whatever the time of day is set to meanwhile.
    #[inline]
    pub fn moment(&self) -> Moment {
        match self {
            Clock::System(anchor) => anchor.moment(),
            Clock::Manual(time) => {
                let now = time.load(Ordering::Relaxed);
                Moment {
                    unix_nano: now,
                    monotonic_nano: now,
                }
            }
        }
    }

    /// The time of day now of something that began at `begin`.
    #[inline]
    pub fn after(&self, begin: Moment) -> u64 {
        let now = match self {
            Clock::System(anchor) => anchor.elapsed(),
            Clock::Manual(time) => time.load(Ordering::Relaxed),
        };
        begin
            .unix_nano
            .saturating_add(now.saturating_sub(begin.monotonic_nano))
    }
}

impl Anchor {
    #[inline]
    fn elapsed(&self) -> u64 {
        monotonic_nano().saturating_sub(self.begun)
    }

    #[inline]
    fn moment(&self) -> Moment {
        let elapsed = self.elapsed();
        let read_at = self.read_at.load(Ordering::Relaxed);
        if elapsed.saturating_sub(read_at) > ANCHOR_NANOS {
            self.read_again();
        }
        Moment {
            unix_nano: self.offset.load(Ordering::Relaxed).wrapping_add(elapsed),
            monotonic_nano: elapsed,
        }
    }

    #[cold]
    fn read_again(&self) {
        let before = self.elapsed();
        let time = unix_nano();
        let after = self.elapsed();
        // A thread that was stopped between the two does not know which belongs to which; the next one will.
        if after.saturating_sub(before) <= READING_NANOS_MAX {
            self.read_at.store(after, Ordering::Relaxed);
            let middle = before + (after - before) / 2;
            self.offset.store(time.wrapping_sub(middle), Ordering::Relaxed);
        }
    }
}

/// What `Instant` keeps, without the work of taking it apart and putting it together again, which costs as much as the reading.
#[inline]
fn monotonic_nano() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it is given a time to fill in. It fails for a clock that is not there alone.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

fn unix_nano() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_time_of_day_and_a_set_one_stands_still() {
        let clock = Clock::default();
        let (before, now, after) = (unix_nano(), clock.now(), unix_nano());
        let slack = 1_000_000_000;
        assert!(
            now + slack >= before && now <= after + slack,
            "{before} {now} {after}"
        );
        let (clock, time) = Clock::at(5);
        let begin = clock.moment();
        assert_eq!(clock.now(), 5);
        time.store(7, Ordering::Relaxed);
        assert_eq!((clock.now(), clock.after(begin)), (7, 7));
    }

    #[test]
    fn how_long_something_took_does_not_follow_the_time_of_day() {
        let clock = Clock::default();
        let begin = clock.moment();
        let Clock::System(anchor) = &clock else {
            panic!("not the system's");
        };
        // Set back by an hour, and seen at the next reading.
        let hour = 3_600_000_000_000;
        anchor.offset.fetch_sub(hour, Ordering::Relaxed);
        assert!(clock.now() < begin.unix_nano);
        let end = clock.after(begin);
        assert!(end >= begin.unix_nano && end < begin.unix_nano + hour);
    }
}
