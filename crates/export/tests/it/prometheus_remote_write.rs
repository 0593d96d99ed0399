//! What is sent by remote write is found in a real Prometheus, sample by sample; what is on the wire is what the
//! specifications say, read by types that are not ours; refusals are told apart.
//!
//! Version 2 has no real receiver here: the Prometheus that Debian ships is older. That it is noticed is tested against
//! it, and the messages are read by types written after the specification.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_export::prometheus_remote_write::{ProtobufMessage, RemoteWriteConfig, RemoteWriteSink};
use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::peer_or_skip;
use cupola_telemetry::Batch;
use cupola_telemetry::view::MetricData;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use prost::Message as _;

use crate::metrics::{Found, REFUSED, all_kinds, ask, everything, expected, key, now_ms};
use crate::metrics_v2 as v2;
use crate::support::{Reply, Server, logs};

fn config(url: &str) -> RemoteWriteConfig {
    RemoteWriteConfig {
        endpoint: format!("{url}/api/v1/write"),
        ..RemoteWriteConfig::default()
    }
}

#[tokio::test]
async fn a_real_prometheus_has_every_sample_that_was_sent() {
    let peer = peer_or_skip!(cupola_peers::prometheus::start(&[]));
    let now = now_ms();
    let times = [now - 60_000, now - 30_000, now - 123];
    let mut config = config(&peer.url());
    config.send_metadata = true;
    let sink = RemoteWriteSink::new(&config).unwrap();
    let batch = all_kinds(&times);
    let accepted = sink.send(batch.clone()).await.unwrap();
    // Items without a form come back, and no others.
    assert_eq!(accepted.rejected, REFUSED, "{accepted:?}");
    let refused: Vec<&str> = accepted.refused.iter().flat_map(names).collect();
    assert_eq!(refused, ["unspecified", "timeless"]);
    assert_eq!(
        accepted.refused.iter().map(Batch::items).sum::<usize>() as u64,
        REFUSED
    );

    let (found, native) = everything(&peer.url()).await;
    assert_eq!(found, expected(&times));
    assert_eq!(native.len(), 1);
    let sizes = native.values().next().unwrap().as_array().unwrap();
    assert_eq!(sizes.len(), 3);
    for (step, histogram) in sizes.iter().enumerate() {
        let text = |name: &str| histogram[1][name].as_str().unwrap().to_owned();
        assert_eq!(
            (text("count"), text("sum")),
            ((8 + step).to_string(), "40".to_owned())
        );
        let buckets = histogram[1]["buckets"].as_array().unwrap();
        let buckets: Vec<_> = buckets
            .iter()
            .map(|bucket| {
                (
                    bucket[1].as_str().unwrap(),
                    bucket[2].as_str().unwrap(),
                    bucket[3].as_str().unwrap(),
                )
            })
            .collect();
        let zeros = (1 + step).to_string();
        assert_eq!(
            buckets,
            [
                ("-2", "-1", "1"),
                ("-1e-128", "1e-128", &zeros),
                ("2", "4", "2"),
                ("32", "64", "4")
            ]
        );
    }
    let metadata = ask(&peer.url(), "metadata", &[]).await;
    // Metadata that is pushed is not kept by this version; that it does not disturb is what is seen here.
    assert!(metadata.is_object());
    let exemplars = ask(
        &peer.url(),
        "query_exemplars",
        &[
            ("query", "latency_seconds_bucket"),
            ("start", &((now - 120_000) / 1000).to_string()),
            ("end", &(now / 1000 + 1).to_string()),
        ],
    )
    .await;
    let exemplar = &exemplars[0]["exemplars"][0];
    assert_eq!(exemplars[0]["seriesLabels"]["le"], "1", "{exemplars}");
    assert_eq!(exemplar["labels"]["trace_id"], "ab".repeat(16));
    assert_eq!(
        (&exemplar["labels"]["user"], &exemplar["value"]),
        (&"u1".into(), &"0.5".into())
    );
    // The newest samples again change nothing.
    let newest = all_kinds(&[now]);
    sink.send(newest.clone()).await.unwrap();
    let found = everything(&peer.url()).await.0;
    sink.send(newest).await.unwrap();
    assert_eq!(everything(&peer.url()).await.0, found);
}

