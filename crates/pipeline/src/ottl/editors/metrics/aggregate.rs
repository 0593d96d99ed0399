//! Points that have become alike made one: `aggregate_on_attributes` and `aggregate_on_attribute_value`.
//!
//! Points are alike that have the same attributes and time; deltas also the same start, histograms the same bounds and
//! optional fields, exponential ones the same scale. The first one of a group stays and takes the others in.

use std::borrow::Cow;
use std::collections::HashMap;

use cupola_telemetry::edit::{Message, MetricKind, Place, Value as Telemetry};

use super::AGGREGATION_TEMPORALITY;
use super::points::{
    BUCKET_COUNTS, COUNT, EXPLICIT_BOUNDS, Number, START, SUM, TIME, attributes, double, fixed64s, number,
    set_double, set_fixed64s, set_number, set_varints, sint32, varints,
};
use crate::ottl::compile::Bound;
use crate::ottl::error::Fault;
use crate::ottl::lexer::Failure;
use crate::ottl::value::Value;

/// Most buckets of an exponential histogram that is put together; each may have been given any offset.
const BUCKETS_MAX: usize = 16 * 1024;

const DELTA: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Sum,
    Mean,
    Min,
    Max,
    Median,
    Count,
}

#[derive(Debug)]
enum Change {
    /// All other attributes go, if there is a list.
    Keep(Option<Vec<String>>),
    /// Values of the attribute that are in the list become another one.
    Replace {
        attribute: String,
        values: Vec<String>,
        new: String,
    },
}

#[derive(Debug)]
pub(in crate::ottl) struct Aggregation {
    function: Function,
    change: Change,
}

impl Aggregation {
    pub(super) fn on_attributes(bound: &Bound<'_>, kept: Option<Vec<String>>) -> Result<Self, Failure> {
        Ok(Self {
            function: function(bound)?,
            change: Change::Keep(kept),
        })
    }

    pub(super) fn on_value(bound: &Bound<'_>) -> Result<Self, Failure> {
        Ok(Self {
            function: function(bound)?,
            change: Change::Replace {
                attribute: bound.text(1).unwrap_or_default().to_owned(),
                values: bound.texts(2),
                new: bound.text(3).unwrap_or_default().to_owned(),
            },
        })
    }

