//! The file system as the store sees it: few operations, each of which a test can make fail or forget.
//!
//! Refuses: hidden syncing. Data is durable after [`WritableFile::sync`], names after [`FileSystem::sync_directory`].

mod disk;
mod objects;

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

pub use disk::Disk;
pub use objects::DurableObjects;
pub(crate) use objects::{TEMPORARY_DIRECTORY, is_temporary};

/// A file system. Every call may block.
pub trait FileSystem: Debug + Send + Sync + 'static {
    /// A new, empty file; an error if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Parts of a file; an error when it ends before.
    fn read_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>>;
    /// The file itself, where there is one.
    fn open(&self, path: &Path) -> io::Result<Option<File>>;
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Replaces what `to` names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A second name for a file; an error of kind `AlreadyExists` if the name is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes data of a file durable that another process may have written.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory and its missing parents, durably; those that are there as well, for whoever made them may have
    /// ended before that.
    fn create_directories(&self, path: &Path) -> io::Result<()>;
    /// Entries of a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Takes an exclusive lock that ends with the process at the latest; an error of kind `WouldBlock` if it is taken.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Box<dyn Lock>>;
}

/// A file being written.
pub trait WritableFile: Debug + Send {
    fn write_all(&mut self, data: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to this length and goes on writing there.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// A held lock; dropping it releases.
pub trait Lock: Debug + Send + Sync {}

#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub is_directory: bool,
}

#[derive(Debug, Clone)]
pub struct Metadata {
    pub bytes: u64,
    pub is_directory: bool,
    pub modified: SystemTime,
}

/// Writes a file so that after a crash it is there completely or not at all.
pub(crate) fn write_durably(
    file_system: &dyn FileSystem,
    path: &Path,
    temporary: &Path,
    data: &[u8],
) -> io::Result<()> {
    let written = stage(file_system, temporary, data).and_then(|()| file_system.rename(temporary, path));
    if let Err(error) = written {
        let _ = file_system.remove(temporary);
        return Err(error);
    }
    match path.parent() {
        Some(parent) => file_system.sync_directory(parent),
        None => Ok(()),
    }
}

/// Writes and syncs a file that nothing refers to yet.
fn stage(file_system: &dyn FileSystem, path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = file_system.create(path)?;
    file.write_all(data)?;
    file.sync()
}
