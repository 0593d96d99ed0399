//! The processor profile: where the threads are, each after every 10 ms that it has computed. One at a time.
//!
//! Each thread has a timer on its own processor time, which interrupts that thread and no other: a profile is as true on
//! many cores as on one, and threads that wait are left alone. The handler puts the stack into a slot of a fixed buffer; a
//! thread of the profile's own empties the slots, and gives new threads their timers.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::profile::Profile;
use super::unwind::{self, FRAMES_MAX, Registers};
use crate::own::now_unix_nano;
use crate::pprof::CpuError;

/// Of processor time, between two samples of a thread: as in Go.
const PERIOD: Duration = Duration::from_millis(10);
/// How often slots are emptied and new threads looked for.
const ROUND: Duration = Duration::from_millis(20);
/// Stacks between two rounds: of a hundred threads, twice what they give.
const SLOTS: usize = 512;
/// Stacks that are told apart. Those beyond are counted by their innermost function, and beyond twice as many not at all.
const STACKS_MAX: usize = 16_384;

static BUSY: AtomicBool = AtomicBool::new(false);
static RING: OnceLock<Ring> = OnceLock::new();

/// A profile under way. Dropping it ends it and gives nothing.
pub(crate) struct CpuProfile {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<Stacks>>,
    begun: Instant,
    start: u64,
}

impl CpuProfile {
    pub(crate) fn start() -> Result<CpuProfile, CpuError> {
        if BUSY.swap(true, Ordering::AcqRel) {
            return Err(CpuError::Busy);
        }
        let free = |error| {
            BUSY.store(false, Ordering::Release);
            CpuError::System(error)
        };
        unwind::unwinder();
        let ring = RING.get_or_init(Ring::new);
        install().map_err(free)?;
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("cupola-pprof".to_owned())
            .spawn(move || {
                let mut timers = Timers::default();
                let mut stacks = Stacks::default();
                ring.begin();
                loop {
                    timers.renew();
                    let ends = stopped.recv_timeout(ROUND) != Err(RecvTimeoutError::Timeout);
                    ring.drain(&mut stacks);
                    if ends {
                        break;
                    }
                }
                drop(timers);
                ring.end(&mut stacks);
                BUSY.store(false, Ordering::Release);
                stacks
            })
            .map_err(free)?;
        Ok(CpuProfile {
            stop: Some(stop),
            thread: Some(thread),
            begun: Instant::now(),
            start: now_unix_nano(),
        })
    }

    /// Ends it; what it found is encoded, with names. Blocks.
    pub(crate) fn finish(mut self) -> std::io::Result<Vec<u8>> {
        drop(self.stop.take());
        let thread = self.thread.take().map(JoinHandle::join);
        let stacks = match thread {
            Some(Ok(stacks)) => stacks,
            _ => return Err(std::io::Error::other("the thread of the profile has ended early")),
        };
        let nanos = i64::try_from(PERIOD.as_nanos()).unwrap_or(i64::MAX);
        let comments = match stacks.missed {
            0 => Vec::new(),
            missed => vec![format!("{missed} samples could not be taken")],
        };
        let samples = stacks
            .counts
            .into_iter()
            .map(|(stack, count)| (stack, vec![count, count.saturating_mul(nanos)]));
        Profile {
            types: vec![("samples", "count"), ("cpu", "nanoseconds")],
            default_type: 1,
            period: (("cpu", "nanoseconds"), nanos),
            start: self.start,
            duration_nanos: u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
            samples: samples.collect(),
            comments,
            uninteresting: None,
        }
        .encode()
    }
}

/// What a profile found.
#[derive(Default)]
struct Stacks {
    counts: HashMap<Box<[u64]>, i64>,
    missed: u64,
}

impl Stacks {
    fn add(&mut self, stack: &[u64]) {
        if let Some(count) = self.counts.get_mut(stack) {
            *count += 1;
            return;
        }
        let stack = match self.counts.len() < STACKS_MAX {
            true => stack,
            false => &stack[..1],
        };
        if self.counts.len() < 2 * STACKS_MAX {
            *self.counts.entry(stack.into()).or_default() += 1;
        } else {
            self.missed += 1;
        }
    }
}

/// Where the handler puts stacks.
struct Ring {
    taking: AtomicBool,
    slots: Box<[Slot]>,
    next: AtomicUsize,
    missed: AtomicU64,
}

const EMPTY: u8 = 0;
const WRITTEN: u8 = 1;
const FULL: u8 = 2;

