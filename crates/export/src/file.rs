//! Telemetry into one file, a request a line, as the Collector's `file` exporter writes it. Owns when a batch counts as
//! taken, the thread that writes, and the order of an end. Refuses to name tenants in the file: a line is one OTLP
//! request and nothing else, so that every reader of that format reads it.
//!
//! This is the last resort of a pipeline, so it is strict. A batch is acknowledged once it is synced to the disk. All
//! that waits while one sync is under way is written and synced together. A line that could not be written whole is
//! taken out again before the next one, and what a crash tore is moved aside at the next start. A full disk refuses
//! with a retryable error and takes again as soon as there is room. With `sync: false` a batch is acknowledged once
//! the operating system has it: a crash of the process loses nothing then, one of the machine up to `flush_interval`.
//!
//! Before a file is renamed by rotation it is synced. Only one sink may have a file at a time, across processes: the
//! lock is on a file beside it, `PATH.lock`, and is held until [`Component::shutdown`] returns.

mod backups;
mod config;
mod disk;
mod inbox;
mod record;
mod recovery;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use config::{FileCompression, FileConfig, FileConfigError, FileFormat, GroupBy, Rotation};

use disk::Disk;
use inbox::{Inbox, Job};
use record::Framing;
use writer::Writer;

use crate::{Accepted, Component, Sample, SendError, Sink};

/// Counts since the start.
#[derive(Debug, Default)]
pub struct FileStats {
    /// Items written.
    pub written: AtomicU64,
    /// Items refused because the file could not be written.
    pub failed: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Files begun because the one before was full.
    pub rotations: AtomicU64,
    /// Rotated files removed for their number or age.
    pub removed: AtomicU64,
    /// Bytes of torn records that were moved aside.
    pub torn_bytes: AtomicU64,
}

/// The exporter.
pub struct FileSink {
    path: PathBuf,
    inbox: Arc<Inbox>,
    stats: Arc<FileStats>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl FileSink {
    /// Takes the lock, repairs what a crash left, and starts the writing thread.
    pub fn new(config: FileConfig) -> Result<FileSink, FileConfigError> {
        FileSink::over(config, disk::LocalDisk)
    }

    fn over<D: Disk>(config: FileConfig, disk: D) -> Result<FileSink, FileConfigError> {
        config.validate()?;
        create_directory(&config)?;
        let lock = take_lock(&config.path)?;
        let stats = Arc::new(FileStats::default());
        let inbox = Arc::new(Inbox::default());
        let path = config.path.clone();
        let framing = Framing::new(config.format, config.compression);
        let flush_interval = (!config.sync).then_some(config.flush_interval.0);
        let mut writer = Writer::new(disk, config, framing, stats.clone(), SystemTime::now);
        match writer.start() {
            // There may be room later, and until then senders keep what they have.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                tracing::error!(path = %path.display(), %error, "disk full at start, refusing until there is room");
            }
            Err(source) => return Err(FileConfigError::Open { path, source }),
            Ok(()) => {}
        }
        let (done, ended) = oneshot::channel();
        let jobs = inbox.clone();
        let thread = std::thread::Builder::new().name("file-exporter".to_owned());
        let body = move || {
            inbox::serve(&jobs, &mut writer, flush_interval);
            // The lock outlives the last write, and whoever waits for the end may take it.
            drop(writer);
            drop(lock);
            let _ = done.send(());
        };
        if let Err(source) = thread.spawn(body) {
            return Err(FileConfigError::Open { path, source });
        }
        Ok(FileSink {
            path,
            inbox,
            stats,
            ended: Mutex::new(Some(ended)),
        })
    }

    pub fn stats(&self) -> &FileStats {
        &self.stats
    }

    fn failed(&self, items: u64, error: SendError) -> SendError {
        self.stats.failed.fetch_add(items, Ordering::Relaxed);
        error
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let items = batch.items() as u64;
        if items == 0 {
            return Ok(Accepted::all());
        }
        let (answer, written) = oneshot::channel();
        let job = Job { batch, answer };
        if !self.inbox.push(job).await {
            return Err(self.failed(items, SendError::retryable("the file exporter is shutting down")));
        }
        let outcome = written
            .await
            .unwrap_or_else(|_| Err(SendError::retryable("the writing thread has ended")));
        match outcome {
            Ok(()) => {
                self.stats.written.fetch_add(items, Ordering::Relaxed);
                Ok(Accepted::all())
            }
            Err(error) => Err(self.failed(items, error)),
        }
    }
}

#[async_trait]
impl Component for FileSink {
    /// Writes what waits, syncs, and gives the file back.
    async fn shutdown(&self) {
        self.inbox.close();
        let ended = self.ended.lock().take();
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let path = self.path.display().to_string();
        let stats = &self.stats;
        let counts = [
            (
                "cupola_exporter_file_bytes",
                "Bytes written to the file",
                &stats.bytes,
            ),
            (
                "cupola_exporter_file_rotations",
                "Files begun because the one before was full",
                &stats.rotations,
            ),
            (
                "cupola_exporter_file_removed",
                "Rotated files removed for their number or age",
                &stats.removed,
            ),
            (
                "cupola_exporter_file_torn_bytes",
                "Bytes of torn records moved aside",
                &stats.torn_bytes,
            ),
        ];
        for (name, help, count) in counts {
            samples
                .push(Sample::count(name, help, count.load(Ordering::Relaxed)).with("path", path.as_str()));
        }
    }
}

fn create_directory(config: &FileConfig) -> Result<(), FileConfigError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(parent) = config
        .path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if !config.create_directory {
        return Ok(());
    }
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(config.directory_mode()?)
        .create(parent);
    made.map_err(|source| FileConfigError::Open {
        path: parent.to_owned(),
        source,
    })
}

/// The lock of a file, on a file of its own: the file itself is renamed by rotation.
fn take_lock(path: &Path) -> Result<File, FileConfigError> {
    let path = appended(path, ".lock");
    let lock = File::options().create(true).append(true).open(&path);
    let lock = lock.map_err(|source| FileConfigError::Open {
        path: path.clone(),
        source,
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(FileConfigError::InUse { path }),
        Err(std::fs::TryLockError::Error(source)) => Err(FileConfigError::Open { path, source }),
    }
}

/// `path` with `suffix` after its last letter.
fn appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
