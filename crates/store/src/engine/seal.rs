//! Sealing: raw tails into columns, in the order of the log.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::columns::{self, SealContext, SealError, SealedChunks};
use crate::error::StoreError;
use crate::memtable::{Buffer, Generation, Sealed, View};
use crate::schema::Table;
use crate::series::{Day, LoadedDays, day_of, day_of_series};
use crate::snapshot::{Snapshot, TableSnapshot};
use crate::status::add;
use crate::version::Segment;

use super::Engine;
use super::read::{segment_source, visit};
use super::tenant::TenantState;

/// Most bytes of OTLP made into one set of columns.
const SEAL_BYTES_MAX: usize = 32 << 20;
/// Most memory reserved for batches that are made into one set of columns; a single one may have more.
const SEAL_MEMORY_MAX: usize = 96 << 20;
/// Attempts to make columns of batches whose days are not all known.
const ATTEMPTS_MAX: usize = 3;
const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];

impl Engine {
    /// All tables of one tenant: what was acknowledged before the call is in it.
    pub(crate) async fn snapshot(self: &Arc<Engine>, tenant: &TenantId) -> Result<Snapshot, StoreError> {
        let (view, chunks) = self.sealed(tenant).await?;
        let mut tables: [TableSnapshot; Table::ALL.len()] = Default::default();
        if let Some(segments) = view.version.tenants.get(tenant) {
            for table in Table::ALL {
                tables[table as usize].segments = segments.table(table).as_ref().clone();
            }
        }
        for sealed in chunks {
            for chunk in &sealed.chunks.chunks {
                tables[chunk.table as usize].chunks.push(chunk.batch.clone());
            }
            // Columns may outlive their generation in a snapshot; so does their share of the budget.
            tables[0].memory.push(sealed);
        }
        Ok(Snapshot {
            tenant: tenant.clone(),
            version: view.version.number,
            tables: Arc::new(tables),
        })
    }

    /// A view, and the columns of all batches in it.
    async fn sealed(
        self: &Arc<Engine>,
        tenant: &TenantId,
    ) -> Result<(Arc<View>, Vec<Arc<Sealed>>), StoreError> {
        loop {
            let view = self.memtable.view();
            let seals = SIGNALS.map(|signal| self.seal(tenant, signal, view.active.id));
            futures::future::try_join_all(seals).await?;
            let chunks = buffers(&view, tenant)
                .iter()
                .flat_map(|buffer| buffer.sealed())
                .collect();
            // Columns made after a deletion have rows of series that segments from before it have as well.
            if !lost_series(&view, &self.memtable.view(), tenant) {
                return Ok((view, chunks));
            }
        }
    }

    /// Makes columns of what a tenant sent of one signal, in every generation up to `generation`.
    pub(super) async fn seal(
        self: &Arc<Engine>,
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
        let (engine, tenant) = (self.clone(), tenant.clone());
        // A reader that goes away must not open the gate while columns are being made.
        let work = async move {
            let state = engine.tenant(&tenant);
            let _gate = state.gate(signal).lock().await;
            engine.seal_gated(&state, &tenant, signal, generation).await
        };
        self.complete(work).await
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
        if signal == Signal::Metrics {
            self.bound_series(state);
        }
        Ok(())
    }

    /// Makes columns of the first batches of a tail and says of how many.
    async fn seal_tail(
        &self,
        state: &TenantState,
        tenant: &TenantId,
        buffer: &Arc<Buffer>,
        batches_max: usize,
    ) -> Result<usize, StoreError> {
        let tail = buffer.tail(SEAL_BYTES_MAX, SEAL_MEMORY_MAX, batches_max);
        let count = tail.batches.len();
        let received_unix_nano = tail.received_unix_nano;
        let Err(error) = self
            .columns(state, tenant, buffer, tail.batches.clone(), received_unix_nano)
            .await?
        else {
            return Ok(count);
        };
        tracing::error!(%tenant, batches = count, %error, "could not make columns, trying one batch at a time");
        for (batch, sequence) in tail.batches.iter().zip(&tail.sequences) {
            let made = self
                .columns(state, tenant, buffer, vec![batch.clone()], received_unix_nano)
                .await?;
            if let Err(error) = made {
                self.quarantine_batch(batch, *sequence, &error).await?;
                buffer.replace(1, SealedChunks::default());
            }
        }
        Ok(count)
    }

