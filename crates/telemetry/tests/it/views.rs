//! Views give the values that prost gives, for every field of every message.

use cupola_telemetry::{Signal, view};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{self as common, any_value};
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, metric};
use opentelemetry_proto::tonic::{logs::v1 as logs, resource::v1 as resource, trace::v1 as trace};
use proptest::prelude::*;
use prost::Message;

use crate::dice::Dice;
use crate::oracle::{decode, normalised, random_request};
use crate::scramble::{Freedom, Type, scramble};

fn any_value(value: view::AnyValue<'_>) -> common::AnyValue {
    use any_value::Value;
    let value = match value {
        view::AnyValue::Empty => None,
        view::AnyValue::String(text) => Some(Value::StringValue(text.to_owned())),
        view::AnyValue::Bool(value) => Some(Value::BoolValue(value)),
        view::AnyValue::Int(value) => Some(Value::IntValue(value)),
        view::AnyValue::Double(value) => Some(Value::DoubleValue(value)),
        view::AnyValue::Array(values) => Some(Value::ArrayValue(common::ArrayValue {
            values: values.map(any_value).collect(),
        })),
        view::AnyValue::KeyValueList(values) => Some(Value::KvlistValue(common::KeyValueList {
            values: attributes(values),
        })),
        view::AnyValue::Bytes(bytes) => Some(Value::BytesValue(bytes.to_vec())),
        view::AnyValue::StringIndex(index) => Some(Value::StringValueStrindex(index)),
    };
    common::AnyValue { value }
}

fn attributes(attributes: view::Attributes<'_>) -> Vec<common::KeyValue> {
    let pair = |pair: view::KeyValue<'_>| common::KeyValue {
        key: pair.key.to_owned(),
        value: pair.value_raw().map(|_| any_value(pair.value)),
        key_strindex: pair.key_strindex,
    };
    attributes.map(pair).collect()
}

fn resource(resource: view::Resource<'_>) -> resource::Resource {
    let entity_ref = |entity: view::EntityRef<'_>| common::EntityRef {
        schema_url: entity.schema_url.to_owned(),
        r#type: entity.r#type.to_owned(),
        id_keys: entity.id_keys.map(str::to_owned).collect(),
        description_keys: entity.description_keys.map(str::to_owned).collect(),
    };
    resource::Resource {
        attributes: attributes(resource.attributes),
        dropped_attributes_count: resource.dropped_attributes_count,
        entity_refs: resource.entity_refs.map(entity_ref).collect(),
    }
}

fn scope(scope: view::Scope<'_>) -> common::InstrumentationScope {
    common::InstrumentationScope {
        name: scope.name.to_owned(),
        version: scope.version.to_owned(),
        attributes: attributes(scope.attributes),
        dropped_attributes_count: scope.dropped_attributes_count,
    }
}

fn logs_request(data: view::LogsData<'_>) -> ExportLogsServiceRequest {
    let scope_logs = |s: view::ScopeLogs<'_>| logs::ScopeLogs {
        scope: s.has_scope().then(|| scope(s.scope())),
        log_records: s.records().map(log_record).collect(),
        schema_url: s.schema_url().to_owned(),
    };
    let resource_logs = |r: view::ResourceLogs<'_>| logs::ResourceLogs {
        resource: r.has_resource().then(|| resource(r.resource())),
        scope_logs: r.scopes().map(scope_logs).collect(),
        schema_url: r.schema_url().to_owned(),
    };
    ExportLogsServiceRequest {
        resource_logs: data.resources().map(resource_logs).collect(),
    }
}

fn log_record(record: view::LogRecord<'_>) -> logs::LogRecord {
    logs::LogRecord {
        time_unix_nano: record.time_unix_nano,
        observed_time_unix_nano: record.observed_time_unix_nano,
        severity_number: record.severity_number,
        severity_text: record.severity_text.to_owned(),
        body: record.body.map(any_value),
        attributes: attributes(record.attributes),
        dropped_attributes_count: record.dropped_attributes_count,
        flags: record.flags,
        trace_id: record.trace_id.to_vec(),
        span_id: record.span_id.to_vec(),
        event_name: record.event_name.to_owned(),
    }
}

fn traces_request(data: view::TracesData<'_>) -> ExportTraceServiceRequest {
    let scope_spans = |s: view::ScopeSpans<'_>| trace::ScopeSpans {
        scope: s.has_scope().then(|| scope(s.scope())),
        spans: s.spans().map(span).collect(),
        schema_url: s.schema_url().to_owned(),
    };
    let resource_spans = |r: view::ResourceSpans<'_>| trace::ResourceSpans {
        resource: r.has_resource().then(|| resource(r.resource())),
        scope_spans: r.scopes().map(scope_spans).collect(),
        schema_url: r.schema_url().to_owned(),
    };
    ExportTraceServiceRequest {
        resource_spans: data.resources().map(resource_spans).collect(),
    }
}

