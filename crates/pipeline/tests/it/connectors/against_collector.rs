//! The spanmetrics connector beside the Collector's own, over the same spans: series for series, bucket for bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_export::Sink;
use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::collector::SpanMetrics as Collectors;
use cupola_peers::peer_or_skip;
use cupola_pipeline::connectors::spanmetrics::{SpanMetrics, SpanMetricsConfig};
use cupola_telemetry::{Batch, Signal, TenantId};
use serde_json::{Value, json};

use super::{Held, Point, outputs, points, surroundings};
use crate::support::Capture;

fn by_series(points: Vec<Point>) -> BTreeMap<(String, String, String), Point> {
    let mut series = BTreeMap::new();
    for point in points {
        let key = (point.resource.clone(), point.name.clone(), point.labels.clone());
        assert!(series.insert(key, point).is_none(), "a series twice");
    }
    series
}

/// What this connector makes of a batch.
async fn ours(settings: &Value, batch: Batch) -> Vec<Point> {
    let mut settings = settings.clone();
    settings["naming"] = json!("collector");
    let config: SpanMetricsConfig = serde_json::from_value(settings).unwrap();
    let (sink, clock) = (Arc::new(Capture::default()), Held::new());
    let connector = SpanMetrics::new(&config, outputs(&[("metrics", &sink)]), surroundings(&clock)).unwrap();
    connector.send(batch).await.unwrap();
    assert!(connector.flush().await);
    sink.drain().iter().flat_map(points).collect()
}

#[tokio::test]
async fn it_makes_the_metrics_that_the_collector_makes() {
    let collectors = peer_or_skip!(Collectors::install());
    for (number, more) in [
        json!({}),
        json!({ "histogram": { "unit": "s", "exponential": { "max_size": 12 } } }),
        json!({
            "namespace": "",
            "dimensions": [{ "name": "http.request.method", "default": "none" }, { "name": "k8s.pod.name" }],
            "calls_dimensions": [{ "name": "http.response.status_code" }],
            "resource_metrics_key_attributes": [],
            "aggregation_temporality": "AGGREGATION_TEMPORALITY_DELTA",
            "events": { "enabled": true, "dimensions": [{ "name": "exception.type" }] },
            "enable_metrics_sampling_method": true,
            "histogram": { "explicit": { "buckets": ["1ms", "10ms", "100ms", "1s"] }, "dimensions": [{ "name": "url.path" }] },
        }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut settings = more;
        settings["metrics_flush_interval"] = json!("50ms");
        // Made up by each process.
        settings["exclude_dimensions"] = json!(["collector.instance.id"]);
        let seed = number as u64;
        let batch = Generator::new(GeneratorConfig { seed, services: 4, ..GeneratorConfig::default() }).traces(400);
        let made = collectors.run(&settings.to_string(), batch.payload()).unwrap();
        let made = Batch::decode_protobuf(Signal::Metrics, TenantId::default_tenant(), made.into()).unwrap();
        let expected = by_series(points(&made));
        let found = by_series(ours(&settings, batch).await);
        assert!(expected.len() > 20);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (key, theirs) in expected {
            let ours = &found[&key];
            assert!((ours.sum - theirs.sum).abs() <= 1e-9 * theirs.sum.max(1.0), "{key:?}");
            let expected = Point { start: ours.start, time: ours.time, sum: ours.sum, ..theirs };
            assert_eq!(ours, &expected, "{key:?}");
        }
    }
}
