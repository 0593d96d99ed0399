//! Files to records: the next batch of all files that have something to be read, each in its turn, and what is marked as
//! read once the batch has been taken.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cupola_config::units::ByteSize;
use cupola_telemetry::Batch;
use cupola_telemetry::memory::{MemoryBudget, Reservation};

use super::attributes;
use super::config::TooLong;
use super::content::{Inode, Mark, Stat};
use super::header::Next;
use super::tailer::Tailer;
use super::tracked::{Partial, Tracked};
use crate::operators::{Entry, Origin, batch};
use crate::receivers::http::stats::count;
use crate::receivers::text::encoding::Encoding;
use crate::receivers::text::split::{After, Token, trim};

/// The scope of records: the Collector's name of the receiver.
const SCOPE: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver";

/// Bytes of files that one batch is made of, and one record more.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Records of one batch.
const BATCH_RECORDS_MAX: usize = 4096;
/// Bytes read at a time, unless a record is longer.
const READ_BYTES: usize = 256 << 10;
/// Memory that a batch takes for each byte of a file: the bytes, text, entries and OTLP.
const WORK_GROWTH: usize = 5;
/// Memory that a record takes beside its text.
const RECORD_BYTES: usize = 1024;

/// A batch that has been made of files, and the memory that it is held in.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) batch: Batch,
    _memory: Reservation,
}

/// What came of an attempt to read.
pub(super) enum Read {
    Batch(Made),
    /// Something was read, and all of it was dropped or is held: there may be more.
    Dropped,
    Nothing,
    /// There is something to be read, and no memory for it now.
    NoMemory,
}

/// What is gathered for one batch.
struct Gathered {
    out: Vec<Entry>,
    bytes: usize,
    records: usize,
    now: DateTime<Utc>,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX || self.records >= BATCH_RECORDS_MAX
    }
}

impl Tailer {
    /// The next batch, of a bounded part of what there is. It must be handed back with [`commit`](Self::commit) before there
    /// is another one.
    pub(super) fn read(&mut self, memory: &MemoryBudget, now: DateTime<Utc>) -> Read {
        debug_assert!(!self.in_flight, "a batch was not handed back");
        let bytes = (BATCH_BYTES_MAX + self.longest()) * WORK_GROWTH + BATCH_RECORDS_MAX * RECORD_BYTES;
        let Some(mut reserved) = memory.try_reserve(bytes) else {
            let waits = self.files.values().any(|file| file.pending);
            count(&self.stats.over_memory, u64::from(waits));
            return if waits { Read::NoMemory } else { Read::Nothing };
        };
        let mut gathered = Gathered {
            out: Vec::new(),
            bytes: 0,
            records: 0,
            now,
        };
        self.gather(&mut gathered);
        self.operators.flush(now, false, &mut gathered.out);
        if gathered.out.is_empty() {
            if gathered.bytes == 0 {
                return Read::Nothing;
            }
            self.commit();
            return Read::Dropped;
        }
        let made = batch(&gathered.out, SCOPE);
        drop(gathered);
        reserved.shrink(reserved.bytes().saturating_sub(2 * made.payload().len()));
        self.in_flight = true;
        Read::Batch(Made {
            batch: made,
            _memory: reserved,
        })
    }

    /// What operators hold, at the end.
    pub(super) fn read_held(&mut self, memory: &MemoryBudget, now: DateTime<Utc>) -> Read {
        let mut out = Vec::new();
        self.operators.flush(now, true, &mut out);
        if out.is_empty() {
            return Read::Nothing;
        }
        self.in_flight = true;
        let made = batch(&out, SCOPE);
        let mut reserved = memory.reservation();
        reserved.grow(made.payload().len());
        Read::Batch(Made {
            batch: made,
            _memory: reserved,
        })
    }

    /// Bytes that must be at hand for the longest record.
    fn longest(&self) -> usize {
        self.config.max_log_size.0 as usize + READ_BYTES
    }

    fn gather(&mut self, gathered: &mut Gathered) {
        let ids: Vec<u64> = self
            .files
            .range(self.turn..)
            .chain(self.files.range(..self.turn))
            .map(|(id, _)| *id)
            .collect();
        let mut files_left = match self.config.max_batches {
            0 => usize::MAX,
            batches => batches.saturating_mul((self.config.max_concurrent_files / 2).max(1)),
        };
        for id in ids {
            if gathered.is_full() || files_left == 0 {
                return;
            }
            if self
                .files
                .get(&id)
                .is_some_and(|file| is_due(file, self.config.force_flush_period.0, gathered.now))
            {
                files_left -= 1;
                self.read_file(id, gathered);
                self.turn = id + 1;
            }
        }
    }

