//! What each thread has of its own and somebody else takes from time to time: a list of values, of which a thread owns one while
//! it lives, so that its lock is free unless the other side is just taking what is there.
//!
//! The list only grows, at its front, and values are used again when their thread has ended: there is no lock over all of them
//! that a `fork()` could leave shut. The child of a fork has values of its own and leaves those of its parent untouched.

use std::cell::RefCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fork;

/// One `T` for each thread that wants one.
pub(crate) struct PerThread<T: Default + Send + 'static> {
    /// Told apart by number: an address may be used again by another list.
    number: u64,
    list: Arc<List<T>>,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN: RefCell<Vec<Own>> = const { RefCell::new(Vec::new()) };
}

impl<T: Default + Send + 'static> PerThread<T> {
    pub(crate) fn new() -> PerThread<T> {
        fork::watch();
        let list = List {
            newest: AtomicPtr::new(ptr::null_mut()),
            closed: AtomicBool::new(false),
        };
        PerThread {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            list: Arc::new(list),
        }
    }

    /// Lends the value of this thread to `work`, which may neither wait, nor fail, nor call code of the application. `None` if
    /// it is lent already, further up in this thread.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut work = Some(work);
        let done = OWN.try_with(|own| {
            let mut own = own.try_borrow_mut().ok()?;
            let at = self.own(&mut own);
            // SAFETY: the list that owns it is held beside it, and its number says that it is ours.
            let shard = unsafe { &*own[at].shard.cast::<Shard<T>>() };
            Some(work.take()?(&mut shard.value()))
        });
        match (done, work) {
            (Ok(done), _) => done,
            // The thread is ending, and what it kept is gone.
            (Err(_), Some(work)) => {
                let own = self.enter();
                // SAFETY: as above.
                let shard = unsafe { &*own.shard.cast::<Shard<T>>() };
                Some(work(&mut shard.value()))
            }
            (Err(_), None) => None,
        }
    }

    /// The values of this process, one after the other, the thread of each locked out meanwhile.
    pub(crate) fn values(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        let generation = fork::generation();
        self.shards()
            .filter(move |shard| shard.generation == generation)
            .map(Shard::value)
    }

    /// Where the shard of this thread is among those that it owns.
    #[inline]
    fn own(&self, own: &mut Vec<Own>) -> usize {
        let generation = fork::generation();
        let mine = own
            .iter()
            .position(|own| own.number == self.number && own.generation == generation);
        mine.unwrap_or_else(|| {
            // Neither of lists that are gone, nor of the parent of a fork.
            own.retain(|own| own.generation == generation && !own.list.is_closed());
            own.push(self.enter());
            own.len() - 1
        })
    }

    /// Takes a shard: one that a thread has left, or a new one.
    #[cold]
    fn enter(&self) -> Own {
        let generation = fork::generation();
        let free = self.shards().find(|shard| {
            shard.generation == generation
                && shard
                    .owned
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        });
        Own {
            number: self.number,
            generation,
            shard: free.map_or_else(|| self.push(generation), ptr::from_ref).cast(),
            list: self.list.clone(),
        }
    }

    fn push(&self, generation: u64) -> *const Shard<T> {
        let shard = Box::into_raw(Box::new(Shard {
            generation,
            owned: AtomicBool::new(true),
            value: Mutex::default(),
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

    fn shards(&self) -> impl Iterator<Item = &Shard<T>> {
        let mut at: *const Shard<T> = self.list.newest.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: shards live as long as the list, which `self` holds.
            let shard = unsafe { at.as_ref() }?;
            at = shard.next;
            Some(shard)
        })
    }
}

impl<T: Default + Send + 'static> Drop for PerThread<T> {
    /// Threads hold the list until they next enter one or end; not what is in it.
    fn drop(&mut self) {
        self.list.closed.store(true, Ordering::Relaxed);
        for mut value in self.values() {
            *value = T::default();
        }
    }
}

/// The value of one thread.
struct Shard<T> {
    generation: u64,
    /// A thread has it.
    owned: AtomicBool,
    value: Mutex<T>,
    next: *const Shard<T>,
}

impl<T> Shard<T> {
    fn value(&self) -> MutexGuard<'_, T> {
        // Nothing panics while it is held.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A list that only grows, at its front. Owns its shards.
struct List<T> {
    newest: AtomicPtr<Shard<T>>,
    /// Nobody takes from it any more.
    closed: AtomicBool,
}

// SAFETY: `next` of a shard is set before others see the shard, and shards are freed with the whole list.
unsafe impl<T: Send> Send for Shard<T> {}
// SAFETY: as above; the rest is atomic or behind a lock.
unsafe impl<T: Send> Sync for Shard<T> {}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        let generation = fork::generation();
        let mut at = *self.newest.get_mut();
        while !at.is_null() {
            // SAFETY: each was made by `Box::into_raw`, and nobody has the list any more: threads hold it as long as they
            // own a shard of it.
            let shard = unsafe { Box::from_raw(at) };
            at = shard.next.cast_mut();
            if shard.generation != generation {
                // A thread of the parent may have been in the middle of a change to it.
                std::mem::forget(shard);
            }
        }
    }
}

/// What a thread sees of a list whose values it does not know.
trait AnyList: Send + Sync {
    fn is_closed(&self) -> bool;

    /// Gives back a shard of this list.
    fn leave(&self, shard: *const ());
}

impl<T: Send + 'static> AnyList for List<T> {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn leave(&self, shard: *const ()) {
        // SAFETY: it is a shard of this list, which is there as long as the list is.
        let shard = unsafe { &*shard.cast::<Shard<T>>() };
        shard.owned.store(false, Ordering::Release);
    }
}

/// The shard of this thread in one list. Gives the shard back when the thread ends.
struct Own {
    number: u64,
    generation: u64,
    shard: *const (),
    list: Arc<dyn AnyList>,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.list.leave(self.shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_gone_leaves_no_value_and_is_forgotten_by_its_threads() {
        let gone: PerThread<Vec<u8>> = PerThread::new();
        assert_eq!(gone.with(|value| value.push(1)), Some(()));
        let list = gone.list.clone();
        drop(gone);
        // SAFETY: the list, which owns its shards, is held.
        let shard = unsafe { &*list.newest.load(Ordering::Acquire) };
        assert_eq!(shard.value().capacity(), 0);
        assert_eq!(Arc::strong_count(&list), 2, "this thread has it still");

        let next: PerThread<Vec<u8>> = PerThread::new();
        assert_eq!(next.with(|value| value.push(2)), Some(()));
        assert_eq!(Arc::strong_count(&list), 1);
    }

    #[test]
    fn each_thread_has_its_own_and_the_next_takes_over_what_one_has_left() {
        let lists: PerThread<Vec<usize>> = PerThread::new();
        let barrier = &std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let lists = &lists;
                scope.spawn(move || {
                    lists.with(|value| value.push(thread));
                    barrier.wait();
                });
            }
        });
        assert_eq!(
            lists.values().map(|value| value.len()).collect::<Vec<_>>(),
            [1; 3]
        );
        std::thread::scope(|scope| {
            scope.spawn(|| lists.with(|value| value.push(9)));
        });
        assert_eq!(lists.values().count(), 3);
        assert_eq!(lists.values().map(|value| value.len()).sum::<usize>(), 4);
    }

    #[test]
    fn what_is_lent_is_not_lent_again() {
        let lists: PerThread<Vec<u8>> = PerThread::new();
        assert_eq!(lists.with(|_| lists.with(|_| ())), Some(None));
    }
}
