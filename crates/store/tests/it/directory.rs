//! The data directory: one process at a time, one format.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cupola_store::io::Disk;
use cupola_store::{AppendError, Store, StoreConfig, StoreError};

use crate::rows::{log_numbers, logs, open, quiet};
use crate::simulated::Simulated;

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_cannot_have_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().join("deep/data");
    let (store, report) = Store::open(config.clone()).await.unwrap();
    assert!(report.created);
    let refused = Store::open(config.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    store.append(logs("a", 0..3)).await.unwrap();
    store.shutdown().await.unwrap();
    let (store, report) = Store::open(config).await.unwrap();
    assert!(!report.created);
    assert_eq!((report.replayed_batches, report.segments), (0, 1));
    assert_eq!(log_numbers(&store, "a").await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_shutdown_nothing_is_taken_and_all_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let store = open(config).await;
    store.append(logs("a", 0..3)).await.unwrap();
    store.shutdown().await.unwrap();
    store.shutdown().await.unwrap();
    let refused = store.append(logs("a", 3..6)).await.unwrap_err();
    assert!(matches!(refused, cupola_store::AppendError::Closed), "{refused}");
    assert_eq!(log_numbers(&store, "a").await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_a_newer_version_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let format = r#"{"format": 99, "journal": "of another kind"}"#;
    std::fs::write(directory.path().join("FORMAT"), format).unwrap();
    let refused = Store::open(config.clone()).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::NewerFormat { found: 99, .. }),
        "{refused}"
    );
    std::fs::write(directory.path().join("FORMAT"), "nonsense").unwrap();
    let refused = Store::open(config).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_allowed_tenant_name_is_a_directory_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let names = [
        "a.b",
        "!*'()",
        "..a",
        "A-z_9",
        "a%2Eb".strip_suffix("%2Eb").unwrap(),
    ];
    let store = open(config.clone()).await;
    for (number, name) in names.iter().enumerate() {
        store.append(logs(name, [number as u64])).await.unwrap();
    }
    store.shutdown().await.unwrap();
    let store = open(config).await;
    for (number, name) in names.iter().enumerate() {
        assert_eq!(log_numbers(&store, name).await, [number as u64], "{name}");
        assert!(directory.path().join("data").join(name).is_dir(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_whose_segments_are_elsewhere_is_not_opened_without_them() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut right = quiet(Arc::new(Disk));
    right.directory = directory.path().to_owned();
    right.object_store_url = Some(format!("file://{}/", elsewhere.path().display()));
    let store = open(right.clone()).await;
    store.append(logs("a", 0..3)).await.unwrap();
    store.flush().await.unwrap();
    store.append(logs("a", 3..5)).await.unwrap();
    drop(store);
    // A slash more or less is the same place.
    let url = right.object_store_url.as_mut().unwrap();
    assert_eq!(url.pop(), Some('/'));
    let store = open(right.clone()).await;
    store.append(logs("a", 5..6)).await.unwrap();
    drop(store);

    let mut wrong = right.clone();
    wrong.object_store_url = None;
    let refused = loop {
        match Store::open(wrong.clone()).await {
            Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
            other => break other.map(|_| ()).unwrap_err(),
        }
    };
    assert!(matches!(refused, StoreError::OtherObjects { .. }), "{refused}");
    let refused = Store::check(wrong, true).await.unwrap_err();
    assert!(matches!(refused, StoreError::OtherObjects { .. }), "{refused}");
    assert_eq!(log_numbers(&open(right).await, "a").await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opened_for_reading_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let store = open(config.clone()).await;
    store.append(logs("a", 0..3)).await.unwrap();
    store.flush().await.unwrap();
    store.append(logs("a", 3..5)).await.unwrap();
    drop(store);
    let reading = StoreConfig {
        read_only: true,
        background: true,
        ..config.clone()
    };
    let before = files(directory.path());
    let store = open(reading).await;
    assert_eq!(log_numbers(&store, "a").await, [0, 1, 2, 3, 4]);
    assert!(store.append(logs("a", 5..6)).await.is_err());
    assert!(matches!(store.flush().await, Err(StoreError::ReadOnly)));
    assert!(matches!(store.compact().await, Err(StoreError::ReadOnly)));
    store.shutdown().await.unwrap();
    assert_eq!(files(directory.path()), before);
    assert_eq!(log_numbers(&open(config).await, "a").await, [0, 1, 2, 3, 4]);
}

/// Every file below a directory with its content, but for the lock, which names its holder.
fn files(directory: &std::path::Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.ends_with("LOCK") => {}
            false => {
                let content = std::fs::read(&path).unwrap();
                found.insert(path, content);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_let_go_when_nobody_works_in_it_any_more() {
    let disk = Simulated::new();
    let mut config = quiet(Arc::new(disk.clone()));
    config.compaction.files_min = 2;
    let store = open(config.clone()).await;
    for batch in 0..2 {
        store.append(logs("a", batch * 5..batch * 5 + 5)).await.unwrap();
        store.flush().await.unwrap();
    }
    disk.hold_names_below(Some("/data/data"));
    let merging = tokio::spawn({
        let store = store.clone();
        async move { store.compact().await }
    });
    disk.wait_for_held().await;
    // Neither does whoever asked for it wait, nor whoever closes the store.
    merging.abort();
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.shutdown().await }
    });
    // A batch without items is taken and forgotten.
    while !matches!(store.append(logs("a", [])).await, Err(AppendError::Closed)) {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        let refused = Store::open(config.clone()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    }
    disk.hold_names_below(None);
    closing.await.unwrap().unwrap();
    let (store, report) = Store::open(config).await.unwrap();
    assert_eq!((report.segments, report.orphans_removed), (1, 0));
    assert_eq!(log_numbers(&store, "a").await, (0..10).collect::<Vec<_>>());
}
