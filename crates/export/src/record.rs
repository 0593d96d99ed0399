//! One batch as bytes on a disk: a header, then tenant, what is known of the sender, and payload, under checksums. Shared by the spool and the dead
//! letters; `spool/FORMAT.md` documents the bytes.
//!
//! Refuses: IO, and trusting a length before its checksum was compared.

use std::sync::Arc;

use bytes::Bytes;
use cupola_telemetry::{Batch, Client, Signal, TenantId};
use memchr::memmem;

pub(crate) const RECORD_HEADER_BYTES: usize = 44;
pub(crate) const RECORD_MAGIC: &[u8; 4] = b"SREC";
const CODEC_NONE: u8 = 0;
const CODEC_ZSTD: u8 = 1;
/// What is known of the sender stands between tenant and payload.
const FLAG_CLIENT: u8 = 1;
/// Smaller payloads are not worth compressing.
const COMPRESS_BYTES_MIN: usize = 256;
const ZSTD_LEVEL: i32 = 1;
/// No payload is larger when decompressed.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// What the checksum of a record header begins with: ties a record to its file, so that bytes within a payload that look
/// like a record are never taken for one.
pub(crate) fn checksum_seed(id: &[u8; 16], number: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id);
    hasher.update(&number.to_le_bytes());
    hasher.finalize()
}

/// Whether a batch can be a record at all.
pub(crate) fn fits(batch: &Batch) -> bool {
    batch.payload().len() <= PAYLOAD_BYTES_MAX && u32::try_from(batch.items()).is_ok()
}

/// Appends the record of a batch that [`fits`]. Compresses where that helps.
pub(crate) fn write(batch: &Batch, seed: u32, sequence: u64, unix_nano: i64, output: &mut Vec<u8>) {
    let start = output.len();
    let raw = batch.payload();
    let tenant = batch.tenant().as_str().as_bytes();
    output.resize(start + RECORD_HEADER_BYTES, 0);
    output.extend_from_slice(tenant);
    let client = batch.client().and_then(|client| client_text(client));
    if let Some(client) = &client {
        output.extend_from_slice(&(client.len() as u32).to_le_bytes());
        output.extend_from_slice(client.as_bytes());
    }
    let codec = match compress(raw, output) {
        true => CODEC_ZSTD,
        false => {
            output.extend_from_slice(raw);
            CODEC_NONE
        }
    };
    let body = start + RECORD_HEADER_BYTES;
    let payload_bytes = output.len() - body - tenant.len();
    let checksum = crc32fast::hash(&output[body..]);
    let header = &mut output[start..body];
    header[..4].copy_from_slice(RECORD_MAGIC);
    header[8..12].copy_from_slice(&checksum.to_le_bytes());
    header[12..16].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
    header[16..20].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    header[20..24].copy_from_slice(&(batch.items() as u32).to_le_bytes());
    header[24..32].copy_from_slice(&sequence.to_le_bytes());
    header[32..40].copy_from_slice(&unix_nano.to_le_bytes());
    header[40] = signal_code(batch.signal());
    header[41] = codec;
    header[42] = tenant.len() as u8;
    header[43] = if client.is_some() { FLAG_CLIENT } else { 0 };
    let checksum = header_checksum(seed, header);
    header[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// What a destination may be told of a sender; `None` if that is nothing. The address is for those before the queue alone.
fn client_text(client: &Client) -> Option<String> {
    let metadata: Vec<_> = client.all_metadata().collect();
    let identity: Vec<_> = client.all_identity().collect();
    let is_known = !metadata.is_empty() || !identity.is_empty();
    // Texts alone, which have a JSON form.
    is_known.then(|| serde_json::to_string(&(metadata, identity)).unwrap_or_default())
}

fn read_client(text: &[u8]) -> Option<Client> {
    type Lists = (Vec<(String, Vec<String>)>, Vec<(String, String)>);
    let (metadata, identity): Lists = serde_json::from_slice(text).ok()?;
    let headers = metadata
        .iter()
        .flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str())));
    Some(Client::default().with_metadata(headers).with_identity(identity))
}

/// Compresses `raw` behind what `output` holds; `false`, and nothing changed, where that gains nothing.
fn compress(raw: &[u8], output: &mut Vec<u8>) -> bool {
    if raw.len() < COMPRESS_BYTES_MIN {
        return false;
    }
    match zstd::bulk::compress(raw, ZSTD_LEVEL) {
        Ok(small) if small.len() < raw.len() => {
            output.extend_from_slice(&small);
            true
        }
        _ => false,
    }
}

fn header_checksum(seed: u32, header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&header[8..RECORD_HEADER_BYTES]);
    hasher.finalize()
}

/// The header of a record, its checksum compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    checksum: u32,
    payload_bytes: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) items: u32,
    pub(crate) sequence: u64,
    pub(crate) unix_nano: i64,
    signal: u8,
    codec: u8,
    tenant_bytes: u8,
    flags: u8,
}

impl RecordHeader {
    /// `None` when there is no intact header at the start of `data`.
    pub(crate) fn decode(seed: u32, data: &[u8]) -> Option<RecordHeader> {
        let data = data.get(..RECORD_HEADER_BYTES)?;
        if &data[..4] != RECORD_MAGIC || read_u32(data, 4) != header_checksum(seed, data) {
            return None;
        }
        Some(RecordHeader {
            checksum: read_u32(data, 8),
            payload_bytes: read_u32(data, 12),
            raw_bytes: read_u32(data, 16),
            items: read_u32(data, 20),
            sequence: read_u64(data, 24),
            unix_nano: read_u64(data, 32) as i64,
            signal: data[40],
            codec: data[41],
            tenant_bytes: data[42],
            flags: data[43],
        })
    }

