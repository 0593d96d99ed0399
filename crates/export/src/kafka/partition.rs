//! Parts of a batch that go to partitions of their own, each with its key.

use std::collections::BTreeMap;

use cupola_telemetry::encode::{LogsEncoder, TracesEncoder};
use cupola_telemetry::view::{MetricData, ResourceMetrics};
use cupola_telemetry::wire::write_bytes;
use cupola_telemetry::{Batch, Signal};

use super::{KafkaConfig, PartitionBy};

/// Items with one key.
pub(super) struct Part {
    pub(super) key: Option<Vec<u8>>,
    pub(super) batch: Batch,
}

pub(super) fn parts(batch: &Batch, config: &KafkaConfig) -> Vec<Part> {
    let by_trace = config.partition_by == PartitionBy::Trace;
    match batch.signal() {
        Signal::Traces if by_trace || config.partition_traces_by_id => spans_by_trace(batch),
        Signal::Logs if by_trace => logs_by_trace(batch),
        Signal::Metrics if config.partition_metrics_by_resource_attributes => points_by_resource(batch),
        _ => {
            let tenant = config.partition_by == PartitionBy::Tenant;
            let key = tenant.then(|| batch.tenant().as_str().as_bytes().to_vec());
            vec![Part {
                key,
                batch: batch.clone(),
            }]
        }
    }
}

/// The key of a trace, as the Collector writes it: the id in hex. None without a trace.
fn trace_key(trace_id: &[u8]) -> Option<Vec<u8>> {
    if trace_id.is_empty() {
        return None;
    }
    Some(
        trace_id
            .iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
    )
}

macro_rules! by_trace {
    ($name:ident, $encoder:ident, $read:ident, $items:ident, $resource:ident, $scope:ident, $item_raw:ident) => {
        fn $name(batch: &Batch) -> Vec<Part> {
            let mut encoders: BTreeMap<&[u8], $encoder> = BTreeMap::new();
            for resource in batch.$read().resources() {
                let about = resource.resource();
                for scope in resource.scopes() {
                    let mut traces: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
                    for item in scope.$items() {
                        traces.entry(item.trace_id).or_default().push(item.raw());
                    }
                    let scope_about = scope.scope();
                    for (trace_id, items) in traces {
                        let encoder = encoders.entry(trace_id).or_default();
                        let mut envelope = encoder.$resource();
                        if resource.has_resource() {
                            envelope.resource_raw(about.raw());
                        }
                        envelope.schema_url(resource.schema_url());
                        let mut inner = envelope.$scope();
                        if scope.has_scope() {
                            inner.scope_raw(scope_about.raw());
                        }
                        inner.schema_url(scope.schema_url());
                        items.into_iter().for_each(|item| {
                            inner.$item_raw(item);
                        });
                    }
                }
            }
            let part = |(trace_id, encoder): (&[u8], $encoder)| Part {
                key: trace_key(trace_id),
                batch: encoder.finish(batch.tenant().clone()),
            };
            encoders.into_iter().map(part).collect()
        }
    };
}
by_trace!(
    spans_by_trace,
    TracesEncoder,
    traces,
    spans,
    resource_spans,
    scope_spans,
    span_raw
);
by_trace!(
    logs_by_trace,
    LogsEncoder,
    logs,
    records,
    resource_logs,
    scope_logs,
    record_raw
);

fn points_by_resource(batch: &Batch) -> Vec<Part> {
    let mut parts: BTreeMap<u64, (Vec<u8>, usize)> = BTreeMap::new();
    for resource in batch.metrics().resources() {
        let (payload, items) = parts.entry(hash(resource)).or_default();
        write_bytes(payload, 1, resource.raw());
        *items += points(resource);
    }
    let part = |(hash, (payload, items)): (u64, (Vec<u8>, usize))| Part {
        key: Some(format!("{hash:016x}").into_bytes()),
        batch: Batch::from_canonical(Signal::Metrics, batch.tenant().clone(), payload.into(), items),
    };
    parts.into_iter().map(part).collect()
}

/// FNV-1a over the attributes in the order of their bytes: the same in every process and version.
fn hash(resource: ResourceMetrics<'_>) -> u64 {
    let mut attributes: Vec<&[u8]> = resource.resource().attributes.raw_messages().collect();
    attributes.sort_unstable();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in attributes.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

fn points(resource: ResourceMetrics<'_>) -> usize {
    let metrics = resource.scopes().flat_map(|scope| scope.metrics());
    let points = metrics.map(|metric| match metric.data() {
        None => 0,
        Some(MetricData::Gauge(points) | MetricData::Sum { points, .. }) => points.len(),
        Some(MetricData::Histogram { points, .. }) => points.len(),
        Some(MetricData::ExponentialHistogram { points, .. }) => points.len(),
        Some(MetricData::Summary(points)) => points.len(),
    });
    points.sum()
}
