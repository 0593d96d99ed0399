//! Rules 22 and 23: protobuf as strangers write it.

use bytes::Bytes;
use cupola_telemetry::Signal;
use cupola_telemetry::view::{AnyValue, MetricData};
use tonic::Code;

use crate::payloads::bodies;
use crate::support::{PROTOBUF, Receiver, start};

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// A request around one record: resource, scope, record.
fn envelope(record: &[u8]) -> Bytes {
    Bytes::from(field(1, &field(2, &field(2, record))))
}

async fn refused(receiver: &Receiver, signal: Signal, body: Bytes, why: &str) {
    let answer = receiver
        .post(crate::support::path(signal), PROTOBUF, body.clone())
        .await;
    assert_eq!(answer.status, 400, "{why}");
    let violations = answer.rpc_status().violations;
    assert!(!violations[0].description.is_empty(), "{why}");
    let answer = receiver.grpc(signal, &body).await;
    assert_eq!(answer.status.code(), Code::InvalidArgument, "{why}");
    assert!(receiver.sink.drain().is_empty());
}

#[tokio::test]
async fn c22_unknown_fields_are_kept() {
    let receiver = start().await;
    // A log record with a body, and a field 100 no version has.
    let unknown = [0xa2, 0x06, 0x03, b'x', b'y', b'z'];
    let mut record = field(5, &field(1, b"hello"));
    record.extend_from_slice(&unknown);
    let body = envelope(&record);
    assert_eq!(
        receiver.post("/v1/logs", PROTOBUF, body.clone()).await.status,
        200
    );
    let batches = receiver.sink.drain();
    assert_eq!(bodies(&batches), ["hello"]);
    assert!(
        batches[0]
            .payload()
            .windows(unknown.len())
            .any(|window| window == unknown)
    );
}

#[tokio::test]
async fn c22_fields_out_of_order_split_messages_and_repeated_scalars_follow_protobuf() {
    let receiver = start().await;
    // severity 17, then the body in two halves around it, then severity 9: the last one counts. The body's
    // value is a oneof, so its last member counts too.
    let mut record = vec![0x10, 17];
    record.extend(field(5, &field(1, b"first")));
    record.extend([0x10, 9]);
    record.extend(field(5, &field(1, b"second")));
    assert_eq!(
        receiver
            .post("/v1/logs", PROTOBUF, envelope(&record))
            .await
            .status,
        200
    );
    let batch = receiver.sink.drain().pop().unwrap();
    let scopes = batch.logs().resources().flat_map(|resource| resource.scopes());
    let record = scopes.flat_map(|scope| scope.records()).next().unwrap();
    assert_eq!(record.severity_number, 9);
    assert!(matches!(record.body, Some(AnyValue::String("second"))));

    // A resource in two parts, after the scopes: its attributes add up.
    let attribute = |key: &[u8]| field(1, &field(1, &[field(1, key), field(2, &field(1, b"v"))].concat()));
    let scopes = field(2, &field(2, &field(5, &field(1, b"hello"))));
    let body = Bytes::from(field(1, &[scopes, attribute(b"a"), attribute(b"b")].concat()));
    assert_eq!(receiver.post("/v1/logs", PROTOBUF, body).await.status, 200);
    let batch = receiver.sink.drain().pop().unwrap();
    let resource = batch.logs().resources().next().unwrap();
    let keys: Vec<_> = resource
        .resource()
        .attributes
        .into_iter()
        .map(|attribute| attribute.key)
        .collect();
    assert_eq!(keys, ["a", "b"]);

    // Bucket counts of a histogram: packed, not packed, and in two chunks.
    let count = |value: u64| value.to_le_bytes();
    let packed = field(6, &[count(1), count(2), count(3)].concat());
    let unpacked = [1, 2, 3]
        .map(|value| [&[6 << 3 | 1], &count(value)[..]].concat())
        .concat();
    let chunks = [field(6, &count(1)), field(6, &[count(2), count(3)].concat())].concat();
    for point in [packed, unpacked, chunks] {
        let metric = [field(1, b"m"), field(9, &field(1, &point))].concat();
        assert_eq!(
            receiver
                .post("/v1/metrics", PROTOBUF, envelope(&metric))
                .await
                .status,
            200
        );
        let batch = receiver.sink.drain().pop().unwrap();
        let scopes = batch.metrics().resources().flat_map(|resource| resource.scopes());
        let metric = scopes.flat_map(|scope| scope.metrics()).next().unwrap();
        let Some(MetricData::Histogram { points, .. }) = metric.data() else {
            panic!("not a histogram")
        };
        let counts: Vec<u64> = points
            .into_iter()
            .next()
            .unwrap()
            .bucket_counts
            .into_iter()
            .collect();
        assert_eq!(counts, [1, 2, 3]);
    }
}

#[tokio::test]
async fn c23_invalid_text_ids_and_nesting_are_refused_and_counted() {
    let receiver = start().await;
    refused(
        &receiver,
        Signal::Logs,
        envelope(&field(5, &field(1, b"\xff\xfe"))),
        "text that is not UTF-8",
    )
    .await;
    refused(
        &receiver,
        Signal::Traces,
        envelope(&field(1, &[1; 15])),
        "a trace id of 15 bytes",
    )
    .await;
    refused(
        &receiver,
        Signal::Traces,
        envelope(&field(2, &[1; 9])),
        "a span id of 9 bytes",
    )
    .await;
    refused(
        &receiver,
        Signal::Logs,
        envelope(&field(9, &[1; 17])),
        "a log's trace id of 17 bytes",
    )
    .await;

    // A list in a list in a list: AnyValue.array_value (5) of values (1).
    let mut value = field(1, b"bottom");
    for _ in 0..5000 {
        value = field(5, &field(1, &value));
    }
    refused(
        &receiver,
        Signal::Logs,
        envelope(&field(5, &value)),
        "5000 lists in each other",
    )
    .await;

    let stats = receiver.running.stats();
    let invalid = |stats: &cupola_pipeline::receivers::otlp::TransportStats| {
        let counts = [Signal::Logs, Signal::Traces].map(|signal| {
            stats
                .signal(signal)
                .requests_invalid
                .load(std::sync::atomic::Ordering::Relaxed)
        });
        counts.iter().sum::<u64>()
    };
    assert_eq!((invalid(&stats.http), invalid(&stats.grpc)), (5, 5));
}
