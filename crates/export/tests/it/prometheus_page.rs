//! The scrape page: a real Prometheus that scrapes it has what was sent, sample by sample; the formats; bounds and ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::Endpoint;
use cupola_config::units::TimeSpan;
use cupola_export::auth::{Denied, Identity, ServerAuth};
use cupola_export::prometheus_page::{PageConfig, PageConfigError, PageSink};
use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_peers::peer_or_skip;
use cupola_telemetry::encode::MetricsEncoder;
use cupola_telemetry::{Batch, TenantId};

use crate::metrics::{DELTA, REFUSED, all_kinds, ask, everything, expected, key, now_ms};
use crate::support::logs;

fn config() -> PageConfig {
    PageConfig {
        endpoint: Some(Endpoint::loopback(0)),
        enable_open_metrics: true,
        ..PageConfig::default()
    }
}

/// The page, and its content type.
async fn page(sink: &PageSink, accept: &str) -> (String, String) {
    let request = reqwest::Client::new()
        .get(format!("http://{}/metrics", sink.address()))
        .header("accept", accept);
    let answer = request.send().await.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.text().await.unwrap(), content_type)
}

/// One counter of delta temporality, of a value a series.
fn deltas(time: u64, start: u64, values: &[f64]) -> Batch {
    let mut metrics = MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        let mut scope = resource.scope_metrics();
        let mut metric = scope.metric();
        metric.name("orders");
        let mut sum = metric.sum();
        sum.aggregation_temporality(DELTA).is_monotonic(true);
        for (index, value) in values.iter().enumerate() {
            let mut point = sum.point();
            point
                .time_unix_nano(time * 1_000_000_000)
                .start_time_unix_nano(start * 1_000_000_000);
            point.value(*value).attribute("n", index as i64);
        }
    }
    metrics.finish(TenantId::default_tenant())
}

#[tokio::test]
async fn a_real_prometheus_that_scrapes_has_every_sample() {
    for open_metrics in [true, false] {
        let mut config = config();
        config.send_timestamps = true;
        config.enable_open_metrics = open_metrics;
        let sink = PageSink::start(&config).unwrap();
        let time = now_ms() - 1_000;
        let accepted = sink.send(all_kinds(&[time])).await.unwrap();
        assert_eq!(accepted.rejected, REFUSED, "{accepted:?}");
        let peer = peer_or_skip!(cupola_peers::prometheus::start(&[sink.address()]));
        let mut wanted = expected(&[time]);
        // In OpenMetrics bounds are written with a fraction, and Prometheus keeps them as they are.
        if open_metrics {
            let whole = wanted
                .keys()
                .find(|key| key.contains("le=\"1\""))
                .unwrap()
                .clone();
            let values = wanted.remove(&whole).unwrap();
            wanted.insert(whole.replace("le=\"1\"", "le=\"1.0\""), values);
        }
        let own = [
            ("instance", "pod-1"),
            ("job", "prod/shop"),
            ("otel_scope_name", "lib"),
            ("otel_scope_version", "1.2"),
        ];
        let fraction = if open_metrics { ".0" } else { "" };
        for (bound, value) in [
            (format!("-1{fraction}"), 1.0),
            ("1e-128".to_owned(), 2.0),
            (format!("4{fraction}"), 4.0),
            (format!("64{fraction}"), 8.0),
            ("+Inf".to_owned(), 8.0),
        ] {
            let labels = own.into_iter().chain([("le", bound.as_str())]);
            wanted.insert(key("sizes_bytes_bucket", labels), vec![(time, value)]);
        }
        wanted.insert(key("sizes_bytes_sum", own.into_iter()), vec![(time, 40.0)]);
        wanted.insert(key("sizes_bytes_count", own.into_iter()), vec![(time, 8.0)]);
        let mut found = everything(&peer.url()).await.0;
        for _ in 0..300 {
            if !found.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            found = everything(&peer.url()).await.0;
        }
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            wanted.keys().collect::<Vec<_>>()
        );
        assert_eq!(found, wanted);
        let metadata = ask(&peer.url(), "metadata", &[]).await;
        assert!(
            metadata["requests_total"].is_array() || metadata["requests"].is_array(),
            "{metadata}"
        );
        if open_metrics {
            let (start, end) = (
                ((time - 60_000) / 1000).to_string(),
                (time / 1000 + 60).to_string(),
            );
            let parameters = [
                ("query", "{job=\"prod/shop\"}"),
                ("start", start.as_str()),
                ("end", end.as_str()),
            ];
            let exemplars = ask(&peer.url(), "query_exemplars", &parameters).await;
            let exemplars = exemplars.as_array().unwrap();
            assert_eq!(exemplars.len(), 2, "{exemplars:?}");
            for series in exemplars {
                assert_eq!(series["exemplars"][0]["labels"]["trace_id"], "ab".repeat(16));
            }
        }
    }
}

