//! The query engine: statements in, streams of batches out, within limits.
//!
//! Each statement gets a session of its own over one snapshot of one tenant: it sees one moment, and no table of
//! anybody else exists in it. Planning and execution run on the engine's own threads, so that a heavy query delays
//! no socket.

mod registry;
mod run;
mod session;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use cupola_store::{AttributeKey, Snapshot, Store, Table};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

pub use registry::{QueryHandle, QueryId, QueryProgress, RunningQuery};

use crate::config::{QueryConfig, QueryLimits};
use crate::error::QueryError;
use registry::Registry;
use run::Work;
use session::Sessions;

/// Stack of the threads that plan: deep expressions are walked recursively.
const STACK_BYTES: usize = 32 << 20;

/// Answers SQL over a store. Clones share it.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    inner: Arc<Engine>,
}

#[derive(Debug)]
struct Engine {
    store: Store,
    config: QueryConfig,
    memory: MemoryBudget,
    sessions: Sessions,
    registry: Arc<Registry>,
    slots: Arc<Semaphore>,
    runtime: QueryRuntime,
}

/// The threads of the engine. Tokio refuses to drop a runtime inside another: it is left to end on its own.
#[derive(Debug)]
struct QueryRuntime(Option<Runtime>);

impl Drop for QueryRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A running query and its rows.
pub struct QueryResult {
    pub schema: SchemaRef,
    /// Dropping it cancels the query. Its errors turn into [`QueryError`] with `from`.
    pub stream: SendableRecordBatchStream,
    pub handle: QueryHandle,
}

impl QueryEngine {
    /// An engine over `store`; queries and the metadata cache draw on `memory`.
    pub fn new(store: Store, config: QueryConfig, memory: MemoryBudget) -> Result<QueryEngine, QueryError> {
        let threads = config.threads.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("cupola-query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| QueryError::Execution {
                message: format!("cannot start query threads: {error}"),
            })?;
        let sessions = Sessions::new(&store, &config, &memory)?;
        let slots = Arc::new(Semaphore::new(config.running_max.max(1)));
        let inner = Engine {
            store,
            config,
            memory,
            sessions,
            registry: Arc::new(Registry::default()),
            slots,
            runtime: QueryRuntime(Some(runtime)),
        };
        Ok(QueryEngine {
            inner: Arc::new(inner),
        })
    }

    /// Starts a statement; returns when it is planned. Rows come as they are found.
    pub async fn sql(
        &self,
        tenant: &TenantId,
        sql: &str,
        limits: QueryLimits,
    ) -> Result<QueryResult, QueryError> {
        let limits = limits.within(self.inner.config.limits);
        run::start(&self.inner, tenant, sql, Work::Statement, limits).await
    }

    /// Starts a plan that a protocol made on [`session`](Self::session), with its parameters filled in. It is listed
    /// under `sql`, limited and refused if it does more than read, as a statement is.
    pub async fn execute(
        &self,
        tenant: &TenantId,
        sql: &str,
        session: SessionState,
        plan: LogicalPlan,
        limits: QueryLimits,
    ) -> Result<QueryResult, QueryError> {
        let limits = limits.within(self.inner.config.limits);
        let work = Work::Plan(Box::new((session, plan)));
        run::start(&self.inner, tenant, sql, work, limits).await
    }

    /// A session over one snapshot of a tenant, for protocols that plan and execute themselves. What it plans must be
    /// checked by them to read only.
    pub async fn session(&self, tenant: &TenantId) -> Result<SessionContext, QueryError> {
        let snapshot = self.snapshot(tenant).await?;
        let memory = self
            .inner
            .sessions
            .memory(&self.inner.memory, &self.inner.config.limits);
        let state = self.inner.sessions.state(Arc::new(snapshot), memory)?;
        Ok(SessionContext::new_with_state(state))
    }

    /// The statements under way, oldest first.
    pub fn running(&self) -> Vec<RunningQuery> {
        self.inner.registry.running()
    }

    /// Stops a statement; `false` when it is not running.
    pub fn cancel(&self, id: QueryId) -> bool {
        self.inner.registry.cancel(id)
    }

    /// The attribute keys of a table, from what the store knows without reading rows.
    pub async fn attribute_keys(
        &self,
        tenant: &TenantId,
        table: Table,
    ) -> Result<Vec<AttributeKey>, QueryError> {
        Ok(self.snapshot(tenant).await?.attribute_keys(table))
    }

    /// All tables of a tenant at one moment.
    pub async fn snapshot(&self, tenant: &TenantId) -> Result<Snapshot, QueryError> {
        Ok(self.inner.store.snapshot(tenant).await?)
    }

    /// The names SQL can use for tables.
    pub fn tables(&self) -> Vec<String> {
        crate::tables::table_names()
    }

    /// Bytes of parsed file metadata held.
    pub fn metadata_cache_bytes(&self) -> usize {
        self.inner.sessions.metadata_cache_bytes()
    }

    pub fn config(&self) -> &QueryConfig {
        &self.inner.config
    }
}
