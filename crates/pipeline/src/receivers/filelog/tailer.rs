//! All files of a receiver: finds them, notices what happens to them, and knows how far each is read. Blocking, with a
//! clock that is passed in; `newcomers` decides what a file that was not there before is, `reading` makes records.
//!
//! A file is known by its inode, by a hash of its beginning, and by a hash of what is before the place up to which it is
//! read. If the first is the same and the others are not, it was truncated or its inode was used again; if the others
//! are the same and the first is not, it was copied or compressed. Files are held open, as many as may be, so that one that
//! was renamed out of the pattern, or removed, is read to its end.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::checkpoint::{Checkpoints, Record};
use super::config::FilelogConfig;
use super::content::{Content, Inode};
use super::failures::Failures;
use super::finder::{Finder, Found};
use super::header::{Header, Said};
use super::newcomers::{Beside, Waiting};
use super::stats::FileStats;
use super::tracked::{Look, Tracked};
use crate::operators::Operators;
use crate::receivers::http::stats::count;
use crate::receivers::text::Templates;
use crate::receivers::text::split::Split;

/// A file that no pattern finds any more is held open until nothing has been written to it for this long: after a
/// rotation, programs go on writing until they open the new one.
const MOVED_IDLE: TimeDelta = TimeDelta::minutes(5);
/// The same for one that was removed, which takes room of the disk as long as it is held.
const REMOVED_IDLE: TimeDelta = TimeDelta::seconds(10);
/// Files that are not there and that something is still known of.
const DORMANT_MAX: usize = 10_000;

pub(super) struct Tailer {
    pub(super) config: FilelogConfig,
    pub(super) split: Split,
    pub(super) header: Option<Header>,
    pub(super) operators: Operators,
    pub(super) attributes: Templates,
    pub(super) resource: Templates,
    pub(super) stats: Arc<FileStats>,
    pub(super) files: BTreeMap<u64, Tracked>,
    pub(super) by_inode: HashMap<Inode, u64>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) next_id: u64,
    /// Files whose checkpoint is not what is known.
    pub(super) changed: BTreeSet<u64>,
    pub(super) gone: Vec<u64>,
    /// Files whose bytes are not where they were, since the last poll.
    orphans: Vec<u64>,
    /// A batch that was made has not been taken yet.
    pub(super) in_flight: bool,
    /// Where the next batch begins, so that every file gets its turn.
    pub(super) turn: u64,
    /// New files are read from their end: at the first poll of a receiver that knows of none.
    pub(super) from_end: bool,
    pub(super) first_poll: bool,
    /// Files that a pattern found, with nothing in them, and that are not held open.
    pub(super) empty: HashSet<Inode>,
    finder: Finder,
    pub(super) checkpoints: Option<Checkpoints>,
    failures: Failures,
    open_max: usize,
    /// Files that can be opened before it is looked how many are.
    room: usize,
}

/// What a tailer is made of beside its settings.
pub(super) struct Parts {
    pub(super) finder: Finder,
    pub(super) split: Split,
    pub(super) header: Option<Header>,
    pub(super) operators: Operators,
    pub(super) attributes: Templates,
    pub(super) resource: Templates,
    pub(super) checkpoints: Option<(Checkpoints, Vec<Record>)>,
    pub(super) stats: Arc<FileStats>,
    /// Files that may be open at a time.
    pub(super) open_max: usize,
}

impl Tailer {
    pub(super) fn new(config: FilelogConfig, parts: Parts, now: DateTime<Utc>) -> Tailer {
        let (checkpoints, records) = parts
            .checkpoints
            .map_or((None, Vec::new()), |(open, records)| (Some(open), records));
        let mut files: BTreeMap<u64, Tracked> = records
            .iter()
            .map(|record| (record.id, Tracked::remembered(record, now)))
            .collect();
        for file in files.values_mut() {
            match parts.header {
                None => file.header = None,
                // One that was begun without goes on without: its header has been read as records.
                Some(_) if file.read_to == 0 => drop(file.header.get_or_insert_default()),
                Some(_) => {}
            }
        }
        let by_inode = files
            .values()
            .filter_map(|file| Some((file.inode?, file.id)))
            .collect();
        Tailer {
            from_end: config.start_at == super::config::StartAt::End && files.is_empty(),
            first_poll: true,
            next_id: files.keys().next_back().map_or(1, |last| last + 1),
            changed: files.keys().copied().collect(),
            open_max: parts.open_max.min(config.max_concurrent_files).max(1),
            finder: parts.finder,
            split: parts.split,
            header: parts.header,
            operators: parts.operators,
            attributes: parts.attributes,
            resource: parts.resource,
            stats: parts.stats,
            checkpoints,
            config,
            files,
            by_inode,
            waiting: Vec::new(),
            gone: Vec::new(),
            orphans: Vec::new(),
            empty: HashSet::new(),
            failures: Failures::default(),
            room: 0,
            in_flight: false,
            turn: 0,
        }
    }

