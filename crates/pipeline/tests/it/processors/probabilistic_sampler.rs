//! The probabilistic sampler: the same items as a reference over decoded structs, with the same marks.

use std::sync::Arc;

use cupola_export::{Component, Sink};
use cupola_pipeline::processors::probabilistic_sampler::{ProbabilisticSampler, ProbabilisticSamplerConfig};
use cupola_telemetry::{Batch, Signal, TenantId, encode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::{check_canonical, encoded, generated};
use crate::support::Capture;

fn sampler(config: Value) -> ProbabilisticSampler {
    let config: ProbabilisticSamplerConfig = serde_json::from_value(config).unwrap();
    ProbabilisticSampler::new(&config, Arc::new(Capture::default())).unwrap()
}

/// A span with a trace state and a priority; the trace state that it has afterwards.
fn one(config: &Value, id: [u8; 16], state: &str, priority: Option<i64>) -> Option<String> {
    let mut encoder = encode::TracesEncoder::new();
    {
        let mut resource = encoder.resource_spans();
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.trace_id(&id).trace_state(state);
        if let Some(priority) = priority {
            span.attribute("sampling.priority", priority);
        }
    }
    let left = sampler(config.clone()).process(&encoder.finish(TenantId::default_tenant()))?;
    check_canonical(&left);
    let span = left
        .traces()
        .resources()
        .next()?
        .scopes()
        .next()?
        .spans()
        .next()?;
    Some(span.trace_state.to_owned())
}

/// An id whose randomness begins with these two digits.
fn id(first: u8) -> [u8; 16] {
    let mut id = [1; 16];
    id[9] = first;
    id
}

#[test]
fn spans_are_sampled_and_marked() {
    let half = json!({ "mode": "proportional", "sampling_percentage": 50 });
    assert_eq!(one(&half, id(0x90), "", None).as_deref(), Some("ot=th:8"));
    assert_eq!(one(&half, id(0x70), "", None), None);
    assert_eq!(one(&half, id(0x70), "", Some(1)).as_deref(), Some("ot=th:0"));
    assert_eq!(one(&half, id(0x90), "", Some(0)), None);
    // What was sampled before is sampled further, and what others wrote stays.
    assert_eq!(
        one(&half, id(0xd0), "a=b,ot=th:8;p:x", None).as_deref(),
        Some("ot=th:c;p:x,a=b")
    );
    assert_eq!(one(&half, id(0x90), "ot=th:8", None), None);
    let rv = "ot=th:0;rv:9b8233f7e3a151";
    assert_eq!(
        one(&half, id(0), rv, None).as_deref(),
        Some("ot=th:8;rv:9b8233f7e3a151")
    );
    let equal = json!({ "mode": "equalizing", "sampling_percentage": 50 });
    assert_eq!(one(&equal, id(0xd0), "ot=th:c", None).as_deref(), Some("ot=th:c"));
    assert_eq!(one(&equal, id(0xd0), "ot=th:4", None).as_deref(), Some("ot=th:8"));
    // A threshold that cannot be, a state that cannot be read, no randomness.
    let open = json!({ "mode": "proportional", "sampling_percentage": 50, "fail_closed": false });
    for (id, state, after) in [
        (id(0x10), "ot=th:8", ""),
        (id(0x10), "ot=th:xx", "ot=th:xx"),
        ([0; 16], "", "ot=th:0"),
    ] {
        assert_eq!(one(&half, id, state, None), None, "{state}");
        assert_eq!(one(&open, id, state, None).as_deref(), Some(after), "{state}");
    }
}

#[test]
fn nothing_and_everything_are_shares_too() {
    let batch = generated(Signal::Traces, 1, 50);
    assert!(
        sampler(json!({ "sampling_percentage": 0 }))
            .process(&batch)
            .is_none()
    );
    let all = sampler(json!({ "sampling_percentage": 100 }))
        .process(&batch)
        .unwrap();
    assert_eq!(all.items(), batch.items());
    let metrics = generated(Signal::Metrics, 1, 50);
    assert_eq!(sampler(json!({})).process(&metrics), Some(metrics));
    for wrong in [
        json!({ "sampling_percentage": -1 }),
        json!({ "sampling_precision": 15 }),
        json!({ "attribute_source": "record" }),
    ] {
        let config: ProbabilisticSamplerConfig = serde_json::from_value(wrong).unwrap();
        assert!(config.validate().is_err());
    }
}

#[test]
fn records_are_sampled_by_an_attribute_and_by_their_priority() {
    let mut encoder = encode::LogsEncoder::new();
    {
        let mut resource = encoder.resource_logs();
        let mut scope = resource.scope_logs();
        for number in 0..1000i64 {
            let mut record = scope.record();
            record
                .attribute("pod", &format!("pod-{}", number % 100))
                .attribute("number", number);
            if number < 10 {
                record.attribute("priority", 100i64);
            } else if number < 20 {
                record.attribute("priority", 0i64);
            }
        }
    }
    let batch = encoder.finish(TenantId::default_tenant());
    let by_pod = json!({ "sampling_percentage": 30, "attribute_source": "record", "from_attribute": "pod", "sampling_priority": "priority" });
    let sampler = sampler(by_pod);
    let left = sampler.process(&batch).unwrap();
    check_canonical(&left);
    let records = left
        .logs()
        .resources()
        .flat_map(|resource| resource.scopes())
        .flat_map(|scope| scope.records());
    let mut pods = std::collections::BTreeMap::<&str, usize>::new();
    let mut numbers = Vec::new();
    for record in records {
        assert!(record.attributes.get("sampling.threshold").is_some());
        assert!(record.attributes.get("sampling.randomness").is_some());
        *pods
            .entry(record.attributes.get("pod").unwrap().as_str().unwrap())
            .or_default() += 1;
        let Some(cupola_telemetry::view::AnyValue::Int(number)) = record.attributes.get("number") else {
            panic!()
        };
        numbers.push(number);
    }
    assert!((0..10).all(|number| numbers.contains(&number)));
    assert!((10..20).all(|number| !numbers.contains(&number)));
    // Whole pods, but for the records that said otherwise.
    let whole = pods.values().filter(|count| **count >= 9).count();
    assert!((15..45).contains(&whole), "{pods:?}");
    assert!(pods.values().all(|count| *count >= 9 || *count == 1), "{pods:?}");
    let mut samples = Vec::new();
    sampler.collect(&mut samples);
    assert_eq!(samples.iter().map(|sample| sample.value).sum::<f64>(), 1000.0);
    let pod = ("policy", "pod".to_owned());
    assert!(samples.iter().all(|sample| sample.labels.contains(&pod)));
}

#[test]
fn an_empty_rest_is_not_sent() {
    super::with_held_clock(async {
        let sink = Arc::new(Capture::default());
        let none = ProbabilisticSampler::new(&ProbabilisticSamplerConfig::default(), sink.clone()).unwrap();
        none.send(generated(Signal::Logs, 1, 10)).await.unwrap();
        assert!(sink.batches().is_empty());
    });
}

fn fnv32(seed: u32, bytes: &[u8]) -> u32 {
    let mut hash = 0x811c9dc5u32;
    for byte in seed.to_le_bytes().iter().chain(bytes) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(16777619);
    }
    hash
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The old formula: a hash's last 14 bits below the share of 2^14.
    #[test]
    fn hashing_agrees_with_the_formula_of_old(seed: u64, percentage in 1u8..100, hash_seed: u32) {
        let batch = generated(Signal::Traces, seed, 200);
        let taken = |id: &[u8]| fnv32(hash_seed, id) & 0x3fff < (f32::from(percentage) * 163.84f32) as u32;
        let left = sampler(json!({ "mode": "hash_seed", "hash_seed": hash_seed, "sampling_percentage": percentage })).process(&batch);
        let mut expected = ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap();
        expected.resource_spans.retain_mut(|resource| {
            resource.scope_spans.retain_mut(|scope| {
                scope.spans.retain(|span| taken(&span.trace_id));
                scope.spans.iter_mut().for_each(|span| span.trace_state.clear());
                !scope.spans.is_empty()
            });
            !resource.scope_spans.is_empty()
        });
        let mut found = ExportTraceServiceRequest::default();
        if let Some(left) = left {
            check_canonical(&left);
            found = ExportTraceServiceRequest::decode(left.payload().clone()).unwrap();
        }
        for span in found.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans) {
            let rv = span.trace_state.split_once("rv:").unwrap().1;
            let r = u64::from_str_radix(&rv[..14], 16).unwrap();
            prop_assert_eq!(r >> 42, 0x3fff - u64::from(fnv32(hash_seed, &span.trace_id) & 0x3fff));
            let th = span.trace_state.split_once("th:").unwrap().1.split(';').next().unwrap();
            prop_assert!(rv.as_bytes() >= th.as_bytes());
            span.trace_state.clear();
        }
        prop_assert!(found == expected);
    }

    /// A smaller share is a part of a larger one, and a share of a share is their product.
    #[test]
    fn shares_are_consistent(seed: u64, small in 1u8..50) {
        let batch = generated(Signal::Logs, seed, 300);
        let ids = |batch: &Option<Batch>| {
            let mut all = std::collections::BTreeSet::new();
            if let Some(batch) = batch {
                let request = ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap();
                for record in request.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records) {
                    all.insert((record.trace_id.clone(), record.time_unix_nano, record.span_id.clone()));
                }
            }
            all
        };
        let proportional = |percent: u8| json!({ "mode": "proportional", "sampling_percentage": percent, "sampling_precision": 14 });
        let few = sampler(proportional(small)).process(&batch);
        let more = sampler(proportional(2 * small)).process(&batch);
        prop_assert!(ids(&few).is_subset(&ids(&more)));
        let half_of_more = more.and_then(|more| sampler(proportional(50)).process(&more));
        prop_assert_eq!(ids(&half_of_more), ids(&few));
    }

    /// Trace states of any kind do no harm.
    #[test]
    fn any_trace_state_is_survived(state in "[a-z0-9=:;, ]{0,40}|ot=(th:[0-9a-f]{0,15};?){0,2}(rv:[0-9a-f]{13,15})?") {
        for mode in ["hash_seed", "equalizing", "proportional"] {
            let config = json!({ "mode": mode, "sampling_percentage": 60, "fail_closed": false });
            one(&config, id(0x80), &state, None);
        }
    }
}

#[test]
fn unsampled_batches_keep_their_bytes_when_nothing_changes() {
    let request =
        ExportTraceServiceRequest::decode(generated(Signal::Traces, 3, 20).payload().clone()).unwrap();
    let batch = encoded(Signal::Traces, &request);
    let all = sampler(json!({ "mode": "equalizing", "sampling_percentage": 100 }));
    let once = all.process(&batch).unwrap();
    let twice = all.process(&once).unwrap();
    assert_eq!(once.payload().as_ptr(), twice.payload().as_ptr());
}
