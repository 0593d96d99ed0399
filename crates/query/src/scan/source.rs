//! The leaf of a plan that reads a table: segments of every part and chunks, under one projection and one predicate.
//!
//! One leaf and not a union of two: projections with attribute access and filters are pushed into a leaf always, through
//! a union only sometimes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use cupola_store::schema::Table;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::{conjunction_opt, reassign_expr_columns};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_expr_common::sort_expr::PhysicalSortExpr;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use futures::TryStreamExt;

use super::chunks::{ChunkPart, ChunkScan, deal};
use super::pushdown::{self, FilterForPart};
use super::reader::MetadataCache;
use crate::adapter::SegmentsByPath;
use crate::tables::Part;

/// The segments of one part.
#[derive(Debug, Clone)]
pub(crate) struct FilePart {
    pub(crate) table: Table,
    pub(crate) part: Arc<Part>,
    pub(crate) segments: SegmentsByPath,
    pub(crate) config: FileScanConfig,
    /// The same scan without filters and limits.
    pub(crate) plain: FileScanConfig,
}

/// A scan of segments and chunks.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotSource {
    pub(crate) table: &'static str,
    /// The logical schema of the table.
    pub(crate) schema: SchemaRef,
    pub(crate) files: Vec<FilePart>,
    pub(crate) chunks: Vec<ChunkPart>,
    /// From the logical schema to the output.
    pub(crate) projection: ProjectionExprs,
    pub(crate) output: SchemaRef,
    /// Over the logical schema; chunks are filtered by it exactly.
    pub(crate) predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Of all rows, before the predicate.
    pub(crate) statistics: Statistics,
    pub(crate) fetch: Option<usize>,
    /// Page indexes of segments that were read before.
    pub(crate) metadata: Arc<MetadataCache>,
    /// Partitions that chunks are spread over.
    pub(crate) partitions: usize,
    pub(crate) metrics: ExecutionPlanMetricsSet,
}

impl SnapshotSource {
    fn file_partitions(&self) -> usize {
        self.files
            .iter()
            .map(|files| files.config.file_groups.len())
            .sum()
    }

    /// Segments that are read.
    pub(crate) fn files_total(&self) -> usize {
        self.files
            .iter()
            .flat_map(|files| &files.config.file_groups)
            .map(|group| group.len())
            .sum()
    }