    pub(super) fn run(&self, place: &mut Place<'_>) -> Result<(), Fault> {
        let Some(kind) = place.metric_kind() else {
            return Ok(());
        };
        if kind == MetricKind::Summary {
            return Err(Fault::new("summaries cannot be aggregated"));
        }
        let delta = kind != MetricKind::Gauge && place.data.number(AGGREGATION_TEMPORALITY) == Some(DELTA);
        let points: Vec<Vec<u8>> = place
            .points_now()
            .map(|point| self.changed(kind, point))
            .collect();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut groups: Vec<Vec<Message<'_>>> = Vec::new();
        for point in &points {
            let point = Message::new(point);
            let group = *places.entry(key(kind, delta, &point)).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(point),
                None => groups.push(vec![point]),
            }
        }
        let mut merged = Vec::with_capacity(groups.len());
        for group in groups {
            merged.push(self.merged(kind, group)?);
        }
        place.set_points(kind, merged);
        Ok(())
    }

    /// A point with the attributes that it is to have.
    fn changed(&self, kind: MetricKind, point: &[u8]) -> Vec<u8> {
        let mut point = Message::new(point);
        let map = point.map_mut(attributes(kind));
        match &self.change {
            Change::Keep(None) => {}
            Change::Keep(Some(kept)) => drop(map.retain(|key| kept.iter().any(|kept| kept == key))),
            Change::Replace {
                attribute,
                values,
                new,
            } => {
                if let Some(Telemetry::String(value)) = map.get(attribute)
                    && values.iter().any(|known| *known == value)
                {
                    map.set(Cow::Owned(attribute.clone()), Telemetry::from(new.clone()));
                }
            }
        }
        point.encode()
    }

    fn merged(&self, kind: MetricKind, group: Vec<Message<'_>>) -> Result<Vec<u8>, Fault> {
        let mut group = group.into_iter();
        let Some(mut first) = group.next() else {
            return Ok(Vec::new());
        };
        let others: Vec<Message<'_>> = group.collect();
        match kind {
            MetricKind::Histogram | MetricKind::ExponentialHistogram => {
                let mut exemplars = Vec::new();
                let others: Vec<&Message<'_>> = others
                    .iter()
                    .filter(|other| other.number(COUNT).unwrap_or(0) > 0)
                    .collect();
                match kind {
                    _ if others.is_empty() => {}
                    MetricKind::Histogram => add_counts(&mut first, &others),
                    _ => {
                        add_buckets(&mut first, &others, 8)?;
                        add_buckets(&mut first, &others, 9)?;
                    }
                }
                for other in others {
                    add_totals(kind, &mut first, other);
                    let number = if kind == MetricKind::Histogram { 8 } else { 11 };
                    for exemplar in other.repeated(number) {
                        cupola_telemetry::wire::write_bytes(&mut exemplars, number, exemplar);
                    }
                }
                let mut point = first.encode();
                point.extend_from_slice(&exemplars);
                Ok(point)
            }
            _ => {
                self.add_numbers(&mut first, &others);
                Ok(first.encode())
            }
        }
    }

    fn add_numbers(&self, first: &mut Message<'_>, others: &[Message<'_>]) {
        for other in others {
            earlier(first, other);
        }
        match number(first) {
            Some(Number::Double(value)) => {
                let doubles = others.iter().map(|other| match number(other) {
                    Some(Number::Double(value)) => value,
                    Some(Number::Int(value)) => value as f64,
                    None => 0.0,
                });
                let all: Vec<f64> = std::iter::once(value).chain(doubles).collect();
                set_number(first, Number::Double(self.of_doubles(all)));
            }
            Some(Number::Int(value)) => {
                let ints = others.iter().map(|other| match number(other) {
                    Some(Number::Double(value)) => value as i64,
                    Some(Number::Int(value)) => value,
                    None => 0,
                });
                let all: Vec<i64> = std::iter::once(value).chain(ints).collect();
                set_number(first, Number::Int(self.of_ints(all)));
            }
            None => {}
        }
    }

    fn of_doubles(&self, mut all: Vec<f64>) -> f64 {
        let (length, sum) = (all.len(), all.iter().sum::<f64>());
        match self.function {
            // One point is left as it is, as in the Collector.
            _ if length == 1 => all[0],
            Function::Sum => sum,
            Function::Mean => sum / length as f64,
            Function::Min => all.into_iter().fold(f64::INFINITY, f64::min),
            Function::Max => all.into_iter().fold(f64::NEG_INFINITY, f64::max),
            Function::Count => length as f64,
            Function::Median => {
                all.sort_by(f64::total_cmp);
                match length % 2 {
                    1 => all[length / 2],
                    _ => f64::midpoint(all[length / 2 - 1], all[length / 2]),
                }
            }
        }
    }

    fn of_ints(&self, mut all: Vec<i64>) -> i64 {
        let length = all.len();
        let sum = all.iter().fold(0i64, |sum, value| sum.wrapping_add(*value));
        match self.function {
            _ if length == 1 => all[0],
            Function::Sum => sum,
            Function::Mean => sum / length as i64,
            Function::Min => all.into_iter().min().unwrap_or(0),
            Function::Max => all.into_iter().max().unwrap_or(0),
            Function::Count => length as i64,
            Function::Median => {
                all.sort_unstable();
                match length % 2 {
                    1 => all[length / 2],
                    _ => all[length / 2 - 1].wrapping_add(all[length / 2]) / 2,
                }
            }
        }
    }
}

fn function(bound: &Bound<'_>) -> Result<Function, Failure> {
    Ok(match bound.text(0).unwrap_or_default() {
        "sum" => Function::Sum,
        "mean" => Function::Mean,
        "min" => Function::Min,
        "max" => Function::Max,
        "median" => Function::Median,
        "count" => Function::Count,
        other => {
            let problem =
                format!("{other:?} is no function; there are sum, mean, min, max, median and count");
            return Err(bound.refuse(0, problem));
        }
    })
}

