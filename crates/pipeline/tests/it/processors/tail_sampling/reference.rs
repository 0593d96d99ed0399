//! What comes out is what a plain reference over decoded structs says, and nothing else is lost.

use std::collections::BTreeMap;

use cupola_export::Sink;
use cupola_telemetry::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::{A_WHILE, start};
use crate::processors::{encoded, generated, with_held_clock};

type Trace<'t> = Vec<(&'t [KeyValue], &'t Span)>;

/// Spans, sample or not, whether inverted.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Sample,
    Not,
    InvertSample,
    InvertNot,
    Drop,
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    let pair = attributes.iter().find(|pair| pair.key == key)?;
    pair.value.as_ref()?.value.as_ref()
}

fn any(trace: &Trace<'_>, key: &str, matches: impl Fn(&Any) -> bool) -> bool {
    trace.iter().any(|(resource, span)| {
        [*resource, &span.attributes[..]]
            .iter()
            .any(|attributes| find(attributes, key).is_some_and(&matches))
    })
}

fn says(policy: &Value, id: &[u8], trace: &Trace<'_>) -> Says {
    let kind = policy["type"].as_str().unwrap();
    let settings = &policy[kind];
    let key = settings["key"].as_str().unwrap_or_default();
    let of = |yes: bool| if yes { Says::Sample } else { Says::Not };
    let invertible = |yes: bool| match (settings["invert_match"] == true, yes) {
        (false, yes) => of(yes),
        (true, true) => Says::InvertNot,
        (true, false) => Says::InvertSample,
    };
    let sampled = |policy: &Value| matches!(says(policy, id, trace), Says::Sample | Says::InvertSample);
    match kind {
        "always_sample" => Says::Sample,
        "latency" => {
            let start = trace
                .iter()
                .map(|(_, span)| span.start_time_unix_nano)
                .min()
                .unwrap();
            let end = trace
                .iter()
                .map(|(_, span)| span.end_time_unix_nano)
                .max()
                .unwrap();
            let took = (end - start) / 1_000_000;
            let upper = settings["upper_threshold_ms"].as_u64().unwrap_or(u64::MAX);
            of(took > settings["threshold_ms"].as_u64().unwrap() && took <= upper)
        }
        "numeric_attribute" => invertible(any(trace, key, |value| match value {
            Any::IntValue(value) => *value >= settings["min_value"].as_i64().unwrap(),
            _ => false,
        })),
        "string_attribute" => {
            let values = settings["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(|value| value.as_str().unwrap());
            let pattern = |value: &str| match settings["enabled_regex_matching"] == true {
                true => value.to_owned(),
                false => format!("^{value}$"),
            };
            let patterns: Vec<_> = values
                .map(|value| regex::Regex::new(&pattern(value)).unwrap())
                .collect();
            invertible(any(trace, key, |value| match value {
                Any::StringValue(text) => patterns.iter().any(|pattern| pattern.is_match(text)),
                _ => false,
            }))
        }
        "status_code" => of(trace
            .iter()
            .any(|(_, span)| span.status.as_ref().is_some_and(|status| status.code == 2))),
        "span_count" => {
            let count = trace.len() as u64;
            of(
                (settings["min_spans"].as_u64().unwrap()..=settings["max_spans"].as_u64().unwrap())
                    .contains(&count),
            )
        }
        "probabilistic" => {
            let mut hash = 0xcbf29ce484222325u64;
            for byte in b"salt".iter().chain(id) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100000001b3);
            }
            of(hash as f64 / u64::MAX as f64 * 100.0 <= settings["sampling_percentage"].as_f64().unwrap())
        }
        "ottl_condition" => of(trace.iter().any(|(_, span)| span.kind == 3)),
        "and" => of(settings["and_sub_policy"].as_array().unwrap().iter().all(sampled)),
        "not" => of(!sampled(&settings["not_sub_policy"])),
        "drop" => match settings["drop_sub_policy"]
            .as_array()
            .unwrap()
            .iter()
            .all(sampled)
        {
            true => Says::Drop,
            false => Says::Not,
        },
        other => panic!("{other}"),
    }
}

fn is_kept(policies: &[Value], id: &[u8], trace: &Trace<'_>) -> bool {
    let all: Vec<Says> = policies.iter().map(|policy| says(policy, id, trace)).collect();
    let has = |what| all.contains(&what);
    !has(Says::Drop)
        && !has(Says::InvertNot)
        && (has(Says::Sample) || has(Says::InvertSample) && !has(Says::Not))
}

