//! Views of `opentelemetry.proto.metrics.v1`, down to the metric.

use super::common::{Attributes, Resource, Scope};
use super::envelope::envelopes;
use super::points::{ExponentialHistogramPoints, HistogramPoints, NumberPoints, SummaryPoints};
use super::repeated::{Extent, Message, Repeated};
use crate::wire::Reader;

envelopes!(MetricsData, ResourceMetrics, ScopeMetrics, Metric<'a>, metrics);

/// One metric: a name, and data points of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    raw: &'a [u8],
    data: Option<(u32, &'a [u8])>,
    pub name: &'a str,
    pub description: &'a str,
    pub unit: &'a str,
    pub metadata: Attributes<'a>,
}

impl<'a> Message<'a> for Metric<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut metadata = Extent::default();
        let mut metric = Metric {
            raw,
            data: None,
            name: "",
            description: "",
            unit: "",
            metadata: Attributes::EMPTY,
        };
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => metric.name = reader.string(),
                2 => metric.description = reader.string(),
                3 => metric.unit = reader.string(),
                number @ (5 | 7 | 9 | 10 | 11) => metric.data = Some((number, reader.bytes())),
                12 => metadata.include(before, &mut reader),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        metric.metadata = Repeated::new(metadata.fields(), 12);
        metric
    }
}

/// The points of a metric, by kind. Temporality is the proto's number: 0 unspecified, 1 delta, 2 cumulative.
#[derive(Clone, Copy, Debug)]
pub enum MetricData<'a> {
    Gauge(NumberPoints<'a>),
    Sum {
        points: NumberPoints<'a>,
        temporality: i32,
        monotonic: bool,
    },
    Histogram {
        points: HistogramPoints<'a>,
        temporality: i32,
    },
    ExponentialHistogram {
        points: ExponentialHistogramPoints<'a>,
        temporality: i32,
    },
    Summary(SummaryPoints<'a>),
}

impl<'a> Metric<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The data points, or `None` for a metric without any or of a kind unknown to us.
    pub fn data(&self) -> Option<MetricData<'a>> {
        let (number, raw) = self.data?;
        let (points, temporality, monotonic) = parse_data(raw);
        Some(match number {
            5 => MetricData::Gauge(Repeated::new(points, 1)),
            7 => MetricData::Sum {
                points: Repeated::new(points, 1),
                temporality,
                monotonic,
            },
            9 => MetricData::Histogram {
                points: Repeated::new(points, 1),
                temporality,
            },
            10 => MetricData::ExponentialHistogram {
                points: Repeated::new(points, 1),
                temporality,
            },
            _ => MetricData::Summary(Repeated::new(points, 1)),
        })
    }
}

/// All five kinds number alike: 1 data points, 2 temporality, 3 monotonic.
fn parse_data(raw: &[u8]) -> (&[u8], i32, bool) {
    let mut reader = Reader::new(raw);
    let (mut points, mut temporality, mut monotonic) = (Extent::default(), 0, false);
    let mut before = reader.rest();
    while let Some(key) = reader.key() {
        match key {
            0x0a => points.include(before, &mut reader),
            0x10 => temporality = reader.varint() as i32,
            0x18 => monotonic = reader.varint() != 0,
            _ => reader.skip(key),
        }
        before = reader.rest();
    }
    (points.fields(), temporality, monotonic)
}
