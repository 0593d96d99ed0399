//! The file system of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use hashbrown::HashSet;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use super::{Entry, FileSystem, Lock, Metadata, WritableFile};

/// Directories whose names this process has made durable.
static DURABLE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);
/// How many of them it remembers; the rest is made durable again.
const DURABLE_MAX: usize = 65_536;

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

#[derive(Debug)]
struct DiskLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl Lock for DiskLock {}

impl FileSystem for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(DiskFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        ranges
            .iter()
            .map(|range| {
                if range.end > bytes || range.start > range.end {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
                let mut data = vec![0; length];
                file.read_exact_at(&mut data, range.start)?;
                Ok(data)
            })
            .collect()
    }

    fn open(&self, path: &Path) -> io::Result<Option<File>> {
        File::open(path).map(Some)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        Ok(Metadata {
            bytes: metadata.len(),
            is_directory: metadata.is_dir(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        DURABLE.lock().remove(path);
        fs::remove_dir(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let exists = path.is_dir();
        if exists && DURABLE.lock().contains(path) {
            return Ok(());
        }
        let parent = path.parent().map(|parent| match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        });
        if let Some(parent) = parent.filter(|parent| *parent != Path::new(".")) {
            self.create_directories(parent)?;
        }
        if !exists {
            match fs::create_dir(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        match parent.map_or(Ok(()), |parent| self.sync_directory(parent)) {
            // Of a directory that only others may look into: they made it.
            Err(error) if exists && error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
        let mut durable = DURABLE.lock();
        if durable.len() >= DURABLE_MAX {
            durable.clear();
        }
        durable.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_directory: entry.file_type()?.is_dir(),
                })
            })
            .collect()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Box<dyn Lock>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            let mut other = String::new();
            let _ = file.read_to_string(&mut other);
            let error = io::Error::from(error);
            return Err(io::Error::new(error.kind(), other.trim().to_owned()));
        }
        // Only a hint for whoever finds the lock taken.
        let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Box::new(DiskLock(file)))
    }
}