    /// Looks at what there is now. Reads nothing of it but what files are recognised by.
    pub(super) fn poll(&mut self, now: DateTime<Utc>) {
        let mut found: HashMap<Inode, Found> = HashMap::new();
        let mut order = Vec::new();
        for file in self.finder.find(now) {
            let inode = Inode::of(&file.metadata);
            if let std::collections::hash_map::Entry::Vacant(vacant) = found.entry(inode) {
                vacant.insert(file);
                order.push(inode);
            }
        }
        // What is open first: looking at what is not may close others, and of those nothing would show any more what has
        // been written to them and taken away since.
        let is_closed = |id: &u64| self.files.get(id).is_some_and(|file| file.content.is_none());
        let mut ids: Vec<u64> = self.files.keys().copied().collect();
        ids.sort_by_key(is_closed);
        for id in ids {
            self.look(id, &mut found, now);
        }
        let is_empty = |found: &Found| found.metadata.len() == 0;
        self.empty.retain(|inode| found.get(inode).is_some_and(is_empty));
        found.retain(|inode, _| !self.empty.contains(inode));
        let truncated = self.orphans.clone();
        if self.first_poll {
            let missing = self
                .files
                .values()
                .filter(|file| file.is_dormant())
                .map(|file| file.id);
            self.orphans.extend(missing);
        }
        let newcomers = order.iter().filter_map(|inode| found.remove(inode));
        let orphans = std::mem::take(&mut self.orphans);
        let left: BTreeSet<PathBuf> = orphans
            .iter()
            .filter_map(|id| Some(self.files.get(id)?.path.clone()))
            .collect();
        let (mut anew, others): (Vec<Found>, Vec<Found>) =
            newcomers.partition(|found| left.contains(&found.path));
        self.forget_matches();
        // An inode says more than bytes do, and another name more than the same one: the new file at the place of an old
        // one may begin alike, and must not be taken for it while the old one is beside it.
        self.find_heirs(&orphans, Beside::SameInode, now);
        self.admit(others, now);
        self.find_heirs(&orphans, Beside::Copy, now);
        anew.retain(|found| !self.is_read(Inode::of(&found.metadata)));
        if !anew.is_empty() {
            self.admit(anew, now);
        }
        self.tell_lost(&truncated);
        self.let_go(now);
        self.close_some(0);
        self.first_poll = false;
        self.from_end = false;
        self.write_checkpoints();
        self.stats.levels(
            self.files
                .values()
                .map(|file| (file.content.is_some(), file.pending)),
        );
    }

    /// Whether what has this inode now is a file that is read.
    pub(super) fn is_read(&self, inode: Inode) -> bool {
        let file = self.by_inode.get(&inode).and_then(|id| self.files.get(id));
        file.is_some_and(|file| !file.is_dormant())
    }

    /// Takes what is known of a tracked file from `found`.
    fn look(&mut self, id: u64, found: &mut HashMap<Inode, Found>, now: DateTime<Utc>) {
        let fingerprint_bytes = self.config.fingerprint_size.0 as usize;
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        let at = file.inode.and_then(|inode| found.remove(&inode));
        if let Some(at) = &at {
            if file.path != at.path {
                file.path.clone_from(&at.path);
                file.attributes = None;
                self.changed.insert(id);
            }
            file.location.clone_from(&at.path);
        } else if file.matched {
            file.active = now;
            if file.content.is_none() {
                // It was closed because it was quiet, and has another name now.
                self.orphans.push(id);
            }
        }
        file.matched = at.is_some();
        let (head, was_open, path) = (file.head, file.content.is_some(), file.path.clone());
        let looked = file.look(at.as_ref().map(|at| &at.metadata), fingerprint_bytes, now);
        if looked.as_ref().is_ok_and(|_| file.head != head) {
            self.changed.insert(id);
        }
        let opened = !was_open && file.content.is_some();
        match looked {
            Ok(Look::Replaced) if was_open => self.replaced(id, now),
            // It is not known whether it is the same file: its inode may be that of a copy of another one now.
            Ok(Look::Replaced) => {
                file.matched = false;
                drop(self.orphan(id));
                found.extend(at.map(|at| (Inode::of(&at.metadata), at)));
            }
            Ok(_) if opened => drop(self.make_room()),
            Ok(_) => {}
            Err(error) => self.failed("cannot look at a file", &path, &error, now),
        }
    }

