//! Appending: one group at a time, one sync a group.
//!
//! Refuses: acknowledging a batch before its sync came back well, and writing to a file once a write or sync of it failed
//! in a way that leaves its content unknown. The numbers of a refused group are not used again.

use std::io;

use cupola_telemetry::Batch;

use super::file::{FILE_HEADER_BYTES, FileHeader, OpenFile, SPOOL_FORMAT, file_path};
use super::log::{Cached, FileState, Log, count};
use crate::queue::Load;
use crate::record;

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) file: Option<OpenFile>,
    pub(super) next_number: u64,
    pub(super) next_sequence: u64,
    /// The last number that was made durable.
    pub(super) acknowledged: u64,
    pub(super) buffer: Vec<u8>,
}

/// The buffer of a group is not kept beyond this size.
const BUFFER_BYTES_KEPT: usize = 8 * 1024 * 1024;

impl Log {
    /// Makes a group durable, in order, and gives the number of its first batch; or leaves nothing of it that counts. The
    /// batches have been let in by the gate and [`record::fits`] them.
    pub(crate) fn append(&self, group: &[Batch], unix_nano: i64) -> io::Result<u64> {
        let mut writer = self.writer.lock();
        let appended = writer.append(self, group, unix_nano);
        writer.buffer.shrink_to(BUFFER_BYTES_KEPT);
        if appended.is_err() {
            count(&self.counters.write_failures, 1);
        }
        appended
    }

    /// Does not append to the current file any more.
    pub(crate) fn close_file(&self) {
        self.writer.lock().close_file(self);
    }
}

impl Writer {
    fn append(&mut self, log: &Log, group: &[Batch], unix_nano: i64) -> io::Result<u64> {
        if self
            .file
            .as_ref()
            .is_some_and(|file| file.bytes >= log.config.segment_bytes_max)
        {
            self.close_file(log);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin_file(log)?,
        };
        let first = self.next_sequence;
        self.buffer.clear();
        let mut places = Vec::with_capacity(group.len());
        for (index, batch) in group.iter().enumerate() {
            let start = self.buffer.len();
            let sequence = first + index as u64;
            record::write(batch, file.seed, sequence, unix_nano, &mut self.buffer);
            places.push((file.bytes + start as u64, (self.buffer.len() - start) as u64));
        }
        let bytes = self.buffer.len() as u64;
        if log.disk_bytes() + bytes > log.config.disk_bytes_max {
            self.file = Some(file);
            // A file that is delivered is in the way.
            self.close_if_delivered(log, 0);
            let limit = log.config.disk_bytes_max;
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("the files of the queue would take more than {limit} bytes"),
            ));
        }
        // Whatever becomes of them, these numbers are used up.
        self.next_sequence += group.len() as u64;
        match file.append(&self.buffer) {
            Ok(()) => {
                count(&log.counters.syncs, 1);
                self.acknowledged = self.next_sequence - 1;
                publish(log, &file, group, first, &places);
                self.file = Some(file);
                Ok(first)
            }
            Err(failure) => {
                self.file = Some(file);
                match failure.usable {
                    true => self.close_if_delivered(log, 0),
                    false => self.close_file(log),
                }
                Err(failure.error)
            }
        }
    }

    /// Makes the next file with a durable name. Its header is synced with the first group.
    fn begin_file(&mut self, log: &Log) -> io::Result<OpenFile> {
        let number = self.next_number;
        let path = file_path(&log.config.directory, number);
        // A name is used once, whatever becomes of it.
        self.next_number += 1;
        let header = FileHeader {
            format: SPOOL_FORMAT,
            first: self.next_sequence,
            previous: self.acknowledged,
            spool: log.spool,
            number,
        };
        let mut file = log.file_system.create(&path)?;
        let made = file
            .write_all(&header.encode())
            .and_then(|()| log.file_system.sync_directory(&log.config.directory));
        if let Err(error) = made {
            let _ = log.file_system.remove(&path);
            return Err(error);
        }
        let seed = record::checksum_seed(&log.spool, number);
        let bytes = FILE_HEADER_BYTES as u64;
        let mut state = log.state.lock();
        state.disk_bytes += bytes;
        let known = FileState {
            bytes,
            seed,
            ..FileState::default()
        };
        state.files.insert(number, known);
        Ok(OpenFile {
            number,
            file,
            seed,
            bytes,
        })
    }

    pub(super) fn close_file(&mut self, log: &Log) {
        if let Some(file) = self.file.take()
            && let Some(known) = log.state.lock().files.get_mut(&file.number)
        {
            known.closed = true;
        }
    }

    /// Closes a file of at least `bytes_min` of which nothing is left to deliver, so that it can be removed.
    pub(super) fn close_if_delivered(&mut self, log: &Log, bytes_min: u64) {
        let delivered = self.file.as_ref().is_some_and(|file| {
            let state = log.state.lock();
            let known = state.files.get(&file.number);
            let delivered = known.is_some_and(|known| known.live == Load::default() && known.in_flight == 0);
            delivered && file.bytes >= bytes_min
        });
        if delivered {
            self.close_file(log);
        }
    }
}

/// Shows a durable group to the reader.
fn publish(log: &Log, file: &OpenFile, group: &[Batch], first: u64, places: &[(u64, u64)]) {
    let mut state = log.state.lock();
    state.appended = state.appended.max(first + group.len() as u64 - 1);
    for (index, (batch, (offset, record_bytes))) in group.iter().zip(places).enumerate() {
        let load = Load::of(batch);
        if let Some(known) = state.files.get_mut(&file.number) {
            known.bytes += record_bytes;
            known.live.add(load);
        }
        state.disk_bytes += record_bytes;
        let batch = batch.clone().without_gzip();
        let bytes = batch.bytes_held();
        if state.cache_bytes + bytes as u64 > log.config.cache_bytes_max {
            continue;
        }
        let Some(reservation) = log.config.budget.try_reserve(bytes) else {
            continue;
        };
        state.cache_bytes += bytes as u64;
        state.cache.push_back(Cached {
            file: file.number,
            offset: *offset,
            record_bytes: *record_bytes,
            sequence: first + index as u64,
            batch,
            reservation,
        });
    }
}
