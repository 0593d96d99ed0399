//! Dead letters: batches that could not be delivered, kept with the reason until somebody decides. One file a batch, in a
//! directory of each exporter; `spool/FORMAT.md` documents the bytes.
//!
//! Durable before a batch counts as handled. Bounded: beyond [`DeadLetterConfig::size`] the oldest go, counted and said.
//! [`list`], [`retry`] and [`discard`] need no lock and are safe while a server runs. Refuses to deliver anything by
//! itself, and to remove a letter that cannot be read.

mod letter;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cupola_config::units::ByteSize;
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use serde::Deserialize;

pub use letter::Entry;
use letter::{LETTER_SUFFIX, Letter, TEMPORARY_SUFFIX, is_letter, new_id};

use crate::fs::{Disk, FileSystem, write_durably};
use crate::queue::SettingError;
use crate::spool::blocking;
use crate::{Accepted, SendError, Sink};

/// How often letters are counted again at the most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looking takes one part in so many of the time.
const LOOK_SHARE: u32 = 200;

/// `dead_letters` of an exporter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterConfig {
    /// Bytes of all letters of an exporter.
    pub size: ByteSize,
}

impl Default for DeadLetterConfig {
    fn default() -> DeadLetterConfig {
        DeadLetterConfig {
            size: ByteSize(1 << 30),
        }
    }
}

impl DeadLetterConfig {
    pub fn validate(&self) -> Result<(), SettingError> {
        match self.size.0 {
            0 => Err(SettingError::new("dead_letters.size", "must be greater than 0")),
            _ => Ok(()),
        }
    }
}

/// Why something could not be done with dead letters.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("there is no dead letter {id:?} in {}", directory.display())]
    Missing { id: String, directory: PathBuf },
    #[error("the dead letter {} is damaged: {reason}; look at it and remove the file", path.display())]
    Damaged { path: PathBuf, reason: &'static str },
    #[error("the dead letter {id:?} was not taken, it is kept")]
    Send { id: String, source: SendError },
    #[error(
        "{rejected} of {items} items of the dead letter {id:?} were refused again ({message}), it is kept"
    )]
    Refused {
        id: String,
        rejected: u64,
        items: u64,
        message: String,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DeadLetterError {
    let path = path.to_owned();
    move |source| DeadLetterError::Io { action, path, source }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct DeadLetterCounters {
    pub written_items: AtomicU64,
    /// Lost because of the bound.
    pub dropped_items: AtomicU64,
    pub dropped_requests: AtomicU64,
    pub write_failures: AtomicU64,
}

/// Where an exporter puts what it cannot deliver, or a receiver what nobody takes.
#[derive(Debug, Clone)]
pub struct DeadLetters(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    exporter: String,
    bytes_max: u64,
    file_system: Arc<dyn FileSystem>,
    /// Of all letters; held while one is written. Others may remove letters: it is counted again when it is reached, and
    /// now and then when it is asked for.
    bytes: Mutex<u64>,
    looked: Mutex<Looked>,
    counters: DeadLetterCounters,
}

/// When letters were last counted for whoever asks, and how long that took.
#[derive(Debug)]
struct Looked {
    at: Instant,
    took: Duration,
}

impl DeadLetters {
    /// Makes the directory. Blocks.
    pub(crate) fn open(
        directory: PathBuf,
        exporter: &str,
        config: &DeadLetterConfig,
        file_system: Arc<dyn FileSystem>,
    ) -> Result<DeadLetters, DeadLetterError> {
        file_system
            .create_directories(&directory)
            .map_err(failed("make", &directory))?;
        let names = file_system.list(&directory).map_err(failed("list", &directory))?;
        for name in names.iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX)) {
            let _ = file_system.remove(&directory.join(name));
        }
        let letters = DeadLetters(Arc::new(Shared {
            bytes_max: config.size.0,
            exporter: exporter.to_owned(),
            file_system,
            bytes: Mutex::new(0),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                took: Duration::ZERO,
            }),
            counters: DeadLetterCounters::default(),
            directory,
        }));
        *letters.0.bytes.lock() = letters.0.sizes().iter().map(|(_, bytes)| bytes).sum();
        Ok(letters)
    }

    /// Those of `from` in a directory of this machine, which is made.
    pub async fn open_on_disk(
        directory: PathBuf,
        from: &str,
        config: &DeadLetterConfig,
    ) -> Result<DeadLetters, DeadLetterError> {
        let (from, config, path) = (from.to_owned(), config.clone(), directory.clone());
        let opened = blocking(move || DeadLetters::open(directory, &from, &config, Arc::new(Disk))).await;
        opened.unwrap_or_else(|error| Err(failed("open", &path)(error)))
    }

    pub fn counters(&self) -> &DeadLetterCounters {
        &self.0.counters
    }

    /// Of all letters, those considered that somebody else has removed a moment ago. May block, seldom and for short.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.look();
        *self.0.bytes.lock()
    }

    /// Returns when the letter is durable, or was counted as dropped because it does not fit at all.
    pub async fn put(&self, batch: Batch, reason: &str, attempts: u32) -> io::Result<()> {
        let (shared, reason) = (self.0.clone(), reason.to_owned());
        let put = blocking(move || shared.put(batch, reason, attempts)).await;
        let put = put.and_then(|put| put);
        if let Err(error) = &put {
            self.0.counters.write_failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, directory = %self.0.directory.display(), "could not write a dead letter, trying again");
        }
        put
    }
}