#[tokio::test]
async fn a_series_whose_sender_says_that_it_ended_ends_at_once() {
    let peer = peer_or_skip!(cupola_peers::prometheus::start(&[]));
    let now = now_ms();
    let sink = RemoteWriteSink::new(&config(&peer.url())).unwrap();
    let point = |time: i64, ended: bool| {
        let mut metrics = cupola_telemetry::encode::MetricsEncoder::new();
        {
            let mut resource = metrics.resource_metrics();
            resource.resource().attribute("service.name", "shop");
            let mut scope = resource.scope_metrics();
            let mut metric = scope.metric();
            metric.name("up.to.now");
            let mut gauge = metric.gauge();
            let mut point = gauge.point();
            point.time_unix_nano(time as u64 * 1_000_000);
            if ended {
                point.flags(1)
            } else {
                point.value(1.0)
            };
        }
        metrics.finish(cupola_telemetry::TenantId::default_tenant())
    };
    let shown = async || {
        ask(&peer.url(), "query", &[("query", "up_to_now")]).await["result"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(sink.send(point(now - 2_000, false)).await, Ok(Accepted::all()));
    assert_eq!(shown().await, 1);
    assert_eq!(sink.send(point(now - 1_000, true)).await, Ok(Accepted::all()));
    assert_eq!(shown().await, 0);
}

#[tokio::test]
async fn generated_metrics_arrive_sample_by_sample_in_requests_of_bounded_size() {
    let peer = peer_or_skip!(cupola_peers::prometheus::start(&[]));
    let start = now_ms() - 1_200_000;
    let mut generator = Generator::new(GeneratorConfig {
        start_unix_nano: start as u64 * 1_000_000,
        services: 4,
        pods: 2,
        metric_interval: Duration::from_secs(60),
        ..GeneratorConfig::default()
    });
    let mut config = config(&peer.url());
    config.max_batch_size_bytes = cupola_config::units::ByteSize(50_000);
    let sink = RemoteWriteSink::new(&config).unwrap();
    let mut wanted = Found::new();
    for _ in 0..3 {
        let batch = generator.points(700);
        let (samples, delta) = reference(&batch);
        assert!(delta > 0, "the generator makes no delta points");
        for (key, values) in samples {
            let all = wanted.entry(key).or_default();
            all.extend(values);
            assert!(all.is_sorted_by_key(|(time, _)| *time), "{all:?}");
        }
        let accepted = sink.send(batch).await.unwrap();
        assert_eq!(accepted.rejected, delta, "{accepted:?}");
    }
    let (found, native) = everything(&peer.url()).await;
    let found: Found = found
        .into_iter()
        .filter(|(key, _)| !key.starts_with("target_info"))
        .collect();
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        wanted.keys().collect::<Vec<_>>()
    );
    assert_eq!(found, wanted);
    assert!(!native.is_empty());
    let mut samples = Vec::new();
    sink.collect(&mut samples);
    let sent = samples
        .iter()
        .find(|sample| sample.name.ends_with("sent_batches"))
        .unwrap();
    assert!(sent.value > 10.0, "{sent:?}");
}

/// The samples of a batch by a reading of the specification that shares nothing with ours, and the number of delta points.
/// Exponential histograms are left out.
fn reference(batch: &Batch) -> (Found, u64) {
    let names: BTreeMap<&str, &str> = BTreeMap::from([
        (
            "http.server.request.duration",
            "http_server_request_duration_seconds",
        ),
        ("http.server.active_requests", "http_server_active_requests"),
        ("process.cpu.time", "process_cpu_time_seconds_total"),
        ("process.memory.usage", "process_memory_usage_bytes"),
        ("system.cpu.utilization", "system_cpu_utilization_ratio"),
        ("system.network.io", "system_network_io_bytes_total"),
        (
            "db.client.operation.duration",
            "db_client_operation_duration_seconds",
        ),
        ("db.client.connection.count", "db_client_connection_count"),
        ("messaging.process.duration", "messaging_process_duration_seconds"),
        ("rpc.server.latency", "rpc_server_latency_seconds"),
        ("jvm.memory.used", "jvm_memory_used_bytes"),
        ("jvm.gc.duration", "jvm_gc_duration_seconds"),
        ("app.orders.placed", "app_orders_placed_total"),
        ("app.queue.depth", "app_queue_depth"),
    ]);
    let request = ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap();
    let (mut found, mut delta) = (Found::new(), 0);
    for resource in request.resource_metrics {
        let attributes = texts(&resource.resource.unwrap().attributes);
        let of = |key: &str| attributes.iter().find(|(name, _)| name == key).unwrap().1.clone();
        let mut base = vec![
            (
                "job".to_owned(),
                format!("{}/{}", of("service_namespace"), of("service_name")),
            ),
            ("instance".to_owned(), of("service_instance_id")),
        ];
        for scope in resource.scope_metrics {
            let info = scope.scope.unwrap();
            base.truncate(2);
            base.push(("otel_scope_name".to_owned(), info.name));
            base.push(("otel_scope_version".to_owned(), info.version));
            base.retain(|(_, value)| !value.is_empty());
            for metric in &scope.metrics {
                delta += one(metric, names[metric.name.as_str()], &base, &mut found);
            }
        }
    }
    (found, delta)
}

fn one(metric: &Metric, name: &str, base: &[(String, String)], found: &mut Found) -> u64 {
    let mut add =
        |suffix: &str, attributes: &[KeyValue], extra: Option<(&str, String)>, time: u64, value: f64| {
            let mut labels = base.to_vec();
            labels.extend(texts(attributes));
            labels.extend(extra.map(|(name, value)| (name.to_owned(), value)));
            let key = key(
                &format!("{name}{suffix}"),
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            );
            found
                .entry(key)
                .or_default()
                .push(((time / 1_000_000) as i64, value));
        };
    let numbers = match metric.data.as_ref().unwrap() {
        metric::Data::Gauge(gauge) => &gauge.data_points,
        metric::Data::Sum(sum) if sum.aggregation_temporality == 1 => return sum.data_points.len() as u64,
        metric::Data::Sum(sum) => &sum.data_points,
        metric::Data::Histogram(histogram) if histogram.aggregation_temporality == 1 => {
            return histogram.data_points.len() as u64;
        }
        metric::Data::Histogram(histogram) => {
            for point in &histogram.data_points {
                let (attributes, time) = (&point.attributes, point.time_unix_nano);
                let mut total = 0;
                let bounds = point.explicit_bounds.iter().map(|bound| bound.to_string());
                for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&point.bucket_counts) {
                    total += count;
                    add("_bucket", attributes, Some(("le", bound)), time, total as f64);
                }
                add("_count", attributes, None, time, point.count as f64);
                add("_sum", attributes, None, time, point.sum.unwrap());
            }
            return 0;
        }
        metric::Data::ExponentialHistogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, 2);
            return 0;
        }
        metric::Data::Summary(summary) => {
            for point in &summary.data_points {
                let (attributes, time) = (&point.attributes, point.time_unix_nano);
                for quantile in &point.quantile_values {
                    add(
                        "",
                        attributes,
                        Some(("quantile", quantile.quantile.to_string())),
                        time,
                        quantile.value,
                    );
                }
                add("_count", attributes, None, time, point.count as f64);
                add("_sum", attributes, None, time, point.sum);
            }
            return 0;
        }
    };
    for point in numbers {
        let value = match point.value.unwrap() {
            number_data_point::Value::AsDouble(value) => value,
            number_data_point::Value::AsInt(value) => value as f64,
        };
        add("", &point.attributes, None, point.time_unix_nano, value);
    }
    0
}

fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(value) => value.to_string(),
        any_value::Value::BoolValue(value) => value.to_string(),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|attribute| (attribute.key.replace('.', "_"), text(attribute)))
        .collect()
}

fn names(batch: &Batch) -> Vec<&str> {
    let scopes = batch.metrics().resources().flat_map(|resource| resource.scopes());
    scopes
        .flat_map(|scope| scope.metrics())
        .inspect(|metric| {
            assert!(!matches!(
                metric.data(),
                None | Some(MetricData::Histogram { .. })
            ))
        })
        .map(|metric| metric.name)
        .collect()
}

#[tokio::test]
async fn a_receiver_of_version_1_is_not_taken_for_one_of_version_2() {
    let peer = peer_or_skip!(cupola_peers::prometheus::start(&[]));
    let mut config = config(&peer.url());
    config.protobuf_message = ProtobufMessage::V2;
    let sink = RemoteWriteSink::new(&config).unwrap();
    let refused = sink.send(all_kinds(&[now_ms()])).await;
    assert!(
        matches!(&refused, Err(SendError::Permanent { reason }) if reason.contains("version 1")),
        "{refused:?}"
    );
}

fn written() -> Reply {
    Reply::Http {
        status: 204,
        headers: vec![("x-prometheus-remote-write-samples-written", "1".to_owned())],
        body: bytes::Bytes::new(),
    }
}

