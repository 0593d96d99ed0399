//! Compaction: many small segments of one tenant, table and window into few.
//!
//! A window is an hour, of series a day. Files of similar size are merged when there are enough of them, so that a byte is
//! rewritten a logarithmic number of times; a window that has settled is merged as far as what is new in it is worth it;
//! the hours of a settled day become one window.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_telemetry::TenantId;
use hashbrown::HashSet;
use object_store::path::Path;
use tracing::Instrument as _;

use crate::catalog::CatalogEdit;
use crate::config::CompactionConfig;
use crate::error::StoreError;
use crate::report::CompactionReport;
use crate::schema::Table;
use crate::segment::{self, SegmentMeta, SegmentOptions};
use crate::status::add;
use crate::version::{Segment, Version};

use super::read::segment_source;
use super::{Engine, spans};

/// Files whose sizes differ by less than this factor are of one tier.
const TIER_FACTOR: u64 = 8;
/// Sizes below are all of the first tier.
const TIER_BYTES_MIN: u64 = 64 << 10;
/// What is new in a settled window is merged with a file when it is at least one part in so many of it.
const LATE_SHARE: u64 = 4;
/// Files larger than one part in so many of the memory budget are not merged again.
const TARGET_SHARE: usize = 8;
/// A merge of more than two files takes at most one part in so many of the memory budget.
const MEMORY_SHARE: usize = 3;
/// So many files may be merged whatever it takes: otherwise they would stay small for ever.
const FILES_MIN: usize = 2;
const HOURS_PER_DAY: i64 = 24;
const NANOS_PER_HOUR: i64 = segment::HOUR_NANOS;

/// Segments of one tenant and table to be merged.
#[derive(Debug)]
struct Merge {
    tenant: TenantId,
    table: Table,
    inputs: Vec<Arc<Segment>>,
}

/// What bounds a merge.
#[derive(Debug)]
struct MergeBounds {
    compaction: CompactionConfig,
    segment: SegmentOptions,
    /// Bytes of memory.
    memory_max: usize,
}

impl MergeBounds {
    /// Bytes that a merge of one table takes.
    fn memory(&self, table: Table, inputs: &[Arc<Segment>]) -> usize {
        let metas: Vec<&SegmentMeta> = inputs.iter().map(|input| &input.meta).collect();
        segment::merge_memory(table, &metas, &self.segment)
    }

    /// Why a group may not take one more file, if so.
    fn full(&self, group: &mut Vec<Arc<Segment>>, next: &Arc<Segment>) -> Option<Full> {
        let bytes: u64 = group.iter().map(|input| input.bytes).sum();
        if group.len() >= self.compaction.files_max
            || bytes + next.bytes > 2 * self.compaction.segment_bytes_target
        {
            return Some(Full::Size);
        }
        group.push(next.clone());
        let memory = self.memory(next.table, group);
        group.pop();
        (group.len() >= FILES_MIN && memory > self.memory_max).then_some(Full::Memory)
    }
}

/// What a group of files has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Size,
    Memory,
}

impl Merge {
    fn bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.bytes).sum()
    }
}

impl Engine {
    /// Merges until nothing is worth it.
    pub(crate) async fn compact(&self) -> Result<CompactionReport, StoreError> {
        let mut report = CompactionReport::default();
        let _maintenance = self.maintenance.lock().await;
        loop {
            let now = self.config.clock.now_unix_nano();
            let version = self.memtable.view().version.clone();
            let merges = plan(&version, &self.unreadable_paths(), &self.merge_bounds(), now);
            let mut merged = false;
            for merge in merges {
                if self.is_closed() {
                    return Ok(report);
                }
                self.settle().await?;
                let inputs = merge.inputs.clone();
                let span = spans::compaction(&merge.tenant, merge.table, inputs.len(), merge.bytes());
                let merging = self.merge(merge, &mut report).instrument(span.clone()).await;
                spans::note(&span, &merging);
                match merging {
                    Ok(progress) => merged |= progress,
                    Err(error) if self.is_lasting(&error) => {
                        add(&self.counters.compaction_failures, 1);
                        self.set_aside_culprits(&inputs, &error).await?;
                        merged = true;
                    }
                    Err(error) => return Err(error),
                }
            }
            if !merged {
                return Ok(report);
            }
        }
    }

    /// The configuration, with smaller merges where memory is small.
    fn merge_bounds(&self) -> MergeBounds {
        let mut compaction = self.config.compaction.clone();
        let ceiling = self.config.memory.ceiling();
        let share = (ceiling / TARGET_SHARE) as u64;
        compaction.segment_bytes_target = compaction.segment_bytes_target.min(share);
        MergeBounds {
            compaction,
            segment: self.config.segment.clone(),
            memory_max: ceiling / MEMORY_SHARE,
        }
    }