struct Slot {
    state: AtomicU8,
    stack: UnsafeCell<(usize, [u64; FRAMES_MAX])>,
}

// SAFETY: the stack is touched by the handler that has made the slot `WRITTEN` of `EMPTY`, and by the one thread that
// empties slots while it is `FULL`.
unsafe impl Sync for Slot {}

impl Ring {
    fn new() -> Ring {
        let slot = |_| Slot {
            state: AtomicU8::new(EMPTY),
            stack: UnsafeCell::new((0, [0; FRAMES_MAX])),
        };
        Ring {
            taking: AtomicBool::new(false),
            slots: (0..SLOTS).map(slot).collect(),
            next: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
        }
    }

    /// What a handler has put after the end of the last profile is none of this one.
    fn begin(&self) {
        self.drain(&mut Stacks::default());
        self.missed.store(0, Ordering::Relaxed);
        self.taking.store(true, Ordering::Release);
    }

    /// In the handler: no lock, no allocation.
    fn put(&self, registers: Registers) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % SLOTS;
        let taken = self.slots.get(at).filter(|slot| {
            let change = slot
                .state
                .compare_exchange(EMPTY, WRITTEN, Ordering::Acquire, Ordering::Relaxed);
            change.is_ok()
        });
        let (Some(slot), Some(unwinder)) = (taken, unwind::made()) else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        // SAFETY: this call alone has the slot.
        let (length, frames) = unsafe { &mut *slot.stack.get() };
        *length = unwinder.stack(registers, frames);
        let state = match *length {
            0 => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                EMPTY
            }
            _ => FULL,
        };
        slot.state.store(state, Ordering::Release);
    }

    fn drain(&self, stacks: &mut Stacks) {
        for slot in &self.slots {
            if slot.state.load(Ordering::Acquire) != FULL {
                continue;
            }
            // SAFETY: no handler takes a slot that is full, and one thread alone empties them.
            let (length, frames) = unsafe { &*slot.stack.get() };
            stacks.add(&frames[..*length]);
            slot.state.store(EMPTY, Ordering::Release);
        }
    }

    fn end(&self, stacks: &mut Stacks) {
        self.taking.store(false, Ordering::Release);
        self.drain(stacks);
        stacks.missed += self.missed.load(Ordering::Relaxed);
    }
}

/// Installs the handler, once: it stays, because a signal that comes late would end the process.
fn install() -> std::io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let install = || {
        // SAFETY: the action is made of zeros and the fields set below. The handler does what handlers may.
        let answer = unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = tick as *const () as usize;
            // On the stack of the thread: those for signals are too small to walk one.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut())
        };
        match answer {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    };
    INSTALLED
        .get_or_init(install)
        .map_err(std::io::Error::from_raw_os_error)
}

extern "C" fn tick(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(ring) = RING.get().filter(|ring| ring.taking.load(Ordering::Acquire)) else {
        return;
    };
    // SAFETY: this is the handler, and that is its argument.
    unwind::keeping_errno(|| ring.put(unsafe { Registers::interrupted(context) }));
}

/// A timer for each thread of the process. Dropping it ends them.
#[derive(Default)]
struct Timers(HashMap<libc::pid_t, libc::timer_t>);

impl Timers {
    /// Gives new threads a timer, and ends those of threads that have gone.
    fn renew(&mut self) {
        let Ok(entries) = std::fs::read_dir("/proc/self/task") else {
            return;
        };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<libc::pid_t>().ok());
        let mut gone = std::mem::take(&mut self.0);
        for id in ids {
            // A thread that ends just now gets none.
            if let Some(timer) = gone.remove(&id).or_else(|| timer(id)) {
                self.0.insert(id, timer);
            }
        }
        drop(Timers(gone));
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        for timer in self.0.values() {
            // SAFETY: it was made below and is ended once.
            unsafe { libc::timer_delete(*timer) };
        }
    }
}

