//! What a file is that was not there at the last poll: one that is known, under another inode; a copy that somebody is
//! making of one that is read; or a new one.
//!
//! `cp app.log app.log.1` followed by the truncation of `app.log` shows for a moment two files with the same bytes. So a
//! file that has, so far, the bytes of another one waits: until it differs, and is new; until the other one is truncated
//! or removed, and it takes its place, from where that one was read; or until nothing of this has happened for a while,
//! and it is a file of its own that happens to have the same bytes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::config::Compression;
use super::content::{Content, Inode, Stat, TAIL_BYTES_MAX};
use super::finder::Found;
use super::tailer::Tailer;
use super::tracked::Tracked;

/// How long a file with the bytes of another one waits after it was written to.
pub(super) const COPY_WAIT: TimeDelta = TimeDelta::seconds(5);
/// That a file has the same bytes up to where another one was read proves something from this many on; below, the names
/// must say so too.
const PROOF_BYTES_MIN: u64 = 128;
/// Files of a directory that are looked at for one whose name has changed.
const SIBLINGS_MAX: usize = 10_000;

/// A file of which it is not known yet what it is. It is held open, so that it cannot be lost.
pub(super) struct Waiting {
    path: PathBuf,
    content: Content,
    inode: Inode,
    gzip: bool,
    stat: Stat,
    since: DateTime<Utc>,
    /// The file whose bytes it has so far.
    like: Option<u64>,
    matched: bool,
    /// Where it is read from if it is a new one.
    begins_at: u64,
}

#[cfg(test)]
impl Waiting {
    pub(super) fn describe(&self) -> String {
        let (path, inode, like) = (self.path.display(), self.inode.number, self.like);
        format!("waiting: {path} as inode {inode}, like {like:?}")
    }
}

/// What is looked for beside a file that is not where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// The file itself under another name.
    SameInode,
    /// Its bytes in another file.
    Copy,
}

enum Verdict {
    /// Its bytes are those of this known file, which is not there any more.
    Heir(u64),
    New,
    Wait(Option<u64>),
    /// There is nothing in it that is not read elsewhere.
    Nothing,
}

impl Tailer {
    /// No pattern finds those that wait, as far as is known at the beginning of a poll.
    pub(super) fn forget_matches(&mut self) {
        for waiting in &mut self.waiting {
            waiting.matched = false;
        }
    }

