//! One dead letter as bytes. Refuses: IO, and panicking, whatever the bytes.

use cupola_telemetry::{Batch, Signal, TENANT_ID_BYTES_MAX, TenantId};

use crate::record::{self, RECORD_HEADER_BYTES, RecordHeader, checksum_seed, read_u32, read_u64};

pub(super) const LETTER_SUFFIX: &str = ".letter";
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";
const LETTER_MAGIC: &[u8; 8] = b"CUPOLADL";
const LETTER_FORMAT: u32 = 1;
const FIXED_BYTES: usize = 44;
/// Longer reasons and names are cut.
const TEXT_BYTES_MAX: usize = 4096;
/// Everything of a letter but the payload is within this.
pub(super) const HEAD_BYTES_MAX: usize =
    FIXED_BYTES + 2 * TEXT_BYTES_MAX + 4 + RECORD_HEADER_BYTES + TENANT_ID_BYTES_MAX;

/// A batch that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) exporter: String,
    pub(super) reason: String,
    pub(super) attempts: u32,
    pub(super) unix_nano: i64,
    pub(super) batch: Batch,
}

/// What a letter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names the letter within its directory; sorts by time.
    pub id: String,
    pub exporter: String,
    pub signal: Signal,
    pub tenant: TenantId,
    pub items: u64,
    /// Of the payload.
    pub bytes: u64,
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub unix_nano: i64,
}

pub(super) fn new_id(unix_nano: i64) -> String {
    format!("{:020}-{:08x}", unix_nano.max(0), rand::random::<u32>())
}

/// Whether this is an id, and no path to somewhere else.
pub(super) fn is_letter(id: &str) -> bool {
    let Some((time, random)) = id.split_once('-') else {
        return false;
    };
    time.len() == 20
        && random.len() == 8
        && time.bytes().all(|byte| byte.is_ascii_digit())
        && random.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// The parts before the record.
struct Head<'d> {
    exporter: &'d str,
    reason: &'d str,
    attempts: u32,
    unix_nano: i64,
    seed: u32,
    bytes: usize,
}

impl Letter {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (exporter, reason) = (cut(&self.exporter), cut(&self.reason));
        let id: [u8; 16] = rand::random();
        let mut data = Vec::with_capacity(HEAD_BYTES_MAX + self.batch.payload().len());
        data.extend_from_slice(LETTER_MAGIC);
        data.extend_from_slice(&LETTER_FORMAT.to_le_bytes());
        data.extend_from_slice(&self.attempts.to_le_bytes());
        data.extend_from_slice(&self.unix_nano.to_le_bytes());
        data.extend_from_slice(&id);
        data.extend_from_slice(&(exporter.len() as u16).to_le_bytes());
        data.extend_from_slice(&(reason.len() as u16).to_le_bytes());
        data.extend_from_slice(exporter.as_bytes());
        data.extend_from_slice(reason.as_bytes());
        let checksum = crc32fast::hash(&data);
        data.extend_from_slice(&checksum.to_le_bytes());
        record::write(&self.batch, checksum_seed(&id, 0), 1, self.unix_nano, &mut data);
        data
    }

    pub(super) fn decode(data: &[u8]) -> Result<Letter, &'static str> {
        let head = head(data)?;
        let record = &data[head.bytes..];
        let header = RecordHeader::decode(head.seed, record).ok_or("the batch has no intact header")?;
        if record.len() < header.record_bytes() {
            return Err("the batch is cut off");
        }
        Ok(Letter {
            exporter: head.exporter.to_owned(),
            reason: head.reason.to_owned(),
            attempts: head.attempts,
            unix_nano: head.unix_nano,
            batch: header.batch(record)?,
        })
    }
}

/// What is said of a letter, of which at least [`HEAD_BYTES_MAX`] are given or all.
pub(super) fn entry(id: &str, data: &[u8]) -> Result<Entry, &'static str> {
    let head = head(data)?;
    let record = &data[head.bytes..];
    let header = RecordHeader::decode(head.seed, record).ok_or("the batch has no intact header")?;
    Ok(Entry {
        id: id.to_owned(),
        exporter: head.exporter.to_owned(),
        signal: header.signal().ok_or("the signal is unknown")?,
        tenant: header.tenant(record).ok_or("the tenant is not valid")?,
        items: header.items.into(),
        bytes: header.raw_bytes.into(),
        reason: head.reason.to_owned(),
        attempts: head.attempts,
        unix_nano: head.unix_nano,
    })
}

fn head(data: &[u8]) -> Result<Head<'_>, &'static str> {
    let fixed = data.get(..FIXED_BYTES).ok_or("it is cut off")?;
    if &fixed[..8] != LETTER_MAGIC {
        return Err("it does not begin like a dead letter");
    }
    if read_u32(fixed, 8) != LETTER_FORMAT {
        return Err("it has a format that this version does not know");
    }
    let length = |at: usize| usize::from(u16::from_le_bytes([fixed[at], fixed[at + 1]]));
    let (reason_at, end) = (FIXED_BYTES + length(40), FIXED_BYTES + length(40) + length(42));
    let checksum = data.get(end..end + 4).ok_or("it is cut off")?;
    if read_u32(checksum, 0) != crc32fast::hash(&data[..end]) {
        return Err("its checksum is wrong");
    }
    let mut id = [0; 16];
    id.copy_from_slice(&fixed[24..40]);
    let text = |data| std::str::from_utf8(data).map_err(|_| "a text is not UTF-8");
    Ok(Head {
        exporter: text(&data[FIXED_BYTES..reason_at])?,
        reason: text(&data[reason_at..end])?,
        attempts: read_u32(fixed, 12),
        unix_nano: read_u64(fixed, 16) as i64,
        seed: checksum_seed(&id, 0),
        bytes: end + 4,
    })
}
