//! Compaction: fewer files, the same rows, nothing merged for ever.

use std::sync::Arc;

use cupola_store::Table;

use crate::rows::{HOUR, START, Stopped, log_numbers, logs, open, point_numbers, points, quiet, tenant};
use crate::simulated::Simulated;

#[tokio::test(flavor = "multi_thread")]
async fn small_files_of_an_hour_become_one() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.compaction.files_min = 4;
    let store = open(config).await;
    for flush in 0..3 {
        store
            .append(logs("a", flush * 10..flush * 10 + 10))
            .await
            .unwrap();
        store
            .append(points("a", flush * 10..flush * 10 + 10))
            .await
            .unwrap();
        store.flush().await.unwrap();
    }
    assert_eq!(
        store.compact().await.unwrap().merges,
        0,
        "three files are not worth it"
    );
    store.append(logs("a", 30..40)).await.unwrap();
    store.append(points("a", 30..40)).await.unwrap();
    store.flush().await.unwrap();
    let report = store.compact().await.unwrap();
    assert!(report.merges >= 2, "{report:?}");
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    assert_eq!(snapshot.table(Table::Logs).segments.len(), 1);
    assert_eq!(snapshot.table(Table::Samples).segments.len(), 1);
    assert_eq!(log_numbers(&store, "a").await, (0..40).collect::<Vec<_>>());
    assert_eq!(point_numbers(&store, "a").await, (0..40).collect::<Vec<_>>());
    assert_eq!(store.compact().await.unwrap().merges, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_stay_apart_until_their_day_has_settled() {
    let disk = Simulated::new();
    let mut config = quiet(Arc::new(disk.clone()));
    config.compaction.files_min = 2;
    let store = open(config.clone()).await;
    // A number is a second: three hours.
    for hour in 0..3 {
        store
            .append(logs("a", hour * 3600..hour * 3600 + 5))
            .await
            .unwrap();
        store.flush().await.unwrap();
    }
    store.compact().await.unwrap();
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    assert_eq!(snapshot.table(Table::Logs).segments.len(), 3);
    drop(snapshot);
    store.shutdown().await.unwrap();
    config.clock = Arc::new(Stopped(START + 27 * HOUR));
    let store = open(config).await;
    store.compact().await.unwrap();
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    assert_eq!(snapshot.table(Table::Logs).segments.len(), 1);
    assert_eq!(log_numbers(&store, "a").await.len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_many_hours_do_not_make_many_files() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.compaction.files_min = 2;
    let store = open(config).await;
    let numbers: Vec<u64> = (0..300).map(|hour| hour * 3600).collect();
    store.append(logs("a", numbers.clone())).await.unwrap();
    store.append(logs("a", [1, 2, 3])).await.unwrap();
    let report = store.flush().await.unwrap();
    assert!(report.segments <= 48, "{report:?}");
    store.compact().await.unwrap();
    let found = log_numbers(&store, "a").await;
    assert_eq!(found.len(), 303);
    assert!(numbers.iter().all(|number| found.binary_search(number).is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_do_not_have_a_settled_window_written_again_each_time() {
    let mut config = quiet(Arc::new(Simulated::new()));
    config.clock = Arc::new(Stopped(START + 27 * HOUR));
    let store = open(config).await;
    let rows = 60_000;
    store.append(logs("a", 0..rows)).await.unwrap();
    store.flush().await.unwrap();
    store.compact().await.unwrap();
    let (settled, before) = (store.status().segment_bytes, store.status().counters);
    let late = 12;
    for number in rows..rows + late {
        store.append(logs("a", [number])).await.unwrap();
        store.flush().await.unwrap();
        store.compact().await.unwrap();
    }
    let written = store.status().counters.compacted_bytes_written - before.compacted_bytes_written;
    assert!(written < 3 * settled, "{written} bytes written to {settled}");
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    assert!(snapshot.table(Table::Logs).segments.len() <= 4);
    assert_eq!(log_numbers(&store, "a").await.len() as u64, rows + late);
}