/// A timer on the processor time of a thread, which interrupts it.
fn timer(thread: libc::pid_t) -> Option<libc::timer_t> {
    /// The clock of what a thread has computed, as the system numbers clocks of threads.
    const CLOCK_OF_THREAD: libc::clockid_t = 0b110;
    let clock = (!thread << 3) | CLOCK_OF_THREAD;
    let nanos = libc::c_long::try_from(PERIOD.as_nanos()).unwrap_or(libc::c_long::MAX);
    let period = libc::timespec {
        tv_sec: 0,
        tv_nsec: nanos,
    };
    let setting = libc::itimerspec {
        it_interval: period,
        it_value: period,
    };
    // SAFETY: the event is made of zeros and the fields set here; the timer is used once it was made.
    unsafe {
        let mut event: libc::sigevent = MaybeUninit::zeroed().assume_init();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify_thread_id = thread;
        let mut timer = MaybeUninit::uninit();
        if libc::timer_create(clock, &raw mut event, timer.as_mut_ptr()) != 0 {
            return None;
        }
        let timer = timer.assume_init();
        if libc::timer_settime(timer, 0, &raw const setting, std::ptr::null_mut()) != 0 {
            libc::timer_delete(timer);
            return None;
        }
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pprof::tool::opened;

    #[inline(never)]
    fn very_busy_function(until: &AtomicBool) -> u64 {
        let mut sum = 1_u64;
        while !until.load(Ordering::Relaxed) {
            for _ in 0..1_000 {
                sum = std::hint::black_box(sum.wrapping_mul(31).rotate_left(7));
            }
        }
        sum
    }

    /// Whatever else the tests do, each of these threads computes all the time.
    fn busy(threads: usize, work: impl FnOnce()) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| very_busy_function(&done));
            }
            work();
            done.store(true, Ordering::Relaxed);
        });
    }

    /// One test, because there is one profile at a time.
    #[test]
    fn a_profile_finds_what_is_busy_in_every_thread_and_the_tool_of_go_opens_it() {
        let mut stacks = Vec::new();
        busy(3, || {
            let profile = CpuProfile::start().unwrap();
            assert!(matches!(CpuProfile::start(), Err(CpuError::Busy)));
            // Until each thread has had its share of the processor, however slow the machine is.
            let cpu = || {
                let mut usage = MaybeUninit::<libc::rusage>::uninit();
                // SAFETY: fills the record that it is given.
                let usage = unsafe {
                    libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
                    usage.assume_init()
                };
                usage.ru_utime.tv_sec as f64 + usage.ru_utime.tv_usec as f64 / 1e6
            };
            let (before, begun) = (cpu(), Instant::now());
            while cpu() < before + 1.5 {
                assert!(begun.elapsed() < Duration::from_secs(120));
                std::thread::park_timeout(ROUND);
            }
            let used = cpu() - before;
            stacks = profile.finish().unwrap();
            let expected = used / PERIOD.as_secs_f64();
            let Some(text) = opened(&stacks, &["-raw"]) else {
                return;
            };
            let counted: f64 = text
                .lines()
                .skip_while(|line| !line.starts_with("Samples:"))
                .skip(2)
                .take_while(|line| !line.starts_with("Locations"))
                .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
                .sum();
            assert!(
                (0.7 * expected..1.1 * expected).contains(&counted),
                "{counted} of {expected}"
            );
        });
        let dropped = CpuProfile::start().unwrap();
        drop(dropped);
        let begun = Instant::now();
        let again = loop {
            match CpuProfile::start() {
                Ok(profile) => break profile,
                Err(_) => assert!(
                    begun.elapsed() < Duration::from_secs(120),
                    "it was not given back"
                ),
            }
        };
        again.finish().unwrap();
        let Some(top) = opened(&stacks, &["-top", "-cum"]) else {
            return;
        };
        // Unoptimised, it calls for every step; what it calls is counted to it too.
        let row = top.lines().find(|line| line.contains("very_busy_function"));
        let share = row.and_then(|row| {
            row.split_whitespace()
                .nth(4)?
                .strip_suffix('%')?
                .parse::<f64>()
                .ok()
        });
        assert!(share.is_some_and(|share| share > 60.0), "{top}");
    }

    #[test]
    fn stacks_beyond_the_bound_are_counted_by_their_innermost_function() {
        let mut stacks = Stacks::default();
        for number in 0..STACKS_MAX as u64 + 100 {
            stacks.add(&[7, number]);
        }
        assert_eq!(stacks.counts.len(), STACKS_MAX + 1);
        assert_eq!(stacks.counts[&[7_u64][..]], 100);
        for number in 0..2 * STACKS_MAX as u64 {
            stacks.add(&[1_000 + number]);
        }
        assert_eq!(stacks.counts.len(), 2 * STACKS_MAX);
        let total = stacks.counts.values().sum::<i64>() as u64 + stacks.missed;
        assert_eq!(total, 3 * STACKS_MAX as u64 + 100, "none is lost untold");
    }
}
