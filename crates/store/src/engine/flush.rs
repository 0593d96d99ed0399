//! Flushing: frozen generations, oldest first, into segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use bytes::Bytes;
use cupola_telemetry::{Signal, TenantId};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::sync::MutexGuard;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::catalog::{CatalogEdit, SegmentEntry};
use crate::error::StoreError;
use crate::memtable::Generation;
use crate::report::FlushReport;
use crate::schema::Table;
use crate::segment::{self, EncodedSegment};
use crate::status::add;

use super::{Engine, spans};

/// Where segments are, below the prefix of the object store.
pub(crate) const DATA_PREFIX: &str = "data";
pub(crate) const SEGMENT_EXTENSION: &str = "parquet";
/// Tables written at the same time.
const TABLES_MAX: usize = 2;
/// Files put at the same time.
const PUTS_MAX: usize = 4;

/// Segments that are written and not committed yet.
#[derive(Debug)]
pub(super) struct PreparedFlush {
    generation: u64,
    entries: Vec<Arc<SegmentEntry>>,
}

impl Engine {
    /// Everything appended before the call is in segments afterwards.
    pub(crate) async fn flush(self: &Arc<Engine>) -> Result<FlushReport, StoreError> {
        self.journal.freeze().await?;
        let mut flushing = self.flushing.lock().await;
        self.flush_frozen(&mut flushing, u64::MAX).await
    }

    /// Flushes the frozen generations there are now up to one.
    pub(super) async fn flush_frozen(
        self: &Arc<Engine>,
        flushing: &mut MutexGuard<'_, Option<PreparedFlush>>,
        up_to: u64,
    ) -> Result<FlushReport, StoreError> {
        let mut report = FlushReport::default();
        let frozen = self.memtable.view().frozen.clone();
        for generation in frozen.into_iter().filter(|generation| generation.id <= up_to) {
            self.flush_generation(flushing, &generation, &mut report).await?;
        }
        Ok(report)
    }

    /// Flushes the oldest frozen generation; `false` when there is none.
    pub(super) async fn flush_oldest(self: &Arc<Engine>) -> Result<bool, StoreError> {
        let mut flushing = self.flushing.lock().await;
        let Some(generation) = self.memtable.view().frozen.first().cloned() else {
            return Ok(false);
        };
        let mut report = FlushReport::default();
        self.flush_generation(&mut flushing, &generation, &mut report)
            .await?;
        Ok(true)
    }

    async fn flush_generation(
        self: &Arc<Engine>,
        flushing: &mut MutexGuard<'_, Option<PreparedFlush>>,
        generation: &Arc<Generation>,
        report: &mut FlushReport,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        let span = spans::flush(generation);
        let work = self.write_and_commit(flushing, generation, report);
        let flushed = work.instrument(span.clone()).await;
        spans::note(&span, &flushed);
        add(&self.counters.flush_nanos, started.elapsed().as_nanos() as u64);
        match &flushed {
            Ok(()) => add(&self.counters.flushes, 1),
            Err(_) => add(&self.counters.flush_failures, 1),
        }
        flushed
    }

    async fn write_and_commit(
        self: &Arc<Engine>,
        flushing: &mut MutexGuard<'_, Option<PreparedFlush>>,
        generation: &Arc<Generation>,
        report: &mut FlushReport,
    ) -> Result<(), StoreError> {
        // Files of an attempt whose commit failed are used again: a full disk does not fill up with copies.
        let entries = match flushing.take() {
            Some(prepared) if prepared.generation == generation.id => prepared.entries,
            other => {
                if let Some(other) = other {
                    // Its commit was made, although nobody was told.
                    self.abandon(paths(&other.entries)).await;
                }
                self.write_generation(generation).await?
            }
        };
        let journal = self.journal_id.to_string();
        let last_sequence = generation.last_sequence();
        let committed = self
            .commit(|state| {
                // The commit of an earlier attempt may have been made although its answer got lost.
                let flushed = state.flushed.get(&journal).copied().unwrap_or(0);
                (flushed < last_sequence).then(|| CatalogEdit {
                    removed: Vec::new(),
                    added: entries.clone(),
                    flushed: BTreeMap::from([(journal.clone(), last_sequence)]),
                })
            })
            .await;
        match committed {
            Ok(true) => self.count_flushed(&entries, report),
            Ok(false) => self.abandon(paths(&entries)).await,
            Err(error) => {
                **flushing = Some(PreparedFlush {
                    generation: generation.id,
                    entries,
                });
                return Err(error);
            }
        }
        if let Err(error) = self.journal.remove_flushed(last_sequence) {
            tracing::warn!(%error, "could not remove a flushed log file, trying again after the next flush");
        }
        Ok(())
    }

    fn count_flushed(&self, entries: &[Arc<SegmentEntry>], report: &mut FlushReport) {
        report.generations += 1;
        for entry in entries {
            report.segments += 1;
            report.rows += entry.meta.rows;
            report.bytes += entry.meta.bytes;
            add(&self.counters.flushed_rows, entry.meta.rows);
            add(&self.counters.flushed_bytes, entry.meta.bytes);
        }
    }

