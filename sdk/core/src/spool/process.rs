//! The directory of one process in the spool, while it lives.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cupola_telemetry::Signal;
use rustix::fs::{FlockOperation, flock, statfs};

use super::SpoolError;
use super::segment::{SEGMENT_BYTES, Segment};
use crate::fork;
use crate::resource::Resource;
use crate::say;

pub(super) const LOCK: &str = "lock";
pub(super) const RESOURCE: &str = "resource";
pub(super) const RECORDS: &str = "records";
pub(super) const QUEUES: &str = "queues";
pub(super) const OWED: &str = "owed";
/// In front of the names of directories that are being made: nobody takes them over.
pub(super) const UNFINISHED: &str = ".";
/// Segments that are kept for the next records; others are removed. 16 MiB.
const FREE_SEGMENTS_MAX: usize = 64;

/// After a file could not be made, none is tried for so long: what records is not to wait for a full disk each time.
const PAUSE_MILLIS: u64 = 2_000;

/// What this process keeps on disk.
#[derive(Debug)]
pub(crate) struct ProcessDirectory {
    path: PathBuf,
    /// Not before this is gone may others take it over.
    _lock: Held,
    /// In the name of the next segment.
    next: AtomicU64,
    free: Mutex<Vec<Segment>>,
    has_said: AtomicBool,
    begun: Instant,
    /// In milliseconds since then: before it, no file is made.
    not_before: AtomicU64,
}

/// A lock that this process has for as long as it lives, and that a child of it does not have.
#[derive(Debug)]
pub(super) struct Held {
    /// Closed by whoever made it only: see [`fork::close_in_child`].
    file: Option<File>,
    generation: u64,
}

impl Held {
    /// Takes a lock that nobody has.
    pub(super) fn new(path: &Path) -> io::Result<Held> {
        let file = lock_file(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        if !fork::close_in_child(file.as_raw_fd()) {
            return Err(io::Error::other("this process has too many spools"));
        }
        Ok(Held {
            file: Some(file),
            generation: fork::generation(),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else {
            return;
        };
        match self.generation == fork::generation() {
            true => fork::keep_in_child(file.as_raw_fd()),
            // It was closed already, and its number may be another file's by now.
            false => std::mem::forget(file),
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

impl ProcessDirectory {
    /// Makes one, below the directory of the application.
    pub(super) fn make(spool: &Path) -> Result<ProcessDirectory, SpoolError> {
        let failed = || SpoolError::io(spool);
        directories(spool).map_err(failed())?;
        if let Some(kind) = unfit(spool).map_err(failed())? {
            return Err(SpoolError::FileSystem {
                path: spool.to_owned(),
                kind,
            });
        }
        let name = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let unfinished = spool.join(format!("{UNFINISHED}{name}"));
        for directory in [RECORDS, QUEUES] {
            directories(&unfinished.join(directory)).map_err(failed())?;
        }
        // Locked before anybody can see it, as what nobody holds is taken over.
        let lock = Held::new(&unfinished.join(LOCK)).map_err(failed())?;
        let path = spool.join(name);
        std::fs::rename(&unfinished, &path).map_err(failed())?;
        Ok(ProcessDirectory {
            path,
            _lock: lock,
            next: AtomicU64::new(0),
            free: Mutex::default(),
            has_said: AtomicBool::new(false),
            begun: Instant::now(),
            not_before: AtomicU64::new(0),
        })
    }

    /// Where the queue of a backend is.
    pub(crate) fn queue(&self, backend: &str) -> PathBuf {
        self.path.join(QUEUES).join(file_name(backend))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps what the records of this process have in common, for whoever takes them over.
    pub(crate) fn keep_resource(&self, resource: &Resource) -> io::Result<()> {
        let mut bytes = (resource.message.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&resource.message);
        bytes.extend_from_slice(resource.schema_url.as_bytes());
        let unfinished = self.path.join("resource.new");
        std::fs::write(&unfinished, bytes)?;
        std::fs::rename(unfinished, self.path.join(RESOURCE))
    }

    pub(super) fn segment(&self, signal: Signal, record_bytes: usize) -> io::Result<Segment> {
        // Threads of the application do not wait for one another: the other one is at it for some instructions, and a new
        // file does as well.
        let elapsed = self.begun.elapsed().as_millis() as u64;
        if elapsed < self.not_before.load(Ordering::Relaxed) {
            return Err(io::Error::other("files could not be made a moment ago"));
        }
        if record_bytes < SEGMENT_BYTES / 2
            && let Ok(mut free) = self.free.try_lock()
            && let Some(at) = free.iter().position(|segment| segment.signal() == signal)
        {
            return Ok(free.swap_remove(at));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(RECORDS).join(format!("{number:08}"));
        Segment::create(path, signal, record_bytes).inspect_err(|_| {
            self.not_before.store(elapsed + PAUSE_MILLIS, Ordering::Relaxed);
        })
    }

    pub(super) fn release(&self, mut segment: Segment) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if segment.is_usual() && free.len() < FREE_SEGMENTS_MAX {
            segment.clear();
            free.push(segment);
        } else {
            drop(free);
            segment.remove();
        }
    }

    /// Leaves a segment to these backends alone; to all, where that cannot be done.
    pub(super) fn owe<'b>(&self, segment: Segment, mut backends: impl Iterator<Item = &'b str>) {
        if backends.all(|backend| super::left::owe(&self.path, segment.path(), backend).is_ok()) {
            segment.remove();
        }
    }

    /// Takes away what nobody needs any more: all of it, if its queues are closed and hold nothing, and no record is left.
    pub(super) fn end(&self, has_delivered: bool) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.drain(..).for_each(Segment::remove);
        let records = super::left::segments_of(&self.path);
        if has_delivered && records.is_ok_and(|records| records.is_empty()) {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }

    /// Says what is wrong, the first time.
    pub(super) fn say_once(&self, error: &io::Error) {
        if !self.has_said.swap(true, Ordering::Relaxed) {
            say::text(&format!(
                "records are not kept in {} and a crash would lose them: {error}",
                self.path.display()
            ));
        }
    }
}

impl Drop for ProcessDirectory {
    /// Of two threads that make one at once, one has made it for nothing.
    fn drop(&mut self) {
        let is_empty = |directory| {
            let mut entries = std::fs::read_dir(self.path.join(directory));
            entries.as_mut().is_ok_and(|entries| entries.next().is_none())
        };
        if is_empty(RECORDS) && is_empty(QUEUES) && !self.path.join(OWED).exists() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes directories that only their owner may look into.
pub(super) fn directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The number of a file system on which memory that is a file may have no room when it is written to; `None` for those on which it
/// has, once the file has been filled. Of overlayfs, the directory that is written to decides, which nobody can ask for.
fn unfit(path: &Path) -> io::Result<Option<u64>> {
    // ext4 and its older ones, xfs, tmpfs, overlayfs: statfs(2).
    const FIT: [u64; 4] = [0xef53, 0x5846_5342, 0x0102_1994, 0x794c_7630];
    let kind = statfs(path)?.f_type as u64 & 0xffff_ffff;
    Ok((!FIT.contains(&kind)).then_some(kind))
}

/// Whether a directory in the spool is the queue of a backend.
pub(crate) fn is_queue_of(path: &Path, backend: &str) -> bool {
    path.file_name().is_some_and(|name| *name == *file_name(backend))
}

/// A backend's name as a file may be called: what is neither letter nor number by its number.
pub(super) fn file_name(backend: &str) -> String {
    backend
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => character.to_string(),
            other => format!("_{:x}_", u32::from(other)),
        })
        .collect()
}