    /// Partitions for the chunks: one at least where there is nothing else to read.
    fn chunk_partitions(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|part| part.chunks.len()).sum();
        let least = usize::from(self.files.is_empty());
        chunks.min(self.partitions).max(least)
    }

    /// The file scan and its partition that are partition `partition` of the whole.
    fn locate(&self, partition: usize) -> Option<(usize, usize)> {
        let mut before = 0;
        for (index, files) in self.files.iter().enumerate() {
            let groups = files.config.file_groups.len();
            if partition < before + groups {
                return Some((index, partition - before));
            }
            before += groups;
        }
        None
    }

    fn open_chunks(&self, partition: usize, context: &TaskContext) -> SendableRecordBatchStream {
        let dealt = deal(&self.chunks, self.chunk_partitions());
        let work = dealt.into_iter().nth(partition - self.file_partitions());
        let scan = ChunkScan {
            logical: Arc::clone(&self.schema),
            output: Arc::clone(&self.output),
            projection: self.projection.clone(),
            predicate: self.predicate.clone(),
            rows_max: context.session_config().batch_size(),
            fetch: self.fetch,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let slices = futures::stream::iter(scan.run(self.chunks.clone(), work.unwrap_or_default()));
        // Each slice counts against the budget of the task, after which it lets others run, also those without rows.
        let batches = cooperative(RecordBatchStreamAdapter::new(Arc::clone(&self.output), slices));
        let batches = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.output), batches))
    }

    /// The same scan of fewer rows: those that pass one more filter over its output, or also others.
    pub(crate) fn narrowed(
        &self,
        filter: Arc<dyn PhysicalExpr>,
        options: &ConfigOptions,
    ) -> Result<Option<SnapshotSource>> {
        let narrowed = self.try_pushdown_filters(vec![filter], options)?.updated_node;
        Ok(narrowed.and_then(|source| source.downcast_ref::<SnapshotSource>().cloned()))
    }

    /// Applies `change` to every file scan; `None` when any cannot be changed.
    fn map_files(
        &self,
        mut change: impl FnMut(&FileScanConfig) -> Result<Option<FileScanConfig>>,
    ) -> Result<Option<Vec<FilePart>>> {
        let mut changed = Vec::with_capacity(self.files.len());
        for files in &self.files {
            let Some(config) = change(&files.config)? else {
                return Ok(None);
            };
            changed.push(FilePart {
                config,
                ..files.clone()
            });
        }
        Ok(Some(changed))
    }

    /// The same scan with `projection` of its output; `None` when a file scan cannot take it.
    pub(crate) fn projected(&self, projection: &ProjectionExprs) -> Result<Option<SnapshotSource>> {
        let swap = |config: &FileScanConfig| -> Result<Option<FileScanConfig>> {
            let swapped = config.try_swapping_with_projection(projection)?;
            Ok(swapped.and_then(|source| source.downcast_ref::<FileScanConfig>().cloned()))
        };
        let Some(mut files) = self.map_files(swap)? else {
            return Ok(None);
        };
        for files in &mut files {
            let Some(plain) = swap(&files.plain)? else {
                return Ok(None);
            };
            files.plain = plain;
        }
        let projection = self.projection.try_merge(projection)?;
        let output = Arc::new(projection.project_schema(&self.schema)?);
        Ok(Some(SnapshotSource {
            files,
            projection,
            output,
            ..self.clone()
        }))
    }

    /// Pushes filters over the logical schema into the scan of one part; `None` when the part has no such row.
    fn push_into(
        files: &FilePart,
        filters: &[Arc<dyn PhysicalExpr>],
        while_decoding: bool,
        schema: &SchemaRef,
        options: &ConfigOptions,
    ) -> Result<Option<(FilePart, Vec<bool>)>> {
        let mut pushed = Vec::new();
        let mut exact = vec![true; filters.len()];
        for (index, filter) in filters.iter().enumerate() {
            match pushdown::for_part(filter, &files.part, schema)? {
                FilterForPart::Nothing => return Ok(None),
                FilterForPart::Everything => {}
                FilterForPart::Filter(filter) => {
                    exact[index] =
                        while_decoding && pushdown::is_exact(&filter, &files.part, &files.segments);
                    pushed.push((index, filter));
                }
            }
        }
        let source = files.config.file_source();
        let Some(source) = (source.as_ref() as &dyn Any).downcast_ref::<ParquetSource>() else {
            return Ok(Some((files.clone(), vec![false; filters.len()])));
        };
        let source = source.clone().with_pushdown_filters(while_decoding);
        let (indexes, pushed): (Vec<usize>, Vec<_>) = pushed.into_iter().unzip();
        let result = source.try_pushdown_filters(pushed, options)?;
        for (index, support) in indexes.into_iter().zip(&result.filters) {
            exact[index] &= matches!(support, PushedDown::Yes);
        }
        let source = result.updated_node.unwrap_or_else(|| Arc::new(source));
        let config = FileScanConfigBuilder::from(files.config.clone())
            .with_source(source)
            .build();
        Ok(Some((
            FilePart {
                config,
                ..files.clone()
            },
            exact,
        )))
    }
}

/// The state siblings of each file scan share.
type SiblingStates = Vec<Option<Arc<dyn Any + Send + Sync>>>;

