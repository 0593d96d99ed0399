//! The plan node that finds rows and then reads them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::TryStreamExt;

use super::bound::TIMESTAMP;
use super::locate::{Places, places, selection};
use crate::scan::{ChunkPart, FilePart, SnapshotSource, chunk_name};

/// How to read the rows that were found.
#[derive(Debug, Clone)]
pub(super) struct Materialize {
    /// The scan as it was, with all columns.
    pub(super) source: SnapshotSource,
    /// The columns that the filter gave, if not all.
    pub(super) kept: Option<Vec<usize>>,
    pub(super) order: LexOrdering,
    pub(super) fetch: usize,
}

/// Gives the sort keys and places of the first rows.
#[derive(Debug, Clone)]
pub(super) struct Locate {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// Of rows that are older, some are missing; `None` when all have been looked through.
    pub(super) oldest: Option<i64>,
}

#[derive(Debug)]
pub(super) struct LateMaterializeExec {
    /// Tried in turn until the first rows are certainly found. The last one looks through everything.
    locates: Vec<Locate>,
    materialize: Materialize,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl LateMaterializeExec {
    pub(super) fn new(
        locates: Vec<Locate>,
        materialize: Materialize,
        schema: SchemaRef,
    ) -> LateMaterializeExec {
        let order = [materialize.order.clone()];
        let equivalence = EquivalenceProperties::new_with_orderings(Arc::clone(&schema), order);
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        LateMaterializeExec {
            locates,
            materialize,
            schema,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for LateMaterializeExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LateMaterializeExec: table={}, rows={}, attempts={}",
            self.materialize.source.table,
            self.materialize.fetch,
            self.locates.len()
        )
    }
}

impl ExecutionPlan for LateMaterializeExec {
    fn name(&self) -> &str {
        "LateMaterializeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.locates.iter().map(|locate| &locate.plan).collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.len() != self.locates.len() {
            return exec_err!("LateMaterializeExec has {} children", self.locates.len());
        }
        let locates = self.locates.iter().zip(children).map(|(locate, plan)| Locate {
            plan,
            oldest: locate.oldest,
        });
        Ok(Arc::new(LateMaterializeExec::new(
            locates.collect(),
            self.materialize.clone(),
            Arc::clone(&self.schema),
        )))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for sort in self.materialize.order.iter() {
            if f(&sort.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return exec_err!("LateMaterializeExec has one partition");
        }
        let (locates, materialize) = (self.locates.clone(), self.materialize.clone());
        let rows = async move {
            let mut located = Vec::new();
            for locate in &locates {
                located = locate
                    .plan
                    .execute(0, Arc::clone(&context))?
                    .try_collect()
                    .await?;
                if locate.found(&located, materialize.fetch)? {
                    break;
                }
            }
            let partitions = context.session_config().target_partitions();
            materialize
                .plan(&places(&located)?, partitions)?
                .execute(0, context)
        };
        let stream = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        )))
    }
}

impl Locate {
    /// Whether these are the first rows of all: enough of them, none older than what was looked through.
    fn found(&self, located: &[RecordBatch], fetch: usize) -> Result<bool> {
        let Some(oldest) = self.oldest else {
            return Ok(true);
        };
        let mut newer = 0;
        for batch in located {
            let times = batch.column_by_name(TIMESTAMP);
            let Some(times) = times.and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>())
            else {
                return exec_err!("the times of located rows are missing");
            };
            newer += times.values().iter().filter(|time| **time >= oldest).count();
        }
        Ok(newer >= fetch)
    }
}

impl Materialize {
    /// Reads the rows at these places, all columns, and sorts them again.
    fn plan(&self, places: &Places, partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self
            .source
            .files
            .iter()
            .filter_map(|files| select_files(files, places, partitions))
            .collect();
        let mut chunks = Vec::new();
        for (index, part) in self.source.chunks.iter().enumerate() {
            chunks.extend(select_chunks(index, part, places)?);
        }
        let source = SnapshotSource {
            files,
            chunks,
            predicate: None,
            fetch: None,
            ..self.source.clone()
        };
        let mut plan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(source);
        if plan.properties().partitioning.partition_count() > 1 {
            plan = Arc::new(CoalescePartitionsExec::new(plan));
        }
        if let Some(kept) = &self.kept {
            let schema = plan.schema();
            let columns = kept.iter().map(|index| {
                let name = schema.field(*index).name();
                ProjectionExpr::new(Arc::new(Column::new(name, *index)) as Arc<dyn PhysicalExpr>, name)
            });
            plan = Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?);
        }
        Ok(Arc::new(
            SortExec::new(self.order.clone(), plan).with_fetch(Some(self.fetch)),
        ))
    }
}

/// The files of a part that have wanted rows, reading those only, the rows of each file by several partitions.
fn select_files(part: &FilePart, places: &Places, partitions: usize) -> Option<FilePart> {
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions.max(1)];
    for (path, segment) in part.segments.iter() {
        let Some(rows) = places.get(path) else {
            continue;
        };
        let file = part.plain.file_groups.iter().flat_map(|group| group.iter());
        let file = file
            .into_iter()
            .find(|file| file.object_meta.location == segment.path)?;
        let mut file = file.clone();
        file.range = None;
        let share = rows.len().div_ceil(groups.len());
        for (group, rows) in groups.iter_mut().zip(rows.chunks(share.max(1))) {
            let rows = ParquetRowSelection::new(selection(rows, segment.rows));
            group.push(file.clone().with_extension(rows));
        }
    }
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() {
        return None;
    }
    let config = FileScanConfigBuilder::from(part.plain.clone())
        .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
        .build();
    Some(FilePart {
        config,
        ..part.clone()
    })
}

/// The wanted rows of the chunks of a part.
fn select_chunks(index: usize, part: &ChunkPart, places: &Places) -> Result<Option<ChunkPart>> {
    let mut chunks = Vec::new();
    for (number, chunk) in part.chunks.iter().enumerate() {
        if let Some(rows) = places.get(&chunk_name(index, number)) {
            chunks.push(take_record_batch(chunk, &UInt64Array::from(rows.clone()))?);
        }
    }
    Ok((!chunks.is_empty()).then(|| ChunkPart {
        chunks,
        ..part.clone()
    }))
}
