//! Policies that the reference does not have: rates, composites, trace state, and what is refused.

use std::time::Duration;

use cupola_pipeline::processors::tail_sampling::TailSamplingConfig;
use cupola_telemetry::{TenantId, encode};
use serde_json::{Value, json};

use super::{A_WHILE, spans, start};
use crate::processors::with_held_clock;

/// The traces that are kept of those that come at once.
fn kept(policies: Value, traces: &[u8]) -> Vec<String> {
    with_held_clock(async {
        let running = start(json!({ "policies": policies }));
        running.send(spans(traces, "", false)).await;
        tokio::time::sleep(A_WHILE).await;
        running.names()
    })
}

#[test]
fn rates_are_kept() {
    let rate = json!([{ "name": "r", "type": "rate_limiting", "rate_limiting": { "spans_per_second": 1 } }]);
    assert_eq!(kept(rate, &[1, 2, 3, 4]), ["1", "2"]);
    let burst = json!([{ "name": "r", "type": "rate_limiting", "rate_limiting": { "spans_per_second": 1, "burst_capacity": 3 } }]);
    assert_eq!(kept(burst, &[1, 2, 3, 4]), ["1", "2", "3"]);
    let bytes = spans(&[1], "", false).payload().len();
    let bytes = json!([{ "name": "b", "type": "bytes_limiting", "bytes_limiting": { "bytes_per_second": 1, "burst_capacity": 2 * bytes + 1 } }]);
    assert_eq!(kept(bytes, &[1, 2, 3, 4]), ["1", "2"]);
}

