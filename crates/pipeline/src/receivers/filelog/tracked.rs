//! One file that is read: how far, what it was recognised by, and whether it still is what it was.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::checkpoint::Record;
use super::content::{Content, Inode, Mark, Stat, TAIL_BYTES_MAX};
use super::header::Said;
use crate::operators::Fields;

/// What was changed this short a time ago may have been changed again without its time telling.
const CLOCK_GRAIN: TimeDelta = TimeDelta::seconds(1);

/// Bytes by which most files are told from one another.
const FIRST_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: u64,
    /// Where a pattern found it last: what its records say.
    pub(super) path: PathBuf,
    /// Where it is.
    pub(super) location: PathBuf,
    /// `None`: its bytes are no longer in the file that they were in.
    pub(super) inode: Option<Inode>,
    pub(super) born: i64,
    pub(super) gzip: bool,
    pub(super) content: Option<Content>,
    /// A pattern has found it at the last poll.
    pub(super) matched: bool,
    /// When it was last found to have grown, or to have left.
    pub(super) active: DateTime<Utc>,
    pub(super) stat: Stat,
    pub(super) head: Mark,
    /// The first few bytes, once it was looked at.
    pub(super) first: Vec<u8>,
    /// How much of it there was at the last look, read or not, and what is before that place.
    pub(super) seen_to: u64,
    pub(super) seen: Mark,
    /// The next byte to be read, and what is before it.
    pub(super) read_to: u64,
    pub(super) tail: Mark,
    /// All before this one has been taken.
    pub(super) done_to: u64,
    /// Records read.
    pub(super) records: u64,
    /// The rest of a record that was cut is passed over.
    pub(super) skipping: bool,
    /// There may be more to read.
    pub(super) pending: bool,
    pub(super) partial: Option<Partial>,
    /// Bytes of NUL were passed over right before `read_to`.
    pub(super) hole: bool,
    pub(super) attributes: Option<Fields>,
    /// `None`: it has no header, or was begun when none was looked for.
    pub(super) header: Option<Said>,
    /// Its newest checkpoint, for when there can be no newer one.
    pub(super) recorded: Option<Record>,
}

/// The end of a file that is no whole record yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Partial {
    pub(super) bytes: usize,
    pub(super) since: DateTime<Utc>,
}

/// What a look at a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Unchanged,
    /// It is what it was, perhaps with more behind it.
    Grown,
    /// What was read of it is not there any more.
    Replaced,
}

impl Tracked {
    pub(super) fn new(
        id: u64,
        path: &Path,
        content: Content,
        gzip: bool,
        now: DateTime<Utc>,
    ) -> io::Result<Tracked> {
        let metadata = content.metadata()?;
        Ok(Tracked {
            id,
            path: path.to_owned(),
            location: path.to_owned(),
            inode: Some(Inode::of(&metadata)),
            born: born(&metadata),
            gzip,
            content: Some(content),
            matched: true,
            active: now,
            stat: Stat::default(),
            head: Mark::default(),
            first: Vec::new(),
            seen_to: 0,
            seen: Mark::default(),
            read_to: 0,
            tail: Mark::default(),
            done_to: 0,
            records: 0,
            skipping: false,
            pending: true,
            partial: None,
            hole: false,
            attributes: None,
            header: None,
            recorded: None,
        })
    }

    /// A file of which there is a checkpoint, and which has not been found yet.
    pub(super) fn remembered(record: &Record, now: DateTime<Utc>) -> Tracked {
        Tracked {
            id: record.id,
            path: PathBuf::from(&record.path),
            location: PathBuf::from(&record.path),
            inode: Some(record.inode()).filter(|inode| inode.number != 0),
            born: record.born,
            gzip: record.gzip,
            content: None,
            matched: false,
            active: now,
            stat: Stat::default(),
            head: record.head(),
            first: Vec::new(),
            seen_to: record.seen_to,
            seen: record.seen(),
            read_to: record.offset,
            tail: record.tail(),
            done_to: record.offset,
            records: record.records,
            skipping: record.skipping,
            pending: false,
            partial: None,
            hole: false,
            attributes: None,
            header: record.header.clone(),
            recorded: Some(record.clone()),
        }
    }

    /// What the next process has to know; `tail` is what is before `done_to`.
    pub(super) fn record(&self, tail: Mark) -> Record {
        let inode = self.inode.unwrap_or(Inode { device: 0, number: 0 });
        Record {
            path: self.path.to_string_lossy().into_owned(),
            device: inode.device,
            inode: inode.number,
            born: self.born,
            gzip: self.gzip,
            offset: self.done_to,
            records: self.records,
            skipping: self.skipping && self.done_to == self.read_to,
            head: (self.head.bytes, self.head.hash),
            tail: (tail.bytes, tail.hash),
            seen_to: self.seen_to,
            seen: (self.seen.bytes, self.seen.hash),
            header: self.header.as_ref().map(|said| said.until(self.done_to)),
            gone: false,
            id: self.id,
        }
    }

    #[cfg(test)]
    pub(super) fn describe(&self) -> String {
        format!(
            "file {}: {} as inode {:?}, {}, taken to {}, read to {}, seen to {}",
            self.id,
            self.location.display(),
            self.inode.map(|inode| inode.number),
            if self.content.is_some() { "open" } else { "closed" },
            self.done_to,
            self.read_to,
            self.seen_to,
        )
    }

