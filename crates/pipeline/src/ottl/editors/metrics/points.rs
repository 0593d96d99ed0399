//! Encoded data points and metrics: what all editors of metrics read and make of them.

use cupola_telemetry::edit::{Map, Message, MetricKind};
use cupola_telemetry::wire::{VARINT, write_bytes, write_key, write_varint};

pub(super) const START: u32 = 2;
pub(super) const TIME: u32 = 3;
pub(super) const COUNT: u32 = 4;
pub(super) const SUM: u32 = 5;
/// Of a histogram.
pub(super) const BUCKET_COUNTS: u32 = 6;
pub(super) const EXPLICIT_BOUNDS: u32 = 7;

/// A value of a point of a sum or a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Double(f64),
    Int(i64),
}

const AS_DOUBLE: u32 = 4;
const AS_INT: u32 = 6;

/// Number of the attributes in a point.
pub(super) fn attributes(kind: MetricKind) -> u32 {
    match kind {
        MetricKind::Histogram => 9,
        MetricKind::ExponentialHistogram => 1,
        _ => 7,
    }
}

pub(super) fn number(point: &Message<'_>) -> Option<Number> {
    match (point.number(AS_DOUBLE), point.number(AS_INT)) {
        (Some(bits), _) => Some(Number::Double(f64::from_bits(bits))),
        (None, Some(bits)) => Some(Number::Int(bits as i64)),
        (None, None) => None,
    }
}

pub(super) fn set_number(point: &mut Message<'_>, number: Number) {
    match number {
        Number::Double(value) => {
            point.remove(AS_INT);
            point.set_fixed64(AS_DOUBLE, value.to_bits());
        }
        Number::Int(value) => {
            point.remove(AS_DOUBLE);
            point.set_fixed64(AS_INT, value as u64);
        }
    }
}

/// A double that is there or not.
pub(super) fn double(point: &Message<'_>, number: u32) -> Option<f64> {
    point.number(number).map(f64::from_bits)
}

pub(super) fn set_double(point: &mut Message<'_>, number: u32, value: f64) {
    point.set_fixed64(number, value.to_bits());
}

/// A packed list of numbers of 64 bits.
pub(super) fn fixed64s(point: &Message<'_>, number: u32) -> Vec<u64> {
    let packed = point.bytes(number).unwrap_or_default();
    let (numbers, _) = packed.as_chunks::<8>();
    numbers.iter().map(|number| u64::from_le_bytes(*number)).collect()
}

pub(super) fn set_fixed64s(point: &mut Message<'_>, number: u32, values: &[u64]) {
    match values.is_empty() {
        true => point.remove(number),
        false => {
            let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            point.set_bytes(number, packed.into());
        }
    }
}

pub(super) fn doubles(point: &Message<'_>, number: u32) -> Vec<f64> {
    fixed64s(point, number).into_iter().map(f64::from_bits).collect()
}

pub(super) fn set_doubles(point: &mut Message<'_>, number: u32, values: &[f64]) {
    let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
    set_fixed64s(point, number, &bits);
}

/// A packed list of varints.
pub(super) fn varints(message: &Message<'_>, number: u32) -> Vec<u64> {
    let (mut values, mut value, mut shift) = (Vec::new(), 0u64, 0);
    for byte in message.bytes(number).unwrap_or_default().iter() {
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if *byte < 0x80 {
            values.push(value);
            (value, shift) = (0, 0);
        }
    }
    values
}

pub(super) fn set_varints(message: &mut Message<'_>, number: u32, values: &[u64]) {
    let mut packed = Vec::new();
    for value in values {
        write_varint(&mut packed, *value);
    }
    match packed.is_empty() {
        true => message.remove(number),
        false => message.set_bytes(number, packed.into()),
    }
}

/// A number of 32 bits in zigzag.
pub(super) fn sint32(message: &Message<'_>, number: u32) -> i32 {
    let bits = message.number(number).unwrap_or(0) as u32;
    (bits >> 1) as i32 ^ -((bits & 1) as i32)
}

/// A point of a sum or a gauge with the attributes and the times of `source`, which is one of `kind`.
pub(super) fn derived(
    source: &Message<'_>,
    kind: MetricKind,
    value: Number,
    attribute: Option<(&str, f64)>,
) -> Vec<u8> {
    let mut pairs: Map<'_> = source.map(attributes(kind));
    if let Some((key, value)) = attribute {
        pairs.set(
            key.to_owned().into(),
            cupola_telemetry::edit::Value::Double(value),
        );
    }
    let mut point = Message::new(&[]);
    point.set_map(attributes(MetricKind::Sum), pairs);
    for number in [START, TIME] {
        if let Some(time) = source.number(number).filter(|time| *time != 0) {
            point.set_fixed64(number, time);
        }
    }
    set_number(&mut point, value);
    point.encode()
}

/// What a new metric is, apart from its points.
pub(super) struct Head<'h> {
    pub(super) name: String,
    pub(super) description: &'h str,
    pub(super) unit: &'h str,
    /// Temporality and whether it only grows, if it is a sum; a gauge otherwise.
    pub(super) sum: Option<(u64, bool)>,
}

/// An encoded metric.
pub(super) fn metric(head: &Head<'_>, points: &[Vec<u8>]) -> Vec<u8> {
    let mut data = Vec::new();
    for point in points {
        write_bytes(&mut data, 1, point);
    }
    let kind = match head.sum {
        None => MetricKind::Gauge,
        Some((temporality, monotonic)) => {
            for (number, value) in [(2, temporality), (3, u64::from(monotonic))] {
                if value != 0 {
                    write_key(&mut data, number, VARINT);
                    write_varint(&mut data, value);
                }
            }
            MetricKind::Sum
        }
    };
    let mut metric = Vec::new();
    for (number, text) in [(1, head.name.as_str()), (2, head.description), (3, head.unit)] {
        if !text.is_empty() {
            write_bytes(&mut metric, number, text.as_bytes());
        }
    }
    write_bytes(&mut metric, kind.number(), &data);
    metric
}
