//! Data points to rows: each point finds its series in the registry, a new series also gives a row of the table
//! `series`.

use bytes::Bytes;
use cupola_telemetry::view::{
    AnyValue, Attributes, Exemplars, Metric, MetricData, MetricsData, Resource, Scope,
};
use cupola_telemetry::{Batch, json};
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

use super::buffers::Arena;
use super::origin::{ChunkColumns, check_nested, entity_refs_bytes};
use super::points::{
    ExemplarsBuilder, ExponentialHistogramsBuilder, HistogramsBuilder, Point, SamplesBuilder,
    SummariesBuilder,
};
use super::series_rows::SeriesBuilder;
use super::{SealContext, SealError, SealedChunk};
use crate::schema::{Table, source};
use crate::series::{Assigned, Assignment, AttributesDigest, SeriesIdentity, combine};

/// `series.type`.
pub(crate) mod kind {
    pub(crate) const GAUGE: i8 = 1;
    pub(crate) const SUM: i8 = 2;
    pub(crate) const HISTOGRAM: i8 = 3;
    pub(crate) const EXPONENTIAL_HISTOGRAM: i8 = 4;
    pub(crate) const SUMMARY: i8 = 5;
}

pub(super) fn seal<'a, 'g>(
    batch: &'a Batch,
    context: &SealContext<'_>,
    assignment: &'a mut Assignment<'g>,
) -> Result<Vec<SealedChunk>, SealError> {
    let payload = batch.payload();
    let series_profile = context.profiles.profile(Table::Series);
    let exemplars_profile = context.profiles.profile(Table::Exemplars);
    let mut builder = MetricsBuilder {
        assignment,
        received_unix_nano: context.received_unix_nano,
        digest: AttributesDigest::default(),
        series_arena: Arena::new(payload),
        series: SeriesBuilder::new(&series_profile, payload.len(), batch.items()),
        samples: SamplesBuilder::default(),
        histograms: HistogramsBuilder::default(),
        exponential_histograms: ExponentialHistogramsBuilder::default(),
        summaries: SummariesBuilder::default(),
        exemplars_arena: Arena::new(payload),
        exemplars: ExemplarsBuilder::new(&exemplars_profile, payload.len()),
    };
    for resource_metrics in MetricsData::new(payload).resources() {
        let resource = resource_metrics.resource();
        let entity_refs = entity_refs_bytes(&resource);
        for scope_metrics in resource_metrics.scopes() {
            let origin = Origin {
                resource,
                resource_schema_url: resource_metrics.schema_url(),
                scope: scope_metrics.scope(),
                scope_schema_url: scope_metrics.schema_url(),
                entity_refs: &entity_refs,
            };
            let mut digests = OriginDigests {
                encoding: origin.encoding(),
                sets: None,
            };
            for metric in scope_metrics.metrics() {
                builder.push_metric(&origin, &mut digests, &metric);
            }
        }
    }
    builder.finish(payload)
}

/// Resource and scope of a metric.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a, 'r> {
    pub(super) resource: Resource<'a>,
    pub(super) resource_schema_url: &'a str,
    pub(super) scope: Scope<'a>,
    pub(super) scope_schema_url: &'a str,
    pub(super) entity_refs: &'r [u8],
}

impl Origin<'_, '_> {
    /// Digest of the bytes as they came.
    fn encoding(&self) -> u128 {
        let mut hasher = Xxh3::new();
        let parts = [
            self.resource.raw(),
            self.resource_schema_url.as_bytes(),
            self.scope.raw(),
            self.scope_schema_url.as_bytes(),
        ];
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.digest128()
    }
}

struct OriginDigests {
    encoding: u128,
    /// Digests of resource and scope attributes, once a series needs them.
    sets: Option<(u128, u128)>,
}

/// The columns all kinds of points share, of a point of any kind.
macro_rules! point {
    ($builder:expr, $header:expr, $digests:expr, $point:expr) => {{
        let (time, start) = ($point.time_unix_nano, $point.start_time_unix_nano);
        $builder.point($header, $digests, $point.attributes, time, start, $point.flags)
    }};
}

