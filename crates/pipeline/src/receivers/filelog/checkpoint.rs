//! How far files have been read, kept on disk: lines of JSON, each under a checksum, the last one of a file counting.
//!
//! A generation begins as a complete snapshot, written beside the old one, synced and renamed; what comes later is appended
//! without a sync, since what a power failure takes of it is read again. A line that is not intact is passed over and told
//! of. Refuses to share: two processes that read the same files would each lose what the other has.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_export::fs::{FileSystem, Lock, WritableFile};
use serde::{Deserialize, Serialize};

use super::content::{Inode, Mark};
use super::header::Said;

/// A generation is written anew when it has this many bytes more than its snapshot had.
const APPENDED_BYTES_MAX: u64 = 4 << 20;
const PREFIX: &str = "checkpoints-";
const TEMPORARY: &str = "checkpoints.tmp";
const LOCK: &str = "lock";

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: u64,
    /// Nothing more is to be known of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
    pub(super) path: String,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// When it was made, in nanoseconds; 0 where the file system does not tell.
    pub(super) born: i64,
    pub(super) gzip: bool,
    pub(super) offset: u64,
    pub(super) records: u64,
    pub(super) skipping: bool,
    pub(super) head: (u32, u64),
    pub(super) tail: (u32, u64),
    /// A place up to which there were bytes once, read or not, and what is before it.
    pub(super) seen_to: u64,
    pub(super) seen: (u32, u64),
    /// Of a file whose header is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) header: Option<Said>,
}

impl Record {
    pub(super) fn gone(id: u64) -> Record {
        Record {
            id,
            gone: true,
            path: String::new(),
            device: 0,
            inode: 0,
            born: 0,
            gzip: false,
            offset: 0,
            records: 0,
            skipping: false,
            head: (0, 0),
            tail: (0, 0),
            seen_to: 0,
            seen: (0, 0),
            header: None,
        }
    }

    pub(super) fn inode(&self) -> Inode {
        Inode {
            device: self.device,
            number: self.inode,
        }
    }

    pub(super) fn head(&self) -> Mark {
        Mark {
            bytes: self.head.0,
            hash: self.head.1,
        }
    }

    pub(super) fn seen(&self) -> Mark {
        Mark {
            bytes: self.seen.0,
            hash: self.seen.1,
        }
    }

    pub(super) fn tail(&self) -> Mark {
        Mark {
            bytes: self.tail.0,
            hash: self.tail.1,
        }
    }
}

/// The directory of one receiver.
#[derive(Debug)]
pub(super) struct Checkpoints {
    file_system: Arc<dyn FileSystem>,
    directory: PathBuf,
    /// `None` after a failure: then a new generation is begun.
    file: Option<Box<dyn WritableFile>>,
    generation: u64,
    appended_bytes: u64,
    _lock: Box<dyn Lock>,
}

impl Checkpoints {
    /// Reads what there is; it is written anew with the first [`write`](Self::write).
    pub(super) fn open(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
    ) -> io::Result<(Checkpoints, Vec<Record>)> {
        file_system.create_directories(directory)?;
        let lock = file_system.lock(&directory.join(LOCK))?;
        let generation = generations(&*file_system, directory)?.last().copied();
        let records = match generation {
            Some(generation) => read(&file_system.read(&directory.join(name(generation)))?, directory),
            None => Vec::new(),
        };
        let checkpoints = Checkpoints {
            file_system,
            directory: directory.to_owned(),
            file: None,
            generation: generation.unwrap_or(0),
            appended_bytes: 0,
            _lock: lock,
        };
        Ok((checkpoints, records))
    }

