//! How much memory the columns of a batch will take, counted before it is taken in: a record of two bytes is a row of
//! some hundred, and the attributes of a resource are in each of its rows.
//!
//! Refuses: making columns. What is counted is what is in memory at most, but for the keys of other batches in the same
//! chunk, which `super::attributes` bounds.

use cupola_telemetry::view::{
    AnyValue, Attributes, Buckets, Exemplars, LogsData, Metric, MetricData, MetricsData, Resource, Scope,
    TracesData,
};
use cupola_telemetry::{Batch, Signal};
use hashbrown::HashSet;

use super::attributes::{SPARSE_COLUMNS_MIN, may_have_column};
use super::values::value_type;
use crate::schema::PROMOTED_PER_SET_MAX;

/// A view of text, or a number with its validity.
const CELL_BYTES: usize = 16;
/// An entry of an attribute map besides its texts: two offsets and a tag.
const ENTRY_BYTES: usize = 9;
/// Columns of the row itself and of its origin, and those promoted without regard to how sparse they are. Measured over
/// empty records, see the test.
const LOG_ROW_BYTES: usize = 256 + SPARSE_COLUMNS_MIN * CELL_BYTES;
const SPAN_ROW_BYTES: usize = 320 + SPARSE_COLUMNS_MIN * CELL_BYTES;
/// The point, and the row of a new series and its place in the registry as far as not every point has one.
const POINT_BYTES: usize = 256;
const EXEMPLAR_BYTES: usize = 96 + SPARSE_COLUMNS_MIN * CELL_BYTES;
const EVENT_BYTES: usize = 32;
const LINK_BYTES: usize = 56;
const QUANTILE_BYTES: usize = 16;
const BUCKET_BYTES: usize = 8;
/// OTLP/JSON of a nested value by its bytes on the wire: `{"boolValue":true},` is four of them.
const JSON_FACTOR: usize = 6;

/// What columns of a batch will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Projection {
    /// Bytes of columns besides the payload they point into.
    pub(crate) bytes: usize,
    /// Bytes of text of the largest nested column, see [`super::NESTED_BYTES_MAX`].
    pub(crate) nested_bytes: usize,
}

/// Walks over a batch without looking into its items more than need be.
pub(crate) fn project(batch: &Batch) -> Projection {
    let payload = batch.payload();
    let mut total = Total::default();
    match batch.signal() {
        Signal::Logs => {
            for resource in LogsData::new(payload).resources() {
                let mut rows_of_resource = 0;
                for scope in resource.scopes() {
                    let mut rows = 0;
                    for record in scope.records() {
                        rows += 1;
                        total.bytes += LOG_ROW_BYTES + record.attributes.len() * CELL_BYTES;
                    }
                    total.scope(&scope.scope(), rows);
                    rows_of_resource += rows;
                }
                total.resource(&resource.resource(), rows_of_resource);
            }
        }
        Signal::Traces => {
            for resource in TracesData::new(payload).resources() {
                let mut rows_of_resource = 0;
                for scope in resource.scopes() {
                    let mut rows = 0;
                    for span in scope.spans() {
                        rows += 1;
                        total.bytes += SPAN_ROW_BYTES + span.attributes.len() * CELL_BYTES;
                        total.bytes += span.events.len() * EVENT_BYTES + span.links.len() * LINK_BYTES;
                    }
                    total.scope(&scope.scope(), rows);
                    rows_of_resource += rows;
                }
                total.resource(&resource.resource(), rows_of_resource);
            }
        }
        Signal::Metrics => {
            for resource in MetricsData::new(payload).resources() {
                let mut rows_of_resource = 0;
                for scope in resource.scopes() {
                    let mut rows = 0;
                    for metric in scope.metrics() {
                        let (points, bytes) = metric_bytes(&metric);
                        rows += points;
                        total.bytes += points * POINT_BYTES + bytes;
                    }
                    total.scope(&scope.scope(), rows);
                    rows_of_resource += rows;
                }
                total.resource(&resource.resource(), rows_of_resource);
            }
        }
    }
    total.finish()
}

#[derive(Debug, Default)]
struct Total<'a> {
    /// Of rows without their origins.
    bytes: usize,
    rows: usize,
    resources: SetTotal<'a>,
    scopes: SetTotal<'a>,
}

/// One attribute set of all rows.
#[derive(Debug, Default)]
struct SetTotal<'a> {
    /// Keys with a column of their own, which is as long as the chunk.
    columns: HashSet<&'a str>,
    nested_bytes: usize,
    /// Keys of the run at hand.
    keys: HashSet<&'a str>,
}

