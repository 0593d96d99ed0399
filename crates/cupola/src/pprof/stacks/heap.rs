//! The heap profile: which stacks allocated what is in use, and how much they ever did. A sample of the allocations, one
//! each 512 KiB, weighted so that sums are true on average, as in Go.
//!
//! The allocator asks [`is_on`] at every call, which is one relaxed load, and tells what it does if so. Nothing here may
//! allocate without [`INSIDE`] being set: what is allocated for the profile itself is no part of it.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::profile::Profile;
use super::unwind::{self, FRAMES_MAX, Registers};
use crate::own::now_unix_nano;

/// Bytes allocated between two samples of a thread, on average: as in Go.
const RATE: f64 = 524_288.0;
/// Stacks that are told apart. Those beyond are counted together, as one without functions: the innermost ones, which are
/// those of the allocator and of this profile, are left out by readers.
const STACKS_MAX: usize = 16_384;
/// Samples in use that are followed: of 64 GiB. Those beyond count as allocated and not as in use.
const LIVE_MAX: usize = 131_072;
/// Places of the filter: with a thousand samples in use, one block in 64 that is freed is looked for in vain.
const FILTER_PLACES: usize = 1 << 16;
/// Functions of the allocator and of this profile, which stand at the end of every stack.
const UNINTERESTING: &str = "<?cupola::allocator::.*|cupola::pprof::stacks::heap::(allocated|sample)|\
                             .*__rust_(alloc|realloc).*|<?alloc::(alloc|raw_vec)::.*";

static ON: AtomicBool = AtomicBool::new(false);
static TABLE: Mutex<Option<Table>> = Mutex::new(None);
/// How many samples in use have an address that falls there, so that nobody else's block is looked for.
static FILTER: [AtomicU32; FILTER_PLACES] = [const { AtomicU32::new(0) }; FILTER_PLACES];

/// Before a thread has allocated anything.
const NOT_BEGUN: i64 = i64::MIN;

