//! Where the whole records of a file end that may have been left by a crash.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};

use super::record::{Framing, LENGTH_BYTES};

const CHUNK_BYTES: u64 = 64 * 1024;
/// How far from the end a crash of the machine may have left pages that were never written, which read as zeros. What is
/// written between two syncs is less than this.
const UNSYNCED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Length of the part of `file` that is whole records.
pub(super) fn whole_bytes(file: &File, length: u64, framing: Framing) -> io::Result<u64> {
    if framing.lines() {
        whole_lines(file, length)
    } else {
        whole_frames(file, length)
    }
}

fn whole_lines(file: &File, length: u64) -> io::Result<u64> {
    let end = after_newline(file, length)?;
    // JSON has no zero byte, so one tells where pages are missing.
    match first_zero(file, end.saturating_sub(UNSYNCED_BYTES_MAX), end)? {
        Some(zero) => after_newline(file, zero),
        None => Ok(end),
    }
}

/// The place after the last line end before `end`, or the start of the file.
fn after_newline(file: &File, end: u64) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let mut upper = end;
    while upper > 0 {
        let lower = upper.saturating_sub(CHUNK_BYTES);
        let mut chunk = vec![0; (upper - lower) as usize];
        file.read_exact_at(&mut chunk, lower)?;
        if let Some(index) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(lower + index as u64 + 1);
        }
        upper = lower;
    }
    Ok(0)
}

fn first_zero(file: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut file = file;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(CHUNK_BYTES as usize, file.take(to - from));
    let mut place = from;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(None);
        }
        if let Some(index) = chunk.iter().position(|byte| *byte == 0) {
            return Ok(Some(place + index as u64));
        }
        let length = chunk.len();
        place += length as u64;
        reader.consume(length);
    }
}

/// Walks from length to length. No record is empty, so zeros end the walk too.
fn whole_frames(file: &File, length: u64) -> io::Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(CHUNK_BYTES as usize, file);
    let mut place = 0_u64;
    loop {
        let mut header = [0; LENGTH_BYTES];
        if length - place < LENGTH_BYTES as u64 {
            return Ok(place);
        }
        reader.read_exact(&mut header)?;
        let record = u64::from(u32::from_be_bytes(header));
        let next = place + LENGTH_BYTES as u64 + record;
        if record == 0 || next > length {
            return Ok(place);
        }
        reader.seek_relative(record as i64)?;
        place = next;
    }
}
