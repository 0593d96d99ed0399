//! A tailer over real files, with a clock that the test holds.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cupola_export::fs::{Disk, FileSystem};
use cupola_telemetry::memory::MemoryBudget;
use serde_json::json;

use super::checkpoint::Checkpoints;
use super::config::FilelogConfig;
use super::finder::Finder;
use super::header::Header;
use super::reading::Read;
use super::simulation::bodies;
use super::tailer::{Parts, Tailer};
use crate::operators::{self, Variables};
use crate::receivers::text::Templates;

pub(super) fn settings(json: serde_json::Value) -> FilelogConfig {
    let config: FilelogConfig = serde_json::from_value(json).unwrap();
    assert_eq!(config.problems(), []);
    config
}

pub(super) fn open_tailer(
    config: FilelogConfig,
    storage: Option<(Arc<dyn FileSystem>, PathBuf)>,
    now: DateTime<Utc>,
) -> Tailer {
    let mut problems = Vec::new();
    let nothing = Variables::new();
    let parts = Parts {
        finder: Finder::new(&config).unwrap(),
        split: config.split().unwrap(),
        header: Header::new(&config, &nothing, &Arc::default()).unwrap(),
        operators: operators::compile("operators", &config.operators, &nothing, &Arc::default()).unwrap(),
        attributes: Templates::compile("attributes", &config.attributes, &nothing, &mut problems),
        resource: Templates::compile("resource", &config.resource, &nothing, &mut problems),
        checkpoints: storage
            .map(|(file_system, directory)| Checkpoints::open(file_system, &directory).unwrap()),
        stats: Arc::default(),
        open_max: 1000,
    };
    Tailer::new(config, parts, now)
}

/// The lines of what can be read now, all of them taken; and how often nothing of what was read came out.
fn lines(tailer: &mut Tailer, now: DateTime<Utc>) -> (Vec<String>, usize) {
    let (mut lines, mut dropped) = (Vec::new(), 0);
    loop {
        match tailer.read(&MemoryBudget::unlimited(), now) {
            Read::Batch(made) => {
                lines.extend(bodies(&made.batch));
                tailer.commit();
            }
            Read::Dropped => dropped += 1,
            Read::Nothing | Read::NoMemory => return (lines, dropped),
        }
    }
}

/// But for those that have left their place, which are held beside the others.
fn open_files(tailer: &Tailer) -> usize {
    let open = tailer
        .files
        .values()
        .filter(|file| file.content.is_some() && file.matched)
        .count();
    open + tailer.waiting.len()
}

#[test]
fn reading_returns_in_time_also_where_nothing_comes_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    fs::write(&path, "dropped\n".repeat(1 << 19)).unwrap();
    let now = Utc::now();
    let config = settings(json!({
        "include": [path], "start_at": "beginning", "operators": [{ "type": "filter", "expr": "body == 'dropped'" }],
    }));
    let mut tailer = open_tailer(config, None, now);
    tailer.poll(now);
    let (found, dropped) = lines(&mut tailer, now);
    assert!(found.is_empty() && dropped >= 4, "{dropped} times");
    // Nothing but a hole, and a line behind it.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(0).unwrap();
    file.set_len(4 << 20).unwrap();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"kept\n")
        .unwrap();
    tailer.poll(now + TimeDelta::seconds(5));
    let (found, dropped) = lines(&mut tailer, now);
    assert_eq!(found, ["kept"]);
    assert!(dropped >= 3, "{dropped} times");
}

