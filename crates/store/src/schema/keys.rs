//! What is known about attribute keys: how often each occurs, with which types, in a column or in the map.
//!
//! Counted from finished chunks, so that the figures are exact whoever built the chunk. Bounded: beyond
//! [`KEYS_TRACKED_MAX`] keys of a set, or [`KEY_BYTES_MAX`] bytes of one, the rest is not counted and `overflow` says so.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, Int8Array, MapArray, RecordBatch, StringArray};
use arrow::datatypes::Int8Type;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};

use super::{AttributeSet, VALUE_TYPES, ValueType, promoted_column};

/// Most keys of one attribute set that are counted.
pub(crate) const KEYS_TRACKED_MAX: usize = 4096;

/// Longest key that is counted, and so can get a column or be listed in the catalog: a sender chooses it, and each segment
/// would repeat it there.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// A set of value types, one bit per tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct TypeMask(pub u16);

impl TypeMask {
    pub fn contains(self, value_type: ValueType) -> bool {
        self.0 & (1 << value_type as u16) != 0
    }

    pub fn insert(&mut self, value_type: ValueType) {
        self.0 |= 1 << value_type as u16;
    }

    pub fn union(self, other: TypeMask) -> TypeMask {
        TypeMask(self.0 | other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The types in the set, by tag.
    pub fn types(self) -> impl Iterator<Item = ValueType> {
        ValueType::ALL
            .into_iter()
            .filter(move |value_type| self.contains(*value_type))
    }
}

/// Occurrences of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Occurrences by tag, promoted ones included.
    pub by_type: [u64; VALUE_TYPES],
    /// The types of the columns this key is promoted to.
    pub promoted: TypeMask,
    /// Values in promoted columns.
    pub promoted_rows: u64,
    /// The types of values in the map.
    pub rest: TypeMask,
    /// Entries in the map.
    pub rest_rows: u64,
}

impl KeyCounts {
    /// All occurrences.
    pub fn total(&self) -> u64 {
        self.promoted_rows + self.rest_rows
    }

    /// The promotable type most values have, and how many have it.
    pub fn majority(&self) -> Option<(ValueType, u64)> {
        ValueType::ALL
            .into_iter()
            .filter(|value_type| value_type.column_type().is_some())
            .map(|value_type| (value_type, self.by_type[value_type as usize]))
            .filter(|(_, count)| *count > 0)
            .max_by_key(|(_, count)| *count)
    }

    fn merge(&mut self, other: &KeyCounts) {
        for (mine, theirs) in self.by_type.iter_mut().zip(other.by_type) {
            *mine += theirs;
        }
        self.promoted = self.promoted.union(other.promoted);
        self.promoted_rows += other.promoted_rows;
        self.rest = self.rest.union(other.rest);
        self.rest_rows += other.rest_rows;
    }
}

/// The keys of one attribute set.
#[derive(Debug, Clone, Default)]
pub struct SetStatistics {
    keys: HashMap<Box<str>, KeyCounts, FxBuildHasher>,
    /// There were more keys than could be counted.
    pub overflow: bool,
}

impl SetStatistics {
    pub fn get(&self, key: &str) -> Option<&KeyCounts> {
        self.keys.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &KeyCounts)> {
        self.keys.iter().map(|(key, counts)| (key.as_ref(), counts))
    }

    /// By key, for output that must not depend on hashing.
    pub fn sorted(&self) -> BTreeMap<&str, &KeyCounts> {
        self.iter().collect()
    }

    fn entry(&mut self, key: &str) -> Option<&mut KeyCounts> {
        if !self.keys.contains_key(key) {
            if self.keys.len() >= KEYS_TRACKED_MAX || key.len() > KEY_BYTES_MAX {
                self.overflow = true;
                return None;
            }
            self.keys.insert(key.into(), KeyCounts::default());
        }
        self.keys.get_mut(key)
    }
}

/// The keys of all attribute sets of some rows.
#[derive(Debug, Clone, Default)]
pub struct KeyStatistics {
    pub rows: u64,
    sets: [SetStatistics; 3],
}

impl KeyStatistics {
    pub fn of(batches: &[RecordBatch]) -> KeyStatistics {
        let mut statistics = KeyStatistics::default();
        for batch in batches {
            statistics.observe(batch);
        }
        statistics
    }

    pub(crate) fn with_rows(rows: u64) -> KeyStatistics {
        KeyStatistics {
            rows,
            sets: Default::default(),
        }
    }

    pub fn set(&self, set: AttributeSet) -> &SetStatistics {
        &self.sets[set as usize]
    }

    /// Counts the keys of a chunk.
    pub fn observe(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if let Some(column) = promoted_column(field.name(), field.data_type()) {
                let filled = (array.len() - array.null_count()) as u64;
                if filled == 0 {
                    continue;
                }
                if let Some(counts) = self.sets[column.set as usize].entry(&column.key) {
                    counts.by_type[column.value_type as usize] += filled;
                    counts.promoted.insert(column.value_type);
                    counts.promoted_rows += filled;
                }
            } else if let (Some(set), Some(map)) = (AttributeSet::parse(field.name()), array.as_map_opt()) {
                observe_map(&mut self.sets[set as usize], map);
            }
        }
    }

    pub fn merge(&mut self, other: &KeyStatistics) {
        self.rows += other.rows;
        for set in AttributeSet::ALL {
            let from = &other.sets[set as usize];
            let into = &mut self.sets[set as usize];
            into.overflow |= from.overflow;
            for (key, counts) in from.iter() {
                if let Some(mine) = into.entry(key) {
                    mine.merge(counts);
                }
            }
        }
    }

    /// Adds what a segment's metadata says about a key. `by_type` is only known for promoted values and for keys
    /// whose map values are of one type; others count for the total alone.
    pub(crate) fn add(&mut self, set: AttributeSet, key: &str, counts: &KeyCounts) {
        if let Some(mine) = self.sets[set as usize].entry(key) {
            mine.merge(counts);
        }
    }

    pub(crate) fn set_overflow(&mut self, set: AttributeSet) {
        self.sets[set as usize].overflow = true;
    }

    /// Halves every count and forgets keys that reach zero, so that old rows weigh less than new ones.
    pub(crate) fn age(&mut self) {
        self.rows /= 2;
        for set in &mut self.sets {
            for counts in set.keys.values_mut() {
                counts.by_type.iter_mut().for_each(|count| *count /= 2);
                counts.promoted_rows /= 2;
                counts.rest_rows /= 2;
            }
            set.keys.retain(|_, counts| counts.total() > 0);
        }
    }
}

/// The parts of a map column: keys, type tags and texts of all entries.
pub(crate) fn map_parts(map: &MapArray) -> Option<(&StringArray, &Int8Array, &StringArray)> {
    let keys = map.keys().as_string_opt::<i32>()?;
    let values = map.values().as_struct_opt()?;
    let tags = values.column(0).as_primitive_opt::<Int8Type>()?;
    let texts = values.column(1).as_string_opt::<i32>()?;
    Some((keys, tags, texts))
}

fn observe_map(set: &mut SetStatistics, map: &MapArray) {
    let Some((keys, tags, _)) = map_parts(map) else {
        return;
    };
    let offsets = map.value_offsets();
    let (start, end) = (offsets[0] as usize, offsets[map.len()] as usize);
    for index in start..end {
        let Some(value_type) = ValueType::from_tag(tags.value(index)) else {
            continue;
        };
        if let Some(counts) = set.entry(keys.value(index)) {
            counts.by_type[value_type as usize] += 1;
            counts.rest.insert(value_type);
            counts.rest_rows += 1;
        }
    }
}