impl DataSource for SnapshotSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.open_with_args(OpenArgs::new(partition, context))
    }

    fn open_with_args(&self, args: OpenArgs) -> Result<SendableRecordBatchStream> {
        let Some((index, group)) = self.locate(args.partition) else {
            return Ok(self.open_chunks(args.partition, &args.context));
        };
        let state = args
            .sibling_state
            .as_ref()
            .and_then(|states| states.downcast_ref::<SiblingStates>())
            .and_then(|states| states.get(index).cloned().flatten());
        let args = OpenArgs::new(group, args.context).with_shared_state(state);
        self.files[index].config.open_with_args(args)
    }

    fn create_sibling_state(&self, config: &ConfigOptions) -> Option<Arc<dyn Any + Send + Sync>> {
        let states: SiblingStates = self
            .files
            .iter()
            .map(|files| files.config.create_sibling_state(config))
            .collect();
        Some(Arc::new(states))
    }

    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: usize = self.chunks.iter().map(ChunkPart::rows).sum();
        write!(f, "table={}, memory_rows={rows}", self.table)?;
        for files in &self.files {
            write!(f, ", segments of {}: [", files.table)?;
            files.config.fmt_as(format, f)?;
            write!(f, "]")?;
        }
        if let (true, Some(predicate)) = (self.files.is_empty(), &self.predicate) {
            write!(f, ", predicate={predicate}")?;
        }
        Ok(())
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let mut changed = self.clone();
        let mut any = false;
        for files in &mut changed.files {
            let again = files.config.repartitioned(
                target_partitions,
                repartition_file_min_size,
                output_ordering.clone(),
            )?;
            if let Some(config) = again.and_then(|source| source.downcast_ref::<FileScanConfig>().cloned()) {
                files.config = config;
                any = true;
            }
        }
        Ok(any.then(|| Arc::new(changed) as Arc<dyn DataSource>))
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.file_partitions() + self.chunk_partitions())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.output))
    }

    fn scheduling_type(&self) -> SchedulingType {
        SchedulingType::Cooperative
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        if partition.is_some() {
            return Ok(Arc::new(Statistics::new_unknown(&self.output)));
        }
        let statistics = match &self.predicate {
            Some(_) => self.statistics.clone().to_inexact(),
            None => self.statistics.clone(),
        };
        Ok(Arc::new(
            self.projection.project_statistics(statistics, &self.output)?,
        ))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        let files = self.map_files(|config| {
            Ok(Some(
                FileScanConfigBuilder::from(config.clone())
                    .with_limit(limit)
                    .build(),
            ))
        });
        let files = files.ok().flatten()?;
        Some(Arc::new(SnapshotSource {
            files,
            fetch: limit,
            ..self.clone()
        }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.metrics.clone()
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let swapped = self.projected(projection)?;
        Ok(swapped.map(|source| Arc::new(source) as Arc<dyn DataSource>))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        options: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let count = filters.len();
        let filters = filters
            .iter()
            .map(|filter| reassign_expr_columns(self.projection.unproject_expr(filter)?, &self.schema))
            .collect::<Result<Vec<_>>>()?;
        let while_decoding = filters.iter().chain(&self.predicate).any(pushdown::is_selective);
        let mut changed = self.clone();
        changed.files.clear();
        let mut exact = vec![true; count];
        for files in &self.files {
            // A part without rows that pass is left out.
            if let Some((files, exactly)) =
                Self::push_into(files, &filters, while_decoding, &self.schema, options)?
            {
                exact.iter_mut().zip(exactly).for_each(|(all, one)| *all &= one);
                changed.files.push(files);
            }
        }
        changed.predicate = conjunction_opt(self.predicate.iter().cloned().chain(filters));
        let support = exact
            .into_iter()
            .map(|exact| if exact { PushedDown::Yes } else { PushedDown::No });
        Ok(
            FilterPushdownPropagation::with_parent_pushdown_result(support.collect())
                .with_updated_node(Arc::new(changed) as Arc<dyn DataSource>),
        )
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn DataSource>>> {
        let mut changed = self.clone();
        let mut any = false;
        for files in &mut changed.files {
            // Chunks and other parts are not in this order, so what is exact for the files is not for the whole.
            let inner = match files.config.try_pushdown_sort(order)? {
                SortOrderPushdownResult::Exact { inner } | SortOrderPushdownResult::Inexact { inner } => {
                    inner
                }
                SortOrderPushdownResult::Unsupported => continue,
            };
            if let Some(config) = inner.downcast_ref::<FileScanConfig>() {
                files.config = config.clone();
                any = true;
            }
        }
        Ok(match any {
            true => SortOrderPushdownResult::Inexact {
                inner: Arc::new(changed),
            },
            false => SortOrderPushdownResult::Unsupported,
        })
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for files in &self.files {
            files.config.apply_expressions(f)?;
        }
        let expressions: Vec<_> = self
            .predicate
            .iter()
            .cloned()
            .chain(self.projection.expr_iter())
            .collect();
        for expression in &expressions {
            if f(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}