fn some_policies() -> Vec<Value> {
    let errors = json!({ "name": "e", "type": "status_code", "status_code": { "status_codes": ["ERROR"] } });
    let slow = json!({ "name": "l", "type": "latency", "latency": { "threshold_ms": 60 } });
    let regex = json!({ "name": "r", "type": "string_attribute", "string_attribute": {
        "key": "http.route", "values": ["a.*s$", "^/api/v1"], "enabled_regex_matching": true } });
    vec![
        json!({ "name": "always", "type": "always_sample" }),
        errors.clone(),
        slow.clone(),
        regex.clone(),
        json!({ "name": "band", "type": "latency", "latency": { "threshold_ms": 20, "upper_threshold_ms": 80 } }),
        json!({ "name": "n", "type": "numeric_attribute", "numeric_attribute": { "key": "http.response.status_code", "min_value": 500 } }),
        json!({ "name": "ni", "type": "numeric_attribute", "numeric_attribute": {
            "key": "http.response.status_code", "min_value": 400, "invert_match": true } }),
        json!({ "name": "si", "type": "string_attribute", "string_attribute": {
            "key": "http.request.method", "values": ["POST"], "invert_match": true } }),
        json!({ "name": "p", "type": "probabilistic", "probabilistic": { "hash_salt": "salt", "sampling_percentage": 30 } }),
        json!({ "name": "c", "type": "span_count", "span_count": { "min_spans": 2, "max_spans": 9 } }),
        json!({ "name": "o", "type": "ottl_condition", "ottl_condition": { "span": ["kind == SPAN_KIND_CLIENT"] } }),
        json!({ "name": "a", "type": "and", "and": { "and_sub_policy": [slow, regex] } }),
        json!({ "name": "no", "type": "not", "not": { "not_sub_policy": errors.clone() } }),
        json!({ "name": "d", "type": "drop", "drop": { "drop_sub_policy": [errors] } }),
    ]
}

/// Each span with what is around it, by its ids.
fn spans_of(request: &ExportTraceServiceRequest) -> BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>> {
    let mut all = BTreeMap::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let mut around = resource.clone();
                around.scope_spans = vec![opentelemetry_proto::tonic::trace::v1::ScopeSpans {
                    spans: vec![span.clone()],
                    ..scope.clone()
                }];
                all.insert(
                    (span.trace_id.clone(), span.span_id.clone()),
                    around.encode_to_vec(),
                );
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whole_traces_are_kept_by_the_policies(
        seed: u64,
        parts in 1usize..6,
        policies in prop::sample::subsequence(some_policies(), 1..4),
        first_match: bool,
        decided: bool,
    ) {
        let batch = generated(Signal::Traces, seed, 200);
        let request = ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap();
        let mut traces: BTreeMap<&[u8], Trace<'_>> = BTreeMap::new();
        for resource in &request.resource_spans {
            let attributes = &resource.resource.as_ref().unwrap().attributes[..];
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                traces.entry(&span.trace_id).or_default().push((attributes, span));
            }
        }
        let kept = |id: &[u8]| is_kept(&policies, id, &traces[id]);
        let mut expected = spans_of(&request);
        expected.retain(|(id, _), _| kept(id));

        let (found, counted) = with_held_clock(async {
            let running = start(json!({
                "policies": policies,
                // With drop first and inverted ones last it makes no difference but that fewer are asked.
                "sample_on_first_match": first_match && policies.iter().all(|policy| policy.to_string().find("invert").is_none()),
                "acknowledge": if decided { "decided" } else { "taken" },
            }));
            let batches: Vec<_> = (0..parts).map(|part| {
                let mut some = request.clone();
                let mut index = 0;
                for scope in some.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
                    scope.spans.retain(|_| { index += 1; index % parts == part });
                }
                encoded(Signal::Traces, &some)
            }).collect();
            let all = batches.into_iter().map(|batch| running.sampling.send(batch));
            for answer in futures::future::join_all(all).await {
                answer.unwrap();
            }
            tokio::time::sleep(A_WHILE).await;
            assert_eq!(running.sampling.held(), 0);
            let mut found = ExportTraceServiceRequest::default();
            for batch in running.sink.drain() {
                crate::processors::check_canonical(&batch);
                found.resource_spans.extend(ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap().resource_spans);
            }
            let lost = running.count("otelcol_processor_tail_sampling_not_sampled_spans", &[]);
            (found, lost)
        });
        let found = spans_of(&found);
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(found.len() + counted as usize, batch.items());
    }
}
