//! The items of a batch one by one, for exporters that write each as a document or a row, and a batch of some of them.
//! Refuses to know what they are written as.

use std::convert::Infallible;

use cupola_telemetry::edit::{Editor, Level, Place, Verdict, edit};
use cupola_telemetry::view::{
    Attributes, Exemplars, ExponentialHistogramDataPoint, HistogramDataPoint, LogRecord, Metric, MetricData,
    NumberDataPoint, Resource, Scope, Span, SummaryDataPoint,
};
use cupola_telemetry::{Batch, Signal};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Is shown the items of a batch in order, each after the resource and the scope it stands under.
pub(crate) trait Visitor<'a> {
    fn resource(&mut self, resource: Resource<'a>, schema_url: &'a str);
    fn scope(&mut self, scope: Scope<'a>, schema_url: &'a str);
    fn log(&mut self, record: LogRecord<'a>);
    fn span(&mut self, span: Span<'a>);
    fn point(&mut self, metric: &Metric<'a>, kind: Kind, point: Point<'a>);
}

/// What the points of a metric are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kind {
    /// `gauge`, `sum`, `histogram`, `exponential_histogram`, `summary`.
    pub(crate) name: &'static str,
    /// The proto's number; `None` where the kind has none.
    pub(crate) temporality: Option<i32>,
    pub(crate) monotonic: Option<bool>,
}

/// A data point of any kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point<'a> {
    Number(NumberDataPoint<'a>),
    Histogram(HistogramDataPoint<'a>),
    Exponential(ExponentialHistogramDataPoint<'a>),
    Summary(SummaryDataPoint<'a>),
}

impl<'a> Point<'a> {
    pub(crate) fn time_unix_nano(&self) -> u64 {
        match self {
            Point::Number(point) => point.time_unix_nano,
            Point::Histogram(point) => point.time_unix_nano,
            Point::Exponential(point) => point.time_unix_nano,
            Point::Summary(point) => point.time_unix_nano,
        }
    }

    pub(crate) fn start_time_unix_nano(&self) -> u64 {
        match self {
            Point::Number(point) => point.start_time_unix_nano,
            Point::Histogram(point) => point.start_time_unix_nano,
            Point::Exponential(point) => point.start_time_unix_nano,
            Point::Summary(point) => point.start_time_unix_nano,
        }
    }

    pub(crate) fn attributes(&self) -> Attributes<'a> {
        match self {
            Point::Number(point) => point.attributes,
            Point::Histogram(point) => point.attributes,
            Point::Exponential(point) => point.attributes,
            Point::Summary(point) => point.attributes,
        }
    }

    pub(crate) fn flags(&self) -> u32 {
        match self {
            Point::Number(point) => point.flags,
            Point::Histogram(point) => point.flags,
            Point::Exponential(point) => point.flags,
            Point::Summary(point) => point.flags,
        }
    }

    pub(crate) fn exemplars(&self) -> Option<Exemplars<'a>> {
        match self {
            Point::Number(point) => Some(point.exemplars),
            Point::Histogram(point) => Some(point.exemplars),
            Point::Exponential(point) => Some(point.exemplars),
            Point::Summary(_) => None,
        }
    }
}

/// Shows all items of `batch` to `visitor`.
pub(crate) fn walk<'a>(batch: &'a Batch, visitor: &mut impl Visitor<'a>) {
    macro_rules! envelopes {
        ($data:expr, $items:ident, $item:expr) => {
            for resource in $data.resources() {
                visitor.resource(resource.resource(), resource.schema_url());
                for scope in resource.scopes() {
                    visitor.scope(scope.scope(), scope.schema_url());
                    for item in scope.$items() {
                        $item(item);
                    }
                }
            }
        };
    }
    match batch.signal() {
        Signal::Logs => envelopes!(batch.logs(), records, |record| visitor.log(record)),
        Signal::Traces => envelopes!(batch.traces(), spans, |span| visitor.span(span)),
        Signal::Metrics => envelopes!(batch.metrics(), metrics, |metric| points(&metric, visitor)),
    }
}

fn points<'a>(metric: &Metric<'a>, visitor: &mut impl Visitor<'a>) {
    let kind = |name, temporality, monotonic| Kind {
        name,
        temporality,
        monotonic,
    };
    match metric.data() {
        None => {}
        Some(MetricData::Gauge(points)) => {
            let kind = kind("gauge", None, None);
            points.for_each(|point| visitor.point(metric, kind, Point::Number(point)));
        }
        Some(MetricData::Sum {
            points,
            temporality,
            monotonic,
        }) => {
            let kind = kind("sum", Some(temporality), Some(monotonic));
            points.for_each(|point| visitor.point(metric, kind, Point::Number(point)));
        }
        Some(MetricData::Histogram { points, temporality }) => {
            let kind = kind("histogram", Some(temporality), None);
            points.for_each(|point| visitor.point(metric, kind, Point::Histogram(point)));
        }
        Some(MetricData::ExponentialHistogram { points, temporality }) => {
            let kind = kind("exponential_histogram", Some(temporality), None);
            points.for_each(|point| visitor.point(metric, kind, Point::Exponential(point)));
        }
        Some(MetricData::Summary(points)) => {
            let kind = kind("summary", None, None);
            points.for_each(|point| visitor.point(metric, kind, Point::Summary(point)));
        }
    }
}

