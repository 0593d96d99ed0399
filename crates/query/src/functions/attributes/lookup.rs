//! `attribute_lookup`: the value of one key in the map column of an attribute set. Made by the adapter only.
//!
//! The first entry with the key counts, as everywhere. The scan walks the keys of a whole batch once, comparing
//! lengths first, and touches values only where a key matched.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int8Array, Int64Builder, MapArray, StringArray,
    StringViewBuilder,
};
use arrow::datatypes::{DataType, Int8Type};
use cupola_store::schema::ValueType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::AttributeKind;
use super::kind::{stored_double, stored_text};
use crate::functions::support::{ANY_ARGUMENTS, array_argument};

/// One lookup. Two lookups of the same key and type are the same function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttributeLookup {
    pub(crate) key: String,
    pub(crate) kind: AttributeKind,
}

impl ScalarUDFImpl for AttributeLookup {
    fn name(&self) -> &str {
        "attribute_lookup"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.kind.data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = array_argument(&args, 0)?;
        let Some(map) = array.as_map_opt() else {
            return exec_err!("attribute_lookup expects a map, found {}", array.data_type());
        };
        let Some(parts) = MapParts::new(map) else {
            return exec_err!(
                "attribute_lookup expects an attribute map, found {}",
                array.data_type()
            );
        };
        Ok(ColumnarValue::Array(self.look_up(map, &parts)))
    }
}

/// The columns of an attribute map.
pub(crate) struct MapParts<'a> {
    pub(crate) keys: &'a StringArray,
    pub(crate) tags: &'a Int8Array,
    pub(crate) texts: &'a StringArray,
}

impl<'a> MapParts<'a> {
    pub(crate) fn new(map: &'a MapArray) -> Option<MapParts<'a>> {
        let values = map.values().as_struct_opt()?;
        Some(MapParts {
            keys: map.keys().as_string_opt::<i32>()?,
            tags: values.column(0).as_primitive_opt::<Int8Type>()?,
            texts: values.column(1).as_string_opt::<i32>()?,
        })
    }
}

impl AttributeLookup {
    fn look_up(&self, map: &MapArray, parts: &MapParts<'_>) -> ArrayRef {
        let found = self.entries(map, parts);
        let tag = |entry: usize| parts.tags.value(entry);
        let text = |entry: usize| parts.texts.value(entry);
        let of_type = |entry: &usize, wanted: ValueType| tag(*entry) == wanted.tag();
        match self.kind {
            AttributeKind::Text | AttributeKind::String => {
                let mut out = StringViewBuilder::with_capacity(found.len());
                found.into_iter().for_each(|entry| {
                    out.append_option(entry.and_then(|entry| stored_text(tag(entry), text(entry))));
                });
                Arc::new(out.finish())
            }
            AttributeKind::Json => {
                let mut out = StringViewBuilder::with_capacity(found.len());
                found.into_iter().for_each(|entry| {
                    let entry = entry
                        .filter(|entry| of_type(entry, ValueType::Array) || of_type(entry, ValueType::List));
                    out.append_option(entry.and_then(|entry| stored_text(tag(entry), text(entry))));
                });
                Arc::new(out.finish())
            }
            AttributeKind::Int => {
                let mut out = Int64Builder::with_capacity(found.len());
                found.into_iter().for_each(|entry| {
                    let entry = entry.filter(|entry| of_type(entry, ValueType::Int));
                    out.append_option(entry.and_then(|entry| text(entry).parse().ok()));
                });
                Arc::new(out.finish())
            }
            AttributeKind::Double => {
                let mut out = Float64Builder::with_capacity(found.len());
                found.into_iter().for_each(|entry| {
                    let entry = entry
                        .filter(|entry| of_type(entry, ValueType::Int) || of_type(entry, ValueType::Double));
                    out.append_option(entry.and_then(|entry| stored_double(text(entry))));
                });
                Arc::new(out.finish())
            }
            AttributeKind::Bool => {
                let mut out = BooleanBuilder::with_capacity(found.len());
                found.into_iter().for_each(|entry| {
                    let entry = entry.filter(|entry| of_type(entry, ValueType::Bool));
                    out.append_option(entry.map(|entry| text(entry) == "true"));
                });
                Arc::new(out.finish())
            }
        }
    }

    /// For each row the first entry with the key.
    fn entries(&self, map: &MapArray, parts: &MapParts<'_>) -> Vec<Option<usize>> {
        let wanted = self.key.as_bytes();
        let key_offsets = parts.keys.value_offsets();
        let key_bytes = parts.keys.value_data();
        let mut found = Vec::with_capacity(map.len());
        for (row, bounds) in map.value_offsets().windows(2).enumerate() {
            if map.is_null(row) {
                found.push(None);
                continue;
            }
            let mut entries = bounds[0] as usize..bounds[1] as usize;
            found.push(entries.find(|entry| {
                let (from, to) = (key_offsets[*entry] as usize, key_offsets[*entry + 1] as usize);
                to - from == wanted.len() && &key_bytes[from..to] == wanted
            }));
        }
        found
    }
}
