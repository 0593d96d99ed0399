//! Redaction: what a plain reference over decoded structs leaves, and nothing that must not be seen.

use std::sync::{Arc, LazyLock};

use cupola_export::{Component, Sink};
use cupola_pipeline::processors::redaction::{Redaction, RedactionConfig};
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::{check_canonical, generated, with_held_clock};
use crate::ottl::{log_attribute, log_batch, show};
use crate::support::Capture;

fn redaction(config: Value) -> Redaction {
    let config: RedactionConfig = serde_json::from_value(config).unwrap();
    Redaction::new(&config, Arc::new(Capture::default())).unwrap()
}

const BLOCKED_KEY: &str = "(user|pod)";
const BLOCKED_VALUE: &str = "[0-9]{2,}";
const ALLOWED_VALUE: &str = "^/api";

/// What becomes of attributes with the settings of the property below.
fn reference(attributes: &mut Vec<KeyValue>) {
    static PATTERNS: LazyLock<[regex::Regex; 3]> = LazyLock::new(|| {
        [BLOCKED_KEY, BLOCKED_VALUE, ALLOWED_VALUE].map(|pattern| regex::Regex::new(pattern).unwrap())
    });
    let [blocked_key, blocked_value, allowed_value] = &*PATTERNS;
    let (mut redacted, mut masked, mut allowed, mut ignored) = (0, 0, 0, 0);
    attributes.retain_mut(|pair| {
        if pair.key == "http.route" {
            ignored += 1;
            return true;
        }
        if pair.key.starts_with("server.") {
            redacted += 1;
            return false;
        }
        let text = match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Any::StringValue(text)) => text.clone(),
            Some(Any::IntValue(value)) => value.to_string(),
            Some(Any::DoubleValue(value)) => value.to_string(),
            Some(Any::BoolValue(value)) => value.to_string(),
            _ => String::new(),
        };
        if allowed_value.is_match(&text) {
            allowed += 1;
            return true;
        }
        let after = match blocked_key.is_match(&pair.key) {
            true => "****".to_owned(),
            false => blocked_value.replace_all(&text, "****").into_owned(),
        };
        if after != text {
            masked += 1;
            pair.value = Some(AnyValue {
                value: Some(Any::StringValue(after)),
            });
        }
        true
    });
    for (key, count) in [
        ("redacted", redacted),
        ("masked", masked),
        ("allowed", allowed),
        ("ignored", ignored),
    ] {
        if count > 0 {
            attributes.push(KeyValue {
                key: format!("redaction.{key}.count"),
                value: Some(AnyValue {
                    value: Some(Any::IntValue(count)),
                }),
                ..KeyValue::default()
            });
        }
    }
}

fn all_keys(batches: &[Batch]) -> Vec<String> {
    let mut keys = std::collections::BTreeSet::new();
    fn collect(json: &Value, keys: &mut std::collections::BTreeSet<String>) {
        match json {
            Value::Object(map) => {
                keys.extend(map.get("key").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| collect(value, keys));
            }
            Value::Array(all) => all.iter().for_each(|value| collect(value, keys)),
            _ => {}
        }
    }
    for batch in batches {
        collect(&serde_json::from_str(&batch.to_json()).unwrap(), &mut keys);
    }
    keys.into_iter()
        .filter(|key| !key.starts_with("server."))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn attributes_are_as_a_reference_leaves_them(seed: u64) {
        let batches = Signal::ALL.map(|signal| generated(signal, seed, 60));
        let redaction = redaction(json!({
            "allowed_keys": all_keys(&batches), "ignored_keys": ["http.route"], "blocked_key_patterns": [BLOCKED_KEY],
            "blocked_values": [BLOCKED_VALUE], "allowed_values": [ALLOWED_VALUE], "redact_all_types": true, "summary": "info",
        }));
        let [logs, metrics, traces] = batches.map(|batch| {
            let after = redaction.process(batch.clone());
            check_canonical(&after);
            assert_eq!(after.items(), batch.items());
            (batch, after)
        });
        let mut expected = ExportTraceServiceRequest::decode(traces.0.payload().clone()).unwrap();
        for resource in &mut expected.resource_spans {
            reference(&mut resource.resource.as_mut().unwrap().attributes);
            for scope in &mut resource.scope_spans {
                if let Some(scope) = &mut scope.scope { reference(&mut scope.attributes); }
                for span in &mut scope.spans {
                    reference(&mut span.attributes);
                    span.events.iter_mut().for_each(|event| reference(&mut event.attributes));
                }
            }
        }
        prop_assert!(ExportTraceServiceRequest::decode(traces.1.payload().clone()).unwrap() == expected);

        let mut expected = ExportMetricsServiceRequest::decode(metrics.0.payload().clone()).unwrap();
        for resource in &mut expected.resource_metrics {
            reference(&mut resource.resource.as_mut().unwrap().attributes);
            for scope in &mut resource.scope_metrics {
                if let Some(scope) = &mut scope.scope { reference(&mut scope.attributes); }
                for metric in &mut scope.metrics {
                    match metric.data.as_mut().unwrap() {
                        Data::Gauge(data) => data.data_points.iter_mut().for_each(|point| reference(&mut point.attributes)),
                        Data::Sum(data) => data.data_points.iter_mut().for_each(|point| reference(&mut point.attributes)),
                        Data::Histogram(data) => data.data_points.iter_mut().for_each(|point| reference(&mut point.attributes)),
                        Data::ExponentialHistogram(data) => data.data_points.iter_mut().for_each(|point| reference(&mut point.attributes)),
                        Data::Summary(data) => data.data_points.iter_mut().for_each(|point| reference(&mut point.attributes)),
                    }
                }
            }
        }
        prop_assert!(ExportMetricsServiceRequest::decode(metrics.1.payload().clone()).unwrap() == expected);

        // Bodies are looked at too: nothing that is blocked is left in a text.
        let after = ExportLogsServiceRequest::decode(logs.1.payload().clone()).unwrap();
        let blocked = regex::Regex::new(BLOCKED_VALUE).unwrap();
        for record in after.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records) {
            if let Some(Any::StringValue(body)) = record.body.as_ref().and_then(|body| body.value.as_ref()) {
                prop_assert!(body.starts_with("/api") || !blocked.is_match(body), "{body}");
            }
        }
    }
}

