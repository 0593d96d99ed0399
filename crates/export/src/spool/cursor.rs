//! What has been delivered, as a small file that is replaced as a whole.
//!
//! Refuses: claiming that a batch was delivered when in doubt. A cursor that is missing, damaged or of another spool
//! counts as none, and everything is delivered again.

use std::io;
use std::path::Path;

use crate::fs::{FileSystem, write_durably};
use crate::record::{read_u32, read_u64};

pub(super) const CURSOR_FILE: &str = "cursor";
pub(super) const CURSOR_TEMPORARY: &str = "cursor.tmp";
const CURSOR_MAGIC: &[u8; 8] = b"CUPOLACU";
const CURSOR_FORMAT: u32 = 1;
const FIXED_BYTES: usize = 40;

/// Everything up to `read` is done with, but what is `open`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    pub(super) spool: [u8; 16],
    pub(super) read: u64,
    /// Handed out and not done with.
    pub(super) open: Vec<u64>,
}

impl Cursor {
    fn encode(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(FIXED_BYTES + self.open.len() * 8 + 4);
        data.extend_from_slice(CURSOR_MAGIC);
        data.extend_from_slice(&CURSOR_FORMAT.to_le_bytes());
        data.extend_from_slice(&(self.open.len() as u32).to_le_bytes());
        data.extend_from_slice(&self.spool);
        data.extend_from_slice(&self.read.to_le_bytes());
        for sequence in &self.open {
            data.extend_from_slice(&sequence.to_le_bytes());
        }
        let checksum = crc32fast::hash(&data);
        data.extend_from_slice(&checksum.to_le_bytes());
        data
    }

    fn decode(data: &[u8]) -> Option<Cursor> {
        let (body, checksum) = data.split_at_checked(data.len().checked_sub(4)?)?;
        if body.len() < FIXED_BYTES || &body[..8] != CURSOR_MAGIC || read_u32(body, 8) != CURSOR_FORMAT {
            return None;
        }
        let open = body[FIXED_BYTES..].chunks(8);
        if read_u32(checksum, 0) != crc32fast::hash(body)
            || !(body.len() - FIXED_BYTES).is_multiple_of(8)
            || open.len() != read_u32(body, 12) as usize
        {
            return None;
        }
        let mut spool = [0; 16];
        spool.copy_from_slice(&body[16..32]);
        Some(Cursor {
            spool,
            read: read_u64(body, 32),
            open: open.map(|sequence| read_u64(sequence, 0)).collect(),
        })
    }

    pub(super) fn write(&self, file_system: &dyn FileSystem, directory: &Path) -> io::Result<()> {
        write_durably(
            file_system,
            &directory.join(CURSOR_FILE),
            &directory.join(CURSOR_TEMPORARY),
            &self.encode(),
        )
    }

    /// `Ok(None)` without a file; an error of kind `InvalidData` for one that cannot be read.
    pub(super) fn load(file_system: &dyn FileSystem, directory: &Path) -> io::Result<Option<Cursor>> {
        match file_system.read(&directory.join(CURSOR_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(data) => match Cursor::decode(&data) {
                Some(cursor) => Ok(Some(cursor)),
                None => Err(io::ErrorKind::InvalidData.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_seen() {
        let cursor = Cursor {
            spool: [7; 16],
            read: 12,
            open: vec![3, 9],
        };
        let data = cursor.encode();
        assert_eq!(Cursor::decode(&data), Some(cursor.clone()));
        for position in 0..data.len() {
            let mut damaged = data.clone();
            damaged[position] ^= 4;
            assert_eq!(Cursor::decode(&damaged), None, "{position}");
            assert_eq!(Cursor::decode(&data[..position]), None, "{position}");
        }
    }
}
