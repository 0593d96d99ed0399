//! Rule 28, and the envelopes of rule 29: no request larger than its destination takes, nothing lost or
//! changed by it, nothing empty sent.

use std::sync::atomic::Ordering;

use cupola_export::otlp::{Compression, OtlpSink, Protocol};
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::{Batch, Signal, TenantId};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use prost::Message;

use crate::support::{PROTOCOLS, Reply, Server, decode, flat_logs, logs, resource};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn c28_requests_are_capped_before_compression_at_4_mib_over_grpc_and_20_mib_over_http() {
    let caps = [
        (Protocol::Grpc, 4 * MIB),
        (Protocol::HttpProtobuf, 20 * MIB),
        (Protocol::HttpJson, 20 * MIB),
    ];
    let batch = logs(3, 2, 8, 450 * 1024);
    assert!(batch.payload().len() > 20 * MIB);
    for (protocol, cap) in caps {
        let server = Server::start([]).await;
        let mut config = server.config(protocol);
        // Compressed it would all fit into one.
        config.compression = Compression::Zstd;
        config.timeout = std::time::Duration::from_secs(60);
        let sink = OtlpSink::new(config).unwrap();
        assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
        let requests = server.requests();
        assert!(
            requests.iter().all(|request| request.plain().len() <= cap),
            "{protocol:?}"
        );
        let least = batch.payload().len().div_ceil(cap);
        assert!(
            (least..=least + 1).contains(&requests.len()),
            "{protocol:?}: {} requests",
            requests.len()
        );
        let received: Vec<Batch> = requests.iter().map(|request| request.batch()).collect();
        assert!(
            flat_logs(&received) == flat_logs(std::slice::from_ref(&batch)),
            "every record, in order"
        );
        assert_eq!(sink.stats().sent.load(Ordering::Relaxed), 48);
    }
}

#[tokio::test]
async fn c28_whatever_the_limit_every_record_arrives_once_under_its_own_envelope() {
    let batch = logs(2, 3, 5, 40);
    let whole = flat_logs(std::slice::from_ref(&batch));
    for protocol in PROTOCOLS {
        for limit in [320, 400, 555, 800, 1500, 4000] {
            let server = Server::start([]).await;
            let mut config = server.config(protocol);
            config.request_bytes_max = Some(limit);
            let sink = OtlpSink::new(config).unwrap();
            assert_eq!(
                sink.send(batch.clone()).await,
                Ok(Accepted::all()),
                "{protocol:?} {limit}"
            );
            let requests = server.requests();
            assert!(
                requests.iter().all(|request| request.plain().len() <= limit),
                "{protocol:?} {limit}"
            );
            let received: Vec<Batch> = requests.iter().map(|request| request.batch()).collect();
            assert_eq!(flat_logs(&received), whole, "{protocol:?} {limit}");
        }
    }
}

#[tokio::test]
async fn c28_one_metric_with_many_points_is_divided_too() {
    let point = |value: i64| NumberDataPoint {
        time_unix_nano: 1_700_000_000_000_000_000,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let sum = Sum {
        data_points: (0..1000).map(point).collect(),
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let metric = Metric {
        name: "requests".to_owned(),
        unit: "1".to_owned(),
        data: Some(metric::Data::Sum(sum)),
        ..Metric::default()
    };
    let scope_metrics = vec![ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    }];
    let resource_metrics = vec![ResourceMetrics {
        resource: resource("checkout"),
        scope_metrics,
        ..ResourceMetrics::default()
    }];
    let batch = decode(Signal::Metrics, &ExportMetricsServiceRequest { resource_metrics });

    for protocol in PROTOCOLS {
        let server = Server::start([]).await;
        let mut config = server.config(protocol);
        config.request_bytes_max = Some(2000);
        let sink = OtlpSink::new(config).unwrap();
        assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
        let mut values = Vec::new();
        for request in server.requests() {
            assert!(request.plain().len() <= 2000);
            let message = ExportMetricsServiceRequest::decode(request.batch().payload().clone()).unwrap();
            let metric = &message.resource_metrics[0].scope_metrics[0].metrics[0];
            assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("requests", "1"));
            let Some(metric::Data::Sum(sum)) = &metric.data else {
                panic!("not a sum")
            };
            assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (2, true));
            for point in &sum.data_points {
                let Some(number_data_point::Value::AsInt(value)) = point.value else {
                    panic!("no value")
                };
                values.push(value);
            }
        }
        assert_eq!(values, (0..1000).collect::<Vec<i64>>(), "{protocol:?}");
    }
}

