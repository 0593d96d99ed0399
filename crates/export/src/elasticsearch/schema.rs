//! The other modes: `ecs`, `none` and `raw`, all flat. <https://www.elastic.co/guide/en/ecs/current/index.html>

use cupola_telemetry::time::to_rfc3339;
use cupola_telemetry::view::{AnyValue, Exemplar, LogRecord, Metric, NumberValue, Span};

use super::config::MappingMode;
use super::document::{Above, kind_name, status_name};
use super::flat::Flat;
use super::index::{ROUTING, Target};
use super::json;
use crate::items::{Kind, Point};
use crate::object::{array, doubles, hex, numbers};

const NANOS_PER_MICRO: u64 = 1_000;

/// The counterparts of the semantic conventions; what is not here keeps its name, which is often the same.
const ECS: &[(&str, &str)] = &[
    ("deployment.environment", "service.environment"),
    ("deployment.environment.name", "service.environment"),
    ("service.instance.id", "service.node.name"),
    ("process.runtime.name", "service.runtime.name"),
    ("process.runtime.version", "service.runtime.version"),
    ("process.executable.path", "process.executable"),
    ("telemetry.sdk.name", "agent.name"),
    ("telemetry.sdk.version", "agent.version"),
    ("telemetry.sdk.language", "service.language.name"),
    ("cloud.platform", "cloud.service.name"),
    ("container.image.tags", "container.image.tag"),
    ("host.name", "host.hostname"),
    ("host.arch", "host.architecture"),
    ("os.type", "host.os.platform"),
    ("os.name", "host.os.name"),
    ("os.version", "host.os.version"),
    ("os.description", "host.os.full"),
    ("k8s.namespace.name", "kubernetes.namespace"),
    ("k8s.node.name", "kubernetes.node.name"),
    ("k8s.pod.name", "kubernetes.pod.name"),
    ("k8s.pod.uid", "kubernetes.pod.uid"),
    ("k8s.container.name", "kubernetes.container.name"),
    ("k8s.deployment.name", "kubernetes.deployment.name"),
    ("k8s.cluster.name", "orchestrator.cluster.name"),
    ("exception.type", "error.type"),
    ("exception.message", "error.message"),
    ("exception.stacktrace", "error.stack_trace"),
    ("http.request.method", "http.request.method"),
    ("enduser.id", "user.id"),
];

fn ecs(key: &str) -> Option<&'static str> {
    ECS.iter()
        .find(|(convention, _)| *convention == key)
        .map(|(_, field)| *field)
}

fn start(time: u64, target: &Target) -> Flat {
    let mut flat = Flat::default();
    flat.text("@timestamp", &to_rfc3339(time));
    if let Some((kind, dataset, namespace)) = &target.stream {
        for (key, value) in [("type", *kind), ("dataset", dataset), ("namespace", namespace)] {
            flat.text(format!("data_stream.{key}"), value);
        }
    }
    flat
}

/// What an item stands under, and its own attributes.
fn attributes(
    flat: &mut Flat,
    mode: MappingMode,
    own: cupola_telemetry::view::Attributes<'_>,
    above: &Above<'_>,
) {
    let is_ecs = mode == MappingMode::Ecs;
    let rename: fn(&str) -> Option<&'static str> = if is_ecs { ecs } else { |_| None };
    let (resource, scope, item) = match mode {
        MappingMode::Ecs => ("", "", ""),
        MappingMode::Raw => ("Resource", "Scope", ""),
        _ => ("Resource", "Scope", "Attributes"),
    };
    // The innermost counts most.
    flat.attributes(resource, above.resource.attributes, rename);
    flat.attributes(scope, above.scope.attributes, rename);
    flat.attributes(item, own, rename);
    for key in ROUTING
        .iter()
        .filter(|key| !is_ecs || !key.starts_with("data_stream."))
    {
        flat.json(*key, "null");
    }
    let (name, version) = match is_ecs {
        true => ("otel.scope.name", "otel.scope.version"),
        false => ("Scope.name", "Scope.version"),
    };
    flat.text(name, above.scope.name);
    flat.text(version, above.scope.version);
    if !is_ecs {
        flat.text("Resource.schema_url", above.resource_url);
        flat.text("Scope.schema_url", above.scope_url);
    }
}

