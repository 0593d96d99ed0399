//! Scanning a table of a snapshot: Parquet segments and memtable chunks as one leaf of the plan.

mod chunks;
mod files;
mod indexes;
mod provider;
mod pruning;
mod pushdown;
mod reader;
mod source;
mod statistics;

use std::sync::Arc;

use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

pub(crate) use chunks::{ChunkPart, chunk_name};
pub(crate) use provider::{STORE_URL, SnapshotTable};
pub(crate) use reader::{MetadataCache, SegmentReaderFactory};
pub(crate) use source::{FilePart, SnapshotSource};

/// The scan of a table, if that is what the node is.
pub(crate) fn snapshot_source(plan: &Arc<dyn ExecutionPlan>) -> Option<&SnapshotSource> {
    plan.downcast_ref::<DataSourceExec>()?
        .data_source()
        .downcast_ref::<SnapshotSource>()
}