impl Shared {
    fn put(&self, batch: Batch, reason: String, attempts: u32) -> io::Result<()> {
        let items = batch.items() as u64;
        let letter = Letter {
            exporter: self.exporter.clone(),
            reason,
            attempts,
            unix_nano: now(),
            batch,
        };
        let data = letter.encode();
        let mut bytes = self.bytes.lock();
        let wanted = data.len() as u64;
        if wanted > self.bytes_max {
            tracing::error!(
                items,
                bytes = wanted,
                exporter = self.exporter,
                "a dead letter is larger than all of them may be, items lost"
            );
            self.dropped(items);
            return Ok(());
        }
        if *bytes + wanted > self.bytes_max {
            *bytes = self.make_room(wanted);
        }
        if *bytes + wanted > self.bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "the dead letters take all they may, and none can be removed",
            ));
        }
        write_letter(&*self.file_system, &self.directory, letter.unix_nano, &data)?;
        *bytes += wanted;
        self.counters.written_items.fetch_add(items, Ordering::Relaxed);
        Ok(())
    }

    /// Counts the letters again, if the last time is long enough ago: so long that looking takes little of the time.
    fn look(&self) {
        let Some(mut looked) = self.looked.try_lock() else {
            return;
        };
        let pause = LOOK_EVERY.max(looked.took.saturating_mul(LOOK_SHARE));
        if looked.at.elapsed() < pause {
            return;
        }
        let began = Instant::now();
        // While one is being written nobody has to wait for that.
        if let Some(mut bytes) = self.bytes.try_lock()
            && self.file_system.list(&self.directory).is_ok()
        {
            *bytes = self.sizes().iter().map(|(_, bytes)| bytes).sum();
        }
        *looked = Looked {
            at: Instant::now(),
            took: began.elapsed(),
        };
    }

    fn dropped(&self, items: u64) {
        self.counters.dropped_items.fetch_add(items, Ordering::Relaxed);
        self.counters.dropped_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes the oldest until there is room; gives what is left.
    fn make_room(&self, wanted: u64) -> u64 {
        let sizes = self.sizes();
        let mut total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
        for (id, bytes) in sizes {
            if total + wanted <= self.bytes_max {
                break;
            }
            let path = letter_path(&self.directory, &id);
            // One that cannot be read is for somebody to look at.
            let Ok(Entry { items, .. }) = read_entry(&*self.file_system, &self.directory, &id) else {
                continue;
            };
            match self.file_system.remove(&path) {
                // Somebody else took it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "could not remove a dead letter");
                    continue;
                }
                Ok(()) => {
                    tracing::error!(
                        items,
                        exporter = self.exporter,
                        letter = id,
                        "too many dead letters, the oldest is dropped"
                    );
                    self.dropped(items);
                }
            }
            total -= bytes;
        }
        total
    }

    /// Letters with their sizes, oldest first.
    fn sizes(&self) -> Vec<(String, u64)> {
        let ids = ids(&*self.file_system, &self.directory).unwrap_or_default();
        ids.into_iter()
            .map(|id| {
                let size = self.file_system.size(&letter_path(&self.directory, &id));
                (id, size.unwrap_or(0))
            })
            .collect()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn letter_path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}{LETTER_SUFFIX}"))
}

fn write_letter(
    file_system: &dyn FileSystem,
    directory: &Path,
    unix_nano: i64,
    data: &[u8],
) -> io::Result<()> {
    let id = new_id(unix_nano);
    let temporary = directory.join(format!("{id}{TEMPORARY_SUFFIX}"));
    write_durably(file_system, &letter_path(directory, &id), &temporary, data)
}

/// Oldest first; none in a directory that is not there.
fn ids(file_system: &dyn FileSystem, directory: &Path) -> io::Result<Vec<String>> {
    let names = match file_system.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut ids: Vec<String> = names
        .iter()
        .filter_map(|name| name.strip_suffix(LETTER_SUFFIX))
        .filter(|id| is_letter(id))
        .map(str::to_owned)
        .collect();
    ids.sort_unstable();
    Ok(ids)
}

