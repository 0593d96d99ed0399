//! Where the time of the store goes, without a network: generated batches appended, then flushed. For profilers.

use std::time::{Duration, Instant};

use anyhow::Result;
use cupola_generator::{Generator, GeneratorConfig};
use cupola_store::{Store, StoreConfig};
use cupola_telemetry::Signal;
use futures::StreamExt;

fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec as u64, usage.tv_nsec as u32)
}

#[tokio::main]
async fn main() -> Result<()> {
    let which = std::env::args().nth(1).unwrap_or_else(|| "logs".to_owned());
    let signal = match which.as_str() {
        "spans" => Signal::Traces,
        "points" => Signal::Metrics,
        _ => Signal::Logs,
    };
    let megabytes: usize = std::env::args()
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(300);
    let mut generator = Generator::new(GeneratorConfig::default());
    let (mut bytes, mut items, mut batches) = (0, 0, Vec::new());
    while bytes < megabytes << 20 {
        let batch = generator.batch(signal, 2_000);
        bytes += batch.payload().len();
        items += batch.items();
        batches.push(batch);
    }
    let scratch = tempfile::tempdir_in(".")?;
    let (store, _) = Store::open(StoreConfig::new(scratch.path())).await?;
    let (started, before) = (Instant::now(), cpu());
    futures::stream::iter(batches)
        .map(|batch| {
            let store = store.clone();
            async move { store.append(batch).await }
        })
        .buffer_unordered(16)
        .for_each(|result| async move { result.expect("within the budget") })
        .await;
    let appended = cpu() - before;
    store.flush().await?;
    let total = cpu() - before;
    println!(
        "{which}: {items} items, {:.0} bytes each; append {:.0} MB/CPU-s; until in Parquet {:.1} MB/CPU-s, {:.0} items/CPU-s; wall {:?}",
        bytes as f64 / items as f64,
        bytes as f64 / 1e6 / appended.as_secs_f64(),
        bytes as f64 / 1e6 / total.as_secs_f64(),
        items as f64 / total.as_secs_f64(),
        started.elapsed(),
    );
    let status = store.status();
    println!(
        "{} segments, {:.1} bytes an item",
        status.segments,
        status.segment_bytes as f64 / items as f64
    );
    store.shutdown().await?;
    Ok(())
}
