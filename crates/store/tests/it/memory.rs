//! The memory budget: beyond it batches are refused, and taken again once a flush has made room.

use std::sync::Arc;
use std::time::Duration;

use cupola_store::AppendError;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span};
use prost::Message;

use crate::rows::{batch, empty_logs, log_numbers, logs, open, points_of, quiet, tenant, text};
use crate::simulated::Simulated;

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_refused_and_over_after_a_flush() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.memory = MemoryBudget::new(200 << 10);
    let store = open(config).await;
    let mut taken = 0;
    let refused = loop {
        match store.append(logs("a", taken * 50..(taken + 1) * 50)).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1000);
    };
    assert!(matches!(refused, AppendError::Overloaded { .. }), "{refused}");
    assert!(refused.retry_after().is_some());
    assert!(taken > 5);
    assert!(store.status().memory_used <= 200 << 10);
    assert_eq!(store.status().counters.refused_overloaded, 1);
    store.flush().await.unwrap();
    assert_eq!(store.status().memory_used, 0);
    store
        .append(logs("a", taken * 50..(taken + 1) * 50))
        .await
        .unwrap();
    assert_eq!(
        log_numbers(&store, "a").await,
        (0..(taken + 1) * 50).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_asks_for_a_flush_by_itself() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.memory = MemoryBudget::new(200 << 10);
    config.background = true;
    config.flush_interval = Duration::from_secs(3600);
    let store = open(config).await;
    let mut number = 0;
    while store.status().counters.flushes < 3 {
        match store.append(logs("a", number..number + 50)).await {
            Ok(()) => number += 50,
            Err(error) => {
                assert!(matches!(error, AppendError::Overloaded { .. }), "{error}");
                tokio::task::yield_now().await;
            }
        }
    }
    store.shutdown().await.unwrap();
    assert_eq!(log_numbers(&store, "a").await, (0..number).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_allowed_is_refused_for_good() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.batch_bytes_max = 1000;
    let store = open(config).await;
    let refused = store.append(logs("a", 0..100)).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::TooLarge { bytes_max: 1000, .. }),
        "{refused}"
    );
    assert!(!refused.is_retryable());
    store.append(logs("a", 0..2)).await.unwrap();
    assert_eq!(log_numbers(&store, "a").await, [0, 1]);
}

/// Spans with nothing in them but empty events and links.
fn empty_spans(spans: usize, nested: usize) -> Batch {
    let span = Span {
        events: vec![span::Event::default(); nested],
        links: vec![span::Link::default(); nested],
        ..Default::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span; spans],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    batch(Signal::Traces, "a", request.encode_to_vec())
}

/// An attribute that has no column of its own.
fn arguments(count: usize) -> KeyValue {
    let argument = AnyValue {
        value: Some(any_value::Value::StringValue("--argument=value".to_owned())),
    };
    let values = vec![argument; count];
    KeyValue {
        key: "process.command_args".to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::ArrayValue(ArrayValue { values })),
        }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_take_no_more_than_was_reserved_for_them() {
    let keys = |count: usize| {
        (0..count)
            .map(|key| text(&format!("key.{key}"), "value"))
            .collect()
    };
    let batches = [
        ("empty records", empty_logs("a", 20_000, Vec::new())),
        ("a large resource", empty_logs("a", 5_000, keys(100))),
        ("a nested value", empty_logs("a", 2_000, vec![arguments(50)])),
        ("empty spans", empty_spans(20_000, 0)),
        ("empty events and links", empty_spans(10, 2_000)),
        ("new series", points_of("a", 0..5_000, u64::MAX)),
    ];
    for (name, batch) in batches {
        let store = open(quiet(Arc::new(Simulated::new()))).await;
        let payload = batch.payload().len();
        store.append(batch).await.unwrap();
        let reserved = store.status().memory_used;
        drop(store.snapshot(&tenant("a")).await.unwrap());
        let status = store.status();
        let held = status.memory_used - status.series_registry_bytes;
        println!("{name}: {payload} bytes, {reserved} reserved, {held} held");
        // What a vector has grown beyond its content comes on top.
        assert!(
            held <= reserved + reserved / 2,
            "{name}: {held} held, {reserved} reserved"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_columns_would_not_fit_is_refused_for_good() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.memory = MemoryBudget::new(16 << 20);
    let store = open(config).await;
    for batch in [
        empty_logs("a", 100_000, Vec::new()),
        empty_logs("a", 2_000, vec![arguments(500)]),
        empty_spans(10, 100_000),
    ] {
        assert!(batch.payload().len() < 8 << 20);
        let refused = store.append(batch).await.unwrap_err();
        assert!(matches!(refused, AppendError::TooWide { .. }), "{refused}");
        assert!(!refused.is_retryable());
    }
    assert_eq!(store.status().memory_used, 0);
    store.append(empty_logs("a", 1_000, Vec::new())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn series_beyond_their_share_are_forgotten_and_loaded_again() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.memory = MemoryBudget::new(2 << 20);
    let store = open(config).await;
    let points = 500;
    for batch in 0..40 {
        let tenant_name = ["a", "b"][batch as usize % 2];
        // Each series is sent twice.
        let numbers = batch / 4 * points..(batch / 4 + 1) * points;
        store
            .append(points_of(tenant_name, numbers, u64::MAX))
            .await
            .unwrap();
        store.flush().await.unwrap();
        let status = store.status();
        assert!(status.series_registry_bytes <= (2 << 20) / 3, "{status:?}");
        assert_eq!(status.memory_used, status.series_registry_bytes);
    }
    for name in ["a", "b"] {
        let snapshot = store.snapshot(&tenant(name)).await.unwrap();
        assert_eq!(snapshot.table(cupola_store::Table::Series).rows(), 10 * points);
        assert_eq!(snapshot.table(cupola_store::Table::Samples).rows(), 20 * points);
    }
}
