//! Attributes of one span, event, link or log record, in the form in which they will be sent. Owns the limits: how many,
//! how long, and what is dropped beyond.
//!
//! <https://opentelemetry.io/docs/specs/otel/common/#attribute-limits>

use cupola_telemetry::view::AnyValue;
use cupola_telemetry::wire;
use smallvec::SmallVec;

use crate::value::Value;

/// Bounds of a set of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeLimits {
    /// One more, and the oldest is dropped.
    pub count: usize,
    /// Longest text, in characters; bytes for values of bytes. Longer ones are cut.
    pub value_length: Option<usize>,
}

impl Default for AttributeLimits {
    fn default() -> Self {
        AttributeLimits {
            count: 128,
            value_length: None,
        }
    }
}

/// Room for several attributes, made with the first: to grow to it byte by byte takes longer than to write them.
const FIRST_BYTES: usize = 256;

/// Attributes as fields of the message that they belong to, each key once.
///
/// The specification has the newest attribute dropped where there are too many; here it is the oldest, as in the SDK for
/// Python: what is set last, such as a result or an error, tells most.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// `KeyValue` messages, each behind its field number and length.
    bytes: Vec<u8>,
    entries: SmallVec<[Entry; 8]>,
    limits: AttributeLimits,
    field: u32,
    dropped: u32,
}

/// Where one attribute stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    /// Of the text of the key.
    key: u32,
    key_length: u32,
    end: u32,
}

impl Entry {
    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    fn key(self) -> std::ops::Range<usize> {
        self.key as usize..(self.key + self.key_length) as usize
    }
}

impl Attributes {
    /// None yet, for field `field` of the message that they will be in.
    pub fn new(field: u32, limits: AttributeLimits) -> Attributes {
        Attributes {
            bytes: Vec::new(),
            entries: SmallVec::new(),
            limits,
            field,
            dropped: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Attributes that are not here because there were too many, or because they had no name.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// What is written into the message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sets one, in place of an earlier one of its key.
    #[inline]
    pub fn set<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.set_value(key, value.into());
    }

    fn set_value(&mut self, key: &str, value: Value<'_>) {
        if key.is_empty() || self.limits.count == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        if let Some(index) = self.index_of(key) {
            self.remove_at(index);
        } else if self.entries.len() >= self.limits.count {
            self.remove_at(0);
            self.dropped = self.dropped.saturating_add(1);
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FIRST_BYTES);
        }
        let start = self.bytes.len();
        let pair = wire::open(&mut self.bytes, self.field);
        wire::write_bytes(&mut self.bytes, 1, key.as_bytes());
        let key_end = self.bytes.len();
        value.write(&mut self.bytes, 2, self.limits.value_length);
        let length = self.bytes.len() - pair;
        wire::close(&mut self.bytes, pair);
        // The length in front of a long pair takes more than the byte that was left for it, and moves it.
        let moved = wire::varint_length(length as u64) - 1;
        let key_start = key_end - key.len() + moved;
        let positions = (
            u32::try_from(start),
            u32::try_from(key_start),
            u32::try_from(key.len()),
            u32::try_from(self.bytes.len()),
        );
        if let (Ok(start), Ok(key), Ok(key_length), Ok(end)) = positions {
            self.entries.push(Entry {
                start,
                key,
                key_length,
                end,
            });
        } else {
            // Four gigabytes in one record.
            self.bytes.truncate(start);
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<AnyValue<'_>> {
        let entry = self.entries[self.index_of(key)?];
        // Behind the key: one byte of field number, then the length.
        let value = &self.bytes[entry.key().end + 1..entry.end as usize];
        let length_bytes = value.iter().position(|byte| *byte < 0x80)? + 1;
        Some(AnyValue::parse(&value[length_bytes..]))
    }

    #[inline]
    fn index_of(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.key_length as usize == key.len() && &self.bytes[entry.key()] == key.as_bytes()
        })
    }

    fn remove_at(&mut self, index: usize) {
        let removed = self.entries.remove(index);
        self.bytes.drain(removed.range());
        let length = removed.end - removed.start;
        for entry in &mut self.entries[index..] {
            entry.start -= length;
            entry.key -= length;
            entry.end -= length;
        }
    }
}
