//! Taking a directory over: which files there are, what of them is to be delivered, and what is damaged.
//!
//! Refuses: a directory that another process has, files of a newer format, and removing a file that may hold a batch.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::cursor::{CURSOR_TEMPORARY, Cursor};
use super::file::{DAMAGED_SUFFIX, FILE_HEADER_BYTES, FileHeader, SPOOL_FORMAT, file_number, file_path};
use super::log::{FileState, Log, LogConfig, SpoolCounters, State, count};
use super::reader::{READ_FAILURES_MAX, Reader};
use super::scan::{Scan, Tail, scan};
use super::writer::Writer;
use crate::fs::FileSystem;
use crate::queue::{Gate, Load};
use crate::record;

const LOCK_FILE: &str = "lock";

/// Why a directory cannot be used as a spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error(
        "the queue directory {} is in use by another process; give each exporter and process its own", path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "the queue file {} has format {found}, this version reads up to {SPOOL_FORMAT}; use the newer version again, \
         or move the directory away", path.display()
    )]
    NewerFormat { path: PathBuf, found: u32 },
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { action, path, source }
}

/// A file with what its header says, if that is intact.
struct Listed {
    number: u64,
    path: PathBuf,
    header: Option<FileHeader>,
}

impl Log {
    /// Takes the directory, reads every file once, and counts at the gate what is to be delivered.
    pub(crate) fn open(
        config: LogConfig,
        file_system: Arc<dyn FileSystem>,
        gate: Arc<Gate>,
    ) -> Result<Log, SpoolError> {
        let directory = config.directory.clone();
        file_system
            .create_directories(&directory)
            .map_err(failed("make", &directory))?;
        let lock = file_system
            .lock(&directory.join(LOCK_FILE))
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => SpoolError::InUse {
                    path: directory.clone(),
                },
                _ => failed("lock", &directory)(error),
            })?;
        let (files, next_number) = list(&*file_system, &directory)?;
        let cursor = load_cursor(&*file_system, &directory, &files)?;
        let spool = files
            .iter()
            .find_map(|file| file.header.map(|header| header.spool))
            .or(cursor.as_ref().map(|cursor| cursor.spool))
            .unwrap_or_else(rand::random);
        let cursor = cursor.unwrap_or_default();
        let first_max = files.iter().filter_map(|file| file.header).map(|h| h.first).max();
        let mut state = State {
            read: cursor.read,
            reopened: cursor.open.iter().copied().collect(),
            voids: voids(&files),
            ..State::default()
        };
        let mut log = Log {
            writer: Mutex::new(Writer {
                file: None,
                next_number,
                next_sequence: 0,
                acknowledged: 0,
                buffer: Vec::new(),
            }),
            state: Mutex::default(),
            reader: Mutex::new(Reader::default()),
            counters: SpoolCounters::default(),
            lock: Mutex::new(Some(lock)),
            config,
            file_system,
            spool,
            gate,
        };
        let mut last = cursor.read.max(cursor.open.iter().copied().max().unwrap_or(0));
        for index in 0..files.len() {
            last = last.max(log.take_over(&mut state, &files, index, last)?);
        }
        let writer = log.writer.get_mut();
        // No number is given twice, whatever was read of the files.
        writer.next_sequence = last.max(first_max.map_or(0, |first| first.saturating_sub(1))) + 1;
        writer.acknowledged = last;
        state.appended = last;
        *log.state.get_mut() = state;
        Ok(log)
    }

    /// Reads one file; gives the highest number in it, or 0. `before` is the highest that is known of so far.
    fn take_over(
        &self,
        state: &mut State,
        files: &[Listed],
        index: usize,
        before: u64,
    ) -> Result<u64, SpoolError> {
        let Listed { number, path, header } = &files[index];
        let data = match persistently(|| self.file_system.read(path)) {
            Ok(data) => data,
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "a spool file cannot be read");
                count(&self.counters.damages, 1);
                self.set_aside(path).map_err(failed("set aside", path))?;
                return Ok(0);
            }
        };
        let spool = header.map_or(self.spool, |header| header.spool);
        let seed = record::checksum_seed(&spool, header.map_or(*number, |header| header.number));
        let start = if header.is_some() { FILE_HEADER_BYTES } else { 0 };
        let is_last = index + 1 == files.len();
        // The next file says up to where this one was acknowledged; files in between may be gone because they were delivered.
        let next = files.get(index + 1).filter(|next| next.number == number + 1);
        let acknowledged = next.and_then(|next| next.header).map(|header| header.previous);
        let known = header.map_or(before, |header| header.first.saturating_sub(1));
        let scanned = scan(&data, start, seed, known, acknowledged, is_last);
        if header.is_none() && scanned.records.is_empty() {
            let missing = acknowledged.is_some_and(|acknowledged| acknowledged > before);
            return self.leave_out(path, &data, missing).map(|()| 0);
        }
        self.report(path, &scanned);
        let mut file = FileState {
            bytes: scanned.end as u64,
            seed,
            closed: true,
            damaged: !scanned.damages.is_empty() || header.is_none(),
            ..FileState::default()
        };
        for found in &scanned.records {
            if state.is_wanted(found.sequence) {
                file.live.add(found.load);
            }
        }
        if scanned.tail == Tail::Torn && scanned.end < data.len() {
            count(&self.counters.torn_bytes, (data.len() - scanned.end) as u64);
            tracing::warn!(path = %path.display(), bytes = data.len() - scanned.end, "cutting the torn end of a spool file");
            // Without that the same is found at the next start.
            if let Err(error) = self.file_system.truncate(path, scanned.end as u64) {
                tracing::warn!(%error, path = %path.display(), "could not cut a spool file");
            }
        }
        self.gate.found(file.live);
        state.disk_bytes += file.bytes;
        state.files.insert(*number, file);
        Ok(scanned
            .records
            .iter()
            .map(|found| found.sequence)
            .max()
            .unwrap_or(0))
    }

    /// A file without header and records: torn while it was made, unless batches are `missing`.
    fn leave_out(&self, path: &Path, data: &[u8], missing: bool) -> Result<(), SpoolError> {
        if !missing && (data.len() <= FILE_HEADER_BYTES || data.iter().all(|byte| *byte == 0)) {
            return self.file_system.remove(path).map_err(failed("remove", path));
        }
        count(&self.counters.damages, 1);
        tracing::error!(path = %path.display(), bytes = data.len(), "nothing of a spool file can be read");
        self.set_aside(path).map_err(failed("set aside", path))
    }

    fn report(&self, path: &Path, scanned: &Scan) {
        for damage in &scanned.damages {
            count(&self.counters.damages, 1);
            count(&self.counters.damaged_requests, u64::from(damage.items.is_some()));
            count(&self.counters.damaged_items, damage.items.unwrap_or(0).into());
            tracing::error!(
                path = %path.display(), offset = damage.start, bytes = damage.end - damage.start, items = damage.items,
                reason = damage.reason, "a spool file is damaged, reading goes on behind it"
            );
        }
    }
}