pub(super) fn log(
    mode: MappingMode,
    record: &LogRecord<'_>,
    time: u64,
    target: &Target,
    above: &Above<'_>,
) -> String {
    let mut flat = Flat::default();
    attributes(&mut flat, mode, record.attributes, above);
    let body = record.body.unwrap_or_default();
    let names = match mode {
        MappingMode::Ecs => [
            "trace.id",
            "span.id",
            "log.level",
            "event.severity",
            "message",
            "event.action",
        ],
        _ => [
            "TraceId",
            "SpanId",
            "SeverityText",
            "SeverityNumber",
            "Body",
            "EventName",
        ],
    };
    flat.text(names[0], &hex(record.trace_id));
    flat.text(names[1], &hex(record.span_id));
    flat.text(names[2], record.severity_text);
    if record.severity_number != 0 {
        flat.json(names[3], record.severity_number.to_string());
    }
    match body {
        // A message is text, whatever was sent.
        AnyValue::Empty => {}
        AnyValue::String(text) => flat.text(names[4], text),
        body if mode == MappingMode::Ecs => flat.text(names[4], json::text(body).trim_matches('"')),
        AnyValue::KeyValueList(map) => flat.attributes(names[4], map, |_| None),
        body => flat.value(names[4], body),
    }
    flat.text(names[5], record.event_name);
    if mode != MappingMode::Ecs {
        flat.json("TraceFlags", record.flags.to_string());
        if record.observed_time_unix_nano != 0 {
            flat.text("ObservedTimestamp", &to_rfc3339(record.observed_time_unix_nano));
        }
    }
    flat.extend(start(time, target));
    flat.finish()
}

pub(super) fn span(
    mode: MappingMode,
    span: &Span<'_>,
    time: u64,
    target: &Target,
    above: &Above<'_>,
) -> String {
    let mut flat = Flat::default();
    attributes(&mut flat, mode, span.attributes, above);
    let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let (message, code) = span
        .status
        .map_or(("", 0), |status| (status.message, status.code));
    if mode == MappingMode::Ecs {
        flat.text("trace.id", &hex(span.trace_id));
        flat.text("span.id", &hex(span.span_id));
        flat.text("parent.id", &hex(span.parent_span_id));
        flat.text("span.name", span.name);
        flat.text("span.kind", &kind_name(span.kind).to_uppercase());
        flat.json("span.duration.us", (duration / NANOS_PER_MICRO).to_string());
        flat.json("timestamp.us", (time / NANOS_PER_MICRO).to_string());
        let outcome = ["unknown", "success", "failure"];
        let outcome = usize::try_from(code).ok().and_then(|code| outcome.get(code));
        flat.text("event.outcome", outcome.unwrap_or(&"unknown"));
        flat.text("error.message", message);
    } else {
        flat.text("TraceId", &hex(span.trace_id));
        flat.text("SpanId", &hex(span.span_id));
        flat.text("ParentSpanId", &hex(span.parent_span_id));
        flat.text("TraceState", span.trace_state);
        flat.text("Name", span.name);
        flat.text("Kind", &kind_name(span.kind));
        flat.text("TraceStatus.code", &status_name(code));
        flat.text("TraceStatus.message", message);
        flat.text("EndTimestamp", &to_rfc3339(span.end_time_unix_nano));
        flat.json("Duration", duration.min(i64::MAX as u64).to_string());
        let links = array(span.links, |text, link| {
            let mut flat = Flat::default();
            flat.text("trace_id", &hex(link.trace_id));
            flat.text("span_id", &hex(link.span_id));
            flat.attributes("attributes", link.attributes, |_| None);
            text.push_str(&flat.finish());
        });
        flat.json("Links", links);
    }
    let events = array(span.events, |text, event| {
        let mut flat = Flat::default();
        flat.text("time", &to_rfc3339(event.time_unix_nano));
        flat.text("name", event.name);
        flat.attributes("attributes", event.attributes, |_| None);
        text.push_str(&flat.finish());
    });
    if events != "[]" {
        flat.json(
            if mode == MappingMode::Ecs {
                "span.events"
            } else {
                "Events"
            },
            events,
        );
    }
    flat.extend(start(time, target));
    flat.finish()
}

