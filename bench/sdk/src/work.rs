//! One measurement: an operation of one SDK, as fast as it goes or at a pace, in a process that does nothing else.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::cpu;
use crate::operation::Operation;
use crate::side::{Side, SideName};

/// Operations between two looks at the time.
const STEP: usize = 1000;
/// A pace is kept by a burst every so often.
const TICK: Duration = Duration::from_millis(10);
/// Operations of a burst: fewer than a queue of OpenTelemetry's SDK holds, which has room for 2,048.
const BURST: usize = 500;
/// Of a measurement, before it.
const WARM_UP_SHARE: u32 = 5;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    side: SideName,
    #[arg(long)]
    operation: Operation,
    #[arg(long)]
    mode: Mode,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long)]
    milliseconds: u64,
    /// Where it exports to.
    #[arg(long)]
    endpoint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// As fast as it goes: what is more than can be exported is lost.
    Full,
    /// 50,000 a second: so few that nobody needs to lose any.
    Paced,
}

/// What was measured. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Operations since the side was started, warming up included.
    pub(crate) made: u64,
    /// Those that the times are of.
    pub(crate) measured: u64,
    /// CPU time of the threads that called, while they called.
    pub(crate) call_nanos: u64,
    /// Until the last call had returned, by the clock.
    pub(crate) wall_nanos: u64,
    /// CPU time of the process, until everything was exported.
    pub(crate) process_nanos: u64,
    /// Records that arrived in a file, if that is where they go.
    pub(crate) arrived_in_file: Option<u64>,
}

/// What the calling threads did.
#[derive(Clone, Copy, Debug, Default)]
struct Called {
    operations: u64,
    nanos: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match options.threads {
        1 => cpu::pin(&[cpu::OWN]),
        _ => cpu::pin(&[cpu::OWN, cpu::OTHERS]),
    }
    let side = options.side.start(&options.endpoint, options.operation)?;
    let measured = options.measure(&*side);
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

impl Options {
    fn measure(&self, side: &dyn Side) -> Measured {
        let length = Duration::from_millis(self.milliseconds);
        let warm_up = self.call(side, length / WARM_UP_SHARE);
        side.flush();
        let cpu_before = cpu::of_process();
        let before = Instant::now();
        let called = self.call(side, length);
        let wall = before.elapsed();
        side.flush();
        let process = cpu::of_process() - cpu_before;
        Measured {
            made: warm_up.operations + called.operations,
            measured: called.operations,
            call_nanos: called.nanos,
            wall_nanos: nanos(wall),
            process_nanos: nanos(process),
            arrived_in_file: side.finish(),
        }
    }

    /// From each thread, which has a processor of its own if there are several.
    fn call(&self, side: &dyn Side, length: Duration) -> Called {
        if self.threads == 1 {
            return self.call_here(side, length);
        }
        let mut all = Called::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|processor| {
                    scope.spawn(move || {
                        cpu::pin(&[processor]);
                        self.call_here(side, length)
                    })
                })
                .collect();
            for called in threads.into_iter().filter_map(|thread| thread.join().ok()) {
                all.operations += called.operations;
                all.nanos += called.nanos;
            }
        });
        all
    }

    fn call_here(&self, side: &dyn Side, length: Duration) -> Called {
        let cpu_before = cpu::of_thread();
        let operations = match self.mode {
            Mode::Full => self.at_full_speed(side, length),
            Mode::Paced => self.at_a_pace(side, length),
        };
        Called {
            operations,
            nanos: nanos(cpu::of_thread() - cpu_before),
        }
    }

    fn at_full_speed(&self, side: &dyn Side, length: Duration) -> u64 {
        let begin = Instant::now();
        let mut operations = 0;
        while operations == 0 || begin.elapsed() < length {
            side.run(self.operation, STEP);
            operations += STEP as u64;
        }
        operations
    }

    #[expect(clippy::disallowed_methods, reason = "the pace is what is asked for")]
    fn at_a_pace(&self, side: &dyn Side, length: Duration) -> u64 {
        let begin = Instant::now();
        let bursts = (length.as_nanos() / TICK.as_nanos()).max(1) as u32;
        for burst in 0..bursts {
            std::thread::sleep((TICK * burst).saturating_sub(begin.elapsed()));
            side.run(self.operation, BURST);
        }
        u64::from(bursts) * BURST as u64
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
