//! Where records survive a crash: a directory of the application, with one below it for each of its processes.
//!
//! ```text
//! <spool>/<pid>-<random>/lock        held by the process while it lives
//!                        resource    what its records have in common
//!                        records/    a segment for each thread: what has ended and is in no queue yet
//!                        queues/     the queue of each backend: what has not been delivered yet
//!                        owed/       segments that are for one backend alone, in a directory for each: it had not started when
//!                                    the others took them
//! ```
//!
//! A record is copied into the segment of its thread when it ends, which is memory that the system writes to a file when it
//! sees fit: it survives the end of the process, also by `kill -9`, and costs no system call. It does not survive a loss of
//! power; queues do. When the records of a segment are in the queues it begins anew. What is left of a process that has ended
//! is taken over by the next that starts, or by one that runs: its records are exported, its queues are delivered. A record that
//! was both in a segment and in a queue at the crash is exported twice.
//!
//! Files are for the eyes of their owner only: records in segments have been through no scrubbing yet.
//!
//! Refuses file systems other than ext4, xfs and tmpfs (and overlayfs, which is to be over one of these): where what is written
//! takes new room each time, as on btrfs, or is across a network, the system would end an application that writes to such memory
//! when there is none.

mod left;
mod process;
mod segment;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use left::{Left, left_behind, owed_to};
pub(crate) use process::{ProcessDirectory, is_queue_of};
pub(crate) use segment::{Segment, SegmentRecords};

use cupola_telemetry::Signal;

use crate::fork::{self, PerProcess, ProcessCount};
use crate::recorder::Scope;
use crate::say;
use crate::settings::SpoolSettings;

/// A spool that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("cannot use {path} for the spool; give a directory that this user may write to", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} is on a file system ({kind:#x}) on which the spool of records cannot be; give a directory on ext4, xfs or tmpfs",
        path = path.display()
    )]
    FileSystem { path: PathBuf, kind: u64 },
}

impl SpoolError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> SpoolError + '_ {
        move |source| SpoolError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// The spool of an application, and the directory of this process in it.
#[derive(Debug)]
pub(crate) struct Spool {
    settings: SpoolSettings,
    current: PerProcess<ProcessDirectory>,
    /// Generation, plus one, in which it has ended.
    over: AtomicU64,
    /// Generation, plus one, in which it could not be made, which is said once and not tried for each record.
    failed: AtomicU64,
    /// Records for which there was no room, so that they are in memory alone.
    unkept: ProcessCount,
}

impl Spool {
    pub(crate) fn new(settings: SpoolSettings) -> Spool {
        fork::watch();
        Spool {
            settings,
            current: PerProcess::default(),
            over: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unkept: ProcessCount::new(),
        }
    }

    pub(crate) fn settings(&self) -> &SpoolSettings {
        &self.settings
    }

    /// The directory of this process, if it has been made.
    pub(crate) fn current(&self) -> Option<&ProcessDirectory> {
        self.current.get()
    }

    /// The directory of this process, made if it is not there; `None` if it cannot be, and then not before [`Spool::try_again`].
    pub(crate) fn process(&self) -> Option<&ProcessDirectory> {
        let now = fork::generation() + 1;
        if [&self.over, &self.failed]
            .map(|then| then.load(Ordering::Relaxed))
            .contains(&now)
        {
            return None;
        }
        let made = self.make();
        if let Err(error) = &made
            && self.failed.swap(now, Ordering::Relaxed) != now
        {
            say::warning(error);
        }
        made.ok()
    }

    /// Tries to make what could not be made: there may be room again. Whether it is there now, and was not before.
    pub(crate) fn try_again(&self) -> bool {
        let now = fork::generation() + 1;
        let has_failed =
            self.failed.load(Ordering::Relaxed) == now && self.over.load(Ordering::Relaxed) != now;
        let is_made = has_failed && self.make().is_ok();
        if is_made {
            self.failed.store(0, Ordering::Relaxed);
        }
        is_made
    }

    fn make(&self) -> Result<&ProcessDirectory, SpoolError> {
        self.current
            .get_or_make(|| ProcessDirectory::make(&self.settings.directory))
    }

    /// Records that are, or were, in memory alone.
    pub(crate) fn unkept(&self) -> u64 {
        self.unkept.get()
    }

    /// Notes a record that has no place here.
    pub(crate) fn note_unkept(&self) {
        self.unkept.add(1);
    }

    /// A segment for the records of a thread, with room for one of `record_bytes`.
    pub(crate) fn segment(&self, signal: Signal, record_bytes: usize) -> Option<Segment> {
        let process = self.process()?;
        match process.segment(signal, record_bytes) {
            Ok(segment) => Some(segment),
            Err(error) => {
                process.say_once(&error);
                None
            }
        }
    }

    /// Ends: nothing more is kept. What has not been delivered stays for the next.
    pub(crate) fn end(&self, has_delivered: bool) {
        self.over.store(fork::generation() + 1, Ordering::Relaxed);
        if let Some(process) = self.current() {
            process.end(has_delivered);
        }
    }

    /// Leaves a segment to these backends alone, whose records the others have.
    pub(crate) fn owe<'b>(&self, segment: Segment, backends: impl Iterator<Item = &'b str>) {
        if let Some(process) = self.current() {
            process.owe(segment, backends);
        }
    }

    /// Gives back a segment whose records are elsewhere now.
    pub(crate) fn release(&self, segment: Segment) {
        match self.current() {
            Some(process) => process.release(segment),
            None => segment.remove(),
        }
    }
}

/// A record that was left behind by a process that has ended.
pub(crate) type WithRecord<'w> = &'w mut dyn FnMut(Scope, &[u8]);
