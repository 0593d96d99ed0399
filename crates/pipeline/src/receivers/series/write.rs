//! Writing series as OTLP: sorted, so that each resource, scope and metric is opened once.

use cupola_telemetry::encode::{
    ExponentialHistogram, Gauge, Histogram, Metric, MetricsEncoder, NumberDataPoint, Resource, ScopeMetrics,
    Sum, Summary,
};
use cupola_telemetry::{SpanId, TraceId};

use super::native::Native;
use super::{Exemplar, Kind, Label, Point, PointValue, STALE_NAN, Series};

const CUMULATIVE: i32 = 2;
const DELTA: i32 = 1;
/// `DataPointFlags.FLAG_NO_RECORDED_VALUE`.
const NO_RECORDED_VALUE: u32 = 1;

/// The kinds of OTLP metrics a series can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Gauge,
    Sum { monotonic: bool },
    Histogram { gauge: bool },
    Exponential { gauge: bool },
    Summary,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::receivers) struct Written {
    pub(in crate::receivers) exemplars: u64,
    /// Exemplars whose series has no point in the same request: OTLP has no place for them.
    pub(in crate::receivers) exemplars_dropped: u64,
}

/// How series are taken.
#[derive(Clone, Copy, Debug)]
pub(in crate::receivers) struct Rules {
    /// Whether the type of an unknown metric may be told from its name.
    pub(in crate::receivers) guess: bool,
}

impl Rules {
    /// Writes `series`; `resource` adds what a resource has beside job and instance.
    pub(in crate::receivers) fn write(
        self,
        mut series: Vec<Series<'_>>,
        metrics: &mut MetricsEncoder,
        mut resource: impl FnMut(&str, &str, &mut Resource<'_>),
    ) -> Written {
        let mut written = Written::default();
        series.sort_by(|a, b| {
            let left = (a.job, a.instance, a.scope, a.name, a.family, &a.labels);
            left.cmp(&(b.job, b.instance, b.scope, b.name, b.family, &b.labels))
        });
        for of_resource in series.chunk_by(|a, b| (a.job, a.instance) == (b.job, b.instance)) {
            if of_resource.iter().all(|series| series.points.is_empty()) {
                written.exemplars_dropped += exemplars(of_resource);
                continue;
            }
            let mut resource_metrics = metrics.resource_metrics();
            resource(
                of_resource[0].job,
                of_resource[0].instance,
                &mut resource_metrics.resource(),
            );
            for of_scope in of_resource.chunk_by(|a, b| a.scope == b.scope) {
                let mut scope = resource_metrics.scope_metrics();
                let (name, version) = of_scope[0].scope;
                if (name, version) != ("", "") {
                    scope.scope().name(name).version(version);
                }
                for of_metric in of_scope.chunk_by(|a, b| (a.name, a.family) == (b.name, b.family)) {
                    self.metric(of_metric, &mut scope, &mut written);
                }
            }
        }
        written
    }

    fn shape(self, series: &Series<'_>) -> Shape {
        match series.points.first().map(|point| &point.value) {
            Some(PointValue::Native(native)) => match native.custom {
                Some(_) => Shape::Histogram { gauge: native.gauge },
                None => Shape::Exponential { gauge: native.gauge },
            },
            Some(PointValue::Classic(_)) => Shape::Histogram {
                gauge: series.family.kind == Kind::GaugeHistogram,
            },
            Some(PointValue::Summary(_)) => Shape::Summary,
            Some(PointValue::Number(_)) | None => self.number_shape(series),
        }
    }

    fn number_shape(self, series: &Series<'_>) -> Shape {
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| series.name.ends_with(suffix));
        let monotonic = Shape::Sum { monotonic: true };
        match series.family.kind {
            Kind::Counter => monotonic,
            Kind::Info | Kind::StateSet => Shape::Sum { monotonic: false },
            Kind::Histogram | Kind::Summary if ends(&["_bucket", "_count", "_sum"]) => monotonic,
            Kind::Unknown if self.guess && ends(&["_total", "_bucket", "_count", "_sum"]) => monotonic,
            _ => Shape::Gauge,
        }
    }

