//! Handing out in the order of appending: from memory where a batch is still there, else from the files.
//!
//! Refuses: giving up a file because one read of it failed. It is tried again, and set aside only when that goes on.

use std::io;

use cupola_telemetry::Batch;

use super::file::{FILE_HEADER_BYTES, file_path};
use super::log::{Handed, Log, State, count};
use crate::queue::Load;
use crate::record::{self, RECORD_HEADER_BYTES, RecordHeader};

/// Read from a file at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// Reads of one file that may fail in a row before it is set aside.
pub(super) const READ_FAILURES_MAX: u32 = 5;

/// Where reading is.
#[derive(Debug, Default)]
pub(super) struct Reader {
    file: u64,
    offset: u64,
    block: Block,
    failures: u32,
}

#[derive(Debug, Default)]
struct Block {
    file: u64,
    offset: u64,
    data: Vec<u8>,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    Handed(Handed),
    /// Nothing there to be handed out.
    Empty,
    /// It is on the disk only.
    OnDisk,
}

/// What is at a place of a file.
enum Found {
    Record(RecordHeader, Batch),
    /// Damaged up to here.
    Damage(u64, &'static str),
}

impl Log {
    /// The next batch, as far as that can be had without reading a file.
    pub(crate) fn next_in_memory(&self) -> Step {
        let mut reader = self.reader.lock();
        self.step(&mut reader)
    }

    /// The next batch; `None` when there is none. After an error the same call may succeed.
    pub(crate) fn next(&self) -> io::Result<Option<Handed>> {
        let mut reader = self.reader.lock();
        loop {
            match self.step(&mut reader) {
                Step::Handed(handed) => return Ok(Some(handed)),
                Step::Empty => return Ok(None),
                Step::OnDisk => {}
            }
            if let Some(handed) = self.read(&mut reader)? {
                return Ok(Some(handed));
            }
        }
    }

    fn step(&self, reader: &mut Reader) -> Step {
        let mut state = self.state.lock();
        if let Some(handed) = state.returned.pop_front() {
            return Step::Handed(handed);
        }
        loop {
            let Some(file) = state.files.get_mut(&reader.file) else {
                match state.files.range(reader.file + 1..).next() {
                    Some((number, _)) => reader.begin(*number),
                    None => return Step::Empty,
                }
                continue;
            };
            if reader.offset < file.bytes {
                break;
            }
            if !file.closed {
                return Step::Empty;
            }
            file.passed = true;
            match state.files.range(reader.file + 1..).next() {
                Some((number, _)) => reader.begin(*number),
                None => return Step::Empty,
            }
        }
        match take_cached(&mut state, reader) {
            Some(handed) => Step::Handed(handed),
            None => Step::OnDisk,
        }
    }

    /// Reads what is at the reader's place; `None` when that is not to be handed out.
    fn read(&self, reader: &mut Reader) -> io::Result<Option<Handed>> {
        let (end, seed) = match self.state.lock().files.get(&reader.file) {
            Some(file) => (file.bytes, file.seed),
            None => return Ok(None),
        };
        let number = reader.file;
        let found = match self.find(reader, end, seed) {
            Ok(found) => found,
            Err(error) => return self.read_failed(reader, error).map(|()| None),
        };
        reader.failures = 0;
        let path = file_path(&self.config.directory, number);
        match found {
            Found::Damage(until, reason) => {
                let (bytes, offset) = (until - reader.offset, reader.offset);
                // What was damaged when the file was opened has been said.
                let known = match self.state.lock().files.get_mut(&number) {
                    Some(file) => std::mem::replace(&mut file.damaged, true),
                    None => false,
                };
                if !known {
                    count(&self.counters.damages, 1);
                    tracing::error!(path = %path.display(), offset, bytes, reason, "a spool file is damaged, reading goes on behind it");
                }
                reader.offset = until;
                Ok(None)
            }
            Found::Record(header, batch) => {
                reader.offset += header.record_bytes() as u64;
                let mut state = self.state.lock();
                if !state.is_wanted(header.sequence) {
                    return Ok(None);
                }
                state.hand_out(number, header.sequence, Load::of(&batch));
                drop(state);
                let mut reservation = self.config.budget.reservation();
                reservation.grow(batch.bytes_held());
                Ok(Some(Handed {
                    sequence: header.sequence,
                    batch,
                    reservation,
                }))
            }
        }
    }

