//! The bytes of an open file, decompressed if it is compressed, and marks that tell whether they are still the same.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before a place that must be the same for it to be the same place.
pub(super) const TAIL_BYTES_MAX: usize = 256;

/// What a file is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) number: u64,
}

impl Inode {
    pub(super) fn of(metadata: &Metadata) -> Inode {
        Inode {
            device: metadata.dev(),
            number: metadata.ino(),
        }
    }
}

/// What a look at a file shows: if it is the same, nothing has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> Stat {
        Stat {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A number of bytes, and a hash of them: of the beginning of a file, or of what is before a place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) bytes: u32,
    pub(super) hash: u64,
}

impl Mark {
    pub(super) fn of(data: &[u8]) -> Mark {
        Mark {
            bytes: data.len() as u32,
            hash: xxh3_64(data),
        }
    }

    pub(super) fn is_of(&self, data: &[u8]) -> bool {
        data.len() == self.bytes as usize && (self.bytes == 0 || xxh3_64(data) == self.hash)
    }

    /// The last bytes of `data`, which are what comes before a place.
    pub(super) fn before(data: &[u8]) -> Mark {
        Mark::of(&data[data.len().saturating_sub(TAIL_BYTES_MAX)..])
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Content {
    file: File,
    gzip: Option<Unfolded>,
}

/// Where decompressing has come to, and the last that it gave.
struct Unfolded {
    decoder: MultiGzDecoder<File>,
    /// Where `window` begins.
    start: u64,
    window: Vec<u8>,
    /// Of the file, when decompressing began.
    size: u64,
}

impl std::fmt::Debug for Unfolded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unfolded")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Content {
    pub(super) fn open(path: &Path, gzip: bool) -> io::Result<Content> {
        let file = File::open(path)?;
        let gzip = gzip.then(|| Unfolded::begin(&file)).transpose()?;
        Ok(Content { file, gzip })
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// The number of bytes, where it can be told without reading them.
    pub(super) fn size(&self) -> io::Result<Option<u64>> {
        match self.gzip {
            Some(_) => Ok(None),
            None => Ok(Some(self.file.metadata()?.len())),
        }
    }

    /// At most `bytes` from `offset` on; fewer only at the end.
    pub(super) fn read_at(&mut self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        if let Some(gzip) = &mut self.gzip {
            return gzip.read_at(&self.file, offset, bytes);
        }
        let mut data = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            match self.file.read_at(&mut data[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        data.truncate(filled);
        Ok(data)
    }

    /// Whether it begins with what `head` was taken of.
    pub(super) fn begins(&mut self, head: Mark) -> io::Result<bool> {
        Ok(head.is_of(&self.read_at(0, head.bytes as usize)?))
    }

    /// Whether `tail` was taken of what is before `offset`.
    pub(super) fn has_before(&mut self, offset: u64, tail: Mark) -> io::Result<bool> {
        let bytes = u64::from(tail.bytes);
        match offset.checked_sub(bytes) {
            Some(start) => Ok(tail.is_of(&self.read_at(start, bytes as usize)?)),
            None => Ok(false),
        }
    }

    /// What is before `offset`.
    pub(super) fn mark_before(&mut self, offset: u64) -> io::Result<Mark> {
        let start = offset.saturating_sub(TAIL_BYTES_MAX as u64);
        Ok(Mark::of(&self.read_at(start, (offset - start) as usize)?))
    }
}

impl Unfolded {
    fn begin(file: &File) -> io::Result<Unfolded> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let size = file.metadata()?.len();
        Ok(Unfolded {
            decoder: MultiGzDecoder::new(file),
            start: 0,
            window: Vec::new(),
            size,
        })
    }

    /// Goes back to the beginning only if it must: what is read again and again lies ahead of what was read.
    fn read_at(&mut self, file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        const STEP: usize = 64 * 1024;
        let at_end = self.start + self.window.len() as u64;
        // A decoder that has seen the end of a file does not see what was written after it.
        if offset < self.start || (self.size != file.metadata()?.len() && offset + bytes as u64 > at_end) {
            *self = Unfolded::begin(file)?;
        }
        loop {
            let skip = usize::try_from(offset - self.start)
                .unwrap_or(usize::MAX)
                .min(self.window.len());
            self.window.drain(..skip);
            self.start += skip as u64;
            if self.start == offset && self.window.len() >= bytes {
                break;
            }
            let filled = self.window.len();
            self.window.resize(filled + STEP, 0);
            let read = self.decoder.read(&mut self.window[filled..]);
            self.window.truncate(filled + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody is still writing it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        if self.start != offset {
            return Ok(Vec::new());
        }
        Ok(self.window[..bytes.min(self.window.len())].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn compressed_files_are_read_at_any_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.gz");
        let text: Vec<u8> = (0..300_000_u32)
            .flat_map(|number| format!("{number}\n").into_bytes())
            .collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&text).unwrap();
        let compressed = encoder.finish().unwrap();
        let (first, rest) = compressed.split_at(compressed.len() / 2);
        std::fs::write(&path, first).unwrap();
        let mut content = Content::open(&path, true).unwrap();
        let begun = content.read_at(0, text.len()).unwrap();
        assert!(!begun.is_empty() && text.starts_with(&begun));
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(rest)
            .unwrap();
        for (offset, bytes) in [
            (0, 10),
            (200_000, 70_000),
            (100, 50),
            (text.len() as u64 - 5, 100),
            (1 << 40, 5),
        ] {
            let read = content.read_at(offset, bytes).unwrap();
            let start = (offset as usize).min(text.len());
            assert_eq!(read, text[start..(start + bytes).min(text.len())], "{offset}");
        }
        assert_eq!(content.read_at(0, text.len() + 1).unwrap(), text);
    }
}
