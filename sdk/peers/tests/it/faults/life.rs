//! One process of the application, which says what it is told to, and each record that has ended.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use cupola_sdk::core::baggage::Baggage;
use cupola_sdk::core::log::Severity;
use cupola_sdk::core::recorder::Scope;

const NUMBER: &str = "LIFE_NUMBER";
/// Of a graceful end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Records have different lengths, up to so many bytes.
const FILLING_MAX: usize = 3_000;
const THREADS: usize = 2;

pub(super) struct Life {
    child: Child,
    stdin: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    _directory: tempfile::TempDir,
}

impl Life {
    pub(super) fn start(disk: &Path, endpoint: &str, number: usize) -> Life {
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!(
            "logger:
  service_name: shop
  enable_console: false
  backends:
    - backend_type: otlp
      config: {{endpoint: {endpoint}, timeout: 500ms}}
      delivery: {{retry_on_failure: {{initial_interval: 5ms, max_interval: 100ms}}}}
logs: {{delay: 20ms}}
metrics: {{interval: 200ms}}
spool: {{directory: {}, size: 48MiB}}
",
            disk.join("spool").display()
        );
        std::fs::write(directory.path().join("cupola.yaml"), configuration).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "faults::life::an_application",
                "--ignored",
                "--nocapture",
                "--quiet",
            ])
            .env(NUMBER, number.to_string())
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Life {
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            _directory: directory,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
        self.stdin.flush().unwrap();
    }

    /// Has it make so many records. Those that have ended.
    pub(super) fn say(&mut self, count: usize) -> Vec<String> {
        self.tell(&format!("say {count}"));
        let mut ended = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line == "said" {
                return ended;
            }
            ended.extend(line.strip_prefix("ended ").map(str::to_owned));
        }
        panic!("it ended by itself");
    }

    /// `kill -9` after so many of more records. Those that had ended.
    pub(super) fn kill_while_saying(mut self, after: usize) -> Vec<String> {
        self.tell(&format!("say {}", 2 * after));
        let is_ended = |line: std::io::Result<String>| Some(line.ok()?.strip_prefix("ended ")?.to_owned());
        let mut ended: Vec<String> = self.lines.by_ref().filter_map(is_ended).take(after).collect();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it had said when it was killed.
        ended.extend(self.lines.by_ref().filter_map(is_ended));
        ended
    }

    /// Whether it has delivered everything.
    pub(super) fn end(mut self) -> bool {
        self.tell("end");
        let is_delivered = self.lines.by_ref().map(Result::unwrap).find_map(|line| {
            let is_delivered = line.strip_prefix("delivered ")?;
            Some(is_delivered == "true")
        });
        self.child.wait().unwrap();
        is_delivered.expect("it tells how it ended")
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "is run as a process by the tests beside it, which kill it"]
fn an_application() {
    let number = std::env::var(NUMBER).unwrap();
    let cupola = cupola_sdk::init().unwrap();
    println!();
    let mut last = 0;
    for line in std::io::stdin().lines().map(Result::unwrap) {
        let Some(count) = line.strip_prefix("say ") else {
            break;
        };
        let count: usize = count.parse().unwrap();
        std::thread::scope(|threads| {
            for thread in 0..THREADS {
                let (cupola, number) = (&cupola, &number);
                let numbers = (last..last + count).skip(thread).step_by(THREADS);
                threads.spawn(move || numbers.for_each(|n| say(cupola, &format!("{number}-{n}"), n)));
            }
        });
        last += count;
        println!("said");
    }
    println!("delivered {}", cupola.shutdown(PATIENCE));
}

fn say(cupola: &cupola_sdk::Cupola, body: &str, n: usize) {
    let filling = "x".repeat(n * 7919 % FILLING_MAX);
    let logger = cupola.sdk().logger(Scope::of("faults", "", "", &[]));
    let text = format!("{body} {filling}");
    let record = logger.record(Severity::INFO, text.as_str(), &Baggage::none());
    if logger.emit(&record) {
        println!("ended {body}");
    }
}
