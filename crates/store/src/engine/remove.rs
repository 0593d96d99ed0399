//! Removing rows from segments, and deletion on request.
//!
//! A filter speaks of rows as queries see them. A metric point has its attributes in the series table: each part of the
//! filter that speaks of them is answered there first, and becomes a list of series.

use std::sync::Arc;

use cupola_telemetry::{Signal, TenantId};
use hashbrown::HashSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;

use crate::catalog::CatalogEdit;
use crate::error::StoreError;
use crate::report::DeletionReport;
use crate::schema::{Table, base_fields, column};
use crate::segment::{self, RowFilter};
use crate::status::add;
use crate::store::DeleteRequest;
use crate::version::Segment;

use super::Engine;
use super::flush::signal_of;
use super::read::{read_segment, segment_source};

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
    pub(crate) async fn delete(&self, request: DeleteRequest) -> Result<DeletionReport, StoreError> {
        let DeleteRequest { tenant, filter } = request;
        let _maintenance = self.maintenance.lock().await;
        let state = self.tenant(&tenant);
        let mut flushing = self.flushing.lock().await;
        // Series must not get new points between the decision which of them go and their going.
        let _gate = state.gate(Signal::Metrics).lock().await;
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
        let series = match &filter {
            Some(_) => self.series_rows(segments.table(Table::Series)).await?,
            None => Vec::new(),
        };
        let mut removals = Vec::new();
        for segment in segments.all() {
            let removal = match &filter {
                None => Removal::Drop,
                Some(filter) => {
                    let Some(filter) = filter_for(segment.table, filter, &series) else {
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
        let report = self.remove(&tenant, removals).await?;
        state.forget_series();
        add(&self.counters.deleted_rows, report.rows);
        Ok(report)
    }

    /// Removes rows from segments of one tenant, in one commit.
    pub(super) async fn remove(
        &self,
        tenant: &TenantId,
        removals: Vec<(Arc<Segment>, Removal)>,
    ) -> Result<DeletionReport, StoreError> {
        let mut report = DeletionReport::default();
        let mut edit = CatalogEdit::default();
        for (segment, removal) in removals {
            let (filter, retained) = match removal {
                Removal::Drop => {
                    report.rows += segment.rows;
                    report.segments_dropped += 1;
                    edit.removed.push(segment.path.to_string());
                    continue;
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
                true => self.rewrite(&segment, filter).await?,
                false => None,
            };
            let Some(encoded) = rewritten else {
                if retained_now != segment.entry.retained {
                    let mut entry = segment.entry.as_ref().clone();
                    entry.retained = retained_now;
                    edit.removed.push(segment.path.to_string());
                    edit.added.push(Arc::new(entry));
                }
                continue;
            };
            let left: u64 = encoded.iter().map(|encoded| encoded.meta.rows).sum();
            report.rows += segment.rows - left;
            match left {
                0 => report.segments_dropped += 1,
                _ => report.segments_rewritten += 1,
            }
            edit.removed.push(segment.path.to_string());
            let added = self
                .put_segments(tenant, segment.table, encoded, &retained_now)
                .await?;
            edit.added.extend(added);
        }
        if edit != CatalogEdit::default() && !self.replace_segments(edit).await? {
            // Only another writer of the same catalog can have taken them.
            return Err(StoreError::Background);
        }
        Ok(report)
    }

    /// The segment without the rows of the filter; `None` when it has no such row.
    async fn rewrite(
        &self,
        segment: &Arc<Segment>,
        filter: RowFilter,
    ) -> Result<Option<Vec<segment::EncodedSegment>>, StoreError> {
        let source = segment_source(&self.objects, &segment.path).await?;
        let (input, options, table) = (segment.clone(), self.config.segment.clone(), segment.table);
        let encoded = self
            .merge_work(move || segment::merge(table, vec![(source, &input.meta)], Some(&filter), &options))
            .await?
            .map_err(|source| StoreError::Segment { table, source })?;
        let left: u64 = encoded.iter().map(|encoded| encoded.meta.rows).sum();
        Ok((left < segment.rows).then_some(encoded))
    }

    pub(super) async fn series_rows(
        &self,
        segments: &[Arc<Segment>],
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let mut rows = Vec::new();
        for segment in segments {
            rows.extend(read_segment(&self.objects, segment).await?);
        }
        Ok(rows)
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
