//! The columns of each table, in order: first the fixed ones, then promoted attributes, then one map per set.
//!
//! Conventions: text that is empty on the wire is null; an id of no bytes is null; a time of zero is null.
//! OTLP times are unsigned: a time beyond `i64::MAX` nanoseconds (the year 2262) is stored with the same 64 bits and
//! therefore reads as a time before 1970, which OTLP cannot express otherwise.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::{PromotedColumn, Table};

/// The type of the attribute map columns: `Map<Utf8, Struct<type Int8, value Utf8>>`.
pub fn attribute_map_type() -> DataType {
    let value = Fields::from(vec![
        Field::new("type", DataType::Int8, false),
        Field::new("value", DataType::Utf8, false),
    ]);
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Struct(value), false),
    ]);
    DataType::Map(
        Arc::new(Field::new("key_value", DataType::Struct(entries), false)),
        false,
    )
}

/// A column of attributes.
pub fn map_field(name: &str) -> Field {
    Field::new(name, attribute_map_type(), false)
}

/// The type of every time column.
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

pub(crate) fn list_type(item: Field) -> DataType {
    DataType::List(Arc::new(item))
}

/// Fields of one element of `spans.events`.
pub(crate) fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new("timestamp", timestamp_type(), true),
        Field::new("name", DataType::Utf8, true),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
        map_field("attributes"),
    ])
}

/// Fields of one element of `spans.links`.
pub(crate) fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("flags", DataType::UInt32, false),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
        map_field("attributes"),
    ])
}

/// Fields of one element of `summaries.quantile_values`.
pub(crate) fn quantile_fields() -> Fields {
    Fields::from(vec![
        Field::new("quantile", DataType::Float64, false),
        Field::new("value", DataType::Float64, false),
    ])
}

/// The columns of `table` that are neither promoted attributes (but for `service_name`) nor attribute maps.
pub fn base_fields(table: Table) -> Vec<Field> {
    match table {
        Table::Logs => logs(),
        Table::Spans => spans(),
        Table::Series => series(),
        Table::Samples => samples(),
        Table::Histograms => histograms(),
        Table::ExponentialHistograms => exponential_histograms(),
        Table::Summaries => summaries(),
        Table::Exemplars => exemplars(),
    }
}

/// What queries see: the fixed columns and the attribute maps, complete, without promoted columns.
pub fn logical(table: Table) -> SchemaRef {
    physical(table, &[])
}

