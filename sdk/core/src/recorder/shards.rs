//! What each thread has recorded, the bound on all of it, and how it is taken.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use cupola_telemetry::Signal;

use super::scope::Scope;
use super::{Recorder, Wanted};
use crate::fork::ProcessCount;
use crate::per_thread::PerThread;
use crate::spool::{Segment, Spool};

/// Memory is asked for in steps of this size, so that threads seldom meet at the counter.
const STEP_BYTES: usize = 16 * 1024;
/// A thread that has recorded so much asks for an export. What each of them costs, a request and its answer, is shared by so many.
const MUCH_BYTES: usize = 256 * 1024;
/// Room for the records of a thread, when it has the first; made as it is written to.
const FIRST_BYTES: usize = 64 * 1024;
/// Larger buffers are not kept for the next records.
const SPARE_BYTES_MAX: usize = 4 * MUCH_BYTES;
/// What a record takes beside its bytes.
const RECORD_BYTES: usize = size_of::<(Scope, usize)>();

/// Records one behind the other.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    ends: Vec<(Scope, usize)>,
    /// Counted as held.
    reserved: usize,
    /// Where the records are as well, so that they survive a crash; none without a spool.
    segments: Vec<Segment>,
}

/// A record that was added.
pub(super) struct Added {
    /// It is the first of its thread since the records were taken.
    pub(super) is_first: bool,
    /// With it, the thread has recorded as much as is worth an export, or there is little room left for all of them.
    pub(super) is_much: bool,
}

impl Records {
    /// Adds what `write` writes, which is `bytes_max` at most.
    #[inline]
    fn add(
        &mut self,
        scope: Scope,
        bytes_max: usize,
        held: &Held,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Added> {
        let start = self.bytes.len();
        let needed = start + bytes_max + (self.ends.len() + 1) * RECORD_BYTES;
        let mut is_much = false;
        if needed > self.reserved {
            is_much = self.reserve(needed - self.reserved, held)?;
            if self.bytes.capacity() == 0 {
                self.bytes.reserve(bytes_max.max(FIRST_BYTES));
            }
        }
        write(&mut self.bytes);
        if let Some((spool, signal)) = &held.spool {
            keep(&mut self.segments, scope, &self.bytes[start..], spool, *signal);
        }
        self.ends.push((scope, self.bytes.len()));
        Some(Added {
            is_first: self.ends.len() == 1,
            is_much: is_much || start < MUCH_BYTES && self.bytes.len() >= MUCH_BYTES,
        })
    }

    /// Has so much more memory counted as held, and a little beyond; `None` if there is not so much. Whether all threads
    /// together hold much now.
    #[cold]
    fn reserve(&mut self, bytes: usize, held: &Held) -> Option<bool> {
        let step = bytes.next_multiple_of(STEP_BYTES);
        if !held.count.try_add(step as u64, held.max) {
            return None;
        }
        self.reserved += step;
        Some(held.count.get() >= held.max / 2)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Scope, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(scope, end)| {
            let record = &self.bytes[start..*end];
            start = *end;
            (*scope, record)
        })
    }

    /// Whether it is worth keeping when it is empty.
    fn is_small(&self) -> bool {
        self.bytes.capacity() + self.ends.capacity() * RECORD_BYTES <= SPARE_BYTES_MAX
    }
}

/// Writes a record where it survives a crash. Where that cannot be, which is said, it is in memory alone.
fn keep(segments: &mut Vec<Segment>, scope: Scope, record: &[u8], spool: &Spool, signal: Signal) {
    let last = segments.last_mut();
    if last.is_some_and(|segment| segment.add(scope, record)) {
        return;
    }
    let mut segment = spool.segment(signal, record.len());
    let is_kept = segment.as_mut().is_some_and(|segment| segment.add(scope, record));
    if !is_kept {
        spool.note_unkept();
    }
    segments.extend(segment);
}

/// Bytes that records of this process take.
struct Held {
    count: ProcessCount,
    max: u64,
    spool: Option<(Arc<Spool>, Signal)>,
}

/// What all threads have recorded.
pub(super) struct Shards {
    threads: PerThread<Records>,
    held: Held,
    /// An emptied buffer for the next records: with one thread, the same two for ever.
    spare: Mutex<Records>,
}

