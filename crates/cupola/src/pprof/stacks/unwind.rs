//! Stacks of this process, taken without a lock, without allocating and without touching memory that may not be there: in
//! a signal handler as well as in the allocator. Knows addresses only; `symbols` gives them names.
//!
//! The C library's and the compiler's own unwinders promise none of the three. Frame pointers would be simpler, but the
//! standard library is the only part of the program that keeps them.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, Module, MustNotAllocateDuringUnwind, UnwindRegsNative,
    Unwinder as _, UnwinderNative,
};

use super::memory::{Memory, is_allowed};

/// Frames of a stack, the innermost first; outer ones beyond are left out.
pub(super) const FRAMES_MAX: usize = 128;
/// Stacks that may be taken at the same time. One more is not taken.
const CACHES: usize = 8;

type Policy = MustNotAllocateDuringUnwind;
type Bytes = &'static [u8];

static UNWINDER: OnceLock<Unwinder> = OnceLock::new();

/// Everything that is needed to take stacks, made before the first is.
pub(super) struct Unwinder {
    unwinder: UnwinderNative<Bytes, Policy>,
    caches: [Cache; CACHES],
    pub(super) modules: Vec<LoadedModule>,
}

/// A program or library in memory.
#[derive(Clone, Debug)]
pub(super) struct LoadedModule {
    pub(super) path: String,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl LoadedModule {
    /// The file without its directory.
    pub(super) fn name(&self) -> &str {
        let file = Path::new(&self.path).file_name().and_then(|name| name.to_str());
        file.unwrap_or(&self.path)
    }
}

struct Cache {
    taken: AtomicBool,
    /// Rules found before, and room for what is read: more than there may be on the stack that is looked at.
    cache: UnsafeCell<(CacheNative<Policy>, Memory)>,
}

// SAFETY: the cache is touched by whoever has set `taken`, and by nobody else.
unsafe impl Sync for Cache {}

/// The unwinder of this process, made by the first call, which allocates. What is loaded later is not known to it.
pub(super) fn unwinder() -> &'static Unwinder {
    UNWINDER.get_or_init(Unwinder::new)
}

/// The same if it has been made. Allocates nothing and waits for nobody.
pub(super) fn made() -> Option<&'static Unwinder> {
    UNWINDER.get()
}

impl Unwinder {
    fn new() -> Unwinder {
        if !is_allowed() {
            tracing::warn!(
                "the system refuses process_vm_readv: profiles tell functions and not what called them"
            );
        }
        let mut loaded = Vec::<Loaded>::new();
        // SAFETY: the callback is given what it was told to be given, and nothing outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut loaded).cast()) };
        let mut unwinder = UnwinderNative::new();
        let mut modules = Vec::new();
        for module in loaded {
            modules.push(LoadedModule {
                path: module.path.clone(),
                start: module.start,
                end: module.end,
            });
            let sections = ExplicitModuleSectionInfo {
                // Addresses in a file of ELF begin at zero, wherever it is loaded.
                base_svma: 0,
                eh_frame_svma: module.frames.map(|frames| module.offset_of(frames)),
                eh_frame: module.frames,
                eh_frame_hdr_svma: module.index.map(|index| module.offset_of(index)),
                eh_frame_hdr: module.index,
                ..ExplicitModuleSectionInfo::default()
            };
            unwinder.add_module(Module::new(
                module.path,
                module.start..module.end,
                module.base,
                sections,
            ));
        }
        let cache = || Cache {
            taken: AtomicBool::new(false),
            cache: UnsafeCell::new((CacheNative::new_in(), Memory::new())),
        };
        Unwinder {
            unwinder,
            caches: std::array::from_fn(|_| cache()),
            modules,
        }
    }

    /// Puts the stack below `registers` into `frames` and gives its length; zero if too many others are being taken.
    ///
    /// Addresses are within the instructions that called, so that they are of the line of the call.
    pub(super) fn stack(&self, registers: Registers, frames: &mut [u64]) -> usize {
        let free = |cache: &&Cache| !cache.taken.swap(true, Ordering::Acquire);
        let Some(slot) = self.caches.iter().find(free) else {
            return 0;
        };
        // SAFETY: `taken` was not set before, and is until below.
        let (cache, memory) = unsafe { &mut *slot.cache.get() };
        memory.forget();
        let mut read = |address: u64| memory.read(address);
        let mut iterator = self
            .unwinder
            .iter_frames(registers.pc, registers.others, cache, &mut read);
        let mut length = 0;
        while length < frames.len()
            && let Ok(Some(frame)) = iterator.next()
        {
            frames[length] = frame.address_for_lookup();
            length += 1;
        }
        slot.taken.store(false, Ordering::Release);
        length
    }

