//! Views of the data points of `opentelemetry.proto.metrics.v1`, and of their exemplars.

use super::common::Attributes;
use super::repeated::{Extent, Message, PackedDouble, PackedFixed64, PackedVarint, Repeated};
use crate::wire::Reader;

pub type NumberPoints<'a> = Repeated<'a, NumberDataPoint<'a>>;
pub type HistogramPoints<'a> = Repeated<'a, HistogramDataPoint<'a>>;
pub type ExponentialHistogramPoints<'a> = Repeated<'a, ExponentialHistogramDataPoint<'a>>;
pub type SummaryPoints<'a> = Repeated<'a, SummaryDataPoint<'a>>;
pub type Exemplars<'a> = Repeated<'a, Exemplar<'a>>;

/// Value of a number point or an exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NumberValue {
    Double(f64),
    Int(i64),
}

impl NumberValue {
    /// The value as a double; large integers lose their last bits.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Double(value) => value,
            Self::Int(value) => value as f64,
        }
    }
}

impl From<f64> for NumberValue {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl From<i64> for NumberValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// A point of a gauge or a sum.
#[derive(Clone, Copy, Debug)]
pub struct NumberDataPoint<'a> {
    raw: &'a [u8],
    pub attributes: Attributes<'a>,
    pub start_time_unix_nano: u64,
    pub time_unix_nano: u64,
    pub value: Option<NumberValue>,
    pub exemplars: Exemplars<'a>,
    pub flags: u32,
}

impl<'a> Message<'a> for NumberDataPoint<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut attributes, mut exemplars) = (Extent::default(), Extent::default());
        let (mut start_time_unix_nano, mut time_unix_nano, mut value, mut flags) = (0, 0, None, 0);
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                2 => start_time_unix_nano = reader.fixed64(),
                3 => time_unix_nano = reader.fixed64(),
                4 => value = Some(NumberValue::Double(reader.double())),
                5 => exemplars.include(before, &mut reader),
                6 => value = Some(NumberValue::Int(reader.fixed64() as i64)),
                7 => attributes.include(before, &mut reader),
                8 => flags = reader.varint() as u32,
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        let attributes = Repeated::new(attributes.fields(), 7);
        let exemplars = Repeated::new(exemplars.fields(), 5);
        Self {
            raw,
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            value,
            exemplars,
            flags,
        }
    }
}

/// A point of a histogram with explicit bounds.
#[derive(Clone, Copy, Debug)]
pub struct HistogramDataPoint<'a> {
    raw: &'a [u8],
    pub attributes: Attributes<'a>,
    pub start_time_unix_nano: u64,
    pub time_unix_nano: u64,
    pub count: u64,
    pub sum: Option<f64>,
    pub bucket_counts: PackedFixed64<'a>,
    pub explicit_bounds: PackedDouble<'a>,
    pub exemplars: Exemplars<'a>,
    pub flags: u32,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl<'a> Message<'a> for HistogramDataPoint<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut attributes, mut exemplars) = (Extent::default(), Extent::default());
        let mut point = Self {
            raw,
            attributes: Attributes::EMPTY,
            start_time_unix_nano: 0,
            time_unix_nano: 0,
            count: 0,
            sum: None,
            bucket_counts: PackedFixed64::default(),
            explicit_bounds: PackedDouble::default(),
            exemplars: Repeated::NONE,
            flags: 0,
            min: None,
            max: None,
        };
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                2 => point.start_time_unix_nano = reader.fixed64(),
                3 => point.time_unix_nano = reader.fixed64(),
                4 => point.count = reader.fixed64(),
                5 => point.sum = Some(reader.double()),
                6 => point.bucket_counts = PackedFixed64::new(reader.bytes()),
                7 => point.explicit_bounds = PackedDouble::new(reader.bytes()),
                8 => exemplars.include(before, &mut reader),
                9 => attributes.include(before, &mut reader),
                10 => point.flags = reader.varint() as u32,
                11 => point.min = Some(reader.double()),
                12 => point.max = Some(reader.double()),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        point.attributes = Repeated::new(attributes.fields(), 9);
        point.exemplars = Repeated::new(exemplars.fields(), 8);
        point
    }
}

/// A point of an exponential histogram.
#[derive(Clone, Copy, Debug)]
pub struct ExponentialHistogramDataPoint<'a> {
    raw: &'a [u8],
    pub attributes: Attributes<'a>,
    pub start_time_unix_nano: u64,
    pub time_unix_nano: u64,
    pub count: u64,
    pub sum: Option<f64>,
    pub scale: i32,
    pub zero_count: u64,
    pub positive: Option<Buckets<'a>>,
    pub negative: Option<Buckets<'a>>,
    pub flags: u32,
    pub exemplars: Exemplars<'a>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub zero_threshold: f64,
}

