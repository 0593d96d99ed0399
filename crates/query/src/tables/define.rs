//! A small notation for logical tables: a column is a field and, for each part, a source.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use cupola_store::schema::{AttributeSet, Table, base_fields};
use datafusion::common::ScalarValue;

use super::{ColumnSource, LogicalTable, Part, metadata};
use crate::functions::level::NamedNumber;
use crate::functions::nested::readable_type;

/// A logical column with its source in each part, in the order of the parts.
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) name: &'static str,
    pub(super) sources: Vec<ColumnSource>,
}

pub(super) fn define(name: &'static str, tables: &[Table], columns: Vec<Column>) -> LogicalTable {
    let parts = tables
        .iter()
        .enumerate()
        .map(|(index, table)| {
            let columns: HashMap<&'static str, ColumnSource> = columns
                .iter()
                .map(|column| (column.name, column.sources[index].clone()))
                .collect();
            Arc::new(Part {
                table: *table,
                columns,
            })
        })
        .collect();
    let fields: Vec<Field> = columns
        .into_iter()
        .map(|column| mark_sets(column.field, name))
        .collect();
    LogicalTable {
        name,
        schema: Arc::new(Schema::new(fields)),
        parts,
    }
}

/// Attribute sets carry the table they belong to.
fn mark_sets(field: Field, table: &str) -> Field {
    let is_set = AttributeSet::parse(field.name()).is_some();
    if is_set {
        metadata::mark_attributes(field, table)
    } else {
        field
    }
}

pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

pub(super) fn column(field: Field, name: &'static str, sources: Vec<ColumnSource>) -> Column {
    Column { field, name, sources }
}

fn one(name: &'static str, data_type: DataType, nullable: bool, source: ColumnSource) -> Column {
    column(Field::new(name, data_type, nullable), name, vec![source])
}

pub(super) fn text(name: &'static str) -> Column {
    one(name, DataType::Utf8View, true, ColumnSource::Column(name))
}

pub(super) fn timestamp() -> Column {
    one("timestamp", time_type(), false, ColumnSource::Column("timestamp"))
}

pub(super) fn time(name: &'static str) -> Column {
    one(name, time_type(), true, ColumnSource::Column(name))
}

/// A required number of any integer width up to 32 bits.
pub(super) fn int(name: &'static str) -> Column {
    one(name, DataType::Int64, false, ColumnSource::Column(name))
}

pub(super) fn id(name: &'static str, bytes: usize) -> Column {
    column(id_field(name), name, vec![ColumnSource::Id(name, bytes)])
}

pub(super) fn id_field(name: &str) -> Field {
    metadata::mark_id(Field::new(name, DataType::Utf8View, true))
}

pub(super) fn named(name: &'static str, physical: &'static str, names: NamedNumber) -> Column {
    one(
        name,
        DataType::Utf8View,
        true,
        ColumnSource::Named(physical, names),
    )
}

pub(super) fn set(set: AttributeSet) -> Column {
    one(
        set.column(),
        DataType::Utf8View,
        true,
        ColumnSource::Attributes(set),
    )
}

/// A column as it is stored.
pub(super) fn stored(table: Table, name: &'static str) -> Column {
    let field = stored_field(table, name);
    column(field, name, vec![ColumnSource::Column(name)])
}

pub(super) fn stored_field(table: Table, name: &'static str) -> Field {
    base_fields(table)
        .into_iter()
        .find(|field| field.name() == name)
        .unwrap_or_else(|| Field::new(name, DataType::Null, true))
}

/// A list of structs with ids and attributes made readable.
pub(super) fn list(table: Table, name: &'static str) -> Column {
    let stored = stored_field(table, name);
    let field = Field::new(name, readable_type(stored.data_type()), true);
    column(field, name, vec![ColumnSource::List(name)])
}

pub(super) fn null(data_type: &DataType) -> ColumnSource {
    ColumnSource::Literal(ScalarValue::try_new_null(data_type).unwrap_or(ScalarValue::Null))
}

pub(super) fn constant(value: &str) -> ColumnSource {
    ColumnSource::Literal(ScalarValue::Utf8View(Some(value.to_owned())))
}