    /// The program or library that an address is in.
    pub(super) fn module(&self, address: u64) -> Option<(usize, &LoadedModule)> {
        let within = |module: &LoadedModule| (module.start..module.end).contains(&address);
        self.modules.iter().enumerate().find(|(_, module)| within(module))
    }
}

/// Where a thread is: what is needed to find its callers.
pub(super) struct Registers {
    pc: u64,
    others: UnwindRegsNative,
}

impl Registers {
    /// Those of the caller.
    #[inline(always)]
    pub(super) fn here() -> Registers {
        let (pc, sp, fp): (u64, u64, u64);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads registers and changes nothing.
        unsafe {
            std::arch::asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) pc, out(reg) sp, out(reg) fp,
                options(nomem, nostack, preserves_flags));
        }
        #[cfg(target_arch = "x86_64")]
        let others = UnwindRegsNative::new(pc, sp, fp);
        #[cfg(target_arch = "aarch64")]
        let link: u64;
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            std::arch::asm!("adr {}, .", "mov {}, sp", "mov {}, x29", "mov {}, x30", out(reg) pc, out(reg) sp,
                out(reg) fp, out(reg) link, options(nomem, nostack, preserves_flags));
        }
        #[cfg(target_arch = "aarch64")]
        let others = UnwindRegsNative::new(link, sp, fp);
        Registers { pc, others }
    }

    /// Those of the code that a signal has interrupted.
    ///
    /// # Safety
    ///
    /// `context` is the third argument of a signal handler, within that handler.
    pub(super) unsafe fn interrupted(context: *const c_void) -> Registers {
        // SAFETY: what the caller promises.
        let context = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        {
            let of = |register: c_int| context.gregs[register as usize] as u64;
            let pc = of(libc::REG_RIP);
            let others = UnwindRegsNative::new(pc, of(libc::REG_RSP), of(libc::REG_RBP));
            Registers { pc, others }
        }
        #[cfg(target_arch = "aarch64")]
        Registers {
            pc: context.pc,
            others: UnwindRegsNative::new(context.regs[30], context.sp, context.regs[29]),
        }
    }
}

fn last_error() -> c_int {
    // SAFETY: gives the place of this thread's error number.
    unsafe { *libc::__errno_location() }
}

/// Runs `work` and leaves the error number of the thread as it was, which the interrupted code may be about to read.
pub(super) fn keeping_errno<T>(work: impl FnOnce() -> T) -> T {
    let before = last_error();
    let done = work();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = before };
    done
}

/// What the system says of a program or library.
struct Loaded {
    path: String,
    base: u64,
    start: u64,
    end: u64,
    /// `.eh_frame_hdr` and `.eh_frame`.
    index: Option<Bytes>,
    frames: Option<Bytes>,
}

impl Loaded {
    fn offset_of(&self, section: Bytes) -> std::ops::Range<u64> {
        let start = section.as_ptr() as u64 - self.base;
        start..start + section.len() as u64
    }
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, loaded: *mut c_void) -> c_int {
    // SAFETY: the system gives a description that holds during the call, and what it was given for us.
    let (info, loaded) = unsafe { (&*info, &mut *loaded.cast::<Vec<Loaded>>()) };
    // SAFETY: as above: so many headers are there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let base = info.dlpi_addr;
    let segments = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let start = segments().map(|header| base + header.p_vaddr).min();
    let end = segments()
        .map(|header| base + header.p_vaddr + header.p_memsz)
        .max();
    let (Some(start), Some(end)) = (start, end) else {
        return 0;
    };
    // SAFETY: a name ends with a zero, if there is one.
    let name = (!info.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(info.dlpi_name) });
    let name = name
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let path = match name.is_empty() {
        // The program itself has no name.
        true => std::env::current_exe().map_or("cupola".to_owned(), |path| path.display().to_string()),
        false => name,
    };
    let index = headers
        .iter()
        .find(|header| header.p_type == libc::PT_GNU_EH_FRAME);
    // SAFETY: segments that are loaded stay: nothing unloads libraries here.
    let index = index.map(|header| unsafe { bytes(base + header.p_vaddr, header.p_memsz) });
    let frames = index.and_then(|index| {
        let at = frames_of(index)?;
        let within = |header: &&libc::Elf64_Phdr| {
            (base + header.p_vaddr..base + header.p_vaddr + header.p_memsz).contains(&at)
        };
        let segment = segments().find(within)?;
        // How long it is stands nowhere, and does not matter: the index says where each entry is.
        // SAFETY: as above.
        Some(unsafe { bytes(at, base + segment.p_vaddr + segment.p_memsz - at) })
    });
    loaded.push(Loaded {
        path,
        base,
        start,
        end,
        index: index.filter(|_| frames.is_some()),
        frames,
    });
    0
}

