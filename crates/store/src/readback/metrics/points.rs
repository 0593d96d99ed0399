//! Rows of the point tables, and the exemplars that belong to them.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use cupola_telemetry::encode;
use cupola_telemetry::view::NumberValue;
use hashbrown::HashMap;

use super::super::ReadbackError;
use super::super::columns::{Columns, Ids, Times, optional, wrong};
use super::super::origin::{Row, rows};
use super::super::values::SetReader;
use super::MetricRows;
use crate::schema::{AttributeSet, source};

/// A row of one of the point tables: batches of all tables are numbered through.
pub(super) type PointRow = Row;

/// Attributes of the series of a point.
type Labels<'s, 'a> = (&'s SetReader<'a>, usize);

pub(super) struct PointsReader<'a> {
    batches: Vec<PointColumns<'a>>,
}

/// The columns all point tables have, and access to the others.
struct PointColumns<'a> {
    columns: Columns<'a>,
    series_id: &'a PrimitiveArray<UInt64Type>,
    timestamp: &'a PrimitiveArray<TimestampNanosecondType>,
    timestamp_source: &'a PrimitiveArray<Int8Type>,
    start_timestamp: Times<'a>,
    flags: &'a PrimitiveArray<UInt32Type>,
}

/// What kinds of points have in common.
struct Common {
    start_time_unix_nano: u64,
    time_unix_nano: u64,
    flags: u32,
}

macro_rules! write_common {
    ($point:expr, $common:expr, $labels:expr) => {{
        let (set, row) = $labels;
        set.entries(row, |key, value| {
            $point.attribute_with(key, |any_value| any_value.raw(value));
        })?;
        $point
            .start_time_unix_nano($common.start_time_unix_nano)
            .time_unix_nano($common.time_unix_nano)
            .flags($common.flags);
    }};
}

