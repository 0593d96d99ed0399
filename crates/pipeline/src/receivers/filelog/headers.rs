//! Headers of files over rotation, restarts and crashes: each record has what the header of its own file said.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cupola_export::fs::Disk;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::view::{AnyValue, LogsData};
use serde_json::{Value as Json, json};

use super::checkpoint::{Checkpoints, Record};
use super::config::FilelogConfig;
use super::header::Said;
use super::reading::{Made, Read};
use super::tailer::Tailer;
use super::tests::{open_tailer, settings};
use crate::operators::{Fields, Value};

struct Directory {
    directory: tempfile::TempDir,
    now: DateTime<Utc>,
    more: Json,
}

fn finds_titles() -> Json {
    json!({ "pattern": "^# ", "metadata_operators": [{ "type": "regex_parser", "regex": "^# (?P<title>.*)$" }] })
}

impl Directory {
    fn new(more: Json) -> Directory {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        Directory {
            directory,
            now: Utc::now(),
            more,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("logs").join(name)
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    fn start(&self) -> Tailer {
        let mut config =
            json!({ "include": [self.path("*.log*")], "start_at": "beginning", "header": finds_titles() });
        config
            .as_object_mut()
            .unwrap()
            .extend(self.more.as_object().unwrap().clone());
        let storage = self.directory.path().join("checkpoints");
        open_tailer(settings(config), Some((Arc::new(Disk), storage)), self.now)
    }

    fn poll(&mut self, tailer: &mut Tailer) {
        self.now += TimeDelta::milliseconds(200);
        tailer.poll(self.now);
    }

    fn next(&mut self, tailer: &mut Tailer) -> Option<Made> {
        loop {
            match tailer.read(&MemoryBudget::unlimited(), self.now) {
                Read::Batch(made) => return Some(made),
                Read::Dropped => {}
                Read::Nothing | Read::NoMemory => return None,
            }
        }
    }

    /// What a poll finds, all of it taken: bodies, each with the title of its file.
    fn titled(&mut self, tailer: &mut Tailer) -> Vec<String> {
        self.poll(tailer);
        let mut all = Vec::new();
        while let Some(made) = self.next(tailer) {
            all.extend(titled(&made));
            tailer.commit();
        }
        all
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn titled(made: &Made) -> Vec<String> {
    let mut found = Vec::new();
    for resource in LogsData::new(made.batch.payload()).resources() {
        for scope in resource.scopes() {
            for mut record in scope.records() {
                let title = record.attributes.find(|pair| pair.key == "title");
                let text = |value: Option<AnyValue<'_>>| match value {
                    Some(AnyValue::String(text)) => text.to_owned(),
                    _ => "-".to_owned(),
                };
                found.push(format!(
                    "{} of {}",
                    text(record.body),
                    text(title.map(|pair| pair.value))
                ));
            }
        }
    }
    found
}

#[test]
fn lines_of_a_header_are_no_records_and_are_said_of_all_of_them() {
    let mut logs = Directory::new(json!({}));
    logs.append("a.log", "# one\r\n# two\n");
    let mut tailer = logs.start();
    assert!(logs.titled(&mut tailer).is_empty());
    // Half a line is waited for, however long it takes: the whole one may match.
    logs.append("a.log", "#");
    logs.append("b.log", "first\n# not a header\n");
    assert_eq!(logs.titled(&mut tailer), ["first of -", "# not a header of -"]);
    logs.now += TimeDelta::hours(1);
    assert!(logs.titled(&mut tailer).is_empty());
    logs.append("a.log", " three\nbody\n# late\n");
    assert_eq!(logs.titled(&mut tailer), ["body of three", "# late of three"]);
    logs.append("a.log", "no line end");
    assert!(logs.titled(&mut tailer).is_empty());
    logs.now += TimeDelta::seconds(1);
    assert_eq!(logs.titled(&mut tailer), ["no line end of three"]);
}

#[test]
fn a_start_in_the_middle_of_a_file_knows_its_header() {
    for is_closed in [true, false] {
        let mut logs = Directory::new(json!({}));
        logs.append("a.log", "# one\nfirst\n");
        let mut tailer = logs.start();
        assert_eq!(logs.titled(&mut tailer), ["first of one"]);
        if is_closed {
            tailer.close();
        }
        drop(tailer);
        logs.append("a.log", "second\n# no header\n");
        fs::rename(logs.path("a.log"), logs.path("a.log.1")).unwrap();
        logs.append("a.log", "# two\nthird\n");
        let mut tailer = logs.start();
        let mut found = logs.titled(&mut tailer);
        found.sort();
        assert_eq!(found, ["# no header of one", "second of one", "third of two"]);
    }
}

/// At each byte: what was taken by then is not read again, and the rest has its title.
#[test]
fn a_start_at_any_place_of_a_header_and_behind_it_goes_on() {
    let text = "# one\n# two\nfirst\nsecond\n# third\n";
    let whole = ["first of two", "second of two", "# third of two"];
    for bytes in 0..=text.len() {
        for refused in [false, true] {
            let mut logs = Directory::new(json!({ "force_flush_period": "0s" }));
            logs.append("a.log", &text[..bytes]);
            let mut tailer = logs.start();
            let (mut found, mut name) = (Vec::new(), "a.log");
            logs.poll(&mut tailer);
            while let Some(made) = logs.next(&mut tailer) {
                if refused {
                    // The process ends before it is taken, and has written down what happened meanwhile.
                    name = "b.log";
                    fs::rename(logs.path("a.log"), logs.path(name)).unwrap();
                    logs.poll(&mut tailer);
                    tailer.close();
                    break;
                }
                found.extend(titled(&made));
                tailer.commit();
            }
            drop(tailer);
            logs.append(name, &text[bytes..]);
            let mut tailer = logs.start();
            found.extend(logs.titled(&mut tailer));
            assert_eq!(found, whole, "{bytes} bytes, refused: {refused}");
        }
    }
}

#[test]
fn a_truncated_file_has_another_header() {
    let mut logs = Directory::new(json!({}));
    logs.append("a.log", "# one\nfirst\n");
    let mut tailer = logs.start();
    assert_eq!(logs.titled(&mut tailer), ["first of one"]);
    fs::copy(logs.path("a.log"), logs.path("a.log.1")).unwrap();
    let file = OpenOptions::new().write(true).open(logs.path("a.log")).unwrap();
    file.set_len(0).unwrap();
    logs.append("a.log", "# two\nsecond\n");
    logs.append("a.log.1", "late\n");
    let mut found = logs.titled(&mut tailer);
    found.extend(logs.titled(&mut tailer));
    found.sort();
    assert_eq!(found, ["late of one", "second of two"]);
}

#[test]
fn a_header_in_compressed_and_in_other_text_is_read() {
    let mut logs = Directory::new(json!({ "compression": "auto" }));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"# packed\nfirst\n").unwrap();
    fs::write(logs.path("a.log.gz"), encoder.finish().unwrap()).unwrap();
    let mut tailer = logs.start();
    assert_eq!(logs.titled(&mut tailer), ["first of packed"]);

    let mut logs = Directory::new(json!({ "encoding": "utf-16le" }));
    let wide: Vec<u8> = "# wide\r\nfirst\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(logs.path("a.log"), wide).unwrap();
    let mut tailer = logs.start();
    assert_eq!(logs.titled(&mut tailer), ["first of wide"]);
}

#[test]
fn a_file_that_was_begun_without_goes_on_without() {
    let mut logs = Directory::new(json!({ "header": null }));
    logs.append("a.log", "# one\n");
    let mut tailer = logs.start();
    assert_eq!(logs.titled(&mut tailer), ["# one of -"]);
    tailer.close();
    drop(tailer);
    logs.more = json!({});
    logs.append("a.log", "# two\nfirst\n");
    logs.append("b.log", "# three\nsecond\n");
    let mut tailer = logs.start();
    assert_eq!(
        logs.titled(&mut tailer),
        ["# two of -", "first of -", "second of three"]
    );
}

#[test]
fn a_header_that_says_too_much_is_passed_over_line_by_line() {
    let mut logs = Directory::new(json!({}));
    logs.append("a.log", &format!("# one\n# {}\nfirst\n", "x".repeat(20_000)));
    let mut tailer = logs.start();
    assert_eq!(logs.titled(&mut tailer), ["first of one"]);
    // Copies of what a header says are a part of what a batch holds.
    let long = "y".repeat(16_000);
    logs.append("b.log", &format!("# {long}\n{}", "z\n".repeat(4000)));
    logs.poll(&mut tailer);
    let made = logs.next(&mut tailer).unwrap();
    assert!(
        made.batch.payload().len() < 2 << 20,
        "{}",
        made.batch.payload().len()
    );
}

#[test]
fn what_a_header_said_is_kept_with_all_its_kinds() {
    let deep = (0..20).fold(Value::Float(f64::NAN), |value, _| {
        Value::Map([("k".to_owned(), value)].into_iter().collect())
    });
    let attributes: Fields = [
        ("nil", Value::Nil),
        ("int", Value::Int(i64::MIN)),
        ("float", Value::Float(f64::INFINITY)),
        ("bytes", Value::Bytes(vec![0, 255])),
        (
            "list",
            Value::List(vec![Value::Bool(true), Value::from("\u{e9}\n\"")]),
        ),
        ("time", Value::Time(-1)),
        ("deep", deep),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    let record = Record {
        gone: false,
        header: Some(Said {
            ends_at: Some(7),
            attributes,
            bytes: 5,
        }),
        ..Record::gone(1)
    };
    let directory = tempfile::tempdir().unwrap();
    let (mut checkpoints, _) = Checkpoints::open(Arc::new(Disk), directory.path()).unwrap();
    checkpoints.write(&[], || vec![record.clone()]).unwrap();
    drop(checkpoints);
    let (_, found) = Checkpoints::open(Arc::new(Disk), directory.path()).unwrap();
    // What is no number is equal to nothing.
    assert_eq!(format!("{found:?}"), format!("{:?}", [record]));
}

#[test]
fn what_cannot_work_is_refused_by_its_key() {
    let problems = |more: Json| {
        let mut config = json!({ "include": ["/var/log/a.log"], "start_at": "beginning" });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let config: FilelogConfig = serde_json::from_value(config).unwrap();
        config
            .problems()
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
    };
    let noop = json!([{ "type": "noop" }]);
    for (more, keys) in [
        (json!({ "header": finds_titles() }), &[][..]),
        (
            json!({ "header": finds_titles(), "start_at": "end" }),
            &["header"],
        ),
        (
            json!({ "header": { "metadata_operators": noop } }),
            &["header.pattern"],
        ),
        (
            json!({ "header": { "pattern": "(", "metadata_operators": noop } }),
            &["header.pattern"],
        ),
        (
            json!({ "header": { "pattern": "^#" } }),
            &["header.metadata_operators"],
        ),
        (
            json!({ "header": { "pattern": "^#", "metadata_operators": [{ "type": "noop" }, { "type": "filter", "expr": "true" }] } }),
            &["header.metadata_operators[1].type"],
        ),
        (
            json!({ "header": { "pattern": "^#", "metadata_operators": [{ "type": "regex_parser", "regex": "x" }] } }),
            &["header.metadata_operators[0].regex"],
        ),
    ] {
        assert_eq!(problems(more.clone()), keys, "{more}");
    }
}
