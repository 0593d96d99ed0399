//! The file itself: opening with repair, appending whole records or nothing, and rotation. One thread has it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::disk::{Disk, sync_directory};
use super::record::Framing;
use super::{FileConfig, FileStats, appended, backups, recovery};

pub(super) struct Writer<D> {
    disk: D,
    config: FileConfig,
    framing: Framing,
    stats: Arc<FileStats>,
    clock: fn() -> SystemTime,
    state: State,
}

enum State {
    /// Not looked at yet: it may end in a torn record.
    Unknown,
    /// Whole records up to `length`, written with `dirty` bytes not synced.
    Open { file: File, length: u64, dirty: bool },
    /// A failed write left more than `length`, which is to be cut off.
    Torn { length: u64 },
    /// A sync failed, and with it what the kernel says of this file: it is not written again.
    Suspect { length: u64 },
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(
        disk: D,
        config: FileConfig,
        framing: Framing,
        stats: Arc<FileStats>,
        clock: fn() -> SystemTime,
    ) -> Writer<D> {
        Writer {
            disk,
            config,
            framing,
            stats,
            clock,
            state: State::Unknown,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.config.path
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Size at which a file is full.
    pub(super) fn file_bytes_max(&self) -> u64 {
        let megabytes = self
            .config
            .rotation
            .as_ref()
            .map(|rotation| rotation.max_megabytes);
        megabytes.map_or(u64::MAX, |megabytes| megabytes.saturating_mul(1024 * 1024))
    }

    /// Repairs and opens the file.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.open().map(drop)
    }

    /// Appends whole records, durably if `sync` is set. On an error the file is as before, or becomes so before the
    /// next append.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let length = self.open()?;
        if length > 0 && length.saturating_add(records.len() as u64) > self.file_bytes_max() {
            self.rotate()?;
        }
        let State::Open { file, length, dirty } = &mut self.state else {
            return Err(io::Error::other("the file is not open"));
        };
        let before = *length;
        if let Err(error) = self.disk.write(file, records) {
            if self.disk.truncate(file, before).is_err() {
                self.state = State::Torn { length: before };
            }
            return Err(error);
        }
        if self.config.sync
            && let Err(error) = self.disk.sync(file)
        {
            // Whoever sent these keeps them: they are taken out, and what is before them was synced before.
            let _ = self.disk.truncate(file, before);
            self.state = State::Suspect { length: before };
            return Err(error);
        }
        *dirty = !self.config.sync;
        *length += records.len() as u64;
        self.stats
            .bytes
            .fetch_add(records.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Syncs what has not been.
    pub(super) fn flush(&mut self) {
        let State::Open {
            file,
            length,
            dirty: dirty @ true,
        } = &mut self.state
        else {
            return;
        };
        match self.disk.sync(file) {
            Ok(()) => *dirty = false,
            Err(error) => {
                tracing::error!(path = %self.config.path.display(), %error, "sync failed, the newest lines may be lost");
                let length = *length;
                self.state = State::Suspect { length };
            }
        }
    }

    /// Brings the file to [`State::Open`]; its length.
    fn open(&mut self) -> io::Result<u64> {
        match self.state {
            State::Open { length, .. } => return Ok(length),
            State::Suspect { length } => {
                self.cut(length)?;
                self.move_aside()?;
            }
            State::Torn { length } => self.cut(length)?,
            State::Unknown => self.repair()?,
        }
        self.open_file()
    }

    fn open_file(&mut self) -> io::Result<u64> {
        let path = &self.config.path;
        let file = File::options().create(true).append(true).read(true).open(path)?;
        // The file is nothing without its name.
        sync_directory(path)?;
        let length = file.metadata()?.len();
        self.state = State::Open {
            file,
            length,
            dirty: false,
        };
        Ok(length)
    }

    /// Takes out what is behind `length`.
    fn cut(&mut self, length: u64) -> io::Result<()> {
        match File::options().write(true).open(&self.config.path) {
            Ok(file) if file.metadata()?.len() > length => self.disk.truncate(&file, length),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves what a crash tore into a file beside this one. A file that is not to be appended to is moved as a whole.
    fn repair(&mut self) -> io::Result<()> {
        let path = self.config.path.clone();
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let whole = recovery::whole_bytes(&file, length, self.framing)?;
        if whole < length {
            self.keep_torn(&file, whole)?;
            self.disk.truncate(&file, whole)?;
            self.disk.sync(&file)?;
            let torn = length - whole;
            self.stats.torn_bytes.fetch_add(torn, Ordering::Relaxed);
            tracing::warn!(path = %path.display(), bytes = torn, "torn record moved aside");
        }
        if !self.config.append && whole > 0 {
            self.move_aside()?;
        }
        Ok(())
    }

    /// Copies what is behind `whole` to `PATH-TIME.torn`.
    fn keep_torn(&mut self, file: &File, whole: u64) -> io::Result<()> {
        let base = appended(&self.config.path, ".torn");
        let target = backups::name(&base, (self.clock)(), self.localtime());
        let mut copy = File::create_new(&target)?;
        let mut torn = file;
        torn.seek(SeekFrom::Start(whole))?;
        let copied = io::copy(&mut torn.take(u64::MAX), &mut copy).and_then(|_| copy.sync_data());
        if let Err(error) = copied {
            // Half a copy of half a record is of no use, and the next attempt makes a whole one.
            let _ = std::fs::remove_file(&target);
            return Err(error);
        }
        sync_directory(&target)
    }

    fn rotate(&mut self) -> io::Result<()> {
        if let State::Open {
            file, dirty: true, ..
        } = &self.state
        {
            self.disk.sync(file)?;
        }
        // Whatever becomes of the renaming, the file is looked at anew.
        self.state = State::Unknown;
        self.move_aside()?;
        self.stats.rotations.fetch_add(1, Ordering::Relaxed);
        self.open()?;
        self.prune();
        Ok(())
    }

    /// Renames the file as one that is full.
    fn move_aside(&mut self) -> io::Result<()> {
        let path = &self.config.path;
        if !path.exists() {
            return Ok(());
        }
        let target = backups::name(path, (self.clock)(), self.localtime());
        self.disk.rename(path, &target)
    }

    fn prune(&mut self) {
        let Some(rotation) = &self.config.rotation else {
            return;
        };
        match backups::prune(&self.config.path, rotation, (self.clock)()) {
            Ok(removed) => drop(self.stats.removed.fetch_add(removed, Ordering::Relaxed)),
            // The next rotation tries again.
            Err(error) => tracing::warn!(path = %self.config.path.display(), %error, "old files not removed"),
        }
    }

    fn localtime(&self) -> bool {
        self.config
            .rotation
            .as_ref()
            .is_some_and(|rotation| rotation.localtime)
    }
}
