//! `points`: data points of all kinds; and `metrics`: points with the series they belong to.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use cupola_store::schema::Table;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column as ColumnName, JoinType, Result};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use super::define::{Column, column, define, null, stored_field, time_type};
use super::{ColumnSource, LogicalTable, POINTS};

const TABLES: [Table; 4] = [
    Table::Samples,
    Table::Histograms,
    Table::ExponentialHistograms,
    Table::Summaries,
];

/// Columns of single kinds of points, and the kinds that have them.
const OWN: [(&str, &[Table]); 14] = [
    ("value_int", &[Table::Samples]),
    (
        "count",
        &[Table::Histograms, Table::ExponentialHistograms, Table::Summaries],
    ),
    (
        "sum",
        &[Table::Histograms, Table::ExponentialHistograms, Table::Summaries],
    ),
    ("min", &[Table::Histograms, Table::ExponentialHistograms]),
    ("max", &[Table::Histograms, Table::ExponentialHistograms]),
    ("bucket_counts", &[Table::Histograms]),
    ("explicit_bounds", &[Table::Histograms]),
    ("scale", &[Table::ExponentialHistograms]),
    ("zero_count", &[Table::ExponentialHistograms]),
    ("zero_threshold", &[Table::ExponentialHistograms]),
    ("positive_offset", &[Table::ExponentialHistograms]),
    ("positive_bucket_counts", &[Table::ExponentialHistograms]),
    ("negative_offset", &[Table::ExponentialHistograms]),
    ("negative_bucket_counts", &[Table::ExponentialHistograms]),
];

pub(super) fn points() -> LogicalTable {
    let same = |name: &'static str, data_type: DataType, nullable: bool| {
        column(
            Field::new(name, data_type, nullable),
            name,
            vec![ColumnSource::Column(name); TABLES.len()],
        )
    };
    let mut value = vec![ColumnSource::Number];
    value.resize(TABLES.len(), null(&DataType::Float64));
    let mut columns = vec![
        same("timestamp", time_type(), false),
        same("series_id", DataType::UInt64, false),
        column(Field::new("value", DataType::Float64, true), "value", value),
    ];
    columns.extend(OWN.into_iter().map(|(name, tables)| own(name, tables)));
    columns.push(own("quantile_values", &[Table::Summaries]));
    columns.push(same("start_timestamp", time_type(), true));
    columns.push(same("flags", DataType::Int64, true));
    define(POINTS, &TABLES, columns)
}

/// A column that some kinds of points have and others have not.
fn own(name: &'static str, tables: &[Table]) -> Column {
    let data_type = tables.first().map_or(DataType::Null, |table| {
        stored_field(*table, name).data_type().clone()
    });
    let sources = TABLES
        .iter()
        .map(|table| {
            if tables.contains(table) {
                ColumnSource::Column(name)
            } else {
                null(&data_type)
            }
        })
        .collect();
    column(Field::new(name, data_type, true), name, sources)
}

/// One row per point, with its series.
pub(crate) fn metrics_view(
    points: Arc<dyn TableProvider>,
    series: Arc<dyn TableProvider>,
) -> Result<LogicalPlan> {
    let of = |table: &str, names: &[&str]| -> Vec<Expr> {
        names
            .iter()
            .map(|name| Expr::Column(ColumnName::new(Some(table.to_owned()), *name)))
            .collect()
    };
    let mut columns = of(POINTS, &["timestamp"]);
    columns.extend(of("series", &["name", "type", "unit"]));
    columns.extend(of(POINTS, &["value", "count", "sum", "min", "max"]));
    columns.extend(of(
        "series",
        &[
            "service_name",
            "attributes",
            "resource_attributes",
            "temporality",
            "is_monotonic",
            "description",
        ],
    ));
    columns.extend(of("series", &["scope_name", "scope_version", "scope_attributes"]));
    columns.extend(of(POINTS, &["bucket_counts", "explicit_bounds"]));
    let exponential = OWN[7..].iter().map(|(name, _)| *name).collect::<Vec<_>>();
    columns.extend(of(POINTS, &exponential));
    columns.extend(of(
        POINTS,
        &[
            "quantile_values",
            "value_int",
            "start_timestamp",
            "flags",
            "series_id",
        ],
    ));
    let series = LogicalPlanBuilder::scan("series", provider_as_source(series), None)?.build()?;
    LogicalPlanBuilder::scan(POINTS, provider_as_source(points), None)?
        .join(
            series,
            JoinType::Inner,
            (
                vec![ColumnName::new(Some(POINTS), "series_id")],
                vec![ColumnName::new(Some("series"), "series_id")],
            ),
            None,
        )?
        .project(columns)?
        .build()
}
