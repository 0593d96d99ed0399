//! Every documented path of every context can be read, and written if it is to be.

use cupola_pipeline::ottl::Context;
use cupola_telemetry::view::MetricData;
use cupola_telemetry::{Batch, TenantId, encode};

use super::{changed, evaluate, log_batch, show};

fn span_batch() -> Batch {
    let mut traces = encode::TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_spans();
        scope.scope().name("lib");
        let mut span = scope.span();
        span.trace_id(&[1; 16])
            .span_id(&[2; 8])
            .parent_span_id(&[3; 8])
            .trace_state("a=1,b=2")
            .name("GET /");
        span.kind(2)
            .start_time_unix_nano(1_000)
            .end_time_unix_nano(3_000)
            .attribute("http.method", "GET");
        span.event().time_unix_nano(5).name("first").attribute("n", 1i64);
        span.event().time_unix_nano(6).name("second");
        span.link().trace_id(&[9; 16]);
        span.status().code(1).message("fine");
        span.dropped_events_count(7);
    }
    traces.finish(TenantId::default_tenant())
}

fn metric_batch() -> Batch {
    let mut metrics = encode::MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_metrics();
        scope.scope().name("lib");
        {
            let mut metric = scope.metric();
            metric.name("requests").description("how many").unit("1");
            let mut sum = metric.sum();
            sum.aggregation_temporality(2).is_monotonic(true);
            sum.point().time_unix_nano(7).value(5i64).attribute("route", "/a");
            sum.point().time_unix_nano(8).value(1.5).attribute("route", "/b");
        }
        {
            let mut metric = scope.metric();
            metric.name("latency");
            let mut histogram = metric.histogram();
            histogram.aggregation_temporality(1);
            let mut point = histogram.point();
            point
                .count(3)
                .sum(6.5)
                .bucket_counts([1, 2])
                .explicit_bounds([0.5])
                .min(0.1)
                .max(5.0);
        }
        {
            let mut metric = scope.metric();
            metric.name("sizes");
            let mut histogram = metric.exponential_histogram();
            let mut point = histogram.point();
            point.count(4).scale(-2).zero_count(1);
            point.positive().offset(-3).bucket_counts([1, 300]);
        }
        {
            let mut metric = scope.metric();
            metric.name("quantiles");
            let mut summary = metric.summary();
            let mut point = summary.point();
            point.count(2).sum(3.0);
            point.quantile_value().quantile(0.5).value(1.0);
        }
    }
    metrics.finish(TenantId::default_tenant())
}

