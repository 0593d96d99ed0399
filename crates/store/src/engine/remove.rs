//! Removing rows from segments, and deletion on request.
//!
//! A filter speaks of rows as queries see them. A metric point has its attributes in the series table: each part of the
//! filter that speaks of them is answered there first, and becomes a list of series.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use cupola_telemetry::memory::Reservation;
use cupola_telemetry::{Signal, TenantId};
use hashbrown::HashSet;

use crate::catalog::CatalogEdit;
use crate::error::StoreError;
use crate::report::DeletionReport;
use crate::schema::{Table, base_fields, column};
use crate::segment::{self, RowFilter};
use crate::status::add;
use crate::store::DeleteRequest;
use crate::version::Segment;

use super::Engine;
use super::commit::written_by;
use super::flush::signal_of;
use super::read::{segment_source, visit};

/// What becomes of one segment.
#[derive(Debug)]
pub(super) enum Removal {
    Drop,
    /// Rows to leave out, and the rules this fulfils.
    Rewrite {
        filter: RowFilter,
        retained: Vec<u64>,
    },
}

impl Engine {
    pub(crate) async fn delete(
        self: &Arc<Engine>,
        request: DeleteRequest,
    ) -> Result<DeletionReport, StoreError> {
        let (tenant, is_whole) = (request.tenant.clone(), request.filter.is_none());
        let mut report = self.delete_rows(request).await?;
        // Afterwards: what could not be written to segments on the way is there too.
        let found = self.clear_quarantine(&tenant, is_whole).await?;
        report.quarantine_files_removed = found.removed;
        report.quarantine_files_left = found.left;
        Ok(report)
    }

