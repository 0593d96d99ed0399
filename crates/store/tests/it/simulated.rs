//! A file system in memory that forgets what was not synced, fails when told to, and crashes at a chosen operation.

mod reboot;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use cupola_store::io::{Entry, FileSystem, Lock, Metadata, WritableFile};

pub(crate) use reboot::Survival;

#[derive(Debug, Clone)]
pub(crate) struct Simulated {
    disk: Arc<Mutex<Disk>>,
    /// Something about [`Disk::held`] or [`Disk::held_syncs`] has changed.
    changed: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    directories: BTreeSet<PathBuf>,
    durable_directories: BTreeSet<PathBuf>,
    /// Directories whose names this process has made durable.
    known_directories: BTreeSet<PathBuf>,
    files: BTreeMap<u64, Content>,
    locks: BTreeSet<PathBuf>,
    next_file: u64,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// Bytes all files together may have.
    capacity: Option<usize>,
    /// Syncs that fail from now on.
    failing_syncs: u32,
    failing_writes: u32,
    /// No file gets a name in this directory.
    failing_names: Option<PathBuf>,
    /// Names in this directory cannot be made durable.
    failing_directory_syncs: Option<PathBuf>,
    /// Files wait for their names below this directory.
    held: Option<PathBuf>,
    /// Open files wait for their syncs.
    held_syncs: bool,
    /// So many of either do.
    waiting: usize,
}

#[derive(Debug, Clone, Default)]
struct Content {
    data: Vec<u8>,
    synced: Vec<u8>,
    /// A sync failed: the pages count as clean, and never reach the disk.
    lost: bool,
}

impl Simulated {
    pub(crate) fn new() -> Simulated {
        Simulated::of(Disk::default())
    }

    fn of(disk: Disk) -> Simulated {
        Simulated {
            disk: Arc::new(Mutex::new(disk)),
            changed: Arc::default(),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Operations that change something, so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// From this operation on nothing happens any more.
    pub(crate) fn crash_at(&self, operation: u64) {
        self.disk().crash_at = Some(operation);
    }

    pub(crate) fn crash_now(&self) {
        self.disk().crashed = true;
    }

    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.disk().capacity = bytes;
    }

    pub(crate) fn used(&self) -> usize {
        self.disk().files.values().map(|file| file.data.len()).sum()
    }

    pub(crate) fn fail_syncs(&self, count: u32) {
        self.disk().failing_syncs = count;
    }

    pub(crate) fn fail_writes(&self, count: u32) {
        self.disk().failing_writes = count;
    }

    /// From now on files wait for their names below this directory.
    pub(crate) fn hold_names_below(&self, directory: Option<&str>) {
        self.disk().held = directory.map(PathBuf::from);
        self.changed.notify_all();
    }

    /// From now on syncs of open files wait.
    pub(crate) fn hold_syncs(&self, held: bool) {
        self.disk().held_syncs = held;
        self.changed.notify_all();
    }

    /// Returns when a file waits for its name or its sync.
    pub(crate) async fn wait_for_held(&self) {
        let held = self.clone();
        let wait = move || {
            let is_waiting = held.changed.wait_while(held.disk(), |disk| disk.waiting == 0);
            drop(is_waiting);
        };
        tokio::task::spawn_blocking(wait).await.unwrap();
    }

    /// Waits as long as the disk is held in this way.
    fn wait_while(&self, is_held: impl Fn(&Disk) -> bool) -> MutexGuard<'_, Disk> {
        let mut disk = self.disk();
        if !is_held(&disk) {
            return disk;
        }
        disk.waiting += 1;
        self.changed.notify_all();
        let mut disk = self
            .changed
            .wait_while(disk, |disk| is_held(disk))
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        disk.waiting -= 1;
        disk
    }

    /// From now on no file gets a name in this directory.
    pub(crate) fn fail_names_in(&self, directory: Option<&str>) {
        self.disk().failing_names = directory.map(PathBuf::from);
    }

