//! The data directory: one process at a time, one format.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cupola_store::io::Disk;
use cupola_store::{AppendError, HeldDirectory, Store, StoreConfig, StoreError};

use crate::rows::{Stopped, log_numbers, logs, open, quiet};
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

/// A directory of somebody else's, with names that Cupola uses for its own.
fn foreign(directory: &std::path::Path) {
    for (name, content) in [
        ("spill/mine.txt", "a"),
        ("tmp/mine.txt", "b"),
        ("data/mine.txt", "c"),
        ("manifest/mine.json", "d"),
        ("journal/mine.log", "e"),
        ("notes.txt", "f"),
    ] {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_something_else_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    foreign(directory.path());
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let before = files(directory.path());
    let refused = Store::open(config.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains("is not a Cupola data directory and is not empty"),
        "{text}"
    );
    assert_eq!(files(directory.path()), before);
    assert!(!directory.path().join("LOCK").exists());
    for repair in [false, true] {
        let refused = Store::check(config.clone(), repair).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused}");
    }
    config.read_only = true;
    let refused = Store::open(config).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused}");
    assert_eq!(files(directory.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_foreign_entry_by_itself_is_a_reason_to_refuse() {
    for name in [
        "notes.txt",
        "data/x.parquet",
        "manifest/1.json",
        "tmp/x",
        ".git/config",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let mut config = quiet(Arc::new(Disk));
        config.directory = directory.path().to_owned();
        let refused = Store::open(config).await.unwrap_err();
        assert!(matches!(refused, StoreError::Foreign { .. }), "{name}: {refused}");
    }
}

/// A process without a store keeps other things there, and may get a store later.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_held_without_a_store_is_nobody_elses_and_can_get_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().join("data");
    config.other_entries = vec!["pipeline".to_owned()];
    let held = HeldDirectory::take(&config).unwrap();
    assert!(!held.has_store);
    std::fs::create_dir_all(config.directory.join("pipeline/dead-letters")).unwrap();
    std::fs::write(config.directory.join("pipeline/dead-letters/one"), "mine").unwrap();
    let refused = HeldDirectory::take(&config).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let refused = Store::open(config.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    assert!(
        !config.directory.join("journal").exists(),
        "no store has been made"
    );
    drop(held);
    let (store, _) = Store::open(config.clone()).await.unwrap();
    let refused = HeldDirectory::take(&config).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    store.shutdown().await.unwrap();
    drop(store);
    let held = HeldDirectory::take(&config).unwrap();
    assert!(held.has_store);
    drop(held);
    let elsewhere = tempfile::tempdir().unwrap();
    foreign(elsewhere.path());
    config.directory = elsewhere.path().to_owned();
    let refused = HeldDirectory::take(&config).unwrap_err();
    assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
    assert!(!elsewhere.path().join("LOCK").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_first_start_or_a_new_file_system_leaves_is_no_reason() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["lost+found", "journal"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    std::fs::write(directory.path().join("LOCK"), "process 1").unwrap();
    std::fs::write(directory.path().join("FORMAT.part"), "{\"for").unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let (store, report) = Store::open(config).await.unwrap();
    assert!(report.created);
    store.append(logs("a", 0..3)).await.unwrap();
    assert_eq!(log_numbers(&store, "a").await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_somebody_puts_into_a_store_stay() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    open(config.clone()).await.shutdown().await.unwrap();
    foreign(directory.path());
    let unfinished = directory.path().join("tmp/01947e3c-2f00-7000-8000-000000000001");
    std::fs::write(&unfinished, "half a segment").unwrap();
    let kept = files(directory.path());
    // Years later: nothing is too young to be removed.
    config.clock = Arc::new(Stopped(i64::MAX / 2));
    let report = Store::check(config.clone(), true).await.unwrap();
    assert!(
        report.problems.iter().all(|problem| !problem.repaired),
        "{report:?}"
    );
    assert!(unfinished.exists(), "a check clears nothing");
    open(config).await.shutdown().await.unwrap();
    assert!(!unfinished.exists());
    let after = files(directory.path());
    for (path, content) in kept
        .iter()
        .filter(|(path, _)| path.to_string_lossy().contains("mine"))
    {
        assert_eq!(after.get(path), Some(content), "{path:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cleared_or_written_before_a_start_is_known_to_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let store = open(config.clone()).await;
    store.append(logs("a", 0..3)).await.unwrap();
    store.shutdown().await.unwrap();
    std::fs::remove_dir_all(directory.path().join("manifest")).unwrap();
    let unfinished = "tmp/01947e3c-2f00-7000-8000-000000000001";
    std::fs::write(directory.path().join(unfinished), "half a segment").unwrap();
    let before = files(directory.path());
    let refused = Store::open(config).await.unwrap_err();
    assert!(matches!(refused, StoreError::Inconsistent { .. }), "{refused}");
    assert_eq!(files(directory.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_format_is_known_by_its_manifests() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let store = open(config.clone()).await;
    store.append(logs("a", 0..3)).await.unwrap();
    store.shutdown().await.unwrap();
    // As the refusal of a log without its name advises.
    std::fs::remove_file(directory.path().join("FORMAT")).unwrap();
    std::fs::remove_dir_all(directory.path().join("journal")).unwrap();
    assert_eq!(log_numbers(&open(config).await, "a").await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_can_be_no_directory_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = file.clone();
    let refused = Store::open(config.clone()).await.unwrap_err();
    assert!(
        refused.to_string().ends_with("is a file, not a directory"),
        "{refused}"
    );
    config.directory = file.join("below");
    let refused = Store::open(config).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unusable { .. }), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}
