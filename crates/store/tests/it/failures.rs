//! What cannot be read or written harms nothing else, and leaves nothing behind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_store::{
    AttributeSet, Comparison, DeleteRequest, Literal, RetentionRule, RowFilter, Store, StoreConfig,
    StoreError, Table,
};
use cupola_telemetry::Signal;

use crate::crash::of_user;
use crate::rows::{
    HOUR, START, empty_logs, log_numbers, logs, open, point_numbers, points, quiet, tenant, text,
};
use crate::simulated::{Simulated, Survival};

fn files(disk: &Simulated, directory: &str) -> Vec<PathBuf> {
    let mut files = disk.paths();
    files.retain(|path| path.starts_with(directory));
    files
}

fn spoil(disk: &Simulated, file: &std::path::Path) {
    disk.edit(file, |data| {
        let middle = data.len() / 2;
        data.truncate(middle);
    });
}

fn eager(disk: &Simulated) -> StoreConfig {
    let mut config = quiet(Arc::new(disk.clone()));
    config.compaction.files_min = 2;
    config
}

async fn segments(store: &Store, name: &str, table: Table) -> usize {
    store
        .snapshot(&tenant(name))
        .await
        .unwrap()
        .table(table)
        .segments
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_series_segment_does_not_stop_ingest() {
    let disk = Simulated::new();
    let store = open(eager(&disk)).await;
    store.append(points("a", 0..5)).await.unwrap();
    store.shutdown().await.unwrap();
    spoil(&disk, &files(&disk, "/data/data/a/series")[0]);
    let store = open(eager(&disk)).await;
    store.append(points("a", 5..10)).await.unwrap();
    store.append(logs("b", 0..5)).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(log_numbers(&store, "b").await, [0, 1, 2, 3, 4]);
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    assert_eq!(snapshot.table(Table::Samples).rows(), 10);
    // The series are there again, under numbers that no other has.
    let last: Vec<u64> = snapshot
        .table(Table::Series)
        .segments
        .iter()
        .filter_map(|segment| segment.meta.max_series_id)
        .collect();
    assert_eq!(last.len(), 2);
    assert_eq!(last[0].abs_diff(last[1]), 3, "three series, three new numbers");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_segment_does_not_stop_compaction_retention_and_deletion() {
    let disk = Simulated::new();
    let mut config = eager(&disk);
    config.retention = vec![RetentionRule {
        filter: Some(of_user(1)),
        ..RetentionRule::signal(Signal::Logs, Duration::from_secs(60))
    }];
    let store = open(config).await;
    for batch in 0..4 {
        for name in ["a", "b"] {
            store.append(logs(name, batch * 3..batch * 3 + 3)).await.unwrap();
        }
        store.flush().await.unwrap();
    }
    spoil(&disk, &files(&disk, "/data/data/a/logs")[0]);
    store.compact().await.unwrap();
    assert_eq!(segments(&store, "a", Table::Logs).await, 2);
    assert_eq!(segments(&store, "b", Table::Logs).await, 1);
    let report = store.apply_retention(START + 2 * HOUR).await.unwrap();
    assert_eq!(report.rows, 7, "three of four rows of a, four of b");
    assert_eq!(log_numbers(&store, "b").await, [0, 2, 3, 5, 6, 8, 9, 11]);
    // Whoever asks for a deletion is told what could not be looked at; the rest is deleted.
    let request = |name: &str| DeleteRequest {
        tenant: tenant(name),
        filter: Some(of_user(2)),
    };
    let error = store.delete(request("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Segment { .. }), "{error}");
    let snapshot = store.snapshot(&tenant("a")).await.unwrap();
    assert_eq!(snapshot.table(Table::Logs).rows(), 3 + 3);
    store.delete(request("b")).await.unwrap();
    assert_eq!(log_numbers(&store, "b").await, [0, 3, 6, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_fail_leave_no_files_behind() {
    let disk = Simulated::new();
    let store = open(eager(&disk)).await;
    for batch in 0..3 {
        store
            .append(logs("a", batch * 10..batch * 10 + 10))
            .await
            .unwrap();
        store.flush().await.unwrap();
    }
    store.append(logs("a", 30..40)).await.unwrap();
    disk.fail_names_in(Some("/data/manifest"));
    for _ in 0..5 {
        store.compact().await.unwrap_err();
        store.flush().await.unwrap_err();
        let request = DeleteRequest {
            tenant: tenant("a"),
            filter: Some(of_user(0)),
        };
        store.delete(request).await.unwrap_err();
        // One merged file, one flushed.
        let found = files(&disk, "/data/data").len();
        assert!(found <= 5, "{found} files");
    }
    disk.fail_names_in(None);
    store.flush().await.unwrap();
    store.compact().await.unwrap();
    store.shutdown().await.unwrap();
    assert_eq!(files(&disk, "/data/data").len(), 1);
    assert_eq!(log_numbers(&store, "a").await, (0..40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_answer_got_lost_takes_no_new_series_with_it() {
    let disk = Simulated::new();
    let store = open(eager(&disk)).await;
    store.append(points("a", 0..6)).await.unwrap();
    store.flush().await.unwrap();
    disk.fail_directory_syncs_of(Some("/data/manifest"));
    let request = DeleteRequest {
        tenant: tenant("a"),
        filter: None,
    };
    store.delete(request).await.unwrap_err();
    disk.fail_directory_syncs_of(None);
    // It is in the catalog all the same. The same series come again.
    store.append(points("a", 6..12)).await.unwrap();
    assert_eq!(point_numbers(&store, "a").await, (6..12).collect::<Vec<_>>());
    store.flush().await.unwrap();
    for store in [&store, &open(eager(&disk.reboot(Survival::Nothing))).await] {
        assert_eq!(point_numbers(store, "a").await, (6..12).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_senders_choose_do_not_fill_the_catalog() {
    let disk = Simulated::new();
    let store = open(eager(&disk)).await;
    let key = "k".repeat(100_000);
    store
        .append(empty_logs("a", 3, vec![text(&key, "value")]))
        .await
        .unwrap();
    let service = "s".repeat(100_000);
    store
        .append(empty_logs("b", 1, vec![text("service.name", &service)]))
        .await
        .unwrap();
    store.append(logs("a", 0..3)).await.unwrap();
    store.flush().await.unwrap();
    let mut manifest = 0;
    for path in files(&disk, "/data/manifest") {
        disk.edit(&path, |data| manifest += data.len());
    }
    assert!(manifest < 10_000, "{manifest} bytes");
    let snapshot = store.snapshot(&tenant("b")).await.unwrap();
    assert!(
        snapshot.table(Table::Logs).segments[0]
            .meta
            .may_have_service(&service)
    );
    drop(snapshot);
    let request = DeleteRequest {
        tenant: tenant("a"),
        filter: Some(RowFilter::Attribute {
            set: AttributeSet::Resource,
            key,
            comparison: Comparison::Equal,
            value: Literal::Text("value".to_owned()),
        }),
    };
    assert_eq!(store.delete(request).await.unwrap().rows, 3);
    assert_eq!(log_numbers(&store, "a").await, [0, 1, 2]);
}
