//! `assemble_attributes`: a whole attribute set as one JSON object, promoted columns and map together.
//! Made by the adapter only.
//!
//! Arguments: the map, then one column per promoted key. A key with several values appears once, with its first
//! value, as `attributes['key']` gives it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use cupola_store::schema::ValueType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::kind::stored_double;
use super::lookup::MapParts;
use crate::functions::json::plain_json;
use crate::functions::support::{ANY_ARGUMENTS, array_argument, push_json_double, push_json_text};

/// The promoted keys, one per argument after the map.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AssembleAttributes {
    pub(crate) keys: Vec<String>,
}

impl ScalarUDFImpl for AssembleAttributes {
    fn name(&self) -> &str {
        "assemble_attributes"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let map = array_argument(&args, 0)?;
        let columns = (1..args.args.len())
            .map(|index| array_argument(&args, index))
            .collect::<Result<Vec<_>>>()?;
        if columns.len() != self.keys.len() {
            return exec_err!(
                "assemble_attributes got {} columns for {} keys",
                columns.len(),
                self.keys.len()
            );
        }
        Ok(ColumnarValue::Array(Arc::new(self.assemble(&map, &columns)?)))
    }
}

impl AssembleAttributes {
    fn assemble(&self, map: &ArrayRef, columns: &[ArrayRef]) -> Result<StringViewArray> {
        let map = map.as_map_opt().filter(|map| MapParts::new(map).is_some());
        let Some((map, parts)) = map.and_then(|map| Some((map, MapParts::new(map)?))) else {
            return exec_err!("assemble_attributes expects an attribute map");
        };
        let offsets = map.value_offsets();
        let mut out = StringViewBuilder::with_capacity(map.len());
        let mut text = String::new();
        let mut members: Vec<(&str, Place)> = Vec::new();
        for row in 0..map.len() {
            members.clear();
            let filled = self
                .keys
                .iter()
                .enumerate()
                .filter(|(column, _)| columns[*column].is_valid(row));
            members.extend(filled.map(|(column, key)| (key.as_str(), Place::Column(column))));
            let entries = offsets[row] as usize..offsets[row + 1] as usize;
            members.extend(entries.map(|entry| (parts.keys.value(entry), Place::Entry(entry))));
            // By name, so that the text does not depend on which keys have columns; then first value first.
            members.sort_by_key(|(key, _)| *key);
            members.dedup_by_key(|(key, _)| *key);
            text.clear();
            text.push('{');
            for (key, place) in &members {
                if text.len() > 1 {
                    text.push(',');
                }
                push_json_text(&mut text, key);
                text.push(':');
                match place {
                    Place::Column(column) => push_column_value(&mut text, &columns[*column], row),
                    Place::Entry(entry) => {
                        push_stored(&mut text, parts.tags.value(*entry), parts.texts.value(*entry));
                    }
                }
            }
            text.push('}');
            out.append_value(&text);
        }
        Ok(out.finish())
    }
}

/// Where a value is.
enum Place {
    Column(usize),
    Entry(usize),
}

fn push_column_value(out: &mut String, column: &ArrayRef, row: usize) {
    match column.data_type() {
        DataType::Utf8View => push_json_text(out, column.as_string_view().value(row)),
        DataType::Utf8 => push_json_text(out, column.as_string::<i32>().value(row)),
        DataType::Int64 => out.push_str(&column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float64 => push_json_double(out, column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => out.push_str(if column.as_boolean().value(row) {
            "true"
        } else {
            "false"
        }),
        _ => out.push_str("null"),
    }
}

/// A stored value as JSON with its real type.
fn push_stored(out: &mut String, tag: i8, text: &str) {
    match ValueType::from_tag(tag) {
        None | Some(ValueType::Empty) => out.push_str("null"),
        Some(ValueType::String | ValueType::Bytes) => push_json_text(out, text),
        Some(ValueType::Bool | ValueType::Int | ValueType::StringIndex) => out.push_str(text),
        Some(ValueType::Double) => match stored_double(text) {
            Some(value) => push_json_double(out, value),
            None => push_json_text(out, text),
        },
        Some(ValueType::Array | ValueType::List) => out.push_str(&plain_json(text)),
    }
}

/// The JSON object of one map, used for attributes inside events and links.
pub(crate) fn map_json(map: &arrow::array::MapArray) -> Option<StringViewArray> {
    let assemble = AssembleAttributes { keys: Vec::new() };
    let map: ArrayRef = Arc::new(map.clone());
    assemble.assemble(&map, &[]).ok()
}
