//! Benchmarks of the whole binary against its peers. Each run starts both sides itself and reports ratios:
//! absolute times of a shared machine mean little. `cargo xtask bench NAME` builds what is needed and calls this.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod ask;
mod copies;
mod footprint;
mod ingest;
mod load;
mod pipeline;
mod query;
mod report;
mod server;
mod victoria;

/// The server's allocator, so that what is timed in this process is what the server does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "cupola-bench",
    about = "Measures Cupola against its peers on this machine"
)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Durable ingest over OTLP/gRPC until in Parquet, per CPU-second; bytes on disk per record.
    Ingest(ingest::Options),
    /// The questions of `bench/queries.json` in Cupola, DuckDB and chDB on the same rows.
    Query(query::Options),
    /// Memory idle and under overload, time until ready, size of the binary.
    Footprint(footprint::Options),
    /// Pipelines in Cupola and in an OpenTelemetry Collector, with the same configuration.
    Pipeline(pipeline::Options),
    /// Times statements over a data directory, in this process.
    Ask(ask::Options),
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::Ingest(options) => ingest::run(options).await,
        Benchmark::Query(options) => query::run(options).await,
        Benchmark::Footprint(options) => footprint::run(options).await,
        Benchmark::Pipeline(options) => pipeline::run(options).await,
        Benchmark::Ask(options) => ask::run(options).await,
    }
}