    /// Makes columns of the first batches of a tail and puts them in their place. The inner error is one that would come
    /// again with the same batches, a panic included.
    async fn columns(
        &self,
        state: &TenantState,
        tenant: &TenantId,
        buffer: &Arc<Buffer>,
        batches: Vec<Batch>,
        received_unix_nano: i64,
    ) -> Result<Result<(), StoreError>, StoreError> {
        let mut missing = Vec::new();
        // Every attempt loads all days it misses, so a second one misses none; more would be a fault here.
        for _ in 0..ATTEMPTS_MAX {
            let (profiles, series) = (state.profiles.clone(), state.series());
            let (buffer, batches) = (buffer.clone(), batches.clone());
            let started = Instant::now();
            let sealed = self
                .compute(&self.seals, move || {
                    let context = SealContext {
                        received_unix_nano,
                        profiles: &profiles,
                        series: &series,
                    };
                    columns::seal_into(&batches, &context, |chunks| {
                        let rows = chunks.rows();
                        buffer.replace(batches.len(), chunks);
                        rows
                    })
                })
                .await;
            let sealed = match sealed {
                Err(error @ StoreError::Background) => return Ok(Err(error)),
                sealed => sealed?,
            };
            match sealed {
                Ok(rows) => {
                    add(&self.counters.sealed_rows, rows);
                    add(&self.counters.seal_nanos, started.elapsed().as_nanos() as u64);
                    return Ok(Ok(()));
                }
                Err(SealError::DaysNotLoaded { days }) => {
                    self.load_days(state, tenant, &days).await?;
                    missing = days;
                }
                Err(error) => return Ok(Err(error.into())),
            }
        }
        Err(SealError::DaysNotLoaded { days: missing }.into())
    }

    /// Loads the series of some days, in order, from segments and memory. Only while the gate of metrics is held.
    async fn load_days(
        &self,
        state: &TenantState,
        tenant: &TenantId,
        days: &[Day],
    ) -> Result<(), StoreError> {
        // A series whose row a deletion may have taken must not pass for known.
        self.settle().await?;
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
        let mut loaded = LoadedDays::new(days);
        if let Some(segments) = view.version.tenants.get(tenant) {
            for segment in segments.table(Table::Series).iter() {
                let own = days_of(segment, days);
                if !own.is_empty() {
                    loaded.extend(self.load_segment(segment, own).await?);
                }
            }
        }
        let registry = state.series();
        self.compute(&self.seals, move || {
            for rows in &in_memory {
                loaded.add(rows)?;
            }
            registry.insert(loaded);
            Ok(())
        })
        .await?
    }

    /// The series of a segment. One that cannot be read is passed over: its series are taken for new, and get other
    /// numbers than any it may have.
    async fn load_segment(&self, segment: &Arc<Segment>, days: &[Day]) -> Result<LoadedDays, StoreError> {
        if self.is_readable(segment) {
            match self.read_series(segment, days).await {
                Err(error) if self.is_lasting(&error) => self.set_aside(segment, &error),
                read => return read,
            }
        }
        // A segment of the series of one day names its last one.
        match segment.meta.max_series_id {
            Some(last) if days == [day_of_series(last)] => {
                let mut loaded = LoadedDays::new(days);
                loaded.skip(last);
                Ok(loaded)
            }
            _ => Err(StoreError::UnreadableSeries {
                path: segment.path.to_string(),
            }),
        }
    }

    async fn read_series(&self, segment: &Arc<Segment>, days: &[Day]) -> Result<LoadedDays, StoreError> {
        let source = segment_source(&self.objects, &segment.path).await?;
        let (table, mut loaded) = (segment.table, LoadedDays::new(days));
        self.compute(&self.seals, move || {
            let mut added = Ok(());
            let read = visit(table, source, None, |rows| {
                added = loaded.add(&rows);
                added.is_ok()
            });
            read?;
            added?;
            Ok(loaded)
        })
        .await?
    }
}

/// Which of these days, in order, a segment may have series of.
fn days_of<'a>(segment: &Segment, days: &'a [Day]) -> &'a [Day] {
    let (first, last) = (day_of(segment.min_timestamp), day_of(segment.max_timestamp));
    let start = days.partition_point(|day| *day < first);
    let end = days.partition_point(|day| *day <= last);
    &days[start..end.max(start)]
}

/// Whether segments of series have gone meanwhile.
fn lost_series(view: &View, newest: &View, tenant: &TenantId) -> bool {
    if view.version.number == newest.version.number {
        return false;
    }
    let series = |view: &View| {
        let segments = view.version.tenants.get(tenant)?;
        Some(segments.table(Table::Series).clone())
    };
    let (before, now) = (
        series(view).unwrap_or_default(),
        series(newest).unwrap_or_default(),
    );
    let mut gone = before
        .iter()
        .filter(|segment| !now.iter().any(|left| left.path == segment.path));
    gone.next().is_some()
}

/// The buffers of a tenant, oldest generation first.
fn buffers(view: &View, tenant: &TenantId) -> Vec<Arc<Buffer>> {
    view.generations()
        .flat_map(|generation| SIGNALS.map(|signal| generation.buffer(tenant, signal)))
        .flatten()
        .collect()
}
