//! `records`: spans and logs on one time line.
//!
//! A span is at its start; its level is `error` when its status is, `info` otherwise; its message is its name.
//! A log record's message is its body.

use arrow::datatypes::{DataType, Field};
use cupola_store::schema::{AttributeSet, Table};

use super::define::{Column, column, constant, define, id_field, null, time_type};
use super::{ColumnSource, LogicalTable, metadata};
use crate::functions::level::NamedNumber;

pub(super) fn records() -> LogicalTable {
    let text = DataType::Utf8View;
    let same = |name: &'static str, data_type: DataType, nullable: bool| {
        let source = ColumnSource::Column(name);
        column(
            Field::new(name, data_type, nullable),
            name,
            vec![source.clone(), source],
        )
    };
    let id = |name: &'static str, bytes: usize| {
        let source = ColumnSource::Id(name, bytes);
        column(id_field(name), name, vec![source.clone(), source])
    };
    let set = |set: AttributeSet| {
        let source = ColumnSource::Attributes(set);
        column(
            Field::new(set.column(), DataType::Utf8View, true),
            set.column(),
            vec![source.clone(), source],
        )
    };
    let columns: Vec<Column> = vec![
        same("timestamp", time_type(), false),
        both(
            "kind",
            Field::new("kind", text.clone(), false),
            constant("span"),
            constant("log"),
        ),
        both(
            "level",
            metadata::mark_level(Field::new("level", text.clone(), true)),
            ColumnSource::Named("status_code", NamedNumber::StatusLevel),
            ColumnSource::Named("severity_number", NamedNumber::Level),
        ),
        same("service_name", text.clone(), true),
        both(
            "message",
            Field::new("message", text.clone(), true),
            ColumnSource::Column("name"),
            ColumnSource::Body,
        ),
        both(
            "duration",
            metadata::mark_nanoseconds(Field::new("duration", DataType::Int64, true)),
            ColumnSource::Column("duration"),
            null(&DataType::Int64),
        ),
        id("trace_id", 16),
        id("span_id", 8),
        both(
            "parent_span_id",
            id_field("parent_span_id"),
            ColumnSource::Id("parent_span_id", 8),
            null(&text),
        ),
        set(AttributeSet::Item),
        set(AttributeSet::Resource),
        both(
            "severity_number",
            Field::new("severity_number", DataType::Int32, true),
            ColumnSource::StatusSeverity,
            ColumnSource::Column("severity_number"),
        ),
        both(
            "status_code",
            Field::new("status_code", text.clone(), true),
            ColumnSource::Named("status_code", NamedNumber::StatusCode),
            null(&text),
        ),
        both(
            "end_timestamp",
            Field::new("end_timestamp", time_type(), true),
            ColumnSource::Column("end_timestamp"),
            null(&time_type()),
        ),
        same("scope_name", text.clone(), true),
        same("scope_version", text, true),
        set(AttributeSet::Scope),
    ];
    define("records", &[Table::Spans, Table::Logs], columns)
}

fn both(name: &'static str, field: Field, spans: ColumnSource, logs: ColumnSource) -> Column {
    column(field, name, vec![spans, logs])
}