    fn read_file(&mut self, id: u64, gathered: &mut Gathered) {
        let was_closed = self.files.get(&id).is_some_and(|file| file.content.is_none());
        let stays_open = !was_closed || self.make_room();
        let Some(mut file) = self.files.remove(&id) else {
            return;
        };
        let still_it = match file.reopen() {
            Ok(true) => self.read_pieces(&mut file, gathered),
            other => other,
        };
        if was_closed && matches!(still_it, Ok(false)) {
            // What it is now, the next poll tells: another file may have its place or its inode.
            file.close_unknown();
        }
        if !stays_open && file.is_at_its_place() {
            // The others cannot be closed.
            file.content = None;
        }
        let path = file.path.clone();
        self.files.insert(id, file);
        match still_it {
            Ok(true) => {}
            Ok(false) if was_closed => {}
            Ok(false) => self.replaced(id, gathered.now),
            Err(error) => self.failed("cannot read a file", &path, &error, gathered.now),
        }
    }

    /// Whether it is still the same file.
    fn read_pieces(&mut self, file: &mut Tracked, gathered: &mut Gathered) -> std::io::Result<bool> {
        let mut wanted = READ_BYTES;
        while !gathered.is_full() {
            let before = file.tail.bytes as usize;
            let Some(content) = &mut file.content else {
                return Ok(true);
            };
            let data = content.read_at(file.read_to - before as u64, before + wanted)?;
            // In one piece with what is read, so that nothing comes in between; the beginning is looked at afterwards for
            // the same reason. Of a compressed file that would mean to begin anew.
            let (Some(tail), Some(body)) = (data.get(..before), data.get(before..)) else {
                return Ok(false);
            };
            if !file.tail.is_of(tail) {
                return Ok(false);
            }
            let as_seen =
                file.gzip || content.begins(file.head)? && content.has_before(file.seen_to, file.seen)?;
            if !as_seen {
                return Ok(false);
            }
            let at_end = body.len() < wanted;
            let consumed = self.take_records(file, body, at_end, gathered);
            file.tail = Mark::before(&data[..before + consumed]);
            file.read_to += consumed as u64;
            count(&self.stats.read_bytes, consumed as u64);
            let stopped = gathered.is_full() && consumed < body.len();
            if at_end && !stopped {
                file.pending = false;
                return Ok(true);
            }
            wanted = if consumed == 0 {
                (2 * wanted).min(self.longest())
            } else {
                READ_BYTES
            };
        }
        Ok(true)
    }

    /// Makes records of `body`; gives the number of bytes that they were made of.
    fn take_records(
        &mut self,
        file: &mut Tracked,
        body: &[u8],
        at_end: bool,
        gathered: &mut Gathered,
    ) -> usize {
        let after = match (at_end, self.config.encoding) {
            (false, _) => After::More,
            // What knows no lines does not wait for the end of one.
            (true, Encoding::Nop) => After::Nothing,
            (true, _) => After::Pause,
        };
        let mut at = 0;
        while !gathered.is_full() {
            let rest = &body[at..];
            let skipped = self.skip_hole(file, rest);
            at += skipped;
            gathered.bytes += skipped;
            let rest = &body[at..];
            if file.is_in_header() {
                match self.take_header(file, rest, at_end, at, gathered) {
                    Next::Line(bytes) => at += bytes,
                    Next::End => {}
                    Next::Unknown => break,
                }
                continue;
            }
            let Some(token) = self
                .split
                .next(rest, after)
                .or_else(|| self.overdue(file, rest, at_end, gathered.now))
            else {
                if at_end && !rest.is_empty() {
                    wait_for_more(file, rest.len(), gathered.now);
                }
                break;
            };
            file.partial = None;
            let start = file.read_to + at as u64;
            self.take_record(file, rest, token, start, gathered);
            at += token.advance;
        }
        at
    }

    /// Looks at the next line of a file whose header has not ended, which is `at` bytes behind what is read.
    fn take_header(
        &mut self,
        file: &mut Tracked,
        rest: &[u8],
        at_end: bool,
        at: usize,
        gathered: &mut Gathered,
    ) -> Next {
        let (Some(header), Some(said)) = (&mut self.header, &mut file.header) else {
            return Next::End;
        };
        let next = header.take(rest, at_end, said, gathered.now);
        match next {
            Next::Line(bytes) => gathered.bytes += bytes,
            Next::End => said.ends_at = Some(file.read_to + at as u64),
            Next::Unknown => {
                if at_end && !rest.is_empty() {
                    wait_for_more(file, rest.len(), gathered.now);
                }
                return next;
            }
        }
        file.partial = None;
        next
    }

    /// The end of a file that has no line end, if it has been there for long enough.
    fn overdue(&self, file: &Tracked, rest: &[u8], at_end: bool, now: DateTime<Utc>) -> Option<Token> {
        let period = self.config.force_flush_period.0;
        let partial = file
            .partial
            .filter(|partial| partial.bytes == rest.len() && !rest.is_empty())?;
        let over = (now - partial.since)
            .to_std()
            .is_ok_and(|waited| waited >= period);
        let whole = Token {
            start: 0,
            end: rest.len(),
            advance: rest.len(),
            cut: false,
        };
        (at_end && over && !period.is_zero()).then_some(whole)
    }

    /// A program that does not append goes on where it was when its file is truncated; before it are bytes of NUL then.
    fn skip_hole(&self, file: &mut Tracked, rest: &[u8]) -> usize {
        const HOLE_BYTES_MIN: usize = 4096;
        if self.config.encoding == Encoding::Nop {
            return 0;
        }
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let skipped = if file.hole || zeros >= HOLE_BYTES_MIN {
            zeros
        } else {
            0
        };
        file.hole = skipped > 0 && skipped == rest.len();
        count(&self.stats.hole_bytes, skipped as u64);
        skipped
    }

