//! The file itself: appending whole lines beside other processes. Blocks.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::JsonLinesConfig;
use super::line::LinesText;
use super::rotation::{rotate, sync_directory};

/// What is read at once from the end of a file, to find where its last whole line ends.
const TAIL_BYTES: u64 = 64 * 1024;
/// Batches of which it is remembered how many of their lines are in the file.
const STARTED_MAX: usize = 16;

pub(super) struct Writer {
    config: JsonLinesConfig,
    started: VecDeque<Started>,
    /// Full files may wait for their compression: those that were there before, and those that were full since.
    is_compression_due: bool,
}

/// A batch that comes again, of which some lines were written.
struct Started {
    hash: u128,
    lines: usize,
}

impl Writer {
    pub(super) fn new(config: JsonLinesConfig) -> Writer {
        Writer {
            config,
            started: VecDeque::new(),
            is_compression_due: true,
        }
    }

    /// Appends lines. Those that were written before an error are not written twice when the same lines come again.
    pub(super) fn append(&mut self, lines: &LinesText) -> io::Result<()> {
        let mut written = 0;
        if !self.started.is_empty() {
            let hash = xxh3_128(lines.all().as_bytes());
            if let Some(at) = self.started.iter().position(|started| started.hash == hash) {
                written = self.started.remove(at).map_or(0, |started| started.lines);
            }
        }
        while written < lines.len() {
            match self.append_some(lines, written) {
                Ok(until) => written = until,
                Err(error) => {
                    self.remember_until(lines, written);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Has lines that are there not written when they come again.
    pub(super) fn remember(&mut self, lines: &LinesText) {
        self.remember_until(lines, lines.len());
    }

    fn remember_until(&mut self, all: &LinesText, lines: usize) {
        if lines == 0 {
            return;
        }
        let hash = xxh3_128(all.all().as_bytes());
        self.started.push_back(Started { hash, lines });
        if self.started.len() > STARTED_MAX {
            self.started.pop_front();
        }
    }

    /// Whether full files may wait for their compression; once.
    pub(super) fn is_compression_due(&mut self) -> bool {
        std::mem::take(&mut self.is_compression_due)
    }

    /// Appends as many lines from `first` on as the file has room for, one at least; the number of the next.
    fn append_some(&mut self, lines: &LinesText, first: usize) -> io::Result<usize> {
        let config = &self.config;
        let limit = match config.backup_count {
            0 => u64::MAX,
            _ => config.max_bytes.0,
        };
        let mut locked = Locked::open(config)?;
        let begin = lines.start(first);
        let length_with = |length: u64, until: usize| length + (lines.start(until) - begin) as u64;
        if locked.length > 0 && length_with(locked.length, first + 1) > limit {
            rotate(config)?;
            self.is_compression_due = true;
            // The lock on the one that was moved is kept until there is a new one.
            let moved = locked;
            locked = Locked::open(config)?;
            drop(moved);
        }
        let mut until = first + 1;
        while until < lines.len() && length_with(locked.length, until + 1) <= limit {
            until += 1;
        }
        let text = &lines.all()[begin..lines.start(until)];
        locked.write(text.as_bytes(), config.sync)?;
        Ok(until)
    }
}

/// The file that has the name now, open and locked.
pub(super) struct Locked {
    file: File,
    /// Of whole lines.
    length: u64,
}

impl Locked {
    /// Waits until nobody else has it. Not kept open between batches: the child of a fork would have it too, and with it a lock
    /// of its parent.
    pub(super) fn open(config: &JsonLinesConfig) -> io::Result<Locked> {
        let path = &config.log_file;
        loop {
            let file = open(path)?;
            file.lock()?;
            if is_at(&file, path)? {
                let length = whole_lines(&file)?;
                if length == 0 && config.sync {
                    // The name of a new file is to be on the disk as well.
                    sync_directory(path)?;
                }
                return Ok(Locked { file, length });
            }
            // Moved or removed since it was opened: by another process that found it full, or by whoever rotates logs.
        }
    }

    /// Appends all of it or nothing.
    fn write(&mut self, text: &[u8], sync: bool) -> io::Result<()> {
        let written = self.file.write_all(text);
        let done = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if done.is_err() {
            // Under the lock: nobody has written behind it. If it does not work a torn line is cut off by who writes next.
            let _ = self.file.set_len(self.length);
        }
        done
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // A child that was forked meanwhile has the file open as well, and with it the lock.
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
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

/// Whether a name is that of this file still.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Cuts off a line that a crash has torn, and ends one that is of somebody else; the length.
fn whole_lines(mut file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    if !metadata.is_file() {
        return Ok(0);
    }
    let end = end_of_lines(file, length)?;
    if end == length {
        return Ok(length);
    }
    let mut first = [0];
    file.read_exact_at(&mut first, end)?;
    // Ours begin with a brace. Zeros are what some file systems leave of a write when the power fails.
    if matches!(first, [b'{' | 0]) {
        file.set_len(end)?;
        return Ok(end);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

/// Where the last whole line ends.
fn end_of_lines(file: &File, length: u64) -> io::Result<u64> {
    if length == 0 {
        return Ok(0);
    }
    // Mostly the last byte says it.
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    if last == *b"\n" {
        return Ok(length);
    }
    let mut end = length;
    let mut tail = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        tail.resize((end - start) as usize, 0);
        file.read_exact_at(&mut tail, start)?;
        if let Some(at) = memchr::memrchr(b'\n', &tail) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
