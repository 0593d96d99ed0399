//! New ids: at random, or one after the other in tests.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use cupola_telemetry::{SpanId, TraceId};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::fork;

/// What makes ids.
#[derive(Clone, Debug, Default)]
pub enum Ids {
    #[default]
    Random,
    /// From one upwards, traces and spans together.
    Counting(Arc<AtomicU64>),
}

thread_local! {
    /// Seeded by the system, anew in the child of a fork: two processes must not give out the same ids.
    static RANDOM: RefCell<(u64, Option<SmallRng>)> = const { RefCell::new((0, None)) };
}

impl Ids {
    /// Ids that are the same in every run.
    pub fn counting() -> Ids {
        Ids::Counting(Arc::default())
    }

    #[inline]
    pub fn trace_id(&self) -> TraceId {
        match self {
            Ids::Random => random(|rng| {
                let mut id = [0; TraceId::BYTES];
                id[..8].copy_from_slice(&rng.next_u64().to_le_bytes());
                id[8..].copy_from_slice(&nonzero(rng).to_le_bytes());
                TraceId(id)
            }),
            Ids::Counting(last) => TraceId(u128::from(next(last)).to_be_bytes()),
        }
    }

    #[inline]
    pub fn span_id(&self) -> SpanId {
        match self {
            Ids::Random => random(|rng| SpanId(nonzero(rng).to_le_bytes())),
            Ids::Counting(last) => SpanId(next(last).to_be_bytes()),
        }
    }
}

fn next(last: &AtomicU64) -> u64 {
    last.fetch_add(1, Ordering::Relaxed) + 1
}

fn nonzero(rng: &mut SmallRng) -> u64 {
    loop {
        let id = rng.next_u64();
        if id != 0 {
            return id;
        }
    }
}

#[inline]
fn random<T>(make: impl FnOnce(&mut SmallRng) -> T) -> T {
    RANDOM.with_borrow_mut(|(of, rng)| {
        let generation = fork::generation();
        match rng {
            Some(rng) if *of == generation => make(rng),
            _ => {
                // Before the seed: a child that has this one must know that it is not its own.
                fork::watch();
                *of = generation;
                make(rng.insert(seeded()))
            }
        }
    })
}

/// From the system; where that fails, from what differs between processes, threads and moments.
fn seeded() -> SmallRng {
    SmallRng::try_from_os_rng().unwrap_or_else(|_| {
        let differing = (std::process::id(), std::thread::current().id(), SystemTime::now());
        SmallRng::seed_from_u64(std::hash::RandomState::new().hash_one(differing))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_ids_differ_between_threads_and_counted_ones_follow_each_other() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..1000).map(|_| Ids::Random.span_id()).collect::<Vec<_>>()))
            .collect();
        let ids: HashSet<SpanId> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(ids.len(), 4000);
        assert!(!Ids::Random.trace_id().is_zero());
        let ids = Ids::counting();
        assert_eq!(ids.trace_id().to_string(), "00000000000000000000000000000001");
        assert_eq!(ids.span_id().to_string(), "0000000000000002");
    }
}
