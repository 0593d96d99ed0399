//! The Elasticsearch exporter against an OpenSearch node: what is found is what was sent, once; and against a server that
//! misbehaves on purpose.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::Secret;
use cupola_config::units::{ByteSize, TimeSpan};
use cupola_export::elasticsearch::{BulkCompression, ElasticsearchConfig, ElasticsearchSink, MappingMode};
use cupola_export::{Accepted, Component, Sink};
use cupola_peers::expected::documents::{
    above, attributes, documents, log_documents, moment, some, span_documents,
};
use cupola_peers::expected::normal;
use cupola_peers::{opensearch, peer_or_skip};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, metric, number_data_point};
use prost::Message as _;
use serde_json::{Map, Value, json};

use crate::support::{Reply, Server};
use crate::telemetry::{TIME, generated, nasty};
use crate::tls::start_tls;

fn config(endpoint: String) -> ElasticsearchConfig {
    let mut config = ElasticsearchConfig {
        endpoint: Some(endpoint),
        ..ElasticsearchConfig::default()
    };
    config.retry.initial_interval = TimeSpan(Duration::from_millis(1));
    config
}

fn sink(node: &opensearch::Running) -> ElasticsearchSink {
    ElasticsearchSink::new(config(node.url())).unwrap()
}

/// Log records with one attribute each.
fn logs(values: &[AnyValue<'_>]) -> Batch {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        for (index, value) in values.iter().enumerate() {
            scope
                .record()
                .time_unix_nano(TIME + index as u64)
                .attribute("n", *value);
        }
    }
    logs.finish(TenantId::default_tenant())
}

fn count(node: &opensearch::Running, index: &str) -> u64 {
    node.ask("POST", &format!("/{index}/_refresh"), "").unwrap();
    let answer: Value =
        serde_json::from_str(&node.ask("GET", &format!("/{index}/_count"), "").unwrap()).unwrap();
    answer["count"].as_u64().unwrap()
}

