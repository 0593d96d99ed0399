//! Lines as a reader of JSON finds them, and files as several writers leave them.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::Path;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Signal, TenantId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::writer::Writer;
use super::*;

fn config(path: &Path) -> JsonLinesConfig {
    JsonLinesConfig {
        log_file: path.to_owned(),
        ..JsonLinesConfig::default()
    }
}

/// All lines of a file and the full ones before it, whatever they are compressed with.
fn all_lines(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let mut text = String::new();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => flate2::read::GzDecoder::new(&bytes[..])
                .read_to_string(&mut text)
                .map(drop),
            Some("zst") => zstd::decode_all(&bytes[..]).map(|bytes| text = String::from_utf8(bytes).unwrap()),
            _ => {
                text = String::from_utf8(bytes).unwrap();
                Ok(())
            }
        }
        .unwrap();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{}: a torn line",
            path.display()
        );
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[test]
fn a_log_record_has_the_members_that_are_promised_and_no_others() {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_logs();
        scope.scope().name("shop").version("2");
        let mut record = scope.record();
        record
            .time_unix_nano(1_767_225_600_123_456_789)
            .severity_number(9)
            .severity_text("INFO")
            .trace_id(&[1; 16])
            .span_id(&[2; 8])
            .event_name("order.placed")
            .body("placed")
            .attribute("n", 1_i64)
            .attribute("not a number", f64::NAN)
            .attribute("n", 2_i64);
        drop(record);
        scope.record().observed_time_unix_nano(1_000_000_000);
    }
    let lines = line::lines(&logs.finish(TenantId::default_tenant()));
    assert!(lines[1].starts_with(
        "{\"timestamp\":\"2026-01-01T00:00:00.123456789Z\",\"severity_text\":\"INFO\",\"severity_number\":9,\"body\":\"placed\",\
         \"trace_id\":\"01010101010101010101010101010101\",\"span_id\":\"0202020202020202\",\"resource\":{"
    ));
    let read: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        read[1]["attributes"],
        json!({"n": 2, "not a number": null, "event.name": "order.placed", "otel.scope.name": "shop", "otel.scope.version": "2"})
    );
    assert_eq!(
        read[0],
        json!({
            "timestamp": "1970-01-01T00:00:01Z", "severity_text": "", "severity_number": 0, "body": null, "trace_id": "",
            "span_id": "", "resource": {"service.name": "cart"},
            "attributes": {"otel.scope.name": "shop", "otel.scope.version": "2"}
        })
    );
}

#[test]
fn every_item_of_every_signal_is_a_line_of_json() {
    let mut generator = Generator::new(GeneratorConfig::default());
    for signal in Signal::ALL {
        let batch = generator.batch(signal, 300);
        let lines = line::lines(&batch);
        assert_eq!(lines.len(), batch.items());
        let mut shapes = BTreeSet::new();
        for line in &lines {
            let read: Value = serde_json::from_str(line).unwrap();
            let members: Vec<String> = read.as_object().unwrap().keys().cloned().collect();
            shapes.insert(members);
            assert_eq!(line.matches('\n').count(), 1);
        }
        assert_eq!(shapes.len(), 1, "one shape a signal");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written in whatever portions, each line is there once, in files that are no larger than they may be.
    #[test]
    fn lines_are_in_the_files_once_each(
        batches in prop::collection::vec(prop::collection::vec(0usize..60, 1..20), 1..12),
        max_bytes in 40u64..300,
        compression in 0u8..3,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.jsonl");
        let compression = [JsonLinesCompression::None, JsonLinesCompression::Gzip, JsonLinesCompression::Zstd][usize::from(compression)];
        let config = JsonLinesConfig { max_bytes: ByteSize(max_bytes), backup_count: 1_000, compression, ..config(&path) };
        let mut writer = Writer::new(config.clone());
        let mut wanted = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let lines: Vec<String> = batch
                .iter()
                .enumerate()
                .map(|(at, length)| format!("{number} {at} {}\n", "x".repeat(*length)))
                .collect();
            writer.append(&lines).unwrap();
            wanted.extend(lines.iter().map(|line| line.trim_end_matches('\n').to_owned()));
            if number % 3 == 2 {
                writer = Writer::new(config.clone());
            }
        }
        let mut found = all_lines(directory.path());
        found.sort();
        wanted.sort();
        prop_assert_eq!(found, wanted);
        let longest = 60 + 10;
        prop_assert!(std::fs::metadata(&path).unwrap().len() <= max_bytes.max(longest));
    }
}