#[tokio::test]
async fn version_2_says_the_same_with_a_table_of_texts() {
    let server = Server::start((0..100).map(|_| written())).await;
    let times = [now_ms() - 1_000, now_ms()];
    for bytes_max in [1_000_000, 1_000] {
        let before = server.requests().len();
        let mut config = config(&format!("http://{}", server.address));
        config.protobuf_message = ProtobufMessage::V2;
        config.max_batch_size_bytes = cupola_config::units::ByteSize(bytes_max);
        let accepted = RemoteWriteSink::new(&config)
            .unwrap()
            .send(all_kinds(&times))
            .await
            .unwrap();
        assert_eq!(accepted.rejected, REFUSED);
        let (mut found, mut histograms, mut counters) = (Found::new(), 0, 0);
        let requests = server.requests().split_off(before);
        assert_eq!(requests.len() > 1, bytes_max == 1_000);
        for request in requests {
            assert_eq!(request.header("content-encoding"), "snappy");
            assert_eq!(
                request.header("content-type"),
                "application/x-protobuf;proto=io.prometheus.write.v2.Request"
            );
            assert_eq!(request.header("x-prometheus-remote-write-version"), "2.0.0");
            let plain = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
            assert!(plain.len() as u64 <= bytes_max);
            let message = v2::Request::decode(&plain[..]).unwrap();
            assert_eq!(message.symbols[0], "");
            let text = |place: u32| message.symbols[place as usize].as_str();
            for series in &message.timeseries {
                let labels: Vec<_> = series
                    .labels_refs
                    .chunks(2)
                    .map(|pair| (text(pair[0]), text(pair[1])))
                    .collect();
                assert!(labels.is_sorted());
                let name = labels.iter().find(|(name, _)| *name == "__name__").unwrap().1;
                let key = key(
                    name,
                    labels.iter().copied().filter(|(name, _)| *name != "__name__"),
                );
                let samples = series
                    .samples
                    .iter()
                    .map(|sample| (sample.timestamp, sample.value));
                if series.histograms.is_empty() {
                    found.entry(key).or_default().extend(samples);
                }
                let metadata = series.metadata.as_ref().unwrap();
                if name == "requests_total" {
                    counters += 1;
                    assert_eq!((metadata.r#type, text(metadata.help_ref)), (1, "served"));
                    assert_eq!(series.created_timestamp, times[0] - 5_000);
                    assert_eq!(text(series.exemplars[0].labels_refs[0]), "span_id");
                }
                for histogram in &series.histograms {
                    histograms += 1;
                    assert_eq!((metadata.r#type, text(metadata.unit_ref)), (3, "bytes"));
                    let spans = [
                        v2::Span { offset: 2, length: 1 },
                        v2::Span { offset: 3, length: 1 },
                    ];
                    assert_eq!((histogram.schema, &histogram.positive_spans[..]), (0, &spans[..]));
                    assert_eq!(
                        (&histogram.positive_deltas[..], &histogram.negative_deltas[..]),
                        (&[2, 2][..], &[1][..])
                    );
                    assert_eq!(
                        histogram.count_int.unwrap() - histogram.zero_count_int.unwrap(),
                        7
                    );
                }
            }
        }
        assert_eq!((found, histograms, counters), (expected(&times), 2, 1));
    }
}

#[tokio::test]
async fn refusals_are_retryable_or_final_as_their_status_says() {
    let busy = Reply::Http {
        status: 429,
        headers: vec![("retry-after", "7".to_owned())],
        body: bytes::Bytes::from_static(b"slow down"),
    };
    let server = Server::start([busy, Reply::http(503), Reply::http(400), Reply::http(404)]).await;
    let sink = RemoteWriteSink::new(&config(&format!("http://{}", server.address))).unwrap();
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(sink.send(all_kinds(&[now_ms()])).await);
    }
    let retryable = SendError::Retryable {
        reason: "429 Too Many Requests: slow down".to_owned(),
        retry_after: Some(Duration::from_secs(7)),
    };
    assert_eq!(answers[0], Err(retryable));
    assert!(matches!(&answers[1], Err(error) if error.is_retryable()));
    assert!(matches!(&answers[2], Err(error) if !error.is_retryable()));
    assert!(matches!(&answers[3], Err(error) if !error.is_retryable()));
    assert!(answers[4].is_ok());
    // Nobody listens: later somebody may.
    let nobody = format!("http://127.0.0.1:{}", cupola_peers::free_port());
    let answer = RemoteWriteSink::new(&config(&nobody))
        .unwrap()
        .send(all_kinds(&[now_ms()]))
        .await;
    assert!(matches!(answer, Err(error) if error.is_retryable()));
    assert!(matches!(
        sink.send(logs(1, 1, 1, 0)).await,
        Err(SendError::Permanent { .. })
    ));
}

#[tokio::test]
async fn settings_shape_what_is_sent() {
    let server = Server::start([]).await;
    let settings = r#"{"endpoint": "URL", "headers": {"Authorization": "Basic abc"}, "namespace": "ns", "timeout": "1s",
        "external_labels": {"cluster": "c1", "job": "never"}, "add_metric_suffixes": false, "scope_labels": false,
        "resource_to_telemetry_conversion": {"enabled": true}, "target_info": {"enabled": false}, "tenant_header": true,
        "tls": {"insecure": true}, "remote_write_queue": {"enabled": true, "queue_size": 5, "num_consumers": 1}}"#;
    let settings = settings.replace("URL", &format!("http://{}/push", server.address));
    let config: RemoteWriteConfig = serde_json::from_str(&settings).unwrap();
    assert!(!format!("{config:?}").contains("Basic abc"));
    RemoteWriteSink::new(&config)
        .unwrap()
        .send(all_kinds(&[now_ms()]))
        .await
        .unwrap();
    let request = server.requests().remove(0);
    assert_eq!(
        (request.path.as_str(), request.header("authorization")),
        ("/push", "Basic abc")
    );
    assert_eq!(request.header("x-prometheus-remote-write-version"), "0.1.0");
    assert_eq!(request.header("x-scope-orgid"), "default");
    let plain = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
    let has = |text: &str| plain.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("ns_requests") && has("cluster") && has("cloud_region") && has("prod/shop"));
    assert!(!has("_total") && !has("target_info") && !has("otel_scope_name") && !has("never"));

    for wrong in [
        r#"{"endpoint": ""}"#,
        r#"{"endpoint": "localhost:9090"}"#,
        r#"{"endpoint": "http://a", "headers": {"bad name": "x"}}"#,
        r#"{"endpoint": "http://a", "external_labels": {"a.b": "x"}}"#,
        r#"{"endpoint": "http://a", "max_batch_size_bytes": 0}"#,
        r#"{"endpoint": "http://a", "tls": {"cert_file": "/nowhere"}}"#,
        r#"{"endpoint": "http://a", "tls": {"ca_pem": "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"}}"#,
    ] {
        let config: RemoteWriteConfig = serde_json::from_str(wrong).unwrap();
        assert!(RemoteWriteSink::new(&config).is_err(), "{wrong}");
    }
    assert!(serde_json::from_str::<RemoteWriteConfig>(r#"{"wal": {}}"#).is_err());
}
