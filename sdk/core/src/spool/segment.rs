//! A segment: records of one signal in memory that is a file.
//!
//! ```text
//! 8 bytes magic, 1 byte signal, 7 bytes zero, 8 bytes how much has been written (behind these 24), then entries:
//!   4 bytes length n, 4 bytes scope, n bytes
//! ```
//!
//! Numbers have their lowest byte first. `scope` is where the entry with the scope begins (behind the header, plus one), zero
//! for none, and `u32::MAX` in an entry that is itself a scope: 4 bytes length of the message, the message, the schema's URL.
//! How much has been written is set after what was written, so that whatever a crash leaves is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_telemetry::Signal;
use memmap2::MmapMut;

use super::WithRecord;
use crate::recorder::Scope;

const MAGIC: [u8; 8] = *b"CUPOLA\x00\x01";
const HEADER_BYTES: usize = 24;
const SIGNAL_AT: usize = 8;
const WRITTEN_AT: usize = 16;
const ENTRY_BYTES: usize = 8;
const IS_SCOPE: u32 = u32::MAX;
/// Of a file; longer for one record that is longer.
pub(super) const SEGMENT_BYTES: usize = 256 * 1024;

/// A file that records are written to.
#[derive(Debug)]
pub(crate) struct Segment {
    map: MmapMut,
    path: PathBuf,
    signal: Signal,
    written: usize,
    /// Scopes that are in it, and where.
    scopes: Vec<(Scope, u32)>,
}

