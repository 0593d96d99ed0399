//! Row filters: which rows a retention rule or a deletion names. Evaluated over physical rows, and against segment
//! metadata to skip files that cannot hold such a row.
//!
//! Refuses: being a query language. Only what retention and deletion need.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    DataType, Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use super::SegmentMeta;
use crate::schema::{AttributeSet, ValueType, column, map_parts};

/// A predicate over rows. A comparison with a value that is absent or of another type is false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFilter {
    /// Every row.
    All,
    /// `timestamp` before this time, in nanoseconds since 1970.
    Before(i64),
    /// `timestamp` at or after this time.
    NotBefore(i64),
    /// A fixed column; false for tables without it.
    Column {
        name: String,
        comparison: Comparison,
        value: Literal,
    },
    /// An attribute, promoted or not.
    Attribute {
        set: AttributeSet,
        key: String,
        comparison: Comparison,
        value: Literal,
    },
    /// Rows of these series; false for tables without `series_id`. Made for one run, never written down.
    #[serde(skip)]
    Series(Arc<HashSet<u64>>),
    And(Vec<RowFilter>),
    Or(Vec<RowFilter>),
    Not(Box<RowFilter>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

impl RowFilter {
    /// One bit per row: set where the filter names the row.
    pub fn evaluate(&self, batch: &RecordBatch) -> BooleanBuffer {
        let rows = batch.num_rows();
        match self {
            RowFilter::All => BooleanBuffer::new_set(rows),
            RowFilter::Before(time) => time_bits(batch, |timestamp| timestamp < *time),
            RowFilter::NotBefore(time) => time_bits(batch, |timestamp| timestamp >= *time),
            RowFilter::Column {
                name,
                comparison,
                value,
            } => match batch.column_by_name(name) {
                Some(column) => compare_column(column, *comparison, value),
                None => BooleanBuffer::new_unset(rows),
            },
            RowFilter::Attribute {
                set,
                key,
                comparison,
                value,
            } => compare_attribute(batch, *set, key, *comparison, value),
            RowFilter::Series(ids) => {
                let column = batch.column_by_name(column::SERIES_ID);
                match column.and_then(|column| column.as_primitive_opt::<UInt64Type>()) {
                    Some(column) => {
                        BooleanBuffer::collect_bool(rows, |row| ids.contains(&column.values()[row]))
                    }
                    None => BooleanBuffer::new_unset(rows),
                }
            }
            RowFilter::And(filters) => filters.iter().fold(BooleanBuffer::new_set(rows), |bits, filter| {
                &bits & &filter.evaluate(batch)
            }),
            RowFilter::Or(filters) => filters
                .iter()
                .fold(BooleanBuffer::new_unset(rows), |bits, filter| {
                    &bits | &filter.evaluate(batch)
                }),
            RowFilter::Not(filter) => !&filter.evaluate(batch),
        }
    }

    /// Adds the names of the columns that the filter reads.
    pub(crate) fn columns(&self, names: &mut HashSet<String>) {
        let mut add = |name: &str| {
            names.insert(name.to_owned());
        };
        match self {
            RowFilter::All => {}
            RowFilter::Before(_) | RowFilter::NotBefore(_) => add(column::TIMESTAMP),
            RowFilter::Column { name, .. } => add(name),
            RowFilter::Attribute { set, key, .. } => {
                add(set.column());
                add(&set.promoted_column(key));
            }
            RowFilter::Series(_) => add(column::SERIES_ID),
            RowFilter::And(filters) | RowFilter::Or(filters) => {
                filters.iter().for_each(|filter| filter.columns(names));
            }
            RowFilter::Not(filter) => filter.columns(names),
        }
    }

    /// Whether a segment with this metadata may hold a row the filter names. `false` is certain.
    pub fn may_match(&self, meta: &SegmentMeta) -> bool {
        match self {
            RowFilter::Before(time) => meta.min_timestamp < *time,
            RowFilter::NotBefore(time) => meta.max_timestamp >= *time,
            RowFilter::Column {
                name,
                comparison: Comparison::Equal,
                value: Literal::Text(service),
            } if name == column::SERVICE_NAME => meta.may_have_service(service),
            RowFilter::Attribute { set, key, .. } => {
                meta.promoted_type(*set, key).is_some() || !meta.rest_types(*set, key).is_empty()
            }
            RowFilter::And(filters) => filters.iter().all(|filter| filter.may_match(meta)),
            RowFilter::Or(filters) => filters.iter().any(|filter| filter.may_match(meta)),
            RowFilter::All | RowFilter::Column { .. } | RowFilter::Series(_) | RowFilter::Not(_) => true,
        }
    }

    /// Whether the filter names every row of a segment with this metadata. `true` is certain.
    pub fn matches_all(&self, meta: &SegmentMeta) -> bool {
        match self {
            RowFilter::All => true,
            RowFilter::Before(time) => meta.max_timestamp < *time,
            RowFilter::NotBefore(time) => meta.min_timestamp >= *time,
            RowFilter::And(filters) => filters.iter().all(|filter| filter.matches_all(meta)),
            RowFilter::Or(filters) => filters.iter().any(|filter| filter.matches_all(meta)),
            RowFilter::Not(filter) => !filter.may_match(meta),
            RowFilter::Column { .. } | RowFilter::Attribute { .. } | RowFilter::Series(_) => false,
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Option<std::cmp::Ordering>) -> bool {
        match ordering {
            // Not a number: different from everything.
            None => self == Comparison::NotEqual,
            Some(ordering) => match self {
                Comparison::Equal => ordering.is_eq(),
                Comparison::NotEqual => ordering.is_ne(),
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
            },
        }
    }
}

fn time_bits(batch: &RecordBatch, holds: impl Fn(i64) -> bool) -> BooleanBuffer {
    let column = batch.column_by_name(column::TIMESTAMP);
    match column.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>()) {
        Some(times) => BooleanBuffer::collect_bool(times.len(), |row| holds(times.values()[row])),
        None => BooleanBuffer::new_unset(batch.num_rows()),
    }
}

fn rows_where(column: &dyn Array, holds: impl Fn(usize) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(column.len(), |row| column.is_valid(row) && holds(row))
}

fn compare_column(column: &ArrayRef, comparison: Comparison, literal: &Literal) -> BooleanBuffer {
    let array = column.as_ref();
    match (array.data_type(), literal) {
        (DataType::Utf8View, Literal::Text(text)) => {
            let values = array.as_string_view();
            rows_where(array, |row| {
                comparison.holds(Some(values.value(row).cmp(text.as_str())))
            })
        }
        (DataType::FixedSizeBinary(_), Literal::Text(text)) => {
            let Ok(id) = hex::decode(text) else {
                return BooleanBuffer::new_unset(array.len());
            };
            let values = array.as_fixed_size_binary();
            rows_where(array, |row| {
                comparison.holds(Some(values.value(row).cmp(id.as_slice())))
            })
        }
        (DataType::Boolean, Literal::Bool(value)) => {
            let values = array.as_boolean();
            rows_where(array, |row| comparison.holds(Some(values.value(row).cmp(value))))
        }
        (_, Literal::Int(_) | Literal::Double(_)) => compare_numbers(array, comparison, literal),
        _ => BooleanBuffer::new_unset(array.len()),
    }
}

fn compare_numbers(array: &dyn Array, comparison: Comparison, literal: &Literal) -> BooleanBuffer {
    macro_rules! compare {
        ($type:ty, $integer:expr) => {{
            let values = array.as_primitive::<$type>().values();
            rows_where(array, |row| {
                comparison.holds(match literal {
                    Literal::Int(number) if $integer => {
                        (values[row] as i128).partial_cmp(&i128::from(*number))
                    }
                    Literal::Int(number) => (values[row] as f64).partial_cmp(&(*number as f64)),
                    Literal::Double(number) => (values[row] as f64).partial_cmp(number),
                    _ => None,
                })
            })
        }};
    }
    match array.data_type() {
        DataType::Int8 => compare!(Int8Type, true),
        DataType::Int32 => compare!(Int32Type, true),
        DataType::Int64 => compare!(Int64Type, true),
        DataType::UInt32 => compare!(UInt32Type, true),
        DataType::UInt64 => compare!(UInt64Type, true),
        DataType::Timestamp(_, _) => compare!(TimestampNanosecondType, true),
        DataType::Float64 => compare!(Float64Type, false),
        _ => BooleanBuffer::new_unset(array.len()),
    }
}

/// The value of an attribute is the promoted column, or else the first entry of the map with that key.
fn compare_attribute(
    batch: &RecordBatch,
    set: AttributeSet,
    key: &str,
    comparison: Comparison,
    literal: &Literal,
) -> BooleanBuffer {
    let rows = batch.num_rows();
    let promoted = batch.column_by_name(&set.promoted_column(key));
    let from_column = match promoted {
        Some(column) => compare_column(column, comparison, literal),
        None => BooleanBuffer::new_unset(rows),
    };
    let Some(map) = batch
        .column_by_name(set.column())
        .and_then(|column| column.as_map_opt())
    else {
        return from_column;
    };
    if map.offsets()[0] == map.offsets()[rows] {
        return from_column;
    }
    BooleanBuffer::collect_bool(rows, |row| match promoted {
        Some(column) if column.is_valid(row) => from_column.value(row),
        _ => entry_matches(map, row, key, comparison, literal),
    })
}

fn entry_matches(map: &MapArray, row: usize, key: &str, comparison: Comparison, literal: &Literal) -> bool {
    let Some((keys, tags, texts)) = map_parts(map) else {
        return false;
    };
    let offsets = map.value_offsets();
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    let Some(index) = (start..end).find(|index| keys.value(*index) == key) else {
        return false;
    };
    let text = texts.value(index);
    match (ValueType::from_tag(tags.value(index)), literal) {
        (
            Some(ValueType::String | ValueType::Bytes | ValueType::Array | ValueType::List),
            Literal::Text(value),
        ) => comparison.holds(Some(text.cmp(value.as_str()))),
        (Some(ValueType::Bool), Literal::Bool(value)) => text
            .parse::<bool>()
            .is_ok_and(|found| comparison.holds(Some(found.cmp(value)))),
        (Some(ValueType::Int), Literal::Int(value)) => text
            .parse::<i64>()
            .is_ok_and(|found| comparison.holds(Some(found.cmp(value)))),
        (Some(ValueType::Int | ValueType::Double), Literal::Double(value)) => text
            .parse::<f64>()
            .is_ok_and(|found| comparison.holds(found.partial_cmp(value))),
        (Some(ValueType::Double), Literal::Int(value)) => text
            .parse::<f64>()
            .is_ok_and(|found| comparison.holds(found.partial_cmp(&(*value as f64)))),
        _ => false,
    }
}
