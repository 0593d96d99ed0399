//! Prepares batches before the clock starts and sends them with a fixed number of requests in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cupola_export::otlp::{Compression, OtlpConfig, OtlpSink, Protocol};
use cupola_export::{SendError, Sink};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::{Batch, Signal};
use futures::StreamExt;

/// Requests in flight: enough that group commit has something to group.
pub(crate) const IN_FLIGHT: usize = 16;
/// Wait after a refusal that names no time of its own.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Batches of one signal and what they add up to.
pub(crate) struct Load {
    pub(crate) signal: Signal,
    pub(crate) batches: Vec<Batch>,
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

impl Load {
    /// Batches of `batch_items` until `bytes` of OTLP are reached.
    pub(crate) fn generate(
        signal: Signal,
        config: GeneratorConfig,
        batch_items: usize,
        bytes: usize,
    ) -> Load {
        Load::continued(
            &mut Generator::new(config),
            signal,
            batch_items,
            bytes,
            usize::MAX,
        )
    }

    /// The next batches of a running generator, until `bytes` of OTLP or `items` are reached.
    pub(crate) fn continued(
        generator: &mut Generator,
        signal: Signal,
        batch_items: usize,
        bytes: usize,
        items: usize,
    ) -> Load {
        let mut load = Load {
            signal,
            batches: Vec::new(),
            items: 0,
            bytes: 0,
        };
        while load.bytes < bytes && load.items < items {
            let batch = match signal {
                Signal::Logs => generator.logs(batch_items),
                Signal::Traces => generator.traces(batch_items),
                Signal::Metrics => generator.points(batch_items),
            };
            load.items += batch.items();
            load.bytes += batch.payload().len();
            load.batches.push(batch);
        }
        load
    }
}

/// What sending took, seen from the client.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) wall: Duration,
    pub(crate) refused: u64,
}

pub(crate) fn sink(grpc: &str, compression: Compression) -> Result<Arc<dyn Sink>> {
    let mut config = OtlpConfig::new(Protocol::Grpc, format!("http://{grpc}"));
    config.compression = compression;
    Ok(Arc::new(OtlpSink::new(config)?))
}

/// Sends every batch once, again after a retryable refusal, until all are acknowledged.
pub(crate) async fn send_all(sink: Arc<dyn Sink>, batches: &[Batch]) -> Result<Sent> {
    let started = Instant::now();
    let results: Vec<Result<u64>> = futures::stream::iter(batches.iter().cloned())
        .map(|batch| send_one(Arc::clone(&sink), batch))
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    let mut sent = Sent::default();
    for result in results {
        sent.refused += result?;
    }
    sent.wall = started.elapsed();
    Ok(sent)
}

async fn send_one(sink: Arc<dyn Sink>, batch: Batch) -> Result<u64> {
    let mut refused = 0;
    loop {
        match sink.send(batch.clone()).await {
            Ok(accepted) if accepted.rejected == 0 => return Ok(refused),
            Ok(accepted) => bail!("{} items rejected: {}", accepted.rejected, accepted.message),
            Err(SendError::Retryable { retry_after, .. }) => {
                refused += 1;
                tokio::time::sleep(retry_after.unwrap_or(RETRY_AFTER)).await;
            }
            Err(SendError::Permanent { reason }) => bail!("refused for good: {reason}"),
        }
    }
}
