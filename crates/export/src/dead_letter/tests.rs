//! What dead letters promise: durable once written, bounded, listed, retried, discarded.

use async_trait::async_trait;
use bytes::Bytes;
use cupola_telemetry::{Signal, TenantId};

use super::*;
use crate::fs::simulated::{Crash, Simulated};

fn batch(number: usize) -> Batch {
    let payload = format!("letter {number} {}", "x".repeat(number % 50));
    let tenant = TenantId::parse("team").unwrap();
    Batch::from_canonical(Signal::Traces, tenant, Bytes::from(payload), number + 1)
}

fn open(directory: &Path, size: u64, file_system: Arc<dyn FileSystem>) -> DeadLetters {
    let config = DeadLetterConfig { size: ByteSize(size) };
    DeadLetters::open(directory.to_owned(), "otlp/a", &config, file_system).unwrap()
}

struct Answer(Result<Accepted, SendError>, Mutex<Vec<Batch>>);

#[async_trait]
impl Sink for Answer {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.1.lock().push(batch);
        self.0.clone()
    }
}

fn answer(result: Result<Accepted, SendError>) -> Answer {
    Answer(result, Mutex::default())
}

#[tokio::test]
async fn letters_are_listed_retried_and_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("exporter");
    assert!(list(&path).unwrap().letters.is_empty());
    let letters = open(&path, 1 << 20, Arc::new(Disk));
    for number in 0..3 {
        letters
            .put(batch(number), &format!("reason {number}"), 7)
            .await
            .unwrap();
    }
    let listed = list(&path).unwrap().letters;
    let first = listed.iter().find(|entry| entry.items == 1).unwrap();
    assert_eq!(
        (
            &*first.exporter,
            first.signal,
            first.tenant.as_str(),
            first.bytes,
            &*first.reason,
            first.attempts
        ),
        (
            "otlp/a",
            Signal::Traces,
            "team",
            batch(0).payload().len() as u64,
            "reason 0",
            7
        )
    );
    // Not taken: kept.
    let busy = answer(Err(SendError::retryable("busy")));
    let kept = retry(&path, &first.id, &busy).await;
    assert!(matches!(kept, Err(DeadLetterError::Send { .. })), "{kept:?}");
    let partly = answer(Ok(Accepted::partial(1, "no")));
    let kept = retry(&path, &first.id, &partly).await;
    assert!(matches!(kept, Err(DeadLetterError::Refused { .. })), "{kept:?}");
    assert_eq!(list(&path).unwrap().letters.len(), 3);
    // Taken: removed, byte for byte.
    let sink = answer(Ok(Accepted::all()));
    retry(&path, &first.id, &sink).await.unwrap();
    assert_eq!(*sink.1.lock(), [batch(0)]);
    let again = retry(&path, &first.id, &sink).await;
    assert!(matches!(again, Err(DeadLetterError::Missing { .. })), "{again:?}");
    // Refused in part, and the sink says which items: these stay.
    let second = listed.iter().find(|entry| entry.items == 2).unwrap();
    let refused = Accepted {
        rejected: 1,
        message: "too old".to_owned(),
        refused: vec![batch(0)],
    };
    retry(&path, &second.id, &answer(Ok(refused))).await.unwrap();
    let left = list(&path).unwrap().letters;
    assert_eq!(
        (left.len(), left.iter().map(|entry| entry.items).sum::<u64>()),
        (2, 4)
    );
    assert!(
        left.iter()
            .any(|entry| entry.reason == "too old" && entry.attempts == 8)
    );
    for entry in left {
        discard(&path, &entry.id).unwrap();
    }
    assert!(list(&path).unwrap().letters.is_empty());
    let outside = discard(&path, "../../etc/passwd");
    assert!(matches!(outside, Err(DeadLetterError::Missing { .. })));
}

#[tokio::test]
async fn beyond_the_bound_the_oldest_go_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let letters = open(directory.path(), 1000, Arc::new(Disk));
    let mut items = 0;
    for number in 0..20 {
        letters.put(batch(number), "reason", 1).await.unwrap();
        items += number as u64 + 1;
        assert!(letters.bytes() <= 1000);
    }
    let left = list(directory.path()).unwrap().letters;
    let kept: u64 = left.iter().map(|entry| entry.items).sum();
    let dropped = letters.counters().dropped_items.load(Ordering::Relaxed);
    assert!(dropped > 0 && kept > 0);
    assert_eq!(kept + dropped, items);
    // Larger than everything may be.
    let large = Batch::from_canonical(
        Signal::Logs,
        TenantId::default_tenant(),
        Bytes::from((0..5000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()),
        9,
    );
    letters.put(large, "reason", 1).await.unwrap();
    assert_eq!(
        letters.counters().dropped_items.load(Ordering::Relaxed),
        dropped + 9
    );
    // The bytes are known again after a start.
    let again = open(directory.path(), 1000, Arc::new(Disk));
    assert_eq!(again.bytes(), letters.bytes());
}

