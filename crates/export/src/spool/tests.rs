//! What a spool promises, at every place where it could break: crashes, failing operations, damage, a full disk.

mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Signal, TenantId};

use super::*;
use crate::fs::simulated::{Crash, Simulated};
use crate::queue::Sizer;

fn directory() -> PathBuf {
    PathBuf::from("/spool")
}

fn config(cache_bytes_max: u64) -> LogConfig {
    LogConfig {
        directory: directory(),
        segment_bytes_max: 300,
        disk_bytes_max: 1 << 20,
        cache_bytes_max,
        budget: MemoryBudget::unlimited(),
    }
}

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new(Sizer::Requests, 1000))
}

/// Each number another payload; every third compresses.
fn batch(number: usize) -> Batch {
    let mut payload = format!("batch {number} ").into_bytes();
    match number % 3 {
        0 => payload.extend(std::iter::repeat_n(b'a', 400)),
        _ => payload.extend((0..number % 7 * 20).map(|at| (at * 31 + number) as u8)),
    }
    let tenant = TenantId::parse(["a", "tenant-b"][number % 2]).unwrap();
    let signal = Signal::ALL[number % 3];
    Batch::from_canonical(signal, tenant, Bytes::from(payload), number % 5 + 1)
}

fn open(file_system: &Simulated, cache: u64) -> Result<(Log, Arc<Gate>), SpoolError> {
    let gate = gate();
    let log = Log::open(config(cache), Arc::new(file_system.clone()), gate.clone())?;
    Ok((log, gate))
}

/// Appends as senders do: the gate first.
fn append(log: &Log, gate: &Arc<Gate>, numbers: &[usize]) -> io::Result<u64> {
    let batches: Vec<Batch> = numbers.iter().map(|number| batch(*number)).collect();
    let entered: Vec<Entered> = batches
        .iter()
        .map(|batch| gate.try_enter(Load::of(batch)).unwrap())
        .collect();
    let first = log.append(&batches, 5)?;
    entered.into_iter().for_each(Entered::keep);
    Ok(first)
}

fn number_of(found: &Batch) -> usize {
    let text = String::from_utf8_lossy(found.payload());
    let number = text.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(*found, batch(number), "the bytes are others");
    number
}

/// Everything that is handed out, without being done with.
fn drain(log: &Log) -> Vec<(u64, usize)> {
    let mut numbers = Vec::new();
    let mut failures = 0;
    loop {
        match log.next() {
            Ok(Some(handed)) => numbers.push((handed.sequence, number_of(&handed.batch))),
            Ok(None) => return numbers,
            Err(_) if failures < 100 => failures += 1,
            Err(error) => panic!("reading fails for ever: {error}"),
        }
    }
}

/// What has happened so far, in numbers of batches.
#[derive(Default)]
struct Oracle {
    sent: BTreeSet<usize>,
    acknowledged: BTreeSet<usize>,
    done: BTreeSet<usize>,
    /// Of those, since the last start.
    noted: BTreeSet<usize>,
    /// Done, and written down as such.
    settled: BTreeSet<usize>,
}

impl Oracle {
    fn append(&mut self, log: &Log, gate: &Arc<Gate>, count: usize) {
        let start = self.sent.len();
        let numbers: Vec<usize> = (start..start + count).collect();
        self.sent.extend(&numbers);
        if append(log, gate, &numbers).is_ok() {
            self.acknowledged.extend(&numbers);
        }
    }

    fn done(&mut self, log: &Log, handed: Handed) {
        let number = number_of(&handed.batch);
        self.done.insert(number);
        self.noted.insert(number);
        log.done(handed.sequence);
    }

    fn upkeep(&mut self, log: &Log) {
        log.upkeep();
        if log.unwritten().0 == 0 {
            self.settled.append(&mut self.noted);
        }
    }

    /// Appends, delivers, and restarts twice; deliveries are done out of order and not all of them.
    fn run(&mut self, file_system: &Simulated, cache: u64) -> Result<(), SpoolError> {
        for round in 0..3 {
            let (log, gate) = open(file_system, cache)?;
            self.noted.clear();
            let mut handed = Vec::new();
            for step in 0..5 {
                self.append(&log, &gate, 1 + (step + round) % 3);
                for _ in 0..2 {
                    if let Ok(Some(next)) = log.next() {
                        handed.push(next);
                    }
                }
                if handed.len() > 2 {
                    let done = handed.remove(1);
                    self.done(&log, done);
                }
                if step % 2 == 1 {
                    self.upkeep(&log);
                }
                if step == 3 && !handed.is_empty() {
                    log.give_back(handed.remove(0));
                }
            }
            for done in handed.drain(..).rev().skip(1) {
                self.done(&log, done);
            }
        }
        Ok(())
    }