fn span(span: view::Span<'_>) -> trace::Span {
    let event = |event: view::Event<'_>| trace::span::Event {
        time_unix_nano: event.time_unix_nano,
        name: event.name.to_owned(),
        attributes: attributes(event.attributes),
        dropped_attributes_count: event.dropped_attributes_count,
    };
    let link = |link: view::Link<'_>| trace::span::Link {
        trace_id: link.trace_id.to_vec(),
        span_id: link.span_id.to_vec(),
        trace_state: link.trace_state.to_owned(),
        attributes: attributes(link.attributes),
        dropped_attributes_count: link.dropped_attributes_count,
        flags: link.flags,
    };
    trace::Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        trace_state: span.trace_state.to_owned(),
        parent_span_id: span.parent_span_id.to_vec(),
        flags: span.flags,
        name: span.name.to_owned(),
        kind: span.kind,
        start_time_unix_nano: span.start_time_unix_nano,
        end_time_unix_nano: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        dropped_attributes_count: span.dropped_attributes_count,
        events: span.events.map(event).collect(),
        dropped_events_count: span.dropped_events_count,
        links: span.links.map(link).collect(),
        dropped_links_count: span.dropped_links_count,
        status: span.status.map(|s| trace::Status {
            message: s.message.to_owned(),
            code: s.code,
        }),
    }
}

fn metrics_request(data: view::MetricsData<'_>) -> ExportMetricsServiceRequest {
    let scope_metrics = |s: view::ScopeMetrics<'_>| metrics::ScopeMetrics {
        scope: s.has_scope().then(|| scope(s.scope())),
        metrics: s.metrics().map(metric).collect(),
        schema_url: s.schema_url().to_owned(),
    };
    let resource_metrics = |r: view::ResourceMetrics<'_>| metrics::ResourceMetrics {
        resource: r.has_resource().then(|| resource(r.resource())),
        scope_metrics: r.scopes().map(scope_metrics).collect(),
        schema_url: r.schema_url().to_owned(),
    };
    ExportMetricsServiceRequest {
        resource_metrics: data.resources().map(resource_metrics).collect(),
    }
}

fn metric(metric: view::Metric<'_>) -> metrics::Metric {
    use metric::Data;
    let data = metric.data().map(|data| match data {
        view::MetricData::Gauge(points) => Data::Gauge(metrics::Gauge {
            data_points: points.map(number_point).collect(),
        }),
        view::MetricData::Sum {
            points,
            temporality,
            monotonic,
        } => Data::Sum(metrics::Sum {
            data_points: points.map(number_point).collect(),
            aggregation_temporality: temporality,
            is_monotonic: monotonic,
        }),
        view::MetricData::Histogram { points, temporality } => Data::Histogram(metrics::Histogram {
            data_points: points.map(histogram_point).collect(),
            aggregation_temporality: temporality,
        }),
        view::MetricData::ExponentialHistogram { points, temporality } => {
            Data::ExponentialHistogram(metrics::ExponentialHistogram {
                data_points: points.map(exponential_histogram_point).collect(),
                aggregation_temporality: temporality,
            })
        }
        view::MetricData::Summary(points) => Data::Summary(metrics::Summary {
            data_points: points.map(summary_point).collect(),
        }),
    });
    metrics::Metric {
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        metadata: attributes(metric.metadata),
        data,
    }
}

fn number_point(point: view::NumberDataPoint<'_>) -> metrics::NumberDataPoint {
    use metrics::number_data_point::Value;
    metrics::NumberDataPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        exemplars: point.exemplars.map(exemplar).collect(),
        flags: point.flags,
        value: point.value.map(|value| match value {
            view::NumberValue::Double(value) => Value::AsDouble(value),
            view::NumberValue::Int(value) => Value::AsInt(value),
        }),
    }
}

fn exemplar(exemplar: view::Exemplar<'_>) -> metrics::Exemplar {
    use metrics::exemplar::Value;
    metrics::Exemplar {
        filtered_attributes: attributes(exemplar.filtered_attributes),
        time_unix_nano: exemplar.time_unix_nano,
        span_id: exemplar.span_id.to_vec(),
        trace_id: exemplar.trace_id.to_vec(),
        value: exemplar.value.map(|value| match value {
            view::NumberValue::Double(value) => Value::AsDouble(value),
            view::NumberValue::Int(value) => Value::AsInt(value),
        }),
    }
}

fn histogram_point(point: view::HistogramDataPoint<'_>) -> metrics::HistogramDataPoint {
    metrics::HistogramDataPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        bucket_counts: point.bucket_counts.collect(),
        explicit_bounds: point.explicit_bounds.collect(),
        exemplars: point.exemplars.map(exemplar).collect(),
        flags: point.flags,
        min: point.min,
        max: point.max,
    }
}

