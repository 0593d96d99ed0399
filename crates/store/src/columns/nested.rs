//! Buffers of nested columns: text with offsets, lists, attribute maps.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, Int8Array, ListArray, MapArray, NullBufferBuilder, StringArray, StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};

use super::buffers::numbers;
use crate::schema::{self, ValueType};

/// Text with offsets, for the leaves of nested columns. The offsets cannot overflow: a chunk is checked against
/// `super::NESTED_BYTES_MAX` before it is finished.
pub(crate) struct NestedText {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl Default for NestedText {
    fn default() -> NestedText {
        NestedText {
            offsets: vec![0],
            bytes: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl NestedText {
    #[inline]
    pub(crate) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as i32);
        self.nulls.append_non_null();
    }

    pub(crate) fn push_or_null(&mut self, text: &str) {
        if text.is_empty() {
            self.offsets.push(self.bytes.len() as i32);
            self.nulls.append_null();
        } else {
            self.push(text);
        }
    }

    /// Pushes the values from one index to another once more.
    fn repeat(&mut self, from: usize, to: usize) {
        let shift = self.offsets[to] - self.offsets[from];
        self.bytes
            .extend_from_within(self.offsets[from] as usize..self.offsets[to] as usize);
        for index in from + 1..=to {
            self.offsets.push(self.offsets[index].wrapping_add(shift));
        }
        self.nulls.append_n_non_nulls(to - from);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn finish(mut self) -> StringArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let bytes = Buffer::from_vec(self.bytes);
        if cfg!(debug_assertions) {
            return StringArray::new(offsets, bytes, self.nulls.finish());
        }
        // SAFETY: the bytes are those of whole `&str`s and each offset is the end of one.
        unsafe { StringArray::new_unchecked(offsets, bytes, self.nulls.finish()) }
    }
}

/// Row ends of a list or map column.
pub(crate) struct Offsets(Vec<i32>);

impl Default for Offsets {
    fn default() -> Offsets {
        Offsets(vec![0])
    }
}

impl Offsets {
    #[inline]
    pub(crate) fn push(&mut self, end: usize) {
        self.0.push(end as i32);
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.len() - 1
    }

    pub(crate) fn finish(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(self.0))
    }
}

/// A list column of numbers.
pub(crate) struct NumberLists<T: ArrowPrimitiveType> {
    offsets: Offsets,
    values: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType> Default for NumberLists<T> {
    fn default() -> NumberLists<T> {
        NumberLists {
            offsets: Offsets::default(),
            values: Vec::new(),
        }
    }
}

impl<T: ArrowPrimitiveType> NumberLists<T> {
    pub(crate) fn push(&mut self, values: impl Iterator<Item = T::Native>) {
        self.values.extend(values);
        self.offsets.push(self.values.len());
    }

    pub(crate) fn finish(self) -> ArrayRef {
        let field = Arc::new(Field::new("item", T::DATA_TYPE, false));
        Arc::new(ListArray::new(
            field,
            self.offsets.finish(),
            numbers::<T>(self.values),
            None,
        ))
    }
}

/// A list column of structs.
pub(crate) fn struct_lists(fields: Fields, columns: Vec<ArrayRef>, offsets: Offsets) -> ArrayRef {
    let field = Arc::new(Field::new("item", DataType::Struct(fields.clone()), false));
    let values = StructArray::new(fields, columns, None);
    Arc::new(ListArray::new(field, offsets.finish(), Arc::new(values), None))
}

/// An attribute map column.
#[derive(Default)]
pub(crate) struct MapBuilder {
    offsets: Offsets,
    keys: NestedText,
    tags: Vec<i8>,
    texts: NestedText,
}

impl MapBuilder {
    #[inline]
    pub(crate) fn append(&mut self, key: &str, value_type: ValueType, text: &str) {
        self.append_raw(key, value_type.tag(), text);
    }

    #[inline]
    pub(crate) fn append_raw(&mut self, key: &str, tag: i8, text: &str) {
        self.keys.push(key);
        self.tags.push(tag);
        self.texts.push(text);
    }

    #[inline]
    pub(crate) fn finish_row(&mut self) {
        self.offsets.push(self.tags.len());
    }

    /// One more row with the last `entries` entries.
    pub(crate) fn repeat_row(&mut self, entries: usize) {
        let (from, to) = (self.tags.len() - entries, self.tags.len());
        self.tags.extend_from_within(from..to);
        self.keys.repeat(from, to);
        self.texts.repeat(from, to);
        self.finish_row();
    }

    /// Rows without entries up to `rows` rows.
    pub(crate) fn fill_to(&mut self, rows: usize) {
        for _ in self.offsets.rows()..rows {
            self.finish_row();
        }
    }

    /// Bytes of text held.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.bytes().max(self.texts.bytes()).max(self.tags.len())
    }

    pub(crate) fn finish(self) -> MapArray {
        let DataType::Map(entries_field, sorted) = schema::attribute_map_type() else {
            unreachable!("attribute_map_type is a map");
        };
        let DataType::Struct(entry_fields) = entries_field.data_type() else {
            unreachable!("the entries of a map are structs");
        };
        let DataType::Struct(value_fields) = entry_fields[1].data_type() else {
            unreachable!("the values of an attribute map are structs");
        };
        let tags = Int8Array::new(ScalarBuffer::from(self.tags), None);
        let values = StructArray::new(
            value_fields.clone(),
            vec![Arc::new(tags), Arc::new(self.texts.finish())],
            None,
        );
        let entries = StructArray::new(
            entry_fields.clone(),
            vec![Arc::new(self.keys.finish()), Arc::new(values)],
            None,
        );
        MapArray::new(entries_field, self.offsets.finish(), entries, None, sorted)
    }
}