/// The files in order, and the number of the next.
fn list(file_system: &dyn FileSystem, directory: &Path) -> Result<(Vec<Listed>, u64), SpoolError> {
    let names = file_system.list(directory).map_err(failed("list", directory))?;
    let mut next = 1;
    let mut files = BTreeMap::new();
    for name in names {
        if name == CURSOR_TEMPORARY {
            let _ = file_system.remove(&directory.join(name));
            continue;
        }
        let plain = name.strip_suffix(DAMAGED_SUFFIX).unwrap_or(&name);
        let Some(number) = file_number(plain) else {
            continue;
        };
        next = next.max(number + 1);
        if plain.len() != name.len() {
            continue;
        }
        let path = file_path(directory, number);
        let header = match persistently(|| file_system.read_at(&path, 0, FILE_HEADER_BYTES)) {
            Ok(data) => FileHeader::decode(&data),
            Err(_) => None,
        };
        if let Some(found) = header.map(|header| header.format).filter(|it| *it > SPOOL_FORMAT) {
            return Err(SpoolError::NewerFormat { path, found });
        }
        files.insert(number, Listed { number, path, header });
    }
    Ok((files.into_values().collect(), next))
}

/// Tries again what may have failed by chance: a file that is set aside is not delivered.
fn persistently<T>(read: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut last = read();
    for _ in 1..READ_FAILURES_MAX {
        match &last {
            Err(error) if error.kind() != io::ErrorKind::NotFound => last = read(),
            _ => break,
        }
    }
    last
}

fn load_cursor(
    file_system: &dyn FileSystem,
    directory: &Path,
    files: &[Listed],
) -> Result<Option<Cursor>, SpoolError> {
    let cursor = match Cursor::load(file_system, directory) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::error!(directory = %directory.display(), "the record of what is delivered is damaged, everything is delivered again");
            None
        }
        loaded => loaded.map_err(failed("read the cursor of", directory))?,
    };
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let other = files
        .iter()
        .filter_map(|file| file.header)
        .any(|header| header.spool != cursor.spool);
    if other {
        tracing::error!(directory = %directory.display(), "the record of what is delivered belongs to other files, everything is delivered again");
        return Ok(None);
    }
    Ok(Some(cursor))
}

/// Numbers that were refused, as the headers of later files say.
fn voids(files: &[Listed]) -> Vec<(u64, u64)> {
    files
        .iter()
        .filter_map(|file| file.header)
        .filter(|header| header.previous + 1 < header.first)
        .map(|header| (header.previous, header.first))
        .collect()
}

/// A load as a record header tells it.
pub(super) fn load_of(header: &record::RecordHeader) -> Load {
    Load {
        requests: 1,
        items: header.items.into(),
        bytes: header.raw_bytes.into(),
    }
}
