//! `Map`: attributes, or the pairs of a key-value-list value, in the sender's order.

use std::borrow::Cow;
use std::collections::HashMap;

use super::field::Fields;
use super::value::{Lazy, MAP_LEVELS, Value, nesting_of};
use crate::wire::{close, open, text, write_bytes};

/// Number of the list in an `AnyValue`, of a pair in a `KeyValueList`, of key and value in a pair.
const LIST: u32 = 6;
const PAIR: u32 = 1;
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// Comparisons of keys that a merge may take before it looks keys up by hash.
const COMPARISONS_MAX: usize = 1024;

/// Pairs of keys and values. Bytes until changed.
///
/// A key that is there twice is found where it is first; removing a key removes all of it.
#[derive(Clone, Debug, Default)]
pub struct Map<'a> {
    /// Says what is there until all is `loaded`.
    source: Source<'a>,
    /// The pair of the source that is gone, by its place among them.
    gone: Option<usize>,
    /// What comes behind the pairs of the source; once `loaded`, everything.
    entries: Vec<Entry<'a>>,
    loaded: bool,
    changed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Source<'a> {
    #[default]
    None,
    /// An encoded `AnyValue`: its unknown fields stay.
    AnyValue(&'a [u8]),
    /// A message, and the number of its repeated pairs.
    Message(&'a [u8], u32),
}

#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// The encoded pair that this came from: its unknown fields stay.
    pair: &'a [u8],
    key: Cow<'a, str>,
    /// `None` as long as the pair has it.
    value: Option<Lazy<'a>>,
    renamed: bool,
}

impl<'a> Map<'a> {
    pub fn new() -> Self {
        Self {
            source: Source::None,
            gone: None,
            entries: Vec::new(),
            loaded: true,
            changed: true,
        }
    }

    pub(super) fn of_any_value(raw: &'a [u8]) -> Self {
        Self {
            source: Source::AnyValue(raw),
            gone: None,
            entries: Vec::new(),
            loaded: false,
            changed: false,
        }
    }

    /// The pairs that `message` has as field `number`; `spare` is room for when they are changed.
    pub(super) fn of_message(message: &'a [u8], number: u32, spare: Vec<Entry<'a>>) -> Self {
        Self {
            source: Source::Message(message, number),
            gone: None,
            entries: spare,
            loaded: false,
            changed: false,
        }
    }

    /// For pairs that do not lie in one piece.
    pub(super) fn of_pairs(pairs: impl Iterator<Item = &'a [u8]>) -> Self {
        Self {
            source: Source::None,
            gone: None,
            entries: pairs.map(Entry::of_pair).collect(),
            loaded: true,
            changed: false,
        }
    }

