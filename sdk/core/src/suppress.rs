//! Recording nothing of what a thread does: the one that exports is an application too, and what it says about exporting would
//! have to be exported in turn.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread's spans and log records are passed over.
#[inline]
pub fn is_suppressed() -> bool {
    DEPTH.get() > 0
}

/// Passes them over until the guard is dropped.
#[must_use = "it ends with its guard"]
pub fn suppress() -> Suppressed {
    DEPTH.set(DEPTH.get().saturating_add(1));
    Suppressed(PhantomData)
}

/// Passes them over for as long as this thread lives: for threads of the SDK's own, and of runtimes of its own.
pub fn suppress_thread() {
    DEPTH.set(u32::MAX);
}

/// Of the thread that was told.
#[derive(Debug)]
pub struct Suppressed(PhantomData<*const ()>);

impl Drop for Suppressed {
    fn drop(&mut self) {
        if DEPTH.get() != u32::MAX {
            DEPTH.set(DEPTH.get().saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_heard_again_when_all_guards_are_gone_and_others_are_heard_all_the_time() {
        let outer = suppress();
        let inner = suppress();
        drop(outer);
        assert!(is_suppressed());
        let other = std::thread::spawn(|| {
            let before = is_suppressed();
            suppress_thread();
            drop(suppress());
            (before, is_suppressed())
        });
        assert_eq!(other.join().unwrap(), (false, true));
        drop(inner);
        assert!(!is_suppressed());
    }
}
