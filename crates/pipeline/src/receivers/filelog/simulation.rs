//! A program that writes, rotates, truncates and deletes against a reader that is stopped, killed and refused, in an order
//! that a seed decides. Every line must arrive, in the order of its file, and once: again only if the reader was killed
//! after the sink had taken it and before that was written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cupola_export::fs::Disk;
use cupola_telemetry::Batch;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::view::{AnyValue, LogsData};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::config::FilelogConfig;
use super::reading::{Made, Read};
use super::tailer::Tailer;
use super::tests::{open_tailer, settings};

const SEEDS: u64 = 40;
const STEPS: usize = 150;
const BACKUPS: usize = 4;
/// What every file begins with, so that files look alike.
const HEADER: &str = "# the same header in every file, long enough to be more than what proves that two are the same, so that it is of no use for that\n";

struct Simulation {
    seed: u64,
    random: StdRng,
    directory: tempfile::TempDir,
    now: DateTime<Utc>,
    /// Whether rotated files match the pattern.
    wide: bool,
    headers: bool,
    // The writer.
    writing: Option<File>,
    /// A line that is begun and has no end yet.
    open_line: Option<String>,
    /// Of `app.log`: a poll has seen it with bytes in it.
    seen: bool,
    /// A poll has seen more of it than what every file begins with.
    seen_own: bool,
    /// A poll has come after the last change.
    polled: bool,
    /// Removed files may still have something to be read.
    removed: bool,
    stream: u64,
    lines: u64,
    /// By line: the stream it belongs to, in the order of writing.
    written: BTreeMap<String, (u64, u64)>,
    // The reader.
    tailer: Option<Tailer>,
    under_way: Option<Made>,
    // What arrived.
    arrived: Vec<String>,
    /// By line: how often it was taken by the sink right before the reader was killed, which may take it again.
    unsure: BTreeMap<String, usize>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = StdRng::seed_from_u64(seed);
        Simulation {
            seed,
            wide: random.random(),
            headers: random.random(),
            random,
            directory: tempfile::tempdir().unwrap(),
            now: Utc::now(),
            writing: None,
            open_line: None,
            seen: false,
            seen_own: false,
            polled: false,
            removed: false,
            stream: 0,
            lines: 0,
            written: BTreeMap::new(),
            tailer: None,
            under_way: None,
            arrived: Vec::new(),
            unsure: BTreeMap::new(),
        }
    }

    fn path(&self, number: usize) -> PathBuf {
        let name = if number == 0 {
            "app.log".to_owned()
        } else {
            format!("app.log.{number}")
        };
        self.directory.path().join("logs").join(name)
    }

    /// Whether the header is read as one.
    fn reads_headers(&self) -> bool {
        self.headers && self.seed.is_multiple_of(2)
    }

    fn config(&self) -> FilelogConfig {
        let pattern = if self.wide { "app.log*" } else { "app.log" };
        let include = self.directory.path().join("logs").join(pattern);
        let mut config = serde_json::json!({
            "include": [include],
            "start_at": "beginning",
            "force_flush_period": "0s",
            "fingerprint_size": if self.seed.is_multiple_of(3) { 100 } else { 1000 },
        });
        if self.reads_headers() {
            config["header"] = serde_json::json!({
                "pattern": "^# ",
                "metadata_operators": [{ "type": "regex_parser", "regex": "^# (?P<title>the same header)" }],
            });
        }
        settings(config)
    }

    /// For a person who looks for a bug: `FILELOG_SEED=7` tells what happens.
    fn tell(&self, what: &str) {
        if std::env::var_os("FILELOG_SEED").is_none() {
            return;
        }
        let (line, stream, arrived) = (self.lines, self.stream, self.arrived.len());
        eprintln!("{what}: line {line} of stream {stream}, {arrived} arrived");
        for number in 0..=BACKUPS {
            if let Ok(metadata) = self.path(number).metadata() {
                eprintln!(
                    "    backup {number}: inode {}, {} bytes",
                    metadata.ino(),
                    metadata.len()
                );
            }
        }
        for known in self.tailer.iter().flat_map(Tailer::describe) {
            eprintln!("    {known}");
        }
    }

    // The writer.

    fn append(&mut self) {
        self.tell("append");
        if self.writing.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.path(0))
                .unwrap();
            self.writing = Some(file);
            self.begin();
        }
        let mut text = String::new();
        for _ in 0..self.random.random_range(1..6) {
            let rest = match self.open_line.take() {
                Some(rest) => rest,
                None => {
                    self.lines += 1;
                    let length = if self.random.random_ratio(1, 100) {
                        100_000
                    } else {
                        self.random.random_range(0..80)
                    };
                    let line = format!(
                        "line {} of stream {} {}",
                        self.lines,
                        self.stream,
                        "x\u{e9}".repeat(length)
                    );
                    self.written
                        .insert(line.trim().to_owned(), (self.stream, self.lines));
                    line
                }
            };
            text.push_str(&rest);
            text.push('\n');
        }
        // The last line is torn now and then; the rest of it comes with the next one.
        if self.random.random_ratio(1, 4) {
            let at = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
            let mut cut = self.random.random_range(at..text.len());
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            let rest = text.split_off(cut);
            self.open_line = Some(rest.trim_end_matches('\n').to_owned());
        }
        self.write(text.as_bytes());
    }

    /// The end of a torn line may be a line end alone.
    fn finish_line(&mut self) {
        if let Some(rest) = self.open_line.take() {
            self.write(format!("{rest}\n").as_bytes());
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.writing.as_mut().unwrap().write_all(bytes).unwrap();
        self.polled = false;
    }

    fn begin(&mut self) {
        self.stream += 1;
        (self.seen, self.seen_own) = (false, false);
        if self.headers {
            self.write(HEADER.as_bytes());
        }
    }

    /// Makes room for the next backup. The last one goes, if a reader has it.
    fn shift(&mut self) -> bool {
        if self.path(BACKUPS).exists() {
            if !self.may_remove() {
                return false;
            }
            fs::remove_file(self.path(BACKUPS)).unwrap();
            self.removed = true;
        }
        for number in (1..BACKUPS).rev() {
            if self.path(number).exists() {
                fs::rename(self.path(number), self.path(number + 1)).unwrap();
            }
        }
        true
    }

    /// Nobody can read what was removed while no reader had it.
    fn may_remove(&self) -> bool {
        self.tailer.is_some() && self.polled
    }

    /// Without the backups in the pattern, a file must have been seen under its own name.
    fn may_rotate(&self) -> bool {
        self.writing.is_some() && (self.wide || self.seen)
    }

    fn rename(&mut self) {
        self.tell("rename");
        if !self.may_rotate() || !self.shift() {
            return;
        }
        fs::rename(self.path(0), self.path(1)).unwrap();
        // Programs go on writing until they open the new file.
        if self.random.random() {
            self.maybe_poll();
            if !self.wide && self.tailer.is_none() {
                self.finish_line();
            } else {
                self.append();
            }
        }
        self.finish_line();
        self.writing = None;
        self.polled = false;
    }

    fn copy_and_truncate(&mut self) {
        self.tell("copy_and_truncate");
        // A file of which only what every file begins with has been seen looks as if it had grown, when it begins so again.
        if !self.may_rotate() || !(self.wide || self.seen_own) {
            return;
        }
        self.finish_line();
        if !self.shift() {
            return;
        }
        let bytes = fs::read(self.path(0)).unwrap();
        let mut copy = File::create(self.path(1)).unwrap();
        let half = self.random.random_range(0..=bytes.len());
        for part in [&bytes[..half], &bytes[half..]] {
            copy.write_all(part).unwrap();
            self.maybe_poll();
        }
        OpenOptions::new()
            .write(true)
            .open(self.path(0))
            .unwrap()
            .set_len(0)
            .unwrap();
        self.begin();
        // Perhaps to more bytes than there were, before anybody looks.
        for _ in 0..self.random.random_range(0..12) {
            self.append();
        }
        self.polled = false;
    }

    fn remove(&mut self) {
        self.tell("remove");
        self.finish_line();
        if self.writing.is_some() && self.seen && self.may_remove() {
            fs::remove_file(self.path(0)).unwrap();
            self.writing = None;
            self.removed = true;
        }
    }

    // The reader.

    fn start(&mut self) {
        self.tell("start");
        let storage = self.directory.path().join("checkpoints");
        self.tailer = Some(open_tailer(
            self.config(),
            Some((Arc::new(Disk), storage)),
            self.now,
        ));
        self.polled = false;
    }

    fn maybe_poll(&mut self) {
        if self.random.random() {
            self.poll();
        }
    }

    fn poll(&mut self) {
        self.tell("poll");
        self.now += TimeDelta::milliseconds(5);
        if let Some(tailer) = &mut self.tailer {
            tailer.poll(self.now);
            self.polled = true;
            let bytes = self.path(0).metadata().map_or(0, |metadata| metadata.len());
            self.seen |= bytes > 0;
            self.seen_own |= bytes > if self.headers { HEADER.len() as u64 } else { 0 };
        }
    }

    /// Offers the batch under way, or reads one.
    fn read(&mut self, accepts: bool) -> bool {
        let Some(tailer) = &mut self.tailer else {
            return false;
        };
        if self.under_way.is_none() {
            match tailer.read(&MemoryBudget::unlimited(), self.now) {
                Read::Batch(made) => self.under_way = Some(made),
                Read::Dropped => return true,
                Read::Nothing => return false,
                Read::NoMemory => panic!("there is no bound on memory"),
            }
        }
        self.tell(if accepts { "taken" } else { "refused" });
        if accepts && let Some(made) = self.under_way.take() {
            let lines = bodies(&made.batch);
            if self.reads_headers() {
                assert_eq!(titles(&made.batch), lines.len(), "seed {}", self.seed);
            }
            self.arrived.extend(lines.iter().cloned());
            // The process may end right here.
            if self.random.random_ratio(1, 40) && !self.removed {
                self.tailer = None;
                for line in lines {
                    *self.unsure.entry(line).or_default() += 1;
                }
                return true;
            }
            if let Some(tailer) = &mut self.tailer {
                tailer.commit();
            }
        }
        true
    }

    fn stop(&mut self) {
        self.tell("stop");
        if self.removed {
            return;
        }
        self.under_way = None;
        if let Some(mut tailer) = self.tailer.take()
            && self.random.random()
        {
            tailer.close();
        }
    }

    fn drain(&mut self) {
        self.tell("drain");
        loop {
            if self.tailer.is_none() {
                self.start();
            }
            self.poll();
            let mut any = false;
            while self.read(true) {
                any = true;
            }
            if !any && self.tailer.is_some() {
                break;
            }
        }
        self.removed = false;
    }

    fn run(&mut self) {
        fs::create_dir_all(self.directory.path().join("logs")).unwrap();
        for _ in 0..STEPS {
            match self.random.random_range(0..100) {
                0..30 => self.append(),
                30..36 => self.rename(),
                36..42 => self.copy_and_truncate(),
                42..45 => self.remove(),
                45..65 => self.poll(),
                65..85 => {
                    let accepts = self.random.random_ratio(4, 5);
                    self.read(accepts);
                }
                85..88 => self.stop(),
                88..94 if self.tailer.is_none() => self.start(),
                94..97 => self.drain(),
                _ => {}
            }
        }
        self.finish_line();
        self.drain();
        // A file that has the bytes of another one waits for so long.
        self.now += super::newcomers::COPY_WAIT + TimeDelta::seconds(1);
        self.drain();
    }

    fn check(&self) {
        let seed = self.seed;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for line in &self.arrived {
            if HEADER.trim() == line {
                assert!(!self.reads_headers(), "seed {seed}: a header is no record");
                continue;
            }
            let (stream, number) = self.written.get(line).unwrap_or_else(|| {
                panic!(
                    "seed {seed}: nobody wrote {:?}",
                    line.chars().take(80).collect::<String>()
                )
            });
            let count = counts.entry(line).or_default();
            *count += 1;
            if *count == 1 {
                let before = newest.insert(*stream, *number);
                assert!(
                    before < Some(*number),
                    "seed {seed}: {before:?} came before {number} of stream {stream}"
                );
            }
        }
        let arrived: BTreeSet<&str> = counts.keys().copied().collect();
        let short = |line: &str| line.chars().take(40).collect::<String>();
        for line in self.written.keys() {
            assert!(
                arrived.contains(line.as_str()),
                "seed {seed}: lost {:?}",
                short(line)
            );
        }
        for (line, count) in counts {
            let most = 1 + self.unsure.get(line).copied().unwrap_or(0);
            assert!(
                count <= most,
                "seed {seed}: {:?} came {count} times, {most} at the most",
                short(line)
            );
        }
    }
}

pub(super) fn bodies(batch: &Batch) -> Vec<String> {
    let mut found = Vec::new();
    for resource in LogsData::new(batch.payload()).resources() {
        for scope in resource.scopes() {
            for record in scope.records() {
                let Some(AnyValue::String(text)) = record.body else {
                    panic!("a body that is no text: {:?}", record.body);
                };
                found.push(text.to_owned());
            }
        }
    }
    found
}

/// Records that have what a header said.
fn titles(batch: &Batch) -> usize {
    let mut found = 0;
    for resource in LogsData::new(batch.payload()).resources() {
        for scope in resource.scopes() {
            let titled = |mut record: cupola_telemetry::view::LogRecord<'_>| {
                let said = AnyValue::String("the same header");
                record
                    .attributes
                    .any(|pair| pair.key == "title" && pair.value == said)
            };
            found += scope.records().filter(|record| titled(*record)).count();
        }
    }
    found
}

#[test]
fn every_line_arrives_whatever_happens_to_files_and_reader() {
    let only = std::env::var("FILELOG_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        simulation.check();
    }
}