    /// The file of `id` has other bytes than those that were read: they are those of a new one.
    pub(super) fn replaced(&mut self, id: u64, now: DateTime<Utc>) {
        let content = self.orphan(id);
        let Some(old) = self.files.get_mut(&id) else {
            return;
        };
        let matched = std::mem::take(&mut old.matched);
        let (path, location, gzip) = (old.path.clone(), old.location.clone(), old.gzip);
        let reopened = content.map_or_else(|| Content::open(&location, gzip), Ok);
        let tracked = reopened.and_then(|content| Tracked::new(self.next_id, &path, content, gzip, now));
        match tracked {
            Ok(mut tracked) => {
                tracked.matched = matched;
                tracked.location = location;
                self.track(tracked, now);
            }
            // Gone in the meantime; if not, the next poll finds it.
            Err(error) => self.failed("cannot open a file", &path, &error, now),
        }
    }

    /// The bytes of a file are not where they were. Gives what is open of it.
    fn orphan(&mut self, id: u64) -> Option<Content> {
        let old = self.files.get_mut(&id)?;
        count(&self.stats.truncations, 1);
        tracing::info!(path = %old.path.display(), read_to = old.read_to, "file was truncated or replaced");
        self.orphans.push(id);
        self.changed.insert(id);
        if let Some(inode) = old.inode.take()
            && self.by_inode.get(&inode) == Some(&id)
        {
            self.by_inode.remove(&inode);
        }
        old.partial = None;
        old.pending = false;
        old.content.take()
    }

    /// Takes a file under its own number.
    pub(super) fn track(&mut self, mut file: Tracked, now: DateTime<Utc>) {
        file.id = self.next_id;
        self.next_id += 1;
        file.header = self.header.as_ref().map(|_| Said::default());
        // What it is recognised by from now on: the next poll would do it too late for the first batch.
        if let Err(error) = file.look(None, self.config.fingerprint_size.0 as usize, now) {
            self.failed("cannot read a file", &file.path, &error, now);
        }
        if let Some(inode) = file.inode {
            self.by_inode.insert(inode, file.id);
        }
        self.changed.insert(file.id);
        self.files.insert(file.id, file);
    }

    /// What was truncated away, or removed while it was closed, before it was read, and is in no copy.
    fn tell_lost(&mut self, orphans: &[u64]) {
        for id in orphans {
            let Some(file) = self.files.get_mut(id).filter(|file| file.is_dormant()) else {
                continue;
            };
            file.pending = false;
            // After a start there is only what was seen before it.
            let lost = file.stat.size.max(file.seen_to).saturating_sub(file.read_to);
            if !file.gzip && lost > 0 {
                count(&self.stats.lost_bytes, lost);
                tracing::error!(path = %file.path.display(), lost, "bytes were truncated away or removed before they were read, and no copy has them");
            }
        }
    }

    /// Closes files that have left and to which nothing is written any more, and forgets what will not come back.
    fn let_go(&mut self, now: DateTime<Utc>) {
        for file in self.files.values_mut() {
            if file.matched || file.content.is_none() {
                continue;
            }
            let unlinked = file.is_unlinked();
            let idle = if unlinked { REMOVED_IDLE } else { MOVED_IDLE };
            // A line without an end may still have become one of the header, and never will now.
            let is_left = !file.pending && file.is_in_header() && file.done_to == file.read_to;
            if !(file.is_done() || is_left) || self.in_flight || now - file.active < idle {
                continue;
            }
            let left = file.seen_to.saturating_sub(file.read_to);
            if is_left && file.partial.take().is_some() {
                count(&self.stats.lost_bytes, left);
                tracing::error!(path = %file.path.display(), lost = left, "the line that a file ends in was never ended, so that it is neither header nor record");
            }
            file.content = None;
            if unlinked {
                self.gone.push(file.id);
            }
        }
        let mut dormant: Vec<(DateTime<Utc>, u64)> = self
            .files
            .values()
            .filter(|file| file.is_dormant())
            .map(|file| (file.active, file.id))
            .collect();
        if dormant.len() > DORMANT_MAX {
            dormant.sort_unstable();
            let more = dormant.len() - DORMANT_MAX;
            self.gone.extend(dormant.iter().take(more).map(|(_, id)| *id));
        }
        for id in self.gone.clone() {
            self.forget(id);
        }
    }