/// What points of one group have in common.
fn key(kind: MetricKind, delta: bool, point: &Message<'_>) -> Vec<u8> {
    let mut key = Value::Map(point.map(attributes(kind))).to_json().into_bytes();
    let mut push = |bits: u64| key.extend_from_slice(&bits.to_le_bytes());
    push(point.number(TIME).unwrap_or(0));
    if delta {
        push(point.number(START).unwrap_or(0));
    }
    match kind {
        MetricKind::Histogram => {
            push(u64::from(point.number(11).is_some()) << 1 | u64::from(point.number(12).is_some()));
            push(point.number(10).unwrap_or(0));
            fixed64s(point, EXPLICIT_BOUNDS).into_iter().for_each(push);
        }
        MetricKind::ExponentialHistogram => {
            push(u64::from(point.number(12).is_some()) << 1 | u64::from(point.number(13).is_some()));
            push(point.number(10).unwrap_or(0));
            push(sint32(point, 6) as u64);
        }
        _ => {}
    }
    key
}

/// The start of the earlier one.
fn earlier(first: &mut Message<'_>, other: &Message<'_>) {
    let start = other.number(START).unwrap_or(0);
    if start < first.number(START).unwrap_or(0) {
        match start {
            0 => first.remove(START),
            start => first.set_fixed64(START, start),
        }
    }
}

/// Takes what a histogram says apart from its buckets into the first one of its group.
fn add_totals(kind: MetricKind, first: &mut Message<'_>, other: &Message<'_>) {
    let sum_of = |number: u32, first: &Message<'_>| {
        first
            .number(number)
            .unwrap_or(0)
            .wrapping_add(other.number(number).unwrap_or(0))
    };
    earlier(first, other);
    first.set_fixed64(COUNT, sum_of(COUNT, first));
    match (double(first, SUM), double(other, SUM)) {
        (Some(a), Some(b)) => set_double(first, SUM, a + b),
        // A total of which a part is not known is not known.
        _ => first.remove(SUM),
    }
    let (min, max) = if kind == MetricKind::Histogram {
        (11, 12)
    } else {
        (12, 13)
    };
    if let (Some(a), Some(b)) = (double(first, min), double(other, min))
        && a > b
    {
        set_double(first, min, b);
    }
    if let (Some(a), Some(b)) = (double(first, max), double(other, max))
        && a < b
    {
        set_double(first, max, b);
    }
    if kind == MetricKind::ExponentialHistogram {
        first.set_fixed64(7, sum_of(7, first));
    }
}

/// Adds the buckets of histograms of the same bounds.
fn add_counts(first: &mut Message<'_>, others: &[&Message<'_>]) {
    let mut sums = fixed64s(first, BUCKET_COUNTS);
    for other in others {
        let more = fixed64s(other, BUCKET_COUNTS);
        sums.resize(sums.len().max(more.len()), 0);
        for (sum, more) in sums.iter_mut().zip(more) {
            *sum = sum.wrapping_add(more);
        }
    }
    set_fixed64s(first, BUCKET_COUNTS, &sums);
}

/// Adds the buckets of one side of exponential histograms, bucket by bucket.
fn add_buckets(first: &mut Message<'_>, others: &[&Message<'_>], number: u32) -> Result<(), Fault> {
    let sides = || {
        let points = std::iter::once(&*first).chain(others.iter().copied());
        let sides = points.map(|point| {
            point.with_message(number, |buckets| {
                (i64::from(sint32(buckets, 1)), varints(buckets, 2))
            })
        });
        sides.filter(|(_, counts)| !counts.is_empty())
    };
    let ranges = sides().map(|(offset, counts)| (offset, offset + counts.len() as i64));
    let Some((start, end)) = ranges.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))) else {
        return Ok(());
    };
    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
    if length > BUCKETS_MAX {
        return Err(Fault::of(format_args!(
            "the histograms are too far apart: together they have more than {BUCKETS_MAX} buckets"
        )));
    }
    let mut sums = vec![0u64; length];
    for (offset, counts) in sides() {
        let shift = usize::try_from(offset - start).unwrap_or(0);
        for (sum, count) in sums.iter_mut().skip(shift).zip(counts) {
            *sum = sum.wrapping_add(count);
        }
    }
    let buckets = first.message_mut(number);
    let start = i32::try_from(start).unwrap_or(0);
    match start {
        0 => buckets.remove(1),
        start => buckets.set_varint(1, u64::from(cupola_telemetry::wire::zigzag32(start))),
    }
    set_varints(buckets, 2, &sums);
    Ok(())
}
