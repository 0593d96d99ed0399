//! Times statements over a data directory that no server is using, without sockets and formats in between: for finding
//! out where time goes, under a profiler.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use arrow::util::pretty::pretty_format_batches;
use clap::Args;
use cupola_query::{QueryConfig, QueryEngine, QueryLimits};
use cupola_store::{Store, StoreConfig};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;
use futures::TryStreamExt;

/// Memory of the statements.
const MEMORY_BYTES: usize = 4 << 30;

#[derive(Args)]
pub(crate) struct Options {
    /// The data directory.
    directory: PathBuf,
    /// Statements; the plan of one that begins with EXPLAIN is printed.
    #[arg(required = true)]
    statements: Vec<String>,
    /// Answers per statement.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Merge small segments before.
    #[arg(long)]
    compact: bool,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    if !options.directory.join("FORMAT").exists() {
        bail!("{} is no data directory", options.directory.display());
    }
    let mut config = StoreConfig::new(options.directory);
    config.background = false;
    let (store, _) = Store::open(config).await?;
    if options.compact {
        store.compact().await?;
    }
    let engine = QueryEngine::new(store, QueryConfig::default(), MemoryBudget::new(MEMORY_BYTES))?;
    let tenant = TenantId::default_tenant();
    for statement in &options.statements {
        let mut times = Vec::new();
        let mut batches = Vec::new();
        for _ in 0..options.runs {
            let started = Instant::now();
            let result = engine.sql(&tenant, statement, QueryLimits::default()).await?;
            batches = result.stream.try_collect().await?;
            times.push(format!("{:.1}", started.elapsed().as_secs_f64() * 1e3));
        }
        if statement.starts_with("EXPLAIN") {
            println!("{}", pretty_format_batches(&batches)?);
        }
        let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        println!("{rows} rows, ms {}: {statement}", times.join(" "));
    }
    Ok(())
}