#[test]
fn all_that_is_not_allowed_goes_and_the_summary_says_so() {
    let batch =
        redaction(json!({ "allowed_keys": ["count", "nested"], "summary": "debug" })).process(log_batch());
    check_canonical(&batch);
    let get = |key| log_attribute(&batch, key);
    assert_eq!((get("count").as_deref(), get("http.method")), (Some("3"), None));
    assert_eq!(
        get("redaction.redacted.keys").unwrap(),
        "\"empty,http.method,ok,ratio,raw,tags\""
    );
    assert_eq!(get("redaction.redacted.count").as_deref(), Some("6"));
    // Done twice, it says the same.
    let again =
        redaction(json!({ "allowed_keys": ["count", "nested"], "summary": "debug" })).process(batch.clone());
    assert_eq!(again, batch);
}

#[test]
fn structured_bodies_are_gone_through() {
    let mut encoder = cupola_telemetry::encode::LogsEncoder::new();
    {
        let mut resource = encoder.resource_logs();
        let mut scope = resource.scope_logs();
        let mut record = scope.record();
        let mut body = record.body_with();
        let mut map = body.key_value_list();
        map.attribute("password", "geheim")
            .attribute("card", 4111i64)
            .attribute("safe", "4111")
            .attribute("ok", "mail a@x");
        map.attribute_with("list", |value| {
            value.array().push("4111 and 4111").push(true);
        });
        map.attribute("gone", 1i64);
    }
    let batch = encoder.finish(cupola_telemetry::TenantId::default_tenant());
    let config = json!({
        "allowed_keys": ["password", "card", "ok", "list"], "ignored_keys": ["safe"], "blocked_key_patterns": ["pass.*"],
        "blocked_values": ["4[0-9]{3}"], "allowed_values": ["a@x$"], "summary": "debug",
    });
    let after = redaction(config).process(batch);
    check_canonical(&after);
    let record = after
        .logs()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap()
        .records()
        .next()
        .unwrap();
    assert_eq!(
        show(record.body.unwrap()),
        r#"{password: "****", card: "****", safe: "4111", ok: "mail a@x", list: ["**** and ****", true]}"#
    );
    let get = |key| record.attributes.get(key).map(show);
    assert_eq!(
        get("redaction.body.masked.keys").unwrap(),
        r#""card,list.[0],password""#
    );
    assert_eq!(get("redaction.body.redacted.keys").unwrap(), r#""gone""#);
    assert_eq!(get("redaction.body.ignored.count").unwrap(), "1");
    assert_eq!(get("redaction.body.allowed.count").unwrap(), "1");
}

#[test]
fn values_can_be_hashed() {
    let hashed = |function: &str| {
        let config = json!({ "allow_all_keys": true, "blocked_values": ["GET"], "hash_function": function, "hmac_key": "k".repeat(64) });
        log_attribute(&redaction(config).process(log_batch()), "http.method")
            .unwrap()
            .len()
            - 2
    };
    assert_eq!(
        ["md5", "sha1", "sha3", "hmac-sha256", "hmac-sha512"].map(hashed),
        [32, 40, 64, 64, 128]
    );
    let config: RedactionConfig = serde_json::from_value(json!({ "hash_function": "hmac-sha256" })).unwrap();
    assert!(
        config
            .validate()
            .unwrap_err()
            .to_string()
            .starts_with("hmac_key: ")
    );
    let config: RedactionConfig = serde_json::from_value(json!({ "blocked_values": ["a", "("] })).unwrap();
    assert!(
        config
            .validate()
            .unwrap_err()
            .to_string()
            .starts_with("blocked_values[1]: ")
    );
}

#[test]
fn what_is_clean_keeps_its_bytes() {
    with_held_clock(async {
        let sink = Arc::new(Capture::default());
        let config: RedactionConfig =
            serde_json::from_value(json!({ "allow_all_keys": true, "blocked_values": ["nowhere"] })).unwrap();
        let redaction = Redaction::new(&config, sink.clone()).unwrap();
        for signal in Signal::ALL {
            let batch = generated(signal, 1, 20);
            redaction.send(batch.clone()).await.unwrap();
            assert_eq!(sink.drain()[0].payload().as_ptr(), batch.payload().as_ptr());
        }
        let mut samples = Vec::new();
        redaction.collect(&mut samples);
        assert_eq!(samples[0].value, 0.0);
    });
}