    /// Whether it may differ from what it was made of.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The pairs of the source, as long as it says what is there.
    #[inline]
    fn raw_pairs(&self) -> RawPairs<'a> {
        let (message, number) = match self.source {
            _ if self.loaded => (&[][..], PAIR),
            Source::None => (&[][..], PAIR),
            Source::Message(message, number) => (message, number),
            Source::AnyValue(raw) => (Fields::new(raw).next_contents(LIST).unwrap_or_default(), PAIR),
        };
        RawPairs {
            left_before_gone: self.gone.unwrap_or(usize::MAX),
            ..RawPairs::new(message, number)
        }
    }

    pub fn len(&self) -> usize {
        self.raw_pairs().count() + self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.raw_pairs().next().is_none()
    }

    /// Value of the first pair named `key`.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        if let Some(pair) = find(self.raw_pairs(), key) {
            return Some(value_of_pair(pair));
        }
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.key == key).map(Entry::value)
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key) || find(self.raw_pairs(), key).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> + use<'a, '_> {
        let raw = self.raw_pairs();
        let raw = raw.map(|pair| (Cow::Borrowed(key_of_pair(pair)), value_of_pair(pair)));
        let entries = self.entries.iter();
        raw.chain(entries.map(|entry| (entry.key.clone(), entry.value())))
    }

    /// The room that its entries took.
    pub(super) fn into_spare(self) -> Vec<Entry<'a>> {
        self.entries
    }

    /// The same map, which counts as changed.
    pub(super) fn into_changed(mut self) -> Self {
        self.entries_mut();
        self
    }

    /// All pairs, to be changed.
    fn entries_mut(&mut self) -> &mut Vec<Entry<'a>> {
        self.changed = true;
        if !self.loaded {
            let pairs = self.raw_pairs();
            self.entries.splice(0..0, pairs.map(Entry::of_pair));
            self.loaded = true;
            self.gone = None;
        }
        &mut self.entries
    }

    fn load_if_changed(&mut self) {
        if self.changed {
            self.entries_mut();
        }
    }

    /// Sets the first pair named `key`, or appends one.
    pub fn set(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        if find(self.raw_pairs(), &key).is_some() {
            self.entries_mut();
        }
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => {
                entry.value = Some(Lazy::value(value));
                self.changed = true;
            }
            None => self.push(key, value),
        }
    }

    /// Appends a pair without a look at what is there.
    pub fn push(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        self.changed = true;
        self.entries.push(Entry::new(key, value));
    }

    /// Sets the pair `to` to the value of the first pair named `from`, and removes every pair named `from`. Does
    /// nothing if there is none.
    pub fn move_value(&mut self, from: &str, to: Cow<'a, str>) {
        if self.gone.is_none() && self.entries.is_empty() {
            let mut first = None;
            let mut others = false;
            for (index, pair) in self.raw_pairs().enumerate() {
                let key = raw_key_of_pair(pair);
                if key == from.as_bytes() && first.is_none() {
                    first = Some((index, pair));
                } else {
                    others |= key == from.as_bytes() || key == to.as_bytes();
                }
            }
            let Some((index, pair)) = first else {
                return;
            };
            if !others && from != to {
                self.gone = Some(index);
                self.push(to, value_of_pair(pair));
                return;
            }
        }
        if let Some(value) = self.get(from) {
            self.set(to, value);
            self.remove(from);
        }
    }

    /// The map or array that the first pair named `key` has, to be changed.
    pub fn inner_mut(&mut self, key: &str) -> Option<&mut Value<'a>> {
        if !matches!(self.get(key)?, Value::Map(_) | Value::Array(_)) {
            return None;
        }
        let entry = self.entries_mut().iter_mut().find(|entry| entry.key == key)?;
        Some(entry.value_mut())
    }

    /// Removes every pair named `key`. Says whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let pairs = self.raw_pairs().enumerate();
        let mut named = pairs.filter(|(_, pair)| raw_key_of_pair(pair) == key.as_bytes());
        let removed = match (named.next(), named.next(), self.gone) {
            (None, ..) => false,
            (Some((index, _)), None, None) => {
                self.gone = Some(index);
                true
            }
            _ => {
                self.entries_mut();
                false
            }
        };
        let before = self.entries.len();
        self.entries.retain(|entry| entry.key != key);
        let removed = removed || self.entries.len() != before;
        self.changed |= removed;
        removed
    }

    /// Gives the pairs for which `rename` says a name that name, in their places. Where others have it too, the last of
    /// them takes the place of the first.
    pub fn rename_keys<E>(
        &mut self,
        mut rename: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<(), E> {
        let mut renamed = Vec::new();
        for (index, (key, _)) in self.iter().enumerate() {
            if let Some(new) = rename(&key)?.filter(|new| *new != key) {
                renamed.push((index, new));
            }
        }
        if renamed.is_empty() {
            return Ok(());
        }
        let mut places: HashMap<String, Option<usize>> = HashMap::with_capacity(renamed.len());
        let mut entries = std::mem::take(self.entries_mut());
        for (index, new) in renamed {
            if let Some(entry) = entries.get_mut(index) {
                places.insert(new.clone(), None);
                entry.key = Cow::Owned(new);
                entry.renamed = true;
            }
        }
        let mut kept: Vec<Entry<'a>> = Vec::with_capacity(entries.len());
        for entry in entries.drain(..) {
            match places.get_mut(&*entry.key) {
                Some(Some(place)) => kept[*place] = entry,
                Some(place) => {
                    *place = Some(kept.len());
                    kept.push(entry);
                }
                None => kept.push(entry),
            }
        }
        self.entries = kept;
        Ok(())
    }

    /// Keeps the pairs of which `keep` says so. Decodes nothing but keys, and copies nothing if all are kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> bool {
        self.load_if_changed();
        if self.loaded {
            let entries = &mut self.entries;
            let before = entries.len();
            entries.retain(|entry| keep(&entry.key));
            let removed = entries.len() != before;
            self.changed |= removed;
            return removed;
        }
        let first = self.raw_pairs().position(|pair| !keep(key_of_pair(pair)));
        let Some(first) = first else {
            return false;
        };
        let mut index = 0;
        self.entries_mut().retain(|entry| {
            index += 1;
            match (index - 1).cmp(&first) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal => false,
                std::cmp::Ordering::Greater => keep(&entry.key),
            }
        });
        true
    }

    /// Replaces the values for which `edit` gives another one. Copies nothing if it gives none.
    pub fn edit_values<E>(
        &mut self,
        mut edit: impl FnMut(&str, Value<'a>) -> Result<Option<Value<'a>>, E>,
    ) -> Result<(), E> {
        let mut from = 0;
        self.load_if_changed();
        if !self.loaded {
            let mut found = None;
            for (index, pair) in self.raw_pairs().enumerate() {
                if let Some(value) = edit(key_of_pair(pair), value_of_pair(pair))? {
                    found = Some((index, value));
                    break;
                }
            }
            let Some((index, value)) = found else {
                return Ok(());
            };
            if let Some(entry) = self.entries_mut().get_mut(index) {
                entry.value = Some(Lazy::value(value));
            }
            from = index + 1;
        }
        for entry in self.entries.iter_mut().skip(from) {
            if let Some(value) = edit(&entry.key, entry.value())? {
                entry.value = Some(Lazy::value(value));
                self.changed = true;
            }
        }
        Ok(())
    }

    /// Takes pairs over, one after the other: those whose key is not there yet if `insert`, those whose key is there if
    /// `update`.
    pub fn merge(&mut self, pairs: Vec<(Cow<'a, str>, Value<'a>)>, insert: bool, update: bool) {
        if (self.len() + pairs.len()) * pairs.len() <= COMPARISONS_MAX {
            for (key, value) in pairs {
                let there = self.contains_key(&key);
                if if there { update } else { insert } {
                    self.set(key, value);
                }
            }
            return;
        }
        let entries = self.entries_mut();
        let mut index: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(entries.len() + pairs.len());
        for (at, entry) in entries.iter().enumerate() {
            index.entry(entry.key.clone()).or_insert(at);
        }
        for (key, value) in pairs {
            match index.get(&key).and_then(|at| entries.get_mut(*at)) {
                Some(entry) if update => entry.value = Some(Lazy::value(value)),
                None if insert => {
                    index.insert(key.clone(), entries.len());
                    entries.push(Entry::new(key, value));
                }
                _ => {}
            }
        }
    }

    pub(super) fn nesting(&self) -> usize {
        if let (false, Source::AnyValue(raw)) = (self.changed, self.source) {
            return nesting_of(raw);
        }
        let raw = self.raw_pairs().map(nesting_of_pair);
        let entries = self.entries.iter().map(Entry::nesting);
        raw.chain(entries).max().unwrap_or(1)
    }

    /// Appends the contents of an `AnyValue` that holds this.
    pub(super) fn write_any_value(&self, out: &mut Vec<u8>) {
        match self.source {
            Source::AnyValue(raw) if !self.changed => out.extend_from_slice(raw),
            Source::AnyValue(raw) => {
                for field in Fields::new(raw) {
                    match field.number {
                        LIST => self.write_list(out, field.value),
                        _ => out.extend_from_slice(field.whole),
                    }
                }
            }
            _ => self.write_list(out, &[]),
        }
    }

    /// Writes the list and what else stands in the one that it came from.
    fn write_list(&self, out: &mut Vec<u8>, list: &[u8]) {
        let start = open(out, LIST);
        self.write_pairs(out, PAIR);
        for unknown in Fields::new(list).filter(|field| field.number != PAIR) {
            out.extend_from_slice(unknown.whole);
        }
        close(out, start);
    }

    /// Appends all pairs as fields `number`.
    pub(super) fn write_pairs(&self, out: &mut Vec<u8>, number: u32) {
        self.raw_pairs().for_each(|pair| write_bytes(out, number, pair));
        self.write_entries(out, number);
    }

    /// Appends the pairs that are not of the source as fields `number`.
    pub(super) fn write_entries(&self, out: &mut Vec<u8>, number: u32) {
        self.entries.iter().for_each(|entry| entry.write(out, number));
    }

    /// Where among the pairs of the source the one stands that is gone, if only
    /// [`write_entries`](Self::write_entries) and that make the difference to the source.
    pub(super) fn patch(&self) -> Option<Option<usize>> {
        let is_patch = self.changed && !self.loaded && matches!(self.source, Source::Message(..));
        is_patch.then_some(self.gone)
    }
}