    /// After a crash and a start everything acknowledged is delivered or was, and nothing that never was sent.
    fn check(&self, delivered: &[(u64, usize)], context: &str) {
        let delivered: BTreeSet<usize> = delivered.iter().map(|(_, number)| *number).collect();
        for number in &self.acknowledged {
            assert!(
                delivered.contains(number) || self.done.contains(number),
                "batch {number} is lost: {context}"
            );
        }
        assert!(delivered.is_subset(&self.sent), "{context}");
        let again: Vec<_> = delivered.intersection(&self.settled).collect();
        assert!(
            again.is_empty(),
            "{again:?} delivered again although that was written down: {context}"
        );
    }
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_operation() {
    for cache in [0, 1 << 20] {
        let whole = Simulated::default();
        Oracle::default().run(&whole, cache).unwrap();
        for operation in 1..=whole.operations() + 1 {
            let file_system = Simulated::default();
            file_system.crash_at(operation);
            let mut oracle = Oracle::default();
            let _ = oracle.run(&file_system, cache);
            assert_eq!(file_system.has_crashed(), operation <= whole.operations());
            for crash in [
                Crash::Kept,
                Crash::Forgotten,
                Crash::Torn(operation),
                Crash::Torn(operation + 1000),
            ] {
                let context = format!("cache {cache}, crash {crash:?} at operation {operation}");
                let restarted = file_system.after(crash);
                let (log, gate) = open(&restarted, cache).unwrap();
                assert_eq!(log.counters.damages.load(Ordering::Relaxed), 0, "{context}");
                let delivered = drain(&log);
                oracle.check(&delivered, &context);
                assert_eq!(gate.held().requests, delivered.len() as u64, "{context}");
                goes_on(log, gate, &restarted, delivered, &context);
            }
        }
    }
}

/// After a recovery new batches are as safe as any.
fn goes_on(log: Log, gate: Arc<Gate>, file_system: &Simulated, delivered: Vec<(u64, usize)>, context: &str) {
    let first = append(&log, &gate, &[1000, 1001]).unwrap();
    for (sequence, _) in &delivered {
        assert!(*sequence < first, "a number was given twice: {context}");
        log.done(*sequence);
    }
    log.upkeep();
    drop(log);
    let again = file_system.after(Crash::Forgotten);
    let (log, gate) = open(&again, 0).unwrap();
    let numbers: Vec<usize> = drain(&log).iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [1000, 1001], "{context}");
    log.done(first);
    log.done(first + 1);
    log.upkeep();
    assert_eq!(gate.held(), Load::default(), "{context}");
    let names = again.list(&directory()).unwrap();
    assert!(
        names
            .iter()
            .all(|name| !name.ends_with(".spool") && !name.ends_with(".damaged")),
        "files are left: {names:?}, {context}"
    );
}

#[test]
fn an_operation_that_fails_loses_nothing() {
    let whole = Simulated::default();
    Oracle::default().run(&whole, 0).unwrap();
    for operation in 1..=whole.operations() {
        for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            let file_system = Simulated::default();
            file_system.fail_at(operation, kind);
            let mut oracle = Oracle::default();
            let _ = oracle.run(&file_system, 0);
            for crash in [Crash::Kept, Crash::Forgotten, Crash::Torn(operation)] {
                let context = format!("{kind} at operation {operation}, then {crash:?}");
                let restarted = file_system.after(crash);
                let (log, _gate) = open(&restarted, 0).unwrap();
                oracle.check(&drain(&log), &context);
            }
        }
    }
}

#[test]
fn two_failures_and_a_crash_lose_nothing() {
    for seed in 0..400 {
        let file_system = Simulated::default();
        file_system.fail_randomly(0.08, seed);
        let mut oracle = Oracle::default();
        let _ = oracle.run(&file_system, seed % 2 * 1000);
        let restarted = file_system.after(Crash::Torn(seed));
        let (log, _gate) = open(&restarted, 0).unwrap();
        oracle.check(&drain(&log), &format!("seed {seed}"));
    }
}

fn spool_files(file_system: &Simulated) -> Vec<PathBuf> {
    let names = file_system.list(&directory()).unwrap();
    let files = names.iter().filter(|name| name.ends_with(".spool"));
    files.map(|name| directory().join(name)).collect()
}

#[test]
fn a_directory_belongs_to_one_at_a_time() {
    let file_system = Simulated::default();
    let (log, _gate) = open(&file_system, 0).unwrap();
    assert!(matches!(open(&file_system, 0), Err(SpoolError::InUse { .. })));
    log.release();
    assert!(open(&file_system, 0).is_ok());
}

#[test]
fn a_full_disk_refuses_keeps_delivering_and_resumes() {
    let file_system = Simulated::default();
    file_system.set_capacity(Some(3000));
    let (log, gate) = open(&file_system, 0).unwrap();
    let mut accepted = Vec::new();
    let refused = loop {
        let number = accepted.len();
        match append(&log, &gate, &[number]) {
            Ok(_) => accepted.push(number),
            Err(error) => break error,
        }
    };
    assert!(is_storage_full(&refused), "{refused}");
    assert!(append(&log, &gate, &[accepted.len()]).is_err());
    assert_eq!(gate.held().requests, accepted.len() as u64);
    // Delivering goes on and makes room, though not even the cursor can be written.
    let delivered = drain(&log);
    let numbers: Vec<usize> = delivered.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, accepted);
    delivered.iter().for_each(|(sequence, _)| log.done(*sequence));
    log.upkeep();
    assert!(file_system.used() < 1500, "{}", file_system.used());
    append(&log, &gate, &[901]).unwrap();
    let (_, number) = drain(&log)[0];
    assert_eq!(number, 901);
}

