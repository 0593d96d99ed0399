//! The application: a process that says what a seed makes it say, and the files that it leaves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use cupola_telemetry::{Batch, Signal, TenantId};
use tempfile::TempDir;

use crate::check;
use crate::said::Said;
use crate::say::Speaker;

const SEED: &str = "CUPOLA_TEST_SEED";
const ROUNDS: &str = "CUPOLA_TEST_ROUNDS";
/// For what has been recorded to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// An application that has ended, everything delivered.
#[derive(Debug)]
pub struct Ran {
    pub seed: u64,
    pub directory: TempDir,
}

/// Runs the test `name` of this program, which calls [`main`], in a directory with a `cupola.yaml` that has these back-ends, each a
/// line of YAML such as `{backend_type: …}`. The seed is that of the variable `CUPOLA_TEST_SEED`, or another each time.
///
/// Panics if not everything could be delivered.
pub fn run(name: &str, rounds: usize, backends: &[String]) -> Ran {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    eprintln!("{SEED}={seed}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cupola.yaml"), configuration(backends)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--quiet"]);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CUPOLA_") || name.starts_with("OTEL_") {
            command.env_remove(&*name);
        }
    }
    let output = command
        .env(SEED, seed.to_string())
        .env(ROUNDS, rounds.to_string())
        .env("RUST_LOG", "trace")
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success(),
        "{SEED}={seed}: {}: {said}",
        output.status
    );
    Ran { seed, directory }
}

fn configuration(backends: &[String]) -> String {
    let files = Signal::ALL.map(|signal| {
        format!(
            "{{backend_type: otlp_file, name: exported-{signal}, signals: [{signal}], \
             config: {{path: ./exported.{signal}, format: proto}}}}"
        )
    });
    let backends = backends.iter().chain(&files);
    let backends: String = backends.map(|backend| format!("    - {backend}\n")).collect();
    format!(
        "logger:
  service_name: shop
  service_version: 1.2.3
  environment: test
  enable_console: false
  backends:
{backends}metrics: {{interval: 3600s}}
resource: {{attributes: {{team: préisen}}}}
"
    )
}

/// What the process does. To be called by a test that is ignored.
pub fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let (Some(seed), Some(rounds)) = (number(SEED), number(ROUNDS)) else {
        panic!("{SEED} and {ROUNDS} say what to do");
    };
    let cupola = cupola_sdk::init().unwrap();
    let mut speaker = Speaker::new(&cupola, seed);
    for _ in 0..rounds {
        speaker.round();
    }
    let said = speaker.finish();
    said.write(Path::new("."));
    // Metrics are collected at each flush, so that there is none.
    let is_delivered = cupola.sdk().shutdown(PATIENCE);
    assert!(is_delivered, "not all was delivered within {PATIENCE:?}");
}

impl Ran {
    /// What all destinations were given, as files of OTLP requests have it.
    pub fn exported(&self) -> Vec<Batch> {
        let mut batches = Vec::new();
        for signal in Signal::ALL {
            let file = self.directory.path().join(format!("exported.{signal}"));
            let bytes = std::fs::read(file).unwrap();
            let mut rest = &bytes[..];
            while let Some((length, more)) = rest.split_first_chunk::<4>() {
                let (payload, more) = more.split_at(u32::from_be_bytes(*length) as usize);
                let payload = Bytes::copy_from_slice(payload);
                batches.push(Batch::decode_protobuf(signal, TenantId::default_tenant(), payload).unwrap());
                rest = more;
            }
        }
        batches
    }

    /// The same, held against what was said: every item is there once, and equal in every field.
    pub fn checked(&self) -> Vec<Batch> {
        let exported = self.exported();
        eprintln!("{SEED}={}", self.seed);
        check::check(&Said::read(self.directory.path()), &exported);
        exported
    }
}
