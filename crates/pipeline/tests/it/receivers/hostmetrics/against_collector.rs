//! The Collector's own receiver over the same files, metric for metric and value for value.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use cupola_peers::collector::HostMetrics as Collectors;
use cupola_peers::peer_or_skip;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Measuring, began, comparable, decode, defaults, everything, names, points, tree};

/// Writes what the Collector says into the file that the test of the recorded host reads.
const WRITE_VARIABLE: &str = "CUPOLA_WRITE_HOST_METRICS";

/// What both read below `root_path`. The Collector asks this machine for the rest: the number of processors and their
/// frequency, swap space, what processes are doing; and the switches of each thread of a process with several.
pub(super) fn shared(points: Vec<Value>) -> Vec<Value> {
    const ELSEWHERE: [&str; 7] = [
        "system.cpu.logical.count",
        "system.cpu.physical.count",
        "system.cpu.frequency",
        "system.paging.usage",
        "system.paging.utilization",
        "system.processes.count",
        "process.context_switches",
    ];
    let is_shared = |point: &Value| !ELSEWHERE.contains(&point["name"].as_str().unwrap());
    points.into_iter().filter(is_shared).collect()
}

/// What is mounted is measured: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A folder whose `proc` is a file system of its own: the Collector believes what it says of processes only then, and
/// otherwise asks this machine whether they are there.
struct Mounted {
    folder: TempDir,
}

impl Mounted {
    fn new() -> Result<Mounted, String> {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path().join("proc");
        std::fs::create_dir(&proc).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "none"])
            .arg(&proc)
            .output();
        match mounted {
            Ok(mounted) if mounted.status.success() => Ok(Mounted { folder }),
            other => Err(format!("cannot mount a file system: {other:?}")),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path().join("proc")).status();
    }
}

#[tokio::test]
async fn the_recorded_host_is_what_the_collector_makes_of_it() {
    let collectors = peer_or_skip!(Collectors::install());
    let _alone = ALONE.lock().await;
    let folder = peer_or_skip!(Mounted::new());
    tree::record(folder.path());
    let mut all = serde_json::Map::new();
    for (which, settings) in [
        ("defaults", defaults(folder.path())),
        ("everything", everything(folder.path())),
    ] {
        let batch = decode(collectors.run(&settings.to_string(), 2).unwrap());
        all.insert(which.to_owned(), Value::Array(shared(comparable(points(&batch)))));
    }
    if std::env::var_os(WRITE_VARIABLE).is_some() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/receivers/hostmetrics/collector.json"
        );
        std::fs::write(file, one_a_line(&all)).unwrap();
        return;
    }
    for (which, points) in all {
        assert_eq!(points.as_array().unwrap(), &super::collectors(&which), "{which}");
    }
}

fn one_a_line(all: &serde_json::Map<String, Value>) -> String {
    let mut text = "{".to_owned();
    for (number, (which, points)) in all.iter().enumerate() {
        let lines: Vec<_> = points.as_array().unwrap().iter().map(Value::to_string).collect();
        let comma = if number > 0 { "," } else { "" };
        text.push_str(&format!("{comma}\n\"{which}\": [\n{}\n]", lines.join(",\n")));
    }
    text + "\n}\n"
}

#[tokio::test]
async fn this_machine_at_one_moment_is_measured_the_same() {
    let collectors = peer_or_skip!(Collectors::install());
    let _alone = ALONE.lock().await;
    let folder = peer_or_skip!(Mounted::new());
    tree::freeze(folder.path());
    let settings = everything(folder.path()).to_string();
    let theirs = shared(comparable(points(&decode(collectors.run(&settings, 2).unwrap()))));
    let measuring = Measuring::start(&settings).await;
    let ours = shared(comparable(points(&measuring.batch(2).await)));
    measuring.running.shutdown().await;
    // Both have read the copy: the machine, and the processes on it, this one among them.
    let is_own = |point: &Value| point["resource"]["process.pid"] == std::process::id();
    assert!(theirs.iter().any(is_own));
    for part in [
        "system.cpu.",
        "system.memory.",
        "system.network.",
        "process.memory.",
    ] {
        assert!(names(&theirs).iter().any(|name| name.starts_with(part)), "{part}");
    }
    assert_eq!(names(&ours), names(&theirs));
    let by_identity = |points: Vec<Value>| {
        let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for mut point in points {
            let value = point["value"].take();
            values.entry(point.to_string()).or_default().push(value);
        }
        values
    };
    let (ours, theirs) = (by_identity(ours), by_identity(theirs));
    for (identity, values) in &theirs {
        assert_eq!(ours.get(identity), Some(values), "{identity}");
    }
    for identity in ours.keys() {
        assert!(
            theirs.contains_key(identity),
            "the Collector does not have {identity}"
        );
    }
}

/// Both at the same time on this machine as it is: what the Collector does not read below `root_path`.
#[tokio::test]
async fn this_machine_as_it_is_has_the_same_metrics() {
    let collectors = peer_or_skip!(Collectors::install());
    let _alone = ALONE.lock().await;
    let mut settings = everything(Path::new("/"));
    // Others run tests beside this one.
    settings["scrapers"].as_object_mut().unwrap().remove("process");
    let theirs = points(&decode(collectors.run(&settings.to_string(), 1).unwrap()));
    let measuring = Measuring::start(&settings.to_string()).await;
    let ours = points(&measuring.batch(1).await);
    measuring.running.shutdown().await;
    let identities = |points: &[Value]| {
        let mut all: Vec<_> = points
            .iter()
            // How many processes there are in which state changes all the time.
            .filter(|point| point["name"] != "system.processes.count")
            .map(|point| {
                json!([point["name"], point["kind"], point["unit"], point["attributes"]]).to_string()
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(identities(&ours), identities(&theirs));
    assert!(began(&ours).abs_diff(began(&theirs)) <= 2_000_000_000);
    for name in [
        "system.cpu.logical.count",
        "system.cpu.physical.count",
        "system.memory.limit",
        "system.paging.usage",
    ] {
        let values = |points: &[Value]| -> Vec<Value> {
            let found = points.iter().filter(|point| point["name"] == name);
            found.map(|point| point["value"].clone()).collect()
        };
        assert_eq!(values(&ours), values(&theirs), "{name}");
    }
    let uptime = |points: &[Value]| -> f64 {
        let found = points
            .iter()
            .find(|point| point["name"] == "system.uptime")
            .unwrap();
        found["value"].as_str().unwrap().parse().unwrap()
    };
    let later = uptime(&ours) - uptime(&theirs);
    assert!((0.0..60.0).contains(&later), "{later}");
}