    /// Writes a generation to segments that no catalog names yet.
    async fn write_generation(
        self: &Arc<Engine>,
        generation: &Arc<Generation>,
    ) -> Result<Vec<Arc<SegmentEntry>>, StoreError> {
        let mut tables: BTreeMap<(TenantId, Table), Vec<RecordBatch>> = BTreeMap::new();
        for ((tenant, signal), buffer) in generation.buffers() {
            self.seal(&tenant, signal, generation.id).await?;
            for sealed in buffer.sealed() {
                for chunk in &sealed.chunks.chunks {
                    let rows = tables.entry((tenant.clone(), chunk.table)).or_default();
                    rows.push(chunk.batch.clone());
                }
            }
        }
        let last_sequence = generation.last_sequence();
        let written = futures::stream::iter(tables)
            .map(|((tenant, table), chunks)| self.write_table(tenant, table, last_sequence, chunks))
            .buffer_unordered(TABLES_MAX)
            .collect::<Vec<_>>()
            .await;
        let mut entries = Vec::new();
        let mut failure = None;
        for result in written {
            match result {
                Ok(written) => entries.extend(written),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            self.discard(paths(&entries));
            return Err(error);
        }
        Ok(entries)
    }

    async fn write_table(
        &self,
        tenant: TenantId,
        table: Table,
        last_sequence: u64,
        chunks: Vec<RecordBatch>,
    ) -> Result<Vec<Arc<SegmentEntry>>, StoreError> {
        let (options, rows) = (self.config.segment.clone(), chunks.clone());
        let mut memory = self.config.memory.reservation();
        let encoded = self
            .compute(&self.encodings, move || {
                // A flush makes room, so it is not refused any: the next appends pay.
                memory.grow(segment::write_memory(table, &rows));
                let encoded = segment::write(table, &rows, &options)?;
                let bytes = encoded.iter().map(|segment| segment.bytes.len()).sum::<usize>();
                memory.shrink(memory.bytes().saturating_sub(bytes));
                Ok((encoded, memory))
            })
            .await
            .and_then(|encoded| encoded.map_err(|source| StoreError::Segment { table, source }));
        let (encoded, _memory) = match encoded {
            Ok(encoded) => encoded,
            // Trying again would fail (or panic) again, and keep everybody's data from being flushed.
            Err(error @ (StoreError::Segment { .. } | StoreError::Background)) => {
                self.quarantine_rows(&tenant, table, last_sequence, &chunks, &error)
                    .await?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        self.put_segments(&tenant, table, encoded, &[]).await
    }

    /// Stores finished files under new names; none of them when one fails.
    pub(super) async fn put_segments(
        &self,
        tenant: &TenantId,
        table: Table,
        encoded: Vec<EncodedSegment>,
        retained: &[u64],
    ) -> Result<Vec<Arc<SegmentEntry>>, StoreError> {
        let entries: Vec<Arc<SegmentEntry>> = encoded
            .iter()
            .map(|segment| {
                Arc::new(SegmentEntry {
                    path: segment_path(tenant, table, segment.hour),
                    tenant: tenant.to_string(),
                    table,
                    hour: segment.hour,
                    retained: retained.to_vec(),
                    meta: segment.meta.clone(),
                })
            })
            .collect();
        let puts = encoded.into_iter().zip(paths(&entries));
        let puts = puts.map(|(segment, path)| self.put_segment(path, segment.bytes));
        // Each is awaited, whatever becomes of the others: what is removed afterwards is not written any more.
        let done: Vec<_> = futures::stream::iter(puts)
            .buffer_unordered(PUTS_MAX)
            .collect()
            .await;
        if let Some(error) = done.into_iter().find_map(Result::err) {
            self.discard(paths(&entries));
            return Err(error);
        }
        Ok(entries)
    }

    async fn put_segment(&self, path: String, data: Bytes) -> Result<(), StoreError> {
        let put = async { self.objects.put(&Path::parse(&path)?, data.into()).await };
        put.await.map(|_| ()).map_err(|source| StoreError::ObjectStore {
            action: "write",
            path: path.clone(),
            source,
        })
    }
}

fn paths(entries: &[Arc<SegmentEntry>]) -> Vec<String> {
    entries.iter().map(|entry| entry.path.clone()).collect()
}

/// `data/<tenant>/<table>/<YYYY-MM-DDTHH>/<UUID>.parquet`
fn segment_path(tenant: &TenantId, table: Table, hour: i64) -> String {
    let time = chrono::DateTime::from_timestamp(hour.saturating_mul(3600), 0).unwrap_or_default();
    let (hour, id) = (time.format("%Y-%m-%dT%H"), Uuid::now_v7());
    format!("{DATA_PREFIX}/{tenant}/{table}/{hour}/{id}.{SEGMENT_EXTENSION}")
}

/// The tables a signal is kept in.
pub(super) fn tables_of(signal: Signal) -> &'static [Table] {
    match signal {
        Signal::Logs => &[Table::Logs],
        Signal::Traces => &[Table::Spans],
        Signal::Metrics => &[
            Table::Series,
            Table::Samples,
            Table::Histograms,
            Table::ExponentialHistograms,
            Table::Summaries,
            Table::Exemplars,
        ],
    }
}

pub(super) fn signal_of(table: Table) -> Signal {
    match table {
        Table::Logs => Signal::Logs,
        Table::Spans => Signal::Traces,
        _ => Signal::Metrics,
    }
}