    async fn merge(&self, merge: Merge, report: &mut CompactionReport) -> Result<bool, StoreError> {
        let bytes_read = merge.bytes();
        let needed = self.merge_bounds().memory(merge.table, &merge.inputs);
        let Some(_memory) = self.config.memory.try_reserve(needed) else {
            tracing::debug!(needed, "no memory for a merge, ingest goes first");
            return Ok(false);
        };
        let mut sources = Vec::with_capacity(merge.inputs.len());
        for input in &merge.inputs {
            sources.push(segment_source(&self.objects, &input.path).await?);
        }
        let (table, inputs, options) = (merge.table, merge.inputs.clone(), self.config.segment.clone());
        let encoded = self
            .merge_work(move || {
                let inputs = sources
                    .into_iter()
                    .zip(inputs.iter().map(|input| &input.meta))
                    .collect();
                segment::merge(table, inputs, None, &options)
            })
            .await?
            .map_err(|source| StoreError::Segment { table, source })?;
        let bytes_written: u64 = encoded.iter().map(|segment| segment.meta.bytes).sum();
        let added = self
            .put_segments(&merge.tenant, table, encoded, &retained_by_all(&merge.inputs))
            .await?;
        let (removed, written) = (merge.inputs.len() as u64, added.len() as u64);
        let edit = CatalogEdit {
            removed: merge.inputs.iter().map(|input| input.path.to_string()).collect(),
            added,
            ..CatalogEdit::default()
        };
        if !self.replace_segments(edit).await? {
            return Ok(false);
        }
        add(&self.counters.compactions, 1);
        add(&self.counters.compacted_bytes_read, bytes_read);
        add(&self.counters.compacted_bytes_written, bytes_written);
        report.merges += 1;
        report.segments_removed += removed;
        report.segments_added += written;
        report.bytes_read += bytes_read;
        report.bytes_written += bytes_written;
        // Two files into two are no progress, and would be merged for ever.
        Ok(written < removed)
    }
}

/// The rules every input has been through.
fn retained_by_all(inputs: &[Arc<Segment>]) -> Vec<u64> {
    let Some((first, others)) = inputs.split_first() else {
        return Vec::new();
    };
    let mut retained = first.entry.retained.clone();
    retained.retain(|rule| others.iter().all(|input| input.entry.retained.contains(rule)));
    retained
}

/// What is worth merging now.
fn plan(version: &Version, unreadable: &HashSet<Path>, bounds: &MergeBounds, now: i64) -> Vec<Merge> {
    let config = &bounds.compaction;
    let mut merges = Vec::new();
    for (tenant, segments) in &version.tenants {
        for table in Table::ALL {
            let mut hours: BTreeMap<i64, Vec<Arc<Segment>>> = BTreeMap::new();
            let mut days: BTreeMap<i64, Vec<Arc<Segment>>> = BTreeMap::new();
            for segment in segments.table(table).iter() {
                if segment.bytes >= config.segment_bytes_target || unreadable.contains(&segment.path) {
                    continue;
                }
                let hour = segment.entry.hour;
                if is_settled(day_end(hour), config.settle, now) {
                    days.entry(hour.div_euclid(HOURS_PER_DAY))
                        .or_default()
                        .push(segment.clone());
                } else {
                    hours.entry(hour).or_default().push(segment.clone());
                }
            }
            let settled = days.into_values().map(|inputs| (true, inputs));
            let open = hours
                .into_iter()
                .map(|(hour, inputs)| (is_settled(window_end(table, hour), config.settle, now), inputs));
            for (complete, inputs) in settled.chain(open) {
                for inputs in choose(inputs, complete, bounds) {
                    merges.push(Merge {
                        tenant: tenant.clone(),
                        table,
                        inputs,
                    });
                }
            }
        }
    }
    merges
}

/// The hour at which the day of an hour ends.
fn day_end(hour: i64) -> i64 {
    (hour.div_euclid(HOURS_PER_DAY) + 1) * HOURS_PER_DAY
}

/// The hour at which rows cease to come for this one. A series has the time at which its day begins.
fn window_end(table: Table, hour: i64) -> i64 {
    match table {
        Table::Series => day_end(hour),
        _ => hour + 1,
    }
}

/// Whether a window that ends at this hour has been over for long enough.
fn is_settled(end_hour: i64, settle: Duration, now: i64) -> bool {
    let settle = i64::try_from(settle.as_nanos()).unwrap_or(i64::MAX);
    end_hour.saturating_mul(NANOS_PER_HOUR).saturating_add(settle) <= now
}

/// Groups of segments of one window to merge.
fn choose(mut inputs: Vec<Arc<Segment>>, complete: bool, bounds: &MergeBounds) -> Vec<Vec<Arc<Segment>>> {
    // By size, so that neighbours are of one tier.
    inputs.sort_by(|a, b| (a.bytes, &a.path).cmp(&(b.bytes, &b.path)));
    let files_min = match complete {
        true => FILES_MIN,
        false => bounds.compaction.files_min.max(FILES_MIN),
    };
    let mut chosen = Vec::new();
    let mut group: Vec<Arc<Segment>> = Vec::new();
    for input in inputs {
        let other_tier = group
            .first()
            .is_some_and(|first| !complete && tier(first.bytes) != tier(input.bytes));
        let full = match group.is_empty() {
            true => None,
            false => bounds.full(&mut group, &input),
        };
        if other_tier || full.is_some() {
            // Where memory is small it decides how many files are enough.
            let enough = if full == Some(Full::Memory) {
                FILES_MIN
            } else {
                files_min
            };
            chosen.push((std::mem::take(&mut group), enough));
        }
        group.push(input);
    }
    chosen.push((group, files_min));
    if complete {
        chosen.iter_mut().for_each(|(group, _)| leave_large(group));
    }
    chosen.retain(|(group, enough)| group.len() >= *enough);
    chosen.into_iter().map(|(group, _)| group).collect()
}

/// Leaves files out, by size in order, that are large beside all smaller ones: each late row would have them written again.
fn leave_large(group: &mut Vec<Arc<Segment>>) {
    let mut others: u64 = group.iter().map(|input| input.bytes).sum();
    while let Some(largest) = group.last() {
        others -= largest.bytes;
        if others >= largest.bytes / LATE_SHARE {
            return;
        }
        group.pop();
    }
}

fn tier(bytes: u64) -> u32 {
    (bytes / TIER_BYTES_MIN).max(1).ilog(TIER_FACTOR)
}