#[test]
fn files_take_no_more_than_they_may() {
    let file_system = Simulated::default();
    let gate = gate();
    let config = LogConfig {
        disk_bytes_max: 2000,
        ..config(0)
    };
    let log = Log::open(config, Arc::new(file_system.clone()), gate.clone()).unwrap();
    let mut number = 0;
    while append(&log, &gate, &[number]).is_ok() {
        number += 1;
    }
    assert!(log.disk_bytes() <= 2000 && number > 3);
    for (sequence, _) in drain(&log) {
        log.done(sequence);
    }
    let _ = append(&log, &gate, &[number]);
    log.upkeep();
    append(&log, &gate, &[number]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn senders_share_a_sync_and_everything_is_found_at_the_next_start() {
    let file_system = Simulated::default();
    let start = |gate| Spool::start(config(100), Arc::new(file_system.clone()), gate);
    let first_gate = gate();
    let spool = Arc::new(start(first_gate.clone()).await.unwrap());
    let budget = MemoryBudget::unlimited();
    let senders = (0..200).map(|number| {
        let batch = batch(number);
        let pending = Pending {
            entered: first_gate.try_enter(Load::of(&batch)).unwrap(),
            reservation: budget.reservation(),
            waiter: None,
            batch,
        };
        spool.push(pending)
    });
    for sent in futures::future::join_all(senders).await {
        sent.unwrap();
    }
    let syncs = spool.log().counters.syncs.load(Ordering::Relaxed);
    assert!(syncs < 20, "{syncs} syncs for 200 senders at once");
    let mut seen = BTreeMap::new();
    for _ in 0..50 {
        let handed = spool.next().await;
        seen.insert(number_of(&handed.batch), handed.sequence);
        spool.done(handed.sequence);
    }
    spool.close().await;
    let spool = start(gate()).await.unwrap();
    for _ in 50..200 {
        let handed = spool.next().await;
        assert!(seen.insert(number_of(&handed.batch), handed.sequence).is_none());
        spool.done(handed.sequence);
    }
    assert_eq!(seen.len(), 200);
    spool.close().await;
    assert!(spool_files(&file_system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_taker_went_away_is_handed_to_another() {
    let file_system = Simulated::default();
    let gate = gate();
    let spool = Spool::start(config(0), Arc::new(file_system), gate.clone()).await;
    let spool = spool.unwrap();
    let pending = Pending {
        entered: gate.try_enter(Load::of(&batch(1))).unwrap(),
        reservation: MemoryBudget::unlimited().reservation(),
        waiter: None,
        batch: batch(1),
    };
    spool.push(pending).await.unwrap();
    for _ in 0..20 {
        // Reads the file, and is dropped before that is done; unless it was quicker.
        let next = Box::pin(spool.next());
        if let std::task::Poll::Ready(handed) = futures::poll!(next) {
            spool.give_back(handed);
        }
    }
    let handed = spool.next().await;
    assert_eq!(number_of(&handed.batch), 1);
    spool.done(handed.sequence);
    assert_eq!(gate.held(), Load::default());
}

/// A spool that an earlier version wrote opens in every later one. `CUPOLA_WRITE_FIXTURE` names a directory to write such a
/// spool to when there is a new format; what is in `tests/fixtures` is never written again.
#[test]
fn a_spool_of_format_1_opens() {
    let disk = Arc::new(crate::fs::Disk);
    if let Some(target) = std::env::var_os("CUPOLA_WRITE_FIXTURE") {
        let config = LogConfig {
            directory: PathBuf::from(target),
            ..config(0)
        };
        let gate = gate();
        let log = Log::open(config, disk.clone(), gate.clone()).unwrap();
        (0..8).for_each(|number| assert!(append(&log, &gate, &[number]).is_ok()));
        let handed: Vec<_> = (0..4).map(|_| log.next().unwrap().unwrap()).collect();
        [0, 2, 3]
            .iter()
            .for_each(|index| log.done(handed[*index].sequence));
        log.upkeep();
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool-v1");
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let config = LogConfig {
        directory: copy.path().to_owned(),
        ..config(0)
    };
    let gate = gate();
    let log = Log::open(config, disk, gate.clone()).unwrap();
    let numbers: Vec<usize> = drain(&log).iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [1, 4, 5, 6, 7]);
    assert_eq!(log.counters.damages.load(Ordering::Relaxed), 0);
    assert_eq!(gate.held().requests, 5);
}
