//! The metric tables as they are stored: `series`, `samples`, `histograms`, `exponential_histograms`, `summaries`,
//! `exemplars`.

use arrow::datatypes::{DataType, Field};
use cupola_store::schema::{AttributeSet, Table, base_fields};

use super::define::{Column, column, define, id, named, set, stored};
use super::{ColumnSource, LogicalTable, metadata};
use crate::functions::level::NamedNumber;

pub(super) fn tables() -> Vec<LogicalTable> {
    let mut tables = vec![series(), exemplars()];
    for table in [
        Table::Samples,
        Table::Histograms,
        Table::ExponentialHistograms,
        Table::Summaries,
    ] {
        tables.push(define(table.as_str(), &[table], points_of(table)));
    }
    tables
}

fn series() -> LogicalTable {
    let mut columns = vec![
        stored(Table::Series, "series_id"),
        stored(Table::Series, "timestamp"),
        stored(Table::Series, "name"),
        named("type", "type", NamedNumber::MetricType),
        stored(Table::Series, "unit"),
        stored(Table::Series, "description"),
        stored(Table::Series, "service_name"),
        set(AttributeSet::Item),
        set(AttributeSet::Resource),
        set(AttributeSet::Scope),
        named("temporality", "temporality", NamedNumber::Temporality),
        stored(Table::Series, "is_monotonic"),
    ];
    columns.extend(
        [
            "scope_name",
            "scope_version",
            "resource_schema_url",
            "scope_schema_url",
        ]
        .map(|name| stored(Table::Series, name)),
    );
    columns.push(column(
        metadata::mark_json(Field::new("metadata", DataType::Utf8View, true)),
        "metadata",
        vec![ColumnSource::Column("metadata")],
    ));
    define("series", &[Table::Series], columns)
}

fn exemplars() -> LogicalTable {
    let mut columns = ["series_id", "timestamp", "point_timestamp", "value", "value_int"]
        .map(|name| stored(Table::Exemplars, name))
        .into_iter()
        .collect::<Vec<_>>();
    columns.extend([id("trace_id", 16), id("span_id", 8), set(AttributeSet::Item)]);
    define("exemplars", &[Table::Exemplars], columns)
}

/// Every stored column but the bookkeeping ones.
fn points_of(table: Table) -> Vec<Column> {
    base_fields(table)
        .iter()
        .filter(|field| field.name() != "timestamp_source")
        .filter_map(|field| column_name(field.name()))
        .map(|name| stored(table, name))
        .collect()
}

/// Names of point columns as constants.
fn column_name(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 22] = [
        "series_id",
        "timestamp",
        "start_timestamp",
        "flags",
        "value",
        "value_int",
        "count",
        "sum",
        "min",
        "max",
        "bucket_counts",
        "explicit_bounds",
        "scale",
        "zero_count",
        "zero_threshold",
        "positive_offset",
        "positive_bucket_counts",
        "negative_offset",
        "negative_bucket_counts",
        "quantile_values",
        "point_timestamp",
        "metadata",
    ];
    NAMES.into_iter().find(|known| *known == name)
}
