//! Reading log files after a start: every record that can be read, and a report of what cannot.
//!
//! Refuses: changing files, and panicking, whatever the bytes.

use std::io;
use std::path::{Path, PathBuf};

use cupola_telemetry::Batch;
use memchr::memmem;
use uuid::Uuid;

use super::record::{FILE_HEADER_BYTES, FileHeader, RECORD_MAGIC, RecordHeader, checksum_seed};
use super::{JOURNAL_FORMAT, file_number};
use crate::error::StoreError;
use crate::io::FileSystem;
use crate::report::DamagedRecord;

/// The log files of a directory, in order, with what their headers say.
#[derive(Debug, Default)]
pub(crate) struct JournalFiles {
    pub(crate) files: Vec<JournalFile>,
}

#[derive(Debug, Clone)]
pub(crate) struct JournalFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// `None` when the header is torn or damaged.
    first_sequence: Option<u64>,
}

/// One record read.
#[derive(Debug)]
pub(crate) struct RecoveredRecord {
    pub(crate) sequence: u64,
    pub(crate) received_unix_nano: i64,
    pub(crate) batch: Batch,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct FileScan {
    pub(crate) records: Vec<RecoveredRecord>,
    /// Records whose numbers were used again by a later file.
    pub(crate) void_records: u64,
    pub(crate) torn_bytes: u64,
    pub(crate) damaged: Vec<DamagedRecord>,
    /// Of every intact record, void ones excluded, whether in `records` or not.
    pub(crate) last_sequence: Option<u64>,
}

impl JournalFiles {
    /// Lists the files and reads their headers. A missing directory has none. A file of another log is an error: its
    /// numbers say nothing about the records of this one.
    pub(crate) fn list(
        file_system: &dyn FileSystem,
        directory: &Path,
        journal: Uuid,
    ) -> Result<JournalFiles, StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io {
                action: "read",
                path,
                source,
            }
        };
        let entries = match file_system.list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(JournalFiles::default()),
            listed => listed.map_err(failed(directory))?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let Some(number) = file_number(&entry.name) else {
                continue;
            };
            let path = directory.join(entry.name);
            let bytes = file_system.metadata(&path).map_err(failed(&path))?.bytes;
            let header_bytes = bytes.min(FILE_HEADER_BYTES as u64);
            let header = file_system
                .read_ranges(&path, std::slice::from_ref(&(0..header_bytes)))
                .map_err(failed(&path))?;
            let header = header.first().and_then(|data| FileHeader::decode(data));
            if let Some(found) = header
                .map(|header| header.format)
                .filter(|found| *found > JOURNAL_FORMAT)
            {
                return Err(StoreError::NewerFormat {
                    directory: path,
                    found: found.into(),
                    supported: JOURNAL_FORMAT.into(),
                });
            }
            if let Some(found) = header
                .map(|header| header.journal)
                .filter(|found| *found != journal)
            {
                return Err(StoreError::Inconsistent {
                    path,
                    reason: format!(
                        "it is a file of the log {found}, and this is the log {journal}; move it elsewhere, or put back \
                         the file FORMAT that names its log"
                    ),
                });
            }
            files.push(JournalFile {
                number,
                path,
                first_sequence: header.map(|header| header.first_sequence),
            });
        }
        files.sort_by_key(|file| file.number);
        Ok(JournalFiles { files })
    }

    /// Makes durable what can be read of the files: the end of the last one may be known to the machine alone, and what
    /// later files are said to follow on must not disappear again.
    pub(crate) fn make_durable(
        &self,
        file_system: &dyn FileSystem,
        directory: &Path,
    ) -> Result<(), StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io {
                action: "sync",
                path,
                source,
            }
        };
        for file in &self.files {
            file_system.sync_file(&file.path).map_err(failed(&file.path))?;
        }
        file_system.sync_directory(directory).map_err(failed(directory))
    }

    /// The first sequence number of the oldest file; `None` without files, or when its header is torn or damaged.
    pub(crate) fn first_sequence(&self) -> Option<u64> {
        self.files.first()?.first_sequence
    }

    /// The number of the next file to begin.
    pub(crate) fn next_number(&self) -> u64 {
        self.files.last().map_or(1, |file| file.number + 1)
    }

    /// The highest sequence number any file can begin after.
    pub(crate) fn first_sequence_max(&self) -> Option<u64> {
        self.files.iter().filter_map(|file| file.first_sequence).max()
    }

    /// The first sequence number that files after `index` have taken.
    fn void_from(&self, index: usize) -> Option<u64> {
        let later = self.files.get(index + 1..).unwrap_or_default();
        later.iter().filter_map(|file| file.first_sequence).min()
    }

    /// Whether no record of this file is needed when everything up to `flushed` is in segments.
    pub(crate) fn is_flushed(&self, index: usize, flushed: u64) -> bool {
        self.void_from(index)
            .is_some_and(|first| first <= flushed.saturating_add(1))
    }

    /// Reads the file at `index`; records up to `after` are checked but not given.
    pub(crate) fn scan(
        &self,
        index: usize,
        file_system: &dyn FileSystem,
        journal: Uuid,
        after: u64,
    ) -> Result<FileScan, StoreError> {
        let file = &self.files[index];
        let data = file_system.read(&file.path).map_err(|source| StoreError::Io {
            action: "read",
            path: file.path.clone(),
            source,
        })?;
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let mut scanner = Scanner {
            name: &name,
            data: &data,
            seed: checksum_seed(journal, file.number),
            after,
            void_from: self.void_from(index),
            expected: file.first_sequence,
            scan: FileScan::default(),
        };
        scanner.run();
        Ok(scanner.scan)
    }
}