    /// Decides about files that nobody knows, and about those that wait: one after the other, so that no more of them are
    /// open than have to be.
    pub(super) fn admit(&mut self, found: Vec<Found>, now: DateTime<Utc>) {
        let places: HashMap<Inode, usize> = self
            .waiting
            .iter()
            .enumerate()
            .map(|(place, waiting)| (waiting.inode, place))
            .collect();
        let mut unknown = Vec::new();
        for found in found {
            let place = places.get(&Inode::of(&found.metadata));
            match place.and_then(|place| self.waiting.get_mut(*place)) {
                Some(waiting) => {
                    waiting.matched = true;
                    waiting.path = found.path;
                }
                None => unknown.push(found.path),
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.decide(waiting, now);
        }
        for path in unknown {
            // Without room, those that wait are decided about first, and this one is found again. Where files are read from
            // their end, that is where the end is now.
            if !self.make_room() && !self.from_end {
                continue;
            }
            match self.wait(&path, now) {
                Ok(waiting) => self.decide(waiting, now),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.failed("cannot open a file", &path, &error, now),
            }
        }
    }

    fn decide(&mut self, mut waiting: Waiting, now: DateTime<Utc>) {
        match self.verdict(&mut waiting, now) {
            Ok(verdict) => self.settle(waiting, verdict, now),
            Err(error) => {
                self.failed("cannot read a file", &waiting.path, &error, now);
                self.waiting.push(waiting);
            }
        }
    }

    /// Closes up to so many files that wait, have nothing in them, and will be found again. Gives how many.
    pub(super) fn close_empty(&mut self, most: usize) -> usize {
        let empty = &mut self.empty;
        let closed = self
            .waiting
            .extract_if(.., |waiting| waiting.matched && waiting.stat.size == 0)
            .take(most)
            .map(|waiting| empty.insert(waiting.inode));
        closed.count()
    }

    fn wait(&self, path: &Path, now: DateTime<Utc>) -> io::Result<Waiting> {
        let gzip = match self.config.compression {
            Compression::None => false,
            Compression::Gzip => true,
            Compression::Auto => is_gzip(path),
        };
        let mut content = Content::open(path, gzip)?;
        let inode = Inode::of(&content.metadata()?);
        let begins_at = match self.from_end {
            true => end_of(&mut content)?,
            false => 0,
        };
        Ok(Waiting {
            path: path.to_owned(),
            content,
            inode,
            gzip,
            stat: Stat::default(),
            since: now,
            like: None,
            matched: true,
            begins_at,
        })
    }

    fn settle(&mut self, waiting: Waiting, verdict: Verdict, now: DateTime<Utc>) {
        match verdict {
            Verdict::Heir(id) => self.inherit(id, waiting, now),
            Verdict::New => self.begin(waiting, now),
            Verdict::Wait(like) => self.waiting.push(Waiting { like, ..waiting }),
            Verdict::Nothing => {}
        }
    }

    fn verdict(&mut self, waiting: &mut Waiting, now: DateTime<Utc>) -> io::Result<Verdict> {
        let metadata = waiting.content.metadata()?;
        let (stat, unlinked) = (Stat::of(&metadata), metadata.nlink() == 0);
        if stat != waiting.stat {
            waiting.stat = stat;
            waiting.since = now;
        }
        let beginning = waiting
            .content
            .read_at(0, self.config.fingerprint_size.0 as usize)?;
        if beginning.is_empty() {
            // The beginning of a copy looks like this, too.
            return Ok(if unlinked {
                Verdict::Nothing
            } else {
                Verdict::Wait(waiting.like)
            });
        }
        if let Some(id) = self.heritage(waiting, &beginning)? {
            return Ok(Verdict::Heir(id));
        }
        Ok(match self.lookalike(waiting, &beginning)? {
            None => Verdict::New,
            Some(_) if unlinked => Verdict::Nothing,
            Some(_) if now - waiting.since >= COPY_WAIT => Verdict::New,
            Some(id) => Verdict::Wait(Some(id)),
        })
    }

    /// The file that is not there any more and whose bytes are these.
    fn heritage(&self, waiting: &mut Waiting, beginning: &[u8]) -> io::Result<Option<u64>> {
        let mut best: Option<&Tracked> = None;
        for file in self.files.values() {
            let left =
                file.is_dormant() || (waiting.like == Some(file.id) && file.is_unlinked() && file.is_done());
            // Several may have begun like it: what was read furthest says most.
            let known = (file.read_to, file.seen_to);
            if !left || known <= best.map_or((0, 0), |best| (best.read_to, best.seen_to)) {
                continue;
            }
            let proven = waiting.like == Some(file.id)
                || file.read_to.max(file.seen_to) >= PROOF_BYTES_MIN
                || is_rotated(&file.path, &waiting.path)
                || file
                    .inode
                    .is_some_and(|inode| inode.number == waiting.inode.number);
            if proven && is_continued(file, &mut waiting.content, beginning)? {
                best = Some(file);
            }
        }
        Ok(best.map(|best| best.id))
    }

    /// A file that is there and that this one may be a copy of: it has all of its bytes.
    fn lookalike(&mut self, waiting: &mut Waiting, beginning: &[u8]) -> io::Result<Option<u64>> {
        for file in self.files.values_mut() {
            // Most differ in their first bytes: of many files, nothing else is to be read or hashed.
            let first = beginning.len().min(file.first.len());
            let both = beginning.len().min(file.head.bytes as usize);
            let differs = both == 0
                || file.first[..first] != beginning[..first]
                || (both == file.head.bytes as usize && !file.head.is_of(&beginning[..both]));
            let was_closed = file.content.is_none();
            if differs || (was_closed && !file.matched) || !file.reopen().unwrap_or(false) {
                continue;
            }
            let copied = may_be_copy(file, waiting, &beginning[..both]);
            if was_closed {
                file.content = None;
            }
            if copied? {
                return Ok(Some(file.id));
            }
        }
        Ok(None)
    }

    /// What is known of a file goes on with the bytes of another one.
    fn inherit(&mut self, id: u64, waiting: Waiting, now: DateTime<Utc>) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        if let Some(old) = file.inode
            && self.by_inode.get(&old) == Some(&id)
        {
            self.by_inode.remove(&old);
        }
        tracing::info!(path = %file.path.display(), heir = %waiting.path.display(), "file goes on under another name");
        if let Err(error) = file.move_to(waiting.content, &waiting.path, waiting.gzip, now) {
            self.failed("cannot read a file", &waiting.path, &error, now);
            return;
        }
        file.matched = waiting.matched;
        if waiting.matched {
            file.path = waiting.path;
            file.attributes = None;
        }
        let before = self.by_inode.insert(waiting.inode, id);
        self.changed.insert(id);
        if let Some(before) = before.filter(|before| *before != id)
            && let Some(gone) = self.files.get_mut(&before)
        {
            // A file that was removed long ago had the same number.
            gone.inode = None;
            self.changed.insert(before);
        }
    }