/// What all points of a metric share.
pub(super) struct Header<'a, 'r> {
    pub(super) origin: Origin<'a, 'r>,
    pub(super) metric: Metric<'a>,
    pub(super) kind: i8,
    pub(super) temporality: i32,
    pub(super) is_monotonic: bool,
    /// OTLP/JSON, empty without.
    pub(super) metadata: String,
    /// Seed of the digests of the bytes of points.
    seed: u64,
    /// Digest of the identity but for the attributes of the point, once a series needs it.
    digest: Option<u128>,
}

impl<'a, 'r> Header<'a, 'r> {
    fn new(
        origin: Origin<'a, 'r>,
        encoding: u128,
        metric: Metric<'a>,
        data: &MetricData<'a>,
    ) -> Header<'a, 'r> {
        let (kind, temporality, is_monotonic) = match data {
            MetricData::Gauge(_) => (kind::GAUGE, 0, false),
            MetricData::Sum {
                temporality,
                monotonic,
                ..
            } => (kind::SUM, *temporality, *monotonic),
            MetricData::Histogram { temporality, .. } => (kind::HISTOGRAM, *temporality, false),
            MetricData::ExponentialHistogram { temporality, .. } => {
                (kind::EXPONENTIAL_HISTOGRAM, *temporality, false)
            }
            MetricData::Summary(_) => (kind::SUMMARY, 0, false),
        };
        let mut hasher = Xxh3::new();
        hasher.update(&encoding.to_le_bytes());
        let parts = [
            metric.name.as_bytes(),
            metric.unit.as_bytes(),
            metric.description.as_bytes(),
            metric.metadata.raw(),
        ];
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&[kind as u8, u8::from(is_monotonic)]);
        hasher.update(&temporality.to_le_bytes());
        let mut metadata = String::new();
        if !metric.metadata.is_empty() {
            json::write_any_value(&mut metadata, AnyValue::KeyValueList(metric.metadata));
        }
        let seed = hasher.digest();
        Header {
            origin,
            metric,
            kind,
            temporality,
            is_monotonic,
            metadata,
            seed,
            digest: None,
        }
    }

    fn identity(
        &mut self,
        digest: &mut AttributesDigest,
        sets: &mut Option<(u128, u128)>,
        attributes: Attributes<'_>,
    ) -> u128 {
        let origin = &self.origin;
        let (resource, scope) = *sets.get_or_insert_with(|| {
            (
                digest.of_view(origin.resource.attributes),
                digest.of_view(origin.scope.attributes),
            )
        });
        let header = *self.digest.get_or_insert_with(|| {
            SeriesIdentity {
                name: self.metric.name,
                unit: self.metric.unit,
                description: self.metric.description,
                metadata: &self.metadata,
                kind: self.kind,
                temporality: self.temporality,
                is_monotonic: self.is_monotonic,
                scope_name: origin.scope.name,
                scope_version: origin.scope.version,
                resource_schema_url: origin.resource_schema_url,
                scope_schema_url: origin.scope_schema_url,
                resource_dropped: origin.resource.dropped_attributes_count,
                scope_dropped: origin.scope.dropped_attributes_count,
                entity_refs: origin.entity_refs,
            }
            .digest()
        });
        combine(header, resource, scope, digest.of_view(attributes))
    }
}

struct MetricsBuilder<'a, 'g> {
    assignment: &'a mut Assignment<'g>,
    received_unix_nano: i64,
    digest: AttributesDigest,
    series_arena: Arena<'a>,
    series: SeriesBuilder<'a>,
    samples: SamplesBuilder,
    histograms: HistogramsBuilder,
    exponential_histograms: ExponentialHistogramsBuilder,
    summaries: SummariesBuilder,
    exemplars_arena: Arena<'a>,
    exemplars: ExemplarsBuilder<'a>,
}

