//! Metrics of a batch as plain values, to be compared.

use std::collections::BTreeMap;

use cupola_telemetry::Batch;
use cupola_telemetry::view::{MetricData, NumberValue};
use serde_json::{Value, json};

use super::attributes;

/// One JSON object a point, with the metric and the resource that it is of.
pub(super) fn points(batch: &Batch) -> Vec<Value> {
    let mut all = Vec::new();
    for resource in batch.metrics().resources() {
        for scope in resource.scopes() {
            for metric in scope.metrics() {
                let mut add = |kind: &str, mut point: Value| {
                    let more = json!({
                        "name": metric.name,
                        "kind": kind,
                        "unit": metric.unit,
                        "help": metric.description,
                        "resource": attributes(resource.resource().attributes),
                        "scope": scope.scope().name,
                    });
                    point
                        .as_object_mut()
                        .unwrap()
                        .extend(more.as_object().unwrap().clone());
                    all.push(point);
                };
                match metric.data().unwrap() {
                    MetricData::Gauge(points) => points.for_each(|p| add("gauge", number(&p))),
                    MetricData::Sum {
                        points,
                        temporality,
                        monotonic,
                    } => {
                        assert_eq!(temporality, 2);
                        let kind = if monotonic { "counter" } else { "sum" };
                        points.for_each(|p| add(kind, number(&p)));
                    }
                    MetricData::Histogram { points, .. } => {
                        for p in points {
                            add(
                                "histogram",
                                json!({
                                    "attributes": attributes(p.attributes), "time": p.time_unix_nano, "start": p.start_time_unix_nano,
                                    "count": p.count, "sum": p.sum, "flags": p.flags,
                                    "bounds": p.explicit_bounds.iter().collect::<Vec<f64>>(),
                                    "counts": p.bucket_counts.iter().collect::<Vec<u64>>(),
                                }),
                            );
                        }
                    }
                    MetricData::ExponentialHistogram { points, .. } => {
                        for p in points {
                            let side = |buckets: Option<cupola_telemetry::view::Buckets<'_>>| {
                                buckets
                                    .map(|b| json!([b.offset, b.bucket_counts.iter().collect::<Vec<u64>>()]))
                            };
                            add(
                                "exponential",
                                json!({
                                    "attributes": attributes(p.attributes), "time": p.time_unix_nano, "start": p.start_time_unix_nano,
                                    "count": p.count, "sum": p.sum, "flags": p.flags, "scale": p.scale,
                                    "zero": [json!(p.zero_count), json!(p.zero_threshold)],
                                    "positive": side(p.positive), "negative": side(p.negative),
                                }),
                            );
                        }
                    }
                    MetricData::Summary(points) => {
                        for p in points {
                            let quantiles: Vec<_> =
                                p.quantile_values.map(|q| json!([q.quantile, q.value])).collect();
                            add(
                                "summary",
                                json!({
                                    "attributes": attributes(p.attributes), "time": p.time_unix_nano, "start": p.start_time_unix_nano,
                                    "count": p.count, "sum": p.sum, "flags": p.flags, "quantiles": quantiles,
                                }),
                            );
                        }
                    }
                }
            }
        }
    }
    all
}

fn number(point: &cupola_telemetry::view::NumberDataPoint<'_>) -> Value {
    let exemplars: Vec<_> = point
        .exemplars
        .iter()
        .map(|exemplar| {
            json!({
                "value": exemplar.value.map(NumberValue::as_f64), "time": exemplar.time_unix_nano,
                "trace": hex::encode(exemplar.trace_id), "attributes": attributes(exemplar.filtered_attributes),
            })
        })
        .collect();
    json!({
        "attributes": attributes(point.attributes), "time": point.time_unix_nano, "start": point.start_time_unix_nano,
        "value": point.value.map(NumberValue::as_f64), "flags": point.flags, "exemplars": exemplars,
    })
}

/// A sample as Prometheus sees it: name and labels, then its time in milliseconds and its value.
pub(super) type Samples = BTreeMap<(BTreeMap<String, String>, u64), f64>;

/// The single numbers of batches, with their labels as they were before they became resource and attributes.
pub(super) fn samples(batches: &[Batch]) -> Samples {
    let mut samples = Samples::new();
    for point in batches.iter().flat_map(points) {
        let Some(value) = point.get("value").and_then(Value::as_f64) else {
            continue;
        };
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in point["attributes"].as_object().unwrap() {
            labels.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        labels.insert("__name__".to_owned(), point["name"].as_str().unwrap().to_owned());
        for (label, attribute) in [("job", "service.name"), ("instance", "service.instance.id")] {
            if let Some(value) = point["resource"].get(attribute) {
                labels.insert(label.to_owned(), value.as_str().unwrap().to_owned());
            }
        }
        samples.insert((labels, point["time"].as_u64().unwrap() / 1_000_000), value);
    }
    samples
}
