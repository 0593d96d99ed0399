//! What the file keeps when writes, syncs and renames fail or the process dies at any of them.

use std::io;
use std::sync::atomic::AtomicUsize;

use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Signal, TenantId};

use super::*;

const FRAMINGS: [(FileFormat, FileCompression); 4] = [
    (FileFormat::Json, FileCompression::None),
    (FileFormat::Proto, FileCompression::None),
    (FileFormat::Json, FileCompression::Zstd),
    (FileFormat::Proto, FileCompression::Zstd),
];

fn batch(text: &str) -> Batch {
    let mut logs = LogsEncoder::new();
    logs.resource_logs().scope_logs().record().body(text);
    logs.finish(TenantId::default_tenant())
}

fn config(folder: &Path, (format, compression): (FileFormat, FileCompression)) -> FileConfig {
    FileConfig {
        path: folder.join("out.jsonl"),
        format,
        compression,
        ..FileConfig::default()
    }
}

/// The batches of a file, which must hold nothing but whole records.
fn read(path: &Path, config: &FileConfig) -> Vec<Batch> {
    let tenant = TenantId::default_tenant();
    let mut bytes = &std::fs::read(path).unwrap()[..];
    let mut batches = Vec::new();
    if Framing::new(config.format, config.compression).lines() {
        assert!(bytes.is_empty() || bytes.ends_with(b"\n"));
        let text = std::str::from_utf8(bytes).unwrap();
        return text
            .lines()
            .map(|line| Batch::decode_json(Signal::Logs, tenant.clone(), line.as_bytes()).unwrap())
            .collect();
    }
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_at(4);
        let (record, rest) = rest.split_at(u32::from_be_bytes(header.try_into().unwrap()) as usize);
        bytes = rest;
        let plain = match config.compression {
            FileCompression::None => record.to_vec(),
            FileCompression::Zstd => zstd::decode_all(record).unwrap(),
        };
        batches.push(match config.format {
            FileFormat::Json => Batch::decode_json(Signal::Logs, tenant.clone(), &plain).unwrap(),
            FileFormat::Proto => Batch::decode_protobuf(Signal::Logs, tenant.clone(), plain.into()).unwrap(),
        });
    }
    batches
}

/// All files of the folder with records, the full ones first.
fn read_all(config: &FileConfig) -> Vec<Batch> {
    let folder = config.path.parent().unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files.iter().flat_map(|path| read(path, config)).collect()
}

/// What goes wrong, and how often.
#[derive(Clone, Default)]
struct Faults {
    /// Bytes that can still be written; then the disk is full.
    room: Arc<AtomicUsize>,
    /// Operations that still work; then the process is as good as dead.
    operations: Arc<AtomicUsize>,
    sync_failures: Arc<AtomicUsize>,
    /// Bytes of the file that are synced: all that a crash of the machine is sure to leave.
    synced: Arc<AtomicU64>,
    truncate_failures: Arc<AtomicUsize>,
}

impl Faults {
    fn none() -> Faults {
        let faults = Faults::default();
        faults.room.store(usize::MAX / 2, Ordering::Relaxed);
        faults.operations.store(usize::MAX / 2, Ordering::Relaxed);
        faults
    }

    fn operation(&self) -> io::Result<()> {
        match take(&self.operations) {
            true => Ok(()),
            false => Err(io::Error::other("crashed")),
        }
    }
}

/// Takes one if there is one left.
fn take(count: &AtomicUsize) -> bool {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
}

impl Disk for Faults {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.operation()?;
        let room = self.room.load(Ordering::Relaxed);
        let written = room.min(bytes.len());
        self.room.store(room - written, Ordering::Relaxed);
        disk::LocalDisk.write(file, &bytes[..written])?;
        match written == bytes.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.operation()?;
        match take(&self.sync_failures) {
            true => Err(io::Error::other("sync failed")),
            false => {
                self.synced.store(file.metadata()?.len(), Ordering::Relaxed);
                disk::LocalDisk.sync(file)
            }
        }
    }

    fn truncate(&mut self, file: &File, length: u64) -> io::Result<()> {
        self.operation()?;
        match take(&self.truncate_failures) {
            true => Err(io::Error::other("truncate failed")),
            false => disk::LocalDisk.truncate(file, length),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation()?;
        self.synced.store(0, Ordering::Relaxed);
        disk::LocalDisk.rename(from, to)
    }
}