impl Segment {
    /// Makes a file with room for a record of so many bytes.
    pub(super) fn create(path: PathBuf, signal: Signal, record_bytes: usize) -> io::Result<Segment> {
        let bytes = SEGMENT_BYTES.max(HEADER_BYTES + needed(record_bytes, None) + SCOPE_BYTES_USUAL);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let made = fill(&file, bytes).and_then(|()| {
            // SAFETY: the file is ours alone. Somebody who truncates it, against the lock, ends the process.
            unsafe { MmapMut::map_mut(&file) }
        });
        let mut map = match made {
            Ok(map) => map,
            Err(error) => {
                // What there was room for is given back.
                let _ = std::fs::remove_file(&path);
                return Err(error);
            }
        };
        map[..MAGIC.len()].copy_from_slice(&MAGIC);
        map[SIGNAL_AT] = number_of(signal);
        Ok(Segment {
            map,
            path,
            signal,
            written: 0,
            scopes: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Whether it is of the usual size, and worth keeping for other records.
    pub(super) fn is_usual(&self) -> bool {
        self.map.len() == SEGMENT_BYTES
    }

    /// Adds a record. `false` if it has no room for it.
    pub(crate) fn add(&mut self, scope: Scope, record: &[u8]) -> bool {
        let known = match scope == Scope::nameless() {
            true => Some(0),
            false => self
                .scopes
                .iter()
                .find(|(known, _)| *known == scope)
                .map(|(_, at)| *at),
        };
        let described = known.is_none().then_some(scope);
        if self.map.len() - HEADER_BYTES - self.written < needed(record.len(), described) {
            return false;
        }
        let at = known.unwrap_or_else(|| self.add_scope(scope));
        self.add_entry(at, &[record]);
        // After all of it: a crash before leaves the entry out, one after leaves it whole.
        self.written_cell().store(self.written as u64, Ordering::Release);
        true
    }

    fn add_scope(&mut self, scope: Scope) -> u32 {
        let at = self.written as u32 + 1;
        let length = (scope.message().len() as u32).to_le_bytes();
        self.add_entry(
            IS_SCOPE,
            &[&length, scope.message(), scope.schema_url().as_bytes()],
        );
        self.scopes.push((scope, at));
        at
    }

    fn add_entry(&mut self, scope: u32, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut at = HEADER_BYTES + self.written;
        let head = [(length as u32).to_le_bytes(), scope.to_le_bytes()];
        for part in head.iter().map(<[u8; 4]>::as_slice).chain(parts.iter().copied()) {
            self.map[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.written = at - HEADER_BYTES;
    }

    fn written_cell(&self) -> &AtomicU64 {
        // SAFETY: in bounds, since no segment is shorter than its header; aligned, since a mapping begins with a page; and
        // written to by nothing else while `self` is borrowed.
        unsafe { AtomicU64::from_ptr(self.map.as_ptr().add(WRITTEN_AT).cast_mut().cast()) }
    }

    /// Begins anew: what was in it is elsewhere.
    pub(super) fn clear(&mut self) {
        self.written = 0;
        self.scopes.clear();
        self.written_cell().store(0, Ordering::Release);
    }

    /// Takes its file away.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Room that is kept for a scope beside a record that has a file of its own.
const SCOPE_BYTES_USUAL: usize = 64 * 1024;

/// Bytes that a record takes, with a description of its scope.
fn needed(record_bytes: usize, scope: Option<Scope>) -> usize {
    let described = scope.map_or(0, |scope| {
        ENTRY_BYTES + 4 + scope.message().len() + scope.schema_url().len()
    });
    described + ENTRY_BYTES + record_bytes
}

/// Fills a file with zeros: from then on what is written to its memory needs no more room on the disk.
fn fill(mut file: &File, bytes: usize) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let step = left.min(ZEROS.len());
        file.write_all(&ZEROS[..step])?;
        left -= step;
    }
    Ok(())
}

fn number_of(signal: Signal) -> u8 {
    match signal {
        Signal::Logs => 1,
        Signal::Metrics => 2,
        Signal::Traces => 3,
    }
}

fn signal_of(number: u8) -> Option<Signal> {
    match number {
        1 => Some(Signal::Logs),
        2 => Some(Signal::Metrics),
        3 => Some(Signal::Traces),
        _ => None,
    }
}

/// What is in a segment that a process has left.
#[derive(Debug)]
pub(crate) struct SegmentRecords {
    signal: Signal,
    bytes: Vec<u8>,
}

impl SegmentRecords {
    /// Reads a file; `None` if it is no segment, which one is not whose making was cut short.
    pub(crate) fn read(path: &Path) -> io::Result<Option<SegmentRecords>> {
        Ok(SegmentRecords::of(std::fs::read(path)?))
    }

    /// The same of what is in a file.
    pub(crate) fn of(mut bytes: Vec<u8>) -> Option<SegmentRecords> {
        if bytes.len() < HEADER_BYTES || bytes[..MAGIC.len()] != MAGIC {
            return None;
        }
        let signal = signal_of(bytes[SIGNAL_AT])?;
        let written = number_at(&bytes, WRITTEN_AT, 8).unwrap_or(0) as usize;
        bytes.truncate(HEADER_BYTES.saturating_add(written));
        bytes.drain(..HEADER_BYTES);
        Some(SegmentRecords { signal, bytes })
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Hands each record to `with`; ends at what cannot be read. How many there were.
    pub(crate) fn each(&self, with: WithRecord<'_>) -> u64 {
        let (mut at, mut count) = (0, 0);
        while let Some((length, scope, bytes)) = self.entry(at) {
            at += ENTRY_BYTES + length;
            if scope == IS_SCOPE {
                continue;
            }
            let scope = match scope.checked_sub(1) {
                None => Some(Scope::nameless()),
                Some(at) => self.scope(at as usize),
            };
            with(scope.unwrap_or(Scope::nameless()), bytes);
            count += 1;
        }
        count
    }

    fn entry(&self, at: usize) -> Option<(usize, u32, &[u8])> {
        let length = number_at(&self.bytes, at, 4)? as usize;
        let scope = number_at(&self.bytes, at.checked_add(4)?, 4)? as u32;
        let start = at.checked_add(ENTRY_BYTES)?;
        let bytes = self.bytes.get(start..start.checked_add(length)?)?;
        Some((length, scope, bytes))
    }

    fn scope(&self, at: usize) -> Option<Scope> {
        let (_, kind, bytes) = self.entry(at)?;
        let length = number_at(bytes, 0, 4)? as usize;
        let message = bytes.get(4..length.checked_add(4)?)?;
        let schema_url = std::str::from_utf8(bytes.get(length + 4..)?).ok()?;
        (kind == IS_SCOPE).then(|| Scope::of_message(message, schema_url))
    }
}

/// The number of `length` bytes, at most 8.
fn number_at(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &Path) -> Vec<(Scope, Vec<u8>)> {
        let mut all = Vec::new();
        let records = SegmentRecords::read(path).unwrap().unwrap();
        assert_eq!(records.signal(), Signal::Traces);
        let count = records.each(&mut |scope, record| all.push((scope, record.to_vec())));
        assert_eq!(count as usize, all.len());
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever was added is read from the file as it is at any moment, without anything being closed.
        #[test]
        fn what_was_added_is_in_the_file(
            added in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..40_000)), 0..20)
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("one");
            let mut segment = Segment::create(path.clone(), Signal::Traces, 10).unwrap();
            let mut wanted = Vec::new();
            for (number, record) in added {
                let scope = match number {
                    0 => Scope::nameless(),
                    n => Scope::of(&format!("scope {n}"), "1", "https://schema", &[]),
                };
                if segment.add(scope, &record) {
                    wanted.push((scope, record));
                }
                prop_assert_eq!(&read(&path), &wanted);
            }
            segment.clear();
            prop_assert_eq!(read(&path), vec![]);
            prop_assert!(segment.add(Scope::of("scope 1", "1", "https://schema", &[]), b"again"));
            prop_assert_eq!(read(&path).len(), 1);
        }

        /// Files that somebody else wrote are read without a panic.
        #[test]
        fn hostile_files_are_read_as_far_as_they_go(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            is_headed in any::<bool>(),
        ) {
            if is_headed && bytes.len() >= HEADER_BYTES {
                bytes[..8].copy_from_slice(&MAGIC);
                bytes[SIGNAL_AT] = 1;
            }
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("one");
            std::fs::write(&path, &bytes).unwrap();
            if let Some(records) = SegmentRecords::read(&path).unwrap() {
                let mut total = 0;
                records.each(&mut |_, record| total += record.len());
                prop_assert!(total <= bytes.len());
            }
        }
    }

    #[test]
    fn a_record_longer_than_a_segment_has_one_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        let record = vec![7; 3 * SEGMENT_BYTES];
        let mut segment = Segment::create(path.clone(), Signal::Traces, record.len()).unwrap();
        assert!(!segment.is_usual() && segment.add(Scope::of("any", "", "", &[]), &record));
        assert_eq!(read(&path)[0].1, record);
        segment.remove();
        assert!(!path.exists());
    }
}