#[test]
fn no_more_files_are_open_than_may_be_and_all_are_read() {
    const FILES: usize = 300;
    const OPEN_MAX: usize = 10;
    /// These are held open.
    const MOVED: usize = 5;
    let directory = tempfile::tempdir().unwrap();
    let path = |number: usize| directory.path().join(format!("{number}.log"));
    for number in 0..FILES {
        // Every third one is empty.
        let text = if number.is_multiple_of(3) {
            String::new()
        } else {
            format!("{number} first\n")
        };
        fs::write(path(number), text).unwrap();
    }
    let mut now = Utc::now();
    let config = settings(json!({
        "include": [directory.path().join("*.log")], "start_at": "beginning", "max_concurrent_files": OPEN_MAX,
    }));
    let mut tailer = open_tailer(config, None, now);
    let mut poll = |tailer: &mut Tailer| {
        now += TimeDelta::seconds(10);
        tailer.poll(now);
        assert!(open_files(tailer) <= OPEN_MAX, "{} are open", open_files(tailer));
        let (mut lines, _) = lines(tailer, now);
        assert!(open_files(tailer) <= OPEN_MAX, "{} are open", open_files(tailer));
        lines.sort();
        lines
    };
    let sorted = |lines: &mut dyn Iterator<Item = String>| {
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines
    };
    let first = sorted(
        &mut (0..FILES)
            .filter(|number| number % 3 > 0)
            .map(|number| format!("{number} first")),
    );
    assert_eq!(poll(&mut tailer), first);
    assert!(poll(&mut tailer).is_empty());
    for number in 0..FILES {
        let mut file = OpenOptions::new().append(true).open(path(number)).unwrap();
        file.write_all(format!("{number} second\n").as_bytes()).unwrap();
    }
    assert_eq!(
        poll(&mut tailer),
        sorted(&mut (0..FILES).map(|number| format!("{number} second")))
    );
    // Some get another name while they are closed, and more is written to them.
    for number in 0..MOVED {
        fs::rename(path(number), directory.path().join(format!("{number}.log.1"))).unwrap();
        let moved = OpenOptions::new()
            .append(true)
            .open(directory.path().join(format!("{number}.log.1")));
        moved
            .unwrap()
            .write_all(format!("{number} moved\n").as_bytes())
            .unwrap();
    }
    assert_eq!(
        poll(&mut tailer),
        sorted(&mut (0..MOVED).map(|number| format!("{number} moved")))
    );
}

#[test]
fn a_new_generation_of_checkpoints_knows_files_that_are_held_and_truncated() {
    let directory = tempfile::tempdir().unwrap();
    let (path, storage) = (
        directory.path().join("app.log"),
        directory.path().join("checkpoints"),
    );
    let now = Utc::now();
    let start = || {
        let recombine =
            json!({ "type": "recombine", "combine_field": "body", "is_last_entry": "body == 'last'" });
        let config =
            settings(json!({ "include": [path], "start_at": "beginning", "operators": [recombine] }));
        open_tailer(config, Some((Arc::new(Disk), storage.clone())), now)
    };
    fs::write(&path, "one\nlast\n").unwrap();
    let mut tailer = start();
    tailer.poll(now);
    assert_eq!(lines(&mut tailer, now).0, ["one\nlast"]);
    let known = tailer.files.len();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"held\n")
        .unwrap();
    tailer.poll(now + TimeDelta::seconds(3));
    assert!(lines(&mut tailer, now).0.is_empty());
    // Its bytes are gone: what is before the place up to which it was taken cannot be read any more.
    let file = tailer.files.values_mut().next().unwrap();
    file.content = None;
    tailer.changed.insert(file.id);
    tailer.checkpoints.as_mut().unwrap().end_generation();
    tailer.write_checkpoints();
    drop(tailer);
    let (_, records) = Checkpoints::open(Arc::new(Disk), &storage).unwrap();
    assert_eq!((known, records.len()), (1, 1));
    assert_eq!(records[0].offset, 9);
}

/// More files than may be open, read to their end, with their names; and when.
fn many_files(
    directory: &std::path::Path,
    settings_of: serde_json::Value,
) -> (Tailer, Vec<PathBuf>, DateTime<Utc>) {
    let paths: Vec<PathBuf> = (0..14)
        .map(|number| directory.join(format!("{number:02}.log")))
        .collect();
    for (number, path) in paths.iter().enumerate() {
        // Longer than what files are recognised by.
        fs::write(path, format!("{number} {}\n", "x".repeat(2000))).unwrap();
    }
    let mut merged = json!({
        "include": [directory.join("*.log")], "start_at": "beginning", "max_concurrent_files": 10,
    });
    merged
        .as_object_mut()
        .unwrap()
        .extend(settings_of.as_object().unwrap().clone());
    let now = Utc::now();
    (open_tailer(settings(merged), None, now), paths, now)
}

