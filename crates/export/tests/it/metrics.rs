//! Metrics of every kind to send to Prometheus, what must be found there, and how it is asked.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use cupola_telemetry::encode::MetricsEncoder;
use cupola_telemetry::{Batch, TenantId};
use serde_json::Value as Json;

pub(crate) const CUMULATIVE: i32 = 2;
pub(crate) const DELTA: i32 = 1;
pub(crate) const TRACE_ID: [u8; 16] = [0xab; 16];
pub(crate) const SPAN_ID: [u8; 8] = [0xcd; 8];

/// By series, as `name{label="value"}` with labels in order: times in milliseconds and values.
pub(crate) type Found = BTreeMap<String, Vec<(i64, f64)>>;

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn nanos(ms: i64) -> u64 {
    ms as u64 * 1_000_000
}

/// One metric of each kind at each of `times`, and three points that have no form in Prometheus.
pub(crate) fn all_kinds(times: &[i64]) -> Batch {
    let mut metrics = MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        resource
            .resource()
            .attribute("service.name", "shop")
            .attribute("service.namespace", "prod")
            .attribute("service.instance.id", "pod-1")
            .attribute("cloud.region", "eu");
        let mut scope = resource.scope_metrics();
        scope.scope().name("lib").version("1.2");
        for (step, time) in times.iter().enumerate() {
            let (time, start, step) = (nanos(*time), nanos(times[0] - 5_000), step as u64);
            {
                let mut metric = scope.metric();
                metric
                    .name("queue.depth")
                    .description("waiting \"messages\"\nnow")
                    .unit("{message}");
                let mut gauge = metric.gauge();
                gauge
                    .point()
                    .time_unix_nano(time)
                    .value(7_i64 - step as i64)
                    .attribute("queue.name", "a\"\\\nb");
                gauge
                    .point()
                    .time_unix_nano(time)
                    .value(0.25)
                    .attribute("queue.name", "ü");
            }
            {
                let mut metric = scope.metric();
                metric.name("requests").description("served").unit("1");
                let mut sum = metric.sum();
                sum.aggregation_temporality(CUMULATIVE).is_monotonic(true);
                let mut point = sum.point();
                point
                    .start_time_unix_nano(start)
                    .time_unix_nano(time)
                    .value(100_i64 + step as i64);
                let mut exemplar = point.exemplar();
                exemplar
                    .time_unix_nano(time)
                    .value(1.0)
                    .trace_id(&TRACE_ID)
                    .span_id(&SPAN_ID);
            }
            {
                let mut metric = scope.metric();
                metric.name("latency").unit("s");
                let mut histogram = metric.histogram();
                histogram.aggregation_temporality(CUMULATIVE);
                let mut point = histogram.point();
                point
                    .start_time_unix_nano(start)
                    .time_unix_nano(time)
                    .count(6 + step)
                    .sum(3.5)
                    .explicit_bounds([0.1, 1.0])
                    .bucket_counts([3, 2, 1 + step]);
                let mut exemplar = point.exemplar();
                exemplar
                    .time_unix_nano(time)
                    .value(0.5)
                    .trace_id(&TRACE_ID)
                    .filtered_attribute("user", "u1");
            }
            {
                let mut metric = scope.metric();
                metric.name("sizes").unit("By");
                let mut histogram = metric.exponential_histogram();
                histogram.aggregation_temporality(CUMULATIVE);
                let mut point = histogram.point();
                point
                    .start_time_unix_nano(start)
                    .time_unix_nano(time)
                    .count(8 + step)
                    .sum(40.0)
                    .scale(0)
                    .zero_count(1 + step);
                point.positive().offset(1).bucket_counts([2, 0, 0, 0, 4]);
                point.negative().offset(0).bucket_counts([1]);
            }
            {
                let mut metric = scope.metric();
                metric.name("old.latency").unit("ms");
                let mut summary = metric.summary();
                let mut point = summary.point();
                point
                    .start_time_unix_nano(start)
                    .time_unix_nano(time)
                    .count(9 + step)
                    .sum(90.0);
                point.quantile_value().quantile(0.5).value(8.0);
                point.quantile_value().quantile(0.99).value(12.5);
            }
        }
        refused(&mut scope, nanos(times[0]));
    }
    metrics.finish(TenantId::default_tenant())
}

