//! Sealing: raw tails into columns, in the order of the log.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::columns::{self, SealContext, SealError, SealedChunks};
use crate::error::StoreError;
use crate::memtable::{Buffer, Generation, View};
use crate::schema::{Table, column};
use crate::series::{DAY_NANOS, Day, day_of_series};
use crate::snapshot::{Snapshot, TableSnapshot};
use crate::status::add;

use super::tenant::TenantState;
use super::{Engine, read_segment};

/// Most bytes of OTLP made into one set of columns.
const SEAL_BYTES_MAX: usize = 32 << 20;
const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];

impl Engine {
    /// All tables of one tenant: what was acknowledged before the call is in it.
    pub(crate) async fn snapshot(&self, tenant: &TenantId) -> Result<Snapshot, StoreError> {
        let view = self.memtable.view();
        for signal in SIGNALS {
            self.seal(tenant, signal, view.active.id).await?;
        }
        let mut tables: [TableSnapshot; Table::ALL.len()] = Default::default();
        if let Some(segments) = view.version.tenants.get(tenant) {
            for table in Table::ALL {
                tables[table as usize].segments = segments.table(table).as_ref().clone();
            }
        }
        for buffer in buffers(&view, tenant) {
            for sealed in buffer.sealed() {
                for chunk in &sealed.chunks.chunks {
                    tables[chunk.table as usize].chunks.push(chunk.batch.clone());
                }
                // Columns may outlive their generation in a snapshot; so does their share of the budget.
                tables[0].memory.push(sealed.clone());
            }
        }
        Ok(Snapshot {
            tenant: tenant.clone(),
            version: view.version.number,
            tables: Arc::new(tables),
        })
    }

    /// Makes columns of what a tenant sent of one signal, in every generation up to `generation`.
    pub(super) async fn seal(
        &self,
        tenant: &TenantId,
        signal: Signal,
        generation: u64,
    ) -> Result<(), StoreError> {
        let has_tail = |view: &View| {
            let mut generations = view.generations().filter(|found| found.id <= generation);
            generations.any(|found| {
                found
                    .buffer(tenant, signal)
                    .is_some_and(|buffer| buffer.has_tail())
            })
        };
        if !has_tail(&self.memtable.view()) {
            return Ok(());
        }
        let state = self.tenant(tenant);
        let _gate = state.gate(signal).lock().await;
        self.seal_gated(&state, tenant, signal, generation).await
    }

    /// The same while the gate is held. A generation that has left the view was sealed before it was flushed.
    pub(super) async fn seal_gated(
        &self,
        state: &TenantState,
        tenant: &TenantId,
        signal: Signal,
        generation: u64,
    ) -> Result<(), StoreError> {
        let view = self.memtable.view();
        let generations: Vec<&Arc<Generation>> = view
            .generations()
            .filter(|found| found.id <= generation)
            .collect();
        for found in generations {
            let Some(buffer) = found.buffer(tenant, signal) else {
                continue;
            };
            // What comes in meanwhile was acknowledged after the call.
            let mut left = buffer.tail_batches();
            while left > 0 {
                left -= self.seal_tail(state, tenant, &buffer, left).await?;
            }
        }
        Ok(())
    }

