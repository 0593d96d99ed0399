//! PostgreSQL as a destination: one table for each signal, filled by binary COPY, a batch in one transaction.
//!
//! A batch is stored whole or not at all. Its name, a hash of tenant and bytes, is kept in the same transaction, so that
//! a batch whose answer got lost is not stored twice when it is sent again; names are kept for [`REMEMBERED`]. Two batches
//! are the same only if every byte is, the nanoseconds of each item included; batches without any time are not remembered,
//! so that genuine repetitions of them are kept. Rows therefore need no unique index, which would cost more than the COPY.
//!
//! Rows that the server refuses for their values are found by halving and come back as refused, and the rest is stored.
//! What is wrong with the server, the table, the password or the network is worth another attempt: nothing of the batch
//! is at fault. NUL, which PostgreSQL's text cannot hold, becomes U+2400. Refuses to retry and to queue.

mod config;
mod connect;
mod copy;
mod nested;
mod partition;
mod rows;
mod session;
mod store;
mod table;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cupola_telemetry::{Batch, Signal};
use deadpool_postgres::Pool;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub use config::{Partition, PostgresConfig, PostgresConfigError, SslMode};

use crate::tls::ClientTls;
use crate::{Accepted, Component, Sample, SendError, Sink};

/// How long names of batches are kept.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// How often partitions are made and dropped, and names of batches forgotten.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(300);

/// Counts since the start.
#[derive(Debug, Default)]
pub struct PostgresStats {
    /// Items stored.
    pub stored: AtomicU64,
    /// Items refused for their values.
    pub refused: AtomicU64,
    /// Batches that had been stored before.
    pub repeated: AtomicU64,
}

/// A PostgreSQL database.
#[derive(Debug)]
pub struct PostgresSink {
    inner: Arc<Inner>,
    upkeep: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Inner {
    config: PostgresConfig,
    pool: Pool,
    tls: Option<ClientTls>,
    /// What is known of the tables, by signal: found out when a batch is there for one, and again after errors.
    tables: tokio::sync::Mutex<Tables>,
    closed: AtomicBool,
    stats: PostgresStats,
}

#[derive(Debug, Default)]
struct Tables {
    known: [Option<Arc<upkeep::Known>>; 3],
}

impl PostgresSink {
    /// Makes the sink and the task of its upkeep. Connects on the first batch, so a destination may come up later. Must
    /// be called on a tokio runtime.
    pub fn new(config: PostgresConfig) -> Result<PostgresSink, PostgresConfigError> {
        config.validate()?;
        let (pool, tls) = connect::pool(&config)?;
        let inner = Arc::new(Inner {
            pool,
            tls,
            tables: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            stats: PostgresStats::default(),
            config,
        });
        let of_task = inner.clone();
        let upkeep = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                if let Err(reason) = of_task.keep_up(now()).await {
                    tracing::warn!(%reason, "upkeep of PostgreSQL tables failed, will try again");
                }
            }
        });
        Ok(PostgresSink {
            inner,
            upkeep: Mutex::new(Some(upkeep)),
        })
    }

    pub fn stats(&self) -> &PostgresStats {
        &self.inner.stats
    }

    /// Makes partitions, drops those past retention, forgets batches, as of `now` in nanoseconds since the epoch. Done
    /// regularly by itself, for tables that were written to.
    pub async fn keep_up(&self, now: u64) -> Result<(), String> {
        self.inner.keep_up(now).await
    }
}

impl Drop for PostgresSink {
    fn drop(&mut self) {
        if let Some(task) = self.upkeep.lock().take() {
            task.abort();
        }
    }
}

#[async_trait]
impl Sink for PostgresSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(SendError::retryable("the exporter has been shut down"));
        }
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        let limit = self.inner.config.timeout.0;
        match tokio::time::timeout(limit, self.inner.store(&batch, now())).await {
            Ok(stored) => stored,
            Err(_) => Err(SendError::retryable(format!(
                "PostgreSQL did not answer within {limit:?}"
            ))),
        }
    }
}

#[async_trait]
impl Component for PostgresSink {
    async fn shutdown(&self) {
        self.inner.closed.store(true, Ordering::Release);
        let task = self.upkeep.lock().take();
        if let Some(task) = task {
            task.abort();
        }
        self.inner.pool.close();
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let stats = &self.inner.stats;
        for (name, help, count) in [
            ("cupola_postgres_rows_stored", "Rows written", &stats.stored),
            (
                "cupola_postgres_rows_refused",
                "Rows refused for their values",
                &stats.refused,
            ),
            (
                "cupola_postgres_batches_repeated",
                "Batches that had been stored before",
                &stats.repeated,
            ),
        ] {
            samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
        }
        let pool = self.inner.pool.status();
        let help = "Connections that are open";
        samples.push(Sample::level(
            "cupola_postgres_connections",
            help,
            pool.size as f64,
        ));
        if let Some(tls) = &self.inner.tls {
            tls.collect(samples);
        }
    }
}

impl Inner {
    fn table_of(&self, signal: Signal) -> &str {
        match signal {
            Signal::Logs => &self.config.logs_table,
            Signal::Traces => &self.config.traces_table,
            Signal::Metrics => &self.config.metrics_table,
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
