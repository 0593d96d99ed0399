//! Going through the bytes of one file: every intact record, every damaged place, and where it ends.
//!
//! Refuses: panicking, whatever the bytes, and calling a batch torn that may have been acknowledged.

use super::open::load_of;
use crate::queue::Load;
use crate::record::{RECORD_HEADER_BYTES, RecordHeader, next_record};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) records: Vec<FoundRecord>,
    pub(super) damages: Vec<Damage>,
    /// Behind the last thing worth reading.
    pub(super) end: usize,
    pub(super) tail: Tail,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundRecord {
    pub(super) sequence: u64,
    pub(super) load: Load,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Of the record, if its header is intact.
    pub(super) items: Option<u32>,
    pub(super) reason: &'static str,
}

/// What is behind the last record.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(super) enum Tail {
    #[default]
    Nothing,
    /// A write that was never acknowledged.
    Torn,
    Damaged,
}

/// Scans from `start`. Numbers up to `known` are none of this file's; up to `acknowledged` they are, as the next file says.
pub(super) fn scan(
    data: &[u8],
    start: usize,
    seed: u32,
    known: u64,
    acknowledged: Option<u64>,
    is_last: bool,
) -> Scan {
    let mut scan = Scan::default();
    let mut offset = start;
    let mut last = known;
    while offset < data.len() {
        let rest = &data[offset..];
        let header = RecordHeader::decode(seed, rest);
        if let Some((header, record)) = header.and_then(|h| Some((h, rest.get(..h.record_bytes())?))) {
            let end = offset + header.record_bytes();
            last = last.max(header.sequence);
            match header.is_intact(record) {
                true => scan.records.push(FoundRecord {
                    sequence: header.sequence,
                    load: load_of(&header),
                }),
                false => scan.damages.push(Damage {
                    start: offset,
                    end,
                    items: Some(header.items),
                    reason: "the checksum of a batch is wrong",
                }),
            }
            offset = end;
            continue;
        }
        let Some(next) = next_record(seed, data, offset + 1) else {
            break;
        };
        scan.damages.push(Damage {
            start: offset,
            end: next,
            items: None,
            reason: "no intact record is here",
        });
        offset = next;
    }
    scan.end = offset.min(data.len());
    let missing = acknowledged.is_some_and(|acknowledged| acknowledged > last);
    if scan.end == data.len() && !missing {
        return scan;
    }
    let rest = &data[scan.end..];
    let unfinished = rest.len() < RECORD_HEADER_BYTES
        || RecordHeader::decode(seed, rest).is_some()
        || rest.iter().all(|byte| *byte == 0);
    let torn = match acknowledged {
        Some(_) => !missing,
        None => is_last && unfinished,
    };
    if torn {
        scan.tail = Tail::Torn;
    } else {
        scan.tail = Tail::Damaged;
        scan.damages.push(Damage {
            start: scan.end,
            end: data.len(),
            items: None,
            reason: "the end of the file is missing or damaged",
        });
        scan.end = data.len();
    }
    scan
}
