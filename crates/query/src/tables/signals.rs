//! `logs` and `spans`.

use arrow::datatypes::{DataType, Field};
use cupola_store::schema::{AttributeSet, Table};

use super::define::{Column, column, define, id, int, list, named, set, text, time, timestamp};
use super::{ColumnSource, LogicalTable, metadata};
use crate::functions::level::NamedNumber;

pub(super) fn logs() -> LogicalTable {
    let level = column(
        metadata::mark_level(Field::new("level", DataType::Utf8View, true)),
        "level",
        vec![ColumnSource::Named("severity_number", NamedNumber::Level)],
    );
    let body = column(
        Field::new("body", DataType::Utf8View, true),
        "body",
        vec![ColumnSource::Body],
    );
    let mut columns = vec![
        timestamp(),
        level,
        text("service_name"),
        body,
        id("trace_id", 16),
        id("span_id", 8),
        set(AttributeSet::Item),
        set(AttributeSet::Resource),
        column(
            Field::new("severity_number", DataType::Int32, false),
            "severity_number",
            vec![ColumnSource::Column("severity_number")],
        ),
        text("severity_text"),
        text("event_name"),
        named("body_type", "body_type", NamedNumber::BodyType),
        time("observed_timestamp"),
    ];
    columns.extend(origin());
    define("logs", &[Table::Logs], columns)
}

pub(super) fn spans() -> LogicalTable {
    let mut columns = vec![
        timestamp(),
        time("end_timestamp"),
        duration(),
        text("service_name"),
        text("name"),
        named("kind", "kind", NamedNumber::SpanKind),
        named("status_code", "status_code", NamedNumber::StatusCode),
        text("status_message"),
        id("trace_id", 16),
        id("span_id", 8),
        id("parent_span_id", 8),
        set(AttributeSet::Item),
        set(AttributeSet::Resource),
        list(Table::Spans, "events"),
        list(Table::Spans, "links"),
        text("trace_state"),
        int("dropped_events_count"),
        int("dropped_links_count"),
    ];
    columns.extend(origin());
    define("spans", &[Table::Spans], columns)
}

/// Nanoseconds; compares with intervals.
pub(super) fn duration() -> Column {
    let field = metadata::mark_nanoseconds(Field::new("duration", DataType::Int64, true));
    column(field, "duration", vec![ColumnSource::Column("duration")])
}

/// Scope, schemas and counts, as in both tables.
fn origin() -> Vec<Column> {
    vec![
        text("scope_name"),
        text("scope_version"),
        set(AttributeSet::Scope),
        int("flags"),
        int("dropped_attributes_count"),
        int("resource_dropped_attributes_count"),
        int("scope_dropped_attributes_count"),
        text("resource_schema_url"),
        text("scope_schema_url"),
    ]
}
