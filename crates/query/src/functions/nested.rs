//! `readable_list`: span events and links with ids as text and attributes as JSON, still lists of structs, so that
//! `unnest` and `events[1]['name']` work. Made by the adapter only.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::attributes::map_json;
use crate::functions::ids::hex_array;
use crate::functions::support::{ANY_ARGUMENTS, array_argument};
use crate::tables::metadata;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ReadableList;

/// The type queries see for a stored list of structs.
pub(crate) fn readable_type(stored: &DataType) -> DataType {
    let DataType::List(item) = stored else {
        return stored.clone();
    };
    let DataType::Struct(fields) = item.data_type() else {
        return stored.clone();
    };
    let fields: Fields = fields.iter().map(readable_field).collect();
    DataType::List(Arc::new(Field::new(
        item.name(),
        DataType::Struct(fields),
        item.is_nullable(),
    )))
}

fn readable_field(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::FixedSizeBinary(_) => Arc::new(Field::new(field.name(), DataType::Utf8View, true)),
        DataType::Map(_, _) => Arc::new(metadata::mark_json(Field::new(
            field.name(),
            DataType::Utf8View,
            true,
        ))),
        DataType::Utf8 => Arc::new(Field::new(field.name(), DataType::Utf8View, true)),
        DataType::UInt32 => Arc::new(Field::new(field.name(), DataType::Int64, field.is_nullable())),
        _ => Arc::clone(field),
    }
}

impl ScalarUDFImpl for ReadableList {
    fn name(&self) -> &str {
        "readable_list"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [list @ DataType::List(_)] => Ok(readable_type(list)),
            _ => exec_err!("readable_list takes a list"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = array_argument(&args, 0)?;
        let Some((list, items)) = array
            .as_list_opt::<i32>()
            .and_then(|list| Some((list, list.values().as_struct_opt()?)))
        else {
            return exec_err!("readable_list got {}", array.data_type());
        };
        let DataType::List(item) = readable_type(list.data_type()) else {
            return exec_err!("readable_list got {}", array.data_type());
        };
        let DataType::Struct(fields) = item.data_type() else {
            return exec_err!("readable_list got {}", array.data_type());
        };
        let columns = items
            .columns()
            .iter()
            .zip(fields)
            .map(readable_column)
            .collect::<Result<Vec<_>>>()?;
        let items = StructArray::try_new(fields.clone(), columns, items.nulls().cloned())?;
        let list = ListArray::try_new(
            Arc::clone(&item),
            list.offsets().clone(),
            Arc::new(items),
            list.nulls().cloned(),
        )?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

fn readable_column((column, field): (&ArrayRef, &FieldRef)) -> Result<ArrayRef> {
    if let Some(map) = column.as_map_opt() {
        return match map_json(map) {
            Some(json) => Ok(Arc::new(json)),
            None => exec_err!("{} is no attribute map", field.name()),
        };
    }
    if let Some(ids) = hex_array(column.as_ref()) {
        return Ok(Arc::new(ids));
    }
    Ok(arrow::compute::cast(column, field.data_type())?)
}
