//! The bytes of one log file: header and records.
//!
//! Refuses: IO, and trusting a length before its checksum was compared.

use std::cell::RefCell;

use bytes::Bytes;
use cupola_telemetry::{Batch, Signal, TenantId};
use uuid::Uuid;

use super::JOURNAL_FORMAT;

pub(super) const FILE_HEADER_BYTES: usize = 48;
const FILE_MAGIC: &[u8; 8] = b"CUPOLAWL";
pub(super) const RECORD_HEADER_BYTES: usize = 44;
pub(super) const RECORD_MAGIC: &[u8; 4] = b"CREC";
const CODEC_NONE: u8 = 0;
const CODEC_ZSTD: u8 = 1;
/// Smaller payloads are not worth compressing.
const COMPRESS_BYTES_MIN: usize = 256;
const ZSTD_LEVEL: i32 = 1;
/// No payload is larger when decompressed.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) format: u32,
    pub(super) first_sequence: u64,
    pub(super) journal: Uuid,
}

impl FileHeader {
    pub(super) fn new(first_sequence: u64, journal: Uuid) -> FileHeader {
        FileHeader {
            format: JOURNAL_FORMAT,
            first_sequence,
            journal,
        }
    }

    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut data = [0; FILE_HEADER_BYTES];
        data[..8].copy_from_slice(FILE_MAGIC);
        data[8..12].copy_from_slice(&self.format.to_le_bytes());
        data[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        data[24..40].copy_from_slice(self.journal.as_bytes());
        let checksum = crc32fast::hash(&data[..40]);
        data[40..44].copy_from_slice(&checksum.to_le_bytes());
        data
    }

    /// `None` when this is no header, or a damaged one.
    pub(super) fn decode(data: &[u8]) -> Option<FileHeader> {
        let data = data.get(..FILE_HEADER_BYTES)?;
        if &data[..8] != FILE_MAGIC || !is_checksum(read_u32(data, 40), crc32fast::hash(&data[..40])) {
            return None;
        }
        Some(FileHeader {
            format: read_u32(data, 8),
            first_sequence: read_u64(data, 16),
            journal: Uuid::from_slice(&data[24..40]).ok()?,
        })
    }
}

/// What the checksum of a record header begins with: ties the record to its file.
pub(super) fn checksum_seed(journal: Uuid, file: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(journal.as_bytes());
    hasher.update(&file.to_le_bytes());
    hasher.finalize()
}

/// A fuzzer cannot guess checksums; what is behind them must not panic either.
fn is_checksum(found: u32, computed: u32) -> bool {
    cfg!(fuzzing) || found == computed
}

fn header_checksum(seed: u32, header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&header[8..RECORD_HEADER_BYTES]);
    hasher.finalize()
}

/// A batch as the log keeps it, made before it has a sequence number.
#[derive(Debug)]
pub(crate) struct Payload {
    /// Tenant and payload.
    data: Vec<u8>,
    checksum: u32,
    payload_bytes: u32,
    raw_bytes: u32,
    items: u32,
    signal: u8,
    codec: u8,
    tenant_bytes: u8,
}

thread_local! {
    // A compression context is a megabyte of tables: made once a thread.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses `raw` behind what `data` holds; `false`, and nothing changed, where that gains nothing.
fn compress(raw: &[u8], data: &mut Vec<u8>) -> bool {
    if raw.len() < COMPRESS_BYTES_MIN {
        return false;
    }
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        let Some(compressor) = slot else { return false };
        let start = data.len();
        data.resize(start + zstd::zstd_safe::compress_bound(raw.len()), 0);
        match compressor.compress_to_buffer(raw, &mut data[start..]) {
            Ok(bytes) if bytes < raw.len() => {
                data.truncate(start + bytes);
                true
            }
            _ => {
                data.truncate(start);
                false
            }
        }
    })
}

impl Payload {
    /// Compresses and checksums; `None` for a batch larger than the format can hold.
    pub(crate) fn encode(batch: &Batch) -> Option<Payload> {
        let raw = batch.payload();
        if raw.len() > PAYLOAD_BYTES_MAX {
            return None;
        }
        let tenant = batch.tenant().as_str().as_bytes();
        let mut data = tenant.to_vec();
        let codec = match compress(raw, &mut data) {
            true => CODEC_ZSTD,
            false => {
                data.extend_from_slice(raw);
                CODEC_NONE
            }
        };
        Some(Payload {
            checksum: crc32fast::hash(&data),
            payload_bytes: u32::try_from(data.len() - tenant.len()).ok()?,
            raw_bytes: u32::try_from(raw.len()).ok()?,
            items: u32::try_from(batch.items()).ok()?,
            signal: signal_code(batch.signal()),
            codec,
            tenant_bytes: u8::try_from(tenant.len()).ok()?,
            data,
        })
    }