thread_local! {
    // Neither has a destructor, so that both can be used as long as the thread runs.
    /// Bytes until the next sample.
    static LEFT: Cell<i64> = const { Cell::new(NOT_BEGUN) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    /// The thread works for the profile: what it allocates is not looked at.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the allocator is to tell what it does.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Begins the profile, for as long as the process runs. What was allocated before is not part of it.
pub(crate) fn start() {
    unwind::unwinder();
    inside(|| {
        table().get_or_insert_with(Table::default);
    });
    ON.store(true, Ordering::Relaxed);
}

/// A block of so many bytes has been allocated.
pub(crate) fn allocated(block: *mut u8, bytes: usize) {
    let left = LEFT.get();
    let rest = match left {
        NOT_BEGUN => next_interval(),
        left => left,
    }
    .saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    LEFT.set(rest);
    if rest <= 0 {
        sample(block, bytes);
    }
}

/// A block is about to be freed. It must not have been: the next to get it could be sampled first.
pub(crate) fn freed(block: *mut u8) {
    let filter = &FILTER[place(block)];
    if filter.load(Ordering::Relaxed) == 0 || INSIDE.get() {
        return;
    }
    let forget = || {
        if let Some(table) = table().as_mut()
            && table.freed(block)
        {
            filter.fetch_sub(1, Ordering::Relaxed);
        }
    };
    unwind::keeping_errno(|| inside(forget));
}

#[cold]
#[inline(never)]
fn sample(block: *mut u8, bytes: usize) {
    LEFT.set(next_interval());
    if INSIDE.get() {
        return;
    }
    let registers = Registers::here();
    let keep = || {
        let mut frames = [0; FRAMES_MAX];
        let length = unwind::made().map_or(0, |unwinder| unwinder.stack(registers, &mut frames));
        if let Some(table) = table().as_mut()
            && table.allocated(block, bytes, &frames[..length])
        {
            FILTER[place(block)].fetch_add(1, Ordering::Relaxed);
        }
    };
    unwind::keeping_errno(|| inside(keep));
}

/// The profile as it is now, with the sums of what is in use shown first, or of what ever was allocated. Blocks.
pub(in crate::pprof) fn encode(of_all: bool) -> std::io::Result<Vec<u8>> {
    let (samples, comments) = inside(|| {
        let table = table();
        let Some(table) = table.as_ref() else {
            return (Vec::new(), Vec::new());
        };
        let values = |sums: &Sums| {
            [sums.allocated, sums.allocated_bytes, sums.live, sums.live_bytes]
                .map(|sum| sum.round() as i64)
                .to_vec()
        };
        let samples = table.stacks.iter().filter_map(|(stack, index)| {
            let sums = table.sums.get(*index)?;
            Some((stack.clone(), values(sums)))
        });
        let comments = match table.missed {
            0 => Vec::new(),
            missed => vec![format!(
                "{missed} samples could not be followed until they are freed"
            )],
        };
        (samples.collect::<Vec<_>>(), comments)
    });
    Profile {
        types: vec![
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ],
        default_type: if of_all { 1 } else { 3 },
        period: (("space", "bytes"), RATE as i64),
        start: now_unix_nano(),
        duration_nanos: 0,
        samples,
        comments,
        uninteresting: Some(UNINTERESTING),
    }
    .encode()
}

/// What is known of the samples.
#[derive(Default)]
struct Table {
    stacks: HashMap<Box<[u64]>, usize>,
    sums: Vec<Sums>,
    live: HashMap<usize, Live>,
    missed: u64,
}

/// Weighted, which makes them fractions.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    allocated: f64,
    allocated_bytes: f64,
    live: f64,
    live_bytes: f64,
}

/// A sample in use.
struct Live {
    stack: usize,
    bytes: f64,
    weight: f64,
}

impl Table {
    /// Whether the block is followed until it is freed.
    fn allocated(&mut self, block: *mut u8, bytes: usize, stack: &[u64]) -> bool {
        let stack = self.index(stack);
        let bytes = bytes as f64;
        // How many there are for each that is sampled: a block is with a probability that grows with its size.
        let weight = 1.0 / (1.0 - (-bytes.max(1.0) / RATE).exp());
        let Some(sums) = self.sums.get_mut(stack) else {
            return false;
        };
        sums.allocated += weight;
        sums.allocated_bytes += weight * bytes;
        if self.live.len() >= LIVE_MAX {
            self.missed += 1;
            return false;
        }
        sums.live += weight;
        sums.live_bytes += weight * bytes;
        let live = Live { stack, bytes, weight };
        // An address is that of one block at a time.
        match self.live.insert(block as usize, live) {
            None => true,
            Some(old) => {
                self.gone(&old);
                false
            }
        }
    }

    fn freed(&mut self, block: *mut u8) -> bool {
        let Some(live) = self.live.remove(&(block as usize)) else {
            return false;
        };
        self.gone(&live);
        true
    }

    fn gone(&mut self, live: &Live) {
        if let Some(sums) = self.sums.get_mut(live.stack) {
            sums.live = (sums.live - live.weight).max(0.0);
            sums.live_bytes = (sums.live_bytes - live.weight * live.bytes).max(0.0);
        }
    }

    fn index(&mut self, stack: &[u64]) -> usize {
        if let Some(index) = self.stacks.get(stack) {
            return *index;
        }
        let stack = match self.sums.len() {
            length if length < STACKS_MAX => stack,
            _ => &[],
        };
        let new = self.sums.len();
        let index = *self.stacks.entry(stack.into()).or_insert(new);
        if index == new {
            self.sums.push(Sums::default());
        }
        index
    }
}

/// What panicked while holding it left sums that are as good as any.
fn table() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inside<T>(work: impl FnOnce() -> T) -> T {
    INSIDE.set(true);
    let done = work();
    INSIDE.set(false);
    done
}

/// Blocks lie at multiples of sixteen at least; their higher bits tell them apart.
fn place(block: *mut u8) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    ((block as u64 >> 4).wrapping_mul(GOLDEN) >> 48) as usize
}

