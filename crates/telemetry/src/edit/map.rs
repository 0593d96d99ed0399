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
    source: Source<'a>,
    /// Room only, as long as the source says it all.
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
            entries: Vec::new(),
            loaded: true,
            changed: true,
        }
    }

    pub(super) fn of_any_value(raw: &'a [u8]) -> Self {
        Self {
            source: Source::AnyValue(raw),
            entries: Vec::new(),
            loaded: false,
            changed: false,
        }
    }

    /// The pairs that `message` has as field `number`; `spare` is room for when they are changed.
    pub(super) fn of_message(message: &'a [u8], number: u32, spare: Vec<Entry<'a>>) -> Self {
        Self {
            source: Source::Message(message, number),
            entries: spare,
            loaded: false,
            changed: false,
        }
    }

    /// For pairs that do not lie in one piece.
    pub(super) fn of_pairs(pairs: impl Iterator<Item = &'a [u8]>) -> Self {
        Self {
            source: Source::None,
            entries: pairs.map(Entry::of_pair).collect(),
            loaded: true,
            changed: false,
        }
    }

    /// Whether it may differ from what it was made of.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    #[inline(always)]
    fn loaded(&self) -> Option<&[Entry<'a>]> {
        self.loaded.then_some(&self.entries)
    }

    #[inline]
    fn raw_pairs(&self) -> RawPairs<'a> {
        match self.source {
            Source::None => RawPairs::new(&[], PAIR),
            Source::Message(message, number) => RawPairs::new(message, number),
            Source::AnyValue(raw) => {
                RawPairs::new(Fields::new(raw).next_contents(LIST).unwrap_or_default(), PAIR)
            }
        }
    }

    pub fn len(&self) -> usize {
        match self.loaded() {
            Some(entries) => entries.len(),
            None => self.raw_pairs().count(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self.loaded() {
            Some(entries) => entries.is_empty(),
            None => self.raw_pairs().next().is_none(),
        }
    }

    /// Value of the first pair named `key`.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        match self.loaded() {
            Some(entries) => entries.iter().find(|entry| entry.key == key).map(Entry::value),
            None => find(self.raw_pairs(), key).map(value_of_pair),
        }
    }

    pub fn contains_key(&self, key: &str) -> bool {
        match self.loaded() {
            Some(entries) => entries.iter().any(|entry| entry.key == key),
            None => find(self.raw_pairs(), key).is_some(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> + use<'a, '_> {
        let loaded = self.loaded().unwrap_or_default().iter();
        let loaded = loaded.map(|entry| (entry.key.clone(), entry.value()));
        let raw = (!self.loaded).then(|| self.raw_pairs());
        let raw = raw.into_iter().flatten();
        loaded.chain(raw.map(|pair| (Cow::Borrowed(key_of_pair(pair)), value_of_pair(pair))))
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

    fn entries_mut(&mut self) -> &mut Vec<Entry<'a>> {
        self.changed = true;
        if !self.loaded {
            self.loaded = true;
            let pairs = self.raw_pairs();
            self.entries.clear();
            self.entries.extend(pairs.map(Entry::of_pair));
        }
        &mut self.entries
    }

    /// Sets the first pair named `key`, or appends one.
    pub fn set(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        let entries = self.entries_mut();
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = Some(Lazy::value(value)),
            None => entries.push(Entry::new(key, value)),
        }
    }

    /// Appends a pair without a look at what is there.
    pub fn push(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        self.entries_mut().push(Entry::new(key, value));
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
        if !self.contains_key(key) {
            return false;
        }
        self.entries_mut().retain(|entry| entry.key != key);
        true
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
        match (self.loaded(), self.source) {
            (None, Source::AnyValue(raw)) => nesting_of(raw),
            (None, _) => self.raw_pairs().map(nesting_of_pair).max().unwrap_or(1),
            (Some(entries), _) => entries.iter().map(Entry::nesting).max().unwrap_or(1),
        }
    }

    /// Appends the contents of an `AnyValue` that holds this.
    pub(super) fn write_any_value(&self, out: &mut Vec<u8>) {
        match self.source {
            Source::AnyValue(raw) if !self.loaded => out.extend_from_slice(raw),
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
        match self.loaded() {
            Some(entries) => entries.iter().for_each(|entry| entry.write(out, number)),
            None => self.raw_pairs().for_each(|pair| write_bytes(out, number, pair)),
        }
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
}

impl<'a> RawPairs<'a> {
    fn new(message: &'a [u8], number: u32) -> Self {
        Self {
            fields: Fields::new(message),
            number,
        }
    }
}

impl<'a> Iterator for RawPairs<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
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
