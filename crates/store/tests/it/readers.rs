//! A reader that looks all the time while batches arrive and segments are made and merged: counts never fall, no row is
//! there twice, and what was acknowledged before it looked is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cupola_store::io::Disk;
use cupola_store::{StoreConfig, Table};
use futures::FutureExt;

use crate::rows::{log_numbers, log_numbers_of, logs, open, point_numbers, points, points_of, quiet, tenant};
use crate::simulated::Simulated;

const BATCHES: u64 = 150;
const ITEMS: u64 = 20;

fn busy(directory: &std::path::Path) -> StoreConfig {
    let mut config = StoreConfig::new(directory);
    config.file_system = Arc::new(Disk);
    config.flush_bytes_max = 16 << 10;
    config.seal_bytes_max = 4 << 10;
    config.flush_interval = Duration::from_millis(50);
    config.compaction.interval = Duration::from_millis(20);
    config.compaction.files_min = 2;
    config.manifest_checkpoint_every = 5;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_never_fall_and_acknowledged_rows_are_visible() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(busy(directory.path())).await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, acknowledged, done) = (store.clone(), acknowledged.clone(), done.clone());
        async move {
            for batch in 0..BATCHES {
                let numbers = batch * ITEMS..(batch + 1) * ITEMS;
                store.append(logs("a", numbers.clone())).await.unwrap();
                store.append(points("a", numbers.clone())).await.unwrap();
                acknowledged.store(numbers.end, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    let mut looks = 0;
    let mut last = 0;
    let mut held = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let certain = acknowledged.load(Ordering::SeqCst);
        let snapshot = store.snapshot(&tenant("a")).await.unwrap();
        let rows = snapshot.table(Table::Logs).rows();
        assert!(rows >= certain, "{rows} rows, {certain} acknowledged");
        assert!(rows >= last, "{rows} rows after {last}");
        assert!(snapshot.table(Table::Samples).rows() >= certain);
        last = rows;
        looks += 1;
        if looks % 16 == 0 {
            held.push((rows, snapshot));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.await.unwrap();
    // What was held is still there as it was, files included.
    for (rows, snapshot) in &held {
        let found = log_numbers_of(&store, snapshot).await;
        assert_eq!(found, (0..*rows).collect::<Vec<_>>());
    }
    let expected: Vec<u64> = (0..BATCHES * ITEMS).collect();
    assert_eq!(log_numbers(&store, "a").await, expected);
    assert_eq!(point_numbers(&store, "a").await, expected);
    let counters = store.status().counters;
    println!(
        "{looks} looks, {} flushes, {} merges",
        counters.flushes, counters.compactions
    );
    assert!(counters.flushes > 1 && counters.compactions > 0);
    assert_eq!((counters.flush_failures, counters.compaction_failures), (0, 0));
    drop(held);
    store.shutdown().await.unwrap();
    let status = store.status();
    assert_eq!(status.memory_used, status.series_registry_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_keeps_its_files_and_rows_through_a_deletion() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = busy(directory.path());
    config.background = false;
    let store = open(config).await;
    store.append(logs("a", 0..10)).await.unwrap();
    store.flush().await.unwrap();
    store.append(logs("a", 10..20)).await.unwrap();
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    let request = cupola_store::DeleteRequest {
        tenant: tenant("a"),
        filter: None,
    };
    assert_eq!(store.delete(request).await.unwrap().rows, 20);
    assert!(log_numbers(&store, "a").await.is_empty());
    assert_eq!(
        log_numbers_of(&store, &snapshot).await,
        (0..20).collect::<Vec<_>>()
    );
    drop(snapshot);
    while store.status().counters.segments_removed < 2 {
        tokio::task::yield_now().await;
    }
    let left = std::fs::read_dir(directory.path().join("data")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_takes_no_rows_with_it() {
    let store = open(quiet(Arc::new(Simulated::new()))).await;
    for batch in 0..20 {
        let numbers = batch * 10..batch * 10 + 10;
        // Every point has a series of its own.
        store
            .append(points_of("a", numbers.clone(), u64::MAX))
            .await
            .unwrap();
        store.append(logs("a", numbers)).await.unwrap();
        let tenant = tenant("a");
        let snapshot = store.snapshot(&tenant);
        match batch {
            // The day is known from here on.
            0 => drop(snapshot.await.unwrap()),
            // Polled once: columns are being made, and whoever wanted them is gone.
            _ => drop(snapshot.now_or_never()),
        }
    }
    for _ in 0..2 {
        let snapshot = store.snapshot(&tenant("a")).await.unwrap();
        assert_eq!(snapshot.table(Table::Samples).rows(), 200);
        assert_eq!(snapshot.table(Table::Series).rows(), 200);
        assert_eq!(log_numbers(&store, "a").await, (0..200).collect::<Vec<_>>());
        store.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_get_each_batch_after_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(busy(directory.path())).await;
    let mut tail = store.subscribe();
    store.append(logs("a", 0..3)).await.unwrap();
    store.append(points("b", 0..2)).await.unwrap();
    assert_eq!(tail.try_recv().unwrap().items(), 3);
    assert_eq!(tail.try_recv().unwrap().tenant(), &tenant("b"));
    assert_eq!(store.tenants(), [tenant("a"), tenant("b")]);
}
