//! What is taken over arrives once, through however many processes it goes, and one backend or process that has trouble keeps
//! nothing from the others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use cupola_export::file::FileConfig;
use cupola_sdk_core::Settings;
use cupola_sdk_core::backend::{Backend, Destination};
use cupola_telemetry::Batch;

use crate::crashed::{left, read_to, spooled, start};
use crate::kept::{Kept, LONG, say, sdk};

/// Has a process say something and be killed.
fn killed(spool: &Path, mode: &str) {
    let mut child = start(spool, mode);
    read_to(&mut child, "done");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a killed process has said, and this too; sorted.
fn with_what_was_said(others: &[&str]) -> Vec<String> {
    let said = (0..4).flat_map(|thread| (0..1_000).map(move |n| format!("{thread} {n}")));
    let others = others.iter().map(|body| (*body).to_owned());
    sorted(said.chain(others).collect())
}

fn sorted(mut bodies: Vec<String>) -> Vec<String> {
    bodies.sort();
    bodies
}

/// Starts a process that gets everything delivered, and says what has arrived.
fn delivered(spool: &Path) -> Vec<String> {
    let kept = Arc::new(Kept::default());
    let last = sdk(spooled(&kept, spool));
    assert!(say(&last, "next"));
    assert!(last.flush(LONG));
    assert!(last.shutdown(LONG));
    drop(last);
    assert_eq!(left(spool), Vec::<PathBuf>::new());
    sorted(kept.logs())
}

#[test]
fn it_arrives_once_though_the_destination_was_down_for_who_took_it_over_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    killed(directory.path(), "both");

    let dead = Arc::new(Kept::default());
    dead.refuses.store(true, Ordering::SeqCst);
    let second = sdk(spooled(&dead, directory.path()));
    assert!(say(&second, "second"));
    // The thread that exports answers when it has taken over what there was.
    assert!(!second.flush(Duration::from_millis(50)));
    assert!(second.health()[0].queued_items >= 2, "its own, and the last");
    assert!(!second.shutdown(Duration::from_millis(200)));
    drop(second);

    let wanted = with_what_was_said(&["last", "next", "second"]);
    assert_eq!(delivered(directory.path()), wanted);
}

#[test]
fn it_arrives_once_though_the_destination_was_down_for_who_took_it_over_and_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    killed(directory.path(), "both");
    killed(directory.path(), "second");
    let wanted = with_what_was_said(&["last", "next", "second"]);
    assert_eq!(delivered(directory.path()), wanted);
}

/// One that works, and one that cannot be started while the directory of its file is not there.
fn with_one_that_does_not_start(kept: &Arc<Kept>, directory: &Path) -> (Settings, PathBuf) {
    let mut settings = spooled(kept, &directory.join("spool"));
    settings.self_metrics = false;
    let path = directory.join("later").join("cart.json");
    let file = FileConfig {
        path: path.clone(),
        ..FileConfig::default()
    };
    settings
        .backends
        .push(Backend::new("file", Destination::File(file)));
    (settings, path)
}

/// Bodies of the log records in a file of OTLP in JSON, sorted.
fn bodies_in(path: &Path) -> Vec<String> {
    let mut bodies = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for records in line
            .pointer("/resourceLogs/0/scopeLogs")
            .unwrap()
            .as_array()
            .unwrap()
        {
            let records = records["logRecords"].as_array().unwrap().iter();
            bodies.extend(records.map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned()));
        }
    }
    sorted(bodies)
}

#[test]
fn a_backend_that_starts_later_keeps_nothing_from_the_others_and_gets_it_too() {
    let directory = tempfile::tempdir().unwrap();
    killed(&directory.path().join("spool"), "recorded");

    let kept = Arc::new(Kept::default());
    let (settings, file) = with_one_that_does_not_start(&kept, directory.path());
    let next = sdk(settings);
    assert!(say(&next, "next"));
    assert!(!next.flush(Duration::from_millis(50)), "one has not started");
    assert!(next.health()[1].not_started.is_some());
    kept.wait(|_, batches| batches.iter().map(Batch::items).sum::<usize>() >= 4_001);
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    assert!(next.flush(LONG));
    let wanted = with_what_was_said(&["next"]);
    assert_eq!(sorted(kept.logs()), wanted);
    assert_eq!(bodies_in(&file), wanted);
    assert!(next.shutdown(LONG));
    drop(next);
    assert_eq!(left(&directory.path().join("spool")), Vec::<PathBuf>::new());
}

#[test]
fn a_backend_that_starts_in_another_process_gets_what_was_kept_for_it_and_the_others_get_it_once() {
    let directory = tempfile::tempdir().unwrap();
    killed(&directory.path().join("spool"), "recorded");

    let kept = Arc::new(Kept::default());
    let (settings, file) = with_one_that_does_not_start(&kept, directory.path());
    for body in ["second", "third"] {
        let sdk = sdk(settings.clone());
        assert!(say(&sdk, body));
        assert!(!sdk.flush(Duration::from_millis(50)), "one has not started");
        assert!(sdk.health()[1].not_started.is_some());
        sdk.shutdown(Duration::from_millis(200));
    }
    assert_eq!(sorted(kept.logs()), with_what_was_said(&["second", "third"]));

    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let last = sdk(settings);
    assert!(say(&last, "next"));
    assert!(last.flush(LONG));
    let wanted = with_what_was_said(&["next", "second", "third"]);
    assert_eq!(sorted(kept.logs()), wanted);
    assert_eq!(bodies_in(&file), wanted);
    assert!(last.shutdown(LONG));
    drop(last);
    assert_eq!(left(&directory.path().join("spool")), Vec::<PathBuf>::new());
}

/// Leaves the directory of a process with a segment that is a directory: reading it fails, whoever reads.
fn leave_what_cannot_be_read(spool: &Path, number: usize) {
    let process = spool.join(format!("{number}-unreadable"));
    std::fs::create_dir_all(process.join("records").join("00000000")).unwrap();
    std::fs::write(process.join("lock"), "").unwrap();
}

#[test]
fn what_can_never_be_read_keeps_nobody_from_taking_over_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    // Many more than are taken over at the same time, in whatever order they are found.
    (0..20).for_each(|n| leave_what_cannot_be_read(directory.path(), n));
    killed(directory.path(), "recorded");
    (20..40).for_each(|n| leave_what_cannot_be_read(directory.path(), n));
    let kept = Arc::new(Kept::default());
    let next = sdk(spooled(&kept, directory.path()));
    assert!(say(&next, "next"));
    assert!(next.flush(LONG), "nobody waits for what cannot be read");
    assert_eq!(sorted(kept.logs()), with_what_was_said(&["next"]));
    assert!(next.shutdown(LONG));
    drop(next);
    assert_eq!(left(directory.path()).len(), 40);
}

#[test]
fn what_a_process_left_that_was_killed_while_it_made_its_directory_is_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = [".1-old", ".2-new"].map(|name| directory.path().join(name));
    for unfinished in [&old, &new] {
        std::fs::create_dir_all(unfinished.join("records")).unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
    File::open(&old).unwrap().set_modified(long_ago).unwrap();
    let kept = Arc::new(Kept::default());
    let next = sdk(spooled(&kept, directory.path()));
    assert!(say(&next, "next"));
    assert!(next.shutdown(LONG));
    assert_eq!(left(directory.path()), [new], "somebody may be at it");
}