/// # Safety
///
/// The bytes are there for as long as the process is.
unsafe fn bytes(start: u64, length: u64) -> Bytes {
    // SAFETY: what the caller promises.
    unsafe { std::slice::from_raw_parts(start as *const u8, length as usize) }
}

/// Where `.eh_frame` is, as the head of its index says in the one way that linkers write it: relative to that place.
///
/// <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/ehframechpt.html>
fn frames_of(index: Bytes) -> Option<u64> {
    const VERSION: u8 = 1;
    /// Four signed bytes, relative to their own place.
    const RELATIVE: u8 = 0x1b;
    let [VERSION, RELATIVE, ..] = index else {
        return None;
    };
    let distance = i32::from_ne_bytes(index.get(4..8)?.try_into().ok()?);
    (index.as_ptr() as u64 + 4).checked_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use super::super::memory::{BLOCK_BYTES, BLOCK_WORDS, refuse_copies};
    use super::*;

    #[inline(never)]
    fn inner(frames: &mut [u64]) -> usize {
        std::hint::black_box(unwinder().stack(Registers::here(), frames))
    }

    #[inline(never)]
    fn outer(frames: &mut [u64]) -> usize {
        std::hint::black_box(inner(frames))
    }

    #[test]
    fn a_stack_has_its_callers_in_order_up_to_the_beginning_of_the_thread() {
        let mut frames = [0; FRAMES_MAX];
        let length = outer(&mut frames);
        let names: Vec<String> = frames[..length]
            .iter()
            .map(|address| {
                super::super::symbols::function(*address)
                    .map(|of| of.name)
                    .unwrap_or_default()
            })
            .collect();
        let at = |name: &str| names.iter().position(|found| found.contains(name));
        assert!(at("inner") < at("outer") && at("inner").is_some(), "{names:?}");
        assert!(
            names
                .iter()
                .any(|name| name.contains("thread_start") || name.contains("clone")),
            "{names:?}"
        );
    }

    #[test]
    fn a_frame_pointer_that_is_none_gives_what_can_be_read_and_no_crash() {
        let mut frames = [0; FRAMES_MAX];
        // Code of no module is taken to have a frame pointer: here one into a block of the heap, where more addresses of no
        // module stand, and then one to a page that is not there.
        let nowhere = 0x7fff_ffff_f000;
        let mut block = vec![0_u64; 2 * BLOCK_WORDS];
        let start = block.as_ptr() as u64;
        block[0] = start + BLOCK_BYTES;
        block[1] = 0x10_0001;
        block[BLOCK_WORDS] = nowhere;
        block[BLOCK_WORDS + 1] = 0x10_0002;
        for (pointer, length) in [(start, 3), (nowhere, 1), (3, 1)] {
            let registers = Registers {
                pc: 0x10_0000,
                others: UnwindRegsNative::new(0x10_0000, 0, pointer),
            };
            assert_eq!(unwinder().stack(registers, &mut frames), length, "{pointer:x}");
            // Those of calls are within the instruction that called.
            assert_eq!(frames[..length], [0x10_0000, 0x10_0000, 0x10_0001][..length]);
        }
    }

    #[test]
    fn registers_of_garbage_give_a_short_stack_and_no_crash() {
        let mut frames = [0; FRAMES_MAX];
        let here = Registers::here();
        for stack in [0, 8, u64::MAX - 15, 0x1234_5678] {
            let others = UnwindRegsNative::new(here.pc, stack, stack);
            let length = unwinder().stack(Registers { pc: here.pc, others }, &mut frames);
            assert!(length <= 3, "{length}");
        }
    }

    #[test]
    fn where_the_system_refuses_copies_a_stack_is_its_innermost_function() {
        let sandboxed = || {
            let mut frames = [0; FRAMES_MAX];
            refuse_copies().then(|| (is_allowed(), outer(&mut frames)))
        };
        match std::thread::spawn(sandboxed).join().unwrap() {
            Some(told) => assert_eq!(told, (false, 1)),
            None => println!("skipped: system calls cannot be filtered here"),
        }
    }

    #[test]
    fn many_threads_at_once_get_a_stack_or_none() {
        std::thread::scope(|scope| {
            for _ in 0..4 * CACHES {
                scope.spawn(|| {
                    let mut frames = [0; FRAMES_MAX];
                    for _ in 0..200 {
                        let length = outer(&mut frames);
                        assert!(length == 0 || length > 3, "{length}");
                    }
                });
            }
        });
        let mut frames = [0; FRAMES_MAX];
        assert!(outer(&mut frames) > 3, "every cache was given back");
    }
}
