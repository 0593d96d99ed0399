//! Record batches of the logical tables into the typed answers of `model`. Columns are found by name; a column that is not
//! there reads as absent, so that a query may select less.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use cupola_query::level_of;
use serde_json::Value;

use crate::attribute_value;
use crate::encode::json::rfc3339;
use crate::model::{Attributes, LogRecord, Span, SpanEvent, SpanLink};

/// One row of a batch, read by column name.
pub(crate) struct Row<'a> {
    columns: &'a Columns<'a>,
    index: usize,
}

pub(crate) struct Columns<'a> {
    by_name: HashMap<&'a str, &'a ArrayRef>,
}

impl<'a> Columns<'a> {
    pub(crate) fn of_batch(batch: &'a RecordBatch) -> Self {
        let schema = batch.schema_ref();
        let by_name = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .zip(batch.columns())
            .collect();
        Self { by_name }
    }

    fn of_struct(array: &'a StructArray) -> Self {
        let by_name = array
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .zip(array.columns())
            .collect();
        Self { by_name }
    }

    pub(crate) fn row(&'a self, index: usize) -> Row<'a> {
        Row { columns: self, index }
    }
}

impl<'a> Row<'a> {
    fn column(&self, name: &str) -> Option<&'a ArrayRef> {
        self.columns
            .by_name
            .get(name)
            .copied()
            .filter(|array| array.is_valid(self.index))
    }

    /// Text; empty when absent. Ids are lower-case hexadecimal.
    pub(crate) fn text(&self, name: &str) -> String {
        self.column(name)
            .and_then(|array| text_at(array, self.index))
            .unwrap_or_default()
    }

    /// Any integer; `None` when null or absent.
    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        let array = self.column(name)?;
        let row = self.index;
        Some(match array.data_type() {
            DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
            DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row),
            DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
            DataType::UInt64 => {
                i64::try_from(array.as_primitive::<UInt64Type>().value(row)).unwrap_or(i64::MAX)
            }
            DataType::Float64 => array.as_primitive::<Float64Type>().value(row) as i64,
            DataType::Timestamp(_, _) => array.as_primitive_opt::<TimestampNanosecondType>()?.value(row),
            _ => return None,
        })
    }

    fn count(&self, name: &str) -> u32 {
        self.integer(name)
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default()
    }

    /// RFC 3339; `None` when null or absent.
    pub(crate) fn time(&self, name: &str) -> Option<String> {
        self.integer(name).map(rfc3339)
    }

    /// An attribute set, which is JSON text in every answer; empty when absent.
    pub(crate) fn attributes(&self, name: &str) -> Attributes {
        attribute_value::attributes(&self.text(name))
    }

    /// A column of lists of structs, one item at a time.
    fn items<T>(&self, name: &str, read: impl Fn(&Row<'_>) -> T) -> Vec<T> {
        let list = self.column(name).and_then(|array| array.as_list_opt::<i32>());
        let Some(list) = list else { return Vec::new() };
        let items = list.value(self.index);
        let Some(items) = items.as_struct_opt() else {
            return Vec::new();
        };
        let columns = Columns::of_struct(items);
        (0..items.len()).map(|index| read(&columns.row(index))).collect()
    }
}

fn text_at(array: &ArrayRef, row: usize) -> Option<String> {
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        DataType::FixedSizeBinary(_) => hex::encode(array.as_fixed_size_binary().value(row)),
        DataType::Dictionary(_, _) => {
            let row = array.slice(row, 1);
            let dictionary = row.as_any_dictionary();
            return text_at(dictionary.values(), dictionary.normalized_keys()[0]);
        }
        _ => return None,
    })
}

/// Reads every row of every batch.
pub(crate) fn read_all<T>(batches: &[RecordBatch], read: impl Fn(&Row<'_>) -> T) -> Vec<T> {
    let mut out = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let columns = Columns::of_batch(batch);
        out.extend((0..batch.num_rows()).map(|index| read(&columns.row(index))));
    }
    out
}

pub(crate) fn span(row: &Row<'_>) -> Span {
    Span {
        timestamp: row.time("timestamp").unwrap_or_default(),
        end_timestamp: row.time("end_timestamp").unwrap_or_default(),
        duration_ns: row.integer("duration").unwrap_or_default(),
        trace_id: row.text("trace_id"),
        span_id: row.text("span_id"),
        parent_span_id: row.text("parent_span_id"),
        trace_state: row.text("trace_state"),
        kind: row.text("kind"),
        name: row.text("name"),
        status_code: row.text("status_code"),
        status_message: row.text("status_message"),
        service_name: row.text("service_name"),
        scope_name: row.text("scope_name"),
        scope_version: row.text("scope_version"),
        attributes: row.attributes("attributes"),
        resource_attributes: row.attributes("resource_attributes"),
        scope_attributes: row.attributes("scope_attributes"),
        events: row.items("events", |event| SpanEvent {
            timestamp: event.time("timestamp").unwrap_or_default(),
            name: event.text("name"),
            attributes: event.attributes("attributes"),
        }),
        links: row.items("links", |link| SpanLink {
            trace_id: link.text("trace_id"),
            span_id: link.text("span_id"),
            trace_state: link.text("trace_state"),
            attributes: link.attributes("attributes"),
        }),
        dropped_attributes_count: row.count("dropped_attributes_count"),
        dropped_events_count: row.count("dropped_events_count"),
        dropped_links_count: row.count("dropped_links_count"),
    }
}

pub(crate) fn log_record(row: &Row<'_>) -> LogRecord {
    let severity_number = row
        .integer("severity_number")
        .and_then(|n| i32::try_from(n).ok())
        .unwrap_or_default();
    LogRecord {
        timestamp: row.time("timestamp").unwrap_or_default(),
        observed_timestamp: row.time("observed_timestamp"),
        severity_number,
        severity_text: row.text("severity_text"),
        level: level_of(severity_number.into()).unwrap_or_default().to_owned(),
        body: body(row),
        event_name: row.text("event_name"),
        trace_id: row.text("trace_id"),
        span_id: row.text("span_id"),
        service_name: row.text("service_name"),
        scope_name: row.text("scope_name"),
        scope_version: row.text("scope_version"),
        attributes: row.attributes("attributes"),
        resource_attributes: row.attributes("resource_attributes"),
        scope_attributes: row.attributes("scope_attributes"),
    }
}

/// Empty text is stored as null, so the type decides whether there is a body.
fn body(row: &Row<'_>) -> Value {
    let text = row.text("body");
    match row.text("body_type").as_str() {
        "" if row.column("body").is_none() => Value::Null,
        "empty" => Value::Null,
        "bool" | "int" | "double" | "array" | "kvlist" => {
            serde_json::from_str(&text).map_or(Value::String(text), attribute_value::exact_value)
        }
        _ => Value::String(text),
    }
}
