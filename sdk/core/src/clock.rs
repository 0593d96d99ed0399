//! The time of day in nanoseconds, quick and never going back within a thread; or a time that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// So often the system's time of day is asked again; between, the monotonic clock is added to it.
const ANCHOR_NANOS: u64 = 1_000_000_000;

/// What says how late it is.
#[derive(Clone, Debug)]
pub enum Clock {
    System(Arc<Anchor>),
    /// Stands still until it is moved on.
    Manual(Arc<AtomicU64>),
}

/// A reading of both clocks.
#[derive(Debug)]
pub struct Anchor {
    begun: Instant,
    /// Time of day minus the monotonic clock, in nanoseconds since the epoch.
    offset: AtomicU64,
    /// On the monotonic clock.
    read_at: AtomicU64,
}

impl Default for Clock {
    fn default() -> Clock {
        let anchor = Anchor {
            begun: Instant::now(),
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
        match self {
            Clock::System(anchor) => anchor.now(),
            Clock::Manual(time) => time.load(Ordering::Relaxed),
        }
    }
}

impl Anchor {
    #[inline]
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let read_at = self.read_at.load(Ordering::Relaxed);
        if elapsed.saturating_sub(read_at) > ANCHOR_NANOS {
            self.read_again(elapsed);
        }
        self.offset.load(Ordering::Relaxed).wrapping_add(elapsed)
    }

    #[cold]
    fn read_again(&self, elapsed: u64) {
        self.read_at.store(elapsed, Ordering::Relaxed);
        self.offset
            .store(unix_nano().wrapping_sub(elapsed), Ordering::Relaxed);
    }
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
        assert_eq!(clock.now(), 5);
        time.store(7, Ordering::Relaxed);
        assert_eq!(clock.now(), 7);
    }
}
