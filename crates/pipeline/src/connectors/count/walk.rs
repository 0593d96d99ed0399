//! The things of a context in a batch, in the order in which conditions look at them, each with its attributes.

use cupola_telemetry::Batch;
use cupola_telemetry::view::{Attributes, MetricData};

use crate::ottl::Context;

/// Attributes of the thing, of its scope, of its resource.
type Places<'a> = [Attributes<'a>; 3];

/// Shows each thing with its encoded resource.
pub(super) fn walk(batch: &Batch, context: Context, see: &mut dyn FnMut(&[u8], &Places<'_>)) {
    match context {
        Context::Log => logs(batch, see),
        Context::Span | Context::SpanEvent => traces(batch, context, see),
        Context::Metric | Context::DataPoint => metrics(batch, context, see),
        Context::Resource | Context::Scope => {}
    }
}

fn logs(batch: &Batch, see: &mut dyn FnMut(&[u8], &Places<'_>)) {
    for envelope in batch.logs().resources() {
        let resource = envelope.resource();
        for scope in envelope.scopes() {
            let around = [scope.scope().attributes, resource.attributes];
            for record in scope.records() {
                see(resource.raw(), &[record.attributes, around[0], around[1]]);
            }
        }
    }
}

fn traces(batch: &Batch, context: Context, see: &mut dyn FnMut(&[u8], &Places<'_>)) {
    for envelope in batch.traces().resources() {
        let resource = envelope.resource();
        for scope in envelope.scopes() {
            let around = [scope.scope().attributes, resource.attributes];
            for span in scope.spans() {
                if context == Context::Span {
                    see(resource.raw(), &[span.attributes, around[0], around[1]]);
                    continue;
                }
                for event in span.events {
                    see(resource.raw(), &[event.attributes, around[0], around[1]]);
                }
            }
        }
    }
}

fn metrics(batch: &Batch, context: Context, see: &mut dyn FnMut(&[u8], &Places<'_>)) {
    for envelope in batch.metrics().resources() {
        let resource = envelope.resource();
        for scope in envelope.scopes() {
            let around = [scope.scope().attributes, resource.attributes];
            let mut see = |attributes| see(resource.raw(), &[attributes, around[0], around[1]]);
            for metric in scope.metrics() {
                if context == Context::Metric {
                    see(Attributes::EMPTY);
                    continue;
                }
                match metric.data() {
                    None => {}
                    Some(MetricData::Gauge(points) | MetricData::Sum { points, .. }) => {
                        points.for_each(|point| see(point.attributes));
                    }
                    Some(MetricData::Histogram { points, .. }) => {
                        points.for_each(|point| see(point.attributes));
                    }
                    Some(MetricData::ExponentialHistogram { points, .. }) => {
                        points.for_each(|point| see(point.attributes));
                    }
                    Some(MetricData::Summary(points)) => points.for_each(|point| see(point.attributes)),
                }
            }
        }
    }
}
