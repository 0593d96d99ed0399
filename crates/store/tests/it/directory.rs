//! The data directory: one process at a time, one format.

use std::sync::Arc;

use cupola_store::io::Disk;
use cupola_store::{Store, StoreError};

use crate::rows::{log_numbers, logs, open, quiet};

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