fn assert_same(found: &[String], expected: Vec<Value>) {
    let mut expected: Vec<String> = expected
        .into_iter()
        .map(|value| normal(value).to_string())
        .collect();
    expected.sort();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_is_found_as_it_was_sent() {
    let node = peer_or_skip!(opensearch::start());
    let sink = sink(&node);
    let generated = generated(Signal::Logs, 500);
    assert_eq!(sink.send(generated.clone()).await, Ok(Accepted::all()));
    let nasty = nasty(Signal::Logs);
    let accepted = sink.send(nasty.clone()).await.unwrap();
    // The end of time as OTLP counts it is beyond what nanoseconds can be in an index.
    assert_eq!(accepted.rejected, 1, "{}", accepted.message);
    let [refused] = &accepted.refused[..] else {
        panic!()
    };
    let mut expected = log_documents(&generated);
    let gone = log_documents(refused);
    expected.extend(
        log_documents(&nasty)
            .into_iter()
            .filter(|document| !gone.contains(document)),
    );
    assert_same(&documents(&node, "logs-generic.otel-default"), expected);

    // Sent again, and by another that knows nothing: nothing is double.
    assert_eq!(sink.send(generated.clone()).await, Ok(Accepted::all()));
    assert_eq!(self::sink(&node).send(generated).await, Ok(Accepted::all()));
    assert_eq!(count(&node, "logs-generic.otel-default"), 508);
    let streams = node.ask("GET", "/_data_stream", "").unwrap();
    assert!(streams.contains("cupola-logs"), "{streams}");

    // Nanoseconds are those of the record, and keys with dots can be searched.
    let search = json!({"size": 1, "_source": false, "docvalue_fields": [{"field": "@timestamp", "format": "strict_date_optional_time_nanos"}],
        "query": {"bool": {"filter": [{"term": {"attributes.http.method": "and a folder"}},
            {"term": {"trace_id": "ab".repeat(16)}}]}}});
    let hit = node
        .ask("GET", "/logs-generic.otel-default/_search", &search.to_string())
        .unwrap();
    assert!(hit.contains("2026-01-01T00:00:00.123456789Z"), "{hit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_event_and_point_is_found_as_it_was_sent() {
    let node = peer_or_skip!(opensearch::start());
    let sink = sink(&node);
    let batch = generated(Signal::Traces, 300);
    assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
    let (spans, events) = span_documents(&batch);
    assert!(!events.is_empty());
    assert_same(&documents(&node, "traces-generic.otel-default"), spans);
    assert_same(&documents(&node, "logs-generic.otel-default"), events);
    let accepted = sink.send(nasty(Signal::Traces)).await.unwrap();
    // The event at the end of time takes its span with it to the dead letters.
    assert_eq!(
        (accepted.rejected, accepted.refused[0].items()),
        (1, 1),
        "{}",
        accepted.message
    );

    let batch = generated(Signal::Metrics, 300);
    let accepted = sink.send(batch.clone()).await.unwrap();
    assert_eq!(accepted, Accepted::all());
    let found = documents(&node, "metrics-generic.otel-default");
    assert_eq!(found.len(), batch.items());
    // Metrics that no index can hold are told from the others.
    let accepted = sink.send(self::nasty(Signal::Metrics)).await.unwrap();
    let kept = self::nasty(Signal::Metrics).items() as u64 - accepted.rejected;
    assert!(accepted.rejected > 0 && kept > 0, "{accepted:?}");
    assert_eq!(
        accepted.refused.iter().map(Batch::items).sum::<usize>() as u64,
        accepted.rejected
    );
    assert_eq!(
        count(&node, "metrics-generic.otel-default"),
        batch.items() as u64 + kept
    );
    let mut numbers = Vec::new();
    for resource in ExportMetricsServiceRequest::decode(batch.payload().clone())
        .unwrap()
        .resource_metrics
    {
        for scope in &resource.scope_metrics {
            for metric in &scope.metrics {
                let points: &[NumberDataPoint] = match metric.data.as_ref().unwrap() {
                    metric::Data::Gauge(data) => &data.data_points,
                    metric::Data::Sum(data) => &data.data_points,
                    _ => &[],
                };
                for point in points {
                    let value = match point.value {
                        Some(number_data_point::Value::AsInt(value)) => json!(value),
                        Some(number_data_point::Value::AsDouble(value)) => json!(value),
                        None => Value::Null,
                    };
                    let start = match point.start_time_unix_nano {
                        0 => Value::Null,
                        time => moment(time),
                    };
                    let mut document = some(
                        json!({"@timestamp": moment(point.time_unix_nano), "unit": metric.unit,
                        "start_timestamp": start, "attributes": attributes(&point.attributes)}),
                    );
                    let members = document.as_object_mut().unwrap();
                    let mut metrics = Map::new();
                    metrics.insert(metric.name.clone(), value);
                    members.insert("metrics".into(), Value::Object(metrics));
                    members.extend(above(
                        "metrics",
                        &resource.resource,
                        &resource.schema_url,
                        &scope.scope,
                        &scope.schema_url,
                    ));
                    numbers.push(document);
                }
            }
        }
    }
    let without_hash = |text: &String| {
        let mut document: Value = serde_json::from_str(text).unwrap();
        document
            .as_object_mut()
            .unwrap()
            .remove("_metric_names_hash")
            .unwrap();
        normal(document)
    };
    let found: Vec<Value> = found.iter().map(without_hash).collect();
    assert!(!numbers.is_empty());
    for number in numbers {
        let number = normal(number);
        assert!(found.contains(&number), "{number}");
    }
}

/// A document that does not fit comes back, and the others are kept.
async fn misfits(node: &opensearch::Running) {
    node.ask(
        "PUT",
        "/app",
        r#"{"mappings":{"properties":{"Attributes":{"properties":{"n":{"type":"long"}}}}}}"#,
    )
    .unwrap();
    let mut app = config(node.url());
    app.logs_index = "app".to_owned();
    app.mapping.mode = MappingMode::None;
    let sink = ElasticsearchSink::new(app).unwrap();
    let batch = logs(&[AnyValue::Int(1), AnyValue::String("two"), AnyValue::Int(3)]);
    for _ in 0..2 {
        let accepted = sink.send(batch.clone()).await.unwrap();
        assert_eq!(accepted.rejected, 1);
        assert!(
            accepted.message.contains("field [Attributes.n]"),
            "{}",
            accepted.message
        );
        let refused = ExportLogsServiceRequest::decode(accepted.refused[0].payload().clone()).unwrap();
        assert_eq!(
            refused.resource_logs[0].scope_logs[0].log_records[0].time_unix_nano,
            TIME + 1
        );
        assert_eq!(count(node, "app"), 2);
    }
    let hopeless = sink.send(logs(&[AnyValue::String("x")])).await.unwrap_err();
    assert!(!hopeless.is_retryable());
    // Generated telemetry of all signals fits the flat modes.
    for (mode, name) in [
        (MappingMode::Ecs, "ecs"),
        (MappingMode::None, "none"),
        (MappingMode::Raw, "raw"),
    ] {
        let mut config = config(node.url());
        config.mapping.mode = mode;
        config.index = format!("{name}-%Y.%m");
        let sink = ElasticsearchSink::new(config).unwrap();
        for signal in [Signal::Traces, Signal::Metrics] {
            let batch = generated(signal, 100);
            let accepted = sink.send(batch).await.unwrap();
            assert_eq!(accepted, Accepted::all(), "{name} {signal}");
        }
        assert_eq!(count(node, &format!("{name}-2026.01")), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn misfits_come_back_and_a_node_that_comes_back_gets_everything_once() {
    let mut node = peer_or_skip!(opensearch::start());
    misfits(&node).await;
    let sink = sink(&node);
    let first = logs(&[AnyValue::Int(1)]);
    let second = logs(&[AnyValue::Int(2), AnyValue::Int(3)]);
    assert_eq!(sink.send(first.clone()).await, Ok(Accepted::all()));
    node.kill();
    let error = sink.send(second.clone()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    node.resume().unwrap();
    for batch in [first, second] {
        while let Err(error) = sink.send(batch.clone()).await {
            assert!(error.is_retryable(), "{error}");
        }
    }
    assert_eq!(count(&node, "logs-generic.otel-default"), 3);
    sink.shutdown().await;
    assert!(
        sink.send(logs(&[AnyValue::Int(1)]))
            .await
            .unwrap_err()
            .is_retryable()
    );
}

/// A bulk answer with these statuses.
fn statuses(statuses: &[u16]) -> Reply {
    let items: Vec<Value> = statuses
        .iter()
        .map(|status| json!({"create": {"status": status, "error": {"reason": "scripted"}}}))
        .collect();
    Reply::Http {
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        body: Bytes::from(json!({"items": items}).to_string()),
    }
}

fn scripted(server: &Server) -> ElasticsearchConfig {
    let mut config = config(format!("http://{}", server.address));
    config.template.enabled = false;
    config.compression = BulkCompression::None;
    config
}

/// The values of the attribute in each request.
fn sent(server: &Server) -> Vec<Vec<i64>> {
    let requests = server.requests();
    let values = requests.iter().map(|request| {
        let text = String::from_utf8(request.plain().to_vec()).unwrap();
        let documents = text.lines().skip(1).step_by(2);
        let values = documents
            .map(|document| serde_json::from_str::<Value>(document).unwrap()["attributes"]["n"].as_i64());
        values.map(Option::unwrap).collect()
    });
    values.collect()
}

#[tokio::test]
async fn only_what_was_refused_for_now_is_sent_again() {
    let server = Server::start([
        statuses(&[201, 429, 400, 503]),
        statuses(&[201, 429]),
        statuses(&[409]),
    ])
    .await;
    let sink = ElasticsearchSink::new(scripted(&server)).unwrap();
    let accepted = sink.send(logs(&[1, 2, 3, 4].map(AnyValue::Int))).await.unwrap();
    assert_eq!(sent(&server), [vec![1, 2, 3, 4], vec![2, 4], vec![4]]);
    assert_eq!((accepted.rejected, accepted.refused[0].items()), (1, 1));

    // What is left after the rounds is retried with the batch, under the same ids.
    let server = Server::start([
        statuses(&[201, 429]),
        statuses(&[429]),
        statuses(&[429]),
        statuses(&[409, 201]),
    ])
    .await;
    let sink = ElasticsearchSink::new(scripted(&server)).unwrap();
    let batch = logs(&[1, 2].map(AnyValue::Int));
    assert!(sink.send(batch.clone()).await.unwrap_err().is_retryable());
    assert_eq!(sink.send(batch).await, Ok(Accepted::all()));
    let requests = server.requests();
    let [first, .., last] = &requests[..] else {
        panic!()
    };
    assert_eq!(first.plain(), last.plain());
}

#[tokio::test]
async fn requests_are_cut_and_signed_and_name_their_pipeline() {
    let server = Server::start([
        Reply::http(413),
        statuses(&[201]),
        statuses(&[201]),
        statuses(&[201]),
    ])
    .await;
    let mut config = scripted(&server);
    config.user = "elastic".to_owned();
    config.password = Secret::new("hunter2");
    config.pipeline = "my pipe".to_owned();
    config.compression = BulkCompression::Gzip;
    // Two documents at most.
    config.flush.bytes = ByteSize(700);
    config.headers.insert("x-team".to_owned(), Secret::new("blue"));
    let sink = ElasticsearchSink::new(config).unwrap();
    assert_eq!(
        sink.send(logs(&[1, 2, 3].map(AnyValue::Int))).await,
        Ok(Accepted::all())
    );
    assert_eq!(sent(&server), [vec![1, 2], vec![1], vec![2], vec![3]]);
    for request in server.requests() {
        assert_eq!(request.path, "/_bulk");
        assert_eq!(request.header("authorization"), "Basic ZWxhc3RpYzpodW50ZXIy");
        assert_eq!(request.header("x-team"), "blue");
        assert_eq!(request.header("content-encoding"), "gzip");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    let server = Server::start([Reply::Http {
        status: 401,
        headers: Vec::new(),
        body: Bytes::from_static(
            br#"{"error":{"reason":"unable to authenticate user [elastic]"},"status":401}"#,
        ),
    }])
    .await;
    let mut config = scripted(&server);
    config.user = "elastic".to_owned();
    config.password = Secret::new("hunter2");
    config.retry.enabled = false;
    let sink = ElasticsearchSink::new(config).unwrap();
    let error = sink.send(logs(&[AnyValue::Int(1)])).await.unwrap_err();
    assert!(
        error.is_retryable() && error.reason().contains("authenticate"),
        "{error}"
    );
    assert!(!format!("{sink:?} {error:?}").contains("hunter2"));
    assert!(!format!("{sink:?}").contains("aHVudGVyMg"));
}

#[tokio::test]
async fn an_endpoint_that_failed_is_left_out_while_another_answers() {
    let server = Server::start((0..6).map(|_| statuses(&[201]))).await;
    let mut config = scripted(&server);
    config.endpoint = None;
    let nobody = cupola_peers::free_port();
    config.endpoints = vec![
        format!("http://127.0.0.1:{nobody}"),
        format!("http://{}", server.address),
    ];
    let sink = ElasticsearchSink::new(config).unwrap();
    for _ in 0..6 {
        assert_eq!(sink.send(logs(&[AnyValue::Int(1)])).await, Ok(Accepted::all()));
    }
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_server_is_believed_if_its_authority_is_trusted() {
    let server = Server::start((0..4).map(|_| statuses(&[201]))).await;
    let address = start_tls(server.address, true).await;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    let send = async |ca: bool, skip: bool, own: bool| {
        let mut config = scripted(&server);
        config.endpoint = Some(format!("https://localhost:{}", address.port()));
        config.retry.enabled = false;
        config.tls.ca_file = ca.then(|| fixtures.join("ca.pem"));
        config.tls.insecure_skip_verify = skip;
        config.tls.cert_file = own.then(|| fixtures.join("client.pem"));
        config.tls.key_file = own.then(|| fixtures.join("client.key.pem"));
        ElasticsearchSink::new(config)
            .unwrap()
            .send(logs(&[AnyValue::Int(1)]))
            .await
    };
    assert_eq!(send(true, false, true).await, Ok(Accepted::all()));
    assert_eq!(send(false, true, true).await, Ok(Accepted::all()));
    for (ca, skip, own) in [(false, false, true), (true, false, false)] {
        assert!(send(ca, skip, own).await.is_err_and(|error| error.is_retryable()));
    }
}
