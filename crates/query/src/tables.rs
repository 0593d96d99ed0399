//! The tables SQL sees, and where in the physical tables each of their columns comes from.
//!
//! A logical table has one or more parts, each reading one physical table. All parts of a table give the same columns,
//! so that `records` and `points` are scanned as one table and every filter reaches every part.
//!
//! Refuses: reading anything. `adapter` turns a [`ColumnSource`] into expressions over one file or chunk.

mod define;
pub(crate) mod metadata;
mod metrics;
mod raw;
mod records;
mod signals;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::SchemaRef;
use cupola_store::schema::{AttributeSet, Table};
use datafusion::common::ScalarValue;

pub(crate) use metrics::metrics_view;

use crate::functions::level::NamedNumber;

/// A table as queries see it.
#[derive(Debug)]
pub(crate) struct LogicalTable {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    pub(crate) parts: Vec<Arc<Part>>,
}

/// The rows of a logical table that come from one physical table.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) table: Table,
    /// By logical column name; every column of the logical table is there.
    pub(crate) columns: HashMap<&'static str, ColumnSource>,
}

/// Where a logical column comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ColumnSource {
    /// A physical column, converted to the logical type where it differs.
    Column(&'static str),
    /// An id column of this many bytes, shown as hexadecimal text.
    Id(&'static str, usize),
    /// A number shown as its name.
    Named(&'static str, NamedNumber),
    /// A whole attribute set as JSON.
    Attributes(AttributeSet),
    /// `body` of a log record, structured bodies as JSON.
    Body,
    /// A list of structs with ids and attributes.
    List(&'static str),
    /// `value`, or `value_int` as a double.
    Number,
    /// The severity number of a span: 17 (error) or 9 (info) by its status.
    StatusSeverity,
    /// The same in every row.
    Literal(ScalarValue),
}

/// All tables that are scanned. `metrics` is a view over two of them.
static TABLES: LazyLock<Vec<Arc<LogicalTable>>> = LazyLock::new(|| {
    let mut tables = vec![
        signals::logs(),
        signals::spans(),
        records::records(),
        metrics::points(),
    ];
    tables.extend(raw::tables());
    tables.into_iter().map(Arc::new).collect()
});

/// The name of the metrics view.
pub(crate) const METRICS: &str = "metrics";
/// The name of the table of data points of all kinds.
pub(crate) const POINTS: &str = "points";

pub(crate) fn logical_table(name: &str) -> Option<Arc<LogicalTable>> {
    TABLES.iter().find(|table| table.name == name).cloned()
}

/// The names SQL can use, most used first.
pub(crate) fn table_names() -> Vec<String> {
    let mut names: Vec<String> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    names.insert(2, METRICS.to_owned());
    names
}