    /// Adds `changed`; `all` gives everything that is known, should a new generation have to begin.
    pub(super) fn write(&mut self, changed: &[Record], all: impl FnOnce() -> Vec<Record>) -> io::Result<()> {
        let Some(file) = self
            .file
            .as_mut()
            .filter(|_| self.appended_bytes < APPENDED_BYTES_MAX)
        else {
            return self.begin(&all());
        };
        let lines = lines(changed);
        match file.write_all(&lines) {
            Ok(()) => self.appended_bytes += lines.len() as u64,
            Err(error) => {
                // A part of a line may be there.
                self.file = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes durable what was appended.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.sync())
    }

    /// Has the next write begin a new generation.
    #[cfg(test)]
    pub(super) fn end_generation(&mut self) {
        self.file = None;
    }

    fn begin(&mut self, all: &[Record]) -> io::Result<()> {
        self.file = None;
        let generation = self.generation + 1;
        let temporary = self.directory.join(TEMPORARY);
        match self.file_system.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.file_system.create(&temporary)?;
        file.write_all(&lines(all))?;
        file.sync()?;
        self.file_system
            .rename(&temporary, &self.directory.join(name(generation)))?;
        self.file_system.sync_directory(&self.directory)?;
        self.generation = generation;
        self.appended_bytes = 0;
        self.file = Some(file);
        for old in generations(&*self.file_system, &self.directory)? {
            if old < generation {
                // What stays is never read again: a newer one is there.
                let _ = self.file_system.remove(&self.directory.join(name(old)));
            }
        }
        Ok(())
    }
}

fn name(generation: u64) -> String {
    format!("{PREFIX}{generation:020}")
}

fn generations(file_system: &dyn FileSystem, directory: &Path) -> io::Result<Vec<u64>> {
    let names = file_system.list(directory)?;
    let mut found: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok())
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn lines(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let json = serde_json::to_vec(record).unwrap_or_default();
        out.extend_from_slice(format!("{:08x} ", crc32fast::hash(&json)).as_bytes());
        out.extend_from_slice(&json);
        out.push(b'\n');
    }
    out
}

/// The last record of each file.
fn read(data: &[u8], directory: &Path) -> Vec<Record> {
    let mut known = std::collections::BTreeMap::new();
    let mut damaged = 0_u64;
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match record(line) {
            Some(record) if record.gone => drop(known.remove(&record.id)),
            Some(record) => drop(known.insert(record.id, record)),
            None => damaged += 1,
        }
    }
    if damaged > 0 {
        tracing::warn!(directory = %directory.display(), damaged, "checkpoints are damaged: lines may be read twice");
    }
    known.into_values().collect()
}

fn record(line: &[u8]) -> Option<Record> {
    let (checksum, json) = line.split_at_checked(9)?;
    let checksum = std::str::from_utf8(checksum).ok()?.strip_suffix(' ')?;
    let intact = u32::from_str_radix(checksum, 16).ok()? == crc32fast::hash(json);
    intact.then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use cupola_export::fs::Disk;

    use super::*;

    fn known(id: u64, offset: u64) -> Record {
        Record {
            offset,
            gone: false,
            path: format!("/var/log/{id}"),
            ..Record::gone(id)
        }
    }

    fn open(directory: &Path) -> (Checkpoints, Vec<Record>) {
        Checkpoints::open(Arc::new(Disk), directory).unwrap()
    }

    #[test]
    fn the_last_word_on_each_file_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let (mut checkpoints, found) = open(directory.path());
        assert!(found.is_empty());
        assert!(
            Checkpoints::open(Arc::new(Disk), directory.path()).is_err(),
            "somebody has it"
        );
        checkpoints
            .write(&[], || vec![known(1, 10), known(2, 20)])
            .unwrap();
        checkpoints
            .write(&[known(1, 11), Record::gone(2), known(3, 30)], Vec::new)
            .unwrap();
        drop(checkpoints);
        let (mut checkpoints, found) = open(directory.path());
        assert_eq!(found, [known(1, 11), known(3, 30)]);
        // The next generation leaves nothing of this one.
        checkpoints.write(&[], || vec![known(3, 31)]).unwrap();
        drop(checkpoints);
        assert_eq!(open(directory.path()).1, [known(3, 31)]);
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            2,
            "one generation and the lock"
        );
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (mut checkpoints, _) = open(directory.path());
        checkpoints.write(&[], || vec![known(1, 10)]).unwrap();
        checkpoints.write(&[known(1, 20)], Vec::new).unwrap();
        drop(checkpoints);
        let file = directory.path().join(name(1));
        let whole = std::fs::read(&file).unwrap();
        let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in 0..whole.len() {
            std::fs::write(&file, &whole[..length]).unwrap();
            let offsets: Vec<u64> = open(directory.path())
                .1
                .iter()
                .map(|record| record.offset)
                .collect();
            let expected: &[u64] = match length {
                // The line end itself says nothing.
                length if length >= whole.len() - 1 => &[20],
                length if length >= first_line - 1 => &[10],
                _ => &[],
            };
            assert_eq!(offsets, expected, "of {length} bytes");
        }
        let mut flipped = whole.clone();
        flipped[first_line + 30] ^= 1;
        std::fs::write(&file, flipped).unwrap();
        assert_eq!(open(directory.path()).1, [known(1, 10)]);
    }
}
