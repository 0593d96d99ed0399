//! Processes that write to the same file, as the workers of a server do that forks; that are killed; and that have no room.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;

use super::*;

const FILE: &str = "CUPOLA_TEST_LOG_FILE";
const NAME: &str = "CUPOLA_TEST_NAME";
const BATCHES: &str = "CUPOLA_TEST_BATCHES";
/// Records of a batch.
const ITEMS: usize = 10;

fn rotating(path: &Path) -> JsonLinesConfig {
    JsonLinesConfig {
        max_bytes: ByteSize(20_000),
        backup_count: 2_000,
        compression: JsonLinesCompression::Gzip,
        ..config(path)
    }
}

/// The records of a batch are known by the name of their process and its number.
fn batch(name: &str, number: usize) -> Batch {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        for item in 0..ITEMS {
            scope
                .record()
                .body(&*body(name, number, item))
                .attribute("n", number as i64);
        }
    }
    logs.finish(TenantId::default_tenant())
}

fn body(name: &str, number: usize, item: usize) -> String {
    format!("{name} {number} {item} {}", "x".repeat((number + item) % 50))
}

/// The lines of these batches.
fn wanted(name: &str, batches: impl Iterator<Item = usize>) -> Vec<String> {
    let lines = |number| {
        line::lines(&batch(name, number))
            .all()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    batches.flat_map(lines).collect()
}

/// Sends batches until one is refused or there are enough; says which have been taken.
#[test]
#[ignore = "is run as a process by the tests here"]
fn a_process() {
    let variable = |name| std::env::var(name).unwrap();
    let path = PathBuf::from(variable(FILE));
    let (name, batches): (String, usize) = (variable(NAME), variable(BATCHES).parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let config = match name.starts_with("limited") {
            true => config(&path),
            false => rotating(&path),
        };
        let sink = JsonLinesSink::new(config).unwrap();
        println!("\nbegun");
        for number in 0..batches {
            if let Err(error) = sink.send(batch(&name, number)).await {
                println!("refused {}", error.is_retryable());
                return;
            }
            println!("taken {number}");
        }
    });
}

fn command(program: &str, path: &Path, name: &str, batches: usize) -> Command {
    let mut command = Command::new(program);
    command
        .env(FILE, path)
        .env(NAME, name)
        .env(BATCHES, batches.to_string())
        .stdout(Stdio::piped());
    command
}

const ARGUMENTS: [&str; 5] = [
    "--exact",
    "json_lines::tests::processes::a_process",
    "--ignored",
    "--nocapture",
    "--quiet",
];

fn start(path: &Path, name: &str, batches: usize) -> Child {
    let own = std::env::current_exe().unwrap();
    let mut command = command(own.to_str().unwrap(), path, name, batches);
    command.args(ARGUMENTS).spawn().unwrap()
}

/// What it says, line by line.
fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
}

fn taken(said: &str) -> Option<usize> {
    said.strip_prefix("taken ")?.parse().ok()
}

#[test]
fn several_processes_and_a_tool_that_rotates_lose_nothing_and_tear_nothing() {
    const PROCESSES: usize = 4;
    const BATCHES: usize = 250;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    let mut children: Vec<Child> = (0..PROCESSES)
        .map(|number| start(&path, &format!("process {number}"), BATCHES))
        .collect();
    let mut moved = 0;
    for said in said(&mut children[0]) {
        // Now and then another one moves the file, as `logrotate` does.
        if taken(&said).is_some_and(|number| number % 60 == 59) {
            let to = directory.path().join(format!("app.jsonl.moved-{moved}"));
            if std::fs::rename(&path, to).is_ok() {
                moved += 1;
            }
        }
    }
    for mut child in children {
        // Read to its end, so that it does not wait for somebody who reads.
        if child.stdout.is_some() {
            said(&mut child).for_each(drop);
        }
        assert!(child.wait().unwrap().success());
    }
    // Of what was being compressed when they ended, this one sees to the end.
    FullFiles::new(&rotating(&path)).compress();
    assert!(moved > 0);
    let wanted = (0..PROCESSES).flat_map(|number| wanted(&format!("process {number}"), 0..BATCHES));
    assert_once(directory.path(), wanted);
}

#[test]
fn what_was_taken_survives_a_kill_wherever_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    let mut all_taken = Vec::new();
    let mut all_sent = BTreeSet::new();
    for round in 0..12 {
        let name = format!("round {round}");
        let mut child = start(&path, &name, 10_000);
        // Some further in than others.
        let mut last = 0;
        let mut said = said(&mut child);
        while let Some(number) = said.by_ref().find_map(|said| taken(&said)) {
            last = number;
            if number >= 10 + 17 * round {
                break;
            }
        }
        child.kill().unwrap();
        // What it had said before it was killed counts as well.
        let last = said.filter_map(|said| taken(&said)).last().unwrap_or(last);
        child.wait().unwrap();
        all_taken.extend(wanted(&name, 0..last + 1));
        all_sent.extend(wanted(&name, 0..last + 2));
    }
    // Cuts off what the last one may have torn, and sees to what it was compressing.
    Writer::new(rotating(&path)).append(&text(["end"])).unwrap();
    FullFiles::new(&rotating(&path)).compress();
    all_taken.push("end".to_owned());
    let found = all_lines(directory.path());
    let different: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(found.len(), different.len(), "none is there twice");
    let missing = all_taken.iter().filter(|line| !different.contains(*line));
    assert_eq!(missing.count(), 0);
    let unknown = different
        .iter()
        .filter(|line| !all_sent.contains(*line) && *line != "end");
    assert_eq!(unknown.count(), 0, "whole lines only");
}

/// The limit of a process for the size of a file is to it what a full disk is: a write ends in the middle of a line.
#[test]
fn a_batch_that_there_is_no_room_for_is_not_there_at_all_and_arrives_when_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.jsonl");
    let own = std::env::current_exe().unwrap();
    let script = "ulimit -f 64; trap '' XFSZ; exec \"$@\"";
    let mut command = command("sh", &path, "limited", 10_000);
    command
        .args(["-c", script, "sh", own.to_str().unwrap()])
        .args(ARGUMENTS);
    let mut child = command.spawn().unwrap();
    let said: Vec<String> = said(&mut child).collect();
    child.wait().unwrap();
    assert!(said.iter().any(|said| said == "refused true"), "{said:?}");
    let count = said.iter().filter(|said| taken(said).is_some()).count();
    assert!(count > 3, "{said:?}");
    assert_once(directory.path(), wanted("limited", 0..count));
    let mut writer = Writer::new(config(&path));
    writer.append(&line::lines(&batch("limited", count))).unwrap();
    assert_once(directory.path(), wanted("limited", 0..count + 1));
}