fn read_entry(file_system: &dyn FileSystem, directory: &Path, id: &str) -> Result<Entry, DeadLetterError> {
    let path = letter_path(directory, id);
    let head = file_system
        .read_at(&path, 0, letter::HEAD_BYTES_MAX)
        .map_err(failed("read", &path))?;
    letter::entry(id, &head).map_err(|reason| DeadLetterError::Damaged { path, reason })
}

/// What is in a directory of dead letters.
#[derive(Debug, Default)]
pub struct Listing {
    /// Oldest first.
    pub letters: Vec<Entry>,
    /// Letters that cannot be read, and why.
    pub unreadable: Vec<DeadLetterError>,
}

/// The letters of one exporter. Blocks.
pub fn list(directory: &Path) -> Result<Listing, DeadLetterError> {
    let mut listing = Listing::default();
    for id in ids(&Disk, directory).map_err(failed("list", directory))? {
        match read_entry(&Disk, directory, &id) {
            Ok(entry) => listing.letters.push(entry),
            // Taken by somebody else meanwhile.
            Err(DeadLetterError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => listing.unreadable.push(error),
        }
    }
    Ok(listing)
}

/// Hands one letter to a sink, and removes it once it is taken. Two that retry the same letter at the same time may both
/// deliver it. Where the sink refuses some items for good and says which, a letter with these takes the place.
pub async fn retry(directory: &Path, id: &str, sink: &dyn Sink) -> Result<Accepted, DeadLetterError> {
    let path = locate(directory, id)?;
    let data = contents(tokio::fs::read(&path).await, directory, id)?;
    let letter = decode(&path, &data)?;
    let items = letter.batch.items() as u64;
    let accepted = sink
        .send(letter.batch.clone())
        .await
        .map_err(|source| DeadLetterError::Send {
            id: id.to_owned(),
            source,
        })?;
    let named: u64 = accepted.refused.iter().map(|batch| batch.items() as u64).sum();
    if accepted.rejected > named {
        return Err(DeadLetterError::Refused {
            id: id.to_owned(),
            rejected: accepted.rejected,
            items,
            message: accepted.message,
        });
    }
    for batch in &accepted.refused {
        let unix_nano = now();
        let again = Letter {
            exporter: letter.exporter.clone(),
            reason: accepted.message.clone(),
            attempts: letter.attempts.saturating_add(1),
            unix_nano,
            batch: batch.clone(),
        };
        write_letter(&Disk, directory, unix_nano, &again.encode())
            .map_err(failed("write a letter to", directory))?;
    }
    remove(&path)?;
    Ok(accepted)
}

fn decode(path: &Path, data: &[u8]) -> Result<Letter, DeadLetterError> {
    Letter::decode(data).map_err(|reason| DeadLetterError::Damaged {
        path: path.to_owned(),
        reason,
    })
}

/// The batch of one letter. Blocks.
pub fn read(directory: &Path, id: &str) -> Result<Batch, DeadLetterError> {
    let path = locate(directory, id)?;
    let data = contents(Disk.read(&path), directory, id)?;
    Ok(decode(&path, &data)?.batch)
}

/// Where the letter of an id would be.
fn locate(directory: &Path, id: &str) -> Result<PathBuf, DeadLetterError> {
    match is_letter(id) {
        true => Ok(letter_path(directory, id)),
        false => Err(missing(directory, id)),
    }
}

fn contents(read: io::Result<Vec<u8>>, directory: &Path, id: &str) -> Result<Vec<u8>, DeadLetterError> {
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(directory, id),
        _ => failed("read", &letter_path(directory, id))(error),
    })
}

fn missing(directory: &Path, id: &str) -> DeadLetterError {
    DeadLetterError::Missing {
        id: id.to_owned(),
        directory: directory.to_owned(),
    }
}

/// Removes one letter for good. Blocks.
pub fn discard(directory: &Path, id: &str) -> Result<(), DeadLetterError> {
    let path = letter_path(directory, id);
    if !is_letter(id) || !path.exists() {
        return Err(DeadLetterError::Missing {
            id: id.to_owned(),
            directory: directory.to_owned(),
        });
    }
    remove(&path)
}

fn remove(path: &Path) -> Result<(), DeadLetterError> {
    match Disk.remove(path) {
        // Somebody else was quicker.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The batches of all letters, for tests.
#[cfg(test)]
pub(crate) fn letters_of(file_system: &dyn FileSystem, directory: &Path) -> Vec<Batch> {
    let read = |id: &String| Letter::decode(&file_system.read(&letter_path(directory, id)).unwrap());
    let ids = ids(file_system, directory).unwrap();
    ids.iter().map(|id| read(id).unwrap().batch).collect()
}