#[tokio::test]
async fn damage_is_said_and_the_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let letters = open(directory.path(), 1 << 20, Arc::new(Disk));
    letters.put(batch(4), "why", 2).await.unwrap();
    let id = list(directory.path()).unwrap().letters[0].id.clone();
    let path = letter_path(directory.path(), &id);
    let whole = std::fs::read(&path).unwrap();
    let sink = answer(Ok(Accepted::all()));
    for position in 0..whole.len() {
        let mut data = whole.clone();
        data[position] ^= 1;
        std::fs::write(&path, data).unwrap();
        let _ = list(directory.path()).unwrap();
        let read = retry(directory.path(), &id, &sink).await;
        assert!(
            matches!(read, Err(DeadLetterError::Damaged { .. })),
            "byte {position}: {read:?}"
        );
        std::fs::write(&path, &whole[..position]).unwrap();
        let read = retry(directory.path(), &id, &sink).await;
        assert!(
            matches!(read, Err(DeadLetterError::Damaged { .. })),
            "cut at {position}: {read:?}"
        );
        assert!(path.exists());
    }
    std::fs::write(&path, &whole[..50]).unwrap();
    assert_eq!(list(directory.path()).unwrap().unreadable.len(), 1);
    assert!(sink.1.lock().is_empty());
}

#[test]
fn a_letter_that_was_written_survives_a_crash_at_any_operation() {
    let directory = PathBuf::from("/letters");
    let run = |file_system: &Simulated| {
        let config = DeadLetterConfig::default();
        let shared = Arc::new(file_system.clone());
        let Ok(letters) = DeadLetters::open(directory.clone(), "e", &config, shared) else {
            return 0;
        };
        (0..4)
            .take_while(|number| letters.0.put(batch(*number), String::new(), 1).is_ok())
            .count()
    };
    let whole = Simulated::default();
    assert_eq!(run(&whole), 4);
    for operation in 1..=whole.operations() {
        let file_system = Simulated::default();
        file_system.crash_at(operation);
        let written = run(&file_system);
        for crash in [Crash::Kept, Crash::Forgotten, Crash::Torn(operation)] {
            let after = file_system.after(crash);
            let found = ids(&after, &directory).unwrap();
            assert!(found.len() >= written, "{operation} {crash:?}");
            for id in found.iter() {
                let data = after.read(&letter_path(&directory, id)).unwrap();
                // The last may be there in part only where its name is not durable yet.
                Letter::decode(&data).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn what_somebody_else_removes_is_no_longer_counted() {
    let directory = tempfile::tempdir().unwrap();
    let letters = open(directory.path(), 1 << 20, Arc::new(Disk));
    for number in 0..3 {
        letters.put(batch(number), "no", 1).await.unwrap();
    }
    let all = letters.bytes();
    let listed = list(directory.path()).unwrap().letters;
    discard(directory.path(), &listed[0].id).unwrap();
    let until = async |wanted: &dyn Fn(u64) -> bool| {
        let waited = async {
            while !wanted(letters.bytes()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
        waited.expect("the letters are counted again");
    };
    until(&|bytes| 0 < bytes && bytes < all).await;
    retry(directory.path(), &listed[1].id, &answer(Ok(Accepted::all())))
        .await
        .unwrap();
    discard(directory.path(), &listed[2].id).unwrap();
    until(&|bytes| bytes == 0).await;
    letters.put(batch(1), "no", 1).await.unwrap();
    assert!(letters.bytes() > 0);
}

#[tokio::test]
async fn a_letter_can_be_read_without_taking_it() {
    let directory = tempfile::tempdir().unwrap();
    let letters = open(directory.path(), 1 << 20, Arc::new(Disk));
    letters.put(batch(1), "no", 1).await.unwrap();
    let listed = list(directory.path()).unwrap().letters;
    assert_eq!(read(directory.path(), &listed[0].id).unwrap(), batch(1));
    assert_eq!(list(directory.path()).unwrap().letters, listed);
    for id in ["../x", "00000000000000000000-00000000"] {
        let missing = read(directory.path(), id);
        assert!(matches!(missing, Err(DeadLetterError::Missing { .. })), "{id}");
    }
}
