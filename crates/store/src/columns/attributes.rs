//! One attribute set of a chunk: promoted columns and the map for the rest, filled row by row or run by run.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::{Float64Type, Int64Type};
use cupola_telemetry::view::{AnyValue, Attributes};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::NESTED_BYTES_MAX;
use super::buffers::{Arena, BoolColumn, NumberColumn, TextColumn};
use super::nested::MapBuilder;
use super::values::{describe, value_type};
use crate::schema::{
    AttributeSet, KEY_BYTES_MAX, PROMOTED_PER_SET_MAX, PromotedColumn, PromotionProfile, ValueType,
};

/// Promoted columns of items that are made however sparse they are.
pub(crate) const SPARSE_COLUMNS_MIN: usize = 4;
/// Most bytes of promoted columns of items for each byte of payload: beyond, values are in the map. A column takes room
/// in every row, and one row is enough to ask for it.
const SPARSE_FACTOR: usize = 4;
/// Of a text column.
const CELL_BYTES: usize = 16;

/// Fills the columns of one attribute set.
pub(crate) struct SetBuilder<'a> {
    set: AttributeSet,
    columns_max: usize,
    /// The types of the keys to promote.
    profile: HashMap<&'a str, ValueType, FxBuildHasher>,
    /// Keys met so far.
    keys: Vec<KnownKey<'a>>,
    index: HashMap<&'a str, usize, FxBuildHasher>,
    /// The key last met at each place of a row: rows of one sender list the same keys in the same order.
    guesses: Vec<usize>,
    columns: Vec<PromotedBuilder<'a>>,
    rest: MapBuilder,
    scratch: String,
}

struct KnownKey<'a> {
    key: &'a str,
    /// The type to promote.
    promoted: Option<ValueType>,
    /// The column, from the first value that fits.
    column: Option<usize>,
}

struct PromotedBuilder<'a> {
    key: &'a str,
    values: PromotedValues,
}

enum PromotedValues {
    Text(TextColumn),
    Bool(BoolColumn),
    Int(NumberColumn<Int64Type>),
    Double(NumberColumn<Float64Type>),
}

/// The finished columns of a set.
pub(crate) struct FinishedSet {
    pub(crate) set: AttributeSet,
    pub(crate) promoted: Vec<(PromotedColumn, ArrayRef)>,
    pub(crate) map: ArrayRef,
}

impl<'a> SetBuilder<'a> {
    pub(crate) fn new(set: AttributeSet, profile: &'a PromotionProfile) -> SetBuilder<'a> {
        let wanted = profile.columns().iter().filter(|column| column.set == set);
        SetBuilder {
            set,
            columns_max: usize::MAX,
            profile: wanted
                .map(|column| (column.key.as_str(), column.value_type))
                .collect(),
            keys: Vec::new(),
            index: HashMap::default(),
            guesses: Vec::new(),
            columns: Vec::new(),
            rest: MapBuilder::default(),
            scratch: String::new(),
        }
    }

    /// Of at most `rows` items of a payload of this size.
    pub(crate) fn of_items(
        profile: &'a PromotionProfile,
        payload_bytes: usize,
        rows: usize,
    ) -> SetBuilder<'a> {
        let room = payload_bytes.saturating_mul(SPARSE_FACTOR) / CELL_BYTES;
        SetBuilder {
            columns_max: (room / rows.max(1)).max(SPARSE_COLUMNS_MIN),
            ..SetBuilder::new(AttributeSet::Item, profile)
        }
    }

    /// The attributes of row `row`; rows come in order.
    #[inline]
    pub(crate) fn push_row(&mut self, arena: &mut Arena<'a>, attributes: Attributes<'a>, row: usize) {
        self.push_run(arena, attributes, row, 1);
    }

    /// The attributes of `rows` rows from `row` on.
    pub(crate) fn push_run(
        &mut self,
        arena: &mut Arena<'a>,
        attributes: Attributes<'a>,
        row: usize,
        rows: usize,
    ) {
        if rows == 0 {
            return;
        }
        let mut rest = 0;
        for (place, attribute) in attributes.enumerate() {
            let known = self.known_key(place, attribute.key, &attribute.value);
            if !self.promote(arena, known, &attribute.value, row, rows) {
                let (value_type, text) = describe(attribute.value, &mut self.scratch);
                self.rest.append(attribute.key, value_type, text);
                rest += 1;
            }
        }
        self.rest.finish_row();
        if rows == 1 {
            return;
        }
        if rest == 0 {
            self.rest.fill_to(row + rows);
        } else {
            for _ in 1..rows {
                // The caller refuses the chunk.
                if self.rest.bytes() > NESTED_BYTES_MAX {
                    break;
                }
                self.rest.repeat_row(rest);
            }
        }
    }

    #[inline]
    fn known_key(&mut self, place: usize, key: &'a str, value: &AnyValue<'a>) -> usize {
        if let Some(&guess) = self.guesses.get(place)
            && self.keys[guess].key == key
        {
            return guess;
        }
        let known = match self.index.get(key) {
            Some(known) => *known,
            None => self.learn_key(key, value),
        };
        match self.guesses.get_mut(place) {
            Some(guess) => *guess = known,
            // Places are met in order.
            None => self.guesses.push(known),
        }
        known
    }

