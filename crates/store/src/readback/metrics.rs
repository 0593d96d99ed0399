//! Rows of the series and point tables back to metrics.

use arrow::array::{PrimitiveArray, RecordBatch};
use arrow::datatypes::{Int8Type, Int32Type, UInt64Type};
use cupola_telemetry::encode::{Metric, MetricsEncoder};
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, TenantId, json};
use hashbrown::HashMap;

use super::ReadbackError;
use super::columns::{Columns, Text};
use super::origin::{OriginReader, Row, group_by, part, rows};
use super::values::SetReader;
use crate::columns::kind;
use crate::schema::AttributeSet;

mod points;

use points::{ExemplarIndex, PointsReader};

/// Rows of all metric tables. Series that have no point are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricRows<'a> {
    pub series: &'a [RecordBatch],
    pub samples: &'a [RecordBatch],
    pub histograms: &'a [RecordBatch],
    pub exponential_histograms: &'a [RecordBatch],
    pub summaries: &'a [RecordBatch],
    /// Each belongs to the first point with its series and `point_timestamp`; those without are left out.
    pub exemplars: &'a [RecordBatch],
}

/// One batch with all data points of the rows.
pub fn metrics(given: MetricRows<'_>, tenant: TenantId) -> Result<Batch, ReadbackError> {
    let origins = given
        .series
        .iter()
        .map(OriginReader::new)
        .collect::<Result<Vec<_>, _>>()?;
    let series = given
        .series
        .iter()
        .map(SeriesReader::new)
        .collect::<Result<Vec<_>, _>>()?;
    let by_id: HashMap<u64, Row> = rows(given.series)
        .map(|(batch, row)| (series[batch].series_id.value(row), (batch, row)))
        .collect();
    let points = PointsReader::new(&given)?;
    let mut exemplars = ExemplarIndex::new(given.exemplars)?;
    let located = points
        .all()
        .map(|point| {
            let series_id = points.series_id(point);
            let row = by_id
                .get(&series_id)
                .copied()
                .ok_or(ReadbackError::UnknownSeries { series_id })?;
            Ok(Located { point, series: row })
        })
        .collect::<Result<Vec<_>, ReadbackError>>()?;
    let mut encoder = MetricsEncoder::new();
    let series_row = |located: Located| located.series;
    for resource in group_by(located, series_row, |l| {
        origins[l.series.0].resource_key(l.series.1)
    })? {
        let (batch, row) = resource.first;
        let mut resource_metrics = encoder.resource_metrics();
        origins[batch].write_resource(row, resource_metrics.resource())?;
        resource_metrics.schema_url(origins[batch].resource_schema_url(row));
        for scope in group_by(resource.members, series_row, |l| {
            origins[l.series.0].scope_key(l.series.1)
        })? {
            let (batch, row) = scope.first;
            let mut scope_metrics = resource_metrics.scope_metrics();
            origins[batch].write_scope(row, scope_metrics.scope())?;
            scope_metrics.schema_url(origins[batch].scope_schema_url(row));
            for metric in group_by(scope.members, series_row, |l| {
                Ok(series[l.series.0].metric_key(l.series.1))
            })? {
                let (batch, row) = metric.first;
                let mut encoded = scope_metrics.metric();
                series[batch].write(row, &mut encoded)?;
                let shape = series[batch].shape(row);
                write_points(
                    &points,
                    &series,
                    &mut exemplars,
                    shape,
                    &metric.members,
                    &mut encoded,
                )?;
            }
        }
    }
    Ok(encoder.finish(tenant))
}

/// A point and its series.
#[derive(Clone, Copy)]
struct Located {
    point: points::PointRow,
    series: Row,
}

/// Type, temporality, monotonicity.
#[derive(Clone, Copy)]
struct Shape {
    kind: i8,
    temporality: i32,
    is_monotonic: bool,
}

