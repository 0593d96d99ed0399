//! A process that is killed between taking and committing: the next reads again what may not have been handed on.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::{Accepted, SendError, Sink};
use cupola_peers::kafka::RunningKafka;
use cupola_pipeline::receivers::kafka::KafkaReceiver;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};

use super::{bodies, config, numbered, text_of};

const BROKER: &str = "CUPOLA_TEST_KAFKA_BROKER";
const TOPIC: &str = "killed";
const MESSAGES: usize = 3_000;

/// Prints what it takes, and says that it has taken it after that.
struct Printed;

#[async_trait]
impl Sink for Printed {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let mut output = std::io::stdout().lock();
        for body in bodies(&[batch]) {
            writeln!(output, "\ntaken {body}").unwrap();
        }
        output.flush().unwrap();
        Ok(Accepted::all())
    }
}

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_until_it_is_killed() {
    let Ok(broker) = std::env::var(BROKER) else {
        return;
    };
    let letters = tempfile::tempdir().unwrap();
    // Small answers of the broker, so that it is killed in the midst of them; the session of the dead soon ends.
    let yaml = text_of(TOPIC)
        + "\nmax_partition_fetch_size: 1024\nmax_fetch_size: 1024\nsession_timeout: 2s\nheartbeat_interval: 300ms";
    let running = KafkaReceiver::start(
        config(&broker, &yaml),
        ("receivers/kafka", letters.path()),
        &[Signal::Logs],
        Arc::new(Printed),
        MemoryBudget::unlimited(),
    );
    let _running = running.await.unwrap();
    std::future::pending::<()>().await;
}

/// Runs a process until it has printed so many, and kills it; what it printed.
fn killed_after(peer: &RunningKafka, messages: usize) -> Vec<String> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "receivers::kafka::killed::reads_until_it_is_killed",
            "--nocapture",
        ])
        .env(BROKER, peer.broker())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let taken = output.lines().filter_map(|line| {
        let line = line.unwrap();
        Some(line.strip_prefix("taken ")?.to_owned())
    });
    let taken: Vec<String> = taken.take(messages).collect();
    process.kill().unwrap();
    process.wait().unwrap();
    taken
}

pub(super) fn what_a_killed_process_had_not_handed_on_is_read_again(peer: &RunningKafka) {
    peer.make_topic(TOPIC, 3).unwrap();
    peer.produce(TOPIC, &numbered(3, MESSAGES / 3)).unwrap();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut printed = 0;
    for round in 0..4 {
        let more = killed_after(peer, 400 + 37 * round);
        printed += more.len();
        taken.extend(more);
    }
    // The last one until it has everything that is left.
    let committed = peer.committed(&format!("of-{TOPIC}"), TOPIC, 3).unwrap();
    let left = MESSAGES as i64 - committed.iter().map(|offset| offset.max(&0)).sum::<i64>();
    assert!(left > 0, "nothing is left to be read: {committed:?}");
    let more = killed_after(peer, left as usize);
    printed += more.len();
    taken.extend(more);
    let missing: Vec<String> = numbered(3, MESSAGES / 3)
        .into_iter()
        .map(|message| String::from_utf8(message.value).unwrap())
        .filter(|body| !taken.contains(body))
        .collect();
    assert!(
        missing.is_empty(),
        "{} are lost, the first {:?}",
        missing.len(),
        missing.first()
    );
    eprintln!("{} of {MESSAGES} were read again", printed - taken.len());
}
