//! Points becoming batches: OTLP below the resource of the process, by scope and metric.
//!
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto>

use bytes::Bytes;
use cupola_telemetry::wire::{self, FIXED64};
use cupola_telemetry::{Batch, Signal, TenantId};

use super::exemplar::{Exemplar, Reservoir};
use super::exponential::{Buckets, Exponential};
use super::instrument::Number;
use super::point::{self, Histogram, Shape};
use super::stream::Stream;
use crate::recorder::Scope;
use crate::resource::Resource;
use crate::span::{write_fixed64, write_number, write_text};

const DELTA: u32 = 1;
const CUMULATIVE: u32 = 2;

/// A point of a stream that is to be written.
pub(super) struct Point<'p> {
    /// As fields of the data point.
    pub(super) attributes: &'p [u8],
    /// Zero where there is none.
    pub(super) start_unix_nano: u64,
    pub(super) unix_nano: u64,
    pub(super) point: &'p point::Point,
    pub(super) exemplars: Option<&'p Reservoir>,
}

/// Writes batches. Points of one metric, and metrics of one scope, are to come one after the other.
pub(super) struct Writer<'w> {
    resource: &'w Resource,
    tenant: &'w TenantId,
    batch_bytes: usize,
    batches: Vec<Batch>,
    /// Whole scopes; whole metrics of the scope that is open; points of the metric that is open.
    scopes: Vec<u8>,
    metrics: Vec<u8>,
    points: Vec<u8>,
    items: usize,
}

impl<'w> Writer<'w> {
    pub(super) fn new(resource: &'w Resource, tenant: &'w TenantId, batch_bytes: usize) -> Writer<'w> {
        Writer {
            resource,
            tenant,
            batch_bytes,
            batches: Vec::new(),
            scopes: Vec::new(),
            metrics: Vec::new(),
            points: Vec::new(),
            items: 0,
        }
    }

    pub(super) fn point(&mut self, stream: &Stream, point: &Point<'_>) {
        let message = wire::open(&mut self.points, 1);
        write_point(&mut self.points, stream, point);
        wire::close(&mut self.points, message);
        self.items += 1;
        if self.scopes.len() + self.metrics.len() + self.points.len() >= self.batch_bytes {
            self.end_metric(stream);
            self.end_scope(stream.scope);
            self.end_batch();
        }
    }

    pub(super) fn end_metric(&mut self, stream: &Stream) {
        if self.points.is_empty() {
            return;
        }
        let identity = &stream.identity;
        let out = &mut self.metrics;
        let metric = wire::open(out, 2);
        write_text(out, 1, &identity.name);
        write_text(out, 2, &identity.description);
        write_text(out, 3, &identity.unit);
        let field = match identity.shape {
            Shape::LastValue => 5,
            Shape::Sum => 7,
            Shape::Explicit { .. } => 9,
            Shape::Exponential { .. } => 10,
        };
        let data = wire::open(out, field);
        out.extend_from_slice(&self.points);
        if identity.shape != Shape::LastValue {
            write_number(out, 2, if identity.is_delta { DELTA } else { CUMULATIVE });
        }
        if identity.shape == Shape::Sum && identity.kind.is_monotonic() {
            write_number(out, 3, 1);
        }
        wire::close(out, data);
        wire::close(out, metric);
        self.points.clear();
    }

    pub(super) fn end_scope(&mut self, scope: Scope) {
        if self.metrics.is_empty() {
            return;
        }
        let out = &mut self.scopes;
        let message = wire::open(out, 2);
        wire::write_bytes(out, 1, scope.message());
        out.extend_from_slice(&self.metrics);
        write_text(out, 3, scope.schema_url());
        wire::close(out, message);
        self.metrics.clear();
    }

    fn end_batch(&mut self) {
        if self.scopes.is_empty() {
            return;
        }
        let length = self.scopes.len() + self.resource.message.len() + 64;
        let mut payload = Vec::with_capacity(length);
        let message = wire::open(&mut payload, 1);
        wire::write_bytes(&mut payload, 1, &self.resource.message);
        payload.extend_from_slice(&self.scopes);
        write_text(&mut payload, 3, &self.resource.schema_url);
        wire::close(&mut payload, message);
        self.scopes.clear();
        let items = std::mem::take(&mut self.items);
        let payload = Bytes::from(payload);
        let tenant = self.tenant.clone();
        self.batches
            .push(Batch::from_canonical(Signal::Metrics, tenant, payload, items));
    }

    pub(super) fn finish(mut self) -> Vec<Batch> {
        self.end_batch();
        self.batches
    }
}