impl<'a> PointsReader<'a> {
    pub(super) fn new(given: &MetricRows<'a>) -> Result<PointsReader<'a>, ReadbackError> {
        let tables = [
            given.samples,
            given.histograms,
            given.exponential_histograms,
            given.summaries,
        ];
        let batches = tables
            .into_iter()
            .flatten()
            .map(PointColumns::new)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(PointsReader { batches })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = PointRow> {
        let rows = |(index, batch): (usize, &PointColumns<'_>)| {
            (0..batch.series_id.len()).map(move |row| (index, row))
        };
        self.batches.iter().enumerate().flat_map(rows)
    }

    pub(super) fn series_id(&self, (batch, row): PointRow) -> u64 {
        self.batches[batch].series_id.value(row)
    }

    pub(super) fn write_number(
        &self,
        (batch, row): PointRow,
        labels: Labels<'_, 'a>,
        exemplars: &mut ExemplarIndex<'_>,
        mut point: encode::NumberDataPoint<'_>,
    ) -> Result<(), ReadbackError> {
        let batch = &self.batches[batch];
        write_common!(point, batch.common(row), labels);
        if let Some(value) = number(batch.columns, row)? {
            point.value(value);
        }
        for exemplar in exemplars.take(batch, row) {
            exemplars.write(exemplar, point.exemplar())?;
        }
        Ok(())
    }

    pub(super) fn write_histogram(
        &self,
        (batch, row): PointRow,
        labels: Labels<'_, 'a>,
        exemplars: &mut ExemplarIndex<'_>,
        mut point: encode::HistogramDataPoint<'_>,
    ) -> Result<(), ReadbackError> {
        let batch = &self.batches[batch];
        write_common!(point, batch.common(row), labels);
        point.count(batch.columns.numbers::<UInt64Type>("count")?.value(row));
        for (name, set) in [("sum", 0), ("min", 1), ("max", 2)] {
            if let Some(value) = optional(batch.columns.numbers::<Float64Type>(name)?, row) {
                match set {
                    0 => point.sum(value),
                    1 => point.min(value),
                    _ => point.max(value),
                };
            }
        }
        point.bucket_counts(list::<UInt64Type>(batch.columns, "bucket_counts", row)?);
        point.explicit_bounds(list::<Float64Type>(batch.columns, "explicit_bounds", row)?);
        for exemplar in exemplars.take(batch, row) {
            exemplars.write(exemplar, point.exemplar())?;
        }
        Ok(())
    }

    pub(super) fn write_exponential(
        &self,
        (batch, row): PointRow,
        labels: Labels<'_, 'a>,
        exemplars: &mut ExemplarIndex<'_>,
        mut point: encode::ExponentialHistogramDataPoint<'_>,
    ) -> Result<(), ReadbackError> {
        let batch = &self.batches[batch];
        let columns = batch.columns;
        write_common!(point, batch.common(row), labels);
        point.count(columns.numbers::<UInt64Type>("count")?.value(row));
        for (name, set) in [("sum", 0), ("min", 1), ("max", 2)] {
            if let Some(value) = optional(columns.numbers::<Float64Type>(name)?, row) {
                match set {
                    0 => point.sum(value),
                    1 => point.min(value),
                    _ => point.max(value),
                };
            }
        }
        point
            .scale(columns.numbers::<Int32Type>("scale")?.value(row))
            .zero_count(columns.numbers::<UInt64Type>("zero_count")?.value(row))
            .zero_threshold(columns.numbers::<Float64Type>("zero_threshold")?.value(row));
        if let Some(offset) = optional(columns.numbers::<Int32Type>("positive_offset")?, row) {
            let counts = list::<UInt64Type>(columns, "positive_bucket_counts", row)?;
            point.positive().offset(offset).bucket_counts(counts);
        }
        if let Some(offset) = optional(columns.numbers::<Int32Type>("negative_offset")?, row) {
            let counts = list::<UInt64Type>(columns, "negative_bucket_counts", row)?;
            point.negative().offset(offset).bucket_counts(counts);
        }
        for exemplar in exemplars.take(batch, row) {
            exemplars.write(exemplar, point.exemplar())?;
        }
        Ok(())
    }

    pub(super) fn write_summary(
        &self,
        (batch, row): PointRow,
        labels: Labels<'_, 'a>,
        mut point: encode::SummaryDataPoint<'_>,
    ) -> Result<(), ReadbackError> {
        let batch = &self.batches[batch];
        write_common!(point, batch.common(row), labels);
        point
            .count(batch.columns.numbers::<UInt64Type>("count")?.value(row))
            .sum(batch.columns.numbers::<Float64Type>("sum")?.value(row));
        let elements = batch.columns.lists("quantile_values")?.value(row);
        let unexpected = || wrong("quantile_values", Some(&elements));
        let elements = elements.as_struct_opt().ok_or_else(unexpected)?;
        let leaf = |index: usize| {
            elements
                .column(index)
                .as_primitive_opt::<Float64Type>()
                .ok_or_else(unexpected)
        };
        let (quantiles, values) = (leaf(0)?, leaf(1)?);
        for index in 0..elements.len() {
            point
                .quantile_value()
                .quantile(quantiles.value(index))
                .value(values.value(index));
        }
        Ok(())
    }
}

impl<'a> PointColumns<'a> {
    fn new(batch: &'a RecordBatch) -> Result<PointColumns<'a>, ReadbackError> {
        let columns = Columns(batch);
        Ok(PointColumns {
            columns,
            series_id: columns.numbers("series_id")?,
            timestamp: columns.numbers("timestamp")?,
            timestamp_source: columns.numbers("timestamp_source")?,
            start_timestamp: columns.times("start_timestamp")?,
            flags: columns.numbers("flags")?,
        })
    }

    fn common(&self, row: usize) -> Common {
        let sent = self.timestamp_source.value(row) == source::SENT;
        Common {
            start_time_unix_nano: self.start_timestamp.get(row),
            time_unix_nano: if sent { self.timestamp.value(row) as u64 } else { 0 },
            flags: self.flags.value(row),
        }
    }
}

fn number(columns: Columns<'_>, row: usize) -> Result<Option<NumberValue>, ReadbackError> {
    if let Some(value) = optional(columns.numbers::<Int64Type>("value_int")?, row) {
        return Ok(Some(NumberValue::Int(value)));
    }
    Ok(optional(columns.numbers::<Float64Type>("value")?, row).map(NumberValue::Double))
}

fn list<T: ArrowPrimitiveType>(
    columns: Columns<'_>,
    name: &str,
    row: usize,
) -> Result<Vec<T::Native>, ReadbackError> {
    let lists: &ListArray = columns.lists(name)?;
    let values = lists.value(row);
    match values.as_primitive_opt::<T>() {
        Some(numbers) => Ok(numbers.values().to_vec()),
        None => Err(wrong(name, Some(&values))),
    }
}

/// Exemplars by the point they belong to.
pub(super) struct ExemplarIndex<'a> {
    batches: Vec<ExemplarColumns<'a>>,
    by_point: HashMap<(u64, i64), Vec<Row>>,
}

struct ExemplarColumns<'a> {
    columns: Columns<'a>,
    timestamp: Times<'a>,
    timestamp_source: &'a PrimitiveArray<Int8Type>,
    trace_id: Ids<'a>,
    span_id: Ids<'a>,
    attributes: SetReader<'a>,
}

impl<'a> ExemplarIndex<'a> {
    pub(super) fn new(given: &'a [RecordBatch]) -> Result<ExemplarIndex<'a>, ReadbackError> {
        let mut by_point: HashMap<(u64, i64), Vec<Row>> = HashMap::new();
        for (index, row) in rows(given) {
            let columns = Columns(&given[index]);
            let series_id = columns.numbers::<UInt64Type>("series_id")?.value(row);
            let timestamp = columns
                .numbers::<TimestampNanosecondType>("point_timestamp")?
                .value(row);
            by_point
                .entry((series_id, timestamp))
                .or_default()
                .push((index, row));
        }
        let batches = given
            .iter()
            .map(|batch| {
                let columns = Columns(batch);
                Ok(ExemplarColumns {
                    columns,
                    timestamp: columns.times("timestamp")?,
                    timestamp_source: columns.numbers("timestamp_source")?,
                    trace_id: columns.ids("trace_id")?,
                    span_id: columns.ids("span_id")?,
                    attributes: SetReader::new(batch, AttributeSet::Item)?,
                })
            })
            .collect::<Result<Vec<_>, ReadbackError>>()?;
        Ok(ExemplarIndex { batches, by_point })
    }

    fn take(&mut self, point: &PointColumns<'_>, row: usize) -> Vec<Row> {
        let key = (point.series_id.value(row), point.timestamp.value(row));
        self.by_point.remove(&key).unwrap_or_default()
    }

    fn write(&self, (batch, row): Row, mut exemplar: encode::Exemplar<'_>) -> Result<(), ReadbackError> {
        let batch = &self.batches[batch];
        batch.attributes.entries(row, |key, value| {
            exemplar.filtered_attribute_with(key, |any_value| any_value.raw(value));
        })?;
        if batch.timestamp_source.value(row) == source::SENT {
            exemplar.time_unix_nano(batch.timestamp.get(row));
        }
        if let Some(value) = number(batch.columns, row)? {
            exemplar.value(value);
        }
        exemplar
            .span_id(batch.span_id.get(row))
            .trace_id(batch.trace_id.get(row));
        Ok(())
    }
}
