//! The writers can write every field of every message, as prost reads it.

use cupola_telemetry::{Batch, Signal, TenantId, encode, view};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{self as common, any_value};
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, metric};
use opentelemetry_proto::tonic::{logs::v1 as logs, resource::v1 as resource, trace::v1 as trace};
use proptest::prelude::*;
use prost::Message;

use crate::dice::Dice;
use crate::oracle::{decode, normalised};

/// Writes a value piece by piece, as somebody does who has no encoded bytes to copy.
fn write_value(out: &mut encode::AnyValue<'_>, value: &common::AnyValue) {
    use any_value::Value;
    match &value.value {
        None => {}
        Some(Value::StringValue(text)) => out.set(text),
        Some(Value::BoolValue(value)) => out.set(*value),
        Some(Value::IntValue(value)) => out.set(*value),
        Some(Value::DoubleValue(value)) => out.set(*value),
        Some(Value::BytesValue(bytes)) => out.set(bytes.as_slice()),
        Some(Value::StringValueStrindex(index)) => out.set(view::AnyValue::StringIndex(*index)),
        Some(Value::ArrayValue(array)) => {
            let mut out = out.array();
            array
                .values
                .iter()
                .for_each(|value| write_value(&mut out.value(), value));
        }
        Some(Value::KvlistValue(list)) => {
            let mut out = out.key_value_list();
            for pair in &list.values {
                out.attribute_with(&pair.key, |out| write_value(out, pair.value.as_ref().unwrap()));
            }
        }
    }
}

macro_rules! write_attributes {
    ($out:expr, $method:ident, $attributes:expr) => {
        for pair in &$attributes {
            $out.$method(&pair.key, |out| write_value(out, pair.value.as_ref().unwrap()));
        }
    };
}

fn write_resource(mut out: encode::Resource<'_>, resource: &resource::Resource) {
    write_attributes!(out, attribute_with, resource.attributes);
    out.dropped_attributes_count(resource.dropped_attributes_count);
    for entity in &resource.entity_refs {
        let mut out = out.entity_ref();
        out.schema_url(&entity.schema_url).r#type(&entity.r#type);
        entity.id_keys.iter().for_each(|key| {
            out.id_key(key);
        });
        entity.description_keys.iter().for_each(|key| {
            out.description_key(key);
        });
    }
}

fn write_scope(mut out: encode::Scope<'_>, scope: &common::InstrumentationScope) {
    out.name(&scope.name).version(&scope.version);
    write_attributes!(out, attribute_with, scope.attributes);
    out.dropped_attributes_count(scope.dropped_attributes_count);
}

fn encode_logs(request: &ExportLogsServiceRequest) -> Batch {
    let mut encoder = encode::LogsEncoder::new();
    for resource_logs in &request.resource_logs {
        let mut out = encoder.resource_logs();
        if let Some(resource) = &resource_logs.resource {
            write_resource(out.resource(), resource);
        }
        for scope_logs in &resource_logs.scope_logs {
            let mut out = out.scope_logs();
            if let Some(scope) = &scope_logs.scope {
                write_scope(out.scope(), scope);
            }
            scope_logs
                .log_records
                .iter()
                .for_each(|record| write_record(out.record(), record));
            out.schema_url(&scope_logs.schema_url);
        }
        out.schema_url(&resource_logs.schema_url);
    }
    encoder.finish(TenantId::default_tenant())
}

fn write_record(mut out: encode::LogRecord<'_>, record: &logs::LogRecord) {
    out.time_unix_nano(record.time_unix_nano)
        .severity_number(record.severity_number)
        .severity_text(&record.severity_text)
        .dropped_attributes_count(record.dropped_attributes_count)
        .flags(record.flags)
        .trace_id(&record.trace_id)
        .span_id(&record.span_id)
        .observed_time_unix_nano(record.observed_time_unix_nano)
        .event_name(&record.event_name);
    if let Some(body) = &record.body {
        write_value(&mut out.body_with(), body);
    }
    write_attributes!(out, attribute_with, record.attributes);
}

