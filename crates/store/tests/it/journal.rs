//! The write-ahead log: what is acknowledged survives, what was torn is cut, what is damaged is reported and skipped.

use std::path::PathBuf;
use std::sync::Arc;

use cupola_store::io::FileSystem;
use cupola_store::{AppendError, RecoveryReport, Store, StoreError};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, poll};

use crate::rows::{log_numbers, logs, open, quiet};
use crate::simulated::{Simulated, Survival};

const BATCHES: u64 = 4;

/// A disk whose log has batches of 10 items each, none of them flushed.
async fn written() -> Simulated {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    for batch in 0..BATCHES {
        store
            .append(logs("a", batch * 10..batch * 10 + 10))
            .await
            .unwrap();
    }
    disk.reboot(Survival::Nothing)
}

fn log_file(disk: &Simulated) -> PathBuf {
    let mut files = disk
        .paths()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "wal"));
    files.next().unwrap()
}

async fn recover(disk: &Simulated) -> (Store, RecoveryReport) {
    Store::open(quiet(Arc::new(disk.clone()))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_batches_are_there_after_a_power_loss() {
    let disk = written().await;
    let (store, report) = recover(&disk).await;
    assert_eq!(
        (report.replayed_batches, report.replayed_items),
        (BATCHES, BATCHES * 10)
    );
    assert_eq!(report.damaged, []);
    assert_eq!(
        log_numbers(&store, "a").await,
        (0..BATCHES * 10).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_at_any_byte_gives_every_whole_record_before() {
    let disk = written().await;
    let file = log_file(&disk);
    let mut bytes = 0;
    disk.edit(&file, |data| bytes = data.len());
    let mut found = Vec::new();
    for cut in 0..=bytes {
        let disk = disk.copy();
        disk.edit(&file, |data| data.truncate(cut));
        let (_, report) = recover(&disk).await;
        assert_eq!(report.damaged, [], "cut at {cut}");
        assert_eq!(report.replayed_items, report.replayed_batches * 10);
        found.push(report.replayed_batches);
    }
    assert!(found.is_sorted());
    assert_eq!((found[0], found[bytes]), (0, BATCHES));
    assert_eq!(found[bytes - 1], BATCHES - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_any_byte_changed_loses_at_most_one_batch_and_says_so() {
    let disk = written().await;
    let file = log_file(&disk);
    let mut bytes = 0;
    disk.edit(&file, |data| bytes = data.len());
    for at in 0..bytes {
        let disk = disk.copy();
        disk.edit(&file, |data| data[at] ^= 0x40);
        let (_, report) = recover(&disk).await;
        assert!(
            report.replayed_batches >= BATCHES - 1,
            "changed at {at}: {report:?}"
        );
        let lost = BATCHES - report.replayed_batches;
        let told = report.damaged.len() as u64 + u64::from(report.torn_bytes > 0);
        assert!(told >= lost, "changed at {at}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_garbage_is_read_without_a_panic() {
    use rand::{Rng, SeedableRng};
    let disk = written().await;
    let file = log_file(&disk);
    for seed in 0..200 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let disk = disk.copy();
        disk.edit(&file, |data| {
            for _ in 0..random.random_range(1..20) {
                let at = random.random_range(0..data.len());
                match random.random_range(0..4) {
                    0 => data[at] = random.random(),
                    1 => data.truncate(at.max(1)),
                    2 => {
                        let part = data[at..].to_vec();
                        data.extend(part);
                    }
                    _ => data.insert(at, random.random()),
                }
            }
        });
        let (store, report) = recover(&disk).await;
        store.append(logs("a", [1000])).await.unwrap();
        assert!(report.replayed_batches <= BATCHES, "seed {seed}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_in_the_middle_is_reported_kept_aside_and_skipped() {
    let disk = written().await;
    let file = log_file(&disk);
    disk.edit(&file, |data| {
        let middle = data.len() / 2;
        data[middle] ^= 1;
    });
    let (store, report) = recover(&disk).await;
    assert_eq!(report.replayed_batches, BATCHES - 1);
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(log_numbers(&store, "a").await.len() as u64, (BATCHES - 1) * 10);
    store.append(logs("a", 100..110)).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(log_numbers(&store, "a").await.len() as u64, BATCHES * 10);
    assert!(
        disk.paths()
            .iter()
            .any(|path| path.starts_with("/data/quarantine"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_log_is_sound_again_without_another_batch() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    store.probe_journal().await.unwrap();
    disk.set_capacity(Some(disk.used()));
    store.append(logs("a", 500..600)).await.unwrap_err();
    let refused = store.probe_journal().await.unwrap_err();
    assert!(matches!(refused, StoreError::Io { .. }), "{refused}");
    assert!(store.status().journal_failing);
    disk.set_capacity(None);
    store.probe_journal().await.unwrap();
    assert!(!store.status().journal_failing);
    assert!(!disk.paths().iter().any(|path| path.ends_with("probe")));
    store.append(logs("a", 10..20)).await.unwrap();
    let (store, report) = recover(&disk.reboot(Survival::Nothing)).await;
    assert_eq!(report.damaged, []);
    assert_eq!(log_numbers(&store, "a").await, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_retryably_and_recovers_by_itself() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    for room in [0, 1, 30, 100] {
        disk.set_capacity(Some(disk.used() + room));
        let refused = store.append(logs("a", 500..600)).await.unwrap_err();
        assert!(matches!(refused, AppendError::StorageFull { .. }), "{refused}");
        assert!(refused.is_retryable());
        assert!(store.status().journal_failing);
    }
    assert_eq!(log_numbers(&store, "a").await, (0..10).collect::<Vec<_>>());
    disk.set_capacity(None);
    store.append(logs("a", 10..20)).await.unwrap();
    assert!(!store.status().journal_failing);
    for survival in [Survival::Nothing, Survival::Everything] {
        let (store, report) = recover(&disk.reboot(survival)).await;
        assert_eq!(report.damaged, []);
        assert_eq!(log_numbers(&store, "a").await, (0..20).collect::<Vec<_>>());
    }
    assert_eq!(store.status().counters.refused_storage_full, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_first_file_is_survived_too() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    disk.set_capacity(Some(disk.used() + 10));
    let refused = store.append(logs("a", 0..10)).await.unwrap_err();
    assert!(matches!(refused, AppendError::StorageFull { .. }), "{refused}");
    disk.set_capacity(None);
    store.append(logs("a", 0..10)).await.unwrap();
    let (store, _) = recover(&disk.reboot(Survival::Nothing)).await;
    assert_eq!(log_numbers(&store, "a").await, (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_nothing_is_claimed_lost_or_doubled() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    disk.fail_syncs(1);
    let refused = store.append(logs("a", 10..20)).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::Failed { .. }) && refused.is_retryable(),
        "{refused}"
    );
    assert_eq!(log_numbers(&store, "a").await, (0..10).collect::<Vec<_>>());
    // The sender repeats it. The old file would now call any sync a success and keep nothing.
    store.append(logs("a", 10..20)).await.unwrap();
    store.append(logs("a", 20..30)).await.unwrap();
    assert_eq!(store.status().counters.journal_poisoned, 1);
    for survival in [
        Survival::Nothing,
        Survival::Everything,
        Survival::Some(1),
        Survival::Some(2),
    ] {
        let (store, report) = recover(&disk.reboot(survival)).await;
        assert_eq!(report.damaged, [], "{survival:?}");
        assert_eq!(
            log_numbers(&store, "a").await,
            (0..30).collect::<Vec<_>>(),
            "{survival:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_write_nothing_is_claimed_lost_or_doubled() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    // A group, the header of the next file, and that of the one after it.
    disk.fail_writes(3);
    for _ in 0..2 {
        let refused = store.append(logs("a", 10..20)).await.unwrap_err();
        assert!(matches!(refused, AppendError::Failed { .. }), "{refused}");
    }
    store.append(logs("a", 10..20)).await.unwrap();
    for survival in [Survival::Nothing, Survival::Everything, Survival::Some(3)] {
        let (store, _) = recover(&disk.reboot(survival)).await;
        assert_eq!(
            log_numbers(&store, "a").await,
            (0..20).collect::<Vec<_>>(),
            "{survival:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_bounded_and_removed_when_flushed() {
    let disk = Simulated::new();
    let mut config = quiet(Arc::new(disk.clone()));
    config.wal_segment_bytes_max = 1000;
    let store = open(config).await;
    for batch in 0..20 {
        store
            .append(logs("a", batch * 10..batch * 10 + 10))
            .await
            .unwrap();
    }
    let log_files = || {
        disk.paths()
            .iter()
            .filter(|path| path.starts_with("/data/journal"))
            .count()
    };
    assert!(log_files() > 3, "{}", log_files());
    assert_eq!(store.status().journal_files as usize, log_files());
    store.flush().await.unwrap();
    assert_eq!(log_files(), 0);
    let (store, report) = recover(&disk.reboot(Survival::Nothing)).await;
    assert_eq!(report.replayed_batches, 0);
    assert_eq!(log_numbers(&store, "a").await, (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_a_sync_shares_the_next_one() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    disk.hold_syncs(true);
    let sender = store.clone();
    let first = tokio::spawn(async move { sender.append(logs("a", [0])).await });
    disk.wait_for_held().await;
    // Asked once, each is in the queue.
    let mut others: FuturesUnordered<_> = (1..64).map(|number| store.append(logs("a", [number]))).collect();
    assert!(
        poll!(others.next()).is_pending(),
        "nothing is acknowledged before its sync"
    );
    assert!(log_numbers(&store, "a").await.is_empty(), "or seen");
    disk.hold_syncs(false);
    first.await.unwrap().unwrap();
    while let Some(acknowledged) = others.next().await {
        acknowledged.unwrap();
    }
    let counters = store.status().counters;
    assert_eq!((counters.appended_batches, counters.appended_items), (64, 64));
    assert!(counters.journal_syncs <= 3, "{} syncs", counters.journal_syncs);
    let (store, _) = recover(&disk.reboot(Survival::Nothing)).await;
    assert_eq!(log_numbers(&store, "a").await, (0..64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_compressed() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    for batch in 0..4 {
        store
            .append(logs("a", batch * 100..batch * 100 + 100))
            .await
            .unwrap();
    }
    let written = disk.metadata(&log_file(&disk)).unwrap().bytes;
    let counters = store.status().counters;
    assert!(
        written < counters.appended_bytes / 2,
        "{written} bytes for {} of OTLP",
        counters.appended_bytes
    );
    assert!(counters.journal_bytes.abs_diff(written) <= 100, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_records_stay_refused_after_a_restart() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    disk.fail_syncs(1);
    store.append(logs("a", 10..20)).await.unwrap_err();
    // The machine has the bytes all the same, and the process ends before anything else is sent.
    let restarted = disk.restarted();
    let (store, report) = recover(&restarted).await;
    assert_eq!(report.damaged, []);
    assert_eq!(log_numbers(&store, "a").await, (0..10).collect::<Vec<_>>());
    store.append(logs("a", 10..20)).await.unwrap();
    assert_eq!(log_numbers(&store, "a").await, (0..20).collect::<Vec<_>>());
    let (store, _) = recover(&restarted.reboot(Survival::Nothing)).await;
    assert_eq!(log_numbers(&store, "a").await, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_acknowledged_records_do_not_pile_up() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    for _ in 0..10 {
        disk.fail_syncs(1);
        store.append(logs("a", 10..20)).await.unwrap_err();
    }
    assert_eq!(store.status().journal_files, 2);
    let mut files = disk.paths();
    files.retain(|path| path.starts_with("/data/journal"));
    assert_eq!(files.len(), 2, "{files:?}");
    store.append(logs("a", 10..20)).await.unwrap();
    let (store, _) = recover(&disk.reboot(Survival::Nothing)).await;
    assert_eq!(log_numbers(&store, "a").await, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_has_shown_survives_a_power_loss() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    // The process ends between the write of a group and its sync.
    disk.crash_at(disk.operations() + 2);
    store.append(logs("a", 10..20)).await.unwrap_err();
    let restarted = disk.restarted();
    let (store, _) = recover(&restarted).await;
    let shown = log_numbers(&store, "a").await;
    assert_eq!(shown, (0..20).collect::<Vec<_>>());
    store.append(logs("a", 20..30)).await.unwrap();
    let (store, report) = recover(&restarted.reboot(Survival::Nothing)).await;
    assert_eq!(report.damaged, []);
    assert_eq!(log_numbers(&store, "a").await, (0..30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_of_another_directory_is_refused() {
    let (disk, other) = (written().await, written().await);
    let mut foreign = Vec::new();
    other.edit(&log_file(&other), |data| foreign = data.clone());
    let path = log_file(&disk).with_file_name("00000000000000000009.wal");
    disk.create(&path).unwrap();
    disk.edit(&path, |data| *data = foreign);
    let refused = Store::open(quiet(Arc::new(disk.clone()))).await.unwrap_err();
    assert!(matches!(refused, StoreError::Inconsistent { .. }), "{refused}");
    assert!(
        refused.to_string().contains("00000000000000000009.wal"),
        "{refused}"
    );
    disk.remove(&path).unwrap();
    let (_, report) = recover(&disk).await;
    assert_eq!(report.replayed_batches, BATCHES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_the_file_that_names_it_is_not_begun_anew() {
    let disk = written().await;
    let format = PathBuf::from("/data/FORMAT");
    let text = disk.read(&format).unwrap();
    disk.remove(&format).unwrap();
    let refused = Store::open(quiet(Arc::new(disk.clone()))).await.unwrap_err();
    assert!(matches!(refused, StoreError::Inconsistent { .. }), "{refused}");
    disk.create(&format).unwrap();
    disk.edit(&format, |data| *data = text);
    let (_, report) = recover(&disk).await;
    assert_eq!(report.replayed_batches, BATCHES);
}
