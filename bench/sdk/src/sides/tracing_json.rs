//! `tracing-subscriber` alone: lines of JSON to a file, a line when a span has ended.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _};
use std::sync::Arc;

use anyhow::Result;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;

use super::opentelemetry_sdk::wanted;
use super::tracing_calls;
use crate::operation::{Leaves, Operation};
use crate::side::Side;

pub(crate) struct Json {
    file: Arc<File>,
    leaves: Leaves,
}

impl Json {
    pub(crate) fn start(operation: Operation) -> Result<Json> {
        let file = Arc::new(tempfile::tempfile()?);
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .with_span_events(FmtSpan::CLOSE)
            .with_writer(file.clone());
        tracing_subscriber::registry()
            .with(wanted())
            .with(lines)
            .try_init()?;
        let leaves = operation.leaves();
        Ok(Json { file, leaves })
    }
}

impl Side for Json {
    fn run(&self, operation: Operation, count: usize) {
        tracing_calls::run(operation, count);
    }

    fn flush(&self) {}

    fn finish(&self) -> Option<u64> {
        let mut file = &*self.file;
        let arrived = file.rewind().ok().map(|()| {
            let lines = BufReader::new(file).lines().map_while(Result::ok);
            let is_of_span = |line: &String| line.contains("\"time.busy\"");
            lines
                .filter(|line| is_of_span(line) == (self.leaves == Leaves::Spans))
                .count() as u64
        });
        arrived
    }
}
