//! The write-ahead log: raw batches, durable before they are acknowledged.
//!
//! One thread writes. It takes whatever has queued up, writes it as a group, syncs once, shows the group to readers and
//! wakes the senders. `FORMAT.md` beside this file documents the bytes.
//!
//! Refuses: claiming anything after a failed sync. The file is given up, and the next one, which starts again with the
//! numbers of the refused records and so makes them void, is begun before anybody is told.

mod file;
mod reader;
mod record;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use crate::io::FileSystem;

pub(crate) use file::ClosedFile;
pub(crate) use reader::JournalFiles;
#[cfg(fuzzing)]
pub(crate) use reader::scan_bytes;
pub(crate) use record::Payload;
pub(crate) use writer::{Accepted, Journal, JournalConfig, Pending, QUEUE_BATCHES_MAX, Visible};

/// Newest version of the file format this version reads, and the one it writes.
pub const JOURNAL_FORMAT: u32 = 1;

/// Where log files are, below the data directory.
pub const JOURNAL_DIRECTORY: &str = "journal";
const FILE_SUFFIX: &str = ".wal";

/// The name of a log file; numbers only grow.
fn file_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}{FILE_SUFFIX}"))
}

/// Whether there are log files in a directory.
pub(crate) fn has_files(file_system: &dyn FileSystem, directory: &Path) -> io::Result<bool> {
    let entries = file_system.list(directory)?;
    Ok(entries.iter().any(|entry| file_number(&entry.name).is_some()))
}

fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(FILE_SUFFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
