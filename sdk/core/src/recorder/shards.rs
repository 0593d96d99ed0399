//! What each thread has recorded: a list of shards, of which a thread owns one while it lives.

use std::cell::RefCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::scope::Scope;
use crate::fork::{self, ProcessCount};

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
    /// Counted as held.
    reserved: usize,
}

/// A record that was added.
pub(super) struct Added {
    /// It is the first of its thread since the records were taken.
    pub(super) is_first: bool,
    /// With it, the thread has recorded as much as is worth an export.
    pub(super) is_much: bool,
}

impl Records {
    fn add(&mut self, scope: Scope, record: &[u8], held: &Held) -> Option<Added> {
        let start = self.bytes.len();
        let needed = start + record.len() + (self.ends.len() + 1) * RECORD_BYTES;
        if needed > self.reserved {
            let step = (needed - self.reserved).next_multiple_of(STEP_BYTES);
            if !held.count.try_add(step as u64, held.max) {
                return None;
            }
            self.reserved += step;
        }
        self.bytes.extend_from_slice(record);
        self.ends.push((scope, self.bytes.len()));
        Some(Added {
            is_first: self.ends.len() == 1,
            is_much: start < MUCH_BYTES && self.bytes.len() >= MUCH_BYTES,
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Scope, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(scope, end)| {
            let record = &self.bytes[start..*end];
            start = *end;
            (*scope, record)
        })
    }

    /// Whether it is worth keeping when it is empty.
    fn is_small(&self) -> bool {
        self.bytes.capacity() + self.ends.capacity() * RECORD_BYTES <= SPARE_BYTES_MAX
    }
}

/// Bytes that records of this process take.
struct Held {
    count: ProcessCount,
    max: u64,
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

impl Shard {
    fn records(&self) -> MutexGuard<'_, Records> {
        // Nothing panics while it is held.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All shards of a recorder.
pub(super) struct Shards {
    /// Told apart by number: an address may be used again by another recorder.
    number: u64,
    list: Arc<List>,
    held: Held,
    /// An emptied buffer for the next records: with one thread, the same two for ever.
    spare: Mutex<Records>,
}

/// A list that only grows, at its front. Owns its shards.
struct List {
    newest: AtomicPtr<Shard>,
    /// Its recorder is gone.
    closed: AtomicBool,
}

// SAFETY: `next` of a shard is set before others see the shard, and shards are freed with the whole list.
unsafe impl Send for Shard {}
// SAFETY: as above; the rest is atomic or behind a lock.
unsafe impl Sync for Shard {}

impl Drop for List {
    fn drop(&mut self) {
        let mut at = *self.newest.get_mut();
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
    list: Arc<List>,
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

/// What a thread keeps.
struct Local {
    own: Vec<Own>,
    /// Where a record is written before there is known to be room for it, and without a lock: what writes it is code of the
    /// application, which may take its time or fail.
    scratch: Vec<u8>,
}

thread_local! {
    static LOCAL: RefCell<Local> = const {
        RefCell::new(Local {
            own: Vec::new(),
            scratch: Vec::new(),
        })
    };
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl Shards {
    pub(super) fn new(bytes_max: usize) -> Shards {
        let list = List {
            newest: AtomicPtr::new(ptr::null_mut()),
            closed: AtomicBool::new(false),
        };
        Shards {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            list: Arc::new(list),
            held: Held {
                count: ProcessCount::new(),
                max: bytes_max as u64,
            },
            spare: Mutex::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.held.count.get() as usize
    }

    /// Adds a record to those of this thread; `None` if there is no room, or if it is made while another is being written.
    #[inline]
    pub(super) fn add(&self, scope: Scope, write: impl FnOnce(&mut Vec<u8>)) -> Option<Added> {
        let mut write = Some(write);
        let added = LOCAL.try_with(|local| {
            let mut local = local.try_borrow_mut().ok()?;
            let Local { own, scratch } = &mut *local;
            scratch.clear();
            write.take()?(scratch);
            let at = self.own(own);
            let added = own[at].shard().records().add(scope, scratch, &self.held);
            if scratch.capacity() > MUCH_BYTES {
                *scratch = Vec::new();
            }
            added
        });
        match (added, write) {
            (Ok(added), _) => added,
            // The thread is ending, and what it kept is gone.
            (Err(_), Some(write)) => {
                let mut record = Vec::new();
                write(&mut record);
                self.enter().shard().records().add(scope, &record, &self.held)
            }
            (Err(_), None) => None,
        }
    }

    /// Where the shard of this thread is among those that it owns.
    #[inline]
    fn own(&self, own: &mut Vec<Own>) -> usize {
        let generation = fork::generation();
        let mine = own
            .iter()
            .position(|own| own.recorder == self.number && own.generation == generation);
        mine.unwrap_or_else(|| {
            // Neither of recorders that are gone, nor of the parent of a fork.
            own.retain(|own| own.generation == generation && !own.list.closed.load(Ordering::Relaxed));
            own.push(self.enter());
            own.len() - 1
        })
    }

    /// Takes a shard: one that a thread has left, or a new one.
    #[cold]
    fn enter(&self) -> Own {
        let generation = fork::generation();
        let free = self.iter().find(|shard| {
            shard.generation == generation
                && shard
                    .owned
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        });
        Own {
            recorder: self.number,
            generation,
            shard: free.map_or_else(|| self.push(generation), ptr::from_ref),
            list: self.list.clone(),
        }
    }

    fn push(&self, generation: u64) -> *const Shard {
        let shard = Box::into_raw(Box::new(Shard {
            generation,
            owned: AtomicBool::new(true),
            records: Mutex::default(),
            next: ptr::null(),
        }));
        let front = &self.list.newest;
        let mut newest = front.load(Ordering::Acquire);
        loop {
            // SAFETY: nobody else has seen it.
            unsafe { (*shard).next = newest };
            match front.compare_exchange(newest, shard, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return shard,
                Err(other) => newest = other,
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Shard> {
        let mut at: *const Shard = self.list.newest.load(Ordering::Acquire);
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
        let mut kept = self.spare.try_lock().ok();
        let mut spare = kept.as_deref_mut().map(std::mem::take);
        for shard in self.iter().filter(|shard| shard.generation == generation) {
            let mut records = shard.records();
            if records.ends.is_empty() {
                continue;
            }
            let mut taken = std::mem::replace(&mut *records, spare.take().unwrap_or_default());
            drop(records);
            with(&taken);
            self.held.count.subtract(taken.reserved as u64);
            if let Some(kept) = kept.as_deref_mut()
                && taken.is_small()
            {
                taken.bytes.clear();
                taken.ends.clear();
                taken.reserved = 0;
                *kept = taken;
            }
        }
        if let (Some(kept), Some(unused)) = (kept.as_deref_mut(), spare) {
            *kept = unused;
        }
    }
}

impl Drop for Shards {
    /// Threads hold the list until they record again or end; not what is in it.
    fn drop(&mut self) {
        self.list.closed.store(true, Ordering::Relaxed);
        let generation = fork::generation();
        for shard in self.iter().filter(|shard| shard.generation == generation) {
            *shard.records() = Records::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_that_is_gone_leaves_no_record_and_is_forgotten_by_its_threads() {
        let gone = Shards::new(1 << 20);
        assert!(gone.add(Scope::nameless(), |out| out.push(1)).is_some());
        let list = gone.list.clone();
        drop(gone);
        // SAFETY: the list, which owns its shards, is held.
        let shard = unsafe { &*list.newest.load(Ordering::Acquire) };
        assert_eq!(shard.records().bytes.capacity(), 0);
        assert_eq!(Arc::strong_count(&list), 2, "this thread has it still");

        let next = Shards::new(1 << 20);
        assert!(next.add(Scope::nameless(), |out| out.push(2)).is_some());
        assert_eq!(Arc::strong_count(&list), 1);
    }
}