    /// From now on names in this directory cannot be made durable, although they are there.
    pub(crate) fn fail_directory_syncs_of(&self, directory: Option<&str>) {
        self.disk().failing_directory_syncs = directory.map(PathBuf::from);
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.disk().names.keys().cloned().collect()
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let id = disk.names[path];
        let file = disk.files.entry(id).or_default();
        change(&mut file.data);
        file.synced = file.data.clone();
    }
}

fn crashed() -> io::Error {
    io::Error::other("the machine is off")
}

fn kind(kind: ErrorKind) -> io::Error {
    kind.into()
}

impl Disk {
    fn reading(&self) -> io::Result<()> {
        match self.crashed {
            true => Err(crashed()),
            false => Ok(()),
        }
    }

    /// Counts an operation; `Err` when the machine is off, or goes off with it.
    fn changing(&mut self) -> io::Result<()> {
        self.reading()?;
        self.operations += 1;
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            self.crashed = true;
            return Err(crashed());
        }
        Ok(())
    }

    fn may_name(&self, path: &Path) -> io::Result<()> {
        match self.failing_names.as_deref() {
            Some(directory) if path.parent() == Some(directory) => {
                Err(io::Error::other("injected name error"))
            }
            _ => Ok(()),
        }
    }

    fn id(&self, path: &Path) -> io::Result<u64> {
        self.reading()?;
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| kind(ErrorKind::NotFound))
    }

    fn has_parent(&self, path: &Path) -> io::Result<()> {
        match path
            .parent()
            .is_some_and(|parent| self.directories.contains(parent))
        {
            true => Ok(()),
            false => Err(kind(ErrorKind::NotFound)),
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    simulated: Simulated,
    id: u64,
}

impl OpenFile {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.simulated.disk()
    }
}

impl WritableFile for OpenFile {
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        if let Err(error) = disk.changing() {
            // The part of it that was on its way.
            let half = data.len() / 2;
            disk.files
                .entry(self.id)
                .or_default()
                .data
                .extend_from_slice(&data[..half]);
            return Err(error);
        }
        if disk.failing_writes > 0 {
            disk.failing_writes -= 1;
            let half = data.len() / 2;
            disk.files
                .entry(self.id)
                .or_default()
                .data
                .extend_from_slice(&data[..half]);
            return Err(io::Error::other("injected write error"));
        }
        let used: usize = disk.files.values().map(|file| file.data.len()).sum();
        let left = disk
            .capacity
            .map_or(usize::MAX, |capacity| capacity.saturating_sub(used));
        let file = disk.files.entry(self.id).or_default();
        if data.len() > left {
            file.data.extend_from_slice(&data[..left]);
            return Err(kind(ErrorKind::StorageFull));
        }
        file.data.extend_from_slice(data);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.simulated.wait_while(|disk| disk.held_syncs);
        disk.changing()?;
        let failing = disk.failing_syncs > 0;
        disk.failing_syncs = disk.failing_syncs.saturating_sub(1);
        let file = disk.files.entry(self.id).or_default();
        if failing {
            file.lost = true;
            return Err(io::Error::other("injected sync error"));
        }
        if !file.lost {
            file.synced = file.data.clone();
        }
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.changing()?;
        let file = disk.files.entry(self.id).or_default();
        file.data
            .truncate(usize::try_from(bytes).map_err(io::Error::other)?);
        Ok(())
    }
}

#[derive(Debug)]
struct Held {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut disk = self.disk.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        disk.locks.remove(&self.path);
    }
}

