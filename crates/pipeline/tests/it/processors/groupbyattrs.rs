//! Grouping by attributes: the same items around the same resources as in a reference, put together as far as possible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cupola_export::Component;
use cupola_pipeline::processors::groupbyattrs::{GroupByAttrs, GroupByAttrsConfig};
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use proptest::prelude::*;
use prost::Message;

use super::{check_canonical, generated};
use crate::support::Capture;

fn grouping(keys: &[String]) -> GroupByAttrs {
    let config = GroupByAttrsConfig { keys: keys.to_vec() };
    GroupByAttrs::new(&config, Arc::new(Capture::default())).unwrap()
}

/// A resource's attributes with the moved ones, in an order of no meaning.
fn key_of(resource: &[KeyValue], moved: &[KeyValue]) -> Vec<Vec<u8>> {
    let kept = resource
        .iter()
        .filter(|pair| moved.iter().all(|moved| moved.key != pair.key));
    let mut all: Vec<Vec<u8>> = kept.chain(moved).map(Message::encode_to_vec).collect();
    all.sort();
    all
}

type Items = BTreeMap<Vec<Vec<u8>>, Vec<Vec<u8>>>;

/// Items by resource, each with its scope, keys moved if `keys` says so.
fn spans(batch: &Batch, keys: &[String]) -> Items {
    let mut items = Items::new();
    let request = ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        for scope in resource.scope_spans {
            let around = scope.scope.unwrap_or_default().encode_to_vec();
            for mut span in scope.spans {
                let is_moved = |pair: &KeyValue| keys.contains(&pair.key);
                let moved: Vec<KeyValue> = span
                    .attributes
                    .iter()
                    .filter(|pair| is_moved(pair))
                    .cloned()
                    .collect();
                span.attributes.retain(|pair| !is_moved(pair));
                let item = [around.clone(), span.encode_to_vec()].concat();
                items.entry(key_of(&attributes, &moved)).or_default().push(item);
            }
        }
    }
    items.values_mut().for_each(|items| items.sort());
    items
}

fn points(batch: &Batch, keys: &[String]) -> Items {
    fn each(metric: &Metric) -> Vec<(Metric, Vec<KeyValue>)> {
        let mut all = Vec::new();
        macro_rules! points {
            ($($kind:ident),*) => {
                match metric.data.as_ref().unwrap() {
                    $(Data::$kind(data) => for point in &data.data_points {
                        let mut one = data.clone();
                        let mut point = point.clone();
                        let attributes = std::mem::take(&mut point.attributes);
                        one.data_points = vec![point];
                        all.push((Metric { data: Some(Data::$kind(one)), ..metric.clone() }, attributes));
                    },)*
                }
            };
        }
        points!(Gauge, Sum, Histogram, ExponentialHistogram, Summary);
        all
    }
    let mut items = Items::new();
    let request = ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap();
    for resource in request.resource_metrics {
        let attributes = resource.resource.unwrap_or_default().attributes;
        for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            for (metric, own) in each(metric) {
                let (moved, left): (Vec<_>, Vec<_>) =
                    own.into_iter().partition(|pair| keys.contains(&pair.key));
                let left = left.iter().flat_map(Message::encode_to_vec);
                let item = metric.encode_to_vec().into_iter().chain(left).collect();
                items.entry(key_of(&attributes, &moved)).or_default().push(item);
            }
        }
    }
    items.values_mut().for_each(|items| items.sort());
    items
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn items_go_to_the_resource_of_their_attributes(
        seed: u64,
        keys in prop::sample::subsequence(vec!["http.route", "user.id", "http.request.method", "service.name", "none"], 0..4),
    ) {
        let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        let grouping = grouping(&keys);
        for signal in [Signal::Traces, Signal::Metrics] {
            // Twice, so that there is something to put together.
            let once = generated(signal, seed, 80);
            let batch = Batch::concat(&[once.clone(), once]).unwrap();
            let after = grouping.process(&batch);
            check_canonical(&after);
            prop_assert_eq!(after.items(), batch.items());
            let (found, expected) = match signal {
                Signal::Traces => (spans(&after, &[]), spans(&batch, &keys)),
                _ => (points(&after, &[]), points(&batch, &keys)),
            };
            prop_assert!(found == expected);
            // Each resource once, and in it each scope.
            let json: serde_json::Value = serde_json::from_str(&after.to_json()).unwrap();
            let resources = json.as_object().unwrap().values().next().unwrap().as_array().unwrap();
            prop_assert_eq!(resources.len(), expected.len());
            for resource in resources {
                let scopes = resource.get("scopeSpans").or(resource.get("scopeMetrics")).unwrap().as_array().unwrap();
                let distinct: BTreeSet<String> = scopes.iter().map(|scope| scope["scope"].to_string()).collect();
                prop_assert_eq!(distinct.len(), scopes.len());
            }
        }
        let mut samples = Vec::new();
        grouping.collect(&mut samples);
        prop_assert_eq!(samples.iter().map(|sample| sample.value).sum::<f64>(), 320.0);
    }
}

#[test]
fn empty_keys_are_refused() {
    let config = GroupByAttrsConfig {
        keys: vec!["a".to_owned(), String::new()],
    };
    assert_eq!(config.validate().unwrap_err().to_string(), "keys[1]: it is empty");
}