#[test]
fn the_oldest_files_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep").join("app.jsonl");
    let mut writer = Writer::new(JsonLinesConfig {
        max_bytes: ByteSize(1),
        backup_count: 2,
        ..config(&path)
    });
    for n in 0..5 {
        writer.append(&[format!("{n}\n")]).unwrap();
    }
    let read = |name: &str| std::fs::read_to_string(path.with_file_name(name)).unwrap();
    assert_eq!(
        (read("app.jsonl.2"), read("app.jsonl.1"), read("app.jsonl")),
        ("2\n".into(), "3\n".into(), "4\n".into())
    );
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 3);
    // Without backups the file grows.
    let other = directory.path().join("one");
    let mut writer = Writer::new(JsonLinesConfig {
        max_bytes: ByteSize(1),
        backup_count: 0,
        ..config(&other)
    });
    writer.append(&["a\n".to_owned(), "b\n".to_owned()]).unwrap();
    writer.append(&["c\n".to_owned()]).unwrap();
    assert_eq!(std::fs::read_to_string(other).unwrap(), "a\nb\nc\n");
}

#[test]
fn a_line_that_a_crash_tore_is_cut_off_and_a_file_that_was_moved_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    std::fs::write(&path, "whole\nto").unwrap();
    let mut writer = Writer::new(config(&path));
    writer.append(&["next\n".to_owned()]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nnext\n");
    // Torn from the first byte on, and longer than what is read at once.
    let long = directory.path().join("long");
    std::fs::write(&long, "x".repeat(200_000)).unwrap();
    Writer::new(config(&long)).append(&["next\n".to_owned()]).unwrap();
    assert_eq!(std::fs::read_to_string(&long).unwrap(), "next\n");

    let moved = directory.path().join("app.jsonl.old");
    std::fs::rename(&path, &moved).unwrap();
    writer.append(&["in the new one\n".to_owned()]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "in the new one\n");
    std::fs::remove_file(&path).unwrap();
    writer.append(&["and again\n".to_owned()]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "and again\n");
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "whole\nnext\n");
}

#[test]
fn what_cannot_be_written_is_an_error_and_later_lines_follow_whole_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sub").join("app.jsonl");
    // A file where the directory should be.
    std::fs::write(directory.path().join("sub"), "").unwrap();
    let mut writer = Writer::new(config(&path));
    let lines = ["a\n".to_owned(), "b\n".to_owned()];
    assert!(writer.append(&lines).is_err());
    std::fs::remove_file(directory.path().join("sub")).unwrap();
    writer.append(&lines).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
}

/// Beside this one, several processes write to the same file, as the workers of a server do that forks.
#[test]
fn several_writers_lose_nothing_and_tear_nothing() {
    const LINES: usize = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let config = JsonLinesConfig {
                max_bytes: ByteSize(20_000),
                backup_count: 500,
                compression: JsonLinesCompression::Gzip,
                ..config(&path)
            };
            // Locks are of the open file: threads with a writer each are to one another as processes are.
            std::thread::spawn(move || {
                let mut writer = Writer::new(config);
                for n in (0..LINES).step_by(10) {
                    let lines: Vec<String> = (n..n + 10)
                        .map(|n| format!("writer {number} line {n} {}\n", "x".repeat(n % 50)))
                        .collect();
                    writer.append(&lines).unwrap();
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let lines = all_lines(directory.path());
    let different: BTreeSet<&String> = lines.iter().collect();
    assert_eq!((lines.len(), different.len()), (4 * LINES, 4 * LINES));
}

#[test]
fn what_is_left_of_a_compression_that_was_cut_short_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    std::fs::write(directory.path().join("app.jsonl.1"), "full\n").unwrap();
    let mut torn = std::fs::File::create(directory.path().join("app.jsonl.2.unfinished")).unwrap();
    torn.write_all(b"half").unwrap();
    let mut writer = Writer::new(JsonLinesConfig {
        max_bytes: ByteSize(1),
        backup_count: 3,
        compression: JsonLinesCompression::Gzip,
        ..config(&path)
    });
    for n in 0..2 {
        writer.append(&[format!("{n}\n")]).unwrap();
    }
    let mut found = all_lines(directory.path());
    found.sort();
    assert_eq!(found, ["0", "1", "full"]);
}