/// The columns of a chunk or segment with these promoted columns. `service_name` is always there and is skipped.
pub fn physical(table: Table, promoted: &[PromotedColumn]) -> SchemaRef {
    let mut fields: Vec<FieldRef> = base_fields(table).into_iter().map(Arc::new).collect();
    for column in promoted {
        let name = column.name();
        if let (Some(data_type), false) = (
            column.value_type.column_type(),
            name == super::column::SERVICE_NAME,
        ) {
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
    }
    for set in table.attribute_sets() {
        fields.push(Arc::new(map_field(set.column())));
    }
    Arc::new(Schema::new(fields))
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8View, true)
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn time(name: &str) -> Field {
    optional(name, timestamp_type())
}

fn timestamps() -> [Field; 2] {
    [
        required("timestamp", timestamp_type()),
        required("timestamp_source", DataType::Int8),
    ]
}

fn counts(names: &[&str]) -> Vec<Field> {
    names
        .iter()
        .map(|name| required(name, DataType::UInt32))
        .collect()
}

/// Resource and scope, but for their attributes.
fn origin() -> Vec<Field> {
    let mut fields = vec![text("service_name"), text("scope_name"), text("scope_version")];
    fields.extend(counts(&[
        "resource_dropped_attributes_count",
        "scope_dropped_attributes_count",
    ]));
    fields.extend([
        text("resource_schema_url"),
        text("scope_schema_url"),
        // `entity_refs` of the resource as on the wire: fields 3 of `Resource`, tags included.
        optional("resource_entity_refs", DataType::Binary),
    ]);
    fields
}

fn logs() -> Vec<Field> {
    let mut fields = Vec::from(timestamps());
    fields.extend([
        time("observed_timestamp"),
        required("severity_number", DataType::Int32),
        text("severity_text"),
        text("body"),
        optional("body_type", DataType::Int8),
        text("event_name"),
        optional("trace_id", DataType::FixedSizeBinary(16)),
        optional("span_id", DataType::FixedSizeBinary(8)),
    ]);
    fields.extend(counts(&["flags", "dropped_attributes_count"]));
    fields.extend(origin());
    fields
}

fn spans() -> Vec<Field> {
    let mut fields = Vec::from(timestamps());
    fields.extend([
        time("end_timestamp"),
        // Nanoseconds from start to end; zero when either is missing or the end is before the start.
        required("duration", DataType::Int64),
        optional("trace_id", DataType::FixedSizeBinary(16)),
        optional("span_id", DataType::FixedSizeBinary(8)),
        optional("parent_span_id", DataType::FixedSizeBinary(8)),
        text("trace_state"),
        text("name"),
        required("kind", DataType::Int32),
        // 0 unset, 1 ok, 2 error; other numbers as they came.
        required("status_code", DataType::Int32),
        text("status_message"),
    ]);
    fields.extend(counts(&[
        "flags",
        "dropped_attributes_count",
        "dropped_events_count",
        "dropped_links_count",
    ]));
    fields.extend(origin());
    fields.extend([
        required(
            "events",
            list_type(Field::new("item", DataType::Struct(event_fields()), false)),
        ),
        required(
            "links",
            list_type(Field::new("item", DataType::Struct(link_fields()), false)),
        ),
    ]);
    fields
}

fn series() -> Vec<Field> {
    let mut fields = vec![
        required("series_id", DataType::UInt64),
        // Midnight UTC of the day the series belongs to.
        required("timestamp", timestamp_type()),
        text("name"),
        text("unit"),
        text("description"),
        // 1 gauge, 2 sum, 3 histogram, 4 exponential histogram, 5 summary.
        required("type", DataType::Int8),
        required("temporality", DataType::Int32),
        required("is_monotonic", DataType::Boolean),
        // OTLP/JSON of the metadata of the metric as a key-value list; null when it has none.
        text("metadata"),
    ];
    fields.extend(origin());
    fields
}

fn point() -> Vec<Field> {
    let mut fields = vec![required("series_id", DataType::UInt64)];
    fields.extend(timestamps());
    fields.extend([time("start_timestamp"), required("flags", DataType::UInt32)]);
    fields
}

fn samples() -> Vec<Field> {
    let mut fields = point();
    // At most one of the two: a point of integers has `value_int`, one of doubles `value`, one without value neither.
    fields.extend([
        optional("value", DataType::Float64),
        optional("value_int", DataType::Int64),
    ]);
    fields
}

fn number_list(name: &str, data_type: DataType) -> Field {
    required(name, list_type(Field::new("item", data_type, false)))
}

fn histograms() -> Vec<Field> {
    let mut fields = point();
    fields.extend([
        required("count", DataType::UInt64),
        optional("sum", DataType::Float64),
        optional("min", DataType::Float64),
        optional("max", DataType::Float64),
        number_list("bucket_counts", DataType::UInt64),
        number_list("explicit_bounds", DataType::Float64),
    ]);
    fields
}

fn exponential_histograms() -> Vec<Field> {
    let mut fields = point();
    fields.extend([
        required("count", DataType::UInt64),
        optional("sum", DataType::Float64),
        optional("min", DataType::Float64),
        optional("max", DataType::Float64),
        required("scale", DataType::Int32),
        required("zero_count", DataType::UInt64),
        required("zero_threshold", DataType::Float64),
        // Null when the point has no such buckets at all.
        optional("positive_offset", DataType::Int32),
        number_list("positive_bucket_counts", DataType::UInt64),
        optional("negative_offset", DataType::Int32),
        number_list("negative_bucket_counts", DataType::UInt64),
    ]);
    fields
}

fn summaries() -> Vec<Field> {
    let mut fields = point();
    fields.extend([
        required("count", DataType::UInt64),
        required("sum", DataType::Float64),
        required(
            "quantile_values",
            list_type(Field::new("item", DataType::Struct(quantile_fields()), false)),
        ),
    ]);
    fields
}

fn exemplars() -> Vec<Field> {
    let mut fields = vec![required("series_id", DataType::UInt64)];
    fields.extend(timestamps());
    fields.extend([
        // `timestamp` of the data point the exemplar was taken from: with `series_id` it names the point.
        required("point_timestamp", timestamp_type()),
        optional("value", DataType::Float64),
        optional("value_int", DataType::Int64),
        optional("trace_id", DataType::FixedSizeBinary(16)),
        optional("span_id", DataType::FixedSizeBinary(8)),
    ]);
    fields
}
