//! The receiver that reads files of text: lines, or what patterns make of them, as log records.
//!
//! What it promises:
//! - A file is marked as read only after the sink has taken what was read of it. A sink that refuses for now holds reading
//!   back; files are still watched meanwhile, and held open, so that a rotation does not lose what waits.
//! - Rotation by renaming and by copying and truncating, in its working and while it was not, loses nothing as long as the
//!   bytes are somewhere beside the file; see [`tailer`] and [`newcomers`].
//! - With `storage`, places are kept on disk after every batch. Without a crash every record is delivered once; after one,
//!   those of the last batch may come twice. Without `storage` they are known until the process ends.
//!
//! One batch is under way at a time, made of all files that have something. What an operator holds, to join it with later
//! records, is not marked as read either.

mod attributes;
mod checkpoint;
mod config;
mod content;
mod failures;
mod finder;
mod header;
#[cfg(test)]
mod headers;
mod newcomers;
mod order;
mod reading;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod simulation;
mod stats;
mod tailer;
#[cfg(test)]
mod tests;
mod tracked;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use cupola_export::fs::Disk;
use cupola_export::{Sample, Sink};
use cupola_telemetry::memory::MemoryBudget;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{
    Compression, FilelogConfig, HeaderConfig, OnTruncate, OrderingConfig, SortConfig, SortType, StartAt,
    TooLong,
};

use super::http::server::StartError;
use super::text::Templates;
use super::text::delivery::{Delivered, Delivery};
use crate::operators::{self, OperatorStats, Problem, Variables};
use crate::processors::ConfigError;
use checkpoint::Checkpoints;
use finder::Finder;
use header::Header;
use reading::{Made, Read};
use stats::FileStats;
use tailer::{Parts, Tailer};

/// Starts receivers of files.
#[derive(Debug)]
pub struct FilelogReceiver;

/// What a receiver of files is given beside its settings.
#[derive(Debug)]
pub struct FilelogSurroundings {
    /// Where places in files are kept.
    pub storage: Option<PathBuf>,
    pub memory: MemoryBudget,
    /// The environment, for `env("NAME")` in expressions.
    pub variables: Arc<Variables>,
}

impl FilelogReceiver {
    /// Reads until [`RunningFilelog::shutdown`].
    pub async fn start(
        config: FilelogConfig,
        sink: Arc<dyn Sink>,
        surroundings: FilelogSurroundings,
    ) -> Result<RunningFilelog, StartError> {
        let running = RunningFilelog {
            delivery: Delivery::new(sink, config.retry_on_failure, "file"),
            files: Arc::default(),
            operators: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let interval = config.poll_interval.0;
        let (files, operators) = (running.files.clone(), running.operators.clone());
        let memory = surroundings.memory.clone();
        let needed = reading::memory_needed(config.max_log_size);
        if memory.ceiling() < needed {
            let problem = format!(
                "a batch needs {needed} bytes of memory, and there are {}",
                memory.ceiling()
            );
            return Err(ConfigError::setting("max_log_size", problem).into());
        }
        let made = tokio::task::spawn_blocking(move || tailer(config, &surroundings, files, operators));
        let tailer = made
            .await
            .map_err(|error| StartError::Client(error.to_string()))??;
        let driver = Driver {
            delivery: running.delivery.clone(),
            memory,
            interval,
            stop: running.stop.clone(),
        };
        running.tasks.spawn(driver.run(tailer));
        running.tasks.close();
        Ok(running)
    }
}

fn tailer(
    config: FilelogConfig,
    surroundings: &FilelogSurroundings,
    stats: Arc<FileStats>,
    operator_stats: Arc<OperatorStats>,
) -> Result<Tailer, StartError> {
    let variables = &*surroundings.variables;
    let mut problems = Vec::new();
    let attributes = Templates::compile("attributes", &config.attributes, variables, &mut problems);
    let resource = Templates::compile("resource", &config.resource, variables, &mut problems);
    if let Some((key, problem)) = problems.into_iter().next() {
        return Err(ConfigError::setting(key, problem).into());
    }
    let first = |problems: Vec<Problem>| {
        let (key, problem) = problems.into_iter().next().unwrap_or_default();
        ConfigError::setting(key, problem)
    };
    let operators =
        operators::compile("operators", &config.operators, variables, &operator_stats).map_err(first)?;
    let header = Header::new(&config, variables, &operator_stats).map_err(first)?;
    let finder = Finder::new(&config).map_err(|(key, problem)| ConfigError::setting(key, problem))?;
    let split = config
        .split()
        .map_err(|(key, problem)| ConfigError::setting(key, problem))?;
    let checkpoints = surroundings.storage.as_deref().map(|directory| {
        Checkpoints::open(Arc::new(Disk), directory).map_err(|error| {
            let cause = match error.kind() {
                std::io::ErrorKind::WouldBlock => "another process uses it".to_owned(),
                _ => error.to_string(),
            };
            StartError::Client(format!(
                "cannot use {} for checkpoints: {cause}",
                directory.display()
            ))
        })
    });
    let parts = Parts {
        finder,
        split,
        header,
        operators,
        attributes,
        resource,
        checkpoints: checkpoints.transpose()?,
        stats,
        open_max: open_files_max(),
    };
    Ok(Tailer::new(config, parts, Utc::now()))
}

/// Half of what the system lets a process have open: the other half is for everything else.
fn open_files_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit
        .and_then(|limit| usize::try_from(limit / 2).ok())
        .unwrap_or(usize::MAX)
}

