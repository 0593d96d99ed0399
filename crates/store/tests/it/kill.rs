//! `kill -9` at random moments of a process that appends as fast as it can while it flushes, merges and forgets: what
//! it had acknowledged is found afterwards, once, and nothing that it did not send.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cupola_store::io::Disk;
use cupola_store::{RetentionRule, Store, StoreConfig};
use cupola_telemetry::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::rows::{HOUR, START, Stopped, log_numbers, logs, open, point_numbers, points};

const ROUNDS: u64 = 50;
const ITEMS: u64 = 10;
/// The longest that a child may take to the work it is to be killed after.
const GOAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Later than any item: each is a second after the one before it.
const NOW: i64 = START + 30 * 24 * HOUR;
/// Tells the child where to work; its presence tells it that it is one.
const DIRECTORY: &str = "CUPOLA_TEST_KILL_DIRECTORY";
const FIRST: &str = "CUPOLA_TEST_KILL_FIRST";

fn config(directory: &Path) -> StoreConfig {
    let mut config = StoreConfig::new(directory);
    config.file_system = Arc::new(Disk);
    config.clock = Arc::new(Stopped(NOW));
    config.flush_bytes_max = 8 << 10;
    config.seal_bytes_max = 2 << 10;
    config.wal_segment_bytes_max = 4 << 10;
    config.compaction.interval = Duration::from_millis(5);
    config.compaction.files_min = 2;
    config.manifest_checkpoint_every = 4;
    config.retention_interval = Duration::from_millis(5);
    // Rows of tenant b are old as soon as they come.
    config.retention = vec![RetentionRule {
        tenant: Some("b".to_owned()),
        ..RetentionRule::signal(Signal::Logs, Duration::from_secs(1))
    }];
    config
}

/// What a process had done when it was killed: the number up to which everything was acknowledged, then how many flushes,
/// merges and rows removed by retention. Each of its lines is one.
#[derive(Clone, Copy, Default)]
struct Progress {
    acknowledged: u64,
    work: [u64; 3],
}

impl Progress {
    fn of(store: &Store, acknowledged: u64) -> Progress {
        let counters = store.status().counters;
        Progress {
            acknowledged,
            work: [counters.flushes, counters.compactions, counters.retention_rows],
        }
    }

    fn line(&self) -> String {
        let [flushes, merges, forgotten] = self.work;
        format!(
            "acknowledged {} {flushes} {merges} {forgotten}",
            self.acknowledged
        )
    }

    /// Nothing of what the test framework prints, and of a line that a killed writer has not finished.
    fn parse(line: &str) -> Option<Progress> {
        let numbers = line.strip_prefix("acknowledged ")?.split(' ');
        let numbers: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        let [acknowledged, work @ ..] = numbers.as_slice() else {
            return None;
        };
        Some(Progress {
            acknowledged: *acknowledged,
            work: work.try_into().ok()?,
        })
    }
}

/// Not a test of its own: the process that is killed. Prints its progress.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = open(config(Path::new(&directory))).await;
    let mut output = std::io::stdout();
    for batch in 0.. {
        let numbers = first + batch * ITEMS..first + (batch + 1) * ITEMS;
        store.append(logs("a", numbers.clone())).await.unwrap();
        store.append(points("a", numbers.clone())).await.unwrap();
        store.append(logs("b", numbers.clone())).await.unwrap();
        writeln!(output, "{}", Progress::of(&store, numbers.end).line()).unwrap();
        output.flush().unwrap();
    }
}

/// Runs the child until it has acknowledged something, has done the `goal`th kind of work, and a random time has passed.
/// Says how far it came.
fn run_and_kill(directory: &Path, first: u64, goal: Option<usize>, after: Duration) -> Progress {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut progress = lines
        .by_ref()
        .map(Result::unwrap)
        .find_map(|line| Progress::parse(&line))
        .unwrap_or(Progress {
            acknowledged: first,
            work: [0; 3],
        });
    let is_reached = move |progress: &Progress| goal.is_none_or(|kind| progress.work[kind] > 0);
    let (reach, reached) = std::sync::mpsc::sync_channel::<()>(1);
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    let reader = std::thread::spawn(move || {
        for line in lines {
            if let Some(later) = line.ok().and_then(|line| Progress::parse(&line)) {
                progress = later;
            }
            if is_reached(&progress) {
                let _ = reach.try_send(());
            }
        }
        drop(stop);
        progress
    });
    // A child that does not get there in time is killed where it is; the sums say whether any did.
    let _ = reached.recv_timeout(GOAL_TIMEOUT);
    // Ends early only if the child ends by itself, which it does not.
    let _ = stopped.recv_timeout(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_rounds() {
    if std::env::var(DIRECTORY).is_ok() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(9);
    let mut certain: BTreeSet<u64> = BTreeSet::new();
    let mut next = 0;
    let mut work = [0; 3];
    for round in 0..ROUNDS {
        // Each kind of work in turn, so that kills land soon after it and in what follows; and at any time at all.
        let goal = [None, Some(0), Some(1), Some(2)][round as usize % 4];
        let after = Duration::from_micros(random.random_range(0..50_000));
        let path = directory.path().to_owned();
        let progress = tokio::task::spawn_blocking(move || run_and_kill(&path, next, goal, after))
            .await
            .unwrap();
        let end = progress.acknowledged;
        for (sum, done) in work.iter_mut().zip(progress.work) {
            *sum += done;
        }
        certain.extend(next..end);
        let store = open(config(directory.path())).await;
        let (found_logs, found_points) = (log_numbers(&store, "a").await, point_numbers(&store, "a").await);
        let possible = end + ITEMS;
        for found in [&found_logs, &found_points] {
            let distinct: BTreeSet<u64> = found.iter().copied().collect();
            assert_eq!(distinct.len(), found.len(), "round {round}: rows twice");
            assert!(
                certain.is_subset(&distinct),
                "round {round}: acknowledged rows lost"
            );
            assert!(
                distinct.last().is_none_or(|last| *last < possible),
                "round {round}: rows nobody sent"
            );
        }
        // The last batch may be there without its acknowledgement.
        next = possible;
        certain.extend(found_logs.iter().filter(|number| found_points.contains(number)));
        store.shutdown().await.unwrap();
    }
    let [flushes, merges, forgotten] = work;
    println!(
        "{ROUNDS} rounds, {} items, {flushes} flushes, {merges} merges, {forgotten} rows forgotten",
        certain.len()
    );
    assert!(
        work.iter().all(|count| *count > 0),
        "no kill can have hit what never happened: {work:?}"
    );
    let store = open(config(directory.path())).await;
    store.flush().await.unwrap();
    store.apply_retention(NOW).await.unwrap();
    assert!(log_numbers(&store, "b").await.is_empty(), "what is old is gone");
}
