//! What is known about a scan without reading: rows, and the range of times.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Schema, TimestampNanosecondType};
use cupola_store::{Segment, TableSnapshot};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

const TIMESTAMP: &str = "timestamp";

/// Exact statistics of one segment, in terms of the logical schema.
pub(super) fn of_segment(segment: &Segment, schema: &Schema) -> Arc<Statistics> {
    let range = (segment.rows > 0).then_some((segment.min_timestamp, segment.max_timestamp));
    Arc::new(exact(
        segment.rows as usize,
        Some(segment.bytes as usize),
        range,
        schema,
    ))
}

/// Exact statistics of chunks and segments together.
pub(super) fn of_tables<'a>(tables: impl Iterator<Item = &'a TableSnapshot>, schema: &Schema) -> Statistics {
    let mut rows = 0;
    let mut range: Option<(i64, i64)> = None;
    let mut widen = |(min, max): (i64, i64)| {
        range = Some(range.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
    };
    for table in tables {
        rows += table.rows() as usize;
        for segment in table.segments.iter().filter(|segment| segment.rows > 0) {
            widen((segment.min_timestamp, segment.max_timestamp));
        }
        for chunk in &table.chunks {
            let times = chunk
                .column_by_name(TIMESTAMP)
                .and_then(|column| column.as_primitive_opt());
            let times: Option<&arrow::array::PrimitiveArray<TimestampNanosecondType>> = times;
            if let Some(found) =
                times.and_then(|times| Some((arrow::compute::min(times)?, arrow::compute::max(times)?)))
            {
                widen(found);
            }
        }
    }
    exact(rows, None, range, schema)
}

fn exact(rows: usize, bytes: Option<usize>, range: Option<(i64, i64)>, schema: &Schema) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(rows);
    if let Some(bytes) = bytes {
        statistics.total_byte_size = Precision::Inexact(bytes);
    }
    let (Ok(index), Some((min, max))) = (schema.index_of(TIMESTAMP), range) else {
        return statistics;
    };
    let time =
        |value: i64| Precision::Exact(ScalarValue::TimestampNanosecond(Some(value), Some("UTC".into())));
    statistics.column_statistics[index] = ColumnStatistics {
        null_count: Precision::Exact(0),
        min_value: time(min),
        max_value: time(max),
        ..ColumnStatistics::new_unknown()
    };
    statistics
}
