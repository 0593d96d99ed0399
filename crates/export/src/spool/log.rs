//! The spool without the runtime: appending a group, handing out in order, forgetting what is done. Every call may block.
//!
//! State is behind one short lock. Writing and reading have one each, taken before it and held over IO; nobody waits for
//! one of these with the other in hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_telemetry::Batch;
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use parking_lot::Mutex;

use super::cursor::Cursor;
use super::reader::Reader;
use super::writer::Writer;
use crate::fs::{FileSystem, Lock};
use crate::queue::{Gate, Load};

/// Bounds of a spool.
#[derive(Debug, Clone)]
pub(crate) struct LogConfig {
    pub(crate) directory: PathBuf,
    /// A file that has reached this size is not appended to any more.
    pub(crate) segment_bytes_max: u64,
    /// Of all files.
    pub(crate) disk_bytes_max: u64,
    /// Of payloads kept in memory because they will be read soon.
    pub(crate) cache_bytes_max: u64,
    pub(crate) budget: MemoryBudget,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct SpoolCounters {
    /// Places at which a file was damaged.
    pub(crate) damages: AtomicU64,
    /// Batches and items lost by that.
    pub(crate) damaged_requests: AtomicU64,
    pub(crate) damaged_items: AtomicU64,
    /// Bytes cut off an end that was never acknowledged.
    pub(crate) torn_bytes: AtomicU64,
    /// Files that were set aside.
    pub(crate) set_aside: AtomicU64,
    pub(crate) syncs: AtomicU64,
    /// Groups refused because they could not be written.
    pub(crate) write_failures: AtomicU64,
    pub(crate) cursor_failures: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// A spool whose directory is ours.
#[derive(Debug)]
pub(crate) struct Log {
    pub(super) config: LogConfig,
    pub(super) file_system: Arc<dyn FileSystem>,
    pub(super) spool: [u8; 16],
    pub(super) state: Mutex<State>,
    pub(super) writer: Mutex<Writer>,
    pub(super) reader: Mutex<Reader>,
    pub(super) gate: Arc<Gate>,
    pub(crate) counters: SpoolCounters,
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<u64, FileState>,
    /// The highest number the reader has passed.
    pub(super) read: u64,
    /// The highest number that was appended.
    pub(super) appended: u64,
    /// Handed out and not done with.
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    /// Not done with at the last end, and not handed out since.
    pub(super) reopened: BTreeSet<u64>,
    /// Numbers in between belong to nobody: exclusive at both ends.
    pub(super) voids: Vec<(u64, u64)>,
    pub(super) cache: VecDeque<Cached>,
    pub(super) cache_bytes: u64,
    /// Handed out and given back.
    pub(super) returned: VecDeque<Handed>,
    /// Done with since the cursor was written.
    pub(super) unwritten: u64,
    pub(super) disk_bytes: u64,
    /// The last attempt to write the cursor failed.
    pub(super) cursor_failing: bool,
}

#[derive(Debug, Default)]
pub(super) struct FileState {
    /// Everything before is durable and whole records, or known damage.
    pub(super) bytes: u64,
    pub(super) seed: u32,
    /// Not done with.
    pub(super) live: Load,
    pub(super) in_flight: usize,
    /// Not written any more.
    pub(super) closed: bool,
    /// The reader has been through.
    pub(super) passed: bool,
    /// Set aside instead of removed.
    pub(super) damaged: bool,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) file: u64,
    pub(super) load: Load,
}

#[derive(Debug)]
pub(super) struct Cached {
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) record_bytes: u64,
    pub(super) sequence: u64,
    pub(super) batch: Batch,
    pub(super) reservation: Reservation,
}

/// A batch on its way to its destination.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) sequence: u64,
    pub(crate) batch: Batch,
    #[expect(dead_code, reason = "the memory is given back with the batch")]
    pub(crate) reservation: Reservation,
}

impl State {
    /// Whether a record of this number is to be handed out.
    pub(super) fn is_wanted(&self, sequence: u64) -> bool {
        let new = sequence > self.read || self.reopened.contains(&sequence);
        new && !self.is_void(sequence)
    }

    pub(super) fn is_void(&self, sequence: u64) -> bool {
        self.voids
            .iter()
            .any(|(after, before)| *after < sequence && sequence < *before)
    }

    /// Notes that a batch is handed out.
    pub(super) fn hand_out(&mut self, file: u64, sequence: u64, load: Load) {
        self.reopened.remove(&sequence);
        self.read = self.read.max(sequence);
        self.in_flight.insert(sequence, InFlight { file, load });
        if let Some(file) = self.files.get_mut(&file) {
            file.in_flight += 1;
        }
    }

    /// Files that nobody needs any more.
    fn removable(&self) -> Vec<u64> {
        let removable = |file: &FileState| {
            file.closed && file.in_flight == 0 && (file.passed || file.live == Load::default())
        };
        self.files
            .iter()
            .filter(|(_, file)| removable(file))
            .map(|(number, _)| *number)
            .collect()
    }
}