#[tokio::test]
async fn what_is_acknowledged_comes_back_in_every_format() {
    for framing in FRAMINGS {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), framing);
        let sent: Vec<Batch> = (0..20)
            .map(|index| batch(&format!("line {index}\n\u{0}ü")))
            .collect();
        for half in sent.chunks(10) {
            // The second half is appended by a second process, as it were.
            let sink = FileSink::new(config.clone()).unwrap();
            for batch in half {
                assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
            }
            sink.shutdown().await;
            let late = sink.send(sent[0].clone()).await;
            assert!(matches!(late, Err(SendError::Retryable { .. })), "{late:?}");
        }
        assert_eq!(read(&config.path, &config), sent, "{framing:?}");
    }
}

#[tokio::test]
async fn every_signal_is_one_line_of_the_collectors_file_format() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), FRAMINGS[0]);
    let sink = FileSink::new(config.clone()).unwrap();
    let mut generator = cupola_generator::Generator::new(cupola_generator::GeneratorConfig::default());
    let sent: Vec<Batch> = Signal::ALL.map(|signal| generator.batch(signal, 50)).into();
    for batch in &sent {
        sink.send(batch.clone()).await.unwrap();
    }
    sink.shutdown().await;
    let text = std::fs::read_to_string(&config.path).unwrap();
    for (line, batch) in text.lines().zip(&sent) {
        let read = Batch::decode_json(batch.signal(), batch.tenant().clone(), line.as_bytes()).unwrap();
        // JSON leaves out what protobuf may spell out, such as zeros, so the bytes may differ.
        assert_eq!((line, read.items()), (batch.to_json().as_str(), 50));
    }
    assert_eq!(text.lines().count(), sent.len());
    assert_eq!(sink.stats().written.load(Ordering::Relaxed), 150);
}

#[tokio::test]
async fn many_senders_at_once_all_find_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), FRAMINGS[0]);
    let sink = Arc::new(FileSink::new(config.clone()).unwrap());
    let sending = (0..400).map(|index| {
        let sink = sink.clone();
        tokio::spawn(async move { sink.send(batch(&index.to_string())).await.unwrap() })
    });
    for sent in sending.collect::<Vec<_>>() {
        sent.await.unwrap();
    }
    // Everything is durable before the end.
    assert_eq!(read(&config.path, &config).len(), 400);
}

#[tokio::test]
async fn a_crash_after_any_byte_loses_nothing_acknowledged_and_leaves_no_torn_record() {
    for framing in [FRAMINGS[0], FRAMINGS[3]] {
        let whole = {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path(), framing);
            let sink = FileSink::new(config.clone()).unwrap();
            for index in 0..2 {
                sink.send(batch(&format!("record {index}"))).await.unwrap();
            }
            sink.shutdown().await;
            std::fs::read(&config.path).unwrap()
        };
        for length in 0..=whole.len() {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path(), framing);
            std::fs::write(&config.path, &whole[..length]).unwrap();
            let sink = FileSink::new(config.clone()).unwrap();
            sink.send(batch("after")).await.unwrap();
            sink.shutdown().await;
            let batches = read(&config.path, &config);
            let kept = batches.len() - 1;
            for (index, found) in batches.iter().take(kept).enumerate() {
                assert_eq!(*found, batch(&format!("record {index}")));
            }
            assert_eq!(batches[kept], batch("after"));
            // What was torn is beside it, to the byte.
            let torn = sink.stats().torn_bytes.load(Ordering::Relaxed);
            let entries = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().path());
            let moved: Vec<PathBuf> = entries
                .filter(|path| path.extension().is_some_and(|extension| extension == "torn"))
                .collect();
            assert_eq!(moved.len(), usize::from(torn > 0));
            if let Some(moved) = moved.first() {
                assert_eq!(
                    std::fs::read(moved).unwrap(),
                    whole[length - torn as usize..length]
                );
            }
        }
    }
}

