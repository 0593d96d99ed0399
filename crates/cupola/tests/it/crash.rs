//! `kill -9` at random moments under load: whatever was acknowledged is there afterwards, as it was sent, and once.
//! Thresholds are so small that kills land in flushes, compactions and retention. A reader checks all the time that
//! counts never fall. `CUPOLA_CRASH_ROUNDS` and `CUPOLA_CRASH_MINUTES` say how long, `CUPOLA_CRASH_SEED` repeats.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, Signal, TenantId};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::reader::Reader;
use crate::support::{Server, eventually, post};

/// When nothing is said; `cargo xtask test` asks for fifty.
const ROUNDS_SHORT: u64 = 8;
const SENDERS: u64 = 4;
const ITEMS_PER_BATCH_MAX: u64 = 12;
/// Everything is compared after so many rounds, and at the end; in between the reader compares counts.
const ROUNDS_PER_COMPARISON: u64 = 5;
/// Between two batches of one sender: enough load to hit every kind of work, few enough items to compare them all.
const PAUSE_MILLIS: std::ops::Range<u64> = 0..8;
/// A kill comes this long after the server was ready.
const LIFE_MILLIS: std::ops::Range<u64> = 50..2_500;

const CONFIGURATION: &str = "\
store:
  flush_bytes_max: 128KiB
  flush_interval: 150ms
  wal_segment_bytes_max: 64KiB
  retention_interval: 200ms
  retention:
    - keep: 1h
      signal: logs
      service: ephemeral
  compaction:
    interval: 100ms
    files_min: 2
    settle: 1s
service:
  telemetry:
    enabled: false
";

/// Work that kills are to land in: it must have been done before some of them.
const WORK: [&str; 3] = [
    "cupola_store_flushes_total",
    "cupola_store_compactions_total",
    "cupola_store_retention_rows_total",
];
const EPHEMERAL: &str = "SELECT count(*) FROM logs WHERE service_name = 'ephemeral'";

enum Extent {
    Rounds(u64),
    Until(Instant),
}

fn extent() -> Extent {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("CUPOLA_CRASH_MINUTES"), number("CUPOLA_CRASH_ROUNDS")) {
        (Some(minutes), _) => Extent::Until(Instant::now() + Duration::from_secs(60 * minutes)),
        (None, rounds) => Extent::Rounds(rounds.unwrap_or(ROUNDS_SHORT)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_rounds_lose_nothing_acknowledged_and_double_nothing() {
    let seed = std::env::var("CUPOLA_CRASH_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    eprintln!("CUPOLA_CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("cupola.yaml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let data = directory.path().join("data");
    let ledger = Arc::new(Ledger::default());
    let reader = Reader::new(ledger.clone());
    let extent = extent();
    let mut round = 0;
    let mut work = [0.0; WORK.len()];
    loop {
        let more = match extent {
            Extent::Rounds(rounds) => round < rounds,
            Extent::Until(end) => Instant::now() < end,
        };
        if !more {
            break;
        }
        round += 1;
        let life = Duration::from_millis(random.random_range(LIFE_MILLIS));
        let context = format!("seed {seed}, round {round}");
        let server = start(&data, &configuration).await;
        if round % ROUNDS_PER_COMPARISON == 0 {
            ledger.verify(&server, &context).await;
        }
        let done = one_round(server, &ledger, &reader, life, random.random(), context).await;
        for (sum, done) in work.iter_mut().zip(done) {
            *sum += done;
        }
    }
    let server = start(&data, &configuration).await;
    ledger
        .verify(&server, &format!("seed {seed}, after {round} rounds"))
        .await;
    eventually("the end of what retention removes", || async {
        server.count("default", EPHEMERAL).await == 0
    })
    .await;
    let (status, log) = server.stop().await;
    assert!(status.success(), "{log}");
    let server = start(&data, &configuration).await;
    ledger
        .verify(&server, &format!("seed {seed}, after a graceful stop"))
        .await;
    assert_eq!(
        server.count("default", EPHEMERAL).await,
        0,
        "what is gone stays gone"
    );
    let counts = Signal::ALL.map(|signal| format!("{} {signal}", ledger.acknowledged(signal)));
    let looks = reader.looks();
    let done = WORK.iter().zip(work).map(|(name, sum)| format!("{name} {sum}"));
    let done = done.collect::<Vec<_>>().join(", ");
    eprintln!(
        "{round} rounds, acknowledged: {}; {looks} looks; {done}",
        counts.join(", ")
    );
    for signal in Signal::ALL {
        assert!(
            ledger.acknowledged(signal) > 0,
            "no {signal} were acknowledged: the test tested nothing"
        );
    }
    assert!(looks > 0, "the reader never got an answer");
    assert!(
        work.iter().all(|sum| *sum > 0.0),
        "no kill can have landed in what was never done: {done}"
    );
}

async fn start(data: &Path, configuration: &Path) -> Server {
    Server::start_with(data, &["--config", configuration.to_str().unwrap()]).await
}

/// A life under load, and its end. Says how much of [`WORK`] was done until then.
async fn one_round(
    server: Server,
    ledger: &Arc<Ledger>,
    reader: &Arc<Reader>,
    life: Duration,
    seed: u64,
    context: String,
) -> [f64; WORK.len()] {
    let stop = CancellationToken::new();
    let mut load = JoinSet::new();
    for number in 0..SENDERS {
        let signal = Signal::ALL[number as usize % Signal::ALL.len()];
        let (http, to) = (server.http.clone(), server.otlp_http.clone());
        load.spawn(send(
            ledger.clone(),
            signal,
            http,
            to,
            seed ^ number,
            stop.clone(),
        ));
    }
    load.spawn(send_ephemeral(
        server.http.clone(),
        server.otlp_http.clone(),
        stop.clone(),
    ));
    load.spawn(reader.look(&server, context, stop.clone()));
    tokio::time::sleep(life).await;
    let done = server.metrics(WORK).await;
    server.kill().await;
    stop.cancel();
    load.join_all().await;
    done
}

async fn send(
    ledger: Arc<Ledger>,
    signal: Signal,
    http: reqwest::Client,
    to: String,
    seed: u64,
    stop: CancellationToken,
) {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.is_cancelled() {
        let (batch, numbers) = ledger.write(signal, random.random_range(1..=ITEMS_PER_BATCH_MAX));
        match post(&http, &to, &batch).await {
            Some(200) => ledger.acknowledge(signal, &numbers),
            // Refused or cut off: it may be there once, and is not sent again.
            Some(_) => {}
            None => return,
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(PAUSE_MILLIS))).await;
    }
}

/// Old logs that retention removes while everything else happens.
async fn send_ephemeral(http: reqwest::Client, to: String, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if post(&http, &to, &ephemeral()).await.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MILLIS.end)).await;
    }
}

fn ephemeral() -> Batch {
    let mut encoder = LogsEncoder::new();
    let mut resource = encoder.resource_logs();
    resource.resource().attribute("service.name", "ephemeral");
    let mut scope = resource.scope_logs();
    for number in 0..20 {
        scope
            .record()
            .time_unix_nano(1_700_000_000_000_000_000 + number)
            .body("soon gone");
    }
    drop(scope);
    drop(resource);
    encoder.finish(TenantId::default_tenant())
}
