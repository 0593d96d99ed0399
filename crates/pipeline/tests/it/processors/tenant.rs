//! The tenant processor: who an item is of, by itself, its trace or its resource, and batches divided by that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_export::{Accepted, SendError, Sink};
use cupola_pipeline::ottl::Env;
use cupola_pipeline::processors::tenant::{Tenant, TenantConfig};
use cupola_telemetry::{Batch, Signal, TenantId, encode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::{check_canonical, generated, with_held_clock};
use crate::support::Capture;

/// A clock that goes when it is told to.
#[derive(Default)]
struct Clock(AtomicU64);

impl Env for Clock {
    fn now_unix_nano(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn random(&self) -> u128 {
        0
    }
}

struct Running {
    tenant: Tenant,
    sink: Arc<Capture>,
    clock: Arc<Clock>,
}

fn start(config: Value) -> Running {
    let config: TenantConfig = serde_json::from_value(config).unwrap();
    let (sink, clock) = (Arc::new(Capture::default()), Arc::new(Clock::default()));
    let tenant = Tenant::new(&config, sink.clone(), clock.clone()).unwrap();
    Running { tenant, sink, clock }
}

fn find(attributes: &[KeyValue], key: &str) -> Option<AnyValue> {
    attributes
        .iter()
        .find(|pair| pair.key == key)
        .and_then(|pair| pair.value.clone())
}

fn add(attributes: &mut Vec<KeyValue>, key: &str, value: Option<AnyValue>) {
    if value.is_some() && find(attributes, key).is_none() {
        attributes.push(KeyValue {
            key: key.to_owned(),
            value,
            ..KeyValue::default()
        });
    }
}

const KEYS: [&str; 3] = ["customer.id", "user.id", "host.name"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn items_have_what_a_reference_gives_them(seed: u64, traced: bool) {
        let running = start(json!({ "keys": KEYS, "from": if traced { "trace" } else { "resource" } }));
        let batch = generated(Signal::Traces, seed, 150);
        let mut expected = ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap();
        let mut known: HashMap<(Vec<u8>, &str), AnyValue> = HashMap::new();
        for resource in expected.resource_spans.iter().filter(|_| traced) {
            let around = &resource.resource.as_ref().unwrap().attributes;
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                for key in KEYS {
                    if let Some(value) = find(&span.attributes, key).or_else(|| find(around, key)) {
                        known.entry((span.trace_id.clone(), key)).or_insert(value);
                    }
                }
            }
        }
        for resource in &mut expected.resource_spans {
            let around = resource.resource.clone().unwrap().attributes;
            for span in resource.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
                for key in KEYS {
                    let of_trace = known.get(&(span.trace_id.clone(), key)).cloned();
                    add(&mut span.attributes, key, of_trace.or_else(|| find(&around, key)));
                }
            }
        }
        let found = running.tenant.process(&batch);
        prop_assert_eq!(found.len(), 1);
        check_canonical(&found[0]);
        prop_assert!(ExportTraceServiceRequest::decode(found[0].payload().clone()).unwrap() == expected);

        let batch = generated(Signal::Metrics, seed, 150);
        let mut expected = ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap();
        for resource in &mut expected.resource_metrics {
            let around = resource.resource.clone().unwrap().attributes;
            for metric in resource.scope_metrics.iter_mut().flat_map(|scope| &mut scope.metrics) {
                let attributes: Vec<&mut Vec<KeyValue>> = match metric.data.as_mut().unwrap() {
                    Data::Gauge(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
                    Data::Sum(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
                    Data::Histogram(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
                    Data::ExponentialHistogram(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
                    Data::Summary(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
                };
                for attributes in attributes {
                    KEYS.iter().for_each(|key| add(attributes, key, find(&around, key)));
                }
            }
        }
        let found = running.tenant.process(&batch);
        check_canonical(&found[0]);
        prop_assert!(ExportMetricsServiceRequest::decode(found[0].payload().clone()).unwrap() == expected);
    }

    /// Divided by tenant, each item is in the batch of its tenant, once, with what was around it.
    #[test]
    fn batches_are_divided_by_tenant(seed: u64) {
        for signal in Signal::ALL {
            let running = start(json!({ "keys": ["service.name"], "from": "resource", "as_tenant": true }));
            let batch = generated(signal, seed, 150);
            let parts = running.tenant.process(&batch);
            prop_assert_eq!(parts.iter().map(Batch::items).sum::<usize>(), batch.items());
            let mut together = Vec::new();
            for part in &parts {
                check_canonical(part);
                together.extend_from_slice(part.payload());
                let json: Value = serde_json::from_str(&part.to_json()).unwrap();
                let names = json.as_object().unwrap().values().next().unwrap().as_array().unwrap().iter().map(|resource| {
                    let all = resource["resource"]["attributes"].as_array().unwrap();
                    all.iter().find(|pair| pair["key"] == "service.name").unwrap()["value"]["stringValue"].clone()
                });
                for name in names {
                    prop_assert_eq!(name.as_str().unwrap(), part.tenant().as_str());
                }
            }
            if signal == Signal::Logs {
                let sorted = |bytes: &[u8]| {
                    let mut all: Vec<Vec<u8>> = Vec::new();
                    for resource in ExportLogsServiceRequest::decode(bytes).unwrap().resource_logs {
                        for scope in &resource.scope_logs {
                            for record in &scope.log_records {
                                let mut one = resource.clone();
                                one.scope_logs = vec![opentelemetry_proto::tonic::logs::v1::ScopeLogs { log_records: vec![record.clone()], ..scope.clone() }];
                                one.resource.as_mut().unwrap().attributes.sort_by(|a, b| a.key.cmp(&b.key));
                                for record in &mut one.scope_logs[0].log_records {
                                    record.attributes.retain(|pair| pair.key != "service.name");
                                }
                                all.push(one.encode_to_vec());
                            }
                        }
                    }
                    all.sort();
                    all
                };
                prop_assert!(sorted(&together) == sorted(batch.payload()));
            }
        }
    }
}

fn span(trace: u8, key: Option<(&str, &str)>) -> Batch {
    let mut encoder = encode::TracesEncoder::new();
    {
        let mut resource = encoder.resource_spans();
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.trace_id(&[trace; 16]);
        if let Some((key, value)) = key {
            span.attribute(key, value);
        }
    }
    encoder.finish(TenantId::default_tenant())
}

fn logs(traces: &[u8]) -> Batch {
    let mut encoder = encode::LogsEncoder::new();
    {
        let mut resource = encoder.resource_logs();
        let mut scope = resource.scope_logs();
        for trace in traces {
            scope.record().trace_id(&[*trace; 16]);
        }
    }
    encoder.finish(TenantId::default_tenant())
}

fn tenants(batches: &[Batch]) -> Vec<(String, usize)> {
    let mut all: Vec<_> = batches
        .iter()
        .map(|batch| (batch.tenant().to_string(), batch.items()))
        .collect();
    all.sort();
    all
}

#[test]
fn logs_follow_their_trace_until_it_is_forgotten() {
    with_held_clock(async {
        let running = start(json!({ "as_tenant": true, "cache_size": 2, "cache_expiry": "10s" }));
        let send = |batch| running.tenant.send(batch);
        send(span(1, Some(("tenant.id", "acme")))).await.unwrap();
        send(span(2, Some(("tenant.id", "no/tenant")))).await.unwrap();
        running.sink.drain();
        send(logs(&[1, 2, 3])).await.unwrap();
        assert_eq!(
            tenants(&running.sink.drain()),
            [("acme".to_owned(), 1), ("default".to_owned(), 2)]
        );
        running.clock.0.store(11_000_000_000, Ordering::Relaxed);
        send(logs(&[1])).await.unwrap();
        assert_eq!(tenants(&running.sink.drain()), [("default".to_owned(), 1)]);
        // Bounded: the third trace makes the first one forgotten.
        for trace in [4, 5, 6] {
            send(span(trace, Some(("tenant.id", "acme")))).await.unwrap();
        }
        running.sink.drain();
        send(logs(&[4, 6])).await.unwrap();
        assert_eq!(
            tenants(&running.sink.drain()),
            [("acme".to_owned(), 1), ("default".to_owned(), 1)]
        );
        // The sender has the answer of the next sink.
        running.sink.answer(Err(SendError::retryable("full")));
        assert_eq!(send(span(1, None)).await, Err(SendError::retryable("full")));
        assert_eq!(send(span(1, None)).await, Ok(Accepted::all()));
    });
}

#[test]
fn a_batch_of_one_tenant_keeps_its_bytes() {
    let running = start(json!({ "as_tenant": true }));
    let batch = span(1, Some(("tenant.id", "acme")));
    let parts = running.tenant.process(&batch);
    assert_eq!(parts[0].payload().as_ptr(), batch.payload().as_ptr());
    assert_eq!(parts[0].tenant().as_str(), "acme");
    for wrong in [
        json!({ "keys": [] }),
        json!({ "keys": [""] }),
        json!({ "cache_size": 0 }),
    ] {
        assert!(
            serde_json::from_value::<TenantConfig>(wrong)
                .unwrap()
                .validate()
                .is_err()
        );
    }
}
