//! What each thread has recorded: a list of shards, of which a thread owns one while it lives.

use std::cell::RefCell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::held::Held;
use super::scope::Scope;
use crate::fork;

/// Memory is asked for in steps of this size, so that threads seldom meet at the counter.
const STEP_BYTES: usize = 16 * 1024;
/// A thread that has recorded so much asks for an export.
const MUCH_BYTES: usize = 64 * 1024;
/// Larger buffers are not kept for the next records.
const SPARE_BYTES_MAX: usize = 4 * MUCH_BYTES;
/// What a record takes beside its bytes.
const RECORD_BYTES: usize = size_of::<(Scope, usize)>();

/// Records one behind the other.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    ends: Vec<(Scope, usize)>,
    /// Counted in [`Held`].
    reserved: usize,
}

/// A record that was added.
pub(super) struct Added {
    /// It is the first since the records were taken.
    pub(super) is_first: bool,
    /// With it, the thread has recorded as much as is worth an export.
    pub(super) is_much: bool,
}

impl Records {
    fn add(&mut self, scope: Scope, write: impl FnOnce(&mut Vec<u8>), held: &Held) -> Option<Added> {
        let start = self.ends.last().map_or(0, |(_, end)| *end);
        // What a record left here whose writing ended in a panic.
        self.bytes.truncate(start);
        write(&mut self.bytes);
        let needed = self.bytes.len() + (self.ends.len() + 1) * RECORD_BYTES;
        if needed > self.reserved {
            let step = (needed - self.reserved).next_multiple_of(STEP_BYTES);
            if !held.try_add(step) {
                self.bytes.truncate(start);
                return None;
            }
            self.reserved += step;
        }
        self.ends.push((scope, self.bytes.len()));
        Some(Added {
            is_first: self.ends.len() == 1,
            is_much: start < MUCH_BYTES && self.bytes.len() >= MUCH_BYTES,
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.reserved = 0;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Scope, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(scope, end)| {
            let record = &self.bytes[start..*end];
            start = *end;
            (*scope, record)
        })
    }
}

/// Records of one thread.
#[derive(Debug)]
struct Shard {
    generation: u64,
    /// A thread has it.
    owned: AtomicBool,
    records: Mutex<Records>,
    next: *const Shard,
}

/// All shards of a recorder.
pub(super) struct Shards {
    /// Told apart by number: an address may be used again by another recorder.
    number: u64,
    newest: Arc<List>,
    held: Held,
    /// Emptied buffers, for the next shard that is taken from.
    spare: Mutex<Records>,
}

/// The front of a list that only grows there. Owns its shards.
struct List(AtomicPtr<Shard>);

// SAFETY: `next` of a shard is set before others see the shard, and shards are freed with the whole list.
unsafe impl Send for Shard {}
// SAFETY: as above; the rest is atomic or behind a lock.
unsafe impl Sync for Shard {}

impl Drop for List {
    fn drop(&mut self) {
        let mut at = *self.0.get_mut();
        while !at.is_null() {
            // SAFETY: each was made by `Box::into_raw`, and nobody has the list any more: threads hold it as long as they
            // own a shard of it.
            let shard = unsafe { Box::from_raw(at) };
            at = shard.next.cast_mut();
        }
    }
}

/// The shard of this thread in one recorder. Gives the shard back when the thread ends.
struct Own {
    recorder: u64,
    generation: u64,
    shard: *const Shard,
    _list: Arc<List>,
}

impl Own {
    fn shard(&self) -> &Shard {
        // SAFETY: the list that owns it is held beside it.
        unsafe { &*self.shard }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.shard().owned.store(false, Ordering::Release);
    }
}

thread_local! {
    static OWN: RefCell<SmallVec<[Own; 4]>> = const { RefCell::new(SmallVec::new_const()) };
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl Shards {
    pub(super) fn new(bytes_max: usize) -> Shards {
        Shards {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            newest: Arc::new(List(AtomicPtr::new(ptr::null_mut()))),
            held: Held::new(bytes_max),
            spare: Mutex::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Adds a record to those of this thread; `None` if there is no room.
    #[inline]
    pub(super) fn add(&self, scope: Scope, write: impl FnOnce(&mut Vec<u8>)) -> Option<Added> {
        let generation = fork::generation();
        OWN.try_with(|own| {
            // A record that is made while one is being written: by a destructor or a formatter of the application.
            let mut own = own.try_borrow_mut().ok()?;
            let mine = own
                .iter()
                .position(|own| own.recorder == self.number && own.generation == generation);
            let at = match mine {
                Some(at) => at,
                None => self.enter(&mut own, generation),
            };
            own[at].shard().records.lock().add(scope, write, &self.held)
        })
        // The thread is ending and has given back what it owned.
        .unwrap_or(None)
    }

    /// Takes a shard for this thread.
    #[cold]
    fn enter(&self, own: &mut SmallVec<[Own; 4]>, generation: u64) -> usize {
        // Of recorders that are gone, and of the parent of a fork, whose records are not this process's to give back.
        own.retain(|own| own.generation == generation && Arc::strong_count(&own._list) > 1);
        let free = self.iter().find(|shard| {
            shard.generation == generation
                && shard
                    .owned
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        });
        let shard = free.map_or_else(|| self.push(generation), ptr::from_ref);
        own.push(Own {
            recorder: self.number,
            generation,
            shard,
            _list: self.newest.clone(),
        });
        own.len() - 1
    }

    fn push(&self, generation: u64) -> *const Shard {
        let shard = Box::into_raw(Box::new(Shard {
            generation,
            owned: AtomicBool::new(true),
            records: Mutex::default(),
            next: ptr::null(),
        }));
        let mut newest = self.newest.0.load(Ordering::Acquire);
        loop {
            // SAFETY: nobody else has seen it.
            unsafe { (*shard).next = newest };
            match self
                .newest
                .0
                .compare_exchange(newest, shard, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return shard,
                Err(other) => newest = other,
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Shard> {
        let mut at: *const Shard = self.newest.0.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: shards live as long as the list, which `self` holds.
            let shard = unsafe { at.as_ref() }?;
            at = shard.next;
            Some(shard)
        })
    }

    /// Hands all that waits in this process to `with`, thread by thread.
    pub(super) fn take_all(&self, mut with: impl FnMut(&Records)) {
        let generation = fork::generation();
        // Not waited for: in the child of a fork, nobody may be there to let it go.
        let mut kept = self.spare.try_lock();
        let mut spare = kept.as_deref_mut().map(std::mem::take).unwrap_or_default();
        for shard in self.iter().filter(|shard| shard.generation == generation) {
            let mut records = shard.records.lock();
            if records.ends.is_empty() {
                continue;
            }
            let mut taken = std::mem::replace(&mut *records, std::mem::take(&mut spare));
            drop(records);
            with(&taken);
            self.held.give_back(taken.reserved);
            taken.clear();
            if taken.bytes.capacity() <= SPARE_BYTES_MAX {
                spare = taken;
            }
        }
        if let Some(mut kept) = kept {
            *kept = spare;
        }
    }
}
