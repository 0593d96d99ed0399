//! Which process this is, as far as `fork()` goes: the child of a fork has the memory of its parent, and none of its threads.
//!
//! Everything that a thread keeps, and everything behind a lock, belongs to a generation. In a child the generation is
//! another one, and what belongs to an earlier is left alone: a lock in it may be held by a thread that is not there.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);
static WATCHED: Once = Once::new();

/// The number of forks between the first process that used the SDK and this one.
#[inline]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has forks counted from now on, also those that C code makes.
pub fn watch() {
    WATCHED.call_once(|| {
        #[cfg(unix)]
        // SAFETY: the handler does nothing but add to an atomic number, which is allowed in a child of a process with threads.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        }
    });
}

#[cfg(unix)]
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