fn encode_traces(request: &ExportTraceServiceRequest) -> Batch {
    let mut encoder = encode::TracesEncoder::with_capacity(1000);
    for resource_spans in &request.resource_spans {
        let mut out = encoder.resource_spans();
        if let Some(resource) = &resource_spans.resource {
            write_resource(out.resource(), resource);
        }
        for scope_spans in &resource_spans.scope_spans {
            let mut out = out.scope_spans();
            if let Some(scope) = &scope_spans.scope {
                write_scope(out.scope(), scope);
            }
            scope_spans
                .spans
                .iter()
                .for_each(|span| write_span(out.span(), span));
            out.schema_url(&scope_spans.schema_url);
        }
        out.schema_url(&resource_spans.schema_url);
    }
    encoder.finish(TenantId::default_tenant())
}

fn write_span(mut out: encode::Span<'_>, span: &trace::Span) {
    out.trace_id(&span.trace_id)
        .span_id(&span.span_id)
        .trace_state(&span.trace_state)
        .parent_span_id(&span.parent_span_id)
        .flags(span.flags)
        .name(&span.name)
        .kind(span.kind)
        .start_time_unix_nano(span.start_time_unix_nano)
        .end_time_unix_nano(span.end_time_unix_nano)
        .dropped_attributes_count(span.dropped_attributes_count)
        .dropped_events_count(span.dropped_events_count)
        .dropped_links_count(span.dropped_links_count);
    write_attributes!(out, attribute_with, span.attributes);
    for event in &span.events {
        let mut out = out.event();
        out.time_unix_nano(event.time_unix_nano).name(&event.name);
        write_attributes!(out, attribute_with, event.attributes);
        out.dropped_attributes_count(event.dropped_attributes_count);
    }
    for link in &span.links {
        let mut out = out.link();
        out.trace_id(&link.trace_id)
            .span_id(&link.span_id)
            .trace_state(&link.trace_state)
            .flags(link.flags);
        write_attributes!(out, attribute_with, link.attributes);
        out.dropped_attributes_count(link.dropped_attributes_count);
    }
    if let Some(status) = &span.status {
        out.status().message(&status.message).code(status.code);
    }
}

fn encode_metrics(request: &ExportMetricsServiceRequest) -> Batch {
    let mut encoder = encode::MetricsEncoder::new();
    for resource_metrics in &request.resource_metrics {
        let mut out = encoder.resource_metrics();
        if let Some(resource) = &resource_metrics.resource {
            write_resource(out.resource(), resource);
        }
        for scope_metrics in &resource_metrics.scope_metrics {
            let mut out = out.scope_metrics();
            if let Some(scope) = &scope_metrics.scope {
                write_scope(out.scope(), scope);
            }
            scope_metrics
                .metrics
                .iter()
                .for_each(|metric| write_metric(out.metric(), metric));
            out.schema_url(&scope_metrics.schema_url);
        }
        out.schema_url(&resource_metrics.schema_url);
    }
    encoder.finish(TenantId::default_tenant())
}

fn write_metric(mut out: encode::Metric<'_>, metric: &metrics::Metric) {
    use metric::Data;
    out.name(&metric.name)
        .description(&metric.description)
        .unit(&metric.unit);
    write_attributes!(out, metadata_with, metric.metadata);
    match &metric.data {
        None => {}
        Some(Data::Gauge(data)) => {
            let mut out = out.gauge();
            data.data_points
                .iter()
                .for_each(|point| write_number_point(out.point(), point));
        }
        Some(Data::Sum(data)) => {
            let mut out = out.sum();
            data.data_points
                .iter()
                .for_each(|point| write_number_point(out.point(), point));
            out.aggregation_temporality(data.aggregation_temporality)
                .is_monotonic(data.is_monotonic);
        }
        Some(Data::Histogram(data)) => {
            let mut out = out.histogram();
            data.data_points
                .iter()
                .for_each(|point| write_histogram_point(out.point(), point));
            out.aggregation_temporality(data.aggregation_temporality);
        }
        Some(Data::ExponentialHistogram(data)) => {
            let mut out = out.exponential_histogram();
            data.data_points
                .iter()
                .for_each(|point| write_exponential_point(out.point(), point));
            out.aggregation_temporality(data.aggregation_temporality);
        }
        Some(Data::Summary(data)) => {
            let mut out = out.summary();
            data.data_points
                .iter()
                .for_each(|point| write_summary_point(out.point(), point));
        }
    }
}