    async fn delete_rows(self: &Arc<Engine>, request: DeleteRequest) -> Result<DeletionReport, StoreError> {
        let DeleteRequest { tenant, filter } = request;
        let _maintenance = self.maintenance.lock().await;
        self.refuse_closed()?;
        let state = self.tenant(&tenant);
        let mut flushing = self.flushing.lock().await;
        // Series must not get new points between the decision which of them go and their going.
        let _gate = state.gate(Signal::Metrics).lock().await;
        let _forget = state.forget_series_afterwards();
        self.journal.freeze().await?;
        if let Some(last) = self.memtable.view().frozen.last() {
            // The flush finds nothing to seal behind the gate; later generations would, and are not covered.
            self.seal_gated(&state, &tenant, Signal::Metrics, last.id).await?;
            self.flush_frozen(&mut flushing, last.id).await?;
        }
        drop(flushing);

        let view = self.memtable.view();
        let Some(segments) = view.version.tenants.get(&tenant) else {
            return Ok(DeletionReport::default());
        };
        let mut unread = None;
        let series = match &filter {
            Some(filter) => {
                let segments = segments.table(Table::Series);
                self.series_rows(segments, &[filter], &mut unread).await?
            }
            None => SeriesRows::default(),
        };
        let mut removals = Vec::new();
        for segment in segments.all() {
            let removal = match &filter {
                None => Removal::Drop,
                Some(filter) => {
                    let Some(filter) = filter_for(segment.table, filter, &series.rows) else {
                        continue;
                    };
                    Removal::Rewrite {
                        filter,
                        retained: Vec::new(),
                    }
                }
            };
            removals.push((segment.clone(), removal));
        }
        let report = self.remove(&tenant, removals, &mut unread).await?;
        add(&self.counters.deleted_rows, report.rows);
        // Whoever asked must not take for deleted what could not be looked at.
        match unread {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    /// Removes rows from segments of one tenant, in one commit. A segment that cannot be read stays; `unread` is the
    /// reason then.
    pub(super) async fn remove(
        &self,
        tenant: &TenantId,
        removals: Vec<(Arc<Segment>, Removal)>,
        unread: &mut Option<StoreError>,
    ) -> Result<DeletionReport, StoreError> {
        self.settle().await?;
        let mut report = DeletionReport::default();
        let mut edit = CatalogEdit::default();
        for (segment, removal) in removals {
            let removed = self
                .remove_from(tenant, &segment, removal, &mut edit, &mut report)
                .await;
            match removed {
                Ok(()) => {}
                Err(error) if self.is_lasting(&error) => {
                    self.set_aside(&segment, &error);
                    unread.get_or_insert(error);
                }
                Err(error) => {
                    self.abandon(written_by(&edit)).await;
                    return Err(error);
                }
            }
        }
        if edit != CatalogEdit::default() && !self.replace_segments(edit).await? {
            // Only another writer of the same catalog can have taken them.
            return Err(StoreError::Background);
        }
        Ok(report)
    }

    /// Adds what becomes of one segment to the edit.
    async fn remove_from(
        &self,
        tenant: &TenantId,
        segment: &Arc<Segment>,
        removal: Removal,
        edit: &mut CatalogEdit,
        report: &mut DeletionReport,
    ) -> Result<(), StoreError> {
        let (filter, retained) = match removal {
            Removal::Drop => {
                report.rows += segment.rows;
                report.segments_dropped += 1;
                edit.removed.push(segment.path.to_string());
                return Ok(());
            }
            Removal::Rewrite { filter, retained } => (filter, retained),
        };
        let mut retained_now = segment.entry.retained.clone();
        retained_now.extend(
            retained
                .iter()
                .filter(|rule| !segment.entry.retained.contains(rule)),
        );
        let rewritten = match filter.may_match(&segment.meta) {
            true => self.rewrite(segment, filter).await?,
            false => None,
        };
        let Some(encoded) = rewritten else {
            if retained_now != segment.entry.retained {
                let mut entry = segment.entry.as_ref().clone();
                entry.retained = retained_now;
                edit.removed.push(segment.path.to_string());
                edit.added.push(Arc::new(entry));
            }
            return Ok(());
        };
        let left: u64 = encoded.iter().map(|encoded| encoded.meta.rows).sum();
        let added = self
            .put_segments(tenant, segment.table, encoded, &retained_now)
            .await?;
        report.rows += segment.rows - left;
        match left {
            0 => report.segments_dropped += 1,
            _ => report.segments_rewritten += 1,
        }
        edit.removed.push(segment.path.to_string());
        edit.added.extend(added);
        Ok(())
    }

    /// The segment without the rows of the filter; `None` when it has no such row.
    async fn rewrite(
        &self,
        segment: &Arc<Segment>,
        filter: RowFilter,
    ) -> Result<Option<Vec<segment::EncodedSegment>>, StoreError> {
        // What is asked for must be done, whether there is room or not: the next append pays.
        let mut memory = self.config.memory.reservation();
        memory.grow(segment::merge_memory(
            segment.table,
            &[&segment.meta],
            &self.config.segment,
        ));
        let source = segment_source(&self.objects, &segment.path).await?;
        let (input, options, table) = (segment.clone(), self.config.segment.clone(), segment.table);
        let encoded = self
            .merge_work(move || segment::merge(table, vec![(source, &input.meta)], Some(&filter), &options))
            .await?
            .map_err(|source| StoreError::Segment { table, source })?;
        let left: u64 = encoded.iter().map(|encoded| encoded.meta.rows).sum();
        Ok((left < segment.rows).then_some(encoded))
    }

    /// What filters need to know of series. A segment that cannot be read is passed over; `unread` is the reason then.
    pub(super) async fn series_rows(
        &self,
        segments: &[Arc<Segment>],
        filters: &[&RowFilter],
        unread: &mut Option<StoreError>,
    ) -> Result<SeriesRows, StoreError> {
        let mut columns = HashSet::from([column::SERIES_ID.to_owned()]);
        filters.iter().for_each(|filter| filter.columns(&mut columns));
        let columns = Arc::new(columns);
        let mut found = SeriesRows {
            rows: Vec::new(),
            memory: Some(self.config.memory.reservation()),
        };
        for segment in segments {
            match self.read_columns(segment, columns.clone()).await {
                Ok(rows) => found.extend(rows),
                Err(error) if self.is_lasting(&error) => {
                    self.set_aside(segment, &error);
                    unread.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn read_columns(
        &self,
        segment: &Arc<Segment>,
        columns: Arc<HashSet<String>>,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let source = segment_source(&self.objects, &segment.path).await?;
        let table = segment.table;
        let read = self.merge_work(move || {
            let mut rows = Vec::new();
            visit(table, source, Some(&|name| columns.contains(name)), |batch| {
                rows.push(batch);
                true
            })?;
            Ok(rows)
        });
        read.await?
    }
}

/// Rows of the series table in those columns that filters speak of.
#[derive(Debug, Default)]
pub(super) struct SeriesRows {
    pub(super) rows: Vec<RecordBatch>,
    memory: Option<Reservation>,
}

impl SeriesRows {
    fn extend(&mut self, rows: Vec<RecordBatch>) {
        let bytes = rows.iter().map(RecordBatch::get_array_memory_size).sum();
        if let Some(memory) = &mut self.memory {
            // Held already: the next append pays.
            memory.grow(bytes);
        }
        self.rows.extend(rows);
    }
}

/// The filter as rows of this table can answer it; `None` when no row of the table is to go.
pub(super) fn filter_for(table: Table, filter: &RowFilter, series: &[RecordBatch]) -> Option<RowFilter> {
    match signal_of(table) {
        Signal::Logs | Signal::Traces => Some(filter.clone()),
        // A series stays as long as some of its points may: which is so when the filter asks for their time.
        Signal::Metrics if table == Table::Series => (!asks_for_time(filter)).then(|| filter.clone()),
        Signal::Metrics => Some(filter_for_points(table, filter, series)),
    }
}

fn asks_for_time(filter: &RowFilter) -> bool {
    match filter {
        RowFilter::Before(_) | RowFilter::NotBefore(_) => true,
        RowFilter::Column { name, .. } => !is_column_of(Table::Series, name) || name == column::TIMESTAMP,
        RowFilter::And(parts) | RowFilter::Or(parts) => parts.iter().any(asks_for_time),
        RowFilter::Not(part) => asks_for_time(part),
        RowFilter::All | RowFilter::Attribute { .. } | RowFilter::Series(_) => false,
    }
}

fn filter_for_points(table: Table, filter: &RowFilter, series: &[RecordBatch]) -> RowFilter {
    let recur = |part: &RowFilter| filter_for_points(table, part, series);
    match filter {
        RowFilter::All | RowFilter::Before(_) | RowFilter::NotBefore(_) | RowFilter::Series(_) => {
            filter.clone()
        }
        RowFilter::Column { name, .. } if is_column_of(table, name) => filter.clone(),
        RowFilter::Column { .. } => matching_series(filter, series),
        // Exemplars have attributes of their own besides.
        RowFilter::Attribute { .. } => RowFilter::Or(vec![filter.clone(), matching_series(filter, series)]),
        RowFilter::And(parts) => RowFilter::And(parts.iter().map(recur).collect()),
        RowFilter::Or(parts) => RowFilter::Or(parts.iter().map(recur).collect()),
        RowFilter::Not(part) => RowFilter::Not(Box::new(recur(part))),
    }
}

fn is_column_of(table: Table, name: &str) -> bool {
    base_fields(table).iter().any(|field| field.name() == name)
}

fn matching_series(filter: &RowFilter, series: &[RecordBatch]) -> RowFilter {
    let mut ids = HashSet::new();
    for rows in series {
        let Some(column) = rows.column_by_name(column::SERIES_ID) else {
            continue;
        };
        let Some(column) = column.as_primitive_opt::<UInt64Type>() else {
            continue;
        };
        let matching = filter.evaluate(rows);
        ids.extend(matching.set_indices().map(|row| column.value(row)));
    }
    RowFilter::Series(Arc::new(ids))
}
