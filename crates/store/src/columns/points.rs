//! Rows of the point tables: samples, histograms, exponential histograms, summaries, and exemplars beside them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Float64Type, Int8Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use cupola_telemetry::view::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberValue, SummaryDataPoint,
};

use super::attributes::SetBuilder;
use super::buffers::{Arena, IdColumn, NumberColumn, TimeColumn, numbers, times};
use super::nested::{NumberLists, Offsets, struct_lists};
use super::origin::ChunkColumns;
use crate::schema::{self, PromotionProfile, source};

/// On the wire: how many there are is not known before.
const EXEMPLAR_BYTES_USUAL: usize = 64;

/// What points of all kinds have.
pub(crate) struct Point {
    pub(crate) series_id: u64,
    pub(crate) timestamp: i64,
    pub(crate) timestamp_source: i8,
    pub(crate) start_time_unix_nano: u64,
    pub(crate) flags: u32,
}

#[derive(Default)]
struct PointColumns {
    series_id: Vec<u64>,
    timestamp: Vec<i64>,
    timestamp_source: Vec<i8>,
    start_timestamp: TimeColumn,
    flags: Vec<u32>,
}

impl PointColumns {
    #[inline]
    fn push(&mut self, point: &Point) {
        self.series_id.push(point.series_id);
        self.timestamp.push(point.timestamp);
        self.timestamp_source.push(point.timestamp_source);
        self.start_timestamp.push_or_null(point.start_time_unix_nano);
        self.flags.push(point.flags);
    }

    fn finish(self, chunk: &mut ChunkColumns) {
        chunk.add("series_id", numbers::<UInt64Type>(self.series_id));
        chunk.add("timestamp", times(self.timestamp));
        chunk.add("timestamp_source", numbers::<Int8Type>(self.timestamp_source));
        chunk.add("start_timestamp", self.start_timestamp.finish());
        chunk.add("flags", numbers::<UInt32Type>(self.flags));
    }
}

/// A value that is a double, an integer or nothing.
#[derive(Default)]
struct ValueColumns {
    doubles: NumberColumn<Float64Type>,
    integers: NumberColumn<Int64Type>,
}

impl ValueColumns {
    #[inline]
    fn push(&mut self, value: Option<NumberValue>) {
        match value {
            Some(NumberValue::Double(value)) => {
                self.doubles.push(value);
                self.integers.push_nulls(1);
            }
            Some(NumberValue::Int(value)) => {
                self.doubles.push_nulls(1);
                self.integers.push(value);
            }
            None => {
                self.doubles.push_nulls(1);
                self.integers.push_nulls(1);
            }
        }
    }

    fn finish(self, chunk: &mut ChunkColumns) {
        chunk.add("value", self.doubles.finish());
        chunk.add("value_int", self.integers.finish());
    }
}

/// Rows of the table `samples`.
#[derive(Default)]
pub(crate) struct SamplesBuilder {
    points: PointColumns,
    values: ValueColumns,
}

impl SamplesBuilder {
    pub(crate) fn rows(&self) -> usize {
        self.points.series_id.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, point: &Point, value: Option<NumberValue>) {
        self.points.push(point);
        self.values.push(value);
    }

    pub(crate) fn finish(self, chunk: &mut ChunkColumns) {
        self.points.finish(chunk);
        self.values.finish(chunk);
    }
}

/// Count, sum and extremes of a distribution.
#[derive(Default)]
struct DistributionColumns {
    count: Vec<u64>,
    sum: NumberColumn<Float64Type>,
    min: NumberColumn<Float64Type>,
    max: NumberColumn<Float64Type>,
}

impl DistributionColumns {
    fn push(&mut self, count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) {
        self.count.push(count);
        self.sum.push_option(sum);
        self.min.push_option(min);
        self.max.push_option(max);
    }

    fn finish(self, chunk: &mut ChunkColumns) {
        chunk.add("count", numbers::<UInt64Type>(self.count));
        chunk.add("sum", self.sum.finish());
        chunk.add("min", self.min.finish());
        chunk.add("max", self.max.finish());
    }
}

/// Rows of the table `histograms`.
#[derive(Default)]
pub(crate) struct HistogramsBuilder {
    points: PointColumns,
    distribution: DistributionColumns,
    bucket_counts: NumberLists<UInt64Type>,
    explicit_bounds: NumberLists<Float64Type>,
}

impl HistogramsBuilder {
    pub(crate) fn rows(&self) -> usize {
        self.points.series_id.len()
    }

    pub(crate) fn push(&mut self, point: &Point, histogram: &HistogramDataPoint<'_>) {
        self.points.push(point);
        self.distribution
            .push(histogram.count, histogram.sum, histogram.min, histogram.max);
        self.bucket_counts.push(histogram.bucket_counts.iter());
        self.explicit_bounds.push(histogram.explicit_bounds.iter());
    }

    pub(crate) fn finish(self, chunk: &mut ChunkColumns) {
        self.points.finish(chunk);
        self.distribution.finish(chunk);
        chunk.add("bucket_counts", self.bucket_counts.finish());
        chunk.add("explicit_bounds", self.explicit_bounds.finish());
    }
}

/// Rows of the table `exponential_histograms`.
#[derive(Default)]
pub(crate) struct ExponentialHistogramsBuilder {
    points: PointColumns,
    distribution: DistributionColumns,
    scale: Vec<i32>,
    zero_count: Vec<u64>,
    zero_threshold: Vec<f64>,
    positive_offset: NumberColumn<Int32Type>,
    positive_bucket_counts: NumberLists<UInt64Type>,
    negative_offset: NumberColumn<Int32Type>,
    negative_bucket_counts: NumberLists<UInt64Type>,
}

