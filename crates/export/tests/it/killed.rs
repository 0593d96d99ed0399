//! A process that is killed: what it had acknowledged is delivered by the next.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cupola_export::{Accepted, Component, DeliveryConfig, Exporter, SendError, Sink};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal, TenantId};
use parking_lot::Mutex;
use tokio::sync::Notify;

const DIRECTORY: &str = "CUPOLA_TEST_KILLED_DIRECTORY";
const ROUNDS: u64 = 3;
const BATCHES_A_ROUND: u64 = 200;

/// Takes every third batch at once, and the others never, unless it is well.
#[derive(Default)]
struct Choosy {
    well: bool,
    taken: Mutex<Vec<u64>>,
    changed: Notify,
}

#[async_trait]
impl Sink for Choosy {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let number = u64::from_le_bytes(batch.payload()[..8].try_into().unwrap());
        if !self.well && !number.is_multiple_of(3) {
            return Err(SendError::retryable("not this one"));
        }
        self.taken.lock().push(number);
        self.changed.notify_waiters();
        Ok(Accepted::all())
    }
}

impl Component for Choosy {}

async fn start(directory: &Path, sink: Arc<Choosy>) -> Exporter {
    let mut config = DeliveryConfig::default();
    config.sending_queue.queue_size.0 = 100_000;
    config.retry_on_failure.initial_interval = Duration::from_millis(1);
    config.retry_on_failure.max_interval = Duration::from_millis(1);
    let storage = Some(directory.to_owned());
    Exporter::start("choosy", config, sink, storage, None, MemoryBudget::unlimited())
        .await
        .unwrap()
}

/// Not a test by itself: the process that is killed. Says on its output what was acknowledged.
#[tokio::test]
async fn sends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let first: u64 = std::env::var("CUPOLA_TEST_KILLED_FIRST")
        .unwrap()
        .parse()
        .unwrap();
    let exporter = start(&PathBuf::from(directory), Arc::default()).await;
    for number in first.. {
        let payload = Bytes::copy_from_slice(&number.to_le_bytes());
        let batch = Batch::from_canonical(Signal::Logs, TenantId::default_tenant(), payload, 1);
        exporter.send(batch).await.unwrap();
        println!("\nacknowledged {number}");
    }
}

#[tokio::test]
async fn what_a_killed_process_had_acknowledged_is_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::sends_until_it_is_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env("CUPOLA_TEST_KILLED_FIRST", (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let numbers = output.lines().filter_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("acknowledged ")?.parse::<u64>().ok()
        });
        let before = acknowledged.len();
        acknowledged.extend(numbers.take(BATCHES_A_ROUND as usize + 7 * round as usize));
        assert!(
            acknowledged.len() - before >= BATCHES_A_ROUND as usize,
            "the process ended by itself"
        );
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let sink = Arc::new(Choosy {
        well: true,
        ..Choosy::default()
    });
    let exporter = start(directory.path(), sink.clone()).await;
    while exporter.queued().requests > 0 {
        let _ = tokio::time::timeout(Duration::from_millis(50), sink.changed.notified()).await;
    }
    exporter.shutdown().await;
    let taken = sink.taken.lock().clone();
    for number in acknowledged {
        // Those of the third kind may have been taken by the process that was killed.
        assert!(
            number.is_multiple_of(3) || taken.contains(&number),
            "batch {number} is lost"
        );
    }
}