/// Walks over the bytes of one file.
struct Scanner<'a> {
    name: &'a str,
    data: &'a [u8],
    seed: u32,
    after: u64,
    void_from: Option<u64>,
    /// The sequence number due.
    expected: Option<u64>,
    scan: FileScan,
}

impl Scanner<'_> {
    fn run(&mut self) {
        let mut offset = match self.expected {
            Some(_) => FILE_HEADER_BYTES,
            // Torn while it was made, or damaged: the records name themselves.
            None => self.next_record(0).unwrap_or(self.data.len()),
        };
        if self.expected.is_none() && offset < self.data.len() {
            self.damage(0, offset, "the header of the file is damaged");
        }
        while offset < self.data.len() {
            let rest = &self.data[offset..];
            let Some(header) = RecordHeader::decode(self.seed, rest) else {
                let Some(next) = self.next_record(offset + 1) else {
                    break;
                };
                self.damage(offset, next, "no record starts here");
                offset = next;
                continue;
            };
            let Some(record) = rest.get(..header.record_bytes()) else {
                // It cannot be skipped by its length: unless a record follows, the write was torn.
                let Some(next) = self.next_record(offset + 1) else {
                    break;
                };
                self.damage(offset, next, "the record is cut off");
                offset = next;
                continue;
            };
            let end = offset + record.len();
            match header.batch(record) {
                // Bytes that were doubled must not double rows.
                Ok(_) if self.expected.is_some_and(|due| header.sequence < due) => {
                    self.damage(offset, end, "the record was read before");
                }
                Ok(batch) => self.take(header, batch),
                Err(reason) => {
                    let last = self.next_record(end).is_none();
                    if last && !self.was_acknowledged(header.sequence) {
                        break;
                    }
                    self.damage(offset, end, reason);
                    self.expected = self.expected.max(Some(header.sequence.saturating_add(1)));
                }
            }
            offset = end;
        }
        self.finish(offset);
    }

    fn take(&mut self, header: RecordHeader, batch: Batch) {
        self.expected = Some(header.sequence.saturating_add(1));
        if self.void_from.is_some_and(|first| header.sequence >= first) {
            self.scan.void_records += 1;
            return;
        }
        self.scan.last_sequence = self.scan.last_sequence.max(Some(header.sequence));
        if header.sequence > self.after {
            self.scan.records.push(RecoveredRecord {
                sequence: header.sequence,
                received_unix_nano: header.received_unix_nano,
                batch,
            });
        }
    }

    /// A later file proves that the number was acknowledged; without one nobody knows.
    fn was_acknowledged(&self, sequence: u64) -> bool {
        self.void_from.is_some_and(|first| sequence < first)
    }

    fn finish(&mut self, end: usize) {
        let left = self.data.len() - end.min(self.data.len());
        let missing = self
            .expected
            .is_some_and(|expected| self.was_acknowledged(expected));
        if missing {
            self.damage(end, self.data.len(), "the end of the file is missing or damaged");
        } else {
            self.scan.torn_bytes += left as u64;
        }
    }

    /// The next intact record header at or after `from`.
    fn next_record(&self, from: usize) -> Option<usize> {
        let data = self.data.get(from..)?;
        memmem::find_iter(data, RECORD_MAGIC)
            .map(|found| from + found)
            .find(|offset| RecordHeader::decode(self.seed, &self.data[*offset..]).is_some())
    }

    fn damage(&mut self, start: usize, end: usize, reason: &str) {
        // Whatever is here was refused, and its numbers used again.
        if self
            .expected
            .is_some_and(|due| self.void_from.is_some_and(|first| due >= first))
        {
            self.scan.torn_bytes += (end - start) as u64;
            return;
        }
        self.scan.damaged.push(DamagedRecord {
            file: self.name.to_owned(),
            offset: start as u64,
            bytes: (end - start) as u64,
            reason: reason.to_owned(),
        });
    }
}

/// One file's bytes, for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn scan_bytes(data: &[u8], after: u64, void_from: Option<u64>) -> FileScan {
    let mut scanner = Scanner {
        name: "fuzz",
        data,
        seed: checksum_seed(Uuid::nil(), 1),
        after,
        void_from,
        expected: FileHeader::decode(data).map(|header| header.first_sequence),
        scan: FileScan::default(),
    };
    scanner.run();
    scanner.scan
}
