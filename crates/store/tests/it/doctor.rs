//! The doctor finds what is wrong with a directory, and repairs without throwing data away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_store::io::{FileSystem, WritableFile};
use cupola_store::{ProblemKind, Store, StoreError};

use crate::rows::{HOUR, Stopped, log_numbers, logs, open, quiet};
use crate::simulated::{Simulated, Survival};

fn segments(disk: &Simulated) -> Vec<PathBuf> {
    disk.paths()
        .into_iter()
        .filter(|path| path.starts_with("/data/data"))
        .collect()
}

async fn three_segments_and_a_log() -> Simulated {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    for batch in 0..3 {
        store
            .append(logs("a", batch * 10..batch * 10 + 10))
            .await
            .unwrap();
        store.flush().await.unwrap();
    }
    store.append(logs("a", 30..40)).await.unwrap();
    store.append(logs("a", 40..50)).await.unwrap();
    disk.reboot(Survival::Nothing)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_directory_has_no_problems() {
    let disk = three_segments_and_a_log().await;
    let report = Store::check(quiet(Arc::new(disk.clone())), false).await.unwrap();
    assert!(report.is_healthy(), "{report:?}");
    assert_eq!((report.segments, report.rows, report.journal_records), (3, 30, 2));
    assert_eq!(
        log_numbers(&open(quiet(Arc::new(disk))).await, "a").await.len(),
        50
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_problem_is_found_and_what_can_be_is_repaired() {
    let disk = three_segments_and_a_log().await;
    let files = segments(&disk);
    disk.remove(&files[0]).unwrap();
    disk.edit(&files[1], |data| {
        let middle = data.len() / 2;
        data[middle..middle + 64].fill(0xff);
    });
    let orphan = files[2].with_file_name("orphan.parquet");
    let mut file: Box<dyn WritableFile> = disk.create(&orphan).unwrap();
    file.write_all(b"half a segment").unwrap();
    let log = disk
        .paths()
        .into_iter()
        .find(|path| path.starts_with("/data/journal"))
        .unwrap();
    disk.edit(&log, |data| {
        data[100] ^= 1;
        data.extend_from_slice(b"CREC torn");
    });
    use ProblemKind::{DamagedLog, Missing, Orphan, TornLog, Unreadable};
    for (repair, kinds) in [
        (false, vec![Orphan, Missing, Unreadable, DamagedLog, TornLog]),
        (true, vec![Orphan, Missing, Unreadable, DamagedLog, TornLog]),
        (true, vec![DamagedLog, TornLog]),
    ] {
        let report = Store::check(quiet(Arc::new(disk.clone())), repair).await.unwrap();
        let mut found: Vec<ProblemKind> = report.problems.iter().map(|problem| problem.kind).collect();
        found.sort_by_key(|kind| *kind as u8);
        assert_eq!(found, kinds, "{:#?}", report.problems);
        for problem in &report.problems {
            let is_segment = matches!(problem.kind, Missing | Unreadable);
            assert_eq!(problem.rows, if is_segment { 10 } else { 0 }, "{problem:?}");
            let is_moved = repair && problem.kind == Unreadable;
            let place = is_moved.then(|| format!("quarantine/{}", problem.path));
            assert_eq!(problem.moved_to, place);
        }
    }
    assert!(!disk.paths().contains(&orphan));
    let kept = Path::new("/data/quarantine/data/a/logs");
    assert!(disk.paths().iter().any(|path| path.starts_with(kept)));
    let store = open(quiet(Arc::new(disk))).await;
    assert_eq!(
        log_numbers(&store, "a").await.len(),
        20,
        "one segment, one batch of the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_a_store_is_left_alone() {
    let disk = Simulated::new();
    let refused = Store::check(quiet(Arc::new(disk.clone())), true)
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused}");
    assert_eq!(disk.operations(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_removes_orphans() {
    let disk = three_segments_and_a_log().await;
    let orphan = segments(&disk)[0].with_file_name("orphan.parquet");
    let mut file = disk.create(&orphan).unwrap();
    file.write_all(b"half a segment").unwrap();
    let (store, report) = Store::open(quiet(Arc::new(disk.clone()))).await.unwrap();
    assert_eq!(report.orphans_removed, 1);
    assert!(!disk.paths().contains(&orphan));
    assert_eq!(log_numbers(&store, "a").await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_orphan_is_left_alone() {
    let disk = three_segments_and_a_log().await;
    let orphan = segments(&disk)[0].with_file_name("orphan.parquet");
    disk.create(&orphan).unwrap();
    let mut config = quiet(Arc::new(disk.clone()));
    // Files of this disk are from 1970.
    config.clock = Arc::new(Stopped(HOUR));
    let report = Store::check(config.clone(), true).await.unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(!report.problems[0].repaired);
    let (_, report) = Store::open(config).await.unwrap();
    assert_eq!(report.orphans_removed, 0);
    assert!(disk.paths().contains(&orphan));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_a_lost_catalog_are_not_taken_for_orphans() {
    let manifests = |disk: &Simulated, from: &str| {
        let mut manifests = disk.paths();
        let from = Path::new("/data/manifest").join(from);
        manifests.retain(|path| path.starts_with("/data/manifest") && *path >= from);
        manifests
    };
    for (lost, has_log) in [("", true), ("", false), ("00000000000000000003", true)] {
        let disk = three_segments_and_a_log().await;
        if !has_log {
            open(quiet(Arc::new(disk.clone())))
                .await
                .shutdown()
                .await
                .unwrap();
        }
        let kept = segments(&disk);
        for path in manifests(&disk, lost) {
            disk.remove(&path).unwrap();
        }
        let disk = disk.reboot(Survival::Everything);
        let opened = Store::open(quiet(Arc::new(disk.clone()))).await.map(|_| ());
        let repaired = Store::check(quiet(Arc::new(disk.clone())), true)
            .await
            .map(|_| ());
        for refused in [opened.unwrap_err(), repaired.unwrap_err()] {
            assert!(matches!(refused, StoreError::Inconsistent { .. }), "{refused}");
            assert!(refused.to_string().contains("manifests are missing"), "{refused}");
        }
        assert_eq!(segments(&disk), kept);
    }
}
