//! Telemetry as JSON, one object a line, in a file that is rotated by size: what people read with `tail`, `jq` and `grep`.
//!
//! A log record has exactly the members `timestamp`, `severity_text`, `severity_number`, `body`, `trace_id`, `span_id`,
//! `resource` and `attributes`; see [`line`] for spans and points. Ids are hex, and empty where there is none.
//!
//! A full file becomes `name.1`, the one before it `name.2`, and so forth. No line is in two files. Several processes may write to
//! one file: each writes whole lines under a lock on the file, opened anew each time, so that all of them go on in the new one when
//! it has been moved or removed, by one of them or by a tool that rotates logs.
//!
//! Full files are compressed beside the writing: into a file of another name, which takes the place of the plain one when it is
//! on the disk whole. What a crash has left half done is done when the next one writes.
//!
//! Acknowledges a batch when all of its lines are in the file, and on the disk if `sync` is set. A write that fails takes back
//! what it wrote: no line is ever torn, save by a crash in the middle of it, and then the next writer cuts it off. A batch that
//! comes again, since an attempt failed or took too long, goes on behind the lines of it that are there.

pub mod line;
mod members;
mod rotation;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_config::units::ByteSize;
use cupola_telemetry::Batch;
use serde::Deserialize;
use tokio::sync::{Mutex, oneshot};

use crate::{Accepted, Component, SendError, Sink};
pub use line::{write_log, write_resource};
use rotation::FullFiles;
use writer::Writer;

/// Settings of the sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonLinesConfig {
    /// Directories above it are made.
    pub log_file: PathBuf,
    /// A file that would grow beyond it is kept as `log_file.1`, and those before it move on to `.2` and so forth.
    pub max_bytes: ByteSize,
    /// Full files kept; 0 has the file grow for ever.
    pub backup_count: usize,
    /// Of full files.
    pub compression: JsonLinesCompression,
    /// Has each batch on the disk before it is acknowledged. Without it a crash of the system, not one of the process, may lose
    /// the newest lines.
    pub sync: bool,
}

/// How full files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonLinesCompression {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl JsonLinesCompression {
    /// What the name of a file that is kept so ends in.
    fn suffix(self) -> &'static str {
        match self {
            JsonLinesCompression::None => "",
            JsonLinesCompression::Gzip => ".gz",
            JsonLinesCompression::Zstd => ".zst",
        }
    }
}

impl Default for JsonLinesConfig {
    fn default() -> JsonLinesConfig {
        JsonLinesConfig {
            log_file: PathBuf::new(),
            max_bytes: ByteSize(10 << 20),
            backup_count: 5,
            compression: JsonLinesCompression::None,
            sync: false,
        }
    }
}

/// A setting that no file can be written with.
#[derive(Debug, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct JsonLinesConfigError {
    pub key: &'static str,
    pub problem: String,
}

impl JsonLinesConfig {
    pub fn validate(&self) -> Result<(), JsonLinesConfigError> {
        let refuse = |key, problem: &str| {
            let problem = problem.to_owned();
            Err(JsonLinesConfigError { key, problem })
        };
        if self.log_file.file_name().is_none() {
            return refuse("log_file", "must name a file");
        }
        if self.max_bytes.0 == 0 {
            return refuse(
                "max_bytes",
                "must be greater than 0; `backup_count: 0` never rotates",
            );
        }
        if self.backup_count > BACKUPS_MAX {
            return refuse("backup_count", "must be 10000 at most");
        }
        Ok(())
    }
}

/// More full files than this are a mistake: each is renamed when another is full.
const BACKUPS_MAX: usize = 10_000;

/// The sink.
pub struct JsonLinesSink {
    path: PathBuf,
    writer: Arc<Mutex<Writer>>,
    full_files: Arc<FullFiles>,
}

impl JsonLinesSink {
    /// Opens nothing yet: the file is made when there is something to write.
    pub fn new(config: JsonLinesConfig) -> Result<JsonLinesSink, JsonLinesConfigError> {
        config.validate()?;
        Ok(JsonLinesSink {
            path: config.log_file.clone(),
            full_files: Arc::new(FullFiles::new(&config)),
            writer: Arc::new(Mutex::new(Writer::new(config))),
        })
    }
}

#[async_trait]
impl Sink for JsonLinesSink {
    /// One thread at a time waits for the disk, or for another process, however many batches there are.
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let mut writer = self.writer.clone().lock_owned().await;
        let full_files = self.full_files.clone();
        let (answer, answered) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let lines = line::lines(&batch);
            let appended = writer.append(&lines);
            let is_due = writer.is_compression_due();
            let is_written = appended.is_ok();
            if answer.send(appended).is_err() && is_written {
                // Nobody waits any more, and the batch will come again.
                writer.remember(&lines);
            }
            drop(writer);
            if is_due {
                full_files.compress();
            }
        });
        let failed = |error: &dyn std::fmt::Display| {
            SendError::retryable(format!("cannot write {}: {error}", self.path.display()))
        };
        match answered.await {
            Ok(Ok(())) => Ok(Accepted::all()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

#[async_trait]
impl Component for JsonLinesSink {}

#[cfg(test)]
mod tests;
