//! Attributes of one span, event, link or log record, in the form in which they will be sent. Owns the limits: how many,
//! how long, and what is dropped beyond.
//!
//! <https://opentelemetry.io/docs/specs/otel/common/#attribute-limits>

use cupola_telemetry::view::AnyValue;
use cupola_telemetry::wire::{self, LENGTH};
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

/// More is not kept for the next set.
const KEPT_BYTES_MAX: usize = 64 * 1024;

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

    /// Forgets all of them, and keeps their memory for the next.
    pub fn clear(&mut self, limits: AttributeLimits) {
        match self.bytes.capacity() > KEPT_BYTES_MAX {
            true => self.bytes = Vec::new(),
            false => self.bytes.clear(),
        }
        self.entries.clear();
        self.limits = limits;
        self.dropped = 0;
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
        if !self.make_room(key) {
            return;
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
        Some(self.value_of(self.entries[self.index_of(key)?]))
    }

    /// All of them, in the order in which they stand.
    pub fn iter(&self) -> impl Iterator<Item = (&str, AnyValue<'_>)> {
        self.entries.iter().map(|entry| {
            // A key was written from a text.
            let key = std::str::from_utf8(&self.bytes[entry.key()]).unwrap_or_default();
            (key, self.value_of(*entry))
        })
    }

    /// Begins with these: quicker than to write them again. Of those that are there already, their own values count.
    pub fn begin_with(&mut self, others: &Attributes) {
        let is_plain = self.is_empty()
            && self.field == others.field
            && self.limits.value_length.is_none()
            && others.len() <= self.limits.count;
        if !is_plain {
            self.inherit(others, |_| true);
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FIRST_BYTES.max(2 * others.bytes.len()));
        }
        self.bytes.extend_from_slice(&others.bytes);
        self.entries.extend_from_slice(&others.entries);
    }

    /// Sets one, unless there is one of its key, or no room: then it is dropped.
    pub fn set_if_absent<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        if self.index_of(key).is_some() {
            return;
        }
        match self.entries.len() < self.limits.count {
            true => self.set(key, value),
            false => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// Adds those of `others` whose keys are wanted and not here yet, as they are written there. Never in place of one that is
    /// here: where there is no room they are dropped.
    pub fn inherit(&mut self, others: &Attributes, is_wanted: impl Fn(&str) -> bool) {
        for entry in &others.entries {
            let key = std::str::from_utf8(&others.bytes[entry.key()]).unwrap_or_default();
            if !is_wanted(key) || self.index_of(key).is_some() {
                continue;
            }
            if self.entries.len() >= self.limits.count {
                self.dropped = self.dropped.saturating_add(1);
                continue;
            }
            match (self.limits.value_length, others.value_of(*entry)) {
                (Some(_), AnyValue::String(text)) => self.set(key, text),
                (Some(_), AnyValue::Bytes(bytes)) => self.set(key, bytes),
                _ => self.copy(others, *entry),
            }
        }
    }

    /// Sets all of `others`, as they are written there, in place of those of their keys.
    pub fn replace(&mut self, others: &Attributes) {
        self.dropped = self.dropped.saturating_add(others.dropped);
        for entry in &others.entries {
            let key = std::str::from_utf8(&others.bytes[entry.key()]).unwrap_or_default();
            match (self.limits.value_length, others.value_of(*entry)) {
                (Some(_), AnyValue::String(text)) => self.set(key, text),
                (Some(_), AnyValue::Bytes(bytes)) => self.set(key, bytes),
                _ if self.make_room(key) => self.copy(others, *entry),
                _ => {}
            }
        }
    }

    /// Takes out the one of this key, or the oldest where there are as many as may be. Whether there can be one.
    #[inline]
    fn make_room(&mut self, key: &str) -> bool {
        if key.is_empty() || self.limits.count == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        if let Some(index) = self.index_of(key) {
            self.remove_at(index);
        } else if self.entries.len() >= self.limits.count {
            self.remove_at(0);
            self.dropped = self.dropped.saturating_add(1);
        }
        true
    }

    /// Adds one as it is written there, but for the number of the field.
    fn copy(&mut self, others: &Attributes, entry: Entry) {
        let end = self.bytes.len() + entry.range().len();
        let (Ok(start), Ok(end)) = (u32::try_from(self.bytes.len()), u32::try_from(end)) else {
            self.dropped = self.dropped.saturating_add(1);
            return;
        };
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FIRST_BYTES);
        }
        self.bytes.extend_from_slice(&others.bytes[entry.range()]);
        // Numbers of fields with attributes are below 16, and take one byte.
        self.bytes[start as usize] = (self.field << 3 | LENGTH) as u8;
        self.entries.push(Entry {
            start,
            key: start + (entry.key - entry.start),
            key_length: entry.key_length,
            end,
        });
    }

    fn value_of(&self, entry: Entry) -> AnyValue<'_> {
        // Behind the key: one byte of field number, then the length.
        let value = &self.bytes[entry.key().end + 1..entry.end as usize];
        let length_bytes = value.iter().position(|byte| *byte < 0x80).unwrap_or(0) + 1;
        AnyValue::parse(value.get(length_bytes..).unwrap_or_default())
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
