//! Faults that come together: a destination that is slow, refuses, breaks off and goes away, a full disk, and `kill -9`, in an
//! order that a seed gives. What had ended while the spool had room is delivered all the same, at least once.

mod life;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use cupola_peers::far_end::{Behaviour, FarEnd};
use cupola_peers::peer_or_skip;
use cupola_peers::small_disk::SmallDisk;
use cupola_sdk_peers::items;
use cupola_telemetry::Batch;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use life::Life;

const SEED: &str = "CUPOLA_TEST_SEED";
/// Large enough for all that is said, several times.
const DISK: &str = "64m";
/// Longest that is waited for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(180);
/// Processes that live one after the other; more where the slow tests are asked for.
const LIVES: usize = 8;
const LIVES_SLOW: usize = 60;

const BEHAVIOURS: [Behaviour; 8] = [
    Behaviour::Takes,
    Behaviour::Slow(Duration::from_millis(100)),
    Behaviour::Slow(Duration::from_secs(5)),
    Behaviour::Refuses(503),
    Behaviour::Refuses(429),
    Behaviour::Breaks,
    Behaviour::BreaksEarly,
    Behaviour::LosesAnswers,
];

/// Everything around the application, and what was promised.
struct World {
    random: StdRng,
    far_end: FarEnd,
    is_there: bool,
    disk: SmallDisk,
    /// Bodies of records that ended while the disk had room, and are to arrive.
    promised: BTreeSet<String>,
    /// What has happened, for whoever looks for the reason.
    story: Vec<String>,
}

impl World {
    /// Something changes, or nothing.
    fn change(&mut self) {
        let what = match self.random.random_range(0..6) {
            0 | 1 => {
                let behaviour = *BEHAVIOURS.choose(&mut self.random).unwrap();
                self.far_end.behave(behaviour);
                format!("it {behaviour:?}")
            }
            2 if self.is_there => {
                self.far_end.stop();
                self.is_there = false;
                "it goes away".to_owned()
            }
            2 | 3 if !self.is_there => {
                self.far_end.resume().unwrap();
                self.is_there = true;
                "it is there again".to_owned()
            }
            4 if !self.disk.is_filled() => {
                self.disk.fill().unwrap();
                "the disk is full".to_owned()
            }
            4 | 5 if self.disk.is_filled() => {
                self.disk.free().unwrap();
                "the disk has room".to_owned()
            }
            _ => return,
        };
        self.story.push(what);
    }

    /// One process, from its start to its end.
    fn life(&mut self, number: usize) {
        let mut life = Life::start(self.disk.path(), &self.far_end.url(), number);
        // Once the disk was full, nobody outside knows which records have a place there.
        let mut is_doubtful = self.disk.is_filled();
        self.story.push(format!("life {number} begins"));
        let mut doubtful = Vec::new();
        for _ in 0..self.random.random_range(2..8) {
            self.change();
            is_doubtful |= self.disk.is_filled();
            let count = self.random.random_range(1..150);
            let ended = life.say(count);
            match is_doubtful {
                true => doubtful.extend(ended),
                false => self.promised.extend(ended),
            }
        }
        if self.random.random_ratio(1, 4) {
            let is_delivered = life.end();
            self.story
                .push(format!("life {number} ends, delivered: {is_delivered}"));
            if is_delivered {
                self.promised.extend(doubtful);
            }
            return;
        }
        let more = self.random.random_range(1..100);
        let ended = life.kill_while_saying(more);
        if !is_doubtful {
            self.promised.extend(ended);
        }
        self.story.push(format!("life {number} is killed"));
    }

    /// All is well again: everything that was promised arrives.
    fn settle(&mut self) {
        self.far_end.behave(Behaviour::Takes);
        if !self.is_there {
            self.far_end.resume().unwrap();
        }
        self.disk.free().unwrap();
        let mut last = Life::start(self.disk.path(), &self.far_end.url(), usize::MAX);
        let mut missing = std::mem::take(&mut self.promised);
        missing.extend(last.say(1));
        let (count, mut seen) = (missing.len(), 0);
        let is_complete = self.far_end.wait(PATIENCE, |batches, _| {
            for body in bodies(&batches[seen..]) {
                missing.remove(&body);
            }
            seen = batches.len();
            missing.is_empty()
        });
        assert!(
            is_complete,
            "{} of {count} are missing, such as {:?}\n{}",
            missing.len(),
            missing.iter().take(5).collect::<Vec<_>>(),
            self.story.join("\n")
        );
        assert!(last.end(), "the last delivers everything");
    }
}

/// Bodies without what fills them up.
fn bodies(batches: &[Batch]) -> BTreeSet<String> {
    let logs = items::logs(batches).into_iter();
    let body = |value: Value| match value {
        Value::StringValue(text) => text.split(' ').next().unwrap_or_default().to_owned(),
        other => panic!("{other:?}"),
    };
    logs.filter_map(|log| log.item.body?.value.map(body)).collect()
}