    /// Bytes of the record.
    pub(super) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.data.len()
    }

    /// Appends the record.
    pub(super) fn write(&self, seed: u32, sequence: u64, received_unix_nano: i64, output: &mut Vec<u8>) {
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(RECORD_MAGIC);
        header[8..12].copy_from_slice(&self.checksum.to_le_bytes());
        header[12..16].copy_from_slice(&self.payload_bytes.to_le_bytes());
        header[16..20].copy_from_slice(&self.raw_bytes.to_le_bytes());
        header[20..24].copy_from_slice(&self.items.to_le_bytes());
        header[24..32].copy_from_slice(&sequence.to_le_bytes());
        header[32..40].copy_from_slice(&received_unix_nano.to_le_bytes());
        header[40] = self.signal;
        header[41] = self.codec;
        header[42] = self.tenant_bytes;
        let checksum = header_checksum(seed, &header);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
        output.extend_from_slice(&header);
        output.extend_from_slice(&self.data);
    }
}

/// The header of a record, its checksum compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordHeader {
    checksum: u32,
    payload_bytes: u32,
    raw_bytes: u32,
    items: u32,
    pub(super) sequence: u64,
    pub(super) received_unix_nano: i64,
    signal: u8,
    codec: u8,
    tenant_bytes: u8,
}

impl RecordHeader {
    /// `None` when there is no intact header at the start of `data`.
    pub(super) fn decode(seed: u32, data: &[u8]) -> Option<RecordHeader> {
        let data = data.get(..RECORD_HEADER_BYTES)?;
        if &data[..4] != RECORD_MAGIC || !is_checksum(read_u32(data, 4), header_checksum(seed, data)) {
            return None;
        }
        Some(RecordHeader {
            checksum: read_u32(data, 8),
            payload_bytes: read_u32(data, 12),
            raw_bytes: read_u32(data, 16),
            items: read_u32(data, 20),
            sequence: read_u64(data, 24),
            received_unix_nano: i64::from_le_bytes(read_u64(data, 32).to_le_bytes()),
            signal: data[40],
            codec: data[41],
            tenant_bytes: data[42],
        })
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + usize::from(self.tenant_bytes) + self.payload_bytes as usize
    }

    /// The batch of this record; `data` is the whole record. The error says what is wrong with it.
    pub(super) fn batch(&self, data: &[u8]) -> Result<Batch, &'static str> {
        let body = &data[RECORD_HEADER_BYTES..];
        if !is_checksum(self.checksum, crc32fast::hash(body)) {
            return Err("the checksum of the payload is wrong");
        }
        let (tenant, payload) = body.split_at(usize::from(self.tenant_bytes));
        let tenant = std::str::from_utf8(tenant).map_err(|_| "the tenant is not UTF-8")?;
        let tenant = TenantId::parse(tenant).map_err(|_| "the tenant is not valid")?;
        let signal = signal_of(self.signal).ok_or("the signal is unknown")?;
        let raw_bytes = self.raw_bytes as usize;
        let raw = match self.codec {
            CODEC_NONE => payload.to_vec(),
            CODEC_ZSTD if raw_bytes <= PAYLOAD_BYTES_MAX => zstd::bulk::decompress(payload, raw_bytes)
                .map_err(|_| "the payload cannot be decompressed")?,
            _ => return Err("the codec or size of the payload is not valid"),
        };
        if raw.len() != raw_bytes {
            return Err("the payload has another size than its header says");
        }
        Ok(Batch::from_canonical(
            signal,
            tenant,
            Bytes::from(raw),
            self.items as usize,
        ))
    }
}

fn signal_code(signal: Signal) -> u8 {
    match signal {
        Signal::Logs => 0,
        Signal::Metrics => 1,
        Signal::Traces => 2,
    }
}

fn signal_of(code: u8) -> Option<Signal> {
    match code {
        0 => Some(Signal::Logs),
        1 => Some(Signal::Metrics),
        2 => Some(Signal::Traces),
        _ => None,
    }
}

fn read_u32(data: &[u8], offset: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&data[offset..offset + 4]);
    u32::from_le_bytes(bytes)
}

fn read_u64(data: &[u8], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&data[offset..offset + 8]);
    u64::from_le_bytes(bytes)
}