    /// It will not come back.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(inode) = self.files.remove(&id).and_then(|file| file.inode)
            && self.by_inode.get(&inode) == Some(&id)
        {
            self.by_inode.remove(&inode);
        }
    }

    /// To be called with each file that is opened to stay so: closes others where that is one too many. Whether it could.
    pub(super) fn make_room(&mut self) -> bool {
        if self.room == 0 {
            // Several at once: each time, all of them are looked at.
            self.close_some((self.open_max / 4).max(1));
        }
        let made = self.room > 0;
        self.room = self.room.saturating_sub(1);
        made
    }

    /// Closes files until `spare` more can be opened: those that have been quiet longest, then empty ones, then those that
    /// have something to be read. All of them are opened again when they have, and when their turn has come. What has left its
    /// place cannot be opened again: it stays open, and does not count.
    fn close_some(&mut self, spare: usize) {
        let is_open = |file: &&Tracked| file.content.is_some() && file.matched;
        let count = self.files.values().filter(is_open).count() + self.waiting.len();
        self.room = self.open_max.saturating_sub(count);
        let mut over = (count + spare).saturating_sub(self.open_max);
        if over == 0 {
            return;
        }
        let mut open: Vec<(bool, DateTime<Utc>, u64)> = self
            .files
            .values()
            .filter(|file| is_open(file) && file.is_at_its_place())
            .map(|file| (!file.is_done(), file.active, file.id))
            .collect();
        open.sort_unstable();
        let first_busy = open.partition_point(|(has_more, ..)| !has_more);
        let (quiet, busy) = open.split_at(first_busy.min(over));
        let mut closed = quiet.len();
        over -= quiet.len();
        let empty = self.close_empty(over);
        (over, closed) = (over - empty, closed + empty);
        let busy = &busy[..busy.len().min(over)];
        for (_, _, id) in quiet.iter().chain(busy) {
            if let Some(file) = self.files.get_mut(id) {
                file.content = None;
            }
        }
        closed += busy.len();
        self.room = self.open_max.saturating_sub(count - closed);
    }

    /// Counts that something could not be done with a file, and says so: not at every poll, of which there are many.
    pub(super) fn failed(
        &mut self,
        what: &'static str,
        path: &Path,
        error: &std::io::Error,
        now: DateTime<Utc>,
    ) {
        count(&self.stats.errors, 1);
        if let Some(times) = self.failures.told(path, now) {
            tracing::warn!(path = %path.display(), %error, times, "{what}");
        }
    }

    /// Writes down what has changed. A failure is told, and tried again with the next change: nothing is lost by it.
    pub(super) fn write_checkpoints(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        let Some(checkpoints) = &mut self.checkpoints else {
            self.changed.clear();
            return;
        };
        if self.changed.is_empty() && gone.is_empty() {
            return;
        }
        let files = &mut self.files;
        let mut records: Vec<Record> = gone.iter().map(|id| Record::gone(*id)).collect();
        for id in &self.changed {
            records.extend(files.get_mut(id).and_then(record));
        }
        match checkpoints.write(&records, || files.values_mut().filter_map(record).collect()) {
            Ok(()) => self.changed.clear(),
            Err(error) => {
                count(&self.stats.checkpoint_errors, 1);
                tracing::error!(%error, "cannot write checkpoints: after a crash, lines are read twice");
            }
        }
    }

    /// Makes checkpoints durable, at the end.
    pub(super) fn close(&mut self) {
        self.write_checkpoints();
        if let Some(Err(error)) = self.checkpoints.as_mut().map(Checkpoints::sync) {
            tracing::error!(%error, "cannot sync checkpoints");
        }
    }

    /// What is known of files, for tests that tell what happens.
    #[cfg(test)]
    pub(super) fn describe(&self) -> Vec<String> {
        let waiting = self.waiting.iter().map(Waiting::describe);
        self.files
            .values()
            .map(Tracked::describe)
            .chain(waiting)
            .collect()
    }
}

/// Where what is before the place cannot be read now, it is the older checkpoint, if there is one.
fn record(file: &mut Tracked) -> Option<Record> {
    let done_to = file.done_to;
    let tail = match done_to == file.read_to {
        true => Some(file.tail),
        false => file
            .content
            .as_mut()
            .and_then(|content| content.mark_before(done_to).ok()),
    };
    if let Some(tail) = tail {
        file.recorded = Some(file.record(tail));
    }
    file.recorded.clone()
}