#[tokio::test]
async fn both_formats_are_given_to_whoever_asks_for_them() {
    let sink = PageSink::start(&config()).unwrap();
    sink.send(deltas(10, 0, &[5.0])).await.unwrap();
    let (text, content_type) = page(&sink, "text/plain").await;
    assert_eq!(text, "# TYPE orders_total counter\norders_total{n=\"0\"} 5\n");
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let (text, content_type) = page(
        &sink,
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    )
    .await;
    assert_eq!(text, "# TYPE orders counter\norders_total{n=\"0\"} 5\n# EOF\n");
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    let elsewhere = reqwest::get(format!("http://{}/", sink.address())).await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    let post = reqwest::Client::new()
        .post(format!("http://{}/metrics", sink.address()))
        .send()
        .await
        .unwrap();
    assert_eq!(post.status(), 405);
    sink.shutdown().await;
    assert!(
        reqwest::get(format!("http://{}/metrics", sink.address()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn delta_points_are_added_up_once_each() {
    let sink = PageSink::start(&config()).unwrap();
    for (time, start, value) in [(10, 0, 5.0), (20, 10, 2.5), (20, 10, 2.5), (30, 20, 1.0)] {
        assert_eq!(
            sink.send(deltas(time, start, &[value])).await,
            Ok(Accepted::all())
        );
    }
    assert!(page(&sink, "").await.0.contains("orders_total{n=\"0\"} 8.5\n"));
}

#[tokio::test]
async fn series_beyond_the_bound_are_refused_and_counted() {
    let sink = PageSink::start(&PageConfig {
        series_max: 2,
        ..config()
    })
    .unwrap();
    let accepted = sink.send(deltas(10, 0, &[1.0, 2.0, 3.0, 4.0])).await.unwrap();
    assert_eq!((accepted.rejected, accepted.refused.len()), (2, 1));
    assert_eq!(accepted.refused[0].items(), 2);
    // Those that are there go on.
    assert_eq!(sink.send(deltas(20, 10, &[1.0, 2.0])).await, Ok(Accepted::all()));
    let mut samples = Vec::new();
    sink.collect(&mut samples);
    let value = |name: &str| {
        samples
            .iter()
            .find(|sample| sample.name.ends_with(name))
            .unwrap()
            .value
    };
    assert_eq!((value("_series"), value("_overflowed_points")), (2.0, 2.0));
}

#[tokio::test]
async fn series_without_points_go_and_make_room() {
    let settings = |milliseconds| PageConfig {
        series_max: 1,
        metric_expiration: TimeSpan(Duration::from_millis(milliseconds)),
        ..config()
    };
    let patient = PageSink::start(&settings(600_000)).unwrap();
    let hasty = PageSink::start(&settings(1)).unwrap();
    for sink in [&patient, &hasty] {
        assert_eq!(sink.send(deltas(10, 0, &[1.0])).await, Ok(Accepted::all()));
    }
    while !page(&hasty, "text/plain").await.0.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!page(&patient, "text/plain").await.0.is_empty());
    assert_eq!(hasty.send(all_kinds(&[now_ms()])).await.unwrap().refused.len(), 1);
    assert_eq!(hasty.stats().overflowed.load(Ordering::Relaxed), 6);
    assert_eq!(
        patient.send(deltas(20, 10, &[1.0, 1.0])).await.unwrap().rejected,
        1
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let taken = PageSink::start(&config()).unwrap();
    let same = PageConfig {
        endpoint: Some(Endpoint(taken.address())),
        ..config()
    };
    assert!(matches!(
        PageSink::start(&same),
        Err(PageConfigError::Listen { .. })
    ));
    for wrong in [
        r#"{}"#,
        r#"{"endpoint": "1", "series_max": 0}"#,
        r#"{"endpoint": "1", "const_labels": {"a.b": ""}}"#,
        r#"{"endpoint": "1", "metric_expiration": "0s"}"#,
    ] {
        let config: PageConfig = serde_json::from_str(wrong).unwrap();
        assert!(
            matches!(config.validate(), Err(PageConfigError::Setting { .. })),
            "{wrong}"
        );
    }
    let refused = taken.send(logs(1, 1, 1, 0)).await;
    assert!(matches!(refused, Err(SendError::Permanent { .. })));
}

/// Is too busy to say who may.
#[derive(Debug)]
struct Busy;

#[async_trait]
impl ServerAuth for Busy {
    async fn authenticate(&self, _: &http::HeaderMap) -> Result<Identity, Denied> {
        Err(Denied::Busy)
    }
}

#[tokio::test]
async fn a_scrape_that_nobody_has_time_to_check_is_not_told_that_it_lacks_credentials() {
    let sink = PageSink::guarded(&config(), Some(Arc::new(Busy))).unwrap();
    let answer = reqwest::get(format!("http://{}/metrics", sink.address()))
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(
        answer.text().await.unwrap(),
        "too many credentials are being checked\n"
    );
    let mut samples = Vec::new();
    sink.collect(&mut samples);
    let count = |name| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(count("cupola_exporter_prometheus_auth_busy_scrapes"), 1.0);
    assert_eq!(count("cupola_exporter_prometheus_denied_scrapes"), 0.0);
}
