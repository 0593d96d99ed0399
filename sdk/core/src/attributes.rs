//! Attributes of one span, event, link or log record, in the form in which they will be sent. Owns the limits: how many,
//! how long, and what is dropped beyond.
//!
//! <https://opentelemetry.io/docs/specs/otel/common/#attribute-limits>

use cupola_telemetry::view::AnyValue;
use cupola_telemetry::wire::{LENGTH, varint_length};

use crate::room::{Room, field_length, length_length};
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
const FIRST_BYTES: usize = 512;
/// Longest message that a reader of protobuf takes.
const BYTES_MAX: usize = i32::MAX as usize;
/// In front of a key and of a value in a `KeyValue`.
const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

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
    /// A bit for each key that was set, several keys sharing one: where it is not there, the key is new, and nobody needs to look.
    seen: u64,
    field: u32,
    count: u32,
    dropped: u32,
    limits: Limits,
}

/// [`AttributeLimits`] in the few bytes that each record has for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    count: u32,
    /// [`u32::MAX`] for none: no text is as long.
    value_length: u32,
}

impl From<AttributeLimits> for Limits {
    fn from(limits: AttributeLimits) -> Limits {
        let small = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        Limits {
            count: small(limits.count),
            value_length: limits.value_length.map_or(u32::MAX, small),
        }
    }
}

/// Where one attribute stands.
struct Place<'a> {
    start: usize,
    end: usize,
    key: &'a [u8],
    /// An `AnyValue`.
    value: &'a [u8],
}

impl<'a> Place<'a> {
    fn key(&self) -> &'a str {
        // It was written from a text.
        std::str::from_utf8(self.key).unwrap_or_default()
    }
}

impl Attributes {
    /// None yet, for field `field` of the message that they will be in.
    pub fn new(field: u32, limits: AttributeLimits) -> Attributes {
        Attributes::within(field, limits.into())
    }

    #[inline]
    pub(crate) fn within(field: u32, limits: Limits) -> Attributes {
        Attributes {
            bytes: Vec::new(),
            seen: 0,
            field,
            count: 0,
            dropped: 0,
            limits,
        }
    }