/// Three points without a form in Prometheus.
fn refused(scope: &mut cupola_telemetry::encode::ScopeMetrics<'_>, time: u64) {
    {
        let mut metric = scope.metric();
        metric.name("unspecified");
        let mut sum = metric.sum();
        sum.is_monotonic(true).point().time_unix_nano(time).value(1_i64);
    }
    let mut metric = scope.metric();
    metric.name("timeless");
    let mut gauge = metric.gauge();
    gauge.point().value(1.0);
    gauge.point().time_unix_nano(time);
}

pub(crate) const REFUSED: u64 = 3;

/// What remote write and a page with times must have brought to Prometheus, native histograms aside.
pub(crate) fn expected(times: &[i64]) -> Found {
    let mut found = Found::new();
    for (step, time) in times.iter().enumerate() {
        let step = step as f64;
        let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
            let own = [
                ("instance", "pod-1"),
                ("job", "prod/shop"),
                ("otel_scope_name", "lib"),
                ("otel_scope_version", "1.2"),
            ];
            let labels = own.iter().chain(labels).map(|(name, value)| (*name, *value));
            found.entry(key(name, labels)).or_default().push((*time, value));
        };
        add("queue_depth", &[("queue_name", "a\"\\\nb")], 7.0 - step);
        add("queue_depth", &[("queue_name", "ü")], 0.25);
        add("requests_total", &[], 100.0 + step);
        add("latency_seconds_bucket", &[("le", "0.1")], 3.0);
        add("latency_seconds_bucket", &[("le", "1")], 5.0);
        add("latency_seconds_bucket", &[("le", "+Inf")], 6.0 + step);
        add("latency_seconds_sum", &[], 3.5);
        add("latency_seconds_count", &[], 6.0 + step);
        add("old_latency_milliseconds", &[("quantile", "0.5")], 8.0);
        add("old_latency_milliseconds", &[("quantile", "0.99")], 12.5);
        add("old_latency_milliseconds_sum", &[], 90.0);
        add("old_latency_milliseconds_count", &[], 9.0 + step);
    }
    let target = [
        ("cloud_region", "eu"),
        ("instance", "pod-1"),
        ("job", "prod/shop"),
    ];
    found.insert(
        key("target_info", target.into_iter()),
        vec![(*times.last().unwrap(), 1.0)],
    );
    found
}

/// A series as one text.
pub(crate) fn key<'l>(name: &str, labels: impl Iterator<Item = (&'l str, &'l str)>) -> String {
    let mut labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
    labels.sort();
    format!("{name}{{{}}}", labels.join(","))
}

/// A question to the HTTP API; `data` of the answer.
pub(crate) async fn ask(url: &str, path: &str, parameters: &[(&str, &str)]) -> Json {
    let request = reqwest::Client::new()
        .get(format!("{url}/api/v1/{path}"))
        .query(parameters);
    let answer: Json = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"].clone()
}

/// All samples of series with a `job`, and as JSON what native histograms there are.
pub(crate) async fn everything(url: &str) -> (Found, BTreeMap<String, Json>) {
    let data = ask(url, "query", &[("query", "{job=~\".+\",job!=\"page\"}[2h]")]).await;
    let (mut found, mut native) = (Found::new(), BTreeMap::new());
    for series in data["result"].as_array().unwrap() {
        let labels = series["metric"].as_object().unwrap();
        let name = labels["__name__"].as_str().unwrap();
        let others = labels.iter().filter(|(name, _)| *name != "__name__");
        let key = key(
            name,
            others.map(|(name, value)| (name.as_str(), value.as_str().unwrap())),
        );
        if let Some(histograms) = series.get("histograms") {
            native.insert(key.clone(), histograms.clone());
        }
        for value in series["values"].as_array().into_iter().flatten() {
            let time = (value[0].as_f64().unwrap() * 1000.0).round() as i64;
            let value: f64 = value[1].as_str().unwrap().parse().unwrap();
            found.entry(key.clone()).or_default().push((time, value));
        }
    }
    (found, native)
}
