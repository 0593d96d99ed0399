//! The memory budget: beyond it batches are refused, and taken again once a flush has made room.

use std::sync::Arc;
use std::time::Duration;

use cupola_store::AppendError;
use cupola_telemetry::memory::MemoryBudget;

use crate::rows::{log_numbers, logs, open, quiet};
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
