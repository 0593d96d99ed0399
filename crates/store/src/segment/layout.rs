//! Brings rows to a wanted set of promoted columns: values move from columns into the map of their set and from the
//! map into columns, so that chunks and segments that were promoted differently can be written as one file.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, MapArray, RecordBatch,
    RecordBatchOptions, StringViewBuilder, new_null_array,
};
use arrow::datatypes::{Float64Type, Int64Type, SchemaRef};

use super::SegmentError;
use crate::columns::MapBuilder;
use crate::schema::{self, AttributeSet, PromotedColumn, PromotionProfile, Table, ValueType, map_parts};

/// A wanted physical layout.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) table: Table,
    pub(crate) schema: SchemaRef,
    promoted: Vec<PromotedColumn>,
}

impl Layout {
    pub(crate) fn new(table: Table, profile: &PromotionProfile) -> Layout {
        let promoted = profile.columns().to_vec();
        Layout {
            table,
            schema: schema::physical(table, &promoted),
            promoted,
        }
    }

    /// The same rows in this layout.
    pub(crate) fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, SegmentError> {
        if batch.schema_ref().fields() == self.schema.fields() {
            return Ok(batch.clone());
        }
        let moves: Vec<SetMove> = self
            .table
            .attribute_sets()
            .iter()
            .map(|set| self.move_set(*set, batch))
            .collect::<Result<_, _>>()?;
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let moved = moves.iter().find_map(|moved| moved.column(field.name()));
            let column = match moved.or_else(|| batch.column_by_name(field.name()).cloned()) {
                Some(column) if column.data_type() == field.data_type() => column,
                // A promoted column these rows do not have, or have with another type (its values are in the map now).
                _ if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
                found => return Err(self.missing(field.name(), found.as_ref())),
            };
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(|source| {
            SegmentError::Arrow {
                table: self.table,
                source,
            }
        })
    }

    fn missing(&self, column: &str, found: Option<&ArrayRef>) -> SegmentError {
        let found = found.map_or_else(|| "nothing".to_owned(), |array| array.data_type().to_string());
        SegmentError::Column {
            table: self.table,
            column: column.to_owned(),
            found,
        }
    }

    /// Rebuilds the map of one set where values have to move.
    fn move_set(&self, set: AttributeSet, batch: &RecordBatch) -> Result<SetMove, SegmentError> {
        let map = batch.column_by_name(set.column());
        let Some(map) = map.and_then(|column| column.as_map_opt()) else {
            return Err(self.missing(set.column(), map));
        };
        let wanted: Vec<&PromotedColumn> = self.promoted.iter().filter(|column| column.set == set).collect();
        let present = schema::promoted_columns(batch.schema_ref());
        let demoted: Vec<(PromotedColumn, ArrayRef)> = present
            .iter()
            .filter(|column| column.set == set && !wanted.contains(column))
            .filter_map(|column| {
                let array = batch.column_by_name(&column.name())?;
                // The column `service_name` is part of every layout.
                let fixed = column.key == schema::SERVICE_NAME_KEY && set == AttributeSet::Resource;
                (!fixed && array.null_count() < array.len()).then(|| (column.clone(), array.clone()))
            })
            .collect();
        let missing: Vec<&PromotedColumn> = wanted
            .into_iter()
            .filter(|column| !present.contains(column))
            .collect();
        let mut hoisted: Vec<Hoisted> = missing
            .into_iter()
            .filter(|column| has_key(map, column))
            .map(Hoisted::new)
            .collect();
        if demoted.is_empty() && hoisted.is_empty() {
            return Ok(SetMove {
                set,
                map: None,
                columns: Vec::new(),
            });
        }
        let map = rebuild(map, &demoted, &mut hoisted);
        Ok(SetMove {
            set,
            map: Some(map),
            columns: hoisted
                .into_iter()
                .map(|hoisted| (hoisted.name.clone(), hoisted.finish()))
                .collect(),
        })
    }
}

/// The new columns of one set.
struct SetMove {
    set: AttributeSet,
    map: Option<ArrayRef>,
    columns: Vec<(String, ArrayRef)>,
}

impl SetMove {
    fn column(&self, name: &str) -> Option<ArrayRef> {
        if name == self.set.column() {
            return self.map.clone();
        }
        self.columns
            .iter()
            .find(|(column, _)| column == name)
            .map(|(_, array)| array.clone())
    }
}

fn has_key(map: &MapArray, column: &PromotedColumn) -> bool {
    let Some((keys, tags, _)) = map_parts(map) else {
        return false;
    };
    let offsets = map.value_offsets();
    (offsets[0] as usize..offsets[map.len()] as usize)
        .any(|index| keys.value(index) == column.key && tags.value(index) == column.value_type.tag())
}

