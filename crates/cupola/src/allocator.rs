//! Where memory comes from: small blocks from mimalloc, large ones from the C library.
//!
//! mimalloc keeps pages of its own for every thread and size class, of 4 MiB for blocks beyond 64 KiB. Batches and
//! columns are made by one thread and freed by another, and the pages stay with the thread that made them: under load
//! half of the resident memory was free. The C library's large blocks belong to all threads.

use std::alloc::{GlobalAlloc, Layout, System};

use mimalloc::MiMalloc;

use crate::pprof::heap;

/// Blocks of this size and more come from the C library.
const LARGE_BYTES: usize = 16 << 10;
/// Freed pages of small blocks go back to the system after this long, in milliseconds: the next generation of the memtable
/// needs them again, and getting them from the system, cleared, was most of the processor time of ingest with 250.
const PURGE_DELAY_MILLIS: std::ffi::c_long = 10_000;
/// `mi_option_purge_delay` of mimalloc's enumeration of options, which the bindings do not name.
const OPTION_PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Free memory at the end of the C library's heap that is kept, for the same reason.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: std::ffi::c_int = 64 << 20;
/// Blocks beyond come from the system one by one: the most that the C library allows.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: std::ffi::c_int = 32 << 20;

/// Heaps of large blocks, each with a lock: large blocks are rare, and what one heap has free another cannot use.
#[cfg(target_env = "gnu")]
const ARENAS: std::ffi::c_int = 1;

pub(crate) struct Allocator;

fn is_large(bytes: usize) -> bool {
    bytes >= LARGE_BYTES
}

// SAFETY: both allocators keep the contract, and the size alone, which a caller gives back with the block, says from
// which of them a block is. The heap profile looks at addresses and sizes only.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on, here and below.
        told(unsafe { allocate(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe {
            match is_large(layout.size()) {
                true => System.alloc_zeroed(layout),
                false => MiMalloc.alloc_zeroed(layout),
            }
        };
        told(block, layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if heap::is_on() {
            heap::freed(block);
        }
        // SAFETY: as above.
        unsafe { free(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if heap::is_on() {
            heap::freed(block);
        }
        // SAFETY: as above; a block that changes allocators is copied into a new one and freed by the one it is from.
        let moved = unsafe {
            match (is_large(layout.size()), is_large(bytes)) {
                (true, true) => System.realloc(block, layout, bytes),
                (false, false) => MiMalloc.realloc(block, layout, bytes),
                _ => {
                    let moved = allocate(Layout::from_size_align_unchecked(bytes, layout.align()));
                    if !moved.is_null() {
                        std::ptr::copy_nonoverlapping(block, moved, layout.size().min(bytes));
                        free(block, layout);
                    }
                    moved
                }
            }
        };
        told(moved, bytes)
    }
}

/// # Safety
///
/// That of [`GlobalAlloc::alloc`].
#[inline(always)]
unsafe fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: what the caller promises.
    unsafe {
        match is_large(layout.size()) {
            true => System.alloc(layout),
            false => MiMalloc.alloc(layout),
        }
    }
}

/// # Safety
///
/// That of [`GlobalAlloc::dealloc`].
#[inline(always)]
unsafe fn free(block: *mut u8, layout: Layout) {
    // SAFETY: what the caller promises.
    unsafe {
        match is_large(layout.size()) {
            true => System.dealloc(block, layout),
            false => MiMalloc.dealloc(block, layout),
        }
    }
}

/// The block, of which the heap profile has been told if there is one.
#[inline(always)]
fn told(block: *mut u8, bytes: usize) -> *mut u8 {
    if heap::is_on() && !block.is_null() {
        heap::allocated(block, bytes);
    }
    block
}

/// Sets options. To be called before there are threads.
pub(crate) fn configure() {
    // SAFETY: sets an integer option; any value is allowed at any time.
    unsafe { libmimalloc_sys::mi_option_set(OPTION_PURGE_DELAY, PURGE_DELAY_MILLIS) };
    #[cfg(target_env = "gnu")]
    // SAFETY: sets integer options while no other thread allocates. What is refused stays as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
    }
}

/// Gives unused memory back to the system, at once.
pub(crate) fn collect() {
    // SAFETY: asks for a collection; it takes no pointers.
    unsafe { libmimalloc_sys::mi_collect(true) };
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_bytes_from_one_allocator_to_the_other() {
        let sizes = [1, 100, LARGE_BYTES - 1, LARGE_BYTES, 1 << 20, LARGE_BYTES - 1, 10];
        let pattern: Vec<u8> = (0..sizes[0]).map(|at| at as u8).collect();
        let mut layout = Layout::from_size_align(sizes[0], 64).unwrap();
        // SAFETY: the block is used within its size, with the layout it has, and freed once.
        unsafe {
            let mut block = Allocator.alloc(layout);
            block.copy_from_nonoverlapping(pattern.as_ptr(), pattern.len());
            for bytes in sizes {
                let kept = layout.size().min(bytes);
                let before = std::slice::from_raw_parts(block, kept).to_vec();
                block = Allocator.realloc(block, layout, bytes);
                assert_eq!(block.align_offset(64), 0);
                assert_eq!(std::slice::from_raw_parts(block, kept), before);
                layout = Layout::from_size_align(bytes, 64).unwrap();
                (0..bytes).for_each(|at| block.add(at).write(at as u8));
            }
            Allocator.dealloc(block, layout);
            let zeroed = Layout::from_size_align(LARGE_BYTES * 2, 8).unwrap();
            let block = Allocator.alloc_zeroed(zeroed);
            assert!(
                std::slice::from_raw_parts(block, zeroed.size())
                    .iter()
                    .all(|byte| *byte == 0)
            );
            Allocator.dealloc(block, zeroed);
        }
    }
}