/// A data point with everything it has: these modes say nothing about metrics that others would have to understand.
pub(super) fn point(
    metric: &Metric<'_>,
    kind: Kind,
    point: &Point<'_>,
    time: u64,
    target: &Target,
    above: &Above<'_>,
) -> String {
    let mut flat = Flat::default();
    attributes(&mut flat, MappingMode::None, point.attributes(), above);
    flat.text("metric.name", metric.name);
    flat.text("metric.unit", metric.unit);
    flat.text("metric.type", kind.name);
    if let Some(temporality) = kind.temporality {
        flat.json("metric.temporality", temporality.to_string());
    }
    if let Some(monotonic) = kind.monotonic {
        flat.json("metric.monotonic", monotonic.to_string());
    }
    if point.start_time_unix_nano() != 0 {
        flat.text("StartTimestamp", &to_rfc3339(point.start_time_unix_nano()));
    }
    if point.flags() != 0 {
        flat.json("Flags", point.flags().to_string());
    }
    if let Some(exemplars) = point.exemplars().filter(|exemplars| !exemplars.is_empty()) {
        flat.json("metric.exemplars", array(exemplars, exemplar));
    }
    let optional = |flat: &mut Flat, key: &str, value: Option<f64>| {
        flat.value(key, value.map_or(AnyValue::Empty, AnyValue::Double));
    };
    match point {
        Point::Number(point) => match point.value {
            Some(NumberValue::Int(value)) => flat.json("metric.value", value.to_string()),
            Some(NumberValue::Double(value)) => flat.value("metric.value", AnyValue::Double(value)),
            None => {}
        },
        Point::Histogram(point) => {
            flat.json("metric.count", point.count.to_string());
            optional(&mut flat, "metric.sum", point.sum);
            optional(&mut flat, "metric.min", point.min);
            optional(&mut flat, "metric.max", point.max);
            flat.json("metric.explicit_bounds", doubles(point.explicit_bounds.iter()));
            flat.json("metric.bucket_counts", numbers(point.bucket_counts.iter()));
        }
        Point::Exponential(point) => {
            flat.json("metric.count", point.count.to_string());
            optional(&mut flat, "metric.sum", point.sum);
            optional(&mut flat, "metric.min", point.min);
            optional(&mut flat, "metric.max", point.max);
            flat.json("metric.scale", point.scale.to_string());
            flat.json("metric.zero_count", point.zero_count.to_string());
            for (key, buckets) in [("positive", point.positive), ("negative", point.negative)] {
                if let Some(buckets) = buckets {
                    flat.json(format!("metric.{key}.offset"), buckets.offset.to_string());
                    flat.json(
                        format!("metric.{key}.counts"),
                        numbers(buckets.bucket_counts.iter()),
                    );
                }
            }
        }
        Point::Summary(point) => {
            flat.json("metric.count", point.count.to_string());
            flat.value("metric.sum", AnyValue::Double(point.sum));
            flat.json(
                "metric.quantiles",
                doubles(point.quantile_values.map(|value| value.quantile)),
            );
            flat.json(
                "metric.quantile_values",
                doubles(point.quantile_values.map(|value| value.value)),
            );
        }
    }
    flat.extend(start(time, target));
    flat.finish()
}

fn exemplar(text: &mut String, exemplar: Exemplar<'_>) {
    let mut flat = Flat::default();
    flat.text("time", &to_rfc3339(exemplar.time_unix_nano));
    match exemplar.value {
        Some(NumberValue::Int(value)) => flat.json("value", value.to_string()),
        Some(NumberValue::Double(value)) => flat.value("value", AnyValue::Double(value)),
        None => {}
    }
    flat.text("trace_id", &hex(exemplar.trace_id));
    flat.text("span_id", &hex(exemplar.span_id));
    flat.attributes("attributes", exemplar.filtered_attributes, |_| None);
    text.push_str(&flat.finish());
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::encode::LogsEncoder;
    use cupola_telemetry::{Batch, TenantId};
    use serde_json::{Value, json};

    use super::*;

    fn batch() -> Batch {
        let mut logs = LogsEncoder::new();
        {
            let mut resource = logs.resource_logs();
            resource
                .resource()
                .attribute("service.name", "cart")
                .attribute("k8s.pod.name", "cart-1");
            let mut scope = resource.scope_logs();
            scope.scope().name("lib");
            let mut record = scope.record();
            record
                .body("hello")
                .severity_text("WARN")
                .severity_number(13)
                .trace_id(&[1; 16])
                .attribute("http", "a")
                .attribute("http.method", "GET")
                .attribute("exception.type", "E")
                .attribute("data_stream.dataset", "shop");
        }
        logs.finish(TenantId::default_tenant())
    }

    fn document(mode: MappingMode) -> Value {
        let batch = batch();
        let resource = batch.logs().resources().next().unwrap();
        let scope = resource.scopes().next().unwrap();
        let above = Above {
            resource: resource.resource(),
            resource_url: "",
            scope: scope.scope(),
            scope_url: "",
        };
        let target = Target {
            index: String::new(),
            stream: Some(("logs", "shop".to_owned(), "default".to_owned())),
        };
        let record = scope.records().next().unwrap();
        serde_json::from_str(&log(mode, &record, 1_000_000_000, &target, &above)).unwrap()
    }

    #[test]
    fn the_common_schema_has_its_own_names() {
        assert_eq!(
            document(MappingMode::Ecs),
            json!({
                "@timestamp": "1970-01-01T00:00:01Z", "message": "hello", "log.level": "WARN", "event.severity": 13,
                "trace.id": "01".repeat(16), "service.name": "cart", "kubernetes.pod.name": "cart-1",
                "otel.scope.name": "lib", "http.value": "a", "http.method": "GET", "error.type": "E",
                "data_stream.type": "logs", "data_stream.dataset": "shop", "data_stream.namespace": "default",
            })
        );
    }

    #[test]
    fn without_a_mapping_names_are_those_of_otlp() {
        let none = document(MappingMode::None);
        assert_eq!(none["Attributes.http.method"], "GET");
        assert_eq!(none["Resource.k8s.pod.name"], "cart-1");
        assert_eq!(
            (&none["Body"], &none["SeverityNumber"]),
            (&json!("hello"), &json!(13))
        );
        assert_eq!(document(MappingMode::Raw)["http.method"], "GET");
    }
}
