//! The tables of the store: their names, columns and types, physical (as sealed in memory and written to Parquet)
//! and logical (as queries see them). `FORMAT.md` documents the same for readers of the files.
//!
//! Refuses: holding data. Building rows is `columns`, files are `segment`.

mod keys;
mod promotion;
mod tables;

pub(crate) use keys::{KEY_BYTES_MAX, map_parts};
pub use keys::{KeyCounts, KeyStatistics, SetStatistics, TypeMask};
pub use promotion::{ALWAYS_PROMOTED, PromotionProfile, PromotionProfiles};
pub use tables::{attribute_map_type, base_fields, logical, map_field, physical};
pub(crate) use tables::{event_fields, link_fields, quantile_fields};

use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};

/// Version of the physical layout, kept in the key-value metadata of each file under [`FORMAT_KEY`].
pub const FORMAT_VERSION: &str = "1";
/// Key of the format version in the Parquet key-value metadata.
pub const FORMAT_KEY: &str = "cupola.format";
/// Key of the table name in the Parquet key-value metadata.
pub const TABLE_KEY: &str = "cupola.table";
/// Most promoted columns of one attribute set in one segment.
pub const PROMOTED_PER_SET_MAX: usize = 64;

/// Column names used outside this module.
pub mod column {
    pub const TIMESTAMP: &str = "timestamp";
    pub const TIMESTAMP_SOURCE: &str = "timestamp_source";
    pub const SERVICE_NAME: &str = "service_name";
    pub const SERIES_ID: &str = "series_id";
    pub const TRACE_ID: &str = "trace_id";
    pub const SPAN_ID: &str = "span_id";
}

/// `timestamp_source`: where `timestamp` came from.
pub mod source {
    /// The time the sender gave (`time_unix_nano`, `start_time_unix_nano` of a span).
    pub const SENT: i8 = 0;
    /// The next best time in the item: observed time of a log record, end of a span, time of the point of an exemplar.
    pub const OBSERVED: i8 = 1;
    /// The item had no time: when it was received.
    pub const RECEIVED: i8 = 2;
}

/// A physical table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    Logs,
    Spans,
    Series,
    Samples,
    Histograms,
    ExponentialHistograms,
    Summaries,
    Exemplars,
}

impl Table {
    pub const ALL: [Table; 8] = [
        Table::Logs,
        Table::Spans,
        Table::Series,
        Table::Samples,
        Table::Histograms,
        Table::ExponentialHistograms,
        Table::Summaries,
        Table::Exemplars,
    ];

    /// The name in paths, SQL and metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Logs => "logs",
            Table::Spans => "spans",
            Table::Series => "series",
            Table::Samples => "samples",
            Table::Histograms => "histograms",
            Table::ExponentialHistograms => "exponential_histograms",
            Table::Summaries => "summaries",
            Table::Exemplars => "exemplars",
        }
    }

    /// The inverse of [`Table::as_str`].
    pub fn parse(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.as_str() == name)
    }

    /// The attribute sets a row of this table has, in column order.
    pub fn attribute_sets(self) -> &'static [AttributeSet] {
        match self {
            Table::Logs | Table::Spans | Table::Series => {
                &[AttributeSet::Resource, AttributeSet::Scope, AttributeSet::Item]
            }
            Table::Exemplars => &[AttributeSet::Item],
            Table::Samples | Table::Histograms | Table::ExponentialHistograms | Table::Summaries => &[],
        }
    }

    /// The column rows are sorted by before `timestamp`.
    pub fn sort_column(self) -> &'static str {
        match self {
            Table::Logs | Table::Spans => column::SERVICE_NAME,
            _ => column::SERIES_ID,
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose attributes: of the resource, of the instrumentation scope, or of the item itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeSet {
    Resource,
    Scope,
    Item,
}

impl AttributeSet {
    pub const ALL: [AttributeSet; 3] = [AttributeSet::Resource, AttributeSet::Scope, AttributeSet::Item];

    /// The map column of this set; promoted columns are `<this>.<key>`.
    pub fn column(self) -> &'static str {
        match self {
            AttributeSet::Resource => "resource_attributes",
            AttributeSet::Scope => "scope_attributes",
            AttributeSet::Item => "attributes",
        }
    }

    /// The inverse of [`AttributeSet::column`].
    pub fn parse(column: &str) -> Option<AttributeSet> {
        AttributeSet::ALL.into_iter().find(|set| set.column() == column)
    }

    /// The name of the column that holds `key` of this set when it is promoted.
    pub fn promoted_column(self, key: &str) -> String {
        if self == AttributeSet::Resource && key == SERVICE_NAME_KEY {
            return column::SERVICE_NAME.to_owned();
        }
        format!("{}.{key}", self.column())
    }
}