fn exponential_histogram_point(
    point: view::ExponentialHistogramDataPoint<'_>,
) -> metrics::ExponentialHistogramDataPoint {
    let buckets = |buckets: view::Buckets<'_>| metrics::exponential_histogram_data_point::Buckets {
        offset: buckets.offset,
        bucket_counts: buckets.bucket_counts.collect(),
    };
    metrics::ExponentialHistogramDataPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        scale: point.scale,
        zero_count: point.zero_count,
        positive: point.positive.map(buckets),
        negative: point.negative.map(buckets),
        flags: point.flags,
        exemplars: point.exemplars.map(exemplar).collect(),
        min: point.min,
        max: point.max,
        zero_threshold: point.zero_threshold,
    }
}

fn summary_point(point: view::SummaryDataPoint<'_>) -> metrics::SummaryDataPoint {
    let quantile = |value: view::ValueAtQuantile<'_>| metrics::summary_data_point::ValueAtQuantile {
        quantile: value.quantile,
        value: value.value,
    };
    metrics::SummaryDataPoint {
        attributes: attributes(point.attributes),
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        quantile_values: point.quantile_values.map(quantile).collect(),
        flags: point.flags,
    }
}

/// The payload as its views show it, encoded by prost.
pub(crate) fn through_views(signal: Signal, payload: &[u8]) -> Vec<u8> {
    match signal {
        Signal::Logs => logs_request(view::LogsData::new(payload)).encode_to_vec(),
        Signal::Traces => traces_request(view::TracesData::new(payload)).encode_to_vec(),
        Signal::Metrics => metrics_request(view::MetricsData::new(payload)).encode_to_vec(),
    }
}

proptest! {
    #[test]
    fn views_show_what_prost_decodes(seed: u64) {
        for signal in Signal::ALL {
            let payload = random_request(signal, &mut Dice::new(seed));
            prop_assert_eq!(through_views(signal, &payload), payload);
        }
    }

    #[test]
    fn views_pass_over_what_is_unknown_and_out_of_order(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let request = random_request(signal, &mut dice);
            let payload = scramble(Type::Request(signal), &request, &mut dice, Freedom { overwrite: true });
            let batch = decode(signal, payload).unwrap();
            let expected = normalised(signal, batch.payload()).unwrap();
            prop_assert_eq!(through_views(signal, batch.payload()), expected);
        }
    }
}

#[test]
fn attributes_are_found_by_key_and_the_first_one_counts() {
    let mut encoder = cupola_telemetry::encode::LogsEncoder::new();
    encoder
        .resource_logs()
        .resource()
        .attribute("a", 1)
        .attribute("b", "x")
        .attribute("a", 2);
    let batch = encoder.finish(Default::default());
    let resource = batch.logs().resources().next().unwrap().resource();
    assert_eq!(resource.attributes.get("a"), Some(view::AnyValue::Int(1)));
    assert_eq!(
        resource.attributes.get("b").and_then(view::AnyValue::as_str),
        Some("x")
    );
    assert_eq!(resource.attributes.get("c"), None);
    assert_eq!(resource.attributes.len(), 3);
    assert!(view::Attributes::EMPTY.is_empty());
}

#[test]
fn packed_numbers_know_how_many_they_are() {
    let mut encoder = cupola_telemetry::encode::MetricsEncoder::new();
    {
        let mut resource = encoder.resource_metrics();
        let mut scope = resource.scope_metrics();
        scope
            .metric()
            .histogram()
            .point()
            .bucket_counts([1, u64::MAX])
            .explicit_bounds([0.5]);
        scope
            .metric()
            .exponential_histogram()
            .point()
            .positive()
            .bucket_counts([0, 300, u64::MAX]);
    }
    let batch = encoder.finish(Default::default());
    let scope = batch
        .metrics()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap();
    let metrics: Vec<_> = scope.metrics().collect();
    let Some(view::MetricData::Histogram { mut points, .. }) = metrics[0].data() else {
        panic!("{metrics:?}")
    };
    let point = points.next().unwrap();
    assert_eq!((point.bucket_counts.len(), point.explicit_bounds.len()), (2, 1));
    assert!(!point.bucket_counts.is_empty());
    let Some(view::MetricData::ExponentialHistogram { mut points, .. }) = metrics[1].data() else {
        panic!("{metrics:?}")
    };
    let buckets = points.next().unwrap().positive.unwrap();
    assert_eq!(buckets.bucket_counts.len(), 3);
    assert_eq!(buckets.bucket_counts.collect::<Vec<_>>(), [0, 300, u64::MAX]);
}