fn write_point(out: &mut Vec<u8>, stream: &Stream, point: &Point<'_>) {
    out.extend_from_slice(point.attributes);
    write_fixed64(out, 2, point.start_unix_nano);
    write_fixed64(out, 3, point.unix_nano);
    let exemplars = match point.point {
        point::Point::Int(value) => write_number_point(out, Number::Int(*value)),
        point::Point::Double(value) => write_number_point(out, Number::Double(*value)),
        point::Point::Last(value, _) => write_number_point(out, *value),
        point::Point::Explicit(histogram) => write_explicit(out, stream, histogram),
        point::Point::Exponential(histogram) => write_exponential(out, stream, histogram),
    };
    for exemplar in point.exemplars.into_iter().flat_map(Reservoir::kept) {
        let message = wire::open(out, exemplars);
        write_exemplar(out, exemplar);
        wire::close(out, message);
    }
}

/// The value of a number point; gives the field of exemplars beside it.
fn write_number_point(out: &mut Vec<u8>, value: Number) -> u32 {
    write_value(out, value, 4);
    5
}

/// A value, which has another field where it is a double.
fn write_value(out: &mut Vec<u8>, value: Number, double: u32) {
    const INT: u32 = 6;
    match value {
        Number::Double(value) => write_double(out, double, value),
        Number::Int(value) => {
            wire::write_key(out, INT, FIXED64);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

fn write_explicit(out: &mut Vec<u8>, stream: &Stream, histogram: &Histogram<Box<[u64]>>) -> u32 {
    let count = histogram.buckets.iter().sum();
    let Shape::Explicit {
        boundaries,
        record_min_max,
    } = &stream.identity.shape
    else {
        return 8;
    };
    write_fixed64(out, 4, count);
    write_statistics(out, stream, histogram, [5, 11, 12], *record_min_max && count > 0);
    write_packed(out, 6, histogram.buckets.iter().map(|count| count.to_le_bytes()));
    write_packed(out, 7, boundaries.iter().map(|bound| bound.to_le_bytes()));
    8
}

fn write_exponential(out: &mut Vec<u8>, stream: &Stream, histogram: &Histogram<Exponential>) -> u32 {
    let buckets = &histogram.buckets;
    let count = buckets.count();
    let Shape::Exponential { record_min_max, .. } = stream.identity.shape else {
        return 11;
    };
    write_fixed64(out, 4, count);
    write_statistics(out, stream, histogram, [5, 12, 13], record_min_max && count > 0);
    write_number(out, 6, wire::zigzag32(i32::from(buckets.scale)));
    write_fixed64(out, 7, buckets.zeros);
    write_buckets(out, 8, &buckets.positive);
    write_buckets(out, 9, &buckets.negative);
    11
}

/// Sum, smallest and largest value. A histogram with negative values has no sum, as one that may fall is none to readers of
/// counters.
fn write_statistics<B>(
    out: &mut Vec<u8>,
    stream: &Stream,
    histogram: &Histogram<B>,
    [sum, min, max]: [u32; 3],
    has_min_max: bool,
) {
    if stream.has_sum() && histogram.min >= 0.0 {
        write_double(out, sum, histogram.sum);
    }
    if has_min_max {
        write_double(out, min, histogram.min);
        write_double(out, max, histogram.max);
    }
}

fn write_buckets(out: &mut Vec<u8>, number: u32, buckets: &Buckets) {
    if buckets.counts.is_empty() {
        return;
    }
    let message = wire::open(out, number);
    write_number(out, 1, wire::zigzag32(buckets.start));
    let counts = wire::open(out, 2);
    for count in &buckets.counts {
        wire::write_varint(out, *count);
    }
    wire::close(out, counts);
    wire::close(out, message);
}

fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    write_fixed64(out, 2, exemplar.unix_nano);
    write_value(out, exemplar.number, 3);
    if let Some((trace_id, span_id)) = &exemplar.span {
        wire::write_bytes(out, 4, span_id.as_bytes());
        wire::write_bytes(out, 5, trace_id.as_bytes());
    }
    out.extend_from_slice(&exemplar.filtered);
}

/// A number that is written also when it is zero.
fn write_double(out: &mut Vec<u8>, number: u32, value: f64) {
    wire::write_key(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_packed(out: &mut Vec<u8>, number: u32, values: impl ExactSizeIterator<Item = [u8; 8]>) {
    if values.len() > 0 {
        wire::write_key(out, number, wire::LENGTH);
        wire::write_varint(out, values.len() as u64 * 8);
        values.for_each(|value| out.extend_from_slice(&value));
    }
}