/// In the order given; a key that is given twice has the last value.
impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Map<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(pairs: I) -> Self {
        let mut map = Map::new();
        map.merge(pairs.into_iter().collect(), true, true);
        map
    }
}

impl<'a> Entry<'a> {
    #[inline]
    fn of_pair(pair: &'a [u8]) -> Self {
        Self {
            pair,
            key: Cow::Borrowed(key_of_pair(pair)),
            value: None,
            renamed: false,
        }
    }

    fn new(key: Cow<'a, str>, value: Value<'a>) -> Self {
        Self {
            pair: &[],
            key,
            value: Some(Lazy::value(value)),
            renamed: true,
        }
    }

    fn value(&self) -> Value<'a> {
        match &self.value {
            Some(value) => value.get(),
            None => value_of_pair(self.pair),
        }
    }

    fn value_mut(&mut self) -> &mut Value<'a> {
        let pair = self.pair;
        self.value
            .get_or_insert_with(|| Lazy::raw(raw_value_of_pair(pair)))
            .get_mut()
    }

    fn nesting(&self) -> usize {
        match &self.value {
            Some(value) => MAP_LEVELS + value.nesting(),
            None => nesting_of_pair(self.pair),
        }
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>, number: u32) {
        if self.value.is_none() && !self.renamed {
            write_bytes(out, number, self.pair);
            return;
        }
        let start = open(out, number);
        if !self.key.is_empty() {
            write_bytes(out, KEY, self.key.as_bytes());
        }
        match &self.value {
            Some(value) => {
                let value_start = open(out, VALUE);
                value.write(out);
                close(out, value_start);
            }
            None => write_fields(out, self.pair, |number| number == VALUE),
        }
        write_fields(out, self.pair, |number| number != KEY && number != VALUE);
        close(out, start);
    }
}