#[tokio::test]
async fn pages_that_were_never_written_are_not_left_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), FRAMINGS[0]);
    let line = format!("{}\n", batch("kept").to_json());
    std::fs::write(&config.path, format!("{line}{}{line}{{\"half", "\0".repeat(5000))).unwrap();
    let sink = FileSink::new(config.clone()).unwrap();
    sink.send(batch("after")).await.unwrap();
    assert_eq!(read(&config.path, &config), [batch("kept"), batch("after")]);
}

#[tokio::test]
async fn a_machine_that_dies_at_any_operation_has_kept_what_was_acknowledged() {
    let large = "x".repeat(400_000);
    for operations in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), FRAMINGS[0]);
        config.rotation = Some(Rotation {
            max_megabytes: 1,
            ..Rotation::default()
        });
        let faults = Faults::none();
        faults.operations.store(operations, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        let sink = FileSink::over(config.clone(), faults.clone()).unwrap();
        for index in 0..10 {
            let batch = batch(&format!("{index} {large}"));
            if sink.send(batch.clone()).await.is_ok() {
                acknowledged.push(batch);
            }
        }
        sink.shutdown().await;
        // What was written and not synced is gone.
        if let Ok(file) = File::options().write(true).open(&config.path) {
            let synced = faults.synced.load(Ordering::Relaxed);
            file.set_len(synced.min(file.metadata().unwrap().len())).unwrap();
        }
        let sink = FileSink::new(config.clone()).unwrap();
        sink.shutdown().await;
        let found = read_all(&config);
        for batch in &acknowledged {
            assert!(found.contains(batch), "{operations}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_keeps_no_half_line_and_takes_again() {
    for room in [0, 1, 30, 90] {
        for truncate_failures in [0, 1] {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path(), FRAMINGS[0]);
            let faults = Faults::none();
            let sink = FileSink::over(config.clone(), faults.clone()).unwrap();
            sink.send(batch("first")).await.unwrap();
            faults.room.store(room, Ordering::Relaxed);
            faults
                .truncate_failures
                .store(truncate_failures, Ordering::Relaxed);
            let refused = sink
                .send(batch(
                    "refused, as there is no room for so long a line: not a bit of it",
                ))
                .await;
            assert!(matches!(refused, Err(SendError::Retryable { .. })), "{refused:?}");
            faults.room.store(usize::MAX / 2, Ordering::Relaxed);
            sink.send(batch("second")).await.unwrap();
            assert_eq!(read(&config.path, &config), [batch("first"), batch("second")]);
        }
    }
}

#[tokio::test]
async fn a_file_whose_sync_failed_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), FRAMINGS[0]);
    let faults = Faults::none();
    let sink = FileSink::over(config.clone(), faults.clone()).unwrap();
    sink.send(batch("first")).await.unwrap();
    faults.sync_failures.store(1, Ordering::Relaxed);
    assert!(sink.send(batch("refused")).await.is_err());
    sink.send(batch("second")).await.unwrap();
    assert_eq!(read(&config.path, &config), [batch("second")]);
    assert_eq!(read_all(&config), [batch("first"), batch("second")]);
}