    /// Forgets all of them, and keeps their memory for the next.
    pub fn clear(&mut self, limits: AttributeLimits) {
        match self.bytes.capacity() > KEPT_BYTES_MAX {
            true => self.bytes = Vec::new(),
            false => self.bytes.clear(),
        }
        self.seen = 0;
        self.count = 0;
        self.limits = limits.into();
        self.dropped = 0;
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// It has memory that is worth keeping for others.
    pub(crate) fn has_memory(&self) -> bool {
        (1..=KEPT_BYTES_MAX).contains(&self.bytes.capacity())
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
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
        if !self.make_room(key.as_bytes()) {
            return;
        }
        let characters_max = match self.limits.value_length {
            u32::MAX => None,
            most => Some(most as usize),
        };
        let is_written = match value.scalar(characters_max) {
            Some(value) => self.push(key, value.length(), |room| value.write(room)),
            None => {
                let mut nested = Vec::new();
                value.write_message(&mut nested, characters_max);
                self.push(key, nested.len(), |room| room.slice(&nested))
            }
        };
        match is_written {
            true => self.count += 1,
            false => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// Takes out the one of this key, or the oldest where there are as many as may be. Whether there can be one.
    #[inline(always)]
    fn make_room(&mut self, key: &[u8]) -> bool {
        if key.is_empty() || self.limits.count == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        let mark = mark(key);
        if self.seen & mark != 0
            && let Some(range) = self.find(key).map(|place| place.start..place.end)
        {
            self.remove(range);
        } else if self.count >= self.limits.count {
            let oldest = self.places().next().map_or(0, |place| place.end);
            self.remove(0..oldest);
            self.dropped = self.dropped.saturating_add(1);
        }
        self.seen |= mark;
        true
    }

    /// Adds a pair whose value has that length. Whether it can be sent: two gigabytes in one record cannot.
    #[inline(always)]
    fn push(&mut self, key: &str, value_length: usize, write: impl FnOnce(&mut Room<'_>)) -> bool {
        let pair_length = field_length(key.len()) + field_length(value_length);
        let needed = varint_length(u64::from(self.field) << 3) + length_length(pair_length) + pair_length;
        if needed > BYTES_MAX - self.bytes.len() {
            return false;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = Vec::with_capacity(FIRST_BYTES.max(needed));
        }
        let mut room = Room::open(&mut self.bytes, needed);
        if pair_length < 0x80 && self.field < 16 {
            // Numbers of one byte, which is what nearly all are.
            let [tag, key_length] = [(self.field << 3 | LENGTH) as u8, key.len() as u8];
            room.array([tag, pair_length as u8, KEY, key_length]);
            room.slice(key.as_bytes());
            room.array([VALUE, value_length as u8]);
        } else {
            room.message(self.field, pair_length);
            room.array([KEY]);
            room.varint(key.len() as u64);
            room.slice(key.as_bytes());
            room.array([VALUE]);
            room.varint(value_length as u64);
        }
        write(&mut room);
        room.close();
        true
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<AnyValue<'_>> {
        Some(AnyValue::parse(self.find(key.as_bytes())?.value))
    }

    /// All of them, in the order in which they stand.
    pub fn iter(&self) -> impl Iterator<Item = (&str, AnyValue<'_>)> {
        self.places()
            .map(|place| (place.key(), AnyValue::parse(place.value)))
    }

    /// Begins with these: quicker than to write them again. Of those that are there already, their own values count.
    pub fn begin_with(&mut self, others: &Attributes) {
        // Keys whose bits are others are others.
        let is_plain = self.seen & others.seen == 0
            && self.field == others.field
            && self.limits.value_length == u32::MAX
            && others.count <= self.limits.count.saturating_sub(self.count)
            && others.bytes.len() <= BYTES_MAX - self.bytes.len();
        if !is_plain {
            self.inherit(others, |_| true);
            return;
        }
        self.reserve(2 * others.bytes.len());
        self.bytes.extend_from_slice(&others.bytes);
        self.count += others.count;
        self.seen |= others.seen;
    }

    /// Sets one, unless there is one of its key, or no room: then it is dropped.
    pub fn set_if_absent<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        if self.has(key.as_bytes()) {
            return;
        }
        match self.count < self.limits.count {
            true => self.set(key, value),
            false => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// Adds those of `others` whose keys are wanted and not here yet, as they are written there. Never in place of one that is
    /// here: where there is no room they are dropped.
    ///
    /// Keys are shown to `is_wanted` in UTF-8.
    pub fn inherit(&mut self, others: &Attributes, is_wanted: impl Fn(&[u8]) -> bool) {
        for place in others.places() {
            if !is_wanted(place.key) || self.has(place.key) {
                continue;
            }
            match self.count < self.limits.count {
                true => self.set_as_written(others, &place),
                false => self.dropped = self.dropped.saturating_add(1),
            }
        }
    }

    /// Sets all of `others`, as they are written there, in place of those of their keys.
    pub fn replace(&mut self, others: &Attributes) {
        self.dropped = self.dropped.saturating_add(others.dropped);
        for place in others.places() {
            self.set_as_written(others, &place);
        }
    }

    /// Sets one that stands in `others`; texts and bytes as long as they may be here.
    fn set_as_written(&mut self, others: &Attributes, place: &Place<'_>) {
        if self.limits.value_length != u32::MAX {
            match AnyValue::parse(place.value) {
                AnyValue::String(text) => return self.set(place.key(), text),
                AnyValue::Bytes(bytes) => return self.set(place.key(), bytes),
                _ => {}
            }
        }
        if self.make_room(place.key) {
            self.copy(others, place);
        }
    }

    /// Adds one as it is written there, but for the number of the field.
    fn copy(&mut self, others: &Attributes, place: &Place<'_>) {
        let written = &others.bytes[place.start..place.end];
        if written.len() > BYTES_MAX - self.bytes.len() {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.reserve(written.len());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(written);
        // Numbers of fields with attributes are below 16, and take one byte.
        self.bytes[start] = (self.field << 3 | LENGTH) as u8;
        self.count += 1;
    }

    /// Makes the room that the first one makes.
    fn reserve(&mut self, bytes: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FIRST_BYTES.max(bytes));
        }
    }

    fn has(&self, key: &[u8]) -> bool {
        self.seen & mark(key) != 0 && self.find(key).is_some()
    }

    fn find(&self, key: &[u8]) -> Option<Place<'_>> {
        self.places().find(|place| place.key == key)
    }

    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = at;
            // Behind the field number and the length of the pair.
            at = number_at(&self.bytes, number_at(&self.bytes, start)?.1)?.1;
            let key = member(&self.bytes, &mut at, KEY)?;
            let value = member(&self.bytes, &mut at, VALUE)?;
            Some(Place {
                start,
                end: at,
                key,
                value,
            })
        })
    }

    fn remove(&mut self, range: std::ops::Range<usize>) {
        self.bytes.drain(range);
        self.count -= 1;
    }
}

/// The bit that a key sets: few of one record share their last eight bytes and their length.
#[inline(always)]
fn mark(bytes: &[u8]) -> u64 {
    let end = match (bytes.last_chunk::<8>(), bytes) {
        (Some(end), _) => u64::from_le_bytes(*end),
        (None, [first, .., last]) => {
            u64::from_le_bytes([*first, bytes[bytes.len() / 2], *last, 0, 0, 0, 0, 0])
        }
        (None, [only]) => u64::from(*only),
        (None, []) => 0,
    };
    // The golden ratio, as hashes of numbers use it: the upper bits depend on all.
    let mixed = (end ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1 << (mixed >> 58)
}

/// A varint, and where it ends.
#[inline]
fn number_at(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value, at));
        }
        shift += 7;
    }
}

/// A field of bytes at `at`, which is moved behind it.
#[inline]
fn member<'a>(bytes: &'a [u8], at: &mut usize, field: u8) -> Option<&'a [u8]> {
    debug_assert_eq!(bytes.get(*at), Some(&field));
    let (length, start) = number_at(bytes, *at + 1)?;
    *at = start + length;
    bytes.get(start..*at)
}