/// Bytes until the next sample: exponentially distributed, so that no pattern of allocations is missed or preferred.
fn next_interval() -> i64 {
    let mut random = RANDOM.get();
    if random == 0 {
        // Different for each thread, whose variables are at places of their own.
        random = now_unix_nano() ^ (RANDOM.with(|place| place as *const _ as u64)).rotate_left(32) | 1;
    }
    // xorshift64, Marsaglia 2003.
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    RANDOM.set(random);
    let uniform = ((random >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    (-uniform.ln() * RATE) as i64 + 1
}

#[cfg(test)]
mod tests {
    use super::super::memory::refuse_copies;
    use super::*;
    use crate::pprof::tool::opened;

    const BLOCK_BYTES: usize = 8 << 10;

    #[inline(never)]
    fn well_known_allocations(number: usize) -> Vec<Vec<u8>> {
        (0..number)
            .map(|_| std::hint::black_box(vec![1_u8; BLOCK_BYTES]))
            .collect()
    }

    /// Estimates of all stacks that have a function.
    fn sums_of(function: &str) -> Sums {
        let stacks = inside(|| {
            let table = table();
            let table = table.as_ref().unwrap();
            table
                .stacks
                .iter()
                .map(|(stack, index)| (stack.clone(), table.sums[*index]))
                .collect::<Vec<_>>()
        });
        let mut all = Sums::default();
        for (stack, sums) in stacks {
            let of = |address: &u64| super::super::symbols::functions(*address);
            if stack.iter().flat_map(of).any(|of| of.name.contains(function)) {
                all.allocated += sums.allocated;
                all.allocated_bytes += sums.allocated_bytes;
                all.live += sums.live;
                all.live_bytes += sums.live_bytes;
            }
        }
        all
    }

    /// One test, because there is one heap.
    #[test]
    fn what_is_in_use_is_estimated_by_stack_and_goes_when_it_is_freed() {
        start();
        // 256 MiB in blocks far smaller than the rate: about 512 samples, of which the deviation is 4.4 %.
        let number = (256 << 20) / BLOCK_BYTES;
        let kept = well_known_allocations(number);
        let sums = sums_of("well_known_allocations");
        let expected = (number * BLOCK_BYTES) as f64;
        let near = |estimate: f64, truth: f64| (0.7 * truth..1.3 * truth).contains(&estimate);
        assert!(near(sums.live_bytes, expected), "{sums:?} of {expected}");
        assert!(near(sums.live, number as f64), "{sums:?} of {number}");
        let profile = encode(false).unwrap();
        // Freed by other threads than the one that allocated it.
        std::thread::scope(|scope| {
            let mut kept = kept;
            let half = kept.split_off(number / 2);
            scope.spawn(move || drop(half));
            scope.spawn(move || drop(kept));
        });
        let after = sums_of("well_known_allocations");
        assert!(after.live_bytes < 0.02 * expected, "{after:?}");
        assert!(near(after.allocated_bytes, expected), "{after:?}");
        if let Some(top) = opened(&profile, &["-top", "-cum"]) {
            assert!(top.contains("Type: inuse_space"), "{top}");
            assert!(
                top.contains("well_known_allocations") && !top.contains("__rust_alloc"),
                "{top}"
            );
        }
    }

    #[test]
    fn threads_that_allocate_and_free_for_each_other_lose_no_block() {
        start();
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<u8>>(64);
        let receiver = Mutex::new(receiver);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let sender = sender.clone();
                scope.spawn(move || {
                    for round in 0..4_000_usize {
                        let mut block = vec![thread as u8; 1 + (round * 7_919) % 40_000];
                        block.reserve_exact(block.len());
                        block.fill(round as u8);
                        sender.send(block).unwrap();
                    }
                });
            }
            drop(sender);
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Ok(block) = { receiver.lock().unwrap().recv() } {
                        assert!(block.iter().all(|byte| *byte == block[0]));
                    }
                });
            }
        });
        let sums = sums_of("threads_that_allocate_and_free");
        assert!(
            sums.allocated_bytes > 0.0 && sums.live_bytes < 8.0 * RATE,
            "{sums:?}"
        );
    }

    #[test]
    fn who_allocates_and_frees_keeps_the_error_number_that_it_has_not_read_yet() {
        const ERROR: libc::c_int = libc::ENOTTY;
        start();
        // SAFETY: gives the place of this thread's error number.
        let errno = || unsafe { libc::__errno_location() };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    // Each sample of the first sees a call that fails; the others wait for each other now and then.
                    if thread == 0 && !refuse_copies() {
                        println!("skipped: system calls cannot be filtered here");
                    }
                    for _ in 0..2_000 {
                        // SAFETY: as above, here and below.
                        unsafe { *errno() = ERROR };
                        let block = std::hint::black_box(Vec::<u8>::with_capacity(4 << 20));
                        assert_eq!(unsafe { *errno() }, ERROR, "allocated");
                        drop(block);
                        assert_eq!(unsafe { *errno() }, ERROR, "freed");
                    }
                });
            }
        });
    }

    #[test]
    fn a_table_that_is_full_says_what_it_cannot_follow() {
        let mut table = Table::default();
        for number in 0..LIVE_MAX + 10 {
            table.allocated((number * 16) as *mut u8, 1 << 20, &[7, number as u64]);
        }
        assert_eq!((table.live.len(), table.missed), (LIVE_MAX, 10));
        assert_eq!(table.sums.len(), STACKS_MAX + 1);
        let beyond = table.sums[table.stacks[&[][..]]];
        let (others, all) = (
            (LIVE_MAX - STACKS_MAX) as f64,
            (LIVE_MAX + 10 - STACKS_MAX) as f64,
        );
        let near = |sum: f64, of: f64| (sum / (of * table.sums[0].live) - 1.0).abs() < 1e-6;
        assert!(
            near(beyond.live, others) && near(beyond.allocated, all),
            "{beyond:?}"
        );
        for number in 0..LIVE_MAX + 10 {
            assert_eq!(table.freed((number * 16) as *mut u8), number < LIVE_MAX);
        }
        let left: f64 = table.sums.iter().map(|sums| sums.live_bytes).sum();
        assert!(left.abs() < 1.0, "{left}");
    }
}