#[tokio::test]
async fn c28_a_record_larger_than_any_request_is_left_out_and_counted() {
    for protocol in PROTOCOLS {
        let server = Server::start([]).await;
        let mut config = server.config(protocol);
        config.request_bytes_max = Some(1000);
        let sink = OtlpSink::new(config).unwrap();
        let mixed = Batch::concat(&[logs(1, 1, 2, 10), logs(1, 1, 1, 5000), logs(1, 1, 3, 10)]).unwrap();
        let accepted = sink.send(mixed).await.unwrap();
        assert_eq!(accepted.rejected, 1, "{protocol:?}");
        let refused: usize = accepted.refused.iter().map(Batch::items).sum();
        assert_eq!(refused, 1, "{protocol:?}: for the dead letters");
        assert!(accepted.message.contains("1000 bytes"), "{}", accepted.message);
        let received: usize = server
            .requests()
            .iter()
            .map(|request| request.batch().items())
            .sum();
        assert_eq!(received, 5, "{protocol:?}");

        let result = sink.send(logs(1, 1, 1, 5000)).await;
        assert!(matches!(result, Err(SendError::Permanent { .. })), "{result:?}");
        assert_eq!(sink.stats().rejected.load(Ordering::Relaxed), 2);
        assert_eq!(sink.stats().sent.load(Ordering::Relaxed), 5);
    }
}

#[tokio::test]
async fn c28_a_piece_that_failed_is_retried_without_those_that_arrived() {
    for protocol in PROTOCOLS {
        let server = Server::start([Reply::busy(protocol)]).await;
        let mut config = server.config(protocol);
        config.request_bytes_max = Some(600);
        let sink = OtlpSink::new(config).unwrap();
        let batch = logs(1, 1, 40, 40);
        assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
        let requests = server.requests();
        assert!(requests.len() > 3);
        assert_eq!(requests[0].body, requests[1].body);
        let received: Vec<Batch> = requests[1..].iter().map(|request| request.batch()).collect();
        assert_eq!(
            flat_logs(&received),
            flat_logs(&[batch]),
            "{protocol:?}: each record once"
        );
    }
}

#[tokio::test]
async fn c29_nothing_empty_is_sent() {
    for protocol in PROTOCOLS {
        let server = Server::start([]).await;
        let sink = server.sink(protocol);
        for signal in [Signal::Logs, Signal::Metrics, Signal::Traces] {
            let tenant = TenantId::default_tenant();
            let empty = Batch::decode_protobuf(signal, tenant, bytes::Bytes::new()).unwrap();
            assert_eq!(sink.send(empty).await, Ok(Accepted::all()));
        }
        assert_eq!(sink.send(logs(2, 2, 0, 0)).await, Ok(Accepted::all()));
        assert!(server.requests().is_empty(), "{protocol:?}");

        // Nor as a part: dividing leaves no envelope without records.
        let mut config = server.config(protocol);
        config.request_bytes_max = Some(400);
        let mixed = Batch::concat(&[logs(2, 2, 0, 0), logs(1, 1, 9, 60), logs(3, 1, 0, 0)]).unwrap();
        assert_eq!(
            OtlpSink::new(config).unwrap().send(mixed).await,
            Ok(Accepted::all())
        );
        for request in server.requests() {
            let batch = request.batch();
            let mut scopes = batch.logs().resources().flat_map(|resource| resource.scopes());
            assert!(
                scopes.all(|scope| scope.records().into_iter().count() > 0),
                "{protocol:?}"
            );
        }
    }
}