    fn begin(&mut self, mut waiting: Waiting, now: DateTime<Utc>) {
        let end = waiting.begins_at;
        let tracked = waiting.content.mark_before(end).and_then(|tail| {
            let mut tracked = Tracked::new(0, &waiting.path, waiting.content, waiting.gzip, now)?;
            (tracked.read_to, tracked.done_to, tracked.tail) = (end, end, tail);
            tracked.matched = waiting.matched;
            Ok(tracked)
        });
        match tracked {
            Ok(tracked) => self.track(tracked, now),
            Err(error) => self.failed("cannot read a file", &waiting.path, &error, now),
        }
    }

    /// Looks beside files that were truncated or are gone for those that have their bytes now, whether a pattern finds
    /// them or not.
    pub(super) fn find_heirs(&mut self, orphans: &[u64], beside: Beside, now: DateTime<Utc>) {
        let mut sought: Vec<&Tracked> = orphans
            .iter()
            .filter_map(|id| self.files.get(id))
            .filter(|file| file.is_dormant() && (beside == Beside::Copy || file.inode.is_some()))
            .collect();
        // Several may have begun like a copy: what was read furthest says most.
        sought.sort_by_key(|file| std::cmp::Reverse((file.read_to, file.seen_to)));
        for id in sought.iter().map(|file| file.id).collect::<Vec<_>>() {
            self.find_heir(id, beside, now);
        }
    }

    fn find_heir(&mut self, id: u64, beside: Beside, now: DateTime<Utc>) {
        let Some(file) = self.files.get(&id) else {
            return;
        };
        let inode = file.inode;
        // Where nothing was read or seen, there is nothing but the beginning to recognise it by: it is the newest copy.
        let guessed = beside == Beside::Copy && file.read_to == 0 && file.seen_to < PROOF_BYTES_MIN;
        let candidates = siblings(&file.path, inode)
            .into_iter()
            .filter(|sibling| (beside == Beside::SameInode) == (Some(sibling.1) == inode))
            .take(if guessed { 1 } else { SIBLINGS_MAX });
        for sibling in candidates {
            let known =
                self.is_read(sibling.1) || self.waiting.iter().any(|waiting| waiting.inode == sibling.1);
            if !known && self.is_heir(id, &sibling, now) {
                return;
            }
        }
    }

    fn is_heir(&mut self, id: u64, (path, inode): &Sibling, now: DateTime<Utc>) -> bool {
        let gzip = is_gzip(path);
        let Some(file) = self.files.get(&id) else {
            return false;
        };
        let Ok(mut content) = Content::open(path, gzip) else {
            return false;
        };
        let beginning = content
            .read_at(0, self.config.fingerprint_size.0 as usize)
            .unwrap_or_default();
        if !is_continued(file, &mut content, &beginning).unwrap_or(false) {
            return false;
        }
        // The number alone says nothing: what had it may have been removed.
        let other = self.by_inode.get(inode).and_then(|other| self.files.get(other));
        if let Some(other) = other.filter(|other| other.id != id)
            && content
                .metadata()
                .is_ok_and(|metadata| other.is_of_birth(&metadata))
            && is_continued(other, &mut content, &beginning).unwrap_or(true)
        {
            return false;
        }
        self.make_room();
        let (path, inode) = (path.clone(), *inode);
        let stat = Stat::default();
        self.inherit(
            id,
            Waiting {
                path,
                content,
                inode,
                gzip,
                stat,
                since: now,
                like: None,
                matched: false,
                begins_at: 0,
            },
            now,
        );
        true
    }
}

