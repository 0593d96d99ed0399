//! A table of one snapshot, as DataFusion sees it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use cupola_store::Snapshot;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, Statistics};
use datafusion::datasource::physical_plan::ParquetSource;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::ExecutionPlan;

use super::chunks::ChunkPart;
use super::files::file_scan;
use super::indexes::Wanted;
use super::reader::SegmentReaderFactory;
use super::source::{FilePart, SnapshotSource};
use super::{pruning, statistics};
use crate::adapter::AdapterFactory;
use crate::tables::LogicalTable;

/// The object store of segments, by the name it is registered under.
pub(crate) const STORE_URL: &str = "cupola://segments";

/// One table of one snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotTable {
    pub(crate) table: Arc<LogicalTable>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) readers: SegmentReaderFactory,
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Used here for leaving segments out; evaluated when the physical filter is pushed into the source.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.exact_statistics())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = &self.table.schema;
        let predicate = self.predicate(state, filters)?;
        let mut parquet = ParquetSource::new(Arc::clone(schema))
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_parquet_file_reader_factory(Arc::new(self.readers.clone()));
        parquet = parquet.with_enable_page_index(true).with_pushdown_filters(false);
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        let partitions = state.config().target_partitions();
        let mut files = Vec::new();
        let mut chunks = Vec::new();
        for part in &self.table.parts {
            let snapshot = self.snapshot.table(part.table);
            let segments = pruning::prune(&snapshot.segments, part, predicate.as_ref(), schema);
            let wanted = Wanted::of(predicate.as_ref(), part);
            let segments = wanted.candidates(segments, &self.readers).await;
            // What they could say is known already.
            let parquet = parquet.clone().with_bloom_filter_on_read(!wanted.asks_ids());
            let by_path: HashMap<_, _> = segments
                .iter()
                .map(|(segment, _)| (segment.path.to_string(), Arc::clone(segment)))
                .collect();
            let adapter = AdapterFactory {
                part: Arc::clone(part),
                segments: Arc::new(by_path),
                of_chunks: false,
                config: Arc::clone(state.config().options()),
            };
            if !segments.is_empty() {
                let config = file_scan(
                    &url,
                    &parquet,
                    &adapter,
                    &segments,
                    schema,
                    projection.cloned(),
                    partitions,
                )?;
                let segments = Arc::clone(&adapter.segments);
                files.push(FilePart {
                    table: part.table,
                    part: Arc::clone(part),
                    segments,
                    plain: config.clone(),
                    config,
                });
            }
            if !snapshot.chunks.is_empty() {
                let adapter = AdapterFactory {
                    of_chunks: true,
                    ..adapter
                };
                chunks.push(ChunkPart {
                    adapter,
                    chunks: snapshot.chunks.clone(),
                });
            }
        }
        let indexes: Vec<usize> = projection
            .cloned()
            .unwrap_or_else(|| (0..schema.fields().len()).collect());
        let projection = ProjectionExprs::from_indices(&indexes, schema);
        let output = Arc::new(projection.project_schema(schema)?);
        let source = SnapshotSource {
            table: self.table.name,
            schema: Arc::clone(schema),
            files,
            chunks,
            projection,
            output,
            predicate: None,
            // Exact for the whole table: a segment left out for a filter is filtered rows, which the filter above
            // accounts for.
            statistics: if filters.is_empty() {
                self.exact_statistics()
            } else {
                self.exact_statistics().to_inexact()
            },
            fetch: None,
            metadata: Arc::clone(&self.readers.cache),
            partitions,
            metrics: datafusion::datasource::physical_plan::FileSource::metrics(&parquet).clone(),
        };
        let plan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(source);
        Ok(match limit {
            Some(limit) if filters.is_empty() => plan.with_fetch(Some(limit)).unwrap_or(plan),
            _ => plan,
        })
    }
}

impl SnapshotTable {
    fn exact_statistics(&self) -> Statistics {
        let tables = self
            .table
            .parts
            .iter()
            .map(|part| self.snapshot.table(part.table));
        statistics::of_tables(tables, &self.table.schema)
    }

    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(filter) = conjunction(filters.to_vec()) else {
            return Ok(None);
        };
        let schema = DFSchema::try_from(Arc::clone(&self.table.schema))?;
        // A filter that cannot be planned on its own, as one with a subquery, leaves nothing out.
        Ok(state.create_physical_expr(filter, &schema).ok())
    }
}