fn write_number_point(mut out: encode::NumberDataPoint<'_>, point: &metrics::NumberDataPoint) {
    use metrics::number_data_point::Value;
    out.start_time_unix_nano(point.start_time_unix_nano)
        .time_unix_nano(point.time_unix_nano)
        .flags(point.flags);
    match point.value {
        None => {}
        Some(Value::AsDouble(value)) => {
            out.value(value);
        }
        Some(Value::AsInt(value)) => {
            out.value(value);
        }
    }
    write_attributes!(out, attribute_with, point.attributes);
    point
        .exemplars
        .iter()
        .for_each(|exemplar| write_exemplar(out.exemplar(), exemplar));
}

fn write_exemplar(mut out: encode::Exemplar<'_>, exemplar: &metrics::Exemplar) {
    use metrics::exemplar::Value;
    out.time_unix_nano(exemplar.time_unix_nano)
        .span_id(&exemplar.span_id)
        .trace_id(&exemplar.trace_id);
    match exemplar.value {
        None => {}
        Some(Value::AsDouble(value)) => {
            out.value(value);
        }
        Some(Value::AsInt(value)) => {
            out.value(value);
        }
    }
    write_attributes!(out, filtered_attribute_with, exemplar.filtered_attributes);
}

macro_rules! write_optional {
    ($out:expr, $point:expr) => {
        $point.sum.iter().for_each(|value| {
            $out.sum(*value);
        });
        $point.min.iter().for_each(|value| {
            $out.min(*value);
        });
        $point.max.iter().for_each(|value| {
            $out.max(*value);
        });
    };
}

fn write_histogram_point(mut out: encode::HistogramDataPoint<'_>, point: &metrics::HistogramDataPoint) {
    out.start_time_unix_nano(point.start_time_unix_nano)
        .time_unix_nano(point.time_unix_nano)
        .count(point.count)
        .bucket_counts(point.bucket_counts.iter().copied())
        .explicit_bounds(point.explicit_bounds.iter().copied())
        .flags(point.flags);
    write_optional!(out, point);
    write_attributes!(out, attribute_with, point.attributes);
    point
        .exemplars
        .iter()
        .for_each(|exemplar| write_exemplar(out.exemplar(), exemplar));
}

fn write_exponential_point(
    mut out: encode::ExponentialHistogramDataPoint<'_>,
    point: &metrics::ExponentialHistogramDataPoint,
) {
    out.start_time_unix_nano(point.start_time_unix_nano)
        .time_unix_nano(point.time_unix_nano)
        .count(point.count)
        .scale(point.scale)
        .zero_count(point.zero_count)
        .zero_threshold(point.zero_threshold)
        .flags(point.flags);
    write_optional!(out, point);
    if let Some(buckets) = &point.positive {
        out.positive()
            .offset(buckets.offset)
            .bucket_counts(buckets.bucket_counts.iter().copied());
    }
    if let Some(buckets) = &point.negative {
        out.negative()
            .offset(buckets.offset)
            .bucket_counts(buckets.bucket_counts.iter().copied());
    }
    write_attributes!(out, attribute_with, point.attributes);
    point
        .exemplars
        .iter()
        .for_each(|exemplar| write_exemplar(out.exemplar(), exemplar));
}

fn write_summary_point(mut out: encode::SummaryDataPoint<'_>, point: &metrics::SummaryDataPoint) {
    out.start_time_unix_nano(point.start_time_unix_nano)
        .time_unix_nano(point.time_unix_nano)
        .count(point.count)
        .sum(point.sum)
        .flags(point.flags);
    for value in &point.quantile_values {
        out.quantile_value().quantile(value.quantile).value(value.value);
    }
    write_attributes!(out, attribute_with, point.attributes);
}

