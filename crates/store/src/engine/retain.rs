//! Retention: the first rule that names a row decides when it goes.
//!
//! A segment goes as a whole once its youngest row is old enough for every rule that could decide. A rule with a filter
//! rewrites a segment once, when the youngest row is old enough for that rule; the catalog remembers that it did.

use std::sync::Arc;

use arrow::array::RecordBatch;
use cupola_telemetry::{Signal, TenantId};
use tracing::{Instrument as _, Span};

use crate::config::RetentionRule;
use crate::error::StoreError;
use crate::report::DeletionReport;
use crate::schema::Table;
use crate::segment::RowFilter;
use crate::series::DAY_NANOS;
use crate::status::add;
use crate::version::Segment;

use super::background::Report;
use super::flush::tables_of;
use super::remove::{Removal, SeriesRows, filter_for};
use super::{Engine, spans};

impl Engine {
    pub(crate) async fn apply_retention(&self, now_unix_nano: i64) -> Result<DeletionReport, StoreError> {
        let _maintenance = self.maintenance.lock().await;
        let mut report = DeletionReport::default();
        for tenant in self.tenant_ids() {
            for signal in [Signal::Logs, Signal::Metrics, Signal::Traces] {
                if self.is_closed() {
                    return Ok(report);
                }
                let done = self.retain(&tenant, signal, now_unix_nano).await?;
                report.rows += done.rows;
                report.segments_dropped += done.segments_dropped;
                report.segments_rewritten += done.segments_rewritten;
            }
        }
        add(&self.counters.retention_runs, 1);
        add(&self.counters.retention_rows, report.rows);
        Ok(report)
    }

    async fn retain(
        &self,
        tenant: &TenantId,
        signal: Signal,
        now: i64,
    ) -> Result<DeletionReport, StoreError> {
        let rules = deciding(&self.config.retention, tenant, signal);
        if rules.is_empty() {
            return Ok(DeletionReport::default());
        }
        let view = self.memtable.view();
        let Some(segments) = view.version.tenants.get(tenant) else {
            return Ok(DeletionReport::default());
        };
        let filters: Vec<&RowFilter> = rules.iter().filter_map(|rule| rule.filter.as_ref()).collect();
        // A segment that cannot be read keeps its rows; those of others go.
        let mut unread = None;
        let series = match signal {
            Signal::Metrics if !filters.is_empty() => {
                let segments = segments.table(Table::Series);
                self.series_rows(segments, &filters, &mut unread).await?
            }
            _ => SeriesRows::default(),
        };
        let mut rows = Vec::new();
        let mut series_days = Vec::new();
        for table in tables_of(signal) {
            for segment in segments.table(*table).iter() {
                match removal(segment, &rules, now, &series.rows) {
                    Some(removal) if *table == Table::Series => series_days.push((segment.clone(), removal)),
                    Some(removal) => rows.push((segment.clone(), removal)),
                    None => {}
                }
            }
        }
        // Most runs find nothing, and are not worth a span.
        let span = match rows.len() + series_days.len() {
            0 => Span::none(),
            segments => spans::retention(tenant, signal, segments),
        };
        let removing = self.remove_old(tenant, signal, rows, series_days, &mut unread);
        let removed = removing.instrument(span.clone()).await;
        spans::note(&span, &removed);
        let report = removed?;
        if let Some(error) = unread {
            add(&self.counters.retention_failures, 1);
            tracing::warn!(%tenant, %signal, error = %Report(&error), "rows of a segment outlive their time");
        }
        Ok(report)
    }

    async fn remove_old(
        &self,
        tenant: &TenantId,
        signal: Signal,
        rows: Vec<(Arc<Segment>, Removal)>,
        series_days: Vec<(Arc<Segment>, Removal)>,
        unread: &mut Option<StoreError>,
    ) -> Result<DeletionReport, StoreError> {
        let mut report = self.remove(tenant, rows, unread).await?;
        if !series_days.is_empty() {
            // No point may be given one of these series between their going and their being forgotten.
            let state = self.tenant(tenant);
            let _gate = state.gate(signal).lock().await;
            let _forget = state.forget_series_afterwards();
            let dropped = self.remove(tenant, series_days, unread).await?;
            report.rows += dropped.rows;
            report.segments_dropped += dropped.segments_dropped;
        }
        Ok(report)
    }
}

/// The rules that can decide, in order: none after the first without a filter is ever reached.
fn deciding<'a>(rules: &'a [RetentionRule], tenant: &TenantId, signal: Signal) -> Vec<&'a RetentionRule> {
    let mut deciding = Vec::new();
    for rule in rules.iter().filter(|rule| rule.names(tenant, signal)) {
        deciding.push(rule);
        if rule.filter.is_none() {
            break;
        }
    }
    deciding
}

fn removal(
    segment: &Arc<Segment>,
    rules: &[&RetentionRule],
    now: i64,
    series: &[RecordBatch],
) -> Option<Removal> {
    let is_old = |rule: &RetentionRule| {
        let keep = i64::try_from(rule.keep.as_nanos()).unwrap_or(i64::MAX);
        // A series stands for a whole day of points.
        let youngest = match segment.table {
            Table::Series => segment.max_timestamp.saturating_add(DAY_NANOS),
            _ => segment.max_timestamp,
        };
        youngest < now.saturating_sub(keep)
    };
    let names_all = rules.last().is_some_and(|rule| rule.filter.is_none());
    if names_all && rules.iter().all(|rule| is_old(rule)) {
        return Some(Removal::Drop);
    }
    if segment.table == Table::Series {
        return None;
    }
    let mut parts = Vec::new();
    let mut retained = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let fingerprint = fingerprint(&rules[..=index]);
        if !is_old(rule) || segment.entry.retained.contains(&fingerprint) {
            continue;
        }
        let mut named = vec![rule.filter.clone().unwrap_or(RowFilter::All)];
        for earlier in &rules[..index] {
            let filter = earlier.filter.clone().unwrap_or(RowFilter::All);
            named.push(RowFilter::Not(Box::new(filter)));
        }
        parts.push(RowFilter::And(named));
        retained.push(fingerprint);
    }
    if parts.is_empty() {
        return None;
    }
    let filter = filter_for(segment.table, &RowFilter::Or(parts), series)?;
    Some(Removal::Rewrite { filter, retained })
}

/// Tells rules apart: the last of these, and those that go before it.
fn fingerprint(rules: &[&RetentionRule]) -> u64 {
    let text = serde_json::to_vec(rules).unwrap_or_default();
    xxhash_rust::xxh3::xxh3_64(&text)
}
