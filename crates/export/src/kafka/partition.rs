//! Parts of a batch that go to topics and partitions of their own, each with its key.

use std::collections::BTreeMap;

use cupola_telemetry::encode::{LogsEncoder, TracesEncoder};
use cupola_telemetry::view::{Attributes, MetricData, ResourceMetrics};
use cupola_telemetry::wire::write_bytes;
use cupola_telemetry::{Batch, Signal};

use super::{KafkaConfig, PartitionBy};

/// Longest name of a topic that a broker takes.
const TOPIC_BYTES_MAX: usize = 249;

/// Items with one topic and one key.
pub(super) struct Part {
    /// Where it is not that of the signal.
    pub(super) topic: Option<String>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) batch: Batch,
}

pub(super) fn parts(batch: &Batch, config: &KafkaConfig) -> Vec<Part> {
    let key = &config.signal(batch.signal()).topic_from_metadata_key;
    let named = batch.client().and_then(|client| client.metadata(key).first());
    if let Some(topic) = named.and_then(|name| topic(name)) {
        let to_topic = |part| Part {
            topic: Some(topic.clone()),
            ..part
        };
        return by_key(batch, config).into_iter().map(to_topic).collect();
    }
    if config.topic_from_attribute.is_empty() {
        return by_key(batch, config);
    }
    let named = |attributes: Attributes<'_>| {
        let value = attributes.get(&config.topic_from_attribute)?;
        value.as_str().and_then(topic)
    };
    let mut parts = Vec::new();
    for (topic, batch) in by_resource(batch, named) {
        parts.extend(by_key(&batch, config).into_iter().map(|part| Part {
            topic: topic.clone(),
            ..part
        }));
    }
    parts
}

fn by_key(batch: &Batch, config: &KafkaConfig) -> Vec<Part> {
    let by_trace = config.partition_by == PartitionBy::Trace;
    let resources = match batch.signal() {
        Signal::Traces if by_trace || config.partition_traces_by_id => return spans_by_trace(batch),
        Signal::Logs if by_trace || config.partition_logs_by_trace_id => return logs_by_trace(batch),
        Signal::Logs => config.partition_logs_by_resource_attributes,
        Signal::Metrics => config.partition_metrics_by_resource_attributes,
        Signal::Traces => false,
    };
    if resources {
        let part = |(hash, batch)| Part {
            topic: None,
            key: Some(format!("{hash:016x}").into_bytes()),
            batch,
        };
        return by_resource(batch, hash).into_iter().map(part).collect();
    }
    let tenant = config.partition_by == PartitionBy::Tenant;
    let key = tenant.then(|| batch.tenant().as_str().as_bytes().to_vec());
    vec![Part {
        topic: None,
        key,
        batch: batch.clone(),
    }]
}

/// The topic of that name; none where it cannot be the name of one.
fn topic(name: &str) -> Option<String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let possible = !matches!(name, "" | "." | "..") && name.len() <= TOPIC_BYTES_MAX;
    (possible && name.bytes().all(letter)).then(|| name.to_owned())
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
                topic: None,
                key: trace_key(trace_id),
                batch: encoder
                    .finish(batch.tenant().clone())
                    .with_client(batch.client().cloned()),
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

/// The resources of a batch whose attributes give the same.
fn by_resource<K: Ord>(batch: &Batch, of: impl Fn(Attributes<'_>) -> K) -> BTreeMap<K, Batch> {
    let mut groups: BTreeMap<K, (Vec<u8>, usize)> = BTreeMap::new();
    let mut add = |attributes: Attributes<'_>, raw: &[u8], more: usize| {
        let (payload, items) = groups.entry(of(attributes)).or_default();
        write_bytes(payload, 1, raw);
        *items += more;
    };
    match batch.signal() {
        Signal::Logs => batch.logs().resources().for_each(|resource| {
            let items = resource.scopes().map(|scope| scope.records().count()).sum();
            add(resource.resource().attributes, resource.raw(), items);
        }),
        Signal::Traces => batch.traces().resources().for_each(|resource| {
            let items = resource.scopes().map(|scope| scope.spans().count()).sum();
            add(resource.resource().attributes, resource.raw(), items);
        }),
        Signal::Metrics => batch.metrics().resources().for_each(|resource| {
            add(resource.resource().attributes, resource.raw(), points(resource));
        }),
    }
    let group = |(key, (payload, items)): (K, (Vec<u8>, usize))| (key, batch.derived(payload.into(), items));
    groups.into_iter().map(group).collect()
}

/// FNV-1a over the attributes in the order of their bytes: the same in every process and version.
fn hash(attributes: Attributes<'_>) -> u64 {
    let mut attributes: Vec<&[u8]> = attributes.raw_messages().collect();
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