proptest! {
    #[test]
    fn everything_can_be_written(seed: u64) {
        let mut dice = Dice::new(seed);
        // Pairs without a value have no writer: nobody means them.
        dice.odd = false;
        let (logs, traces, metrics) = (dice.logs(), dice.traces(), dice.metrics());
        let written = [
            (encode_logs(&logs), logs.encode_to_vec()),
            (encode_traces(&traces), traces.encode_to_vec()),
            (encode_metrics(&metrics), metrics.encode_to_vec()),
        ];
        for (batch, expected) in written {
            prop_assert_eq!(normalised(batch.signal(), batch.payload()).unwrap(), expected);
            // What is written is canonical and counted.
            let decoded = decode(batch.signal(), batch.payload().clone()).unwrap();
            prop_assert_eq!(decoded.payload().as_ptr(), batch.payload().as_ptr());
            prop_assert_eq!(decoded.items(), batch.items());
        }
    }

    #[test]
    fn views_can_be_copied(seed: u64) {
        let original = decode(Signal::Logs, Dice::new(seed).logs().encode_to_vec()).unwrap();
        let mut encoder = encode::LogsEncoder::new();
        for resource in original.logs().resources() {
            let mut out = encoder.resource_logs();
            if resource.has_resource() {
                out.resource_raw(resource.resource().raw());
            }
            for scope in resource.scopes() {
                let mut out = out.scope_logs();
                if scope.has_scope() {
                    out.scope_raw(scope.scope().raw());
                }
                scope.records().for_each(|record| {
            out.record_raw(record.raw());
        });
                out.schema_url(scope.schema_url());
            }
            out.schema_url(resource.schema_url());
        }
        let copy = encoder.finish(TenantId::default_tenant());
        prop_assert_eq!(copy, original);
    }

    #[test]
    fn values_and_attributes_can_be_copied_into_other_fields(seed: u64) {
        let original = decode(Signal::Logs, Dice::new(seed).logs().encode_to_vec()).unwrap();
        for record in original.logs().resources().flat_map(|r| r.scopes()).flat_map(|s| s.records()) {
            let mut encoder = encode::TracesEncoder::new();
            {
                let mut resource = encoder.resource_spans();
                let mut scope = resource.scope_spans();
                let mut span = scope.span();
                span.attributes(record.attributes);
                span.attribute("body", record.body.unwrap_or_default());
                span.event().attribute("all", view::AnyValue::KeyValueList(record.attributes));
            }
            let batch = encoder.finish(TenantId::default_tenant());
            decode(Signal::Traces, batch.payload().clone()).unwrap();
            let scope = batch.traces().resources().next().unwrap().scopes().next().unwrap();
            let span = scope.spans().next().unwrap();
            prop_assert!(span.attributes.iter().take(record.attributes.len()).eq(record.attributes));
            // The record may have an attribute "body" of its own: ours is the last.
            prop_assert_eq!(span.attributes.last().unwrap().value, record.body.unwrap_or_default());
            let event = span.events.iter().next().unwrap();
            prop_assert_eq!(event.attributes.get("all"), Some(view::AnyValue::KeyValueList(record.attributes)));
        }
    }
}

#[test]
#[should_panic(expected = "singular field 5 is written twice")]
#[cfg(debug_assertions)]
fn writing_twice_is_caught() {
    let mut encoder = encode::TracesEncoder::new();
    encoder.resource_spans().scope_spans().span().name("a").name("b");
}

#[test]
fn long_messages_get_long_lengths() {
    for length in [0, 1, 100, 127, 128, 129, 16_383, 16_384, 100_000] {
        let text = "x".repeat(length);
        let mut encoder = encode::LogsEncoder::new();
        encoder
            .resource_logs()
            .scope_logs()
            .record()
            .body(&text)
            .attribute("k", &text);
        let batch = encoder.finish(TenantId::default_tenant());
        let request = ExportLogsServiceRequest::decode(batch.payload().as_ref()).unwrap();
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        let expected = common::AnyValue {
            value: Some(any_value::Value::StringValue(text)),
        };
        assert_eq!(record.body, Some(expected.clone()));
        assert_eq!(record.attributes[0].value, Some(expected));
        assert_eq!(request.encode_to_vec(), *batch.payload());
    }
}