impl<'a> MetricsBuilder<'a, '_> {
    fn push_metric(&mut self, origin: &Origin<'a, '_>, digests: &mut OriginDigests, metric: &Metric<'a>) {
        let Some(data) = metric.data() else { return };
        let header = &mut Header::new(*origin, digests.encoding, *metric, &data);
        match data {
            MetricData::Gauge(points) | MetricData::Sum { points, .. } => {
                for number in points {
                    let Some(point) = point!(self, header, digests, number) else {
                        continue;
                    };
                    self.samples.push(&point, number.value);
                    self.push_exemplars(&point, number.exemplars);
                }
            }
            MetricData::Histogram { points, .. } => {
                for histogram in points {
                    let Some(point) = point!(self, header, digests, histogram) else {
                        continue;
                    };
                    self.histograms.push(&point, &histogram);
                    self.push_exemplars(&point, histogram.exemplars);
                }
            }
            MetricData::ExponentialHistogram { points, .. } => {
                for histogram in points {
                    let Some(point) = point!(self, header, digests, histogram) else {
                        continue;
                    };
                    self.exponential_histograms.push(&point, &histogram);
                    self.push_exemplars(&point, histogram.exemplars);
                }
            }
            MetricData::Summary(points) => {
                for summary in points {
                    let Some(point) = point!(self, header, digests, summary) else {
                        continue;
                    };
                    self.summaries.push(&point, &summary);
                }
            }
        }
    }

    /// The columns all kinds of points share; `None` while the day of the point is not loaded.
    #[inline]
    fn point(
        &mut self,
        header: &mut Header<'a, '_>,
        digests: &mut OriginDigests,
        attributes: Attributes<'a>,
        time_unix_nano: u64,
        start_time_unix_nano: u64,
        flags: u32,
    ) -> Option<Point> {
        let (timestamp, timestamp_source) = match time_unix_nano {
            0 => (self.received_unix_nano, source::RECEIVED),
            sent => (sent as i64, source::SENT),
        };
        let encoding = xxh3_128_with_seed(attributes.raw(), header.seed);
        let digest = &mut self.digest;
        let assigned = self.assignment.assign(timestamp, encoding, || {
            header.identity(digest, &mut digests.sets, attributes)
        });
        let series_id = match assigned {
            Assigned::Known(id) => id,
            Assigned::New(id) => {
                self.series.push(&mut self.series_arena, id, header, attributes);
                id
            }
            Assigned::Unloaded => return None,
        };
        Some(Point {
            series_id,
            timestamp,
            timestamp_source,
            start_time_unix_nano,
            flags,
        })
    }

    #[inline]
    fn push_exemplars(&mut self, point: &Point, exemplars: Exemplars<'a>) {
        for exemplar in exemplars {
            self.exemplars.push(&mut self.exemplars_arena, point, &exemplar);
        }
    }

    fn finish(self, payload: &Bytes) -> Result<Vec<SealedChunk>, SealError> {
        // The caller loads them and seals again.
        if !self.assignment.is_complete() {
            return Ok(Vec::new());
        }
        check_nested(self.series.nested_bytes().max(self.exemplars.nested_bytes()))?;
        let mut chunks = Vec::new();
        if self.series.rows() > 0 {
            let mut chunk = ChunkColumns::new(
                Table::Series,
                self.series.rows(),
                self.series_arena,
                payload.clone(),
            );
            self.series.finish(&mut chunk);
            chunks.push(chunk.finish()?);
        }
        // Points hold no text: their chunks keep no payload.
        let numbers = |table: Table, rows: usize| {
            ChunkColumns::new(table, rows, Arena::new(&[]), Bytes::from_static(&[]))
        };
        macro_rules! finish_points {
            ($builder:ident, $table:expr) => {
                if self.$builder.rows() > 0 {
                    let mut chunk = numbers($table, self.$builder.rows());
                    self.$builder.finish(&mut chunk);
                    chunks.push(chunk.finish()?);
                }
            };
        }
        finish_points!(samples, Table::Samples);
        finish_points!(histograms, Table::Histograms);
        finish_points!(exponential_histograms, Table::ExponentialHistograms);
        finish_points!(summaries, Table::Summaries);
        if self.exemplars.rows() > 0 {
            let mut chunk = ChunkColumns::new(
                Table::Exemplars,
                self.exemplars.rows(),
                self.exemplars_arena,
                payload.clone(),
            );
            self.exemplars.finish(&mut chunk);
            chunks.push(chunk.finish()?);
        }
        Ok(chunks)
    }
}
