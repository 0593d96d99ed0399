//! Limits by tenant, in a table of fixed size without a lock: a tenant has one of a few places, by a hash of its name. The place
//! of one that has been quiet for so long that its limit is whole again is given to the next. Where all are taken, tenants
//! share one limit.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::bucket::Bucket;
use crate::fork::ProcessCount;
use crate::ids::Ids;

/// Places in which one tenant may be.
const WAYS: usize = 8;

#[derive(Debug)]
pub(super) struct Tenants {
    /// Ways of one hash stand together.
    places: Box<[Place]>,
    others: Bucket,
    overflowed: ProcessCount,
    /// Nobody who chooses the name of a tenant knows with whom it shares a place.
    seed: u64,
}

#[derive(Debug, Default)]
struct Place {
    /// A hash of the name; zero if nobody has it.
    tenant: AtomicU64,
    bucket: Bucket,
}

impl Tenants {
    /// For so many, in steps.
    pub(super) fn new(count: usize) -> Tenants {
        let count = count.clamp(WAYS, 1 << 20).next_power_of_two();
        Tenants {
            places: (0..count).map(|_| Place::default()).collect(),
            others: Bucket::default(),
            overflowed: ProcessCount::new(),
            seed: u64::from_le_bytes(Ids::Random.span_id().0),
        }
    }

    /// The bucket of a tenant. Two that come at the same time for a place that is being given away may share it for a moment.
    pub(super) fn bucket(&self, tenant: &str, now: u64) -> &Bucket {
        let hash = xxh3_64_with_seed(tenant.as_bytes(), self.seed) | 1;
        let sets = self.places.len() / WAYS;
        let first = (hash >> 32) as usize % sets * WAYS;
        let places = &self.places[first..first + WAYS];
        let own = places
            .iter()
            .find(|place| place.tenant.load(Ordering::Relaxed) == hash);
        let place = own.or_else(|| places.iter().find(|place| place.take(hash, now)));
        match place {
            Some(place) => &place.bucket,
            None => {
                self.overflowed.add(1);
                &self.others
            }
        }
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.get()
    }
}

impl Place {
    /// Takes a place that nobody has, or needs any more.
    fn take(&self, hash: u64, now: u64) -> bool {
        let before = self.tenant.load(Ordering::Relaxed);
        let is_free = before == 0 || self.bucket.is_full(now);
        let taken = is_free
            && self
                .tenant
                .compare_exchange(before, hash, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if taken && before != 0 {
            self.bucket.reset();
        }
        taken
    }
}