/// Whether `waiting` has all of its bytes from the open `file`, whose beginning may be the same as far as both go.
fn may_be_copy(file: &mut Tracked, waiting: &mut Waiting, beginning: &[u8]) -> io::Result<bool> {
    let Some(content) = &mut file.content else {
        return Ok(false);
    };
    let both = beginning.len();
    if both < file.head.bytes as usize && content.read_at(0, both)? != beginning {
        return Ok(false);
    }
    if file.gzip || waiting.gzip {
        // How long they are is not known: what is before the place up to which one is read must do.
        let read_to = file.read_to;
        let there = waiting.content.read_at(read_to.saturating_sub(1), 1)?.len() == 1;
        return Ok(!there || read_to == 0 || waiting.content.has_before(read_to, file.tail)?);
    }
    // In this order: a copy that grows has at no time more than what it is made of.
    let of_copy = waiting.content.size()?.unwrap_or(0);
    let size = content.size()?.unwrap_or(0);
    if size < file.seen_to || !content.has_before(file.seen_to, file.seen)? {
        // It was truncated since it was looked at: the next look tells.
        return Ok(true);
    }
    let start = of_copy.saturating_sub(TAIL_BYTES_MAX as u64);
    let bytes = (of_copy.saturating_sub(start)) as usize;
    Ok(of_copy <= size && content.read_at(start, bytes)? == waiting.content.read_at(start, bytes)?)
}

/// Whether what was read of `file` is in `content`, in the same place.
fn is_continued(file: &Tracked, content: &mut Content, beginning: &[u8]) -> io::Result<bool> {
    let head: Option<&[u8]> = beginning.get(..file.head.bytes as usize);
    let begins = match head {
        Some(head) => file.head.is_of(head),
        // The settings ask for less than the checkpoint has.
        None => content.begins(file.head)?,
    };
    Ok(begins
        && file.head.bytes > 0
        && content.has_before(file.read_to, file.tail)?
        && content.has_before(file.seen_to, file.seen)?)
}

fn is_gzip(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("gz"))
}

/// Whether a name is what rotation makes of another: `app.log` becomes `app.log.1`, or `app-20060102.log`.
fn is_rotated(from: &Path, to: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(old), Some(new)) = (name(from), name(to)) else {
        return false;
    };
    let stem = old.rsplit_once('.').map_or(old.as_str(), |(stem, _)| stem);
    old != new && new.starts_with(stem) && from.parent() == to.parent()
}

/// A file beside another one: where it is, and what it is.
type Sibling = (PathBuf, Inode);

/// Files in the same directory that have the inode, or a name that rotation makes of this one: the newest first, but for
/// the one that has only another name now.
fn siblings(path: &Path, inode: Option<Inode>) -> Vec<Sibling> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten().take(SIBLINGS_MAX) {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let (sibling, of_it) = (entry.path(), Inode::of(&metadata));
        if metadata.is_file() && (Some(of_it) == inode || is_rotated(path, &sibling)) {
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            found.push((Some(of_it) == inode, modified, (sibling, of_it)));
        }
    }
    found.sort_by_key(|(same, modified, _)| std::cmp::Reverse((*same, *modified)));
    found.into_iter().map(|(_, _, sibling)| sibling).collect()
}

/// The number of bytes in a file; of a compressed one they have to be read.
fn end_of(content: &mut Content) -> io::Result<u64> {
    const STEP: usize = 1 << 20;
    if let Some(size) = content.size()? {
        return Ok(size);
    }
    let mut end = 0;
    loop {
        let read = content.read_at(end, STEP)?.len();
        end += read as u64;
        if read < STEP {
            return Ok(end);
        }
    }
}