    /// Series of one name and family: a metric for each shape that their points have.
    fn metric(self, series: &[Series<'_>], scope: &mut ScopeMetrics<'_>, written: &mut Written) {
        let mut shapes: Vec<Shape> = pointed(series).map(|series| self.shape(series)).collect();
        shapes.sort_unstable();
        shapes.dedup();
        for shape in shapes {
            let first = &series[0];
            let mut metric = scope.metric();
            metric
                .name(first.name)
                .description(first.family.help)
                .unit(first.family.unit);
            if first.family.kind != Kind::Unknown {
                metric.metadata("prometheus.type", first.family.kind.as_str());
            }
            let mut open = Points::open(&mut metric, shape);
            for same in series.chunk_by(|a, b| a.labels == b.labels) {
                let of_shape = || pointed(same).filter(|series| self.shape(series) == shape);
                let last = of_shape().flat_map(|series| &series.points).last();
                // All exemplars with the last point: they say when they were taken.
                let owns = pointed(same)
                    .next()
                    .is_some_and(|series| self.shape(series) == shape);
                let exemplars: Vec<&Exemplar<'_>> = match owns {
                    true => same.iter().flat_map(|series| &series.exemplars).collect(),
                    false => Vec::new(),
                };
                written.exemplars += exemplars.len() as u64;
                for (series, point) in
                    of_shape().flat_map(|series| series.points.iter().map(move |point| (series, point)))
                {
                    let is_last = last.is_some_and(|last| std::ptr::eq(last, point));
                    open.point(&series.labels, point, if is_last { &exemplars } else { &[] });
                }
            }
        }
        let alone = series
            .chunk_by(|a, b| a.labels == b.labels)
            .filter(|same| pointed(same).next().is_none());
        written.exemplars_dropped += alone.map(exemplars).sum::<u64>();
    }
}

fn pointed<'s, 'a>(series: &'s [Series<'a>]) -> impl Iterator<Item = &'s Series<'a>> {
    series.iter().filter(|series| !series.points.is_empty())
}