fn write_fields(out: &mut Vec<u8>, message: &[u8], wanted: impl Fn(u32) -> bool) {
    for field in Fields::new(message).filter(|field| wanted(field.number)) {
        out.extend_from_slice(field.whole);
    }
}

/// Bytes of each pair.
#[derive(Clone, Copy)]
struct RawPairs<'a> {
    fields: Fields<'a>,
    number: u32,
    /// So many come before the one that is gone.
    left_before_gone: usize,
}

impl<'a> RawPairs<'a> {
    fn new(message: &'a [u8], number: u32) -> Self {
        Self {
            fields: Fields::new(message),
            number,
            left_before_gone: usize::MAX,
        }
    }
}

impl<'a> Iterator for RawPairs<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left_before_gone == 0 {
            self.left_before_gone = usize::MAX;
            self.fields.next_contents(self.number)?;
        }
        self.left_before_gone -= 1;
        self.fields.next_contents(self.number)
    }
}

/// Value of the first pair named `key` that `message` has as field `number`.
#[inline]
pub(super) fn find_in_message<'a>(message: &'a [u8], number: u32, key: &str) -> Option<Value<'a>> {
    find(RawPairs::new(message, number), key).map(value_of_pair)
}

#[inline]
fn find<'a>(mut pairs: RawPairs<'a>, key: &str) -> Option<&'a [u8]> {
    pairs.find(|pair| raw_key_of_pair(pair) == key.as_bytes())
}

#[inline(always)]
fn raw_key_of_pair(pair: &[u8]) -> &[u8] {
    // The key first, of at most 127 bytes, is how every SDK writes it.
    if let [0x0a, length @ ..0x80, rest @ ..] = pair
        && let Some(key) = rest.get(..usize::from(*length))
    {
        return key;
    }
    Fields::new(pair).next_contents(KEY).unwrap_or_default()
}

#[inline]
fn key_of_pair(pair: &[u8]) -> &str {
    text(raw_key_of_pair(pair))
}

#[inline]
fn raw_value_of_pair(pair: &[u8]) -> &[u8] {
    Fields::new(pair).next_contents(VALUE).unwrap_or_default()
}

#[inline]
fn value_of_pair(pair: &[u8]) -> Value<'_> {
    Value::decode(raw_value_of_pair(pair))
}

fn nesting_of_pair(pair: &[u8]) -> usize {
    MAP_LEVELS + nesting_of(raw_value_of_pair(pair))
}