/// Walks all rows: values of demoted columns go before the entries that were in the map already, entries of hoisted
/// keys leave it.
fn rebuild(map: &MapArray, demoted: &[(PromotedColumn, ArrayRef)], hoisted: &mut [Hoisted]) -> ArrayRef {
    let mut rest = MapBuilder::default();
    let parts = map_parts(map);
    let offsets = map.value_offsets();
    let mut text = String::new();
    for row in 0..map.len() {
        for (column, array) in demoted {
            if array.is_valid(row) {
                text.clear();
                write_value(array, row, column.value_type, &mut text);
                rest.append(&column.key, column.value_type, &text);
            }
        }
        if let Some((keys, tags, texts)) = parts {
            for index in offsets[row] as usize..offsets[row + 1] as usize {
                let (key, tag, value) = (keys.value(index), tags.value(index), texts.value(index));
                let taken = hoisted
                    .iter_mut()
                    .any(|hoisted| hoisted.take(row, key, tag, value));
                if !taken {
                    rest.append_raw(key, tag, value);
                }
            }
        }
        rest.finish_row();
        for hoisted in hoisted.iter_mut() {
            hoisted.finish_row(row);
        }
    }
    Arc::new(rest.finish())
}

/// The text a promoted value has in a map.
pub(crate) fn write_value(array: &dyn Array, row: usize, value_type: ValueType, text: &mut String) {
    match value_type {
        ValueType::String => text.push_str(array.as_string_view().value(row)),
        ValueType::Bool => text.push_str(if array.as_boolean().value(row) {
            "true"
        } else {
            "false"
        }),
        ValueType::Int => {
            let value = array.as_primitive::<Int64Type>().value(row);
            // Writing to a String cannot fail.
            let _ = std::fmt::Write::write_fmt(text, format_args!("{value}"));
        }
        ValueType::Double => {
            text.push_str(ryu::Buffer::new().format(array.as_primitive::<Float64Type>().value(row)));
        }
        _ => {}
    }
}

/// A column being filled from the map.
struct Hoisted {
    name: String,
    key: String,
    tag: i8,
    values: HoistedValues,
}

enum HoistedValues {
    String(StringViewBuilder),
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Double(Float64Builder),
}

impl Hoisted {
    fn new(column: &PromotedColumn) -> Hoisted {
        let values = match column.value_type {
            ValueType::Bool => HoistedValues::Bool(BooleanBuilder::new()),
            ValueType::Int => HoistedValues::Int(Int64Builder::new()),
            ValueType::Double => HoistedValues::Double(Float64Builder::new()),
            _ => HoistedValues::String(StringViewBuilder::new()),
        };
        Hoisted {
            name: column.name(),
            key: column.key.clone(),
            tag: column.value_type.tag(),
            values,
        }
    }

    fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        match &self.values {
            HoistedValues::String(builder) => builder.len(),
            HoistedValues::Bool(builder) => builder.len(),
            HoistedValues::Int(builder) => builder.len(),
            HoistedValues::Double(builder) => builder.len(),
        }
    }

    /// Takes an entry of the map if it is the first of its key in the row and fits the column.
    fn take(&mut self, row: usize, key: &str, tag: i8, text: &str) -> bool {
        if key != self.key || tag != self.tag || self.len() > row {
            return false;
        }
        match &mut self.values {
            HoistedValues::String(builder) => builder.append_value(text),
            HoistedValues::Bool(builder) => builder.append_value(text == "true"),
            HoistedValues::Int(builder) => match text.parse() {
                Ok(value) => builder.append_value(value),
                Err(_) => return false,
            },
            HoistedValues::Double(builder) => match text.parse() {
                Ok(value) => builder.append_value(value),
                Err(_) => return false,
            },
        }
        true
    }

    fn finish_row(&mut self, row: usize) {
        if self.len() > row {
            return;
        }
        match &mut self.values {
            HoistedValues::String(builder) => builder.append_null(),
            HoistedValues::Bool(builder) => builder.append_null(),
            HoistedValues::Int(builder) => builder.append_null(),
            HoistedValues::Double(builder) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self.values {
            HoistedValues::String(mut builder) => Arc::new(builder.finish()),
            HoistedValues::Bool(mut builder) => Arc::new(builder.finish()),
            HoistedValues::Int(mut builder) => Arc::new(builder.finish()),
            HoistedValues::Double(mut builder) => Arc::new(builder.finish()),
        }
    }
}
