//! One spool file: its header, and writing a group to it, knowing when not to touch it again.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{WritableFile, is_storage_full};
use crate::record::{read_u32, read_u64};

/// Newest version of the file format this version reads, and the one it writes.
pub const SPOOL_FORMAT: u32 = 1;
pub(super) const FILE_HEADER_BYTES: usize = 64;
const FILE_MAGIC: &[u8; 8] = b"CUPOLASP";
const FILE_SUFFIX: &str = ".spool";
/// Appended to the name of a file that was set aside.
pub(super) const DAMAGED_SUFFIX: &str = ".damaged";

/// The name of a file; numbers only grow.
pub(super) fn file_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}{FILE_SUFFIX}"))
}

pub(super) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(FILE_SUFFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) format: u32,
    /// No record of the file has a lower number.
    pub(super) first: u64,
    /// The last number acknowledged before. What has a number between the two was refused: it is void.
    pub(super) previous: u64,
    pub(super) spool: [u8; 16],
    pub(super) number: u64,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut data = [0; FILE_HEADER_BYTES];
        data[..8].copy_from_slice(FILE_MAGIC);
        data[8..12].copy_from_slice(&self.format.to_le_bytes());
        data[16..24].copy_from_slice(&self.first.to_le_bytes());
        data[24..32].copy_from_slice(&self.previous.to_le_bytes());
        data[32..48].copy_from_slice(&self.spool);
        data[48..56].copy_from_slice(&self.number.to_le_bytes());
        let checksum = crc32fast::hash(&data[..56]);
        data[56..60].copy_from_slice(&checksum.to_le_bytes());
        data
    }

    /// `None` when this is no header, or a damaged one.
    pub(super) fn decode(data: &[u8]) -> Option<FileHeader> {
        let data = data.get(..FILE_HEADER_BYTES)?;
        if &data[..8] != FILE_MAGIC || read_u32(data, 56) != crc32fast::hash(&data[..56]) {
            return None;
        }
        let mut spool = [0; 16];
        spool.copy_from_slice(&data[32..48]);
        Some(FileHeader {
            format: read_u32(data, 8),
            first: read_u64(data, 16),
            previous: read_u64(data, 24),
            spool,
            number: read_u64(data, 48),
        })
    }
}

/// The file that is being written.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) number: u64,
    pub(super) file: Box<dyn WritableFile>,
    pub(super) seed: u32,
    /// Everything before is synced.
    pub(super) bytes: u64,
}

/// A write or sync that failed, and whether the file can go on being used.
#[derive(Debug)]
pub(super) struct WriteFailure {
    pub(super) error: io::Error,
    pub(super) usable: bool,
}

impl OpenFile {
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), WriteFailure> {
        if let Err(error) = self.file.write_all(data) {
            // Cut what was written of it, for good: some of its records may be whole. Only after a full disk is the rest
            // of the file beyond doubt.
            let cut = self.file.truncate(self.bytes).and_then(|()| self.file.sync());
            return Err(WriteFailure {
                usable: cut.is_ok() && is_storage_full(&error),
                error,
            });
        }
        // Sync before acknowledging: a lost acknowledgement is repeated, a lost batch is gone. After a failed sync the
        // kernel may have dropped the pages and will call the next one a success: never again in this file.
        if let Err(error) = self.file.sync() {
            let _ = self.file.truncate(self.bytes);
            return Err(WriteFailure { error, usable: false });
        }
        self.bytes += data.len() as u64;
        Ok(())
    }
}