impl<'a> Message<'a> for ExponentialHistogramDataPoint<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut attributes, mut exemplars) = (Extent::default(), Extent::default());
        let mut point = Self {
            raw,
            attributes: Attributes::EMPTY,
            start_time_unix_nano: 0,
            time_unix_nano: 0,
            count: 0,
            sum: None,
            scale: 0,
            zero_count: 0,
            positive: None,
            negative: None,
            flags: 0,
            exemplars: Repeated::NONE,
            min: None,
            max: None,
            zero_threshold: 0.0,
        };
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => attributes.include(before, &mut reader),
                2 => point.start_time_unix_nano = reader.fixed64(),
                3 => point.time_unix_nano = reader.fixed64(),
                4 => point.count = reader.fixed64(),
                5 => point.sum = Some(reader.double()),
                6 => point.scale = reader.sint32(),
                7 => point.zero_count = reader.fixed64(),
                8 => point.positive = Some(Message::parse(reader.bytes())),
                9 => point.negative = Some(Message::parse(reader.bytes())),
                10 => point.flags = reader.varint() as u32,
                11 => exemplars.include(before, &mut reader),
                12 => point.min = Some(reader.double()),
                13 => point.max = Some(reader.double()),
                14 => point.zero_threshold = reader.double(),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        point.attributes = Repeated::new(attributes.fields(), 1);
        point.exemplars = Repeated::new(exemplars.fields(), 11);
        point
    }
}

/// Consecutive buckets of an exponential histogram, from `offset` on.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a> {
    raw: &'a [u8],
    pub offset: i32,
    pub bucket_counts: PackedVarint<'a>,
}

impl<'a> Message<'a> for Buckets<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut offset, mut bucket_counts) = (0, PackedVarint::default());
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => offset = reader.sint32(),
                2 => bucket_counts = PackedVarint::new(reader.bytes()),
                _ => reader.skip(key),
            }
        }
        Self {
            raw,
            offset,
            bucket_counts,
        }
    }
}

/// A point of a summary.
#[derive(Clone, Copy, Debug)]
pub struct SummaryDataPoint<'a> {
    raw: &'a [u8],
    pub attributes: Attributes<'a>,
    pub start_time_unix_nano: u64,
    pub time_unix_nano: u64,
    pub count: u64,
    pub sum: f64,
    pub quantile_values: Repeated<'a, ValueAtQuantile<'a>>,
    pub flags: u32,
}

impl<'a> Message<'a> for SummaryDataPoint<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut attributes, mut quantile_values) = (Extent::default(), Extent::default());
        let (mut start_time_unix_nano, mut time_unix_nano, mut count) = (0, 0, 0);
        let (mut sum, mut flags) = (0.0, 0);
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                2 => start_time_unix_nano = reader.fixed64(),
                3 => time_unix_nano = reader.fixed64(),
                4 => count = reader.fixed64(),
                5 => sum = reader.double(),
                6 => quantile_values.include(before, &mut reader),
                7 => attributes.include(before, &mut reader),
                8 => flags = reader.varint() as u32,
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        let attributes = Repeated::new(attributes.fields(), 7);
        let quantile_values = Repeated::new(quantile_values.fields(), 6);
        Self {
            raw,
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            count,
            sum,
            quantile_values,
            flags,
        }
    }
}

/// One quantile of a summary.
#[derive(Clone, Copy, Debug)]
pub struct ValueAtQuantile<'a> {
    raw: &'a [u8],
    pub quantile: f64,
    pub value: f64,
}

impl<'a> Message<'a> for ValueAtQuantile<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut quantile, mut value) = (0.0, 0.0);
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => quantile = reader.double(),
                2 => value = reader.double(),
                _ => reader.skip(key),
            }
        }
        Self { raw, quantile, value }
    }
}

/// A sampled measurement with the trace it was taken in.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    raw: &'a [u8],
    pub filtered_attributes: Attributes<'a>,
    pub time_unix_nano: u64,
    pub value: Option<NumberValue>,
    /// Eight bytes or none.
    pub span_id: &'a [u8],
    /// Sixteen bytes or none.
    pub trace_id: &'a [u8],
}

impl<'a> Message<'a> for Exemplar<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut attributes = Extent::default();
        let (mut time_unix_nano, mut value) = (0, None);
        let (mut span_id, mut trace_id): (&[u8], &[u8]) = (&[], &[]);
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                2 => time_unix_nano = reader.fixed64(),
                3 => value = Some(NumberValue::Double(reader.double())),
                4 => span_id = reader.bytes(),
                5 => trace_id = reader.bytes(),
                6 => value = Some(NumberValue::Int(reader.fixed64() as i64)),
                7 => attributes.include(before, &mut reader),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        let filtered_attributes = Repeated::new(attributes.fields(), 7);
        Self {
            raw,
            filtered_attributes,
            time_unix_nano,
            value,
            span_id,
            trace_id,
        }
    }
}

macro_rules! raw {
    ($($view:ident),*) => {
        $(impl<'a> $view<'a> {
            pub fn raw(&self) -> &'a [u8] {
                self.raw
            }
        })*
    };
}
raw!(
    NumberDataPoint,
    HistogramDataPoint,
    ExponentialHistogramDataPoint,
    Buckets,
    SummaryDataPoint,
    ValueAtQuantile,
    Exemplar
);
