//! One log file: writing a group to it, and knowing when not to touch it again.

use std::io;
use std::path::PathBuf;

use crate::io::WritableFile;

/// A file that is not written any more.
#[derive(Debug, Clone)]
pub(crate) struct ClosedFile {
    pub(crate) path: PathBuf,
    /// Its records are not needed when everything up to here is in segments.
    pub(crate) last_sequence: u64,
}

#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn WritableFile>,
    pub(super) seed: u32,
    pub(super) first_sequence: u64,
    /// Everything before is synced.
    pub(super) bytes: u64,
}

/// A write or sync that failed, and whether the file can go on being used.
pub(super) struct WriteFailure {
    pub(super) error: io::Error,
    pub(super) usable: bool,
}

impl OpenFile {
    pub(super) fn append(&mut self, data: &[u8]) -> Result<u64, WriteFailure> {
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
        self.file
            .sync()
            .map_err(|error| WriteFailure { error, usable: false })?;
        self.bytes += data.len() as u64;
        Ok(data.len() as u64)
    }
}

pub(super) fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