    /// Bytes of the whole record.
    pub(crate) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + usize::from(self.tenant_bytes) + self.payload_bytes as usize
    }

    pub(crate) fn signal(&self) -> Option<Signal> {
        signal_of(self.signal)
    }

    /// Tenant, of a record of which at least header and tenant are given.
    pub(crate) fn tenant(&self, record: &[u8]) -> Option<TenantId> {
        let end = RECORD_HEADER_BYTES + usize::from(self.tenant_bytes);
        let tenant = record.get(RECORD_HEADER_BYTES..end)?;
        TenantId::parse(std::str::from_utf8(tenant).ok()?).ok()
    }

    /// Whether tenant and payload are what was written; `record` is the whole record.
    pub(crate) fn is_intact(&self, record: &[u8]) -> bool {
        record
            .get(RECORD_HEADER_BYTES..self.record_bytes())
            .is_some_and(|body| crc32fast::hash(body) == self.checksum)
    }

    /// The batch of this record; `record` is the whole record. The error says what is wrong with it.
    pub(crate) fn batch(&self, record: &[u8]) -> Result<Batch, &'static str> {
        if !self.is_intact(record) {
            return Err("the checksum of the payload is wrong");
        }
        let tenant = self.tenant(record).ok_or("the tenant is not valid")?;
        let signal = self.signal().ok_or("the signal is unknown")?;
        let mut payload = &record[RECORD_HEADER_BYTES + usize::from(self.tenant_bytes)..self.record_bytes()];
        let mut client = None;
        if self.flags & FLAG_CLIENT != 0 {
            let (known, rest) = payload
                .split_first_chunk()
                .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize))
                .ok_or("what is known of the sender is cut off")?;
            client = Some(Arc::new(
                read_client(known).ok_or("what is known of the sender is not valid")?,
            ));
            payload = rest;
        }
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
        let items = self.items as usize;
        Ok(Batch::from_canonical(signal, tenant, Bytes::from(raw), items).with_client(client))
    }
}

/// The next intact record header at or after `from`.
pub(crate) fn next_record(seed: u32, data: &[u8], from: usize) -> Option<usize> {
    let rest = data.get(from..)?;
    memmem::find_iter(rest, RECORD_MAGIC)
        .map(|found| from + found)
        .find(|offset| RecordHeader::decode(seed, &data[*offset..]).is_some())
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

pub(crate) fn read_u32(data: &[u8], offset: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&data[offset..offset + 4]);
    u32::from_le_bytes(bytes)
}

pub(crate) fn read_u64(data: &[u8], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&data[offset..offset + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(signal: Signal, payload: Vec<u8>, items: usize) -> Batch {
        let tenant = TenantId::parse("team-a").unwrap();
        Batch::from_canonical(signal, tenant, Bytes::from(payload), items)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            payload in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..2000),
                (any::<u8>(), 0..5000_usize).prop_map(|(byte, count)| vec![byte; count]),
            ],
            client in proptest::option::of((
                proptest::collection::vec(("[a-zA-Z-]{1,9}", "\\PC{0,9}"), 0..4),
                proptest::collection::vec(("[a-z]{1,9}", "\\PC{0,9}"), 0..3),
            )),
            signal in 0..3_usize, items in 0..100_000_usize, seed: u32, sequence: u64, time: i64,
        ) {
            let client = client.map(|(metadata, identity)| {
                let metadata = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                Client::default().with_metadata(metadata).with_identity(identity)
            });
            let known = client.clone().filter(|client| !client.is_empty());
            let client = client.map(|client| Arc::new(client.at_address(std::net::Ipv4Addr::LOCALHOST.into())));
            let batch = batch(Signal::ALL[signal], payload, items).with_client(client);
            let mut data = Vec::new();
            write(&batch, seed, sequence, time, &mut data);
            let header = RecordHeader::decode(seed, &data).unwrap();
            prop_assert_eq!(header.record_bytes(), data.len());
            prop_assert_eq!((header.sequence, header.unix_nano), (sequence, time));
            let read = header.batch(&data).unwrap();
            prop_assert_eq!(read.client().map(|client| (**client).clone()), known);
            prop_assert_eq!(read, batch);
            prop_assert!(RecordHeader::decode(seed ^ 1, &data).is_none());
        }

        #[test]
        fn a_flipped_bit_is_always_seen(
            payload in proptest::collection::vec(any::<u8>(), 0..600), position: prop::sample::Index, bit in 0..8_u8,
        ) {
            let batch = batch(Signal::Logs, payload, 3);
            let mut data = Vec::new();
            write(&batch, 7, 1, 2, &mut data);
            let position = position.index(data.len());
            data[position] ^= 1 << bit;
            let read = RecordHeader::decode(7, &data).map(|header| header.batch(&data));
            prop_assert!(!matches!(read, Some(Ok(_))));
        }

        #[test]
        fn hostile_bytes_never_panic(mut data in proptest::collection::vec(any::<u8>(), 0..200), seed: u32) {
            let _ = next_record(seed, &data, 0);
            if data.len() >= RECORD_HEADER_BYTES {
                data[..4].copy_from_slice(RECORD_MAGIC);
                let checksum = header_checksum(seed, &data);
                data[4..8].copy_from_slice(&checksum.to_le_bytes());
                let header = RecordHeader::decode(seed, &data).unwrap();
                let _ = header.batch(&data);
                let _ = header.tenant(&data);
            }
        }
    }
}
