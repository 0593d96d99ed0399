//! A whole run: every case in every round, the sides one after the other in each, so that what the machine does meanwhile
//! meets all of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::operation::{Leaves, Operation};
use crate::receiver::{Arrived, TAKE};
use crate::report::{self, Case, Sample};
use crate::side::SideName;
use crate::work::{Measured, Mode};

#[derive(Args)]
pub(crate) struct Options {
    /// How often everything is measured; the medians are shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of one measurement at full speed.
    #[arg(long, default_value_t = 1000)]
    milliseconds: u64,
    /// Of one measurement at a pace.
    #[arg(long, default_value_t = 2000)]
    paced_milliseconds: u64,
    /// These operations only.
    #[arg(long, value_delimiter = ',')]
    operations: Vec<Operation>,
    /// These sides only.
    #[arg(long, value_delimiter = ',')]
    sides: Vec<SideName>,
    /// Where the figures are kept as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    #[cfg(feature = "peers")]
    #[command(flatten)]
    web: crate::web::RunOptions,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let receiver = Receiver::start()?;
    let mut samples = Vec::new();
    for round in 0..options.rounds {
        for case in options.cases() {
            let sample =
                measure(options, &receiver, &case).with_context(|| format!("could not measure {case}"))?;
            eprintln!("round {} of {}: {case}", round + 1, options.rounds);
            samples.push((case, sample));
        }
    }
    let figures = report::Figures::of(&samples);
    figures.print();
    #[cfg(feature = "peers")]
    let figures = {
        let mut figures = figures;
        figures.web = crate::web::measure(&options.web, &receiver)?;
        figures
    };
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

impl Options {
    /// Everything that is measured in a round; of one operation, the sides follow each other.
    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for operation in Operation::value_variants() {
            if !self.operations.is_empty() && !self.operations.contains(operation) {
                continue;
            }
            for mode in [Mode::Full, Mode::Paced] {
                if mode == Mode::Paced && !operation.is_record() {
                    continue;
                }
                for threads in operation.threads() {
                    let sides = SideName::value_variants()
                        .iter()
                        .filter(|side| self.is_wanted(**side, mode) && side.supports(*operation));
                    cases.extend(sides.map(|side| Case {
                        operation: *operation,
                        mode,
                        threads: *threads,
                        side: *side,
                    }));
                }
            }
        }
        cases
    }

    fn is_wanted(&self, side: SideName, mode: Mode) -> bool {
        match side {
            // What it takes to keep a pace.
            SideName::Nothing => mode == Mode::Paced,
            side => self.sides.is_empty() || self.sides.contains(&side),
        }
    }
}

fn measure(options: &Options, receiver: &Receiver, case: &Case) -> Result<Sample> {
    receiver.take()?;
    let milliseconds = match case.mode {
        Mode::Full => options.milliseconds,
        Mode::Paced => options.paced_milliseconds,
    };
    let mode = case.mode.to_possible_value().context("a mode has no name")?;
    let operation = case
        .operation
        .to_possible_value()
        .context("an operation has no name")?;
    let mut worker = Command::new(std::env::current_exe()?);
    worker
        .args(["work", "--side", &case.side.name()])
        .args(["--operation", operation.get_name(), "--mode", mode.get_name()])
        .args(["--threads", &case.threads.to_string()])
        .args(["--milliseconds", &milliseconds.to_string()])
        .args(["--endpoint", &receiver.endpoint]);
    if case.operation == Operation::UnsampledSpan {
        worker.env("OTEL_TRACES_SAMPLER", "always_off");
    }
    let output = worker.output().context("could not start a worker")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("the worker ended with {}: {error}", output.status);
    }
    let measured: Measured =
        serde_json::from_slice(&output.stdout).context("the worker printed something else than figures")?;
    let arrived = receiver.take()?;
    let count = match case.operation.leaves() {
        Leaves::Spans => arrived.spans,
        Leaves::Logs => arrived.logs,
        Leaves::Measurements => arrived.measurements,
        Leaves::Nothing => arrived.spans + arrived.logs,
    };
    Ok(Sample {
        measured,
        arrived: measured.arrived_in_file.unwrap_or(count),
        lost: arrived.told_lost,
    })
}

/// The process that takes what is exported.
pub(crate) struct Receiver {
    process: Child,
    address: String,
    pub(crate) endpoint: String,
}

impl Receiver {
    fn start() -> Result<Receiver> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("receive")
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start the receiver")?;
        let output = process.stdout.take().context("the receiver has no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        let address = address.trim().to_owned();
        Ok(Receiver {
            process,
            endpoint: format!("http://{address}"),
            address,
        })
    }

    /// What has arrived since it was asked last.
    pub(crate) fn take(&self) -> Result<Arrived> {
        serde_json::from_slice(&get(&self.address, TAKE)?)
            .context("the receiver's answer is not what it counts")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of an answer.
pub(crate) fn get(address: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let body = head.context("an answer without a head")? + 4;
    Ok(answer.split_off(body))
}