    /// Makes columns of the first batches of a tail and says of how many.
    async fn seal_tail(
        &self,
        state: &TenantState,
        tenant: &TenantId,
        buffer: &Buffer,
        batches_max: usize,
    ) -> Result<usize, StoreError> {
        let tail = buffer.tail(SEAL_BYTES_MAX, batches_max);
        let count = tail.batches.len();
        match self
            .columns(state, tenant, tail.batches.clone(), tail.received_unix_nano)
            .await
        {
            Ok(chunks) => {
                buffer.replace(count, chunks);
                return Ok(count);
            }
            Err(error @ (StoreError::Seal(_) | StoreError::Background)) => {
                tracing::error!(%tenant, batches = count, %error, "could not make columns, trying one batch at a time");
            }
            Err(error) => return Err(error),
        }
        for (batch, sequence) in tail.batches.iter().zip(&tail.sequences) {
            let made = self
                .columns(state, tenant, vec![batch.clone()], tail.received_unix_nano)
                .await;
            match made {
                Ok(chunks) => buffer.replace(1, chunks),
                // A panic counts as well: it would come again with every attempt.
                Err(error @ (StoreError::Seal(_) | StoreError::Background)) => {
                    self.quarantine_batch(batch, *sequence, &error).await?;
                    buffer.replace(1, SealedChunks::default());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    async fn columns(
        &self,
        state: &TenantState,
        tenant: &TenantId,
        batches: Vec<Batch>,
        received_unix_nano: i64,
    ) -> Result<SealedChunks, StoreError> {
        // Every attempt loads all days it misses, so a second one misses none; more would be a fault here.
        for _ in 0..3 {
            let (profiles, series, batches) = (state.profiles.clone(), state.series(), batches.clone());
            let started = Instant::now();
            let sealed = self
                .compute(&self.seals, move || {
                    let context = SealContext {
                        received_unix_nano,
                        profiles: &profiles,
                        series: &series,
                    };
                    columns::seal(&batches, &context)
                })
                .await?;
            match sealed {
                Ok(chunks) => {
                    state.count_series(&self.config.memory);
                    let rows: u64 = chunks
                        .chunks
                        .iter()
                        .map(|chunk| chunk.batch.num_rows() as u64)
                        .sum();
                    add(&self.counters.sealed_rows, rows);
                    add(&self.counters.seal_nanos, started.elapsed().as_nanos() as u64);
                    return Ok(chunks);
                }
                Err(SealError::DaysNotLoaded { days }) => self.load_days(state, tenant, &days).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Background)
    }

    /// Loads the series of some days from segments and memory. Only while the gate of metrics is held.
    async fn load_days(
        &self,
        state: &TenantState,
        tenant: &TenantId,
        days: &[Day],
    ) -> Result<(), StoreError> {
        let view = self.memtable.view();
        let mut in_memory: Vec<RecordBatch> = Vec::new();
        for buffer in buffers(&view, tenant) {
            for sealed in buffer.sealed() {
                let series = sealed
                    .chunks
                    .chunks
                    .iter()
                    .filter(|chunk| chunk.table == Table::Series);
                in_memory.extend(series.map(|chunk| chunk.batch.clone()));
            }
        }
        let registry = state.series();
        for day in days {
            let here = |rows: &&RecordBatch| has_day(rows, *day);
            let mut rows: Vec<RecordBatch> = in_memory.iter().filter(here).cloned().collect();
            let start = i64::from(*day).saturating_mul(DAY_NANOS);
            if let Some(segments) = view.version.tenants.get(tenant) {
                for segment in segments.table(Table::Series).iter() {
                    if segment.min_timestamp < start.saturating_add(DAY_NANOS)
                        && segment.max_timestamp >= start
                    {
                        rows.extend(read_segment(&self.objects, segment).await?);
                    }
                }
            }
            let (registry, day) = (registry.clone(), *day);
            self.compute(&self.seals, move || registry.load(day, &rows))
                .await??;
        }
        Ok(())
    }
}

/// Whether rows of the series table have one of this day.
fn has_day(rows: &RecordBatch, day: Day) -> bool {
    let ids = rows.column_by_name(column::SERIES_ID);
    let ids = ids.and_then(|ids| ids.as_primitive_opt::<UInt64Type>());
    ids.is_some_and(|ids| ids.values().iter().any(|id| day_of_series(*id) == day))
}

/// The buffers of a tenant, oldest generation first.
fn buffers(view: &View, tenant: &TenantId) -> Vec<Arc<Buffer>> {
    view.generations()
        .flat_map(|generation| SIGNALS.map(|signal| generation.buffer(tenant, signal)))
        .flatten()
        .collect()
}