#[test]
fn what_ended_while_the_spool_had_room_is_delivered_whatever_happens() {
    let disk = peer_or_skip!(SmallDisk::mount(DISK));
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    eprintln!("{SEED}={seed}");
    let lives = if cupola_peers::slow("").is_ok() {
        LIVES_SLOW
    } else {
        LIVES
    };
    let mut world = World {
        random: StdRng::seed_from_u64(seed),
        far_end: FarEnd::start(),
        is_there: true,
        disk,
        promised: BTreeSet::new(),
        story: Vec::new(),
    };
    for number in 0..lives {
        world.life(number);
    }
    world.settle();
    assert_eq!(
        left(world.disk.path()),
        Vec::<String>::new(),
        "{}",
        world.story.join("\n")
    );
}

#[test]
fn a_process_that_began_with_a_full_disk_leaves_word_of_itself_when_there_is_room() {
    let mut disk = peer_or_skip!(SmallDisk::mount(DISK));
    let far_end = FarEnd::start();
    far_end.behave(Behaviour::Refuses(503));
    disk.fill().unwrap();
    let mut first = Life::start(disk.path(), &far_end.url(), 1);
    first.say(5);
    disk.free().unwrap();
    let spool = disk.path().join("spool");
    let has_word = || {
        let mut processes = std::fs::read_dir(&spool).into_iter().flatten();
        processes.any(|process| process.unwrap().path().join("resource").is_file())
    };
    assert!(cupola_peers::wait_until(PATIENCE, has_word));
    // Files are not tried again at once where there was no room for one: until then records are in memory alone.
    let has_room = || {
        first.say(1);
        let mut processes = std::fs::read_dir(&spool).into_iter().flatten();
        processes.any(|process| {
            let records = std::fs::read_dir(process.unwrap().path().join("records"));
            records.is_ok_and(|mut records| records.next().is_some())
        })
    };
    assert!(cupola_peers::wait_until(PATIENCE, has_room));
    let pid = i64::from(first.pid());
    let ended: BTreeSet<String> = first.say(5).into_iter().collect();
    first.kill_while_saying(1);

    far_end.behave(Behaviour::Takes);
    let mut second = Life::start(disk.path(), &far_end.url(), 2);
    second.say(1);
    let has_arrived = far_end.wait(PATIENCE, |batches, _| ended.is_subset(&bodies(batches)));
    assert!(has_arrived);
    let of_first = items::logs(&far_end.batches()).into_iter().filter(|log| {
        let body = log.item.body.as_ref().and_then(|body| body.value.as_ref());
        matches!(body, Some(Value::StringValue(text)) if text.starts_with("1-"))
    });
    for log in of_first {
        let attributes = log.resource.unwrap().attributes;
        let of = attributes
            .into_iter()
            .find(|attribute| attribute.key == "process.pid")
            .unwrap();
        assert_eq!(of.value.unwrap().value, Some(Value::IntValue(pid)));
    }
    assert!(second.end());
}

/// What is in the spool that somebody would have to take over.
fn left(disk: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(disk.join("spool")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    // Those that were killed while they made theirs.
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn what_a_full_disk_has_no_room_for_is_counted_and_delivered_if_nobody_is_killed() {
    let mut disk = peer_or_skip!(SmallDisk::mount(DISK));
    let far_end = FarEnd::start();
    let mut life = Life::start(disk.path(), &far_end.url(), 0);
    let mut said: BTreeSet<String> = life.say(10).into_iter().collect();
    disk.fill().unwrap();
    // More than the segments take that are there already.
    for _ in 0..20 {
        said.extend(life.say(150));
    }
    disk.free().unwrap();
    // Metrics wait for room in the queue as well.
    let has_counted = far_end.wait(PATIENCE, |batches, _| unkept(batches) > 0);
    assert!(has_counted, "nobody told of {} records", said.len());
    assert!(life.end());
    assert_eq!(said.difference(&bodies(&far_end.batches())).next(), None);
    assert_eq!(left(disk.path()), Vec::<String>::new());
}

/// The highest count of records for which the spool had no room.
fn unkept(batches: &[Batch]) -> i64 {
    let metrics = items::metrics(batches).into_iter();
    let of_name = metrics.filter(|metric| metric.item.name == "cupola.sdk.spool.unkept");
    let points = of_name.flat_map(|metric| match metric.item.data {
        Some(Data::Sum(sum)) => sum.data_points,
        other => panic!("{other:?}"),
    });
    let values = points.filter_map(|point| match point.value {
        Some(number_data_point::Value::AsInt(value)) => Some(value),
        _ => None,
    });
    values.max().unwrap_or(0)
}
