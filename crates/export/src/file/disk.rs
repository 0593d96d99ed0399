//! The few operations that decide whether a line is safe, so that a test can have each of them fail.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

pub(super) trait Disk: Send + 'static {
    /// Writes all of `bytes` at the end; on an error any part of it may have been written.
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, file: &File) -> io::Result<()>;
    fn truncate(&mut self, file: &File, length: u64) -> io::Result<()>;
    /// Renames durably: synced with its directory.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
}

pub(super) struct LocalDisk;

impl Disk for LocalDisk {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&mut self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_directory(from)
    }
}

/// Makes the name of a file durable.
pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
