//! Where lines go: files that are full, torn, moved, removed, or cannot be written.

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;
use proptest::prelude::*;

use super::*;

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
        let full_files = FullFiles::new(&config);
        let mut writer = Writer::new(config.clone());
        let mut wanted = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let lines: Vec<String> = batch
                .iter()
                .enumerate()
                .map(|(at, length)| format!("{number} {at} {}", "x".repeat(*length)))
                .collect();
            writer.append(&text(lines.iter().map(String::as_str))).unwrap();
            if writer.is_compression_due() {
                full_files.compress();
            }
            wanted.extend(lines);
            if number % 3 == 2 {
                writer = Writer::new(config.clone());
            }
        }
        assert_once(directory.path(), wanted);
        let longest = 60 + 10;
        prop_assert!(std::fs::metadata(&path).unwrap().len() <= max_bytes.max(longest));
        if compression != JsonLinesCompression::None {
            let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let plain = names.filter(|name| !name.to_str().unwrap().ends_with(compression.suffix()));
            prop_assert_eq!(plain.collect::<Vec<_>>(), ["app.jsonl"]);
        }
    }
}

#[test]
fn the_oldest_files_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep").join("app.jsonl");
    let mut writer = Writer::new(JsonLinesConfig {
        max_bytes: ByteSize(1),
        backup_count: 2,
        sync: true,
        ..config(&path)
    });
    for n in 0..5 {
        writer.append(&text([n.to_string().as_str()])).unwrap();
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
    writer.append(&text(["a", "b"])).unwrap();
    writer.append(&text(["c"])).unwrap();
    assert_eq!(std::fs::read_to_string(other).unwrap(), "a\nb\nc\n");
}

#[test]
fn a_line_that_a_crash_tore_is_cut_off_and_one_of_somebody_else_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    // Torn from the first byte on, and longer than what is read at once.
    let long = format!("{{{}", "x".repeat(200_000));
    for (before, after) in [
        ("{\"whole\":1}\n{\"to", "{\"whole\":1}\nnext\n"),
        ("{\"whole\":1}\n\0\0\0\0", "{\"whole\":1}\nnext\n"),
        (&long, "next\n"),
        ("{", "next\n"),
        ("", "next\n"),
        ("notes\nof somebody", "notes\nof somebody\nnext\n"),
        ("notes", "notes\nnext\n"),
    ] {
        std::fs::write(&path, before).unwrap();
        Writer::new(config(&path)).append(&text(["next"])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
    }
}

#[test]
fn a_file_that_was_moved_or_removed_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    let mut writer = Writer::new(config(&path));
    writer.append(&text(["first"])).unwrap();
    let moved = directory.path().join("app.jsonl.old");
    std::fs::rename(&path, &moved).unwrap();
    writer.append(&text(["in the new one"])).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "in the new one\n");
    std::fs::remove_file(&path).unwrap();
    writer.append(&text(["and again"])).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "and again\n");
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "first\n");
}

#[test]
fn what_is_no_file_takes_lines_all_the_same_or_says_why_not() {
    let mut writer = Writer::new(config(Path::new("/dev/null")));
    writer.append(&text(["gone"])).unwrap();
    let mut writer = Writer::new(config(Path::new("/dev/full")));
    let error = writer.append(&text(["no room"])).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

/// A batch of one record each.
fn batch(body: &str) -> Batch {
    let mut logs = LogsEncoder::new();
    logs.resource_logs().scope_logs().record().body(body);
    logs.finish(TenantId::default_tenant())
}

fn bodies(directory: &Path) -> Vec<String> {
    let body = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["body"].as_str().unwrap().to_owned()
    };
    all_lines(directory).iter().map(body).collect()
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_for_now() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sub").join("app.jsonl");
    // A file where the directory should be.
    std::fs::write(directory.path().join("sub"), "").unwrap();
    let sink = JsonLinesSink::new(config(&path)).unwrap();
    let error = sink.send(batch("a")).await.unwrap_err();
    assert!(
        error.is_retryable() && error.reason().contains("app.jsonl"),
        "{error}"
    );
    std::fs::remove_file(directory.path().join("sub")).unwrap();
    sink.send(batch("a")).await.unwrap();
    assert_eq!(bodies(path.parent().unwrap()), ["a"]);
}

/// Another process has the file for longer than an attempt may take, and attempts are made all the while.
#[tokio::test]
async fn attempts_that_took_too_long_are_written_once_and_wait_on_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    let sink = JsonLinesSink::new(config(&path)).unwrap();
    let held = Locked::open(&config(&path)).unwrap();
    for _ in 0..40 {
        for body in ["a", "b"] {
            let attempt = sink.send(batch(body));
            let ended = tokio::time::timeout(std::time::Duration::from_millis(1), attempt).await;
            assert!(ended.is_err());
        }
    }
    drop(held);
    for body in ["b", "a", "c"] {
        sink.send(batch(body)).await.unwrap();
    }
    let mut found = bodies(directory.path());
    found.sort();
    assert_eq!(found, ["a", "b", "c"]);
}

#[test]
fn settings_that_no_file_can_be_written_with_are_told() {
    let refused = |config: JsonLinesConfig| config.validate().unwrap_err().key;
    let good = config(Path::new("app.jsonl"));
    good.validate().unwrap();
    assert_eq!(refused(config(Path::new(""))), "log_file");
    assert_eq!(refused(config(Path::new("logs/.."))), "log_file");
    assert_eq!(
        refused(JsonLinesConfig {
            max_bytes: ByteSize(0),
            ..good.clone()
        }),
        "max_bytes"
    );
    assert_eq!(
        refused(JsonLinesConfig {
            backup_count: 10_001,
            ..good
        }),
        "backup_count"
    );
}