    fn take_record(
        &mut self,
        file: &mut Tracked,
        rest: &[u8],
        token: Token,
        start: u64,
        gathered: &mut Gathered,
    ) {
        gathered.bytes += token.advance;
        let was_skipping = file.skipping;
        file.skipping = token.cut && self.config.max_log_size_behavior == TooLong::Truncate;
        if was_skipping {
            file.skipping &= token.cut;
            count(&self.stats.cut_bytes, (token.end - token.start) as u64);
            return;
        }
        file.records += 1;
        let (leading, trailing) = (
            self.config.preserve_leading_whitespaces,
            self.config.preserve_trailing_whitespaces,
        );
        let keep = self.config.encoding == Encoding::Nop;
        let (from, to) = trim(rest, (token.start, token.end), keep || leading, keep || trailing);
        if from == to {
            return;
        }
        gathered.records += 1;
        let base = file.attributes.get_or_insert_with(|| {
            let mut fields = attributes::of(file.content.as_ref(), &file.path, &self.config);
            fields.extend(file.header.iter().flat_map(|said| said.attributes.clone()));
            fields
        });
        gathered.bytes += file.header.as_ref().map_or(0, |said| said.bytes);
        let mut entry = Entry {
            observed: gathered.now.timestamp_nanos_opt().unwrap_or_default(),
            body: self.config.encoding.body(&rest[from..to]),
            attributes: base.clone(),
            origin: Origin {
                source: file.id,
                start,
            },
            ..Entry::default()
        };
        if self.config.include_file_record_number {
            entry
                .attributes
                .set("log.file.record_number", file.records as i64);
        }
        if self.config.include_file_record_offset {
            entry.attributes.set("log.file.record_offset", start as i64);
        }
        self.attributes.apply(&mut entry, |entry| &mut entry.attributes);
        self.resource.apply(&mut entry, |entry| &mut entry.resource);
        self.operators.process(entry, gathered.now, &mut gathered.out);
    }

    /// The batch has been taken: what it was made of is read, but for what operators hold of it.
    pub(super) fn commit(&mut self) {
        self.in_flight = false;
        let mut held: BTreeMap<u64, u64> = BTreeMap::new();
        for origin in self.operators.held() {
            let first = held.entry(origin.source).or_insert(origin.start);
            *first = (*first).min(origin.start);
        }
        for file in self.files.values_mut() {
            let done_to = held
                .get(&file.id)
                .map_or(file.read_to, |first| file.read_to.min(*first));
            if done_to != file.done_to {
                file.done_to = done_to;
                self.changed.insert(file.id);
            }
        }
        if self.config.delete_after_read {
            self.delete_read();
        }
        self.write_checkpoints();
    }

    /// Removes files of which everything has been taken. What is open stays open: what is written to it now is read, too.
    fn delete_read(&mut self) {
        let mut gone = Vec::new();
        for file in self
            .files
            .values_mut()
            .filter(|file| file.matched && file.is_done() && file.read_to > 0)
        {
            let metadata = match &file.content {
                Some(content) => content.metadata(),
                None => std::fs::metadata(&file.location),
            };
            let as_seen = metadata.is_ok_and(|metadata| {
                Some(Inode::of(&metadata)) == file.inode && Stat::of(&metadata) == file.stat
            });
            if !as_seen {
                continue;
            }
            match std::fs::remove_file(&file.location) {
                Ok(()) => {
                    file.matched = false;
                    // Nothing more can be read of it. One with the same bytes is another one.
                    if file.content.is_none() {
                        gone.push(file.id);
                    }
                }
                Err(error) => {
                    tracing::warn!(path = %file.location.display(), %error, "cannot delete a file that is read")
                }
            }
        }
        gone.iter().for_each(|id| self.forget(*id));
        self.gone.extend(gone);
    }
}

fn is_due(file: &Tracked, period: std::time::Duration, now: DateTime<Utc>) -> bool {
    let overdue = |partial: &Partial| {
        !period.is_zero()
            && (now - partial.since)
                .to_std()
                .is_ok_and(|waited| waited >= period)
    };
    let waits = file.partial.as_ref().filter(|_| !file.is_in_header());
    (file.content.is_some() || file.matched) && (file.pending || waits.is_some_and(overdue))
}

fn wait_for_more(file: &mut Tracked, bytes: usize, now: DateTime<Utc>) {
    // A clock that was set back begins anew.
    let same = file
        .partial
        .filter(|partial| partial.bytes == bytes && partial.since <= now);
    file.partial = Some(same.unwrap_or(Partial { bytes, since: now }));
}

/// Memory that a receiver needs at the least.
pub(super) fn memory_needed(max_log_size: ByteSize) -> usize {
    (BATCH_BYTES_MAX + max_log_size.0 as usize + READ_BYTES) * WORK_GROWTH + BATCH_RECORDS_MAX * RECORD_BYTES
}
