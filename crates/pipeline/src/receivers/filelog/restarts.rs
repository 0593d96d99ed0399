//! What happened to files while nothing read them, one case at a time; `simulation` mixes them.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use cupola_export::fs::Disk;
use cupola_telemetry::memory::MemoryBudget;

use super::checkpoint::{Checkpoints, Record};
use super::reading::Read;
use super::simulation::bodies;
use super::tailer::Tailer;
use super::tests::{open_tailer, settings};

/// More than what proves that two files are the same.
const HEADER: &str = "# what every file of this program begins with, and which is long enough to be taken for a sufficient proof that two files have the same bytes\n";

struct Directory {
    directory: tempfile::TempDir,
    now: DateTime<Utc>,
}

impl Directory {
    fn new() -> Directory {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        Directory {
            directory,
            now: Utc::now(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("logs").join(name)
    }

    fn storage(&self) -> PathBuf {
        self.directory.path().join("checkpoints")
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn truncate(&self, name: &str) {
        let file = OpenOptions::new().write(true).open(self.path(name)).unwrap();
        file.set_len(0).unwrap();
    }

    fn start(&self, pattern: &str) -> Tailer {
        let config = settings(serde_json::json!({
            "include": [self.path(pattern)],
            "start_at": "beginning",
        }));
        open_tailer(config, Some((Arc::new(Disk), self.storage())), self.now)
    }

    fn poll(&mut self, tailer: &mut Tailer) {
        self.now += TimeDelta::milliseconds(200);
        tailer.poll(self.now);
    }

    /// The lines that a poll finds, all of them taken.
    fn lines(&mut self, tailer: &mut Tailer) -> Vec<String> {
        self.poll(tailer);
        let mut lines = Vec::new();
        loop {
            match tailer.read(&MemoryBudget::unlimited(), self.now) {
                Read::Batch(made) => {
                    lines.extend(bodies(&made.batch));
                    tailer.commit();
                }
                Read::Dropped => {}
                Read::Nothing | Read::NoMemory => break,
            }
        }
        lines.retain(|line| line != HEADER.trim());
        lines
    }
}

#[test]
fn a_copy_is_found_though_its_inode_number_was_that_of_a_removed_file() {
    let mut logs = Directory::new();
    logs.append("app.log", HEADER);
    logs.append("app.log", "one\n");
    let mut tailer = logs.start("app.log");
    logs.poll(&mut tailer);
    tailer.close();
    drop(tailer);

    logs.append("app.log", "two\n");
    fs::copy(logs.path("app.log"), logs.path("app.log.1")).unwrap();
    logs.truncate("app.log");
    logs.append("app.log", "three\n");
    let copy = logs.path("app.log.1").metadata().unwrap();
    let (mut checkpoints, mut known) = Checkpoints::open(Arc::new(Disk), &logs.storage()).unwrap();
    known.push(Record {
        gone: false,
        path: logs.path("app.log").to_string_lossy().into_owned(),
        device: copy.dev(),
        inode: copy.ino(),
        born: 1,
        offset: 4,
        head: (4, 1),
        tail: (4, 1),
        ..Record::gone(99)
    });
    checkpoints.write(&[], || known).unwrap();
    drop(checkpoints);

    let mut tailer = logs.start("app.log");
    let mut lines = logs.lines(&mut tailer);
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
}

#[test]
fn a_renamed_file_is_found_though_the_new_one_begins_like_it() {
    let mut logs = Directory::new();
    logs.append("app.log", HEADER);
    let mut tailer = logs.start("app.log");
    assert!(logs.lines(&mut tailer).is_empty());
    tailer.close();
    drop(tailer);

    logs.append("app.log", "one\n");
    fs::rename(logs.path("app.log"), logs.path("app.log.1")).unwrap();
    logs.append("app.log", HEADER);
    logs.append("app.log", "two\n");
    let mut tailer = logs.start("app.log");
    let mut lines = logs.lines(&mut tailer);
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
}

#[test]
fn a_copy_that_is_being_made_during_a_start_is_not_read_again() {
    let mut logs = Directory::new();
    logs.append("app.log", "one\ntwo\n");
    let mut tailer = logs.start("app.log*");
    assert_eq!(logs.lines(&mut tailer), ["one", "two"]);
    tailer.close();
    drop(tailer);

    logs.append("app.log.1", "one\n");
    let mut tailer = logs.start("app.log*");
    assert!(logs.lines(&mut tailer).is_empty());
    logs.append("app.log.1", "two\n");
    assert!(logs.lines(&mut tailer).is_empty());
    logs.truncate("app.log");
    logs.append("app.log", "three\n");
    assert_eq!(logs.lines(&mut tailer), ["three"]);
}

#[test]
fn a_removed_file_is_read_though_another_one_has_its_beginning() {
    let mut logs = Directory::new();
    logs.append("a.log", HEADER);
    let mut tailer = logs.start("*.log");
    assert!(logs.lines(&mut tailer).is_empty());
    logs.append("b.log", HEADER);
    logs.append("b.log", "one\n");
    logs.poll(&mut tailer);
    fs::remove_file(logs.path("b.log")).unwrap();
    assert_eq!(logs.lines(&mut tailer), ["one"]);
}

#[test]
fn what_was_truncated_away_while_nothing_ran_is_told_once() {
    let mut logs = Directory::new();
    logs.append("app.log", "one\n");
    let mut tailer = logs.start("app.log");
    logs.poll(&mut tailer);
    tailer.close();
    drop(tailer);

    logs.truncate("app.log");
    logs.append("app.log", "two, and more than there was\n");
    for lost in [4, 0] {
        let mut tailer = logs.start("app.log");
        logs.poll(&mut tailer);
        assert_eq!(tailer.stats.lost_bytes.load(Ordering::Relaxed), lost);
        tailer.close();
    }
}
