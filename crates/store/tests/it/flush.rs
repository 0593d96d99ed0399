//! Flushing: a generation is written once it is large, however young it is.

use std::sync::Arc;
use std::time::Duration;

use cupola_store::Table;

use crate::rows::{log_numbers, logs, open, quiet, tenant};
use crate::simulated::Simulated;

/// Generous, because tests share the machine with others.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_flushed_by_its_size_long_before_its_age() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.background = true;
    config.flush_interval = Duration::from_secs(3600);
    config.compaction.interval = Duration::from_secs(3600);
    config.flush_bytes_max = 32 << 10;
    let bytes_max = config.flush_bytes_max as u64;
    let store = open(config).await;
    let mut number = 0;
    let append = async |number: &mut u64| {
        store.append(logs("a", *number..*number + 50)).await.unwrap();
        *number += 50;
    };
    append(&mut number).await;
    assert!(store.status().active_bytes < bytes_max / 4);
    assert_eq!(store.status().counters.flushes, 0);
    while store.status().counters.appended_bytes < 4 * bytes_max {
        append(&mut number).await;
    }
    let flushed = async {
        while store.status().counters.flushes < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, flushed)
        .await
        .expect("three flushes");
    let status = store.status();
    assert!(status.active_bytes < bytes_max, "{status:?}");
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    assert!(snapshot.table(Table::Logs).segments.len() >= 3);
    assert_eq!(log_numbers(&store, "a").await, (0..number).collect::<Vec<_>>());
}
