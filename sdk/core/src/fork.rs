//! Which process this is, as far as `fork()` goes: the child of a fork has the memory of its parent, and none of its threads.
//!
//! Everything that a thread keeps, and everything behind a lock, belongs to a generation. In a child the generation is
//! another one, and what belongs to an earlier is left alone: a lock in it may be held by a thread that is not there. Locks
//! are those of the standard library, which on Linux are a number each; others share tables between all locks of a process.

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static GENERATION: AtomicU64 = AtomicU64::new(0);
static WATCHED: AtomicBool = AtomicBool::new(false);

/// The number of forks between the first process that used the SDK and this one.
#[inline]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has forks counted from now on, also those that C code makes. To be called before anything of a generation is made.
pub fn watch() {
    if WATCHED.load(Ordering::Relaxed) || WATCHED.swap(true, Ordering::Relaxed) {
        return;
    }
    watch_queues();
    #[cfg(unix)]
    {
        // SAFETY: the handlers read and write atomic numbers, sleep, and close files, which is allowed in a child of a process
        // with threads.
        let refused = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if refused != 0 {
            // Out of memory: the next one tries again.
            WATCHED.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(unix)]
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    BUSY.store(0, Ordering::SeqCst);
    FORKING.store(false, Ordering::SeqCst);
    for held in &HELD {
        let file = held.swap(0, Ordering::Relaxed);
        if file > 0 {
            // SAFETY: it is open, and whoever owns it knows that it is not its in a child.
            unsafe { libc::close(file) };
        }
    }
}

/// Exporting threads that are doing something, and may be holding locks of libraries in doing so.
static BUSY: AtomicU64 = AtomicU64::new(0);
static FORKING: AtomicBool = AtomicBool::new(false);
/// Longest that a fork waits for exporting threads; they come to a pause within milliseconds.
const PAUSE_MAX: Duration = Duration::from_millis(200);
const PAUSE_TICK: Duration = Duration::from_micros(50);

/// Waits until no exporting thread is in the middle of something: of locks that those hold which it has from libraries, such as
/// one that is making known a place that logs, a child would never be rid.
#[cfg(unix)]
extern "C" fn before() {
    FORKING.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while BUSY.load(Ordering::SeqCst) > 0 && begun.elapsed() < PAUSE_MAX {
        pause();
    }
}

#[cfg(unix)]
extern "C" fn in_parent() {
    FORKING.store(false, Ordering::SeqCst);
}

#[expect(
    clippy::disallowed_methods,
    reason = "no condition can be waited for in a handler of fork()"
)]
fn pause() {
    std::thread::sleep(PAUSE_TICK);
}

/// Says that an exporting thread goes on, as soon as no fork is under way.
pub(crate) fn begin_step() {
    loop {
        BUSY.fetch_add(1, Ordering::SeqCst);
        if !FORKING.load(Ordering::SeqCst) {
            return;
        }
        BUSY.fetch_sub(1, Ordering::SeqCst);
        pause();
    }
}

/// Says that it has come to a pause, in which it holds nothing.
pub(crate) fn end_step() {
    BUSY.fetch_sub(1, Ordering::SeqCst);
}

/// Files that the child of a fork closes at once, as its parent's locks are on them; zero where there is none.
static HELD: [AtomicI32; HELD_MAX] = [const { AtomicI32::new(0) }; HELD_MAX];
/// Directories of processes, and queues in them.
const HELD_MAX: usize = 256;

/// Has the files closed in children that queues on disk are locked by, those of this process and those that it has taken over.
/// Beyond the bound they stay open, and a queue is locked for as long as a child lives.
fn watch_queues() {
    cupola_export::fs::watch_locks(cupola_export::fs::LockWatch {
        locked: |file| {
            close_in_child(file);
        },
        unlocked: keep_in_child,
    });
}