fn exemplars(series: &[Series<'_>]) -> u64 {
    series.iter().map(|series| series.exemplars.len() as u64).sum()
}

/// An open metric of one shape.
enum Points<'w> {
    Gauge(Gauge<'w>),
    Sum(Sum<'w>),
    Histogram(Histogram<'w>),
    Exponential(ExponentialHistogram<'w>),
    Summary(Summary<'w>),
}

impl<'w> Points<'w> {
    fn open(metric: &'w mut Metric<'_>, shape: Shape) -> Points<'w> {
        let temporality = |gauge| if gauge { DELTA } else { CUMULATIVE };
        match shape {
            Shape::Gauge => Points::Gauge(metric.gauge()),
            Shape::Sum { monotonic } => {
                let mut sum = metric.sum();
                sum.aggregation_temporality(CUMULATIVE).is_monotonic(monotonic);
                Points::Sum(sum)
            }
            Shape::Histogram { gauge } => {
                let mut histogram = metric.histogram();
                histogram.aggregation_temporality(temporality(gauge));
                Points::Histogram(histogram)
            }
            Shape::Exponential { gauge } => {
                let mut histogram = metric.exponential_histogram();
                histogram.aggregation_temporality(temporality(gauge));
                Points::Exponential(histogram)
            }
            Shape::Summary => Points::Summary(metric.summary()),
        }
    }

    fn point(&mut self, labels: &[Label<'_>], point: &Point, exemplars: &[&Exemplar<'_>]) {
        match (self, &point.value) {
            (Points::Gauge(gauge), PointValue::Number(value)) => {
                number(gauge.point(), labels, point, *value, exemplars);
            }
            (Points::Sum(sum), PointValue::Number(value)) => {
                number(sum.point(), labels, point, *value, exemplars);
            }
            (Points::Histogram(histogram), PointValue::Classic(value)) => {
                let explicit = Explicit {
                    count: value.count,
                    sum: value.sum,
                    bounds: &value.bounds,
                    counts: &value.counts,
                    stale: value.stale,
                };
                explicit.write(histogram, labels, point, exemplars);
            }
            (Points::Histogram(histogram), PointValue::Native(value)) => {
                let explicit = Explicit {
                    count: value.count,
                    sum: Some(value.sum),
                    bounds: value.custom.as_deref().unwrap_or_default(),
                    counts: &value.positive.counts,
                    stale: value.stale,
                };
                explicit.write(histogram, labels, point, exemplars);
            }
            (Points::Exponential(histogram), PointValue::Native(value)) => {
                exponential(histogram, labels, point, value, exemplars);
            }
            (Points::Summary(summary), PointValue::Summary(value)) => {
                let mut written = summary.point();
                written
                    .start_time_unix_nano(point.start_unix_nano)
                    .time_unix_nano(point.time_unix_nano);
                attributes(labels, |key, value| {
                    written.attribute(key, value);
                });
                if value.stale {
                    written.flags(NO_RECORDED_VALUE);
                    return;
                }
                written.count(value.count).sum(value.sum);
                for (quantile, value) in &value.quantiles {
                    written.quantile_value().quantile(*quantile).value(*value);
                }
            }
            // Points of a series have one kind, which is what the shape was chosen by.
            _ => {}
        }
    }
}

fn attributes<'l>(labels: &[Label<'l>], mut write: impl FnMut(&'l str, &'l str)) {
    labels.iter().for_each(|(name, value)| write(name, value));
}

fn number(
    mut written: NumberDataPoint<'_>,
    labels: &[Label<'_>],
    point: &Point,
    value: f64,
    exemplars: &[&Exemplar<'_>],
) {
    written
        .start_time_unix_nano(point.start_unix_nano)
        .time_unix_nano(point.time_unix_nano);
    match value.to_bits() == STALE_NAN {
        true => written.flags(NO_RECORDED_VALUE),
        false => written.value(value),
    };
    attributes(labels, |key, value| {
        written.attribute(key, value);
    });
    exemplars.iter().for_each(|one| exemplar(written.exemplar(), one));
}

/// A histogram with the bounds of its buckets.
struct Explicit<'p> {
    count: u64,
    sum: Option<f64>,
    bounds: &'p [f64],
    counts: &'p [u64],
    stale: bool,
}

impl Explicit<'_> {
    fn write(
        &self,
        histogram: &mut Histogram<'_>,
        labels: &[Label<'_>],
        point: &Point,
        exemplars: &[&Exemplar<'_>],
    ) {
        let mut written = histogram.point();
        written
            .start_time_unix_nano(point.start_unix_nano)
            .time_unix_nano(point.time_unix_nano);
        attributes(labels, |key, value| {
            written.attribute(key, value);
        });
        exemplars.iter().for_each(|one| exemplar(written.exemplar(), one));
        if self.stale {
            written.flags(NO_RECORDED_VALUE);
            return;
        }
        written.count(self.count);
        if let Some(sum) = self.sum {
            written.sum(sum);
        }
        written
            .bucket_counts(self.counts.iter().copied())
            .explicit_bounds(self.bounds.iter().copied());
    }
}

fn exponential(
    histogram: &mut ExponentialHistogram<'_>,
    labels: &[Label<'_>],
    point: &Point,
    value: &Native,
    exemplars: &[&Exemplar<'_>],
) {
    let mut written = histogram.point();
    written
        .start_time_unix_nano(point.start_unix_nano)
        .time_unix_nano(point.time_unix_nano);
    attributes(labels, |key, value| {
        written.attribute(key, value);
    });
    exemplars.iter().for_each(|one| exemplar(written.exemplar(), one));
    if value.stale {
        written.flags(NO_RECORDED_VALUE);
        return;
    }
    written
        .count(value.count)
        .sum(value.sum)
        .scale(value.scale)
        .zero_count(value.zero_count)
        .zero_threshold(value.zero_threshold);
    for (buckets, positive) in [(&value.positive, true), (&value.negative, false)] {
        if buckets.counts.is_empty() {
            continue;
        }
        let mut side = match positive {
            true => written.positive(),
            false => written.negative(),
        };
        side.offset(buckets.offset)
            .bucket_counts(buckets.counts.iter().copied());
    }
}

fn exemplar(mut written: cupola_telemetry::encode::Exemplar<'_>, exemplar: &Exemplar<'_>) {
    written
        .time_unix_nano(exemplar.time_unix_nano)
        .value(exemplar.value);
    let (mut has_trace, mut has_span) = (false, false);
    for (name, value) in &exemplar.labels {
        match *name {
            "trace_id" if !has_trace => {
                if let Ok(id) = value.parse::<TraceId>() {
                    written.trace_id(id.as_bytes());
                    has_trace = true;
                    continue;
                }
            }
            "span_id" if !has_span => {
                if let Ok(id) = value.parse::<SpanId>() {
                    written.span_id(id.as_bytes());
                    has_span = true;
                    continue;
                }
            }
            _ => {}
        }
        written.filtered_attribute(name, *value);
    }
}