impl<'a> Total<'a> {
    fn resource(&mut self, resource: &Resource<'a>, rows: usize) {
        self.rows += rows;
        self.resources.add(resource.attributes, rows);
        let entity_refs = resource.entity_refs.raw().len();
        self.resources.add_nested(entity_refs, rows);
    }

    fn scope(&mut self, scope: &Scope<'a>, rows: usize) {
        self.scopes.add(scope.attributes, rows);
    }

    fn finish(self) -> Projection {
        let cells = (self.resources.columns.len() + self.scopes.columns.len()) * CELL_BYTES;
        let (resource, scope) = (self.resources.nested_bytes, self.scopes.nested_bytes);
        let origins = self.rows.saturating_mul(cells);
        let nested = resource.saturating_add(scope);
        Projection {
            bytes: self.bytes.saturating_add(origins).saturating_add(nested),
            nested_bytes: resource.max(scope),
        }
    }
}

impl<'a> SetTotal<'a> {
    /// Attributes that all of some rows have.
    fn add(&mut self, attributes: Attributes<'a>, rows: usize) {
        self.keys.clear();
        let mut nested = 0;
        for attribute in attributes {
            let fits = value_type(&attribute.value).column_type().is_some() && may_have_column(attribute.key);
            let first = self.keys.insert(attribute.key);
            let room = || self.columns.len() < PROMOTED_PER_SET_MAX || self.columns.contains(attribute.key);
            if fits && first && room() {
                self.columns.insert(attribute.key);
            } else {
                nested += attribute.key.len() + text_bytes(&attribute.value) + ENTRY_BYTES;
            }
        }
        self.add_nested(nested, rows);
    }

    fn add_nested(&mut self, bytes: usize, rows: usize) {
        self.nested_bytes = self.nested_bytes.saturating_add(bytes.saturating_mul(rows));
    }
}

/// Bytes of the text of a value in a map, at most.
fn text_bytes(value: &AnyValue<'_>) -> usize {
    match value {
        AnyValue::String(text) => text.len(),
        AnyValue::Bytes(bytes) => bytes.len().div_ceil(3) * 4,
        AnyValue::Array(values) => JSON_FACTOR * (values.raw().len() + 4),
        AnyValue::KeyValueList(values) => JSON_FACTOR * (values.raw().len() + 4),
        // The longest number.
        _ => 24,
    }
}

/// Points of a metric, and bytes of what hangs on them.
fn metric_bytes(metric: &Metric<'_>) -> (usize, usize) {
    let (mut points, mut bytes) = (0, 0);
    match metric.data() {
        None => {}
        Some(MetricData::Gauge(numbers) | MetricData::Sum { points: numbers, .. }) => {
            for number in numbers {
                points += 1;
                bytes += exemplar_bytes(number.exemplars);
                bytes += number.attributes.len() * CELL_BYTES;
            }
        }
        Some(MetricData::Histogram {
            points: histograms, ..
        }) => {
            for histogram in histograms {
                points += 1;
                bytes += exemplar_bytes(histogram.exemplars);
                bytes += histogram.attributes.len() * CELL_BYTES;
                bytes += (histogram.bucket_counts.len() + histogram.explicit_bounds.len()) * BUCKET_BYTES;
            }
        }
        Some(MetricData::ExponentialHistogram {
            points: histograms, ..
        }) => {
            let buckets = |buckets: Option<Buckets<'_>>| {
                buckets.map_or(0, |buckets| buckets.bucket_counts.len() * BUCKET_BYTES)
            };
            for histogram in histograms {
                points += 1;
                bytes += exemplar_bytes(histogram.exemplars);
                bytes += histogram.attributes.len() * CELL_BYTES;
                bytes += buckets(histogram.positive) + buckets(histogram.negative);
            }
        }
        Some(MetricData::Summary(summaries)) => {
            for summary in summaries {
                points += 1;
                bytes += summary.attributes.len() * CELL_BYTES;
                bytes += summary.quantile_values.len() * QUANTILE_BYTES;
            }
        }
    }
    (points, bytes)
}

fn exemplar_bytes(exemplars: Exemplars<'_>) -> usize {
    let each = |exemplar: cupola_telemetry::view::Exemplar<'_>| {
        EXEMPLAR_BYTES + exemplar.filtered_attributes.len() * CELL_BYTES
    };
    exemplars.map(each).sum()
}