/// Has this file closed in children. `false` if there are too many already.
pub(crate) fn close_in_child(file: i32) -> bool {
    HELD.iter().any(|held| {
        held.compare_exchange(0, file, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    })
}

/// Takes that back, before the file is closed.
pub(crate) fn keep_in_child(file: i32) {
    for held in &HELD {
        let _ = held.compare_exchange(file, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Something that each process makes for itself when it first wants it, without a lock. What a parent has made is left alone in
/// its child, and never freed there.
pub struct PerProcess<T>(AtomicPtr<Made<T>>);

struct Made<T> {
    generation: u64,
    value: T,
}

impl<T> Default for PerProcess<T> {
    fn default() -> PerProcess<T> {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerProcess")
    }
}

// SAFETY: it owns its value, and lends it to whoever shares it.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> PerProcess<T> {
    /// Nothing yet.
    pub const fn none() -> PerProcess<T> {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// What this process has made.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: it was made by `Box::into_raw`, and is freed with `self` alone.
        let made = unsafe { self.0.load(Ordering::Acquire).as_ref() }?;
        (made.generation == generation()).then_some(&made.value)
    }

    /// What this process has made, or makes now. Of two threads that make it at once, one drops what it made.
    pub fn get_or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let before = self.0.load(Ordering::Acquire);
        let generation = generation();
        // SAFETY: it was made by `Box::into_raw`, and is freed with `self` alone.
        let known = unsafe { before.as_ref() };
        if let Some(made) = known.filter(|made| made.generation == generation) {
            return Ok(&made.value);
        }
        let made = Box::into_raw(Box::new(Made {
            generation,
            value: make()?,
        }));
        match self
            .0
            .compare_exchange(before, made, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: it was made above, and is freed with `self` alone.
            Ok(_) => Ok(unsafe { &(*made).value }),
            Err(other) => {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: another thread of this process has put it there; it is freed with `self` alone.
                Ok(unsafe { &(*other).value })
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let made = *self.0.get_mut();
        // SAFETY: it was made by `Box::into_raw`, and nobody looks at it any more.
        let is_own = unsafe { made.as_ref() }.is_some_and(|made| made.generation == generation());
        if is_own {
            // SAFETY: as above.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

/// Bits for the number; the others tell the generation that it is of.
const NUMBER_BITS: u32 = 40;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// A number that is nothing in the child of a fork, without a lock. Up to a million million.
#[derive(Debug, Default)]
pub struct ProcessCount(AtomicU64);

impl ProcessCount {
    pub const fn new() -> ProcessCount {
        ProcessCount(AtomicU64::new(0))
    }

    pub fn get(&self) -> u64 {
        of_now(self.0.load(Ordering::Relaxed))
    }

    pub fn add(&self, more: u64) {
        self.change(|number| Some(number.saturating_add(more)));
    }

    /// Whether there is room for so many more below `max`, which are then added.
    pub fn try_add(&self, more: u64, max: u64) -> bool {
        self.change(|number| number.checked_add(more).filter(|sum| *sum <= max))
    }

    pub fn subtract(&self, less: u64) {
        self.change(|number| Some(number.saturating_sub(less)));
    }

    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        let next = |kept| Some(change(of_now(kept))?.min(NUMBER_MASK) | generation_bits());
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

fn generation_bits() -> u64 {
    generation() << NUMBER_BITS
}

/// The number, if it is of this process.
fn of_now(kept: u64) -> u64 {
    match kept & !NUMBER_MASK == generation_bits() {
        true => kept & NUMBER_MASK,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_given_back_fits_again() {
        let held = ProcessCount::new();
        assert!(held.try_add(60, 100) && !held.try_add(41, 100) && held.try_add(40, 100));
        assert_eq!(held.get(), 100);
        held.subtract(60);
        assert!(held.try_add(60, 100) && !held.try_add(1, 100));
        held.subtract(1000);
        assert_eq!(held.get(), 0);
        held.add(u64::MAX);
        held.add(5);
        assert_eq!(held.get(), NUMBER_MASK);
    }
}