    fn find(&self, reader: &mut Reader, end: u64, seed: u32) -> io::Result<Found> {
        let left = usize::try_from(end - reader.offset).unwrap_or(usize::MAX);
        let head = self.block(reader, left.min(RECORD_HEADER_BYTES), left)?;
        if let Some(header) = RecordHeader::decode(seed, head)
            && header.record_bytes() <= left
        {
            let record = self.block(reader, header.record_bytes(), left)?;
            return Ok(match header.batch(record) {
                Ok(batch) => Found::Record(header, batch),
                Err(reason) => Found::Damage(reader.offset + header.record_bytes() as u64, reason),
            });
        }
        let rest = self.block(reader, left, left)?;
        let until = match record::next_record(seed, rest, 1) {
            Some(next) => reader.offset + next as u64,
            None => end,
        };
        Ok(Found::Damage(until, "no intact record is here"))
    }

    /// `bytes` of the file from the reader's place on; reads more at once, of the `left` there are.
    fn block<'r>(&self, reader: &'r mut Reader, bytes: usize, left: usize) -> io::Result<&'r [u8]> {
        let (file, offset) = (reader.file, reader.offset);
        let block = &mut reader.block;
        let held = block.file == file
            && block.offset <= offset
            && offset + bytes as u64 <= block.offset + block.data.len() as u64;
        if !held {
            let path = file_path(&self.config.directory, file);
            let data = self
                .file_system
                .read_at(&path, offset, bytes.max(BLOCK_BYTES).min(left))?;
            if data.len() < bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            *block = Block { file, offset, data };
        }
        let start = (offset - block.offset) as usize;
        Ok(&block.data[start..start + bytes])
    }

    /// Says whether to try again; in the end the file is left out.
    fn read_failed(&self, reader: &mut Reader, error: io::Error) -> io::Result<()> {
        let unneeded = self
            .state
            .lock()
            .files
            .get(&reader.file)
            .is_none_or(|file| file.live == Load::default());
        if unneeded && error.kind() == io::ErrorKind::NotFound {
            // Removed meanwhile: all that was left to read had been delivered before.
            reader.begin(reader.file + 1);
            return Ok(());
        }
        reader.failures += 1;
        let path = file_path(&self.config.directory, reader.file);
        let gone = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
        );
        if !gone && reader.failures < READ_FAILURES_MAX {
            tracing::warn!(%error, path = %path.display(), "could not read a spool file, trying again");
            return Err(error);
        }
        reader.failures = 0;
        count(&self.counters.damages, 1);
        tracing::error!(%error, path = %path.display(), "a spool file cannot be read");
        if let Some(file) = self.state.lock().files.get_mut(&reader.file) {
            file.damaged = true;
            reader.offset = file.bytes;
        }
        // Not written any more either.
        let mut writer = self.writer.try_lock();
        match &mut writer {
            Some(writer)
                if writer
                    .file
                    .as_ref()
                    .is_some_and(|file| file.number == reader.file) =>
            {
                writer.close_file(self);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Reader {
    fn begin(&mut self, file: u64) {
        self.file = file;
        self.offset = FILE_HEADER_BYTES as u64;
        self.failures = 0;
    }
}

fn take_cached(state: &mut State, reader: &mut Reader) -> Option<Handed> {
    loop {
        let front = state.cache.front()?;
        if (front.file, front.offset) > (reader.file, reader.offset) {
            return None;
        }
        let cached = state.cache.pop_front()?;
        let load = Load::of(&cached.batch);
        state.cache_bytes -= cached.batch.bytes_held() as u64;
        // What lies behind was read from the file.
        if (cached.file, cached.offset) < (reader.file, reader.offset) {
            continue;
        }
        reader.offset += cached.record_bytes;
        state.hand_out(cached.file, cached.sequence, load);
        return Some(Handed {
            sequence: cached.sequence,
            batch: cached.batch,
            reservation: cached.reservation,
        });
    }
}