impl Log {
    /// The batch is delivered, or has been put elsewhere: it will not be handed out again. Does not block.
    pub(crate) fn done(&self, sequence: u64) {
        let mut state = self.state.lock();
        let Some(done) = state.in_flight.remove(&sequence) else {
            return;
        };
        state.unwritten += 1;
        if let Some(file) = state.files.get_mut(&done.file) {
            file.in_flight -= 1;
            file.live.subtract(done.load);
        }
        drop(state);
        self.gate.leave(done.load);
    }

    /// The highest number of what there is.
    pub(crate) fn mark(&self) -> u64 {
        self.state.lock().appended
    }

    /// Whether everything up to this number is done with.
    pub(crate) fn has_passed(&self, mark: u64) -> bool {
        let state = self.state.lock();
        let is_later = |number: Option<&u64>| number.is_none_or(|number| *number > mark);
        state.read >= mark && is_later(state.in_flight.keys().next()) && is_later(state.reopened.first())
    }

    /// The batch is to be handed out again.
    pub(crate) fn give_back(&self, handed: Handed) {
        self.state.lock().returned.push_back(handed);
    }

    /// Of what is handed out.
    pub(crate) fn busy(&self) -> Load {
        let state = self.state.lock();
        let mut busy = Load::default();
        for in_flight in state.in_flight.values() {
            busy.add(in_flight.load);
        }
        busy
    }

    /// Batches done with that would be delivered again after a crash, and whether that can be changed.
    pub(crate) fn unwritten(&self) -> (u64, bool) {
        let state = self.state.lock();
        (state.unwritten, state.cursor_failing)
    }

    /// Lets another process take the directory. Nothing is written after this.
    pub(crate) fn release(&self) {
        self.close_file();
        self.lock.lock().take();
    }

    /// Whether there are files to remove.
    pub(crate) fn has_removable(&self) -> bool {
        !self.state.lock().removable().is_empty()
    }

    pub(crate) fn disk_bytes_max(&self) -> u64 {
        self.config.disk_bytes_max
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.state.lock().disk_bytes
    }

    /// Writes down what is done and removes files that are no longer needed.
    pub(crate) fn upkeep(&self) {
        let mut writer = self.writer.lock();
        self.write_cursor();
        writer.close_if_delivered(self, self.config.segment_bytes_max);
        self.remove_files();
    }

    fn write_cursor(&self) {
        let (cursor, covered) = {
            let state = self.state.lock();
            if state.unwritten == 0 {
                return;
            }
            let mut open: Vec<u64> = state.in_flight.keys().copied().collect();
            open.extend(&state.reopened);
            let cursor = Cursor {
                spool: self.spool,
                read: state.read,
                open,
            };
            (cursor, state.unwritten)
        };
        let written = cursor.write(&*self.file_system, &self.config.directory);
        let mut state = self.state.lock();
        let failed_before = state.cursor_failing;
        state.cursor_failing = written.is_err();
        match written {
            Ok(()) => state.unwritten -= covered,
            Err(error) => {
                drop(state);
                count(&self.counters.cursor_failures, 1);
                if !failed_before {
                    let directory = self.config.directory.display();
                    tracing::warn!(%error, %directory, "could not write down what is delivered, a crash would deliver it again");
                }
            }
        }
    }

    fn remove_files(&self) {
        let removable = self.state.lock().removable();
        for number in removable {
            let (damaged, lost) = {
                let state = self.state.lock();
                let Some(file) = state.files.get(&number) else {
                    continue;
                };
                (file.damaged || file.live.requests > 0, file.live)
            };
            let path = super::file::file_path(&self.config.directory, number);
            let gone = match damaged {
                true => self.set_aside(&path),
                false => self.file_system.remove(&path),
            };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(%error, path = %path.display(), "could not remove a spool file yet");
                    continue;
                }
                _ => {}
            }
            let mut state = self.state.lock();
            if let Some(file) = state.files.remove(&number) {
                state.disk_bytes = state.disk_bytes.saturating_sub(file.bytes);
            }
            drop(state);
            // Counted in when they were appended, and nowhere to be found when they were due.
            self.lose(&path, lost);
        }
    }

    /// Counts batches that could not be read.
    pub(super) fn lose(&self, path: &std::path::Path, lost: Load) {
        if lost == Load::default() {
            return;
        }
        count(&self.counters.damaged_requests, lost.requests);
        count(&self.counters.damaged_items, lost.items);
        tracing::error!(
            batches = lost.requests,
            items = lost.items,
            path = %path.display(),
            "batches of a damaged spool file are lost"
        );
        self.gate.leave(lost);
    }

    /// Renames a file so that it is not read again and somebody can look at it.
    pub(super) fn set_aside(&self, path: &std::path::Path) -> io::Result<()> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(super::file::DAMAGED_SUFFIX);
        self.file_system.rename(path, std::path::Path::new(&aside))?;
        count(&self.counters.set_aside, 1);
        tracing::error!(path = %std::path::Path::new(&aside).display(), "a damaged spool file was set aside; look at it and remove it");
        Ok(())
    }
}