/// The resource attribute kept in the column `service_name`.
pub const SERVICE_NAME_KEY: &str = "service.name";

/// The type of an attribute value; the `type` leaf of maps and `body_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i8)]
pub enum ValueType {
    /// A value that is present and has no content.
    Empty = 0,
    String = 1,
    Bool = 2,
    Int = 3,
    Double = 4,
    /// Text is standard base64.
    Bytes = 5,
    /// Text is OTLP/JSON of an array value.
    Array = 6,
    /// Text is OTLP/JSON of a key-value list.
    List = 7,
    /// An index into a string table (profiles); text is the decimal number.
    StringIndex = 8,
}

/// How many value types there are.
pub const VALUE_TYPES: usize = 9;

impl ValueType {
    pub const ALL: [ValueType; VALUE_TYPES] = [
        ValueType::Empty,
        ValueType::String,
        ValueType::Bool,
        ValueType::Int,
        ValueType::Double,
        ValueType::Bytes,
        ValueType::Array,
        ValueType::List,
        ValueType::StringIndex,
    ];

    pub fn tag(self) -> i8 {
        self as i8
    }

    pub fn from_tag(tag: i8) -> Option<ValueType> {
        usize::try_from(tag)
            .ok()
            .and_then(|tag| ValueType::ALL.get(tag).copied())
    }

    /// The Arrow type of a promoted column of this type; `None` when values of the type stay in the map.
    pub fn column_type(self) -> Option<DataType> {
        match self {
            ValueType::String => Some(DataType::Utf8View),
            ValueType::Bool => Some(DataType::Boolean),
            ValueType::Int => Some(DataType::Int64),
            ValueType::Double => Some(DataType::Float64),
            _ => None,
        }
    }

    /// The inverse of [`ValueType::column_type`]; readers that do not know views give `Utf8`.
    pub fn of_column(data_type: &DataType) -> Option<ValueType> {
        match data_type {
            DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => Some(ValueType::String),
            DataType::Boolean => Some(ValueType::Bool),
            DataType::Int64 => Some(ValueType::Int),
            DataType::Float64 => Some(ValueType::Double),
            _ => None,
        }
    }
}

/// One promoted column: which attribute it holds and the type of the values it holds.
/// Values of other types, and second values of the same key in one row, are in the map of the set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PromotedColumn {
    pub set: AttributeSet,
    pub key: String,
    pub value_type: ValueType,
}

impl PromotedColumn {
    /// The name of the physical column.
    pub fn name(&self) -> String {
        self.set.promoted_column(&self.key)
    }
}

/// The promoted columns of a physical schema, `service_name` included, in column order.
pub fn promoted_columns(schema: &Schema) -> Vec<PromotedColumn> {
    schema
        .fields()
        .iter()
        .filter_map(|field| promoted_column(field.name(), field.data_type()))
        .collect()
}

/// Reads a column name and type as a promoted column; `None` for every other column.
pub fn promoted_column(name: &str, data_type: &DataType) -> Option<PromotedColumn> {
    if name == column::SERVICE_NAME {
        return Some(PromotedColumn {
            set: AttributeSet::Resource,
            key: SERVICE_NAME_KEY.to_owned(),
            value_type: ValueType::String,
        });
    }
    let (set, key) = name.split_once('.')?;
    Some(PromotedColumn {
        set: AttributeSet::parse(set)?,
        key: key.to_owned(),
        value_type: ValueType::of_column(data_type)?,
    })
}
