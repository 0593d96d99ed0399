//! The file system as queues and dead letters see it: few operations, each of which a test can make fail or forget.
//!
//! Refuses: hidden syncing. Data is durable after [`WritableFile::sync`], names after [`FileSystem::sync_directory`].

mod disk;
#[cfg(test)]
pub(crate) mod simulated;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub use disk::{Disk, LockWatch, watch_locks};

/// A file system. Every call may block.
pub trait FileSystem: Debug + Send + Sync + 'static {
    /// A new, empty file; an error if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// At most `bytes` of a file from `offset` on; fewer only where it ends.
    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<Vec<u8>>;
    fn size(&self, path: &Path) -> io::Result<u64>;
    /// Cuts a file, durably.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Replaces what `to` names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory and its missing parents, durably.
    fn create_directories(&self, path: &Path) -> io::Result<()>;
    /// Names of the files of a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Takes an exclusive lock that ends with the process at the latest; an error of kind `WouldBlock` if it is taken.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// A file being written.
pub trait WritableFile: Debug + Send {
    /// May have written a part when it fails.
    fn write_all(&mut self, data: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to this length and goes on writing there.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// A held lock; dropping it releases.
pub trait Lock: Debug + Send + Sync {}

/// Writes a file so that after a crash it is there completely or not at all.
pub(crate) fn write_durably(
    file_system: &dyn FileSystem,
    path: &Path,
    temporary: &Path,
    data: &[u8],
) -> io::Result<()> {
    // Left by an attempt that failed.
    match file_system.remove(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let stage = || {
        let mut file = file_system.create(temporary)?;
        file.write_all(data)?;
        file.sync()
    };
    if let Err(error) = stage().and_then(|()| file_system.rename(temporary, path)) {
        let _ = file_system.remove(temporary);
        return Err(error);
    }
    match path.parent() {
        Some(parent) => file_system.sync_directory(parent),
        None => Ok(()),
    }
}

/// Whether an error says that there is no room, which may change.
pub(crate) fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
