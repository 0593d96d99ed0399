//! Full files: moving them on by one, and compressing them. Blocks.
//!
//! A crash at any point leaves every line in a file that the next one finds:
//!
//! - Moving begins with the oldest and ends with the file itself, each into a place that is free. Of a move that was cut short a
//!   place is free in the middle; the next fills it, and throws nothing away for it.
//! - A compressed file is made under a name of its own, from the number of the plain one in the file system, and locked by
//!   whoever makes it. When it is on the disk it gets its name, and then the plain one goes. If both are there and hold the same,
//!   the plain one goes the next time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::writer::{Locked, is_at};
use super::{JsonLinesCompression, JsonLinesConfig};

/// At the end of the name of a file that is being compressed into.
const UNFINISHED: &str = ".unfinished";
/// What names of full files may end in; the settings may have been others before.
const SUFFIXES: [&str; 3] = ["", ".gz", ".zst"];
/// What is compared at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Moves the file and the full ones before it on by one. With all places taken the oldest goes. Under the lock of the file.
pub(super) fn rotate(config: &JsonLinesConfig) -> io::Result<()> {
    remove_twins(config)?;
    let last = config.backup_count;
    let is_free = |number: &usize| {
        SUFFIXES
            .iter()
            .all(|suffix| !full(config, *number, suffix).exists())
    };
    let free = (1..=last).find(is_free).unwrap_or(last);
    for suffix in SUFFIXES {
        remove(&full(config, free, suffix))?;
    }
    for number in (1..free).rev() {
        for suffix in SUFFIXES {
            rename(&full(config, number, suffix), &full(config, number + 1, suffix))?;
        }
    }
    rename(&config.log_file, &full(config, 1, ""))?;
    match config.sync {
        true => sync_directory(&config.log_file),
        false => Ok(()),
    }
}

/// The full files of one sink, as far as they are to be compressed.
pub(super) struct FullFiles {
    config: JsonLinesConfig,
    is_busy: AtomicBool,
}

impl FullFiles {
    pub(super) fn new(config: &JsonLinesConfig) -> FullFiles {
        FullFiles {
            config: config.clone(),
            is_busy: AtomicBool::new(false),
        }
    }

    /// Compresses those that are not yet, beside whoever writes. What does not work is tried again when the next is full.
    pub(super) fn compress(&self) {
        if self.config.compression == JsonLinesCompression::None || self.is_busy.swap(true, Ordering::AcqRel)
        {
            return;
        }
        if let Err(error) = self.compress_all() {
            let path = self.config.log_file.display();
            tracing::warn!(%path, %error, "full files not compressed");
        }
        self.is_busy.store(false, Ordering::Release);
    }

    fn compress_all(&self) -> io::Result<()> {
        self.remove_remains()?;
        // The oldest first: it is the next to be moved.
        for number in (1..=self.config.backup_count).rev() {
            let is_taken = |suffix: &&str| full(&self.config, number, suffix).exists();
            match File::open(full(&self.config, number, "")) {
                // What has its name is something else, which is not to be lost.
                Ok(_) if SUFFIXES[1..].iter().any(is_taken) => {}
                Ok(plain) => self.compress_one(&plain)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whatever number it has: it may be moved on meanwhile.
    fn compress_one(&self, plain: &File) -> io::Result<()> {
        let unfinished = named(&self.config, &format!(".{}{UNFINISHED}", plain.metadata()?.ino()));
        let Some(target) = locked(&unfinished)? else {
            // Somebody else is at it.
            return Ok(());
        };
        target.set_len(0)?;
        compress(plain, &target, self.config.compression)?;
        // The plain one goes only when the other is on the disk whole.
        target.sync_all()?;
        let _moving = Locked::open(&self.config)?;
        for number in 1..=self.config.backup_count {
            let path = full(&self.config, number, "");
            if is_at(plain, &path)? {
                let finished = full(&self.config, number, self.config.compression.suffix());
                std::fs::rename(&unfinished, finished)?;
                sync_directory(&path)?;
                return std::fs::remove_file(path);
            }
        }
        // It was the oldest, and has gone.
        remove(&unfinished)
    }

    /// Removes what a crash has left: plain files that are compressed already, and files that nobody compresses into.
    fn remove_remains(&self) -> io::Result<()> {
        let moving = Locked::open(&self.config)?;
        remove_twins(&self.config)?;
        drop(moving);
        let Some(name) = self.config.log_file.file_name() else {
            return Ok(());
        };
        for entry in std::fs::read_dir(directory(&self.config.log_file))? {
            let path = entry?.path();
            let own = path.file_name().unwrap_or_default().as_encoded_bytes();
            let rest = own
                .strip_prefix(name.as_encoded_bytes())
                .and_then(|rest| rest.strip_prefix(b"."));
            let number = rest.and_then(|rest| rest.strip_suffix(UNFINISHED.as_bytes()));
            let is_ours = number.is_some_and(|number| number.iter().all(u8::is_ascii_digit));
            if is_ours && locked(&path)?.is_some() {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Removes plain files that are compressed already: a crash came before that was done. Under the lock of the file.
fn remove_twins(config: &JsonLinesConfig) -> io::Result<()> {
    for number in 1..=config.backup_count {
        for suffix in &SUFFIXES[1..] {
            let (plain, other) = (full(config, number, ""), full(config, number, suffix));
            if plain.exists() && other.exists() && is_same(&plain, &other, suffix)? {
                std::fs::remove_file(plain)?;
            }
        }
    }
    Ok(())
}

/// A file of this name, locked; `None` if somebody else has it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        // Whoever had it may have renamed or removed it.
        Ok(()) => Ok(is_at(&file, path)?.then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn compress(mut plain: &File, target: &File, compression: JsonLinesCompression) -> io::Result<()> {
    let target = BufWriter::new(target);
    let mut target = match compression {
        JsonLinesCompression::None => return Ok(()),
        JsonLinesCompression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(target, flate2::Compression::default());
            io::copy(&mut plain, &mut encoder)?;
            encoder.finish()?
        }
        JsonLinesCompression::Zstd => {
            let mut encoder = zstd::Encoder::new(target, 0)?;
            io::copy(&mut plain, &mut encoder)?;
            encoder.finish()?
        }
    };
    target.flush()
}

/// Whether a compressed file holds what the plain one does. One that cannot be read does not.
fn is_same(plain: &Path, other: &Path, suffix: &str) -> io::Result<bool> {
    let mut plain = BufReader::with_capacity(CHUNK_BYTES, File::open(plain)?);
    let other = BufReader::new(File::open(other)?);
    let mut other: Box<dyn Read> = match suffix {
        ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(other)),
        _ => Box::new(zstd::Decoder::with_buffer(other)?),
    };
    let (mut one, mut two) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let length = fill(&mut plain, &mut one)?;
        match fill(&mut other, &mut two) {
            Ok(read) if one[..length] == two[..read] => {}
            _ => return Ok(false),
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full, or to the end.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The name of a full file.
fn full(config: &JsonLinesConfig, number: usize, suffix: &str) -> PathBuf {
    named(config, &format!(".{number}{suffix}"))
}

fn named(config: &JsonLinesConfig, end: &str) -> PathBuf {
    let mut name = OsString::from(&config.log_file);
    name.push(end);
    PathBuf::from(name)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// Has the names of files in the directory of this one on the disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    there_or_not(std::fs::rename(from, to))
}

fn remove(path: &Path) -> io::Result<()> {
    there_or_not(std::fs::remove_file(path))
}

fn there_or_not(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
