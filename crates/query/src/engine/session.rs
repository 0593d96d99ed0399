//! Sessions: DataFusion set up for one snapshot of one tenant. It has our tables and functions, our memory and spill
//! directory, one object store, and no way to the file system.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_store::{Snapshot, Store};
use cupola_telemetry::memory::MemoryBudget;
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableFunction, TableProvider,
};
use datafusion::common::{DataFusionError, Result as DataFusionResult, exec_err};
use datafusion::config::Dialect;
use datafusion::datasource::ViewTable;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;
use url::Url;

use super::information_schema;
use crate::config::{QueryConfig, QueryLimits};
use crate::error::QueryError;
use crate::functions;
use crate::late::LateMaterialization;
use crate::memory::QueryMemory;
use crate::planner::{AttributePlanner, ComparisonRewrite, KeyTypes, LevelOrder, TraceFunction};
use crate::scan::{MetadataCache, STORE_URL, SegmentReaderFactory, SnapshotTable};
use crate::tables::{METRICS, POINTS, logical_table, metrics_view, table_names};

const CATALOG: &str = "cupola";
const SCHEMA: &str = "public";
/// How the names of the directories begin in which DataFusion keeps spilled rows.
const SPILL_PREFIX: &str = "datafusion-";

/// One catalog of these schemas.
fn catalogs(schemas: &[(&str, Arc<dyn SchemaProvider>)]) -> DataFusionResult<Arc<dyn CatalogProviderList>> {
    let catalog = MemoryCatalogProvider::new();
    for (name, schema) in schemas {
        catalog.register_schema(name, Arc::clone(schema))?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(Arc::new(catalogs))
}

/// Makes sessions; what they share is made once.
pub(super) struct Sessions {
    base: SessionState,
    planners: Vec<Arc<dyn ExprPlanner>>,
    runtime: Arc<RuntimeEnv>,
    readers: SegmentReaderFactory,
}

impl Sessions {
    pub(super) fn new(
        store: &Store,
        config: &QueryConfig,
        memory: &MemoryBudget,
    ) -> Result<Sessions, QueryError> {
        let readers = SegmentReaderFactory {
            store: store.object_store(),
            cache: Arc::new(MetadataCache::new(config.metadata_cache_bytes_max, memory)),
        };
        let registry = Arc::new(SegmentsOnly {
            store: store.object_store(),
        });
        let runtime = RuntimeEnvBuilder::new()
            .with_object_store_registry(registry)
            .with_disk_manager_builder(spill(config)?)
            .build_arc()?;
        let mut base = SessionStateBuilder::new()
            .with_default_features()
            .with_config(session_config(config)?)
            .with_runtime_env(Arc::clone(&runtime))
            .with_analyzer_rule(Arc::new(LevelOrder))
            .with_physical_optimizer_rule(Arc::new(LateMaterialization))
            .build();
        base.register_function_rewrite(Arc::new(ComparisonRewrite))?;
        for function in functions::bounded(base.scalar_functions()) {
            base.register_udf(function)?;
        }
        for function in functions::scalar_functions() {
            base.register_udf(function)?;
        }
        for function in functions::aggregate_functions() {
            base.register_udaf(function)?;
        }
        let planners = base.expr_planners().to_vec();
        Ok(Sessions {
            base,
            planners,
            runtime,
            readers,
        })
    }

    /// Bytes of spilled rows on the disk, and the most there may be.
    pub(super) fn spill_bytes(&self) -> (u64, u64) {
        let disk = &self.runtime.disk_manager;
        let max = if disk.tmp_files_enabled() {
            disk.max_temp_directory_size()
        } else {
            0
        };
        (disk.used_disk_space(), max)
    }

    pub(super) fn metadata_cache_bytes(&self) -> usize {
        self.readers.cache.bytes()
    }

    pub(super) fn memory(&self, shared: &MemoryBudget, limits: &QueryLimits) -> Arc<QueryMemory> {
        Arc::new(QueryMemory::new(shared, limits.memory_bytes_max))
    }

    /// A session over a snapshot, with its own memory.
    pub(super) fn state(
        &self,
        snapshot: Arc<Snapshot>,
        memory: Arc<QueryMemory>,
    ) -> Result<SessionState, QueryError> {
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.runtime)
            .with_memory_pool(memory)
            .build_arc()?;
        let keys = Arc::new(KeyTypes::new(Arc::clone(&snapshot)));
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(AttributePlanner::new(keys))];
        planners.extend(self.planners.iter().cloned());
        let schema = Arc::new(SnapshotSchema {
            snapshot,
            readers: self.readers.clone(),
        });
        let records = schema.scanned("records")?;
        let described = catalogs(&[(SCHEMA, Arc::clone(&schema) as _)])?;
        let catalogs = catalogs(&[
            (SCHEMA, schema),
            (INFORMATION_SCHEMA, information_schema(described)),
        ])?;
        let trace = TableFunction::new("trace".to_owned(), Arc::new(TraceFunction { records }));
        let mut table_functions: HashMap<String, Arc<TableFunction>> = self.base.table_functions().clone();
        table_functions.insert("trace".to_owned(), Arc::new(trace));
        let mut state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_runtime_env(runtime)
            .with_catalog_list(catalogs)
            .with_expr_planners(planners)
            .with_table_functions(table_functions)
            .build();
        // The moment that `now()` is, which the optimizer puts in.
        state.mark_start_execution();
        Ok(state)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

fn spill(config: &QueryConfig) -> Result<DiskManagerBuilder, QueryError> {
    let builder = DiskManagerBuilder::default().with_max_temp_directory_size(config.spill_bytes_max);
    let Some(directory) = &config.spill_directory else {
        return Ok(builder.with_mode(DiskManagerMode::Disabled));
    };
    let failed = |error: std::io::Error| QueryError::Setup {
        message: format!(
            "cannot prepare the spill directory {}: {error}",
            directory.display()
        ),
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clear(directory).map_err(failed)?;
    Ok(builder.with_mode(DiskManagerMode::Directories(vec![directory.clone()])))
}

/// Removes what a process that was killed left behind, and nothing that DataFusion has not named.
fn clear(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_spilled = entry.file_name().to_string_lossy().starts_with(SPILL_PREFIX);
        if is_spilled && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn session_config(config: &QueryConfig) -> DataFusionResult<SessionConfig> {
    let mut session = SessionConfig::new()
        .with_target_partitions(config.threads.max(1))
        // It has one of its own.
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    let options = session.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.execution.time_zone = Some("UTC".to_owned());
    // Decided per query by the scan.
    options.execution.parquet.pushdown_filters = false;
    options.execution.parquet.reorder_filters = true;
    options.explain.show_schema = false;
    Ok(session)
}

/// The one object store queries can reach.
#[derive(Debug)]
struct SegmentsOnly {
    store: Arc<dyn ObjectStore>,
}

impl ObjectStoreRegistry for SegmentsOnly {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        if url.as_str().trim_end_matches('/') == STORE_URL {
            return Ok(Arc::clone(&self.store));
        }
        exec_err!("queries cannot read {}", url.scheme())
    }
}

/// The tables of a snapshot.
#[derive(Debug)]
struct SnapshotSchema {
    snapshot: Arc<Snapshot>,
    readers: SegmentReaderFactory,
}

impl SnapshotSchema {
    fn scanned(&self, name: &str) -> DataFusionResult<Arc<dyn TableProvider>> {
        let Some(table) = logical_table(name) else {
            return exec_err!("there is no table {name}");
        };
        Ok(Arc::new(SnapshotTable {
            table,
            snapshot: Arc::clone(&self.snapshot),
            readers: self.readers.clone(),
        }))
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if name == METRICS {
            let view = metrics_view(self.scanned(POINTS)?, self.scanned("series")?)?;
            return Ok(Some(Arc::new(ViewTable::new(view, None))));
        }
        if logical_table(name).is_none() {
            return Ok(None);
        }
        self.scanned(name).map(Some)
    }

    fn table_exist(&self, name: &str) -> bool {
        name == METRICS || logical_table(name).is_some()
    }
}
