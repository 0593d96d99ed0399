//! The catalog: one commit a number, checkpoints, clear errors for what it cannot read.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_store::catalog::{Catalog, CatalogEdit, CatalogError, CatalogState, ObjectCatalog, SegmentEntry};
use cupola_store::io::DurableObjects;
use cupola_store::{SegmentMeta, Store, Table};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::rows::{log_numbers, logs, open, quiet};
use crate::simulated::Simulated;

fn entry(number: u64) -> Arc<SegmentEntry> {
    Arc::new(SegmentEntry {
        path: format!("data/a/logs/2026-01-01T00/{number}.parquet"),
        tenant: "a".to_owned(),
        table: Table::Logs,
        hour: 490_896,
        retained: Vec::new(),
        meta: SegmentMeta {
            rows: number,
            ..SegmentMeta::default()
        },
    })
}

fn adding(number: u64) -> CatalogEdit {
    CatalogEdit {
        added: vec![entry(number)],
        flushed: BTreeMap::from([("journal".to_owned(), number)]),
        ..CatalogEdit::default()
    }
}

fn catalog(objects: &Arc<dyn ObjectStore>) -> ObjectCatalog {
    ObjectCatalog::new(objects.clone(), &Path::default(), 4)
}

#[tokio::test]
async fn of_two_committers_one_wins_and_the_other_is_told() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let disk: Arc<dyn ObjectStore> = Arc::new(DurableObjects::new("/data", Arc::new(Simulated::new())));
    for objects in [memory, disk] {
        let (first, second) = (catalog(&objects), catalog(&objects));
        let empty = first.load().await.unwrap();
        let state = first.commit(&empty, &adding(1)).await.unwrap();
        let lost = second.commit(&empty, &adding(2)).await.unwrap_err();
        assert!(matches!(lost, CatalogError::Conflict { expected: 0 }), "{lost}");
        let seen = second.load().await.unwrap();
        assert_eq!(seen, state);
        let state = second.commit(&seen, &adding(2)).await.unwrap();
        assert_eq!(state.segments.len(), 2);
        assert_eq!(state.flushed["journal"], 2);
    }
}

#[tokio::test]
async fn a_long_history_loads_from_a_checkpoint_and_old_files_go() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let catalog = catalog(&objects);
    let mut state = CatalogState::default();
    for number in 1..=30 {
        let mut edit = adding(number);
        if number > 5 {
            edit.removed.push(entry(number - 5).path.clone());
        }
        state = catalog.commit(&state, &edit).await.unwrap();
        assert_eq!(catalog.load().await.unwrap(), state);
    }
    assert_eq!(state.segments.len(), 5);
    let listed = objects
        .list_with_delimiter(Some(&Path::from("manifest")))
        .await
        .unwrap();
    assert!(listed.objects.len() <= 10, "{}", listed.objects.len());
}

#[tokio::test]
async fn a_writer_that_was_away_for_long_cannot_use_an_old_number() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (busy, sleepy) = (catalog(&objects), catalog(&objects));
    let old = busy.commit(&CatalogState::default(), &adding(1)).await.unwrap();
    let mut state = old.clone();
    for number in 2..=30 {
        state = busy.commit(&state, &adding(number)).await.unwrap();
    }
    let refused = sleepy.commit(&old, &adding(99)).await.unwrap_err();
    assert!(matches!(refused, CatalogError::Conflict { .. }), "{refused}");
    assert_eq!(busy.load().await.unwrap(), state);
}

#[tokio::test]
async fn a_missing_commit_is_an_error_and_not_a_shorter_history() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let catalog = ObjectCatalog::new(objects.clone(), &Path::default(), 1000);
    let mut state = CatalogState::default();
    for number in 1..=5 {
        state = catalog.commit(&state, &adding(number)).await.unwrap();
    }
    let path = Path::from("manifest/00000000000000000003.json");
    objects.delete(&path).await.unwrap();
    let error = catalog.load().await.unwrap_err();
    assert!(error.to_string().contains("00000000000000000003.json"), "{error}");
}

#[tokio::test]
async fn a_manifest_of_a_newer_version_is_named_as_such() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("manifest/00000000000000000001.json");
    let newer = r#"{"format": 2, "version": 1, "anything": {}}"#;
    objects.put(&path, newer.into()).await.unwrap();
    let error = catalog(&objects).load().await.unwrap_err();
    assert!(
        matches!(error, CatalogError::NewerFormat { found: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("use a newer Cupola"), "{error}");
    objects.put(&path, "{".into()).await.unwrap();
    let error = catalog(&objects).load().await.unwrap_err();
    assert!(matches!(error, CatalogError::Corrupt { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_goes_on_after_somebody_else_committed() {
    let disk = Simulated::new();
    let store: Store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..5)).await.unwrap();
    store.flush().await.unwrap();
    let objects: Arc<dyn ObjectStore> = Arc::new(DurableObjects::new("/data", Arc::new(disk.clone())));
    let other = ObjectCatalog::new(objects, &Path::default(), 1000);
    let state = other.load().await.unwrap();
    let edit = CatalogEdit {
        flushed: BTreeMap::from([("another journal".to_owned(), 7)]),
        ..CatalogEdit::default()
    };
    other.commit(&state, &edit).await.unwrap();
    store.append(logs("a", 5..10)).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.status().counters.catalog_conflicts, 1);
    assert_eq!(log_numbers(&store, "a").await, (0..10).collect::<Vec<_>>());
    assert_eq!(other.load().await.unwrap().flushed["another journal"], 7);
}