/// A receiver of files that runs. Dropping it stops it without waiting for what is under way.
#[derive(Debug)]
pub struct RunningFilelog {
    delivery: Delivery,
    files: Arc<FileStats>,
    operators: Arc<OperatorStats>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl RunningFilelog {
    /// Reads nothing more, hands over what is under way, for a bounded time, and writes down how far it came.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.delivery.collect(&self.operators, samples);
        self.files.collect(samples);
    }
}

impl Drop for RunningFilelog {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Polls, reads and hands over.
struct Driver {
    delivery: Delivery,
    memory: MemoryBudget,
    interval: std::time::Duration,
    stop: CancellationToken,
}

impl Driver {
    async fn run(self, mut tailer: Tailer) {
        let mut timer = tokio::time::interval(self.interval);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                _ = timer.tick() => {}
            }
            let Some(polled) = self.blocking(tailer, |tailer, _| tailer.poll(Utc::now())).await else {
                return;
            };
            tailer = polled.0;
            while !self.stop.is_cancelled() {
                let read = self
                    .blocking(tailer, |tailer, memory| tailer.read(memory, Utc::now()))
                    .await;
                let Some((read_from, read)) = read else {
                    return;
                };
                tailer = read_from;
                match read {
                    Read::Batch(made) => {
                        let Some(delivered) = self.deliver(tailer, made).await else {
                            return;
                        };
                        tailer = delivered;
                    }
                    Read::Dropped => {}
                    Read::Nothing | Read::NoMemory => break,
                }
                // Files are looked at in time even while there is always something to be read.
                if futures::FutureExt::now_or_never(timer.tick()).is_some() {
                    let Some(polled) = self.blocking(tailer, |tailer, _| tailer.poll(Utc::now())).await
                    else {
                        return;
                    };
                    tailer = polled.0;
                }
            }
        }
        self.end(tailer).await;
    }

    /// Runs work on the blocking pool; `None` if the runtime is going down.
    async fn blocking<T: Send + 'static>(
        &self,
        mut tailer: Tailer,
        work: impl FnOnce(&mut Tailer, &MemoryBudget) -> T + Send + 'static,
    ) -> Option<(Tailer, T)> {
        let memory = self.memory.clone();
        let working = tokio::task::spawn_blocking(move || {
            let worked = work(&mut tailer, &memory);
            (tailer, worked)
        });
        match working.await {
            Ok(worked) => Some(worked),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(
                        "reading files ended with a bug; what was not taken is read again after a restart"
                    );
                }
                None
            }
        }
    }

    /// Offers a batch until it is taken; files are watched meanwhile.
    async fn deliver(&self, mut tailer: Tailer, made: Made) -> Option<Tailer> {
        let sending = self.delivery.send(made.batch.clone(), &self.stop);
        tokio::pin!(sending);
        let delivered = loop {
            tokio::select! {
                delivered = &mut sending => break delivered,
                () = tokio::time::sleep(self.interval) => {}
            }
            let polling = self.blocking(tailer, |tailer, _| tailer.poll(Utc::now()));
            tokio::pin!(polling);
            tokio::select! {
                polled = &mut polling => tailer = polled?.0,
                delivered = &mut sending => {
                    tailer = polling.await?.0;
                    break delivered;
                }
            }
        };
        match delivered {
            Delivered::Done => Some(self.blocking(tailer, |tailer, _| tailer.commit()).await?.0),
            Delivered::Stopped => Some(tailer),
        }
    }

    async fn end(&self, tailer: Tailer) {
        // What was offered and not taken is read again by the next process; what comes after it must not overtake it.
        let held = self.blocking(tailer, |tailer, memory| match tailer.in_flight {
            true => Read::Nothing,
            false => tailer.read_held(memory, Utc::now()),
        });
        let Some((mut tailer, held)) = held.await else {
            return;
        };
        if let Read::Batch(made) = held {
            let Some(delivered) = self.deliver(tailer, made).await else {
                return;
            };
            tailer = delivered;
        }
        self.blocking(tailer, |tailer, _| tailer.close()).await;
    }
}