fn write_points(
    points: &PointsReader<'_>,
    series: &[SeriesReader<'_>],
    exemplars: &mut ExemplarIndex<'_>,
    shape: Shape,
    members: &[Located],
    metric: &mut Metric<'_>,
) -> Result<(), ReadbackError> {
    let attributes = |located: &Located| (&series[located.series.0].attributes, located.series.1);
    match shape.kind {
        kind::GAUGE => {
            let mut gauge = metric.gauge();
            for located in members {
                points.write_number(located.point, attributes(located), exemplars, gauge.point())?;
            }
        }
        kind::SUM => {
            let mut sum = metric.sum();
            for located in members {
                points.write_number(located.point, attributes(located), exemplars, sum.point())?;
            }
            sum.aggregation_temporality(shape.temporality)
                .is_monotonic(shape.is_monotonic);
        }
        kind::HISTOGRAM => {
            let mut histogram = metric.histogram();
            for located in members {
                points.write_histogram(located.point, attributes(located), exemplars, histogram.point())?;
            }
            histogram.aggregation_temporality(shape.temporality);
        }
        kind::EXPONENTIAL_HISTOGRAM => {
            let mut histogram = metric.exponential_histogram();
            for located in members {
                points.write_exponential(located.point, attributes(located), exemplars, histogram.point())?;
            }
            histogram.aggregation_temporality(shape.temporality);
        }
        _ => {
            let mut summary = metric.summary();
            for located in members {
                points.write_summary(located.point, attributes(located), summary.point())?;
            }
        }
    }
    Ok(())
}

struct SeriesReader<'a> {
    series_id: &'a PrimitiveArray<UInt64Type>,
    name: Text<'a>,
    unit: Text<'a>,
    description: Text<'a>,
    kind: &'a PrimitiveArray<Int8Type>,
    temporality: &'a PrimitiveArray<Int32Type>,
    is_monotonic: &'a arrow::array::BooleanArray,
    metadata: Text<'a>,
    attributes: SetReader<'a>,
}

impl<'a> SeriesReader<'a> {
    fn new(batch: &'a RecordBatch) -> Result<SeriesReader<'a>, ReadbackError> {
        let columns = Columns(batch);
        Ok(SeriesReader {
            series_id: columns.numbers("series_id")?,
            name: columns.text("name")?,
            unit: columns.text("unit")?,
            description: columns.text("description")?,
            kind: columns.numbers("type")?,
            temporality: columns.numbers("temporality")?,
            is_monotonic: columns.bools("is_monotonic")?,
            metadata: columns.text("metadata")?,
            attributes: SetReader::new(batch, AttributeSet::Item)?,
        })
    }

    fn shape(&self, row: usize) -> Shape {
        Shape {
            kind: self.kind.value(row),
            temporality: self.temporality.value(row),
            is_monotonic: self.is_monotonic.value(row),
        }
    }

    /// Equal bytes for points of one metric.
    fn metric_key(&self, row: usize) -> Vec<u8> {
        let mut key = Vec::new();
        for text in [self.name, self.unit, self.description, self.metadata] {
            part(&mut key, text.get(row).as_bytes());
        }
        let shape = self.shape(row);
        key.extend_from_slice(&[shape.kind as u8, u8::from(shape.is_monotonic)]);
        key.extend_from_slice(&shape.temporality.to_le_bytes());
        key
    }

    fn write(&self, row: usize, metric: &mut Metric<'_>) -> Result<(), ReadbackError> {
        metric
            .name(self.name.get(row))
            .description(self.description.get(row))
            .unit(self.unit.get(row));
        let metadata = self.metadata.get(row);
        if metadata.is_empty() {
            return Ok(());
        }
        let unreadable = |_| ReadbackError::Value {
            key: "metadata".to_owned(),
            tag: 7,
        };
        let encoded = json::parse_any_value(metadata).map_err(unreadable)?;
        if let AnyValue::KeyValueList(pairs) = AnyValue::parse(&encoded) {
            metric.metadata_all(pairs);
        }
        Ok(())
    }
}