    fn learn_key(&mut self, key: &'a str, value: &AnyValue<'a>) -> usize {
        let mut promoted = self.profile.get(key).copied();
        // A resource or scope has few keys, each in every one of its rows: they all get a column while there is room,
        // for the map would be copied row by row.
        if promoted.is_none() && self.set != AttributeSet::Item && self.keys.len() < PROMOTED_PER_SET_MAX {
            promoted = Some(value_type(value)).filter(|value_type| value_type.column_type().is_some());
        }
        if !may_have_column(key) {
            promoted = None;
        }
        self.keys.push(KnownKey {
            key,
            promoted,
            column: None,
        });
        self.index.insert(key, self.keys.len() - 1);
        self.keys.len() - 1
    }

    /// Puts the value into the column of its key; `false` when it belongs into the map.
    #[inline]
    fn promote(
        &mut self,
        arena: &mut Arena<'a>,
        known: usize,
        value: &AnyValue<'a>,
        row: usize,
        rows: usize,
    ) -> bool {
        let key = &mut self.keys[known];
        let Some(promoted) = key.promoted else {
            return false;
        };
        if promoted != value_type(value) {
            return false;
        }
        let column = match key.column {
            Some(column) => column,
            None if self.columns.len() >= self.columns_max => {
                key.promoted = None;
                return false;
            }
            None => {
                let values = PromotedValues::new(promoted);
                self.columns.push(PromotedBuilder { key: key.key, values });
                *key.column.insert(self.columns.len() - 1)
            }
        };
        self.columns[column].values.push_run(arena, value, row, rows)
    }

    /// Bytes of text in the map.
    pub(crate) fn rest_bytes(&self) -> usize {
        self.rest.bytes()
    }

    pub(crate) fn finish(mut self, buffers: &Arc<[Buffer]>, rows: usize) -> FinishedSet {
        self.rest.fill_to(rows);
        let set = self.set;
        let mut promoted: Vec<(PromotedColumn, ArrayRef)> = self
            .columns
            .into_iter()
            .map(|column| {
                let value_type = column.values.value_type();
                let name = PromotedColumn {
                    set,
                    key: column.key.to_owned(),
                    value_type,
                };
                (name, column.values.finish(buffers, rows))
            })
            .collect();
        promoted.sort_by(|a, b| a.0.cmp(&b.0));
        FinishedSet {
            set,
            promoted,
            map: Arc::new(self.rest.finish()),
        }
    }
}

/// A column named after nothing could not be told from the map, and segments do not count longer keys.
pub(crate) fn may_have_column(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX
}

impl PromotedValues {
    fn new(value_type: ValueType) -> PromotedValues {
        match value_type {
            ValueType::Bool => PromotedValues::Bool(BoolColumn::default()),
            ValueType::Int => PromotedValues::Int(NumberColumn::default()),
            ValueType::Double => PromotedValues::Double(NumberColumn::default()),
            _ => PromotedValues::Text(TextColumn::default()),
        }
    }

    fn value_type(&self) -> ValueType {
        match self {
            PromotedValues::Text(_) => ValueType::String,
            PromotedValues::Bool(_) => ValueType::Bool,
            PromotedValues::Int(_) => ValueType::Int,
            PromotedValues::Double(_) => ValueType::Double,
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            PromotedValues::Text(column) => column.len(),
            PromotedValues::Bool(column) => column.len(),
            PromotedValues::Int(column) => column.len(),
            PromotedValues::Double(column) => column.len(),
        }
    }

    /// `false` when the row has a value already, or the value is of another type.
    #[inline]
    fn push_run(&mut self, arena: &mut Arena<'_>, value: &AnyValue<'_>, row: usize, rows: usize) -> bool {
        let len = self.len();
        if len > row {
            return false;
        }
        if len < row {
            self.fill_to(row);
        }
        match (self, value) {
            (PromotedValues::Text(column), AnyValue::String(text)) => {
                let view = arena.view(text);
                if rows == 1 {
                    column.push(view)
                } else {
                    column.push_run(view, rows)
                }
            }
            (PromotedValues::Bool(column), AnyValue::Bool(value)) => column.push_run(*value, rows),
            (PromotedValues::Int(column), AnyValue::Int(value)) => {
                if rows == 1 {
                    column.push(*value)
                } else {
                    column.push_run(*value, rows)
                }
            }
            (PromotedValues::Double(column), AnyValue::Double(value)) => column.push_run(*value, rows),
            _ => return false,
        }
        true
    }

    #[cold]
    fn fill_to(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.len());
        match self {
            PromotedValues::Text(column) => column.push_nulls(missing),
            PromotedValues::Bool(column) => column.push_nulls(missing),
            PromotedValues::Int(column) => column.push_nulls(missing),
            PromotedValues::Double(column) => column.push_nulls(missing),
        }
    }

    fn finish(mut self, buffers: &Arc<[Buffer]>, rows: usize) -> ArrayRef {
        self.fill_to(rows);
        match self {
            PromotedValues::Text(column) => column.finish(buffers),
            PromotedValues::Bool(column) => column.finish(),
            PromotedValues::Int(column) => column.finish(),
            PromotedValues::Double(column) => column.finish(),
        }
    }
}