/// Names a batch: equal bytes of one tenant give equal names.
pub(crate) fn batch_id(batch: &Batch) -> u128 {
    let owner = format!("{}\0{}", batch.tenant(), batch.signal());
    let seed = xxh3_128_with_seed(owner.as_bytes(), 0) as u64;
    as_uuid(xxh3_128_with_seed(batch.payload(), seed))
}

/// Names something that is made of an item of a batch: `part` tells several of one item apart.
pub(crate) fn item_id(batch_id: u128, item: usize, part: usize) -> u128 {
    let mut named = [0; 32];
    named[..16].copy_from_slice(&batch_id.to_le_bytes());
    named[16..24].copy_from_slice(&(item as u64).to_le_bytes());
    named[24..].copy_from_slice(&(part as u64).to_le_bytes());
    as_uuid(xxh3_128_with_seed(&named, batch_id as u64))
}

/// Marks 128 bits as a UUID of version 8, whose contents are the maker's own.
fn as_uuid(bits: u128) -> u128 {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0x3 << 62;
    bits & !VERSION & !VARIANT | 0x8 << 76 | 0x2 << 62
}

/// The batch with those items only for which `keep` says so, by the order of [`walk`]; `None` if it keeps none.
pub(crate) fn only(batch: &Batch, keep: impl Fn(usize) -> bool) -> Option<Batch> {
    let mut selection = Selection {
        level: match batch.signal() {
            Signal::Logs | Signal::Traces => Level::Item,
            Signal::Metrics => Level::Part,
        },
        keep,
        seen: 0,
    };
    let Ok(kept) = edit(batch, &mut selection);
    kept.filter(|batch| batch.items() > 0)
}

struct Selection<F> {
    level: Level,
    keep: F,
    seen: usize,
}

impl<'a, F: Fn(usize) -> bool> Editor<'a> for Selection<F> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        self.level
    }

    fn visit(&mut self, level: Level, _: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level != self.level {
            return Ok(Verdict::Keep);
        }
        self.seen += 1;
        Ok(match (self.keep)(self.seen - 1) {
            true => Verdict::Keep,
            false => Verdict::Drop,
        })
    }
}

#[cfg(test)]
mod tests {
    use cupola_generator::{Generator, GeneratorConfig};

    use super::*;

    /// The raw bytes of each item.
    #[derive(Default)]
    struct Raw(Vec<Vec<u8>>);

    impl<'a> Visitor<'a> for Raw {
        fn resource(&mut self, _: Resource<'a>, _: &'a str) {}
        fn scope(&mut self, _: Scope<'a>, _: &'a str) {}
        fn log(&mut self, record: LogRecord<'a>) {
            self.0.push(record.raw().to_vec());
        }
        fn span(&mut self, span: Span<'a>) {
            self.0.push(span.raw().to_vec());
        }
        fn point(&mut self, metric: &Metric<'a>, _: Kind, point: Point<'a>) {
            let raw = match point {
                Point::Number(point) => point.raw(),
                Point::Histogram(point) => point.raw(),
                Point::Exponential(point) => point.raw(),
                Point::Summary(point) => point.raw(),
            };
            self.0.push([metric.name.as_bytes(), raw].concat());
        }
    }

    fn raw(batch: &Batch) -> Vec<Vec<u8>> {
        let mut raw = Raw::default();
        walk(batch, &mut raw);
        raw.0
    }

    #[test]
    fn a_selection_holds_the_items_asked_for_and_no_others() {
        let mut generator = Generator::new(GeneratorConfig::default());
        for signal in Signal::ALL {
            let batch = generator.batch(signal, 200);
            let all = raw(&batch);
            assert_eq!(all.len(), batch.items());
            for step in [1, 3, 70] {
                let some = only(&batch, |index| index % step == 0).unwrap();
                let expected: Vec<_> = all.iter().step_by(step).cloned().collect();
                assert_eq!(raw(&some), expected, "{signal} {step}");
                assert_eq!(some.items(), expected.len());
            }
            assert_eq!(only(&batch, |_| false), None);
        }
    }
}
