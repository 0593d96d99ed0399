//! Series written as batches of points, a bounded number in each.
//!
//! A new cumulative series begins with a point of zero at its start: what compares points, as Prometheus does, would
//! not see the first increase otherwise, and of a rare error that may be all there is.

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, MetricsEncoder, NumberDataPoint,
};

use super::labels::attributes;
use super::series::{Series, Value};
use super::{AggregateSettings, Group, Kind, POINTS_MAX, Portion, SeriesKey, Taken, Temporality, exemplars};

/// The batches of one tenant.
pub(super) struct Writing<'s> {
    settings: &'s AggregateSettings,
    tenant: &'s TenantId,
    time: u64,
    encoder: MetricsEncoder,
    taken: Vec<Taken>,
    new: Vec<SeriesKey>,
    done: Vec<Portion>,
}

/// A series with its family and its labels.
type Entry<'e> = (usize, &'e [u8], &'e Series);

impl<'s> Writing<'s> {
    pub(super) fn new(settings: &'s AggregateSettings, tenant: &'s TenantId, time: u64) -> Self {
        Self {
            settings,
            tenant,
            time,
            encoder: MetricsEncoder::new(),
            taken: Vec::new(),
            new: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Writes series that stay where they are.
    pub(super) fn borrow(&mut self, resource: &[u8], group: &Group) {
        let families = group.families.iter().enumerate();
        let entries: Vec<Entry<'_>> = families
            .flat_map(|(family, series)| {
                series
                    .iter()
                    .map(move |(labels, series)| (family, &**labels, series))
            })
            .collect();
        let mut entries = &entries[..];
        while !entries.is_empty() {
            let (now, later) = entries.split_at(entries.len().min(self.room()));
            self.resource(resource, now);
            entries = later;
        }
    }

    /// Writes series and keeps them beside their points.
    pub(super) fn keep(&mut self, mut taken: Vec<Taken>) {
        while !taken.is_empty() {
            let later = taken.split_off(taken.len().min(self.room()));
            let entries: Vec<Entry<'_>> = taken
                .iter()
                .map(|taken| (taken.family, &*taken.labels, &taken.series))
                .collect();
            let resource = taken
                .first()
                .map(|taken| taken.resource.clone())
                .unwrap_or_default();
            self.resource(&resource, &entries);
            self.taken.append(&mut taken);
            taken = later;
        }
    }

    /// Points that the batch at hand still takes, after it was ended if it is full.
    fn room(&mut self) -> usize {
        if self.encoder.items() >= POINTS_MAX {
            self.end_batch();
        }
        POINTS_MAX - self.encoder.items()
    }

    fn end_batch(&mut self) {
        let encoder = std::mem::take(&mut self.encoder);
        let taken = std::mem::take(&mut self.taken);
        let new = std::mem::take(&mut self.new);
        if encoder.items() > 0 {
            let batch = encoder.finish(self.tenant.clone());
            self.done.push(Portion { batch, taken, new });
        }
    }

    pub(super) fn finish(mut self) -> Vec<Portion> {
        self.end_batch();
        self.done
    }

    /// Writes series of one resource, those of a family next to each other.
    fn resource(&mut self, resource: &[u8], entries: &[Entry<'_>]) {
        let mut envelope = self.encoder.resource_metrics();
        if !resource.is_empty() {
            envelope.resource_raw(resource);
        }
        let mut scope = envelope.scope_metrics();
        scope.scope().name(self.settings.scope);
        for entries in entries.chunk_by(|left, right| left.0 == right.0) {
            let family = &self.settings.families[entries[0].0];
            let mut metric = scope.metric();
            metric
                .name(&family.name)
                .description(&family.description)
                .unit(&family.unit);
            let zero = |(_, _, series): &Entry<'_>| Series::new(&family.kind, series.start);
            let zeros: Vec<Series> = entries.iter().map(zero).collect();
            let mut points = Vec::with_capacity(entries.len());
            for (entry, zero) in entries.iter().zip(&zeros) {
                let (number, labels, series) = *entry;
                if !series.is_announced && self.settings.temporality == Temporality::Cumulative {
                    self.new.push(SeriesKey {
                        resource: resource.into(),
                        family: number,
                        labels: labels.into(),
                    });
                    if series.start < self.time {
                        points.push((series.start, (number, labels, zero)));
                    }
                }
                points.push((self.time, *entry));
            }
            write_family(&mut metric, &family.kind, self.settings.temporality, &points);
        }
    }
}

fn write_family(metric: &mut Metric<'_>, kind: &Kind, temporality: Temporality, points: &[(u64, Entry<'_>)]) {
    let temporality = match temporality {
        Temporality::Delta => 1,
        Temporality::Cumulative => 2,
    };
    match kind {
        Kind::Sum => {
            let mut sum = metric.sum();
            for (time, entry) in points {
                write_number(&mut sum.point(), *time, entry);
            }
            sum.aggregation_temporality(temporality).is_monotonic(true);
        }
        Kind::Explicit(bounds) => {
            let mut histogram = metric.histogram();
            for (time, entry) in points {
                write_explicit(&mut histogram.point(), bounds, *time, entry);
            }
            histogram.aggregation_temporality(temporality);
        }
        Kind::Exponential { .. } => {
            let mut histogram = metric.exponential_histogram();
            for (time, entry) in points {
                write_exponential(&mut histogram.point(), *time, entry);
            }
            histogram.aggregation_temporality(temporality);
        }
    }
}

fn write_number(point: &mut NumberDataPoint<'_>, time: u64, (_, labels, series): &Entry<'_>) {
    point.start_time_unix_nano(series.start).time_unix_nano(time);
    if let Value::Sum(sum) = series.value {
        point.value(i64::try_from(sum).unwrap_or(i64::MAX));
    }
    point.attributes(attributes(labels));
}

fn write_explicit(
    point: &mut HistogramDataPoint<'_>,
    bounds: &[f64],
    time: u64,
    (_, labels, series): &Entry<'_>,
) {
    point.start_time_unix_nano(series.start).time_unix_nano(time);
    if let Value::Explicit(histogram) = &series.value {
        point
            .count(histogram.count())
            .sum(histogram.sum)
            .bucket_counts(histogram.counts.iter().copied())
            .explicit_bounds(bounds.iter().copied());
    }
    for exemplar in series.exemplars.iter() {
        exemplars::write(exemplar, &mut point.exemplar());
    }
    point.attributes(attributes(labels));
}

fn write_exponential(
    point: &mut ExponentialHistogramDataPoint<'_>,
    time: u64,
    (_, labels, series): &Entry<'_>,
) {
    point.attributes(attributes(labels));
    point.start_time_unix_nano(series.start).time_unix_nano(time);
    if let Value::Exponential(histogram) = &series.value {
        point
            .count(histogram.count())
            .sum(histogram.sum)
            .scale(histogram.scale)
            .zero_count(histogram.zero_count);
        if !histogram.counts.is_empty() {
            point
                .positive()
                .offset(histogram.offset)
                .bucket_counts(histogram.counts.iter().copied());
        }
    }
    for exemplar in series.exemplars.iter() {
        exemplars::write(exemplar, &mut point.exemplar());
    }
}
