//! Memory of this process that may not be there: the system copies it, which fails where a read would end the process. Waits
//! for nobody here, and allocates nothing.
//!
//! Nothing less will do. Code without unwind tables is taken to have a frame pointer, and what it has in that register may be
//! any number: an address of memory, say, that another thread gives back this very moment.

use std::ffi::c_void;

/// Words that are copied at a time: a page of 4 KiB, or a part of one, so that all are there or none.
pub(super) const BLOCK_WORDS: usize = 512;
const WORD_BYTES: u64 = 8;
pub(super) const BLOCK_BYTES: u64 = BLOCK_WORDS as u64 * WORD_BYTES;

/// What was copied last.
pub(super) struct Memory {
    /// Where the words of the last copy are from: stacks are read block by block.
    block: Option<u64>,
    words: [u64; BLOCK_WORDS],
}

impl Memory {
    pub(super) fn new() -> Memory {
        Memory {
            block: None,
            words: [0; BLOCK_WORDS],
        }
    }

    /// What was copied may have changed.
    pub(super) fn forget(&mut self) {
        self.block = None;
    }

    pub(super) fn read(&mut self, address: u64) -> Result<u64, ()> {
        if !address.is_multiple_of(WORD_BYTES) {
            return Err(());
        }
        let within = address % BLOCK_BYTES;
        let block = address - within;
        if self.block != Some(block) {
            self.block = self.copy(block).then_some(block);
        }
        self.block.ok_or(())?;
        Ok(self.words[(within / WORD_BYTES) as usize])
    }

    /// Whether the words of a block were there.
    fn copy(&mut self, block: u64) -> bool {
        let length = size_of_val(&self.words);
        let here = libc::iovec {
            iov_base: self.words.as_mut_ptr().cast(),
            iov_len: length,
        };
        let there = libc::iovec {
            iov_base: block as *mut c_void,
            iov_len: length,
        };
        // SAFETY: writes to `words` and no further; the other address is read by the system, which checks it.
        let copied =
            unsafe { libc::process_vm_readv(libc::getpid(), &raw const here, 1, &raw const there, 1, 0) };
        usize::try_from(copied) == Ok(length)
    }
}

/// Whether the system copies memory for us at all, which some sandboxes forbid.
pub(super) fn is_allowed() -> bool {
    let word = 0_u64;
    Memory::new().read(&raw const word as u64).is_ok()
}

/// Has the system refuse copies to this thread, as sandboxes do. False where it cannot be told to.
#[cfg(test)]
pub(super) fn refuse_copies() -> bool {
    let step = |code: u32, jump: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump,
        k: value,
    };
    let mut filter = [
        // The number of the system call is the first word.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ,
            1,
            libc::SYS_process_vm_readv as u32,
        ),
        step(libc::BPF_RET, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: sets what holds of this thread; the program is there during the call.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_int;

    use super::*;

    /// A new page of our own, which may be read or not.
    fn page(protection: c_int) -> *mut c_void {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the system chooses a place where nothing is.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK_BYTES as usize,
                protection,
                flags,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        page
    }

    fn give_back(page: *mut c_void) {
        // SAFETY: nobody has a reference to what is there.
        assert_eq!(unsafe { libc::munmap(page, BLOCK_BYTES as usize) }, 0);
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        assert!(is_allowed());
        let mut memory = Memory::new();
        let word = 77_u64;
        assert_eq!(memory.read(&raw const word as u64), Ok(77));
        for nowhere in [
            0,
            8,
            1,
            u64::MAX - 7,
            0x7fff_ffff_f000,
            &raw const word as u64 + 1,
        ] {
            assert_eq!(memory.read(nowhere), Err(()), "{nowhere:x}");
        }
        assert_eq!(memory.read(&raw const word as u64), Ok(77), "as before");
        // A page that may not be read, such as the guard at the end of a stack.
        let guard = page(libc::PROT_NONE);
        assert_eq!(memory.read(guard as u64), Err(()));
        give_back(guard);
    }

    #[test]
    fn what_is_gone_after_a_look_at_it_is_not_touched() {
        let page = page(libc::PROT_READ);
        let mut memory = Memory::new();
        assert_eq!(memory.read(page as u64), Ok(0));
        // As good as gone, and nobody else's in the meantime.
        // SAFETY: nobody has a reference to what is there.
        let gone = unsafe { libc::mprotect(page, BLOCK_BYTES as usize, libc::PROT_NONE) };
        assert_eq!(gone, 0);
        // As it was, since what was copied is our own.
        assert_eq!(memory.read(page as u64 + 8), Ok(0));
        memory.forget();
        assert_eq!(memory.read(page as u64 + 8), Err(()));
        give_back(page);
    }
}
