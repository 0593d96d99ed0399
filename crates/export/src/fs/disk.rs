//! The file system of the machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::OnceLock;

use super::{FileSystem, Lock, WritableFile};

/// The file system of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

#[derive(Debug)]
struct DiskFile(File);

impl WritableFile for DiskFile {
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.write_all(data)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)?;
        self.0.seek(SeekFrom::Start(bytes)).map(|_| ())
    }
}

/// Told of files while there is a lock on them. For programs that fork: the lock is there as long as a child has the file open,
/// which therefore has to close it.
#[derive(Clone, Copy, Debug)]
pub struct LockWatch {
    pub locked: fn(RawFd),
    /// Before the file is closed.
    pub unlocked: fn(RawFd),
}

static WATCH: OnceLock<LockWatch> = OnceLock::new();

/// Has it told of the locks that this process takes from now on. There is one of these: the first.
pub fn watch_locks(watch: LockWatch) {
    let _ = WATCH.set(watch);
}

#[derive(Debug)]
struct DiskLock(File);

impl DiskLock {
    fn new(file: File) -> DiskLock {
        if let Some(watch) = WATCH.get() {
            (watch.locked)(file.as_raw_fd());
        }
        DiskLock(file)
    }
}

impl Drop for DiskLock {
    /// Also where the child of a fork has the file open still.
    fn drop(&mut self) {
        if let Some(watch) = WATCH.get() {
            (watch.unlocked)(self.0.as_raw_fd());
        }
        let _ = self.0.unlock();
    }
}

impl Lock for DiskLock {}

impl FileSystem for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            // Telemetry, and headers of those who sent it, are nobody else's business.
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(DiskFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut data = Vec::with_capacity(bytes);
        file.take(bytes as u64).read_to_end(&mut data)?;
        Ok(data)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|metadata| metadata.len())
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.create_directories(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
                return Err(error);
            }
            _ => {}
        }
        self.sync_directory(match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(DiskLock::new(file))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