#[test]
fn a_composite_shares_out_its_rate() {
    let text = |name: &str, value: &str| json!({ "name": name, "type": "string_attribute", "string_attribute": { "key": "text", "values": [value] } });
    with_held_clock(async {
        let running = start(
            json!({ "decision_wait": "1s", "policies": [{ "name": "c", "type": "composite", "composite": {
            "max_total_spans_per_second": 10,
            "policy_order": ["b", "a", "rest"],
            "composite_sub_policy": [text("a", "a"), text("b", "b"), { "name": "rest", "type": "always_sample" }],
            "rate_allocation": [{ "policy": "a", "percent": 50 }, { "policy": "b", "percent": 20 }],
        } }] }),
        );
        let half = Duration::from_millis(500);
        tokio::time::sleep(half).await;
        running.send(spans(&[1, 2, 3, 4, 5, 6, 7], "a", false)).await;
        running.send(spans(&[11, 12, 13], "b", false)).await;
        running.send(spans(&[21, 22, 23, 24], "c", false)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let first = running.names();
        assert_eq!(
            first,
            ["a1", "a2", "a3", "a4", "a5", "b11", "b12", "c21", "c22", "c23"]
        );
        // The next second begins anew.
        running.send(spans(&[31, 32, 33], "b", false)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(running.names(), ["b31", "b32"]);
    });
}

#[test]
fn trace_state_flags_and_events_are_looked_at() {
    let batch = || {
        let mut encoder = encode::TracesEncoder::new();
        {
            let mut resource = encoder.resource_spans();
            let mut scope = resource.scope_spans();
            scope
                .span()
                .trace_id(&[1; 16])
                .name("state")
                .trace_state("a=1, key3=value1,b=2");
            scope.span().trace_id(&[2; 16]).name("flags").flags(0x101);
            let mut span = scope.span();
            span.trace_id(&[3; 16]).name("event");
            span.event().name("exception");
        }
        encoder.finish(TenantId::default_tenant())
    };
    let kept = |policy: Value| {
        with_held_clock(async {
            let running = start(json!({ "policies": [policy] }));
            running.send(batch()).await;
            tokio::time::sleep(A_WHILE).await;
            running.names()
        })
    };
    let state = json!({ "name": "s", "type": "trace_state", "trace_state": { "key": "key3", "values": ["value1", "value2"] } });
    assert_eq!(kept(state), ["state"]);
    assert_eq!(kept(json!({ "name": "f", "type": "trace_flags" })), ["flags"]);
    let event = json!({ "name": "o", "type": "ottl_condition", "ottl_condition": { "error_mode": "ignore", "spanevent": ["name == \"exception\""] } });
    assert_eq!(kept(event), ["event"]);
    let fails =
        json!({ "name": "o", "type": "ottl_condition", "ottl_condition": { "span": ["Len(kind) == 1"] } });
    assert_eq!(kept(fails), Vec::<String>::new());
}

#[test]
fn the_example_of_the_collector_is_read() {
    let config: TailSamplingConfig = serde_json::from_value(json!({
        "decision_wait": "10s", "num_traces": 100, "expected_new_traces_per_sec": 10,
        "decision_cache": { "sampled_cache_size": 100_000, "non_sampled_cache_size": 100_000 },
        "policies": [
            { "name": "1", "type": "always_sample" },
            { "name": "2", "type": "latency", "latency": { "threshold_ms": 5000, "upper_threshold_ms": 10000 } },
            { "name": "3", "type": "numeric_attribute", "numeric_attribute": { "key": "key1", "min_value": 50, "max_value": 100 } },
            { "name": "4", "type": "probabilistic", "probabilistic": { "sampling_percentage": 10 } },
            { "name": "5", "type": "status_code", "status_code": { "status_codes": ["ERROR", "UNSET"] } },
            { "name": "7", "type": "string_attribute", "string_attribute": {
                "key": "key2", "values": ["value1", "val*"], "enabled_regex_matching": true, "cache_max_size": 10 } },
            { "name": "9", "type": "bytes_limiting", "bytes_limiting": { "bytes_per_second": 1_024_000, "burst_capacity": 2_048_000 } },
        ],
    }))
    .unwrap();
    config.validate().unwrap();
}

#[test]
fn what_cannot_work_is_refused_by_its_key() {
    for (policy, key) in [
        (json!({ "name": "", "type": "always_sample" }), "policies[0].name"),
        (json!({ "name": "a", "type": "latency" }), "policies[0].latency"),
        (
            json!({ "name": "a", "type": "status_code", "status_code": { "status_codes": ["FAILED"] } }),
            "policies[0].status_code.status_codes",
        ),
        (
            json!({ "name": "a", "type": "string_attribute", "string_attribute": { "key": "k", "values": ["("], "enabled_regex_matching": true } }),
            "policies[0].string_attribute.values[0]",
        ),
        (
            json!({ "name": "a", "type": "boolean_attribute", "boolean_attribute": {} }),
            "policies[0].boolean_attribute.key",
        ),
        (
            json!({ "name": "a", "type": "ottl_condition", "ottl_condition": { "span": ["nme == 1"] } }),
            "policies[0].ottl_condition.span[0]",
        ),
        (
            json!({ "name": "a", "type": "and", "and": { "and_sub_policy": [] } }),
            "policies[0].and.and_sub_policy",
        ),
        (
            json!({ "name": "a", "type": "not", "not": { "not_sub_policy": { "name": "b", "type": "drop", "drop": { "drop_sub_policy": [] } } } }),
            "policies[0].not.not_sub_policy.type",
        ),
        (
            json!({ "name": "a", "type": "composite", "composite": {
                "max_total_spans_per_second": 1, "policy_order": ["x"], "composite_sub_policy": [{ "name": "b", "type": "always_sample" }] } }),
            "policies[0].composite.policy_order",
        ),
    ] {
        let config: TailSamplingConfig = serde_json::from_value(json!({ "policies": [policy] })).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
    }
    let twice = json!({ "policies": [{ "name": "a", "type": "always_sample" }, { "name": "a", "type": "always_sample" }] });
    assert!(
        serde_json::from_value::<TailSamplingConfig>(twice)
            .unwrap()
            .validate()
            .is_err()
    );
    assert!(TailSamplingConfig::default().validate().is_err());
    assert!(serde_json::from_value::<TailSamplingConfig>(json!({ "tail_storage": "x" })).is_err());
}