impl Recorder {
    /// Like [`record`](Recorder::record), of what the SDK writes itself and knows to take `bytes_max` bytes at most: it is written
    /// where it stays.
    #[inline]
    pub(crate) fn record_sized(
        &self,
        scope: Scope,
        bytes_max: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(added) = self.shards.add_sized(scope, bytes_max, write) else {
            self.dropped.add(1);
            return false;
        };
        if added.is_much {
            (self.wake)(Wanted::Much);
        } else if added.is_first {
            (self.wake)(Wanted::First);
        }
        true
    }
}

thread_local! {
    /// Where a record is written before there is known to be room for it, and without a lock: what writes it is code of the
    /// application, which may take its time or fail.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Shards {
    /// Of so many bytes together, kept in a spool as records of that signal if there is one.
    pub(super) fn new(bytes_max: usize, spool: Option<(Arc<Spool>, Signal)>) -> Shards {
        Shards {
            threads: PerThread::new(),
            held: Held {
                count: ProcessCount::new(),
                max: bytes_max as u64,
                spool,
            },
            spare: Mutex::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.held.count.get() as usize
    }

    /// Adds a record to those of this thread; `None` if there is no room, or if it is made while another is being written.
    #[inline]
    pub(super) fn add(&self, scope: Scope, write: impl FnOnce(&mut Vec<u8>)) -> Option<Added> {
        let mut write = Some(write);
        let added = SCRATCH.try_with(|scratch| {
            let mut scratch = scratch.try_borrow_mut().ok()?;
            scratch.clear();
            write.take()?(&mut scratch);
            let added = self.keep(scope, &scratch);
            if scratch.capacity() > FIRST_BYTES {
                *scratch = Vec::new();
            }
            added
        });
        match (added, write) {
            (Ok(added), _) => added,
            // The thread is ending, and what it kept is gone.
            (Err(_), Some(write)) => {
                let mut record = Vec::new();
                write(&mut record);
                self.keep(scope, &record)
            }
            (Err(_), None) => None,
        }
    }

    #[inline]
    fn keep(&self, scope: Scope, record: &[u8]) -> Option<Added> {
        self.add_sized(scope, record.len(), |out| out.extend_from_slice(record))
    }

    /// Adds a record of at most `bytes_max` bytes to those of this thread, and writes it right there, with their lock: `write` may
    /// neither wait, nor fail, nor call code of the application. `None` if there is no room.
    #[inline]
    fn add_sized(&self, scope: Scope, bytes_max: usize, write: impl FnOnce(&mut Vec<u8>)) -> Option<Added> {
        self.threads
            .with(|records| records.add(scope, bytes_max, &self.held, write))
            .flatten()
    }

    /// Gives back segments whose records are elsewhere now.
    pub(super) fn release(&self, segments: Vec<Segment>) {
        if let Some((spool, _)) = &self.held.spool {
            segments.into_iter().for_each(|segment| spool.release(segment));
        }
    }

    /// Hands all that waits in this process to `with`, thread by thread. What is given back has kept the records for the case of
    /// a crash.
    pub(super) fn take_all(&self, mut with: impl FnMut(&Records)) -> Vec<Segment> {
        let mut segments = Vec::new();
        // Not waited for: in the child of a fork, nobody may be there to let it go.
        let mut kept = self.spare.try_lock().ok();
        let mut spare = kept.as_deref_mut().map(std::mem::take);
        for mut records in self.threads.values() {
            if records.ends.is_empty() {
                continue;
            }
            let mut taken = std::mem::replace(&mut *records, spare.take().unwrap_or_default());
            drop(records);
            with(&taken);
            self.held.count.subtract(taken.reserved as u64);
            segments.append(&mut taken.segments);
            if let Some(kept) = kept.as_deref_mut()
                && taken.is_small()
            {
                taken.bytes.clear();
                taken.ends.clear();
                taken.reserved = 0;
                *kept = taken;
            }
        }
        if let (Some(kept), Some(unused)) = (kept.as_deref_mut(), spare) {
            *kept = unused;
        }
        segments
    }
}