#[test]
fn logs_are_read() {
    for (path, expected) in [
        ("time_unix_nano", "1000000001"),
        ("UnixNano(log.time)", "1000000001"),
        ("observed_time_unix_nano", "2"),
        ("severity_number", "9"),
        ("log.severity_text", "\"INFO\""),
        ("body", "\"hello world\""),
        ("log.body.string", "\"hello world\""),
        ("dropped_attributes_count", "4"),
        ("flags", "1"),
        ("event_name", "\"event\""),
        ("trace_id", "0xabababababababababababababababab"),
        ("trace_id.string", "\"abababababababababababababababab\""),
        ("span_id.string", "\"cdcdcdcdcdcdcdcd\""),
        ("attributes[\"nested\"][\"deep\"][\"y\"]", "\"z\""),
        ("attributes[\"tags\"][0]", "\"a\""),
        ("resource.attributes[\"host.name\"]", "\"a-1\""),
        ("resource.schema_url", "\"https://example.org/resource\""),
        ("instrumentation_scope.name", "\"lib\""),
        ("scope.version", "\"1.2\""),
        (
            "instrumentation_scope.attributes[\"scope.key\"]",
            "\"scope value\"",
        ),
        ("scope.dropped_attributes_count", "0"),
        ("scope.schema_url", "\"\""),
    ] {
        assert_eq!(evaluate(path).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn logs_are_written() {
    let batch = changed(
        &log_batch(),
        Context::Log,
        &[
            "set(log.time_unix_nano, 5)",
            "set(observed_time, Unix(1))",
            "set(severity_number, SEVERITY_NUMBER_ERROR)",
            "set(severity_text, \"ERROR\")",
            "set(body, {\"msg\": body})",
            "set(body[\"code\"], 7)",
            "set(dropped_attributes_count, 0)",
            "set(flags, 3)",
            "set(trace_id.string, \"000102030405060708090a0b0c0d0e0f\")",
            "set(span_id, SpanID(0x0000000000000000))",
            "set(event_name, \"\")",
            "set(resource.attributes[\"service.name\"], \"shop\")",
            "set(resource.schema_url, \"\")",
            "set(scope.name, \"other\")",
            "set(instrumentation_scope.attributes[\"new\"], 1)",
            "set(scope.schema_url, \"s\")",
        ],
    );
    let resource = batch.logs().resources().next().unwrap();
    assert_eq!(
        resource
            .resource()
            .attributes
            .get("service.name")
            .map(show)
            .as_deref(),
        Some("\"shop\"")
    );
    assert_eq!(resource.schema_url(), "");
    let scope = resource.scopes().next().unwrap();
    assert_eq!(
        (scope.scope().name, scope.scope().version, scope.schema_url()),
        ("other", "1.2", "s")
    );
    assert_eq!(
        scope.scope().attributes.get("new").map(show).as_deref(),
        Some("1")
    );
    let record = scope.records().next().unwrap();
    assert_eq!(
        (record.time_unix_nano, record.observed_time_unix_nano),
        (5, 1_000_000_000)
    );
    assert_eq!((record.severity_number, record.severity_text), (17, "ERROR"));
    assert_eq!(
        record.body.map(show).as_deref(),
        Some("{msg: \"hello world\", code: 7}")
    );
    assert_eq!(
        (record.dropped_attributes_count, record.flags, record.event_name),
        (0, 3, "")
    );
    assert_eq!((record.trace_id[15], record.span_id), (15, &[][..]));
}

/// What a path comes to for the span, shown by an attribute of it.
#[track_caller]
fn of_span(path: &str) -> String {
    let statement = format!("set(attributes[\"out\"], {path})");
    let batch = changed(&span_batch(), Context::Span, &[&statement]);
    let scope = batch
        .traces()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap();
    scope
        .spans()
        .next()
        .unwrap()
        .attributes
        .get("out")
        .map_or("nil".to_owned(), show)
}

#[test]
fn spans_are_read() {
    for (path, expected) in [
        ("span.name", "\"GET /\""),
        ("kind", "2"),
        ("kind.string", "\"Server\""),
        ("parent_span_id.string", "\"0303030303030303\""),
        ("trace_state", "\"a=1,b=2\""),
        ("trace_state[\"b\"]", "\"2\""),
        ("trace_state[\"c\"]", "\"\""),
        ("end_time_unix_nano - start_time_unix_nano", "2000"),
        ("Microseconds(end_time - start_time)", "2"),
        ("status.code", "1"),
        ("span.status.message", "\"fine\""),
        ("Len(events)", "2"),
        ("Len(links)", "1"),
        ("dropped_events_count", "7"),
        ("dropped_links_count", "0"),
        ("IsRootSpan()", "false"),
        ("flags", "0"),
    ] {
        assert_eq!(of_span(path), expected, "{path}");
    }
}

#[test]
fn spans_are_written() {
    let batch = changed(
        &span_batch(),
        Context::Span,
        &[
            "set(name, Concat([attributes[\"http.method\"], \"/x\"], \" \"))",
            "set(kind.string, \"Client\")",
            "set(status.code, STATUS_CODE_ERROR)",
            "set(status.message, \"\")",
            "set(trace_state[\"b\"], \"3\")",
            "set(parent_span_id, SpanID(0x0000000000000000))",
            "set(start_time, Unix(0, 999))",
            "set(attributes[\"root\"], true) where IsRootSpan()",
        ],
    );
    let scope = batch
        .traces()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap();
    let span = scope.spans().next().unwrap();
    assert_eq!(
        (span.name, span.kind, span.start_time_unix_nano),
        ("GET /x", 3, 999)
    );
    assert_eq!(
        span.status.map(|status| (status.code, status.message)),
        Some((2, ""))
    );
    assert_eq!((span.trace_state, span.parent_span_id), ("b=3,a=1", &[][..]));
    assert!(span.attributes.get("root").is_some());
    assert_eq!(span.events.len(), 2);
}

#[test]
fn events_see_their_span() {
    let batch = changed(
        &span_batch(),
        Context::SpanEvent,
        &[
            "set(spanevent.attributes[\"span\"], span.name)",
            "set(attributes[\"service\"], resource.attributes[\"service.name\"])",
            "set(attributes[\"index\"], event_index)",
            "set(name, \"2nd\") where time_unix_nano == 6",
            "set(span.attributes[\"events\"], event_index + 1)",
        ],
    );
    let scope = batch
        .traces()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap();
    let span = scope.spans().next().unwrap();
    assert_eq!(span.attributes.get("events").map(show).as_deref(), Some("2"));
    let events: Vec<String> = span
        .events
        .map(|event| {
            let [span, service, index] =
                ["span", "service", "index"].map(|key| event.attributes.get(key).map(show).unwrap());
            format!("{} {span} {service} {index}", event.name)
        })
        .collect();
    assert_eq!(events, ["first \"GET /\" \"cart\" 0", "2nd \"GET /\" \"cart\" 1"]);
}

#[test]
fn metrics_are_read_and_written() {
    let batch = changed(
        &metric_batch(),
        Context::Metric,
        &[
            "set(description, Concat([type, aggregation_temporality, is_monotonic, Len(data_points)], \" \"))",
            "set(metric.unit, \"s\") where name == \"latency\"",
            "set(aggregation_temporality, AGGREGATION_TEMPORALITY_CUMULATIVE) where type == METRIC_DATA_TYPE_HISTOGRAM",
            "set(is_monotonic, false)",
            "set(name, \"seen\") where HasAttrOnDatapoint(\"route\", \"/b\")",
            "set(resource.attributes[\"k\"], 1) where HasAttrKeyOnDatapoint(\"route\")",
            "set(metric.metadata[\"m\"], 1) where name == \"sizes\"",
        ],
    );
    let resource = batch.metrics().resources().next().unwrap();
    assert!(resource.resource().attributes.get("k").is_some());
    let scope = resource.scopes().next().unwrap();
    let found: Vec<String> = scope
        .metrics()
        .map(|metric| {
            format!(
                "{}|{}|{}|{}",
                metric.name,
                metric.description,
                metric.unit,
                metric.metadata.len()
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "seen|2 2 true 2|1|0",
            "latency|3 1 <nil> 1|s|0",
            "sizes|4 0 <nil> 1||1",
            "quantiles|5 <nil> <nil> 1||0"
        ]
    );
    for metric in scope.metrics() {
        match metric.data() {
            Some(MetricData::Sum {
                temporality,
                monotonic,
                ..
            }) => assert_eq!((temporality, monotonic), (2, false)),
            Some(MetricData::Histogram { temporality, .. }) => assert_eq!(temporality, 2),
            _ => {}
        }
    }
    assert_eq!(batch.items(), 5);
}

#[test]
fn points_are_seen_as_editors_left_them() {
    let mut metrics = encode::MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        let mut scope = resource.scope_metrics();
        {
            let mut metric = scope.metric();
            metric.name("gauge");
            let mut gauge = metric.gauge();
            gauge.point().value(1i64).attribute("route", "/a");
            gauge.point().value(2i64).attribute("route", "/b");
        }
        let mut metric = scope.metric();
        metric.name("sizes");
        let mut histogram = metric.exponential_histogram();
        histogram.point().count(0).attribute("route", "/a");
    }
    let batch = changed(
        &metrics.finish(TenantId::default_tenant()),
        Context::Metric,
        &[
            "aggregate_on_attributes(\"sum\", []) where name == \"gauge\"",
            "convert_exponential_histogram_to_histogram(\"upper\", [1.0, 4.0])",
            "set(unit, String(Len(data_points)))",
            "set(description, \"a\") where HasAttrOnDatapoint(\"route\", \"/a\")",
        ],
    );
    let resource = batch.metrics().resources().next().unwrap();
    let scope = resource.scopes().next().unwrap();
    let found: Vec<String> = scope
        .metrics()
        .map(|metric| format!("{}|{}|{}", metric.name, metric.unit, metric.description))
        .collect();
    assert_eq!(found, ["gauge|1|", "sizes|1|a"]);
}

/// An expression for each data point, shown by an attribute of it.
#[track_caller]
fn of_points(expression: &str) -> String {
    let statement = format!("set(datapoint.attributes[\"out\"], {expression})");
    let batch = changed(&metric_batch(), Context::DataPoint, &[&statement]);
    let scope = batch
        .metrics()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap();
    let mut all = Vec::new();
    for metric in scope.metrics() {
        let mut add = |attributes: cupola_telemetry::view::Attributes<'_>| {
            all.push(attributes.get("out").map_or("nil".to_owned(), show));
        };
        match metric.data() {
            Some(MetricData::Sum { points, .. }) => points.for_each(|point| add(point.attributes)),
            Some(MetricData::Histogram { points, .. }) => points.for_each(|point| add(point.attributes)),
            Some(MetricData::ExponentialHistogram { points, .. }) => {
                points.for_each(|point| add(point.attributes))
            }
            Some(MetricData::Summary(points)) => points.for_each(|point| add(point.attributes)),
            _ => {}
        }
    }
    all.join(" ")
}

#[test]
fn data_points_are_read() {
    for (expression, expected) in [
        (
            "metric.name",
            "\"requests\" \"requests\" \"latency\" \"sizes\" \"quantiles\"",
        ),
        ("datapoint.value_int", "5 0 nil nil nil"),
        ("value_double", "0.0 1.5 nil nil nil"),
        ("time_unix_nano", "7 8 0 0 0"),
        ("count", "nil nil 3 4 2"),
        ("sum", "nil nil 6.5 0.0 3.0"),
        ("min", "nil nil 0.1 0.0 nil"),
        ("max", "nil nil 5.0 0.0 nil"),
        ("bucket_counts", "nil nil [1, 2] nil nil"),
        ("explicit_bounds", "nil nil [0.5] nil nil"),
        ("scale", "nil nil nil -2 nil"),
        ("zero_count", "nil nil nil 1 nil"),
        ("positive.offset", "nil nil nil -3 nil"),
        ("positive.bucket_counts", "nil nil nil [1, 300] nil"),
        ("negative.bucket_counts", "nil nil nil [] nil"),
        ("quantile_values", "nil nil nil nil [{quantile: 0.5, value: 1.0}]"),
        ("flags", "0 0 0 0 0"),
        ("metric.type", "2 2 3 4 5"),
    ] {
        assert_eq!(of_points(expression), expected, "{expression}");
    }
}

#[test]
fn data_points_are_written() {
    let batch = changed(
        &metric_batch(),
        Context::DataPoint,
        &[
            "set(value_double, 2.5) where attributes[\"route\"] == \"/a\"",
            "set(value_int, 0) where attributes[\"route\"] == \"/b\"",
            "set(start_time_unix_nano, 1)",
            "set(count, 9)",
            "set(sum, 0.0)",
            "set(bucket_counts, [4, 5])",
            "set(explicit_bounds, [0.25])",
            "set(positive.offset, 2)",
            "set(negative.bucket_counts, [1])",
            "set(scale, 0)",
            "set(metric.unit, \"ms\")",
        ],
    );
    let scope = batch
        .metrics()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap();
    assert!(scope.metrics().all(|metric| metric.unit == "ms"));
    for metric in scope.metrics() {
        match metric.data() {
            Some(MetricData::Sum { points, .. }) => {
                let values: Vec<String> = points.map(|point| format!("{:?}", point.value)).collect();
                assert_eq!(values, ["Some(Double(2.5))", "Some(Int(0))"]);
            }
            Some(MetricData::Histogram { points, .. }) => {
                let point = points.iter().next().unwrap();
                assert_eq!(
                    (point.count, point.sum, point.start_time_unix_nano),
                    (9, Some(0.0), 1)
                );
                assert_eq!(point.bucket_counts.collect::<Vec<_>>(), [4, 5]);
                assert_eq!(point.explicit_bounds.collect::<Vec<_>>(), [0.25]);
            }
            Some(MetricData::ExponentialHistogram { points, .. }) => {
                let point = points.iter().next().unwrap();
                assert_eq!(
                    (point.scale, point.positive.map(|buckets| buckets.offset)),
                    (0, Some(2))
                );
                assert_eq!(point.negative.unwrap().bucket_counts.collect::<Vec<_>>(), [1]);
            }
            Some(MetricData::Summary(points)) => {
                let point = points.iter().next().unwrap();
                assert_eq!((point.count, point.sum), (9, 0.0));
            }
            _ => {}
        }
    }
}

#[test]
fn metrics_change_their_kind() {
    let statements = [
        "convert_sum_to_gauge() where metric.name == \"requests\"",
        "convert_sum_to_gauge() where metric.name == \"latency\"",
    ];
    let gauge = changed(&metric_batch(), Context::Metric, &statements);
    let first = |batch: &Batch| -> String {
        let scope = batch
            .metrics()
            .resources()
            .next()
            .unwrap()
            .scopes()
            .next()
            .unwrap();
        match scope.metrics().next().unwrap().data() {
            Some(MetricData::Gauge(points)) => format!("gauge of {}", points.len()),
            Some(MetricData::Sum {
                points,
                temporality,
                monotonic,
            }) => format!("sum of {}, {}, {}", points.len(), temporality, monotonic),
            _ => "other".to_owned(),
        }
    };
    assert_eq!((first(&gauge).as_str(), gauge.items()), ("gauge of 2", 5));
    let sum = changed(
        &gauge,
        Context::Metric,
        &["convert_gauge_to_sum(\"delta\", true)"],
    );
    assert_eq!((first(&sum).as_str(), sum.items()), ("sum of 2, 1, true", 5));
}

#[test]
fn resources_and_scopes_are_their_own_contexts() {
    for batch in [log_batch(), span_batch(), metric_batch()] {
        let batch = changed(
            &batch,
            Context::Resource,
            &["set(attributes[\"new\"], 1)", "set(resource.schema_url, \"u\")"],
        );
        let batch = changed(
            &batch,
            Context::Scope,
            &[
                "set(name, \"n\")",
                "set(attributes[\"from\"], resource.attributes[\"new\"])",
            ],
        );
        let json = batch.to_json();
        assert!(
            json.contains(r#"{"key":"new","value":{"intValue":"1"}}"#),
            "{json}"
        );
        assert!(
            json.contains(r#"{"key":"from","value":{"intValue":"1"}}"#),
            "{json}"
        );
        assert!(
            json.contains(r#""schemaUrl":"u""#) && json.contains(r#""name":"n""#),
            "{json}"
        );
    }
}