#[tokio::test]
async fn files_are_full_at_their_size_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), FRAMINGS[0]);
    config.rotation = Some(Rotation {
        max_megabytes: 1,
        max_backups: 2,
        ..Rotation::default()
    });
    let sink = FileSink::new(config.clone()).unwrap();
    // The fourth is larger than a file may be, and has one of its own.
    for (index, kilobytes) in [400, 400, 400, 1500, 400, 400].into_iter().enumerate() {
        sink.send(batch(&format!("{index}{}", "x".repeat(kilobytes * 1000))))
            .await
            .unwrap();
    }
    sink.shutdown().await;
    // Files were 0+1, 2, 3, 4+5; the first of the three full ones is gone.
    assert_eq!(sink.stats().rotations.load(Ordering::Relaxed), 3);
    assert_eq!(sink.stats().removed.load(Ordering::Relaxed), 1);
    assert_eq!(read(&config.path, &config).len(), 2);
    assert_eq!(read_all(&config).len(), 4);
    let mut samples = Vec::new();
    sink.collect(&mut samples);
    assert!(
        samples
            .iter()
            .any(|sample| sample.name == "cupola_exporter_file_rotations" && sample.value == 3.0)
    );
}

#[tokio::test]
async fn two_never_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), FRAMINGS[0]);
    let first = FileSink::new(config.clone()).unwrap();
    let second = FileSink::new(config.clone());
    assert!(matches!(second, Err(FileConfigError::InUse { .. })));
    first.shutdown().await;
    let third = FileSink::new(config.clone()).unwrap();
    third.send(batch("taken over")).await.unwrap();
    assert_eq!(read(&config.path, &config).len(), 1);
}

#[tokio::test]
async fn a_file_that_is_not_appended_to_is_kept_beside_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), FRAMINGS[0]);
    for text in ["old", "new"] {
        let sink = FileSink::new(config.clone()).unwrap();
        sink.send(batch(text)).await.unwrap();
        sink.shutdown().await;
        config.append = false;
    }
    assert_eq!(read(&config.path, &config), [batch("new")]);
    assert_eq!(read_all(&config).len(), 2);
}

#[tokio::test]
async fn without_sync_lines_are_in_the_file_when_they_are_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder.path().join("deep/er"), FRAMINGS[0]);
    (config.sync, config.create_directory) = (false, true);
    let faults = Faults::none();
    let sink = FileSink::over(config.clone(), faults.clone()).unwrap();
    sink.send(batch("one")).await.unwrap();
    assert_eq!(read(&config.path, &config), [batch("one")]);
    // The sync at the end is the first one.
    faults.sync_failures.store(1, Ordering::Relaxed);
    sink.shutdown().await;
    assert_eq!(faults.sync_failures.load(Ordering::Relaxed), 0);
}

#[test]
fn settings_have_the_collectors_names_and_nonsense_is_refused() {
    let parse = |text: &str| serde_json::from_str::<FileConfig>(text);
    let full = r#"{"path": "a.json", "format": "proto", "compression": "zstd", "append": true, "create_directory": true,
        "rotation": {"max_megabytes": 10, "max_days": 3, "max_backups": 3, "localtime": true},
        "flush_interval": "5s", "group_by": {"enabled": false}}"#;
    let config = parse(full).unwrap();
    assert_eq!(config.rotation.as_ref().unwrap().max_megabytes, 10);
    assert!(config.validate().is_ok());
    assert_eq!(
        parse(r#"{"rotation": {}}"#).unwrap().rotation,
        Some(Rotation::default())
    );
    assert!(parse(r#"{"pathh": ""}"#).is_err());
    for wrong in [
        r#"{}"#,
        r#"{"path": "/"}"#,
        r#"{"path": "a", "rotation": {"max_megabytes": 0}}"#,
        r#"{"path": "a", "group_by": {"enabled": true}}"#,
        r#"{"path": "a", "directory_permissions": "rwx"}"#,
        r#"{"path": "a", "flush_interval": "0s"}"#,
    ] {
        assert!(
            matches!(
                parse(wrong).unwrap().validate(),
                Err(FileConfigError::Setting { .. })
            ),
            "{wrong}"
        );
    }
    let missing = parse(r#"{"path": "/nowhere/at/all/a.json"}"#).unwrap();
    assert!(matches!(
        FileSink::new(missing),
        Err(FileConfigError::Open { .. })
    ));
}
