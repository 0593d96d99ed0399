//! Processors: on which one something runs, and how long it has run there.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Where what is measured runs.
pub(crate) const OWN: usize = 0;
/// Where what takes its exports, or asks it, runs.
pub(crate) const OTHERS: usize = 1;

/// Has this thread, and those it starts from now on, run on these processors only. On a machine that has not got them
/// everything stays as it is: the figures are worse then, and the counts are not.
pub(crate) fn pin(processors: &[usize]) {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor);
    }
    let _ = sched_setaffinity(None, &set);
}

/// CPU time of this process, all threads, user and system.
pub(crate) fn of_process() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// CPU time of this thread.
pub(crate) fn of_thread() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
