//! The filter processor: what matches goes, and so does what is left empty by that.

use cupola_pipeline::processors::filter::{Filter, FilterConfig};
use cupola_telemetry::{Batch, TenantId, encode};
use serde_json::json;

use crate::ottl::{Still, log_batch};

fn filter(json: serde_json::Value) -> Filter {
    let config: FilterConfig = serde_json::from_value(json).unwrap();
    config.validate().unwrap();
    Filter::new(&config).unwrap()
}

fn filtered(filter: &Filter, batch: Batch) -> Option<Batch> {
    let batch = filter.process(batch, &Still).unwrap().batch?;
    let again = Batch::decode_protobuf(
        batch.signal(),
        TenantId::default_tenant(),
        batch.payload().clone(),
    )
    .unwrap();
    assert_eq!(again, batch);
    Some(batch)
}

fn traces() -> Batch {
    let mut traces = encode::TracesEncoder::new();
    for service in ["a", "b"] {
        let mut resource = traces.resource_spans();
        resource.resource().attribute("service.name", service);
        let mut scope = resource.scope_spans();
        for name in ["GET", "POST"] {
            let mut span = scope.span();
            span.name(name).attribute("service", service);
            span.event().name("keep");
            span.event().name("grpc.message");
        }
    }
    traces.finish(TenantId::default_tenant())
}

fn metrics() -> Batch {
    let mut metrics = encode::MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        let mut scope = resource.scope_metrics();
        for name in ["one", "two"] {
            let mut metric = scope.metric();
            metric.name(name);
            let mut gauge = metric.gauge();
            gauge.point().value(1i64).attribute("host", "a");
            gauge.point().value(2i64).attribute("host", name);
        }
    }
    metrics.finish(TenantId::default_tenant())
}

fn summary(batch: &Batch) -> Vec<String> {
    let resources = batch.traces().resources();
    let spans = resources
        .flat_map(|resource| resource.scopes())
        .flat_map(|scope| scope.spans());
    spans
        .map(|span| {
            format!(
                "{}:{}",
                span.name,
                span.events.map(|event| event.name).collect::<Vec<_>>().join("+")
            )
        })
        .collect()
}

#[test]
fn spans_and_their_events_are_dropped() {
    let both = filter(json!({
        "error_mode": "ignore",
        "traces": {
            "span": ["name == \"POST\"", "resource.attributes[\"service.name\"] == \"b\""],
            "spanevent": ["IsMatch(name, \".*grpc.*\")"],
        },
    }));
    assert_eq!(summary(&filtered(&both, traces()).unwrap()), ["GET:keep"]);
    // A span stays without its events.
    let events = filter(json!({ "traces": { "spanevent": ["true"] } }));
    let left = filtered(&events, traces()).unwrap();
    assert_eq!(
        (summary(&left).join(" ").as_str(), left.items()),
        ("GET: POST: GET: POST:", 4)
    );
    let all = filter(json!({ "traces": { "span": ["name == \"GET\"", "name == \"POST\""] } }));
    assert_eq!(filtered(&all, traces()), None);
    let resources = filter(json!({ "traces": { "resource": ["attributes[\"service.name\"] == \"a\""] } }));
    assert_eq!(filtered(&resources, traces()).unwrap().items(), 2);
}

#[test]
fn the_newer_form_finds_its_contexts() {
    let newer = filter(json!({
        "trace_conditions": [
            "span.name == \"POST\"",
            "spanevent.name == \"keep\"",
            { "context": "span", "conditions": ["attributes[\"service\"] == \"b\""] },
            { "error_mode": "ignore", "conditions": ["Len(span.kind) == 1"] },
        ],
        "log_conditions": ["log.severity_number < SEVERITY_NUMBER_WARN"],
        "metric_conditions": ["datapoint.attributes[\"host\"] == \"a\" and metric.name == \"one\""],
    }));
    let outcome = newer.process(traces(), &Still).unwrap();
    assert_eq!(summary(&outcome.batch.unwrap()), ["GET:grpc.message"]);
    assert!(outcome.errors > 0);
    assert_eq!(filtered(&newer, log_batch()), None);
    assert_eq!(filtered(&newer, metrics()).unwrap().items(), 3);
}

#[test]
fn metrics_go_with_their_last_point() {
    let points = filter(
        json!({ "metrics": { "datapoint": ["attributes[\"host\"] == \"a\"", "attributes[\"host\"] == \"two\""] } }),
    );
    let left = filtered(&points, metrics()).unwrap();
    let scope = left
        .metrics()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap();
    let names: Vec<&str> = scope.metrics().map(|metric| metric.name).collect();
    assert_eq!((names, left.items()), (vec!["one"], 1));
    let whole = filter(json!({ "metrics": { "metric": ["HasAttrOnDatapoint(\"host\", \"two\")"] } }));
    assert_eq!(filtered(&whole, metrics()).unwrap().items(), 2);
    let types = filter(json!({ "metrics": { "metric": ["type == METRIC_DATA_TYPE_GAUGE"] } }));
    assert_eq!(filtered(&types, metrics()), None);
}

#[test]
fn what_matches_nothing_keeps_its_bytes() {
    let never = filter(json!({ "logs": { "log_record": ["IsMatch(body, \".*password.*\")"] } }));
    let batch = log_batch();
    let same = filtered(&never, batch.clone()).unwrap();
    assert_eq!(same.payload().as_ptr(), batch.payload().as_ptr());
}

#[test]
fn failing_conditions_do_not_hold_unless_told_otherwise() {
    let conditions = json!({ "logs": { "log_record": ["Len(1) == 1"] } });
    assert_eq!(
        filtered(&filter(conditions.clone()), log_batch()),
        Some(log_batch())
    );
    let mut propagating = conditions;
    propagating["error_mode"] = json!("propagate");
    assert!(filter(propagating).process(log_batch(), &Still).is_err());
}

#[test]
fn mistakes_are_refused() {
    for json in [
        json!({ "traces": { "spans": [] } }),
        json!({ "metrics": { "includes": {} } }),
        json!({ "log": {} }),
    ] {
        assert!(
            serde_json::from_value::<FilterConfig>(json.clone()).is_err(),
            "{json}"
        );
    }
    let config: FilterConfig = serde_json::from_value(json!({ "traces": { "span": ["nam == 1"] } })).unwrap();
    let error = config.validate().unwrap_err().to_string();
    assert!(error.starts_with("traces.span[0]: `nam` is no path"), "{error}");
}