    /// No bytes of it can be read now; it may come back under another name, or compressed.
    pub(super) fn is_dormant(&self) -> bool {
        self.content.is_none() && !self.matched
    }

    /// Everything that was written has been read and taken.
    pub(super) fn is_done(&self) -> bool {
        !self.pending && self.partial.is_none() && self.done_to == self.read_to
    }

    /// What comes next may be a line of its header.
    pub(super) fn is_in_header(&self) -> bool {
        self.header.as_ref().is_some_and(|said| said.ends_at.is_none())
    }

    /// Opens it again if it was closed; whether what is at its place is still the file.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        if self.content.is_some() {
            return Ok(true);
        }
        let content = match Content::open(&self.location, self.gzip) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let metadata = content.metadata()?;
        let same = self.inode == Some(Inode::of(&metadata)) && self.is_of_birth(&metadata);
        if same {
            self.content = Some(content);
        }
        Ok(same)
    }

    /// Whether its name still leads to it, so that it can be opened again.
    pub(super) fn is_at_its_place(&self) -> bool {
        std::fs::metadata(&self.location).is_ok_and(|metadata| Some(Inode::of(&metadata)) == self.inode)
    }

    /// Closes what may be another file by now; it is read no further before the next look.
    pub(super) fn close_unknown(&mut self) {
        self.content = None;
        self.stat = Stat::default();
        self.pending = false;
        self.partial = None;
    }

    /// Looks whether the file is still what it was; `found` is what the directory says of its name.
    pub(super) fn look(
        &mut self,
        found: Option<&Metadata>,
        fingerprint_bytes: usize,
        now: DateTime<Utc>,
    ) -> io::Result<Look> {
        let metadata = match (&self.content, found) {
            (Some(content), _) => content.metadata()?,
            (None, Some(found)) => found.clone(),
            (None, None) => return Ok(Look::Unchanged),
        };
        let stat = Stat::of(&metadata);
        if stat == self.stat && !changed_lately(&metadata, now) {
            return Ok(Look::Unchanged);
        }
        if !self.is_of_birth(&metadata) {
            return Ok(Look::Replaced);
        }
        let content = match &mut self.content {
            Some(content) => content,
            None => {
                let content = Content::open(&self.location, self.gzip)?;
                if Inode::of(&content.metadata()?) != Inode::of(&metadata) {
                    // Its name was given to another one just now: the next poll finds both.
                    return Ok(Look::Unchanged);
                }
                self.content.insert(content)
            }
        };
        let beginning = content.read_at(0, fingerprint_bytes.max(self.head.bytes as usize))?;
        let same = beginning
            .get(..self.head.bytes as usize)
            .is_some_and(|head| self.head.is_of(head));
        let size = content.size()?;
        let shrunk = size.is_some_and(|size| size < self.read_to.max(self.seen_to));
        if !same
            || shrunk
            || !content.has_before(self.read_to, self.tail)?
            || !content.has_before(self.seen_to, self.seen)?
        {
            return Ok(Look::Replaced);
        }
        // Of what has not been read yet nothing else tells whether it is replaced by more of something else.
        if let Some(size) = size {
            let seen = content.mark_before(size)?;
            if seen.bytes as u64 == size.min(TAIL_BYTES_MAX as u64) {
                (self.seen_to, self.seen) = (size, seen);
            }
        }
        if (self.head.bytes as usize) < fingerprint_bytes {
            self.head = Mark::of(&beginning[..fingerprint_bytes.min(beginning.len())]);
        }
        self.first.clear();
        self.first.extend(beginning.iter().take(FIRST_BYTES));
        if stat != self.stat {
            self.active = now;
        }
        self.stat = stat;
        self.pending = true;
        Ok(Look::Grown)
    }

    /// What is read of it by somebody else's file that has the same bytes.
    pub(super) fn move_to(
        &mut self,
        content: Content,
        path: &Path,
        gzip: bool,
        now: DateTime<Utc>,
    ) -> io::Result<()> {
        let metadata = content.metadata()?;
        self.inode = Some(Inode::of(&metadata));
        self.born = born(&metadata);
        self.content = Some(content);
        self.location = path.to_owned();
        self.gzip = gzip;
        (self.seen_to, self.seen) = (0, Mark::default());
        self.stat = Stat::default();
        self.active = now;
        self.pending = true;
        Ok(())
    }

    /// Whether it may be the file with these metadata: another one that has its inode now was made at another time.
    pub(super) fn is_of_birth(&self, metadata: &Metadata) -> bool {
        self.born == 0 || born(metadata) == 0 || self.born == born(metadata)
    }

    /// Its name has been removed, and no other is known.
    pub(super) fn is_unlinked(&self) -> bool {
        let metadata = self.content.as_ref().and_then(|content| content.metadata().ok());
        metadata.is_some_and(|metadata| metadata.nlink() == 0)
    }
}

pub(super) fn born(metadata: &Metadata) -> i64 {
    let since = metadata
        .created()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

fn changed_lately(metadata: &Metadata, now: DateTime<Utc>) -> bool {
    let changed = DateTime::from_timestamp(metadata.ctime(), 0).unwrap_or_default();
    (now - changed).abs() <= CLOCK_GRAIN + TimeDelta::seconds(1)
}
