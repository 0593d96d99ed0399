//! What a spool promises: nothing that has ended is lost by a crash, and what one process leaves the next delivers.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cupola_config::units::ByteSize;
use cupola_export::queue::{Sizer, WhenFull};
use cupola_sdk_core::backend::Signals;
use cupola_sdk_core::settings::SpoolSettings;
use cupola_sdk_core::{Sdk, Settings};
use cupola_telemetry::{Batch, Signal};

use crate::kept::{Kept, LONG, say, sdk};

const SPOOL: &str = "CUPOLA_TEST_SPOOL";
const MODE: &str = "CUPOLA_TEST_MODE";

pub(crate) fn spooled(kept: &Arc<Kept>, directory: &Path) -> Settings {
    Settings {
        spool: Some(SpoolSettings {
            directory: directory.to_owned(),
            bytes_max: 64 << 20,
        }),
        ..kept.settings()
    }
}

/// Directories of processes that are in a spool.
pub(crate) fn left(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// Runs [`an_application`] in a process of its own.
pub(crate) fn start(directory: &Path, mode: &str) -> Child {
    run(directory, "crashed::an_application", mode)
}

fn run(directory: &Path, name: &str, mode: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--quiet"])
        .env(SPOOL, directory)
        .env(MODE, mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Reads what it says up to a line that begins so.
pub(crate) fn read_to(child: &mut Child, begin: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let found = lines.map(Result::unwrap).find(|line| line.starts_with(begin));
    found.unwrap_or_else(|| panic!("it ended without saying {begin:?}"))
}

#[test]
#[ignore = "is run as a process by the tests here, which kill it"]
fn an_application() {
    let (Ok(directory), Ok(mode)) = (std::env::var(SPOOL), std::env::var(MODE)) else {
        panic!("{SPOOL} and {MODE} say what to do");
    };
    let kept = Arc::new(Kept::default());
    kept.refuses.store(true, Ordering::SeqCst);
    let mut settings = spooled(&kept, Path::new(&directory));
    if mode == "queued" {
        settings.logs.queue.delay = Duration::from_millis(1);
    }
    if mode == "both" {
        settings.logs.queue.delay = LONG;
    }
    let sdk = sdk(settings);
    if mode == "second" {
        assert!(say(&sdk, "second"));
        assert!(!sdk.flush(Duration::from_millis(50)), "nobody takes it");
        println!("\ndone");
        read_to_end();
    }
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let sdk = sdk.clone();
            std::thread::spawn(move || {
                for n in 0..1_000 {
                    assert!(say(&sdk, &format!("{thread} {n}")));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    if mode == "queued" {
        // Some are in the queue, and tried; others wait in the shards.
        kept.wait(|kept, _| kept.refused.load(Ordering::SeqCst) > 0);
        assert!(say(&sdk, "last"));
    }
    if mode == "both" {
        // All are in the queue when it answers, and in no segment any more.
        assert!(!sdk.flush(Duration::from_millis(50)), "nobody takes it");
        kept.wait(|kept, _| kept.refused.load(Ordering::SeqCst) > 0);
        assert!(say(&sdk, "last"));
    }
    if mode == "adopts" {
        // The thread that exports answers when it has taken over what there was.
        assert!(!sdk.flush(Duration::from_millis(50)), "nobody takes it");
        let child = unsafe { libc::fork() };
        if child == 0 {
            // Ends by itself, should nobody end it.
            unsafe {
                libc::alarm(120);
                loop {
                    libc::pause();
                }
            }
        }
        println!("\nforked {child}");
        read_to_end();
    }
    if mode == "ended" {
        assert!(!sdk.shutdown(Duration::from_millis(200)), "nobody takes it");
        println!("\ndone");
        return;
    }
    println!("\ndone");
    loop {
        std::thread::park();
    }
}

/// Until it is killed.
fn read_to_end() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_child_of_who_has_taken_something_over_does_not_keep_it_from_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = start(directory.path(), "queued");
    read_to(&mut first, "done");
    first.kill().unwrap();
    first.wait().unwrap();

    let mut second = start(directory.path(), "adopts");
    let said = read_to(&mut second, "forked ");
    let child: libc::pid_t = said.trim_start_matches("forked ").trim().parse().unwrap();
    second.kill().unwrap();
    second.wait().unwrap();

    // The child of the second lives still.
    assert_eq!(unsafe { libc::kill(child, 0) }, 0);
    let kept = Arc::new(Kept::default());
    let next = sdk(spooled(&kept, directory.path()));
    assert!(say(&next, "next"));
    assert!(next.flush(LONG));
    let found: BTreeSet<String> = kept.logs().into_iter().collect();
    let wanted = (0..4).flat_map(|thread| (0..1_000).map(move |n| format!("{thread} {n}")));
    let missing = wanted.filter(|body| !found.contains(body)).count();
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
    assert_eq!(missing, 0);
    assert!(found.contains("last") && found.contains("next"));
    assert!(next.shutdown(LONG));
    assert_eq!(left(directory.path()), Vec::<PathBuf>::new());
}

fn killed_and_taken_over(mode: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(directory.path(), mode);
    read_to(&mut child, "done");
    if mode != "ended" {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    assert_eq!(left(directory.path()).len(), 1);

    let kept = Arc::new(Kept::default());
    let next = sdk(spooled(&kept, directory.path()));
    assert!(say(&next, "next"));
    assert!(next.flush(LONG));
    let mut wanted: BTreeSet<String> = (0..4)
        .flat_map(|thread| (0..1_000).map(move |n| format!("{thread} {n}")))
        .collect();
    wanted.insert("next".to_owned());
    if mode == "queued" {
        wanted.insert("last".to_owned());
    }
    let arrived = kept.logs();
    let different: BTreeSet<String> = arrived.iter().cloned().collect();
    let missing: Vec<&String> = wanted.difference(&different).take(5).collect();
    assert_eq!(
        missing,
        Vec::<&String>::new(),
        "{} of {} arrived",
        different.len(),
        wanted.len()
    );
    assert_eq!(different.len(), wanted.len());
    if mode == "ended" {
        // Nothing was under way from one place to the next, as it may be at a kill.
        assert_eq!(arrived.len(), wanted.len(), "none twice");
    }
    assert!(next.shutdown(LONG));
    drop(next);
    assert_eq!(
        left(directory.path()),
        Vec::<PathBuf>::new(),
        "nothing is left of either"
    );
}

#[test]
fn what_was_recorded_and_not_exported_survives_a_kill() {
    killed_and_taken_over("recorded");
}

#[test]
fn what_was_in_a_queue_survives_a_kill() {
    killed_and_taken_over("queued");
}

#[test]
fn what_could_not_be_delivered_until_the_end_is_delivered_by_the_next_start() {
    killed_and_taken_over("ended");
}

#[test]
fn nobody_takes_what_a_process_has_that_lives() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(directory.path(), "recorded");
    read_to(&mut child, "done");
    let kept = Arc::new(Kept::default());
    let other = sdk(spooled(&kept, directory.path()));
    assert!(say(&other, "mine"));
    assert!(other.flush(LONG));
    assert_eq!(kept.logs(), ["mine"]);
    other.shutdown(LONG);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_child_that_lives_does_not_keep_what_its_parent_left() {
    let directory = tempfile::tempdir().unwrap();
    let kept = Arc::new(Kept::default());
    let parent: Sdk = sdk(spooled(&kept, directory.path()));
    assert!(say(&parent, "of the parent"));
    let said = crate::forked::in_child(|| {
        assert!(say(&parent, "of the child"));
        let flushed = parent.flush(LONG);
        let processes = left(directory.path()).len();
        parent.shutdown(LONG);
        format!("{flushed} {processes} {}", kept.logs().join(","))
    });
    assert_eq!(said, "true 2 of the child");
    assert!(parent.shutdown(LONG));
    assert_eq!(kept.logs(), ["of the parent"]);
}

#[test]
fn what_is_taken_over_is_without_secrets_and_a_backend_that_was_removed_keeps_its_queue() {
    let directory = tempfile::tempdir().unwrap();
    let (dead, kept) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
    dead.refuses.store(true, Ordering::SeqCst);
    let first = sdk(spooled(&dead, directory.path()));
    assert!(say(&first, "Authorization: Bearer abcdefghijklmnop0123456789"));
    assert!(!first.flush(Duration::from_millis(50)));
    // Another backend takes its place, which has nothing to do.
    let mut settings = spooled(&kept, directory.path());
    settings.backends = vec![kept.backend("other")];
    assert_eq!(first.apply(settings, LONG), Vec::<String>::new());
    first.shutdown(LONG);
    drop(first);
    assert_eq!(
        left(directory.path()).len(),
        1,
        "what the first has not delivered"
    );
    let mut settings = spooled(&kept, directory.path());
    let mut other = kept.backend("other");
    other.signals = Signals::only(Signal::Metrics);
    settings.backends.push(other);
    let next = sdk(settings);
    assert!(say(&next, "next"));
    assert!(next.flush(LONG));
    let logs = kept.logs();
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert!(
        !logs.iter().any(|log| log.contains("abcdefghijklmnop")),
        "{logs:?}"
    );
    assert!(next.shutdown(LONG));
    assert_eq!(left(directory.path()), Vec::<PathBuf>::new());
}

/// More than is held in memory for queues that take nothing.
const LARGE_RECORDS: usize = 36;
const LARGE_BYTES: usize = 1 << 20;

#[test]
#[ignore = "is run as a process by the test below, which kills it"]
fn an_application_that_says_much() {
    let directory = std::env::var(SPOOL).unwrap();
    let kept = Arc::new(Kept::default());
    let mut settings = spooled(&kept, Path::new(&directory));
    settings.logs.queue.delay = LONG;
    settings.logs.queue.limits.bytes_max = 2 * LARGE_RECORDS * LARGE_BYTES;
    // Nothing is taken while it lives.
    settings.backends.clear();
    let sdk = sdk(settings);
    for n in 0..LARGE_RECORDS {
        assert!(say(&sdk, &format!("{n} {}", "x".repeat(LARGE_BYTES))));
    }
    println!("\ndone");
    loop {
        std::thread::park();
    }
}

#[test]
fn what_was_left_stays_where_it_is_until_queues_have_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = run(directory.path(), "crashed::an_application_that_says_much", "");
    read_to(&mut child, "done");
    child.kill().unwrap();
    child.wait().unwrap();

    let kept = Arc::new(Kept::default());
    kept.refuses.store(true, Ordering::SeqCst);
    let mut settings = spooled(&kept, directory.path());
    let queue = &mut settings.backends[0].delivery.sending_queue;
    (queue.sizer, queue.queue_size, queue.when_full) = (Sizer::Requests, ByteSize(2), WhenFull::Refuse);
    settings.self_metrics = false;
    let next = sdk(settings);
    assert!(say(&next, "next"));
    kept.wait(|kept, _| kept.refused.load(Ordering::SeqCst) > 2);
    kept.refuses.store(false, Ordering::SeqCst);
    // To look for secrets in so much takes its time.
    assert!(next.flush(4 * LONG));
    let logs = kept.logs();
    let arrived: BTreeSet<&str> = logs.iter().filter_map(|log| log.split(' ').next()).collect();
    assert_eq!(arrived.len(), LARGE_RECORDS + 1, "{arrived:?}");
    assert_eq!(logs.len(), arrived.len(), "none twice");
    assert!(next.shutdown(LONG));
    drop(next);
    assert_eq!(left(directory.path()), Vec::<PathBuf>::new());
}

#[test]
fn what_is_of_no_backend_keeps_nobody_from_taking_over_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    // More than are taken over at the same time.
    for _ in 0..10 {
        let dead = Arc::new(Kept::default());
        dead.refuses.store(true, Ordering::SeqCst);
        let mut settings = spooled(&dead, directory.path());
        settings.backends = vec![dead.backend("renamed")];
        let sdk = sdk(settings);
        assert!(say(&sdk, "for a backend that is there no more"));
        sdk.shutdown(Duration::ZERO);
    }
    let mut child = start(directory.path(), "recorded");
    read_to(&mut child, "done");
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = Arc::new(Kept::default());
    let next = sdk(spooled(&kept, directory.path()));
    assert!(say(&next, "next"));
    let is_log = |batch: &&Batch| batch.signal() == Signal::Logs;
    kept.wait(|_, batches| batches.iter().filter(is_log).map(Batch::items).sum::<usize>() >= 4_001);
    assert!(next.shutdown(LONG));
    drop(next);
    assert_eq!(left(directory.path()).len(), 10);
}

#[test]
fn what_cannot_be_read_is_not_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(directory.path(), "recorded");
    read_to(&mut child, "done");
    child.kill().unwrap();
    child.wait().unwrap();
    // Reading what is a directory fails, whoever reads.
    let records = left(directory.path())[0].join("records");
    let unreadable = records.join("00000000");
    std::fs::rename(&unreadable, records.join("kept")).unwrap();
    std::fs::create_dir(&unreadable).unwrap();
    let kept = Arc::new(Kept::default());
    let next = sdk(spooled(&kept, directory.path()));
    assert!(say(&next, "next"));
    assert!(next.flush(LONG), "nobody waits for it");
    assert_eq!(kept.logs().len(), 4_001, "the others are there");
    next.shutdown(LONG);
    drop(next);
    assert!(unreadable.is_dir());
}

#[test]
fn a_spool_that_cannot_be_made_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    // In the way of the directory.
    let spool = directory.path().join("spool");
    std::fs::write(&spool, "").unwrap();
    let kept = Arc::new(Kept::default());
    kept.refuses.store(true, Ordering::SeqCst);
    let first = sdk(spooled(&kept, &spool));
    assert!(say(&first, "in memory alone"));
    assert!(!first.flush(Duration::from_millis(50)));
    std::fs::remove_file(&spool).unwrap();
    // What it had in memory goes to the disk with the rest.
    kept.wait(|kept, _| {
        kept.refused.load(Ordering::SeqCst) > 0
            && std::fs::read_dir(&spool).is_ok_and(|mut spool| spool.next().is_some())
    });
    assert!(say(&first, "on the disk"));
    assert!(!first.shutdown(Duration::from_millis(300)));
    drop(first);

    kept.refuses.store(false, Ordering::SeqCst);
    let next = sdk(spooled(&kept, &spool));
    assert!(say(&next, "next"));
    assert!(next.flush(LONG));
    let mut logs = kept.logs();
    logs.sort();
    assert_eq!(logs, ["in memory alone", "next", "on the disk"]);
    assert!(next.shutdown(LONG));
}