impl FileSystem for Simulated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let mut disk = self.disk();
        disk.changing()?;
        disk.has_parent(path)?;
        if disk.names.contains_key(path) {
            return Err(kind(ErrorKind::AlreadyExists));
        }
        let id = disk.next_file;
        disk.next_file += 1;
        disk.names.insert(path.to_owned(), id);
        disk.files.insert(id, Content::default());
        Ok(Box::new(OpenFile {
            simulated: self.clone(),
            id,
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = self.disk();
        Ok(disk.files[&disk.id(path)?].data.clone())
    }

    fn read_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
        let data = self.read(path)?;
        let part = |range: &Range<u64>| {
            data.get(range.start as usize..range.end as usize)
                .map(<[u8]>::to_vec)
        };
        ranges
            .iter()
            .map(|range| part(range).ok_or_else(|| kind(ErrorKind::UnexpectedEof)))
            .collect()
    }

    fn open(&self, path: &Path) -> io::Result<Option<File>> {
        self.disk().id(path).map(|_| None)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let disk = self.disk();
        let is_directory = disk.directories.contains(path);
        let bytes = match is_directory {
            true => 0,
            false => disk.files[&disk.id(path)?].data.len() as u64,
        };
        Ok(Metadata {
            bytes,
            is_directory,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(disk.operations),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.wait_while(|disk| disk.held.as_deref().is_some_and(|held| to.starts_with(held)));
        disk.changing()?;
        disk.has_parent(to)?;
        disk.may_name(to)?;
        let id = disk.id(from)?;
        disk.names.remove(from);
        disk.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.changing()?;
        disk.has_parent(to)?;
        disk.may_name(to)?;
        let id = disk.id(from)?;
        if disk.names.contains_key(to) {
            return Err(kind(ErrorKind::AlreadyExists));
        }
        disk.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.changing()?;
        let id = disk.id(path)?;
        disk.names.remove(path);
        // Space is free at once; what a reboot may bring back is empty then, as good as gone.
        if !disk
            .names
            .values()
            .chain(disk.durable_names.values())
            .any(|named| *named == id)
        {
            disk.files.remove(&id);
        }
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.changing()?;
        let mut children = disk.names.keys().chain(&disk.directories);
        if children.any(|child| child.parent() == Some(path)) {
            return Err(kind(ErrorKind::DirectoryNotEmpty));
        }
        disk.directories.remove(path);
        disk.known_directories.remove(path);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let id = disk.id(path)?;
        disk.changing()?;
        let file = disk.files.entry(id).or_default();
        if !file.lost {
            file.synced = file.data.clone();
        }
        Ok(())
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.reading()?;
        let mut chain: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
        chain.retain(|path| path != Path::new("/"));
        for path in chain.into_iter().rev() {
            if disk.directories.contains(&path) && disk.known_directories.contains(&path) {
                continue;
            }
            if !disk.directories.contains(&path) {
                disk.changing()?;
                disk.directories.insert(path.clone());
            }
            disk.changing()?;
            disk.durable_directories.insert(path.clone());
            disk.known_directories.insert(path);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let disk = self.disk();
        disk.reading()?;
        if !disk.directories.contains(path) {
            return Err(kind(ErrorKind::NotFound));
        }
        let entry = |child: &PathBuf, is_directory| Entry {
            name: child
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            is_directory,
        };
        let files = disk.names.keys().filter(|child| child.parent() == Some(path));
        let directories = disk
            .directories
            .iter()
            .filter(|child| child.parent() == Some(path));
        Ok(files
            .map(|child| entry(child, false))
            .chain(directories.map(|child| entry(child, true)))
            .collect())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.changing()?;
        if disk.failing_directory_syncs.as_deref() == Some(path) {
            return Err(io::Error::other("injected directory sync error"));
        }
        let here = |child: &Path| child.parent() == Some(path);
        disk.durable_names.retain(|child, _| !here(child));
        let names: Vec<_> = disk
            .names
            .iter()
            .filter(|(child, _)| here(child))
            .map(|(child, id)| (child.clone(), *id))
            .collect();
        disk.durable_names.extend(names);
        let directories: BTreeSet<PathBuf> = disk
            .directories
            .iter()
            .filter(|child| here(child))
            .cloned()
            .collect();
        disk.durable_directories.retain(|child| !here(child));
        disk.durable_directories.extend(directories);
        Ok(())
    }

    fn lock(&self, path: &Path, _holder: &str) -> io::Result<Box<dyn Lock>> {
        let mut disk = self.disk();
        disk.reading()?;
        if !disk.locks.insert(path.to_owned()) {
            return Err(io::Error::new(ErrorKind::WouldBlock, "process 1"));
        }
        Ok(Box::new(Held {
            disk: self.disk.clone(),
            path: path.to_owned(),
        }))
    }
}
