//! The file itself: appending whole lines beside other processes, and rotation. Blocks.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::{JsonLinesCompression, JsonLinesConfig};

/// What is read at once from the end of a file, to find where its last whole line ends.
const TAIL_BYTES: u64 = 64 * 1024;
/// In the name of a full file that is being compressed.
const UNFINISHED: &str = ".unfinished";

pub(super) struct Writer {
    config: JsonLinesConfig,
    file: Option<File>,
    partial: Option<Partial>,
}

/// A batch of which the first lines were written, before a later one was not.
struct Partial {
    batch: u64,
    lines: usize,
}

impl Writer {
    pub(super) fn new(config: JsonLinesConfig) -> Writer {
        Writer {
            config,
            file: None,
            partial: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.config.log_file
    }

    /// Appends lines. On an error those that were written are known when the same lines are given again, and not written twice.
    pub(super) fn append(&mut self, lines: &[String]) -> io::Result<()> {
        let batch = hash(lines);
        let mut written = match self.partial.take() {
            Some(partial) if partial.batch == batch => partial.lines,
            _ => 0,
        };
        while written < lines.len() {
            match self.append_some(&lines[written..]) {
                Ok(count) => written += count,
                Err(error) => {
                    self.partial = (written > 0).then_some(Partial {
                        batch,
                        lines: written,
                    });
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Appends as many lines as the file has room for, one at least; how many.
    fn append_some(&mut self, lines: &[String]) -> io::Result<usize> {
        let (mut file, mut length) = self.locked()?;
        let first = lines.first().map_or(0, String::len) as u64;
        let is_full = length > 0 && length.saturating_add(first) > self.config.max_bytes.0;
        if is_full && self.config.backup_count > 0 {
            self.rotate()?;
            // The lock on the one that was moved is kept until there is a new one.
            let moved = file;
            (file, length) = self.locked()?;
            drop(moved);
            self.compress_full();
        }
        let mut text = String::new();
        let mut count = 0;
        for line in lines {
            let would_be = length + (text.len() + line.len()) as u64;
            let is_over = self.config.backup_count > 0 && would_be > self.config.max_bytes.0;
            if count > 0 && is_over {
                break;
            }
            text.push_str(line);
            count += 1;
        }
        let sync = self.config.sync;
        let done = file
            .write_all(text.as_bytes())
            .and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        if let Err(error) = done {
            // Under the lock: nobody has written behind it.
            file.set_len(length)?;
            self.file = None;
            return Err(error);
        }
        file.unlock()?;
        self.file = Some(file);
        Ok(count)
    }

    /// The file that has the name now, locked, and its length, of whole lines.
    fn locked(&mut self) -> io::Result<(File, u64)> {
        loop {
            let file = match self.file.take() {
                Some(file) => file,
                None => self.open()?,
            };
            file.lock()?;
            if is_at(&file, &self.config.log_file)? {
                let length = whole_lines(&file)?;
                return Ok((file, length));
            }
            // Moved or removed since it was opened: by another process that found it full, or by whoever rotates logs.
        }
    }

    fn open(&self) -> io::Result<File> {
        let path = &self.config.log_file;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(directory) = path.parent() {
                    std::fs::create_dir_all(directory)?;
                }
                options.open(path)
            }
            opened => opened,
        }
    }

    /// Moves the file and the full ones before it on by one. The oldest goes.
    fn rotate(&self) -> io::Result<()> {
        let last = self.config.backup_count;
        for suffix in SUFFIXES {
            remove(&self.full(last, suffix))?;
        }
        for number in (1..last).rev() {
            for suffix in SUFFIXES {
                rename(&self.full(number, suffix), &self.full(number + 1, suffix))?;
            }
        }
        rename(&self.config.log_file, &self.full(1, ""))
    }

    /// Compresses full files that are not yet. What does not work is tried again when the next is full.
    fn compress_full(&self) {
        if self.config.compression == JsonLinesCompression::None {
            return;
        }
        for number in 1..=self.config.backup_count {
            let plain = self.full(number, "");
            if plain.exists()
                && let Err(error) = self.compress(&plain, number)
            {
                tracing::warn!(path = %plain.display(), %error, "full file not compressed");
            }
        }
    }

    fn compress(&self, plain: &Path, number: usize) -> io::Result<()> {
        let finished = self.full(number, self.config.compression.suffix());
        let unfinished = self.full(number, UNFINISHED);
        let mut source = File::open(plain)?;
        let target = File::create(&unfinished)?;
        let target = match self.config.compression {
            JsonLinesCompression::None => return Ok(()),
            JsonLinesCompression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(target, flate2::Compression::default());
                io::copy(&mut source, &mut encoder)?;
                encoder.finish()?
            }
            JsonLinesCompression::Zstd => {
                let mut encoder = zstd::Encoder::new(target, 0)?;
                io::copy(&mut source, &mut encoder)?;
                encoder.finish()?
            }
        };
        // The plain one goes only when the other is on the disk whole.
        target.sync_all()?;
        std::fs::rename(unfinished, finished)?;
        std::fs::remove_file(plain)
    }

    /// The name of a full file.
    fn full(&self, number: usize, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.config.log_file);
        name.push(format!(".{number}{suffix}"));
        PathBuf::from(name)
    }
}

/// What names of full files may end in; the settings may have been others before.
const SUFFIXES: [&str; 3] = ["", ".gz", ".zst"];

/// Whether a name is that of this file still.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Cuts off a line that a crash has torn; the length.
fn whole_lines(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; (end - start) as usize];
        let mut reader = file;
        reader.seek(SeekFrom::Start(start))?;
        // Mostly the last byte says it.
        if end == length && length > 1 {
            let mut last = [0];
            reader.seek(SeekFrom::Start(length - 1))?;
            reader.read_exact(&mut last)?;
            if last == *b"\n" {
                return Ok(length);
            }
            reader.seek(SeekFrom::Start(start))?;
        }
        reader.read_exact(&mut tail)?;
        if let Some(at) = memchr::memrchr(b'\n', &tail) {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
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

fn hash(lines: &[String]) -> u64 {
    let mut hasher = Xxh3::new();
    lines.iter().for_each(|line| hasher.update(line.as_bytes()));
    hasher.digest()
}
