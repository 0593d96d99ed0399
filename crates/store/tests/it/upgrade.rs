//! Data directories that earlier versions made open for ever. `fixtures/` has one of each format.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_store::Store;
use cupola_store::io::Disk;

use crate::rows::{log_numbers, logs, open, point_numbers, points, quiet};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Makes the fixture of the present format. Run by hand, once for a format, never for one that was released:
/// `cargo test -p cupola-store --test it -- --ignored make_fixture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes files"]
async fn make_fixture() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory.path().to_owned();
    let store = open(config).await;
    for batch in 0..4 {
        let numbers = batch * 10..batch * 10 + 10;
        store.append(logs("a", numbers.clone())).await.unwrap();
        store.append(points("a", numbers)).await.unwrap();
        if batch < 3 {
            store.flush().await.unwrap();
        }
    }
    // As a killed process leaves it: the last batches are in the log alone.
    let fixture = fixtures().join("format-1");
    assert!(!fixture.exists(), "what is there stays as it was written");
    copy(directory.path(), &fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_directory_ever_made_opens() {
    let mut opened = 0;
    for fixture in fs::read_dir(fixtures()).unwrap().map(Result::unwrap) {
        let directory = tempfile::tempdir().unwrap();
        copy(&fixture.path(), directory.path());
        let mut config = quiet(Arc::new(Disk));
        config.directory = directory.path().to_owned();
        let report = Store::check(config.clone(), false).await.unwrap();
        assert!(report.is_healthy(), "{:?}: {:?}", fixture.path(), report.problems);
        let (store, report) = Store::open(config).await.unwrap();
        assert_eq!(report.replayed_items, 20);
        let expected: Vec<u64> = (0..40).collect();
        assert_eq!(log_numbers(&store, "a").await, expected);
        assert_eq!(point_numbers(&store, "a").await, expected);
        store.flush().await.unwrap();
        store.compact().await.unwrap();
        assert_eq!(log_numbers(&store, "a").await, expected);
        assert_eq!(point_numbers(&store, "a").await, expected);
        store.shutdown().await.unwrap();
        opened += 1;
    }
    assert!(opened >= 1);
}