impl ExponentialHistogramsBuilder {
    pub(crate) fn rows(&self) -> usize {
        self.points.series_id.len()
    }

    pub(crate) fn push(&mut self, point: &Point, histogram: &ExponentialHistogramDataPoint<'_>) {
        self.points.push(point);
        self.distribution
            .push(histogram.count, histogram.sum, histogram.min, histogram.max);
        self.scale.push(histogram.scale);
        self.zero_count.push(histogram.zero_count);
        self.zero_threshold.push(histogram.zero_threshold);
        self.positive_offset
            .push_option(histogram.positive.map(|buckets| buckets.offset));
        self.positive_bucket_counts.push(
            histogram
                .positive
                .into_iter()
                .flat_map(|buckets| buckets.bucket_counts),
        );
        self.negative_offset
            .push_option(histogram.negative.map(|buckets| buckets.offset));
        self.negative_bucket_counts.push(
            histogram
                .negative
                .into_iter()
                .flat_map(|buckets| buckets.bucket_counts),
        );
    }

    pub(crate) fn finish(self, chunk: &mut ChunkColumns) {
        self.points.finish(chunk);
        self.distribution.finish(chunk);
        chunk.add("scale", numbers::<Int32Type>(self.scale));
        chunk.add("zero_count", numbers::<UInt64Type>(self.zero_count));
        chunk.add("zero_threshold", numbers::<Float64Type>(self.zero_threshold));
        chunk.add("positive_offset", self.positive_offset.finish());
        chunk.add("positive_bucket_counts", self.positive_bucket_counts.finish());
        chunk.add("negative_offset", self.negative_offset.finish());
        chunk.add("negative_bucket_counts", self.negative_bucket_counts.finish());
    }
}

/// Rows of the table `summaries`.
#[derive(Default)]
pub(crate) struct SummariesBuilder {
    points: PointColumns,
    count: Vec<u64>,
    sum: Vec<f64>,
    offsets: Offsets,
    quantiles: Vec<f64>,
    values: Vec<f64>,
}

impl SummariesBuilder {
    pub(crate) fn rows(&self) -> usize {
        self.points.series_id.len()
    }

    pub(crate) fn push(&mut self, point: &Point, summary: &SummaryDataPoint<'_>) {
        self.points.push(point);
        self.count.push(summary.count);
        self.sum.push(summary.sum);
        for value in summary.quantile_values {
            self.quantiles.push(value.quantile);
            self.values.push(value.value);
        }
        self.offsets.push(self.quantiles.len());
    }

    pub(crate) fn finish(self, chunk: &mut ChunkColumns) {
        self.points.finish(chunk);
        chunk.add("count", numbers::<UInt64Type>(self.count));
        chunk.add("sum", numbers::<Float64Type>(self.sum));
        let columns: Vec<ArrayRef> = vec![
            numbers::<Float64Type>(self.quantiles),
            numbers::<Float64Type>(self.values),
        ];
        chunk.add(
            "quantile_values",
            struct_lists(schema::quantile_fields(), columns, self.offsets),
        );
    }
}

/// Rows of the table `exemplars`.
pub(crate) struct ExemplarsBuilder<'a> {
    series_id: Vec<u64>,
    timestamp: Vec<i64>,
    timestamp_source: Vec<i8>,
    point_timestamp: Vec<i64>,
    values: ValueColumns,
    trace_id: IdColumn,
    span_id: IdColumn,
    attributes: SetBuilder<'a>,
}

impl<'a> ExemplarsBuilder<'a> {
    pub(crate) fn new(profile: &'a PromotionProfile, payload_bytes: usize) -> ExemplarsBuilder<'a> {
        ExemplarsBuilder {
            series_id: Vec::new(),
            timestamp: Vec::new(),
            timestamp_source: Vec::new(),
            point_timestamp: Vec::new(),
            values: ValueColumns::default(),
            trace_id: IdColumn::new(16),
            span_id: IdColumn::new(8),
            attributes: SetBuilder::of_items(profile, payload_bytes, payload_bytes / EXEMPLAR_BYTES_USUAL),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.series_id.len()
    }

    pub(crate) fn nested_bytes(&self) -> usize {
        self.attributes.rest_bytes()
    }

    pub(crate) fn push(&mut self, arena: &mut Arena<'a>, point: &Point, exemplar: &Exemplar<'a>) {
        let row = self.rows();
        let (timestamp, timestamp_source) = match exemplar.time_unix_nano {
            0 => (point.timestamp, source::OBSERVED),
            sent => (sent as i64, source::SENT),
        };
        self.series_id.push(point.series_id);
        self.timestamp.push(timestamp);
        self.timestamp_source.push(timestamp_source);
        self.point_timestamp.push(point.timestamp);
        self.values.push(exemplar.value);
        self.trace_id.push(exemplar.trace_id);
        self.span_id.push(exemplar.span_id);
        self.attributes.push_row(arena, exemplar.filtered_attributes, row);
    }

    pub(crate) fn finish(self, chunk: &mut ChunkColumns) {
        let buffers: Arc<[_]> = chunk.buffers.clone();
        chunk.add("series_id", numbers::<UInt64Type>(self.series_id));
        chunk.add("timestamp", times(self.timestamp));
        chunk.add("timestamp_source", numbers::<Int8Type>(self.timestamp_source));
        chunk.add("point_timestamp", times(self.point_timestamp));
        self.values.finish(chunk);
        chunk.add("trace_id", self.trace_id.finish());
        chunk.add("span_id", self.span_id.finish());
        chunk.add_set(self.attributes.finish(&buffers, chunk.rows));
    }
}
