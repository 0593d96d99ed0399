//! Attribute sets of rows back to key-value pairs.

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{encode, json};

use super::ReadbackError;
use super::columns::{Columns, wrong};
use crate::schema::{AttributeSet, PromotedColumn, ValueType, map_parts, promoted_columns};

/// The value of a map entry or body as the bytes of an `AnyValue` message.
pub(super) fn encoded_value(key: &str, tag: i8, text: &str) -> Result<Vec<u8>, ReadbackError> {
    let unreadable = || ReadbackError::Value {
        key: key.to_owned(),
        tag,
    };
    let value = match ValueType::from_tag(tag).ok_or_else(unreadable)? {
        ValueType::Empty => AnyValue::Empty,
        ValueType::String => AnyValue::String(text),
        ValueType::Bool => AnyValue::Bool(text.parse().map_err(|_| unreadable())?),
        ValueType::Int => AnyValue::Int(text.parse().map_err(|_| unreadable())?),
        ValueType::Double => AnyValue::Double(text.parse().map_err(|_| unreadable())?),
        ValueType::StringIndex => AnyValue::StringIndex(text.parse().map_err(|_| unreadable())?),
        ValueType::Bytes => {
            let bytes = STANDARD.decode(text).map_err(|_| unreadable())?;
            return Ok(encode::any_value(AnyValue::Bytes(&bytes)));
        }
        ValueType::Array | ValueType::List => return json::parse_any_value(text).map_err(|_| unreadable()),
    };
    Ok(encode::any_value(value))
}

/// Key-value pairs of a map.
pub(super) fn map_entries(
    map: &MapArray,
    row: usize,
    mut each: impl FnMut(&str, &[u8]),
) -> Result<(), ReadbackError> {
    let Some((keys, tags, texts)) = map_parts(map) else {
        return Err(wrong("attributes", None));
    };
    let offsets = map.value_offsets();
    for index in offsets[row] as usize..offsets[row + 1] as usize {
        let key = keys.value(index);
        each(key, &encoded_value(key, tags.value(index), texts.value(index))?);
    }
    Ok(())
}

/// One attribute set of a batch.
pub(super) struct SetReader<'a> {
    promoted: Vec<(PromotedColumn, &'a ArrayRef)>,
    map: &'a MapArray,
}

impl<'a> SetReader<'a> {
    pub(super) fn new(batch: &'a RecordBatch, set: AttributeSet) -> Result<SetReader<'a>, ReadbackError> {
        let columns = Columns(batch);
        let map = columns.array(set.column())?;
        let map = map.as_map_opt().ok_or_else(|| wrong(set.column(), Some(map)))?;
        let mut promoted = Vec::new();
        for column in promoted_columns(batch.schema_ref())
            .into_iter()
            .filter(|column| column.set == set)
        {
            let array = columns.array(&column.name())?;
            promoted.push((column, array));
        }
        Ok(SetReader { promoted, map })
    }

    /// Key and encoded value of each attribute of a row.
    pub(super) fn entries(&self, row: usize, mut each: impl FnMut(&str, &[u8])) -> Result<(), ReadbackError> {
        for (column, array) in &self.promoted {
            if array.is_null(row) {
                continue;
            }
            let value = match column.value_type {
                ValueType::Bool => AnyValue::Bool(array.as_boolean().value(row)),
                ValueType::Int => AnyValue::Int(array.as_primitive::<Int64Type>().value(row)),
                ValueType::Double => AnyValue::Double(array.as_primitive::<Float64Type>().value(row)),
                _ => match array.as_string_view_opt() {
                    Some(text) => AnyValue::String(text.value(row)),
                    None => return Err(wrong(&column.name(), Some(array))),
                },
            };
            each(&column.key, &encode::any_value(value));
        }
        map_entries(self.map, row, each)
    }
}