fn append(path: &std::path::Path, text: &str) {
    let file = OpenOptions::new().append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_is_written_to_an_open_file_before_it_is_removed_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tailer, paths, now) = many_files(directory.path(), json!({}));
    tailer.poll(now);
    assert_eq!(lines(&mut tailer, now).0.len(), paths.len());
    let later = now + TimeDelta::seconds(10);
    tailer.poll(later);
    assert!(lines(&mut tailer, later).0.is_empty());
    let (mut expected, mut closed) = (Vec::new(), 0);
    for file in tailer.files.values() {
        let number = file.path.file_stem().unwrap().to_str().unwrap().to_owned();
        append(&file.path, &format!("{number} last words\n"));
        expected.push(format!("{number} last words"));
        match file.content.is_some() {
            true => fs::remove_file(&file.path).unwrap(),
            false => closed += 1,
        }
    }
    assert!(closed >= 4, "{closed}");
    let later = later + TimeDelta::seconds(10);
    tailer.poll(later);
    let (mut found, _) = lines(&mut tailer, later);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn files_that_look_alike_are_not_all_open_at_once() {
    let directory = tempfile::tempdir().unwrap();
    const FILES: usize = 50;
    for number in 0..FILES {
        fs::write(
            directory.path().join(format!("{number}.log")),
            "the same header\n",
        )
        .unwrap();
    }
    let mut now = Utc::now();
    let config = settings(json!({
        "include": [directory.path().join("*.log")], "start_at": "beginning", "max_concurrent_files": 10,
    }));
    let mut tailer = open_tailer(config, None, now);
    let mut found = 0;
    for _ in 0..4 * FILES {
        tailer.poll(now);
        found += lines(&mut tailer, now).0.len();
        assert!(open_files(&tailer) <= 10, "{} are open", open_files(&tailer));
        now += TimeDelta::seconds(6);
    }
    assert_eq!(found, FILES);
}

#[test]
fn what_was_seen_of_a_closed_file_that_is_removed_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tailer, paths, now) = many_files(directory.path(), json!({}));
    tailer.poll(now);
    let closed: Vec<PathBuf> = tailer
        .files
        .values()
        .filter(|file| file.content.is_none() && file.pending)
        .map(|file| file.path.clone())
        .collect();
    assert_eq!(closed.len(), 4);
    let bytes = fs::metadata(&closed[0]).unwrap().len();
    fs::remove_file(&closed[0]).unwrap();
    assert_eq!(lines(&mut tailer, now).0.len(), paths.len() - 1);
    tailer.poll(now + TimeDelta::seconds(10));
    let lost = tailer.stats.lost_bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(lost, bytes);
}

#[test]
fn a_header_that_never_ends_does_not_hold_a_removed_file_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("job.log");
    fs::write(&path, "#started").unwrap();
    let mut now = Utc::now();
    let config = settings(json!({
        "include": [path], "start_at": "beginning",
        "header": { "pattern": "^#", "metadata_operators": [{ "type": "regex_parser", "regex": "#(?P<state>.*)" }] },
    }));
    let mut tailer = open_tailer(config, None, now);
    let mut look = |tailer: &mut Tailer| {
        now += TimeDelta::seconds(20);
        tailer.poll(now);
        assert!(lines(tailer, now).0.is_empty());
    };
    (0..3).for_each(|_| look(&mut tailer));
    assert_eq!(tailer.files.len(), 1);
    fs::remove_file(&path).unwrap();
    (0..3).for_each(|_| look(&mut tailer));
    assert!(tailer.files.is_empty());
    let lost = tailer.stats.lost_bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(lost, "#started".len() as u64);
}

#[test]
fn a_file_with_the_bytes_of_one_that_was_read_and_deleted_is_read_too() {
    let directory = tempfile::tempdir().unwrap();
    let (mut tailer, paths, now) = many_files(directory.path(), json!({ "delete_after_read": true }));
    let texts: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    tailer.poll(now);
    assert_eq!(lines(&mut tailer, now).0.len(), paths.len());
    assert!(paths.iter().all(|path| !path.exists()));
    // Long enough for the removed ones that are open to be let go.
    for seconds in [60, 120] {
        let later = now + TimeDelta::seconds(seconds);
        tailer.poll(later);
        assert!(lines(&mut tailer, later).0.is_empty());
    }
    let later = now + TimeDelta::seconds(120);
    for (number, text) in texts.iter().enumerate() {
        fs::write(directory.path().join(format!("again-{number}.log")), text).unwrap();
    }
    let later = later + TimeDelta::seconds(10);
    tailer.poll(later);
    assert_eq!(lines(&mut tailer, later).0.len(), paths.len());
}
